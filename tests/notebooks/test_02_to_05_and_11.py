"""What the notebooks of the paper's four questions compute, against hand-made numbers, and what they say of nothing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from chexlib.models.zoo import ARCHITECTURES
from chexlib.results import Estimate, number
from chexlib.stats import auroc, draw_families, rank_correlations
from chexpaper.claims.measurements import mean_boost
from tests import made_runs

BOTH = [
    {"arch": ["efficientnet_lite0", "efficientnet_lite1"], "init": ["random", "imagenet"]},
    {"arch": "resnet18", "minus": [0, 1], "init": "random"},
]
FAMILIES = [{"arch": ["resnet18", "resnet50", "densenet121", "densenet169", "mnasnet"], "init": "random"}]
ONE = [{"arch": "resnet18", "init": "random"}]
CUT = [{"arch": "resnet18", "minus": 1, "init": "mean_var"}]
ALL = [
    "02_baselines", "03_pretraining_boost", "04_family_analysis", "05_truncation", "11_real_xrays", "12_runs",
    "13_power", "14_errors",
]  # fmt: skip
ALONE = [{"arch": ["resnet18", "resnet34"], "init": "imagenet"}]
INITS = ["random", "imagenet"]
RATES = [{"arch": ["resnet18", "efficientnet_lite0"], "init": INITS, "lr": [0.01, 0.0001]},
         {"arch": ["resnet50", "densenet121", "densenet169", "mnasnet"], "init": INITS},
         {"arch": "resnet18", "minus": 1, "lr": [0.01, 0.0001]}]  # fmt: skip


def edema(results, model: str) -> float:
    """The AUROC of a network's one run, from its predictions: the maximum over a study's images, known labels."""
    [run] = [run for run in results.finished if f"{run.spec.arch}{run.spec.minus}{run.spec.init}" == model]
    table = run.predictions().query("split == 'test'").dropna(subset=["y:Edema"]).groupby("study").max()
    return auroc(table[["y:Edema"]].to_numpy(), table[["p:Edema"]].to_numpy())[0]


def test_03_a_boost_is_the_auc_from_imagenet_minus_that_from_random(execute):
    names = execute("03_pretraining_boost", BOTH, tasks='["Edema"]')
    results, boosts = names["results"], names["boosts"]["value"]
    lites = ["efficientnet_lite0", "efficientnet_lite1"]
    by_hand = [edema(results, f"{arch}0imagenet") - edema(results, f"{arch}0random") for arch in lites]
    assert boosts[["EfficientNetLite0", "EfficientNetLite1"]].to_list() == pytest.approx(by_hand, abs=1e-12)
    assert names["boost"].value == pytest.approx(np.mean(by_hand)) and names["boost"].verdict == "higher"
    assert execute("03_pretraining_boost", BOTH, tasks=["Edema"], margin=0.9)["boost"].verdict == "same"


FIVE = [{"arch": ["resnet18", "resnet50", "densenet121", "mnasnet", "mobilenet_v2", "efficientnet_lite0"],
         "init": ["random", "imagenet"]}]  # fmt: skip


@pytest.mark.parametrize(("runs", "n"), [(FIVE, 5), (BOTH, 2)], ids=["the paper's", "none of the paper's"])
def test_there_is_one_mean_boost_on_all_pages_and_in_the_ledger(execute, runs, n):
    first = execute("03_pretraining_boost", runs)
    auc = first["results"].models["auc"].drop("EfficientNetLite0 · random" if n == 5 else [])
    by_hand = [auc[f"{label} · imagenet"] - auc[f"{label} · random"] for label in first["both"]
               if f"{label} · random" in auc]  # fmt: skip
    assert len(by_hand) == n and first["boost"].value == pytest.approx(np.mean(by_hand))
    [judged] = mean_boost(first["results"])
    for other in (execute("13_power", runs)["mean"], execute("11_real_xrays", runs)["boost"], judged.estimate):
        if n == 2 and other is judged.estimate:
            assert "5 needed" in other.missing  # the ledger is about the paper's networks alone
            continue
        ends = [(one.value, one.low, one.high) for one in (other, first["boost"])]
        assert ends[0] == pytest.approx(ends[1], abs=1e-12) and other.verdict == first["boost"].verdict
        assert other.over == first["boost"].over


def test_02_the_papers_aucs_stand_beside_those_from_imagenet_weights_alone(execute):
    names = execute("02_baselines", FIVE)
    assert names["table"].loc["ResNet18", "the paper: AUC"].startswith(number(names["printed"].loc["ResNet18", "auc"]))
    assert not [name for name in names["by_init"]["random"] if "paper" in name]
    assert execute("02_baselines", FAMILIES)["table"].empty


def test_05_a_change_is_the_truncated_auc_minus_the_whole_ones(execute):
    names = execute("05_truncation", BOTH, tasks=["Edema"])
    by_hand = edema(names["results"], "resnet181random") - edema(names["results"], "resnet180random")
    assert names["truncation_random"].value == pytest.approx(by_hand, abs=1e-12) and not names["truncation"]
    assert names["cut"]["times"].item() == pytest.approx(11_183_694 / 2_786_382)


def by_rate(spec):
    """The made-up predictions, and at the higher learning rate others."""
    return made_runs.predictions(replace(spec, seed=7 * (spec.lr == 0.01)))


def test_each_variant_is_paired_with_its_own_and_no_architecture_counts_twice(execute, monkeypatch):
    monkeypatch.setattr("chexpaper.plots.name_points", lambda *_: None)  # takes longer than all the rest
    names = {notebook: execute(notebook, RATES, by_rate) for notebook in ALL}
    models = names["12_runs"]["results"].models
    auc = models.set_index(["label", "init"])["auc"]
    for boosts in (names["03_pretraining_boost"]["boosts"], names["11_real_xrays"]["boosts"]):
        assert len(boosts) == 8 and boosts["in_paper"].sum() == 5
        for label, boost in boosts["value"].items():
            assert boost == pytest.approx(auc[label, "imagenet"] - auc[label, "random"])
    cut = names["05_truncation"]["cut"].set_index("label")["value"]
    assert list(cut.index) == ["ResNet18Minus1", "ResNet18Minus1, lr 0.01"]
    for label, change in cut.items():
        assert change == pytest.approx(auc[label, "random"] - auc[label.replace("Minus1", ""), "random"])

    paper = models.query("lr == 0.0001 and minus == 0 and arch != 'efficientnet_lite0'")
    random, imagenet = (paper[paper["init"] == init] for init in ("random", "imagenet"))
    boost = imagenet["auc"].to_numpy() - random["auc"].to_numpy()
    usual = models.query("lr == 0.0001 and minus == 0 and init == 'random'")
    for name in ("03_pretraining_boost", "11_real_xrays"):
        assert names[name]["boost"].value == pytest.approx(boost.mean())
    assert names["13_power"]["mean"].value == pytest.approx(boost.mean()) and names["13_power"]["k"] == 5
    assert mean_boost(names["12_runs"]["results"])[0].estimate.value == pytest.approx(boost.mean())
    rhos = names["02_baselines"]["rho"]["random"], names["04_family_analysis"]["rho"]["random"]
    for fact, rho in zip(("top1", "parameters"), rhos, strict=True):
        assert rho.value == pytest.approx(spearmanr(random[fact], random["auc"]).statistic)
    assert names["02_baselines"]["gap"].value == pytest.approx(np.ptp(usual["auc"]))
    assert names["05_truncation"]["truncation_random"].value == pytest.approx(cut["ResNet18Minus1"])
    for labels in (models["label"][names["13_power"]["names"]], names["14_errors"]["names"]):
        assert list(labels) == list(usual["label"])


def test_where_no_network_of_the_papers_has_both_inits_the_others_count_once_too(execute):
    names = execute(
        "03_pretraining_boost", [RATES[0] | {"arch": ["efficientnet_lite0", "efficientnet_lite1"]}], by_rate
    )
    assert names["taken"].sum() == 2 and set(names["boosts"].index[names["taken"]]) == {
        "EfficientNetLite0",
        "EfficientNetLite1",
    }


STEADY = [{"arch": "resnet18", "minus": [0, 1], "init": ["random", "imagenet"]}]


@pytest.mark.parametrize(("seed", "margin", "star", "drop", "same"), [
    (0, 0.01, "", "no significant drop", "the same"),
    (5, 0.01, "", "no significant drop", "not shown"),
    (0, 0.9, "*", "a significant drop", "the same"),
    (0, 0.01, "*", "a significant drop", "not shown"),
], ids=["neither", "not shown", "a small drop", "a drop"])  # fmt: skip
def test_05_the_asterisk_is_significance_and_the_sentence_says_both_verdicts(execute, seed, margin, star, drop, same):
    names = execute("05_truncation", STEADY, made(seed, bool(star)), tasks=["Edema"], margin=margin)
    for table, change in ((names["table"], "truncation"), (names["by_init"]["random"], "truncation_random")):
        row, found = table.loc["ResNet18Minus1"], names[change]
        assert row["change"].endswith("*") == (found.low > 0 or found.high < 0) == (star == "*")
        assert names["drop"](found) == drop and names["same"](found).startswith("the same") == (same == "the same")
        assert row[f"the same, to ±{margin:g}?"] == same and (found.verdict == "same") == (same == "the same")
    assert [name for name in names["by_init"]["random"] if "paper" in name] == []
    assert names["table"].loc["ResNet18Minus1", "the paper: change (%)"] != "–"


def made(seed, drops):
    """A truncated network predicts what the whole one does, as its twin from another seed would, or worse."""

    def predictions(spec):
        table = made_runs.predictions(replace(spec, minus=0, seed=seed * spec.minus))
        if spec.minus and drops:
            table["p:Edema"] = np.where(np.arange(len(table)) % 3, table["p:Edema"], 1 - table["p:Edema"])
        return table

    predictions.__qualname__ = f"made {seed} {drops}"  # by which its runs are kept
    return predictions


def test_02_rho_is_spearmans_over_the_papers_architectures(execute):
    names = execute("02_baselines", FAMILIES)
    models = names["results"].models
    top1 = [ARCHITECTURES[arch].top1 for arch in models["arch"]]
    assert names["rho"]["random"].value == pytest.approx(spearmanr(top1, models["auc"]).statistic)
    assert not names["rho"]["imagenet"]
    assert names["gap"].value == pytest.approx(np.ptp(models["auc"]))


def test_04_family_gaps_are_mean_squares_less_what_drawing_anew_adds(execute):
    names = execute("04_family_analysis", FAMILIES)
    results = names["results"]

    def by_hand(auc):
        auc = 100 * auc.rename({f"{ARCHITECTURES[arch].paper_name} · random": arch for arch in ARCHITECTURES})
        between = auc[["resnet18", "resnet50"]].mean() - auc[["densenet121", "densenet169"]].mean()
        ends = (auc["resnet50"] - auc["resnet18"]) ** 2 + (auc["densenet169"] - auc["densenet121"]) ** 2
        return between**2 - ends / 2

    at_hand, again = by_hand(results.models["auc"]), [by_hand(row) for _, row in results.replicates.iterrows()]
    assert names["gap"].value == pytest.approx(2 * at_hand - np.mean(again))
    difference = names["between"].value - names["within"].value
    assert names["gap"].value == pytest.approx(difference) and names["gap"].margin == 0


def test_correlations_draw_families_and_need_three(execute):
    names = execute("04_family_analysis", FAMILIES)
    times = draw_families(names["its"]["family"], 200)
    its = names["its"][names["its"]["in_paper"]]
    rho = names["rho"]["random"]
    again = rank_correlations(its["parameters"], names["results"].replicates[its.index].to_numpy(), times)
    assert (rho.low, rho.high) == pytest.approx(tuple(np.nanpercentile(again, [2.5, 97.5])))
    two = [{"arch": ["resnet18", "resnet34", "resnet50", "densenet121", "densenet169"], "init": ["random", "imagenet"]}]
    for notebook, name in (("02_baselines", "rho"), ("04_family_analysis", "rho"), ("03_pretraining_boost", "rho")):
        found = execute(notebook, two)[name]
        for one in found.values() if isinstance(found, dict) else [found]:
            assert not one and "families" in one.missing


@pytest.mark.parametrize("notebook", ["02_baselines", "03_pretraining_boost", "04_family_analysis", "05_truncation"])
def test_a_study_without_what_is_asked_for_says_so(execute, notebook):
    names = execute(notebook, ALONE)
    asked = {"02_baselines": "gap", "03_pretraining_boost": "boost", "04_family_analysis": "gap"}
    assert not names[asked.get(notebook, "truncation")] and names[asked.get(notebook, "truncation")].missing


def one_class(spec):
    """No study has any finding, so that no task has an AUC."""
    table = made_runs.predictions(spec)
    return table.assign(**{name: 0.0 for name in table if name.startswith("y:")})


def one_view(spec):
    return made_runs.predictions(spec).assign(view="", sex="", age=np.nan)


@pytest.mark.parametrize("notebook", ALL)
@pytest.mark.parametrize(("runs", "table", "tasks"), [
    (ONE, None, []), (ONE, one_view, ["Consolidation"]), (BOTH, one_class, []), (CUT, None, [])
], ids=["one network", "one network, a rare task", "one class", "no whole network"])  # fmt: skip
def test_the_smallest_study_runs_to_the_end_and_what_is_missing_says_why_in_a_line(
    execute, notebook, runs, table, tasks
):
    names = execute(notebook, runs, table, tasks=tasks)
    found = [one for one in names.values() if isinstance(one, Estimate)]
    assert all(one or (one.missing and "\n" not in str(one)) for one in found)
    if tasks or table is one_class:
        assert all(one.verdict == "missing" for one in found)


@pytest.mark.parametrize(("notebook", "name"), [
    ("03_pretraining_boost", "boost"), ("05_truncation", "truncation_random"), ("11_real_xrays", "boost"),
    ("13_power", "mean"),
])  # fmt: skip
def test_of_a_rare_task_there_is_a_value_and_no_verdict(execute, notebook, name):
    names = execute(notebook, BOTH, tasks=["Consolidation"])
    found = names[name]
    assert found and found.low < found.value < found.high and found.verdict == "missing" and found.few
    assert "p" not in names.get("tests", {})  # nor a p value


def test_11_the_view_alone_tells_what_goes_with_the_view(execute):
    def by_view(spec):
        table = made_runs.predictions(spec)
        return table.assign(view=np.where(table["y:Edema"].fillna(0) == 1, "AP", "PA"))

    names = execute("11_real_xrays", BOTH, by_view, tasks=["Edema"])
    assert names["view_alone"].value == 1 and names["positive"]["Edema"].to_list() == [1, 0]
