"""Each network built for real, once: shapes, a training step, and where its randomness comes from."""

import random

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, create_model
from chexlib.models.truncate import TRUNCATIONS
from chexlib.models.zoo import CBR

WIDTHS = {"densenet121": 1024, "resnet50": 2048, "mobilenet_v3": 960, "nasnetamobile": 1056, "inception_v4": 1536}


ROWS = ARCHITECTURES | CBR


@pytest.fixture(scope="module", params=ROWS)
def model(request):
    return create_model(request.param)


@pytest.fixture
def name(request, model):
    return request.node.callspec.params["model"]


def images(n: int, size: int) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_every_network_takes_its_smallest_image(model, name):
    x = images(2, ROWS[name].smallest)
    with torch.inference_mode():
        maps = model.eval().maps(x)  # (N, C, h, w)
        assert model(x).shape == (2, 14)
        assert torch.equal(model.logits(maps), model(x))
    assert maps.ndim == 4 and maps.shape[0] == 2 and min(maps.shape) > 0
    assert maps.shape[1] == WIDTHS.get(name, maps.shape[1])


def test_average_pooling_and_one_layer_follow_the_maps_where_the_table_says_so(model, name):
    with torch.inference_mode():
        x = images(2, ROWS[name].smallest)
        maps = model.eval().maps(x)
        follows = maps.shape[1] == model.head.in_features and torch.allclose(
            model.head(maps.mean(dim=(2, 3))), model(x), atol=1e-6)  # fmt: skip
    assert follows == ROWS[name].pools_last == model.pools_last


def test_a_random_network_has_no_source(model, name):
    assert (model.mean, model.std, model.weights_source) == (None, None, None)
    assert model.label == ROWS[name].paper_name


def test_one_real_training_step_reaches_every_weight(model, name):
    before = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    optimiser = torch.optim.SGD(model.train().parameters(), lr=1e-2)
    loss = binary_cross_entropy_with_logits(model(images(4, ROWS[name].smallest)), torch.eye(4, 14))
    loss.backward()
    optimiser.step()
    assert loss.isfinite()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    moved = [key for key, weight in model.named_parameters() if not torch.equal(before[key], weight)]
    assert moved[-2:] == ["head.weight", "head.bias"]
    assert moved[0] == next(iter(before)), "the first convolution learns too"


@pytest.mark.parametrize(
    ("name", "minus"), [(n, m + 1) for n, how in TRUNCATIONS.items() for m in range(len(how.cuts))]
)
def test_a_truncated_network_keeps_the_weights_of_what_remains(name, minus):
    full, cut = create_model(name, seed=3), create_model(name, seed=3, minus=minus)
    ours, all_of_it = cut.trunk.state_dict(), full.trunk.state_dict()
    assert set(ours) < set(all_of_it)
    assert all(torch.equal(value, all_of_it[key]) for key, value in ours.items())
    assert cut.label == f"{full.label}Minus{minus}"
    x = images(2, 64)
    with torch.inference_mode():
        maps = cut.eval().maps(x)
        assert cut(x).shape == (2, 14) and maps.shape[1] == cut.head.in_features
        assert maps.shape[-1] >= full.eval().maps(x).shape[-1]


@pytest.mark.parametrize("name", ["resnet18", "mnasnet", "mobilenet_v3", "nasnetamobile"])
def test_the_seed_determines_every_weight_and_nothing_else_moves(name):
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = state()
    first, again, other = (create_model(name, seed=seed) for seed in (1, 1, 2))
    assert state() == before
    torch.rand(7)  # what the caller draws has no influence
    for (key, a), b, c in zip(first.state_dict().items(), again.state_dict().values(), other.state_dict().values()):
        assert torch.equal(a, b), key
        if a.ndim > 1:
            assert not torch.equal(a, c), key


def test_the_head_has_one_logit_a_finding():
    assert create_model("mobilenet_v2", findings=3)(images(2, 32)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3"])
def test_three_classes_train_apart_and_show_one_logit(name):
    """Present against absent: its sigmoid is the softmax over these two."""
    model, x = create_model(name, findings=5, classes=3), images(3, 32)
    assert model(x).shape == (3, 5, 3)
    one = create_model(name, findings=5)
    count = [sum(weight.numel() for weight in m.parameters()) for m in (model, one)]
    assert count[0] - count[1] == 2 * sum(weight.numel() for weight in one.head.parameters())
    with torch.inference_mode():
        features = model.eval().trunk.forward_head(model.maps(x), pre_logits=True)
        z = torch.nn.functional.linear(features, model.head.weight, model.head.bias).reshape(3, 5, 3)
        logits = model(x)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(logits.sigmoid(), z[..., :2].softmax(dim=-1)[..., 1])


@pytest.mark.parametrize("name", TRUNCATIONS)
def test_the_pooling_after_a_cut_is_the_trunks_own(name):
    model = create_model(name, minus=1)
    maps = model.maps(images(3, 64))
    assert torch.equal(model.logits(maps), model.head(model.trunk.forward_head(maps, pre_logits=True)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "densenet12"}, "'densenet12' is not known; nearest: densenet121"),
        ({"name": "resnet18", "findings": 0}, "findings=0"),
        ({"name": "resnet18", "classes": 2}, "classes=2: a finding has 1 output, or 3"),
        ({"name": "resnet18", "minus": 4}, "^minus=4: ResNet18 has 4 residual stages, so 0 to 3 can be dropped$"),
        ({"name": "densenet121", "minus": -1}, "^minus=-1: DenseNet121 has 4 dense blocks"),
        ({"name": "regnetx_002", "minus": 4}, "minus=4: regnetx_002 has 4 stages, so 0 to 3 can be dropped"),
        ({"name": "nasnetamobile", "minus": 1}, "^minus=1: NASNetAMobile cannot be truncated, it has no stages"),
        ({"name": "vit_tiny_patch16_224"}, "takes images of 224 px alone"),
        ({"name": "resnet18", "init": "gabor"}, "there are random, imagenet, mean_var and file:"),
        ({"name": "resnet18", "init": "file:"}, "there are random"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arguments, says):
    with pytest.raises(UserError, match=says) as caught:
        create_model(**arguments)
    assert "\n" not in str(caught.value)
