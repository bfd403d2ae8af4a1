"""Random weights destroy a map that depends on them, layer by layer, and the checks say so."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from chexlib.errors import UserError
from chexlib.explain.sanity import layers_of, randomised, sanity
from chexlib.models import create_model

TEXTURES, CELL, CELLS = 8, 8, 8


class Textures(nn.Module):
    """Knows eight textures: one filter for each, whose map is bright where the texture is, and one finding."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, TEXTURES, CELL, stride=CELL), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.head = nn.Linear(TEXTURES, TEXTURES)
        with torch.no_grad():
            self.trunk[0].weight.copy_(textures()[:, None].expand(-1, 3, -1, -1) / (3 * CELL**2))
            self.trunk[2].weight.copy_(torch.eye(TEXTURES)[:, :, None, None])
            self.head.weight.copy_(4 * torch.eye(TEXTURES) - 1)

    def maps(self, x):
        return self.trunk(x)

    def logits(self, maps):
        return self.head(maps.mean(dim=(2, 3)))


def textures() -> torch.Tensor:
    return torch.randn(TEXTURES, CELL, CELL, generator=torch.Generator().manual_seed(1)).sign()


@pytest.fixture(scope="module")
def knowing():
    """The network, and eight images with each texture in a cell of its own, all equally bright."""
    generator = torch.Generator().manual_seed(2)
    x = 0.5 * torch.randn(8, 3, CELL * CELLS, CELL * CELLS, generator=generator)
    for image in x:
        for texture, cell in zip(textures(), torch.randperm(CELLS**2, generator=generator).tolist()):
            top, left = CELL * (cell // CELLS), CELL * (cell % CELLS)
            image[:, top : top + CELL, left : left + CELL] += texture
    return Textures().eval(), x


@pytest.fixture(scope="module")
def network():
    return create_model("resnet18", findings=1, minus=3, seed=0).eval(), torch.randn(4, 3, 32, 32)


@pytest.mark.parametrize("method", ["paper", "grad-cam", "hirescam", "grad-cam++"])
def test_maps_of_a_network_made_random_are_no_longer_the_trained_ones(knowing, method):
    """Of five random networks, as one can be like the trained one by chance."""
    model, x = knowing
    each = [sanity(model, x, methods=[method], seed=seed)[method] for seed in range(5)]
    cascading = np.stack([one.cascading for one in each])  # (5, 3, 8)
    assert each[0].layers == ("head", "trunk.2", "trunk.0") and cascading.shape == (5, 3, 8)
    for one in each:
        np.testing.assert_array_equal(one.cascading[0], one.independent[0])  # the head alone, both times
    assert abs(np.nanmean(cascading[:, -1])) < 0.15
    assert abs(np.nanmean([one.elsewhere for one in each])) < 0.15


def test_a_map_that_ignores_the_weights_does_not_fall(knowing):
    """What the checks are for: maps that are the image's brightness, whatever the network has learned."""
    model, x = knowing

    class Edges(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.head = model.trunk, model.head

        def maps(self, x):
            return F.avg_pool2d(x, 8).mean(dim=1, keepdim=True)

        def logits(self, maps):
            return maps.mean(dim=(2, 3)) + 0 * self.head.weight.sum()

    [found] = sanity(Edges(), x, methods=["grad-cam"]).values()
    assert np.nanmin(found.cascading) > 0.999 and abs(np.nanmean(found.elsewhere)) < 0.3


def test_the_model_is_left_as_it_was(network):
    model, x = network
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sanity(model, x[:2])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_shuffling_keeps_each_tensors_values_and_leaves_other_layers_alone(network):
    model, x = network
    copy = randomised(model, x, [("head",), ("trunk.layer1",)])
    for (name, ours), theirs in zip(model.named_parameters(), copy.parameters()):
        shuffled = name.startswith(("head", "trunk.layer1"))
        torch.testing.assert_close(ours.flatten().sort().values, theirs.flatten().sort().values)
        if ours.ndim > 1:
            assert torch.equal(ours, theirs) != shuffled, name
    again = randomised(model, x, [("trunk.layer1",)])
    assert torch.equal(copy.trunk.layer1[0].conv1.weight, again.trunk.layer1[0].conv1.weight)
    other = randomised(model, x, [("trunk.layer1",)], seed=1)
    assert not torch.equal(copy.trunk.layer1[0].conv1.weight, other.trunk.layer1[0].conv1.weight)


def test_norms_of_random_layers_measure_what_goes_through_them(network):
    model, x = network
    copy = randomised(model, x, [("trunk.conv1", "trunk.bn1")])
    with torch.no_grad():
        through = copy.trunk.conv1(x)
    torch.testing.assert_close(copy.trunk.bn1.running_mean, through.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert torch.equal(copy.trunk.layer1[0].bn1.running_mean, model.trunk.layer1[0].bn1.running_mean)
    assert not any(module.training for module in copy.modules())


@pytest.mark.parametrize(
    ("name", "minus", "top", "bottom"),
    [
        ("densenet121", 0, ("trunk.features.denseblock4", "trunk.features.norm5"), "trunk.features.conv0"),
        ("efficientnet_b0", 0, ("trunk.conv_head", "trunk.bn2"), "trunk.conv_stem"),
        ("efficientnet_b0", 1, ("trunk.blocks.5",), "trunk.conv_stem"),
        ("mnasnet", 4, ("trunk.blocks.2",), "trunk.conv_stem"),
        ("inception_v3", 0, ("trunk.Mixed_7c",), "trunk.Conv2d_1a_3x3"),
    ],
)
def test_layers_go_from_the_head_to_the_first_convolution_and_hold_every_weight(name, minus, top, bottom):
    model = create_model(name, findings=2, minus=minus)
    layers = layers_of(model)
    assert layers[0] == ("head",) and layers[1] == top and layers[-1][0] == bottom
    names = [module for layer in layers for module in layer]
    assert len(set(names)) == len(names)
    held = sum(w.numel() for module in names for w in model.get_submodule(module).parameters())
    assert held == sum(w.numel() for w in model.parameters())


def test_methods_beside_each_other_give_what_each_gives_alone(knowing):
    both = sanity(*knowing, methods=["paper", "grad-cam"])
    for method, found in both.items():
        [alone] = sanity(*knowing, methods=[method]).values()
        np.testing.assert_array_equal(found.cascading, alone.cascading)
        np.testing.assert_array_equal(found.independent, alone.independent)
    assert not np.array_equal(both["paper"].cascading, both["grad-cam"].cascading)


def test_one_image_is_not_enough(network):
    with pytest.raises(UserError, match="give at least 2"):
        sanity(network[0], network[1][:1])
