"""Features are read where their names say, as copies, and reading leaves nothing behind."""

import pytest
import torch
from torch import nn

from chexlib.errors import UserError
from chexlib.explain.features import stage_features
from chexlib.models import ARCHITECTURES, architecture, create_model
from chexlib.models.networks import Classifier, on_meta
from chexlib.models.truncate import stages


class Stages(nn.Module):
    """Two stages, the second of which begins with a ReLU that works in place."""

    head_hidden_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1))
        first, second = nn.Sequential(nn.Conv2d(4, 4, 1)), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
        self.blocks = nn.Sequential(first, second)
        self.feature_info = [{"module": f"blocks.{i}", "reduction": 1, "num_chs": 4} for i in range(2)]

    def forward_features(self, x):
        if len(x) == 3:
            raise RuntimeError("three images")
        return self.blocks(self.stem(x)).relu_()

    def forward_head(self, maps, pre_logits=True):
        return maps.mean(dim=(2, 3))


@pytest.fixture
def small() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Stages(), 4, 2, ARCHITECTURES["resnet18"]).train()


def images(n: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


FAMILIES = {row.family: name for name, row in reversed(ARCHITECTURES.items())}  # the first row of each


@pytest.mark.parametrize("name", [*FAMILIES.values(), "inception_v4", "cbr_larget", "vgg11_bn"])
def test_features_have_the_stages_that_inits_have(name):
    row = architecture(name)
    with torch.device("meta"):
        model = Classifier(on_meta(row), 8, 1, row)
        found = stage_features(model, torch.empty(2, 3, row.top1_px, row.top1_px))
    assert list(found) == [*stages(row), "maps"]
    sizes = [maps.shape[2] for maps in found.values()]
    assert sizes == sorted(sizes, reverse=True) and all(maps.ndim == 4 and len(maps) == 2 for maps in found.values())


def test_stages_are_what_the_network_computes_by_hand():
    model, x = create_model("resnet18", findings=2, seed=3).eval(), images()
    trunk = model.trunk
    with torch.no_grad():
        by_hand = [trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(x))))]
        for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
            by_hand.append(layer(by_hand[-1]))
    found = stage_features(model, x)
    for maps, expected in zip(found.values(), [*by_hand, by_hand[-1]], strict=True):
        torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "minus", "left"), [("resnet18", 2, 2), ("mnasnet", 4, 3), ("densenet121", 1, 3)])
def test_a_truncated_network_has_the_stages_that_are_left(name, minus, left):
    whole, cut = (create_model(name, findings=2, minus=n, seed=3) for n in (0, minus))
    found = stage_features(cut, images())
    assert list(found) == ["conv1", *(f"block{n}" for n in range(1, left + 1)), "maps"]
    names = list(found)[:-1]
    for name, maps in stage_features(whole, images(), names).items():
        torch.testing.assert_close(found[name], maps)
    torch.testing.assert_close(found["maps"], found[names[-1]])


def test_a_relu_in_place_does_not_reach_what_was_read(small):
    x, trunk = images(), small.trunk
    found = stage_features(small, x)
    with torch.no_grad():
        torch.testing.assert_close(found["conv1"], trunk.stem(x))
        torch.testing.assert_close(found["block1"], trunk.blocks[0](trunk.stem(x)))
        torch.testing.assert_close(found["maps"], found["block2"].relu())
    assert min(maps.min() for name, maps in found.items() if name != "maps") < 0


def test_only_the_stages_asked_for_are_read_in_the_networks_order(small):
    assert list(stage_features(small, images(), ["maps", "conv1"])) == ["conv1", "maps"]
    assert list(stage_features(small, images(), ["block2"])) == ["block2"]


def test_many_images_give_what_each_gives(small):
    x = images(7, size=300)  # goes through in parts
    whole = stage_features(small, x)
    for i in range(7):
        for name, maps in stage_features(small, x[i : i + 1]).items():
            torch.testing.assert_close(whole[name][i : i + 1], maps)


def test_reading_leaves_no_hook_and_the_mode_as_it_was_whatever_happens(small):
    small.trunk.stem.eval()
    modes = [module.training for module in small.modules()]
    with torch.inference_mode():
        stage_features(small, images())
    with pytest.raises(UserError, match="three images"):
        stage_features(small, images(3))
    assert [module.training for module in small.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.modules())


def test_a_stage_that_there_is_not_is_refused_with_those_that_there_are(small):
    with pytest.raises(UserError, match=r"'block9'.*conv1, block1, block2, maps"):
        stage_features(small, images(), ["block1", "block9"])
