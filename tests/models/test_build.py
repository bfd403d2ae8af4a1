"""Each network built for real, once: shapes, a training step, where its randomness comes from; Transfusion's layers."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import chexlib
from chexlib.errors import UserError
from chexlib.explain.cam import cam, sums
from chexlib.models import ARCHITECTURES, architecture, create_model
from chexlib.models.networks import count
from chexlib.models.truncate import TRUNCATIONS, parameters, truncation
from chexlib.models.zoo import TRANSFUSION, cbr_parameters

WIDTHS = {"densenet121": 1024, "resnet50": 2048, "mobilenet_v3": 960, "nasnetamobile": 1056, "inception_v4": 1536}
ROWS = ARCHITECTURES | TRANSFUSION


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


def test_the_first_network_of_a_process_has_the_weights_of_any_other():
    """Though what is imported for it draws random numbers."""
    code = ("import torch, chexlib; a, b = (chexlib.create_model('nasnetamobile') for _ in range(2)); "
            "assert all(map(torch.equal, a.parameters(), b.parameters()))")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_head_has_one_logit_a_finding():
    assert create_model("mobilenet_v2", findings=3)(images(2, 32)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3"])
def test_three_classes_train_apart_and_show_one_logit(name):
    """Present against absent: its sigmoid is the softmax over these two."""
    model, x = create_model(name, findings=5, classes=3), images(3, 32)
    assert model(x).shape == (3, 5, 3)
    one = create_model(name, findings=5)
    assert count(model) - count(one) == 2 * count(one.head)
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
        ({"name": "resnet18", "init": "gabr"}, "there are random, imagenet, mean_var, mean_var:weights, transfusion:<"),
        ({"name": "resnet18", "init": "gabor:3"}, "init='gabor:3' is not known"),
        ({"name": "resnet18", "init": "transfusion:"}, "init='transfusion:' is not known"),
        ({"name": "resnet18", "init": "mean_var:norms"}, "init='mean_var:norms' is not known"),
        ({"name": "resnet18", "init": "file:"}, "there are random"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arguments, says):
    with pytest.raises(UserError, match=says) as caught:
        create_model(**arguments)
    assert "\n" not in str(caught.value)


LABELS = {"cbr_larget": "CBR-LargeT", "cbr_largew": "CBR-LargeW", "cbr_small": "CBR-Small", "cbr_tiny": "CBR-Tiny"}


@pytest.mark.parametrize(("name", "label"), LABELS.items())
def test_everything_is_counted_as_torch_counts_it(name, label):
    row, model = architecture(name), create_model(name)
    assert count(model) == row.parameters == parameters(row) == cbr_parameters(label, 14)
    assert count(create_model(name, findings=5)) == cbr_parameters(label, 5)
    assert (model.label, model.family, row.in_paper, name in ARCHITECTURES) == (label, "CBR", False, False)


def test_the_weights_that_transfusion_counts_are_those_of_all_convolutions_but_the_first_and_of_the_head():
    model = create_model("cbr_tiny", findings=5)
    convolutions = [weight.numel() for weight in model.trunk.parameters() if weight.ndim == 4]
    assert sum(convolutions[1:]) + model.head.weight.numel() == 1_076_480  # its Table 1


def test_each_layer_but_the_last_is_pooled():
    maps = create_model("cbr_small", findings=3).maps(torch.randn(2, 3, 40, 40))
    assert maps.shape == (2, 256, 5, 5) and (maps >= 0).all()  # 40, 20, 10, 5


def test_its_maps_are_in_closed_form_and_its_last_layers_can_be_dropped():
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    row = architecture("cbr_tiny")
    assert len(truncation(row).cuts) == 3
    for minus, cells in enumerate((4, 8, 16, 32)):
        model = create_model("cbr_tiny", findings=2, minus=minus).eval()
        assert count(create_model("cbr_tiny", minus=minus)) == parameters(row, minus)
        found, logits = sums(model, x, method="hirescam")
        assert found.shape == (2, 2, cells, cells)
        torch.testing.assert_close(found.sum(dim=(2, 3)) + model.head.bias.detach(), logits, atol=1e-5, rtol=1e-4)
    assert cam(model, x, method="score-cam").isfinite().all()


def test_there_are_no_imagenet_weights_and_near_names_are_offered():
    with pytest.raises(UserError, match="no ImageNet weights for cbr_tiny"):
        create_model("cbr_tiny", init="imagenet")
    with pytest.raises(UserError, match="nearest: cbr_tiny"):
        create_model("CBR-Tiny")
    assert np.isnan(architecture("cbr_tiny").top1) and "cbr_tiny" not in set(chexlib.architectures().index)
