"""Deletion and insertion: what is changed when, along which map, and what the curves of a known network are."""

import numpy as np
import pytest
import torch
from torch import nn

from chexlib.explain import faithfulness as fa


class Left(nn.Module):
    """Its second logit is four times the mean of the left half of the image, its first that of the whole."""

    def forward(self, x):
        x = x.mean(dim=1)
        return 4 * torch.stack([x.mean(dim=(1, 2)), x[:, :, : x.shape[-1] // 2].mean(dim=(1, 2))], dim=1)


class Turned(nn.Module):
    """What was the upper half is the left one."""

    def forward(self, x):
        return x.mT


IMAGES = torch.ones(2, 3, 8, 8)
PIXELS = (8, 8)


def brightest_left(n=2):
    return (torch.arange(8) < 4).float().expand(n, 8, 8)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


def test_equal_steps_take_equal_shares_away():
    found = fa.deletion(Left(), IMAGES, torch.rand(2, 8, 8), [0, 0], PIXELS, steps=8)
    np.testing.assert_allclose(found.probability, np.tile(sigmoid(4 * (1 - found.share)), (2, 1)), rtol=1e-6)
    assert found.share[0] == 0 and found.share[-1] == 1
    curves = fa.Curves(np.array([0, 0.5, 1]), np.array([[1.0, 0, 0], [1, 1, 1]]))
    np.testing.assert_allclose(curves.area, [0.25, 1])  # trapezoids


def test_the_brightest_points_go_first():
    found = fa.deletion(Left(), IMAGES, brightest_left(), [1, 1], PIXELS, steps=2)
    np.testing.assert_allclose(found.probability[0], sigmoid([4, 0, 0]))
    wrong = fa.deletion(Left(), IMAGES, 1 - brightest_left(), [1, 1], PIXELS, steps=2)
    np.testing.assert_allclose(wrong.probability[0], sigmoid([4, 4, 0]))
    each = fa.deletion(Left(), IMAGES, brightest_left(), [0, 1], PIXELS, steps=2)  # a finding an image
    np.testing.assert_allclose(each.probability[:, 1], sigmoid([2, 0]))
    assert (found.area < wrong.area).all()


def test_insertion_goes_from_the_blurred_image_to_the_whole_one():
    image = torch.zeros(1, 3, 32, 32)
    image[..., ::2] = 2.0
    found = fa.insertion(Left(), image, torch.rand(1, 32, 32), [1], (32, 32), steps=3)
    ends = Left()(torch.cat([fa.blurred(image), image])).sigmoid()[:, 1]
    np.testing.assert_allclose(found.probability[0, [0, -1]], ends, rtol=1e-6)


def test_equal_points_do_not_go_row_by_row():
    """On a blank map half of the points leave about half of the upper rows, which half they are is drawn."""
    images, network = torch.ones(1, 3, 16, 16), nn.Sequential(Turned(), Left())

    def half(seed):
        return fa.deletion(network, images, torch.zeros(1, 16, 16), [1], (16, 16), steps=2, seed=seed).probability[0, 1]

    assert sigmoid(4 * 0.35) < half(0) < sigmoid(4 * 0.65)
    assert half(0) == half(0) and len({half(seed) for seed in range(4)}) > 1


class Even(nn.Module):
    """Its logit falls with every step between two neighbours, as when an image is full of noise."""

    def forward(self, x):
        x = x.mean(dim=1)
        edges = x.diff(dim=1).abs().mean(dim=(1, 2)) + x.diff(dim=2).abs().mean(dim=(1, 2))
        return 2 - 20 * edges[:, None]


def test_a_blank_map_is_worth_what_random_cells_are():
    """Taken away one by one, equal points would seem to matter to any network that noise disturbs."""
    n, cells, size = 64, (3, 3), (24, 24)
    images, blank = torch.ones(n, 3, *size), torch.zeros(n, *size)
    areas = [
        fa.deletion(Even(), images, order, [0] * n, cells, steps=8).area
        for order in (blank, fa.random_order(cells, n, size))
    ]
    gain = areas[1] - areas[0]
    assert abs(gain.mean()) < 3 * gain.std() / n**0.5 < 0.03
    noise = fa.deletion(Even(), images, blank, [0] * n, size, steps=8).area
    assert (areas[1] - noise).mean() > 0.2


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(192, 2))
    network.train()
    network[0].eval()
    first = fa.deletion(network, IMAGES, brightest_left(), [0, 0], PIXELS, steps=2).probability
    assert network.training and not network[0].training
    again = fa.deletion(network, IMAGES, brightest_left(), [0, 0], PIXELS, steps=2).probability
    np.testing.assert_array_equal(first, again)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_blur_keeps_what_is_even_and_spreads_what_is_not():
    assert torch.allclose(fa.blurred(IMAGES), IMAGES)
    point = torch.zeros(1, 1, 45, 45)
    point[..., 22, 22] = 1
    bell = fa.blurred(point, sigma=3 / 45)[0, 0]
    assert bell.sum() == pytest.approx(1, abs=1e-5)
    axis = torch.arange(45.0) - 22
    assert float((bell.sum(dim=0) * axis**2).sum().sqrt()) == pytest.approx(3, rel=0.05)
    assert torch.allclose(bell, bell.T)


def test_random_cells_are_as_large_as_a_maps_and_the_same_for_a_seed():
    found = fa.random_order((2, 2), 3, (16, 16), seed=4)
    assert found.shape == (3, 16, 16)
    assert torch.equal(found, fa.random_order((2, 2), 3, (16, 16), seed=4))
    assert (found[:, :4, :4].flatten(1).std(dim=1) < 1e-6).all()  # the corner of one cell is even


@pytest.mark.parametrize(
    ("maps", "findings", "steps", "words"),
    [
        (torch.zeros(2, 4, 4), [0, 0], 2, "one map"),
        (torch.zeros(2, 8, 8), [0], 2, "one finding an image"),
        (torch.zeros(2, 8, 8), [0, 0], 0, "1 to 64 steps"),
        (torch.zeros(2, 8, 8), [0, 0], 65, "1 to 64 steps"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(maps, findings, steps, words):
    with pytest.raises(ValueError, match=words):
        fa.deletion(Left(), IMAGES, maps, findings, PIXELS, steps=steps)
