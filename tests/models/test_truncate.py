"""Truncation by one rule: it finds the paper's cuts, and what remains is what the whole network had there."""

import pytest
import torch

from chexlib.errors import UserError
from chexlib.explain import grad_cam
from chexlib.models import ARCHITECTURES, architecture, create_model
from chexlib.models.networks import count
from chexlib.models.truncate import TRUNCATIONS, by_rule, check_minus, parameters, pinned, stage_modules, truncation

OTHERS = ("test_convnext", "test_resnet", "test_efficientnet", "test_nfnet", "regnetx_002", "mobilenet_v3", "dla34")


@pytest.mark.parametrize("name", TRUNCATIONS)
def test_the_rule_gives_the_papers_cuts(name):
    """The paper's sizes follow from the rule; it also takes off the pooling, which has no weights."""
    table, rule = TRUNCATIONS[name], by_rule(ARCHITECTURES[name])
    assert rule.total == table.total
    for ours, found in zip(table.cuts, rule.cuts, strict=False):
        assert (ours.channels, ours.parameters) == (found.channels, found.parameters)
        assert set(ours.modules) - set(found.modules) == set()


def _keep(seen: dict, module: str):
    """A hook that notes a copy of a module's maps (what follows may change them in place)."""
    return lambda _, images, maps: seen.update({module: maps.clone()})


@pytest.mark.parametrize("name", [*TRUNCATIONS, *OTHERS])
def test_a_truncated_network_makes_the_maps_that_the_whole_one_has_there(name):
    row, whole = architecture(name), create_model(name, seed=3).eval()
    modules, seen = stage_modules(whole.trunk), {}
    for module in modules:
        whole.trunk.get_submodule(module).register_forward_hook(_keep(seen, module))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert truncation(row).total == len(modules) == len(by_rule(row).cuts) + 1
    with torch.inference_mode():
        whole(x)
        for minus in range(1, len(truncation(row).cuts) + 1) if name in TRUNCATIONS else (1, len(modules) - 1):
            cut = create_model(name, seed=3, minus=minus).eval()
            assert torch.equal(cut.maps(x), seen[modules[-1 - minus]])
            torch.testing.assert_close(cut(x), cut.head(cut.maps(x).mean(dim=(2, 3))))
            ours, all_of_it = cut.trunk.state_dict(), whole.trunk.state_dict()
            assert set(ours) < set(all_of_it)
            assert all(torch.equal(value, all_of_it[key]) for key, value in ours.items())
            assert cut.label == f"{whole.label}Minus{minus}" and cut.pools_last
            assert parameters(row, minus) == count(cut)


@pytest.mark.parametrize("name", ["test_convnext", "mobilenet_v3"])
def test_no_weight_remains_that_learns_nothing(name):
    model = create_model(name, minus=2)
    model(torch.randn(4, 3, 64, 64)).square().mean().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("name", ["test_convnext", "mobilenet_v3"])
def test_the_closed_form_of_a_map_is_right_after_a_cut_and_not_taken_before_one(name, monkeypatch):
    whole, cut = create_model(name).eval(), create_model(name, minus=1).eval()
    assert (whole.pools_last, cut.pools_last) == (False, True)
    images = torch.randn(2, 3, 64, 64)
    closed = grad_cam(cut, images, [0, 5])
    monkeypatch.setattr(cut, "pools_last", False)  # then it goes backward
    torch.testing.assert_close(grad_cam(cut, images, [0, 5]), closed)


def test_a_convnext_loses_the_norm_of_its_head_with_its_last_stage():
    whole, cut = create_model("test_convnext"), create_model("test_convnext", minus=1)
    gone = {key for key in whole.trunk.state_dict() if key not in cut.trunk.state_dict()}
    assert {"head.norm.weight", "head.norm.bias"} < gone
    assert {key.split(".")[0] for key in gone} == {"head", "stages"} and "stages.2.blocks.0.gamma" not in gone


def test_every_stage_of_an_efficientnet_counts_as_in_the_papers():
    """timm lists five ends of seven stages; EfficientNetB3Minus1 drops what EfficientNetB0Minus1 does."""
    found = by_rule(ARCHITECTURES["efficientnet_b3"])
    assert (found.total, TRUNCATIONS["efficientnet_b0"].total) == (7, 7)
    assert found.cuts[0].modules[-1] == "blocks.6"


# DenseNet121 with 14 findings is 6.968 M: divided by these, the paper's 1.6, 5.3 and 20.0 times smaller
WITH_NORM = {("densenet121", 1): 4_283_790, ("densenet121", 2): 1_305_742, ("densenet121", 3): 348_686}
WITH_NORM |= {("resnet18", 3): 158_542, ("mnasnet", 4): 47_046, ("test_convnext", 1): None}


@pytest.mark.parametrize(("name", "minus"), WITH_NORM)
def test_a_norm_adds_a_scale_and_a_shift_a_channel_and_leaves_no_map_negative(name, minus):
    row, x = architecture(name), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    without, model = (create_model(name, minus=minus, norm=norm, seed=3).eval() for norm in (False, True))
    channels = truncation(row).cuts[minus - 1].channels
    assert count(model) == count(without) + 2 * channels == parameters(row, minus, norm=True)
    assert count(model) == WITH_NORM[name, minus] or WITH_NORM[name, minus] is None
    with torch.inference_mode():
        maps = without.maps(x)
        torch.testing.assert_close(model.maps(x), maps.clamp(min=0) / (1 + 1e-5) ** 0.5)  # as batch norm begins
    assert (maps < 0).any() or name == "resnet18"  # whose stages end in ReLU
    assert torch.equal(model.head.weight, without.head.weight)  # what is drawn is the same
    assert model.label == f"{without.label}+norm" and model.pools_last


def test_a_norm_is_learned_and_its_statistics_are_the_batchs():
    model = create_model("densenet121", minus=3, norm=True)
    maps = model.maps(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    model.logits(maps).square().mean().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    assert 0.2 < maps.mean() < 0.6  # half a standard normal's values, whose mean is 0.4


@pytest.mark.parametrize("name", ["densenet121", "mnasnet", "test_convnext"])
def test_a_whole_network_has_no_other_norm_than_its_own(name):
    for refuse in (lambda: create_model(name, norm=True), lambda: parameters(architecture(name), norm=True)):
        with pytest.raises(UserError, match=r"^norm=True: .* is whole.*: give minus=1 or more$"):
            refuse()


@pytest.mark.parametrize("name", ["hrnet_w18_small", "nasnetamobile", "legacy_xception"])
def test_networks_whose_stages_do_not_follow_one_another_are_not_cut(name):
    """Branches in parallel, cells with two inputs, and a block whose shortcut leads past what timm's list names."""
    assert truncation(architecture(name)).cuts == ()
    with pytest.raises(UserError, match=r"^minus=1: .* cannot be truncated, it has no stages that simply follow"):
        check_minus(architecture(name), 1)


@pytest.mark.parametrize("minus", [-1, 4, 9, True, 1.0, "1"])
def test_a_minus_that_a_network_does_not_have_is_refused(minus):
    with pytest.raises(UserError, match=f"^minus={minus}: test_convnext has 4 stages, so 0 to 3 can be dropped"):
        check_minus(architecture("test_convnext"), minus)


def test_what_is_in_no_table_is_counted_by_building_it():
    assert pinned("resnet50") and pinned("resnet18", 1)
    assert not pinned("resnet50", 1) and not pinned("test_convnext")
