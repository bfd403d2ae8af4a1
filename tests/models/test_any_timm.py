"""Networks that the table lacks: what timm says of them, what images they take, and which are refused."""

import random
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from chexlib.cli import main
from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, architecture, create_model, weights
from chexlib.models.any_timm import _family, timm_row
from chexlib.models.networks import count, on_meta, shape_of_maps
from chexlib.models.truncate import parameters
from chexlib.models.zoo import check_size

TINY = ("test_convnext", "test_efficientnet", "test_nfnet")


@pytest.mark.parametrize(
    ("name", "tag", "family"),
    [
        ("convnext_tiny", "convnext_tiny.in12k_ft_in1k", "ConvNeXt"),
        ("convnext_tiny.fb_in1k", "convnext_tiny.fb_in1k", "ConvNeXt"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k", "ResNet"),
        ("nf_regnet_b0", "nf_regnet_b0", "regnet"),  # timm has no weights of it
    ],
)
def test_a_row_says_what_timm_says(name, tag, family):
    import timm

    row, config = architecture(name), timm.get_pretrained_cfg(name)
    assert (row.name, row.paper_name, row.tag, row.family) == (name, name, tag, family)
    assert (row.mean, row.std, row.licence) == (config.mean, config.std, config.license or "")
    assert not row.in_paper and not row.pools_last and np.isnan(row.top1)
    assert row.label(2) == f"{name}Minus2"


@pytest.mark.parametrize("name", TINY)
def test_its_size_is_what_building_it_gives(name):
    row, model = architecture(name), create_model(name)
    assert parameters(row) == row.parameters == count(model)
    assert (model.label, model.family, model.pools_last) == (name, row.family, False)
    x = torch.randn(2, 3, row.smallest, row.smallest, generator=torch.Generator().manual_seed(0))
    loss = binary_cross_entropy_with_logits(model(x), torch.eye(2, 14))
    loss.backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet152", "ResNet"),
        ("wide_resnet50_2", "ResNet"),
        ("densenet161", "DenseNet"),
        ("tf_efficientnet_lite3", "EfficientNet-Lite"),
        ("mobilenetv2_110d", "MobileNet"),  # timm builds it as an EfficientNet
        ("inception_resnet_v2", "Inception"),
        ("resnext50_32x4d", "resnext"),  # timm builds it as a ResNet
        ("legacy_xception", "Xception"),
        ("hrnet_w18", "hrnet"),
        ("cs3darknet_m", "darknet"),
        ("res2net50_14w_8s", "res2net"),
    ],
)
def test_a_family_is_the_tables_or_the_networks_own(name, family):
    with torch.device("meta"):
        import timm

        assert _family(name, timm.create_model(name)) == family


@pytest.mark.parametrize(
    ("name", "smallest", "multiple"),
    [
        ("convnext_tiny", 32, 1),
        ("ghostnetv2_100", 33, 1),  # halves maps once more than its stride says
        ("tresnet_m", 32, 4),
        ("dla34", 32, 32),
        ("lambda_resnet26t", 128, 32),  # timm's own word
    ],
)
def test_the_images_that_a_network_takes_are_found_by_trying(name, smallest, multiple):
    row = architecture(name)
    assert (row.smallest, row.multiple) == (smallest, multiple)
    network = on_meta(row)
    assert shape_of_maps(network, smallest) is not None and shape_of_maps(network, smallest + 7 * multiple) is not None
    check_size(row, 10 * smallest)
    with pytest.raises(UserError, match=f"size={smallest - 1}: {name} needs images of at least {smallest} px"):
        check_size(row, smallest - 1)
    if multiple > 1:
        with pytest.raises(UserError, match=f"needs a multiple of {multiple} px, for example {2 * smallest}"):
            check_size(row, 2 * smallest + 1)


def test_the_table_and_timm_agree_on_the_smallest_image():
    assert timm_row("inception_v3.tv_in1k").smallest == ARCHITECTURES["inception_v3"].smallest
    assert timm_row("mobilenetv2_100.ra_in1k").smallest == ARCHITECTURES["mobilenet_v2"].smallest


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_tiny_patch16_224", "takes images of 224 px alone, for its embeddings or windows: choose a convolutional"),
        ("swin_tiny_patch4_window7_224", "takes images of 224 px alone"),
        ("test_mambaout", r"its last maps are not \(N, C, h, w\) but \(2, 5, 5, 64\): choose a convolutional network"),
        ("mobilenetv5_300m_enc", "has no pooling for a classifier: choose a convolutional network"),
        ("efficientvim_m1", r"its last maps are not \(N, C, h, w\): choose"),
        ("convnext_tny", "is not known; nearest: convnext_tiny"),
        ("ConvNeXt_Tiny", "is not known; nearest: convnext_tiny"),
        ("resnet18.nonsense", r"is not known; nearest: resnet18\."),
        ("resnet18.", r"is not known; nearest: resnet18"),
        ("nonsense", "is not known; nearest: "),
        ("", "is not known; nearest: "),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(name, says):
    for refused in (architecture, create_model):
        with pytest.raises(UserError, match=says) as caught:
            refused(name)
        assert "\n" not in str(caught.value) and repr(name) in str(caught.value)


def test_a_name_that_timm_gave_up_is_refused_with_its_present_one(tmp_path, capsys):
    import timm

    former = timm.models.get_deprecated_models()
    assert len(former) > 200
    for name, now in former.items():
        for spelling in (name, f"{name}.in1k"):
            with pytest.raises(UserError, match=re.escape(repr(now))) as caught:
                architecture(spelling)
            assert "\n" not in str(caught.value) and repr(spelling) in str(caught.value)
    (tmp_path / "study.yaml").write_text("title: T\nruns: [{arch: tf_efficientnet_b0_ns}]")
    for command in ("train arch=tf_efficientnet_b0_ns", "weights check tf_efficientnet_b0_ns",
                    "weights list tf_efficientnet_b0_ns", f"study plan {tmp_path}/study.yaml"):  # fmt: skip
        assert main(command.split()) == 2
        assert "tf_efficientnet_b0.ns_jft_in1k" in capsys.readouterr().err


def test_looking_at_a_network_draws_no_random_number():
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = state()
    parameters(timm_row.__wrapped__("test_convnext2"), 1)
    assert state() == before


@pytest.fixture
def stored(folder):
    """The file of a ConvNeXt, as timm publishes it: with `head.norm` and a 1000-class `head.fc`."""
    import timm

    torch.manual_seed(7)
    tensors = timm.create_model("test_convnext", num_classes=1000).state_dict()
    save_file(tensors, folder / "test_convnext.r160_in1k.safetensors")
    return tensors


def test_imagenet_weights_fill_the_trunk_by_name(stored):
    model = create_model("test_convnext", init="imagenet")
    trunk = model.trunk.state_dict()
    assert {name for name in stored if name not in trunk} == {"head.fc.weight", "head.fc.bias"}
    assert "head.norm.weight" in trunk
    assert all(torch.equal(value, stored[name]) for name, value in trunk.items())
    assert torch.equal(model.head.weight, create_model("test_convnext").head.weight)
    assert model.mean == architecture("test_convnext").mean
    assert {name: model.weights_source[name] for name in ("origin", "tag", "licence")} == {
        "origin": "CHEXLIB_WEIGHTS", "tag": "test_convnext.r160_in1k", "licence": "apache-2.0"}  # fmt: skip


def test_imagenet_weights_of_what_remains_are_those_of_the_whole(stored):
    trunk = create_model("test_convnext", init="imagenet", minus=1).trunk.state_dict()
    assert not [name for name in trunk if name.startswith(("head", "stages.3"))]
    assert all(torch.equal(value, stored[name]) for name, value in trunk.items())


def test_the_weights_verbs_take_any_name(stored, capsys):
    assert main(["weights", "list", "test_convnext", "convnext_tiny.fb_in1k"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["test_convnext", "test_convnext.r160_in1k", "apache-2.0"]
    assert first.endswith("test_convnext.r160_in1k.safetensors")
    assert second.split()[0] == second.split()[1] == "convnext_tiny.fb_in1k" and second.endswith("not here")
    assert main(["weights", "check", "test_convnext"]) == 0
    assert main(["weights", "check", "vit_tiny_patch16_224"]) == 2


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("convnext_tiny", "timm/convnext_tiny.in12k_ft_in1k"),
        ("rdnet_tiny", "naver-ai/rdnet_tiny.nv_in1k"),
        ("nf_regnet_b0", None),
    ],
)
def test_the_hub_is_asked_for_the_checkpoints_own_repository(folder, monkeypatch, name, repository):
    asked = []
    monkeypatch.setattr(weights, "_answers", lambda url: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repository, *_, **__: asked.append(repository) or 1 / 0
    )
    with pytest.raises(UserError, match=f"no ImageNet weights for {name}") as caught:
        create_model(name, init="imagenet")
    assert asked == ([repository] if repository else [])
    assert ("huggingface.co" in str(caught.value)) == bool(repository)
    assert f"put {architecture(name).tag}.safetensors into the folder" in str(caught.value)
