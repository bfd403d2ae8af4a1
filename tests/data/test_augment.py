"""Augmentations change training images within what their numbers say, each image by its own draw."""

import numpy as np
import pytest
import torch

from chexlib.data.augment import AUGMENTATIONS, augmenter, check_augment
from chexlib.errors import UserError

ALL = {"rotation": 10.0, "crop": 0.8, "jitter": 0.2, "flip": 0.5}


def seeded(augment, images, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return augmenter(augment, images.shape[-1])(images)


def ramp(n, size=32):
    """Images that brighten from 0 on the left to 1 on the right."""
    return torch.linspace(0, 1, size).expand(n, 1, size, size).contiguous()


def test_the_example_names_every_row():
    assert set(ALL) == set(AUGMENTATIONS)
    assert check_augment(ALL) == ALL
    assert augmenter({}, 32) is None


@pytest.mark.parametrize("name", ALL)
def test_each_image_has_its_own_draw_and_stays_an_image(name):
    images = ramp(16)
    before = images.clone()
    changed = seeded({name: ALL[name]}, images)
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1
    assert len({image.numpy().tobytes() for image in changed}) > 1
    assert torch.equal(images, before)


def test_the_draws_are_torchs_and_repeat_with_its_seed():
    images = ramp(8)
    assert torch.equal(seeded(ALL, images, 1), seeded(ALL, images, 1))
    assert not torch.equal(seeded(ALL, images, 1), seeded(ALL, images, 2))


def test_a_certain_flip_is_the_mirror_image_and_an_even_one_half_of_the_time():
    images = ramp(200)
    assert torch.equal(seeded({"flip": 1.0}, images), images.flip(-1))
    mirrored = (seeded({"flip": 0.5}, images)[:, 0, 0, 0] == 1).sum().item()
    assert 70 < mirrored < 130


def test_a_rotation_keeps_the_middle_and_turns_no_further_than_it_says():
    """A bright spot at the right border's middle ends up within the angle."""
    images = torch.zeros(50, 1, 65, 65)
    images[:, :, 31:34, 58:61] = 1
    turned = seeded({"rotation": 10.0}, images)[:, 0]
    y, x = np.unravel_index(turned.flatten(1).argmax(dim=1), (65, 65))
    angles = np.degrees(np.arctan2(y - 32, x - 32))
    assert 5 < np.abs(angles).max() <= 12  # the spot is 2 degrees wide
    assert angles.min() < 0 < angles.max()


def test_a_crop_shows_no_less_than_its_part_of_the_area():
    changed = seeded({"crop": 0.5}, ramp(50, 64))
    spans = (changed[..., -1] - changed[..., 0])[:, 0, 0]  # of the width, as brightness is place
    assert 0.65 < spans.min() < 0.8  # the square root of 0.5 is 0.71
    assert spans.max() > 0.9


def test_jitter_changes_brightness_by_its_part_at_most():
    grey = torch.full((100, 1, 8, 8), 0.5)  # contrast cannot change an even image
    values = seeded({"jitter": 0.2}, grey)[:, 0, 0, 0]
    assert 0.4 <= values.min() < 0.45 and 0.55 < values.max() <= 0.6


def test_what_changes_nothing_is_left_out_and_whole_numbers_are_numbers():
    assert check_augment({"flip": 0, "rotation": 10, "crop": 1, "jitter": 0.0}) == {"rotation": 10.0}
    assert list(check_augment({"flip": 0.5, "rotation": 10})) == ["rotation", "flip"]


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"rotate": 5}, "augment: 'rotate' is unknown: choose of rotation, crop, jitter, flip"),
        ({"rotation": 90}, "rotation=90: must be from 0 to 45"),
        ({"crop": 0}, "crop=0: must be from 0.3 to 1"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"flip": 1.5}, "flip=1.5"),
        ({"flip": float("nan")}, "flip=nan"),
        ({"flip": True}, "flip=True"),
        ({"rotation": "5"}, "rotation='5'"),
    ],
)
def test_a_misspelt_name_and_a_number_out_of_range_are_refused_in_one_line(augment, message):
    with pytest.raises(UserError) as error:
        check_augment(augment)
    assert message in str(error.value) and "\n" not in str(error.value)
