"""Every architecture's size is pinned, and is what building it really gives."""

import subprocess
import sys

import pytest

from chexlib.errors import UserError
from chexlib.models import architecture, truncate, zoo

#       architecture, blocks dropped: parameters with 14 findings, and with 1000 classes
PINNED = {
    ("densenet121", 0): (6968206, 7978856),
    ("densenet121", 1): (4281742, None),
    ("densenet121", 2): (1304718, None),
    ("densenet121", 3): (348174, None),
    ("densenet169", 0): (12507790, 14149480),
    ("densenet201", 0): (18119822, 20013928),
    ("efficientnet_b0", 0): (4025482, 5288548),
    ("efficientnet_b0", 1): (2880858, None),
    ("efficientnet_b0", 2): (853390, None),
    ("efficientnet_b1", 0): (6531118, 7794184),
    ("efficientnet_b2", 0): (7720720, 9109994),
    ("efficientnet_b3", 0): (10717750, 12233232),
    ("inception_v3", 0): (21814254, 23834568),
    ("inception_v4", 0): (41164334, 42679816),
    ("mnasnet", 0): (3120246, 4383312),
    ("mnasnet", 1): (2087414, None),
    ("mnasnet", 2): (474614, None),
    ("mnasnet", 3): (265206, None),
    ("mnasnet", 4): (46966, None),
    ("nasnetamobile", 0): (4247776, 5289978),
    ("mobilenet_v2", 0): (2241806, 3504872),
    ("mobilenet_v3", 0): (4219966, 5483032),
    ("resnet18", 0): (11183694, 11689512),
    ("resnet18", 1): (2786382, None),
    ("resnet18", 2): (684878, None),
    ("resnet18", 3): (158414, None),
    ("resnet34", 0): (21291854, 21797672),
    ("resnet50", 0): (23536718, 25557032),
    ("resnet101", 0): (42528846, 44549160),
    ("efficientnet_lite0", 0): (3388942, 4652008),
    ("efficientnet_lite0", 1): (2356110, None),
    ("efficientnet_lite0", 2): (702350, None),
    ("efficientnet_lite1", 0): (4153614, 5416680),
    ("efficientnet_lite2", 0): (4829006, 6092072),
    ("resnet50_slim", 0): (7149646, 8160296),
    ("efficientnet_lite0_slim", 0): (959182, 1591208),
}
SLIM = [name for name, row in zoo.TRANSFUSION.items() if row.channels]


def test_every_architecture_and_every_truncation_is_pinned():
    cuts = {(name, 1 + i) for name, how in truncate.TRUNCATIONS.items() for i in range(len(how.cuts))}
    assert set(PINNED) == cuts | {(name, 0) for name in [*zoo.ARCHITECTURES, *SLIM]}
    assert all(truncate.pinned(name, minus) for name, minus in PINNED if name not in SLIM)


@pytest.mark.parametrize(("name", "minus"), PINNED)
def test_the_tables_and_the_networks_have_the_pinned_counts(name, minus):
    import torch

    from chexlib.models import create_model
    from chexlib.models.networks import count

    ours, original = PINNED[name, minus]
    row = architecture(name)
    assert truncate.parameters(row, minus) == ours
    assert original in (None, row.parameters_1000)
    with torch.device("meta"):  # shapes without memory; the real ones are built in test_build.py
        assert count(create_model(name, findings=14, minus=minus)) == ours
        assert not row.channels or count(create_model(name, findings=1000)) == original


@pytest.mark.parametrize("name", zoo.ARCHITECTURES)
def test_the_original_network_has_the_pinned_count_with_1000_classes(name):
    import timm
    import torch
    from pretrainedmodels.models.nasnet_mobile import NASNetAMobile

    from chexlib.models.networks import count

    row = zoo.ARCHITECTURES[name]
    with torch.device("meta"):
        original = NASNetAMobile(num_classes=1000) if row.builder == "pretrainedmodels" else timm.create_model(row.tag)
    assert count(original) == PINNED[name, 0][1]


@pytest.mark.parametrize("name", [row.name for row in zoo.ARCHITECTURES.values() if row.builder == "timm"])
def test_a_row_says_of_its_checkpoint_what_timm_says(name):
    import timm

    row = zoo.ARCHITECTURES[name]
    cfg = timm.get_pretrained_cfg(row.tag)
    assert (f"{cfg.architecture}.{cfg.tag}", cfg.mean, cfg.std) == (row.tag, row.mean, row.std)
    assert cfg.license == row.licence
    assert row.top1_px == (cfg.test_input_size or cfg.input_size)[-1]


def test_the_nasnet_row_says_of_its_checkpoint_what_pretrainedmodels_says():
    from pretrainedmodels.models.nasnet_mobile import pretrained_settings

    said, row = pretrained_settings["nasnetamobile"]["imagenet"], zoo.ARCHITECTURES["nasnetamobile"]
    assert (tuple(said["mean"]), tuple(said["std"]), said["input_size"][-1]) == (row.mean, row.std, row.top1_px)
    assert said["url"].endswith(f"/{row.tag}.pth")


def test_the_paper_has_sixteen_architectures():
    table = zoo.architectures()
    assert table.in_paper.sum() == 16
    assert set(table.index[~table.in_paper]) == {
        "nasnetamobile", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}  # fmt: skip
    assert table.loc["densenet121", ["paper_name", "top1", "parameters"]].tolist() == ["DenseNet121", 74.75, 6968206]
    assert table.top1.between(69, 83).all() and (table.top1_source != "").all()


def test_the_papers_networks_are_named_checked_and_counted_without_torch():
    code = ("import sys, chexlib.models.truncate as t; from chexlib.models import *; "
            "from chexlib.models.zoo import check_size; row = architecture('resnet18'); "
            "assert len(architectures()) >= 20 and t.parameters(row, 1) and t.parameters(architecture('cbr_tiny')); "
            "[(check_size(row, 320), t.check_minus(row, 0)) for row in ARCHITECTURES.values()]; "
            "[t.check_minus(architecture(name), len(how.cuts)) for name, how in t.TRUNCATIONS.items()]; "
            "assert not {'torch', 'timm', 'pretrainedmodels'} & set(sys.modules)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", zoo.ARCHITECTURES.values(), ids=zoo.ARCHITECTURES)
def test_the_papers_spelling_is_offered_the_right_name(row):
    spellings = {row.paper_name, row.name.upper(), row.name.replace("_", "-"), row.name.replace("_", " ")} - {row.name}
    for spelling in spellings:
        assert f"'{spelling}' is not known; nearest: {row.name} (" in str(zoo.unknown(spelling))


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("inception_v3", 74, "InceptionV3 needs images of at least 75 px"),
        ("nasnetamobile", 100, "a multiple of 32 px, for example 96"),
        ("nasnetamobile", 31, "at least 32 px"),
    ],
)
def test_a_size_that_a_network_cannot_take_is_refused(name, size, says):
    with pytest.raises(UserError, match=says):
        zoo.check_size(architecture(name), size)
