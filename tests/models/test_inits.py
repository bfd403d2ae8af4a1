"""What each initialisation is for: which tensors are the checkpoint's, what the drawn ones have of it, and filters."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, architecture, create_model
from chexlib.models.inits import INITS, gabor, initialise
from chexlib.models.networks import _efficientnet_lite0, untrained_trunk
from chexlib.models.truncate import stage_names, stages
from chexlib.models.zoo import TRANSFUSION

pytestmark = pytest.mark.usefixtures("folder")
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


@pytest.fixture
def checkpoint(folder):
    """Makes up a network's ImageNet weights, every tensor of which has moments of its own, and gives them by name."""

    def make(name: str) -> dict[str, torch.Tensor]:
        row, generator = architecture(name), torch.Generator().manual_seed(11)
        whole = architecture(name.removesuffix("_slim"))
        state = untrained_trunk(whole).state_dict()
        for n, (key, value) in enumerate(state.items()):
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator).abs()
                state[key] = drawn * (1 + n % 5) + n % 3
        save_file(state, folder / f"{row.tag}.safetensors")
        return state

    return make


def trunks(name: str, *inits: str, **options) -> list[dict[str, torch.Tensor]]:
    return [create_model(name, init=init, **options).trunk.state_dict() for init in inits]


DENSE = ("features.conv0.", "features.norm0.", "features.denseblock1.")
BLOCKS = [
    ("resnet18", "conv1", 0, ("conv1.", "bn1.")),
    ("resnet18", "block2", 0, ("conv1.", "bn1.", "layer1.", "layer2.")),
    ("densenet121", "block2", 2, (*DENSE, "features.transition1.", "features.denseblock2.")),
    ("densenet121", "block1", 1, DENSE),
    ("efficientnet_lite0", "block7", 0, ("conv_stem.", "bn1.", "blocks.")),  # its head convolution is above
    ("test_convnext", "conv1", 0, ("stem.",)),
    ("resnet50_slim", "block2", 0, ("conv1.", "bn1.", "layer1.", "layer2.")),
    ("efficientnet_lite0_slim", "block3", 0, ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.", "blocks.2.")),
]


@pytest.mark.parametrize(("name", "stage", "minus", "below"), BLOCKS)
def test_what_is_transfused_is_the_checkpoints_up_to_the_stage_and_random_above(checkpoint, name, stage, minus, below):
    """Running statistics go with their weights."""
    stored = checkpoint(name)
    model = create_model(name, init=f"transfusion:{stage}", minus=minus, seed=3)
    [random] = trunks(name, "random", minus=minus, seed=3)
    taken = [key for key in random if key.startswith(below)]
    assert any(key.endswith("running_var") for key in taken) or name == "test_convnext"
    for key, value in model.trunk.state_dict().items():
        assert torch.equal(value, (stored if key in taken else random)[key]), key
        assert key not in taken or value.ndim == 0 or not torch.equal(value, random[key]), key
    assert 0 < len(taken) < len(random) or (stage, minus) == ("block2", 2)
    row = architecture(name)
    assert (model.mean, model.std, model.weights_source["tag"]) == (row.mean, row.std, row.tag)
    assert model.weights_source["init"] == f"transfusion:{stage}"


def test_all_stages_of_a_network_that_ends_with_its_last_are_the_whole_of_it(checkpoint):
    checkpoint("resnet18")
    last, whole = trunks("resnet18", "transfusion:block4", "imagenet")
    assert all(torch.equal(last[key], whole[key]) for key in whole)


@pytest.mark.parametrize("row", [*ARCHITECTURES.values(), *TRANSFUSION.values()], ids=lambda row: row.name)
def test_stages_have_the_names_that_are_known_without_building(row):
    assert stage_names(row) == list(stages(row))


def test_stages_lie_within_one_another_and_have_the_papers_names():
    assert list(stages(architecture("resnet50"))) == ["conv1", "block1", "block2", "block3", "block4"]
    assert list(stages(architecture("efficientnet_b0"))) == ["conv1", *(f"block{n}" for n in range(1, 8))]
    assert list(stages(architecture("cbr_larget"))) == [f"block{n}" for n in range(1, 6)]  # which has no stem
    for name in ("densenet121", "efficientnet_b0", "cbr_tiny", "test_nfnet"):
        after = list(stages(architecture(name)).values())
        assert all(set(more) > set(fewer) for more, fewer in pairwise(after))


@pytest.mark.parametrize(
    ("name", "stage", "minus", "says"),
    [
        ("resnet50", "block5", 0, "^stage 'block5': ResNet50 has conv1, block1, block2, block3, block4$"),
        ("resnet50", "layer1", 0, "^stage 'layer1': ResNet50 has conv1"),
        ("resnet50", "<stage>", 0, "^stage '<stage>': ResNet50 has conv1"),
        ("densenet121", "block4", 1, "^stage 'block4': DenseNet121Minus1 has conv1, block1, block2, block3$"),
        ("cbr_tiny", "conv1", 0, "^stage 'conv1': CBR-Tiny has block1, block2, block3, block4$"),
        ("cbr_tiny", "block1", 0, "^no ImageNet weights for cbr_tiny"),
        ("nasnetamobile", "block1", 0, "^stage 'block1': NASNetAMobile has no stages that simply follow one another$"),
    ],
)
def test_a_stage_that_is_not_there_is_refused_with_those_that_are(name, stage, minus, says):
    with pytest.raises(UserError, match=says) as caught:
        create_model(name, init=f"transfusion:{stage}", minus=minus)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "test_convnext"])
def test_mean_var_keeps_each_tensors_moments_and_none_of_its_features(checkpoint, name):
    stored = checkpoint(name)
    model, random = create_model(name, init="mean_var", seed=5), create_model(name, seed=5)
    for key, new in model.trunk.named_parameters():
        same_moments(new, stored[key], key)
    for (key, value), fresh in zip(model.trunk.named_buffers(), random.trunk.buffers(), strict=True):
        assert torch.equal(value, fresh), key  # running statistics
    assert model.mean == architecture(name).mean


@pytest.mark.parametrize("name", ["resnet18", "test_convnext"])
def test_mean_var_of_weights_alone_leaves_norms_at_one_and_zero(checkpoint, name):
    """Where mean_var gives them the checkpoint's moments, and a random ResNet begins with a scale of 0 in some."""
    stored = checkpoint(name)
    model, random = create_model(name, init="mean_var:weights", seed=5), create_model(name, seed=5)
    kinds, built = set(), dict(random.trunk.named_modules())
    for prefix, module in model.trunk.named_modules():
        for key, new in module.named_parameters(recurse=False):
            name_of = f"{prefix}.{key}".removeprefix(".")
            if isinstance(module, nn.Conv2d | nn.Linear):
                same_moments(new, stored[name_of], name_of)
            elif isinstance(module, NORMS):
                assert (new == (key == "weight")).all(), name_of
            else:
                assert torch.equal(new, getattr(built[prefix], key)), name_of
            kinds.add(type(module))
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all() and (module.running_var == 1).all()
    assert any(issubclass(kind, NORMS) for kind in kinds)
    assert model.mean == architecture(name).mean and model.weights_source["init"] == "mean_var:weights"


def same_moments(new: torch.Tensor, old: torch.Tensor, key: str) -> None:
    """Within five standard errors; and no likeness."""
    mean, std, n = old.mean(), old.std(correction=0), old.numel()
    assert abs(new.mean() - mean) <= 5 * std / n**0.5, key
    assert abs(new.std(correction=0) / std - 1) <= 5 / (2 * n) ** 0.5, key
    correlation = torch.corrcoef(torch.stack([old.flatten(), new.detach().flatten()]))[0, 1]
    assert abs(correlation) <= 5 / n**0.5, key


def orientation_of(filters: torch.Tensor) -> np.ndarray:
    """Of each filter (F, k, k), in radians below pi: the axis along which its power spectrum is spread out most."""
    power = torch.fft.fft2(filters.double(), s=(64, 64)).abs().square().numpy()  # (F, 64, 64), from row and column
    f = np.fft.fftfreq(64)
    fx, fy = f[None, :], f[:, None]
    power = power * (np.hypot(fx, fy) < 0.5)
    xx, yy, xy = ((power * weight).sum(axis=(1, 2)) for weight in (fx * fx, fy * fy, fx * fy))
    return np.arctan2(2 * xy, xx - yy) / 2 % np.pi


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between two orientations."""
    return np.degrees(np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2))


@pytest.mark.parametrize(("size", "degrees"), [(3, 13), (4, 6), (5, 2), (7, 1), (11, 1)])
def test_a_gabor_filter_has_the_orientation_of_the_formula(size, degrees):
    n = 48
    orientation = torch.pi * torch.arange(n) / n
    generator = torch.Generator().manual_seed(2)
    frequency = 1 / size + (1 / 3 - 1 / size) * torch.rand(n, generator=generator)
    filters = gabor(orientation, frequency, 2 * torch.pi * torch.rand(n, generator=generator), size)
    assert apart(orientation_of(filters), orientation.numpy()).max() < degrees
    torch.testing.assert_close(filters.mean(dim=(1, 2)), torch.zeros(n), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters.var(dim=(1, 2), correction=0), torch.ones(n))


def test_a_gabor_filter_has_the_frequency_and_the_phase_of_the_formula():
    """Waves of 5 pixels along x: even at phase 0, odd at 90 degrees."""
    along_x = torch.zeros(2)
    even, odd = gabor(along_x, torch.full((2,), 0.2), torch.tensor([0, torch.pi / 2]), 21)
    torch.testing.assert_close(even, even.flip(1))
    torch.testing.assert_close(odd, -odd.flip(1), atol=1e-5, rtol=0)
    for filters in (even, odd):
        spectrum = torch.fft.fft2(filters, s=(200, 200)).abs()
        peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
        assert peak[0] == 0 and min(peak[1], 200 - peak[1]) == pytest.approx(40, abs=1)  # 0.2 of 200


# of 7 x 7, 5 x 5, 4 x 4 and 3 x 3 pixels
@pytest.mark.parametrize(("name", "degrees"), [("resnet18", 1), ("cbr_tiny", 2), ("test_convnext", 6), ("mnasnet", 13)])
def test_the_first_convolution_is_of_gabor_filters_and_all_else_random(name, degrees):
    model, random = (create_model(name, init=init, seed=4) for init in ("gabor", "random"))
    first = next(key for key, value in random.trunk.named_parameters() if value.ndim == 4)
    (ours, theirs) = (one.trunk.state_dict() for one in (model, random))
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == [first]
    filters = ours[first]
    assert torch.equal(filters[:, 0], filters[:, 1]) and torch.equal(filters[:, 0], filters[:, 2])
    torch.testing.assert_close(filters.std(correction=0), theirs[first].std(correction=0))
    each = filters.std(dim=(1, 2, 3), correction=0)
    torch.testing.assert_close(each, each.mean().expand_as(each))  # no filter is louder than another
    found, n = np.sort(orientation_of(filters[:, 0])), len(filters)
    gaps = np.degrees(np.diff(np.append(found, found[0] + np.pi)))
    assert gaps.max() < 180 / n + 2 * degrees  # spread evenly over all orientations
    assert (model.mean, model.weights_source) == (None, None)  # normalised by the training set


def test_gabor_filters_of_two_seeds_are_other_filters():
    one, other = (create_model("resnet18", init="gabor", seed=seed).trunk.conv1.weight for seed in (0, 1))
    orientations = [np.sort(orientation_of(weight[:, 0].detach())) for weight in (one, other)]
    assert apart(*orientations).max() < 2
    assert not torch.equal(one, other)


def test_a_first_convolution_that_sees_no_image_takes_no_gabor_filters():
    """One after the image was folded into channels, one of single pixels."""
    for first in (nn.Conv2d(48, 8, 3), nn.Conv2d(3, 8, 1)):
        with pytest.raises(UserError, match=r"^init=gabor: the first convolution of ResNet18 is none of 3 x 3"):
            initialise(nn.Sequential(first), ARCHITECTURES["resnet18"], "gabor", seed=0)


@pytest.mark.parametrize("init", ["random", "imagenet", "mean_var", "mean_var:weights", "transfusion:block2", "gabor"])
def test_the_seed_determines_all_and_the_head_is_the_same_whatever_the_init(checkpoint, init):
    checkpoint("test_convnext")
    state = torch.get_rng_state()
    model, again, other = (create_model("test_convnext", init=init, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    drawn = [key for key, a in model.trunk.named_parameters() if not torch.equal(a, other.trunk.get_parameter(key))]
    assert bool(drawn) == (init != "imagenet")
    assert torch.equal(model.head.weight, create_model("test_convnext", seed=5).head.weight)
    assert init in INITS or init.partition(":")[0] + ":<stage>" in INITS


@pytest.mark.parametrize("row", [row for row in TRANSFUSION.values() if row.channels], ids=lambda row: row.name)
def test_a_slim_network_is_the_whole_one_up_to_its_stage_and_half_as_wide_above(row):
    whole, slim = (untrained_trunk(one).state_dict() for one in (architecture(row.name.removesuffix("_slim")), row))
    assert list(whole) == list(slim)
    stage = {"resnet50_slim": "block2", "efficientnet_lite0_slim": "block3"}[row.name]
    above = tuple(f"{module}." for module in stages(row)[stage])
    vectors = [key for key, value in whole.items() if value.ndim]
    assert all(whole[key].shape == slim[key].shape for key in vectors if not key.startswith(above))
    outputs = {len(whole[key]) / len(slim[key]) for key in vectors if key.startswith(above)}
    # an inverted residual that widens what is not yet halved is as wide as it was
    assert outputs == ({2} if row.name == "resnet50_slim" else {1, 2})
    model = create_model(row.name, minus=1)
    assert model.label == f"{row.paper_name}Minus1"
    assert model.head.in_features * 2 == create_model(row.name.removesuffix("_slim"), minus=1).head.in_features


def test_with_its_own_channels_the_slim_efficientnet_is_timms():
    theirs = untrained_trunk(ARCHITECTURES["efficientnet_lite0"]).eval()
    ours = _efficientnet_lite0((16, 24, 40, 80, 112, 192, 320, 1280)).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(ours.forward_features(x), theirs.forward_features(x))
    assert ours.head_hidden_size == 1280


@pytest.mark.parametrize("init", ["imagenet", "mean_var", "transfusion:block3"])
def test_a_slim_network_takes_no_weights_of_stages_that_are_halved(checkpoint, init):
    checkpoint("resnet50_slim")
    with pytest.raises(UserError, match=r"'layer3\.0\.conv1\.weight' is \(256, 512, 1, 1\), .*: take weights up to"):
        create_model("resnet50_slim", init=init)
