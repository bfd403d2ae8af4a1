"""The paper's tables are transcribed as printed, and ours say what the numbers say."""

import io
import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from chexlib.models.zoo import ARCHITECTURES
from chexlib.paper import designs, facts, measures, sentences, tables
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Missing
from chexlib.paper.wording import listed, number, reading, with_interval, with_intervals
from tests.fabricated import fabricate


@pytest.fixture(scope="module")
def demo():
    return fabricate("demo")


@pytest.fixture(scope="module")
def paper():
    return fabricate("paper")


@pytest.fixture(scope="module")
def seeds():
    return fabricate("seeds")


def test_table_1_is_transcribed_for_the_papers_sixteen():
    assert set(tables.PAPER_TABLE1.index) == {row.paper_name for row in ARCHITECTURES.values() if row.in_paper}
    assert (tables.PAPER_TABLE1["low"] < tables.PAPER_TABLE1["auc"]).all()
    assert (tables.PAPER_TABLE1["auc"] < tables.PAPER_TABLE1["high"]).all()
    assert tables.PAPER_TABLE1["auc"].sum().round(3) == 13.76
    sums = tables.PAPER_TABLE1[["low", "high", "params_millions"]].sum().round(3)
    assert sums.to_list() == [13.536, 13.968, 251.778]


def test_table_2_is_transcribed():
    assert len(tables.PAPER_TABLE2) == 16
    assert tables.PAPER_TABLE2["significant"].sum() == 7
    assert tables.PAPER_TABLE2["change_percent"].sum().round(2) == -29.47
    assert tables.PAPER_TABLE2["times_smaller"].sum().round(1) == 278.7


def test_the_papers_headline_is_the_mean_of_its_own_table_2():
    kept = tables.PAPER_TABLE2.loc[["EfficientNetB0Minus2", "MNASNetMinus1", "DenseNet121Minus1", "ResNet18Minus1"]]
    assert not kept["significant"].any()
    assert kept["times_smaller"].mean() == pytest.approx(3.25)


def test_table_1_of_a_study_has_its_numbers_beside_the_papers(demo):
    shown = tables.table1(demo)
    assert list(shown.index[:16]) == list(tables.PAPER_TABLE1.index)
    assert shown.loc["DenseNet121", "Paper: AUC, ImageNet weights"] == "0.859 (0.846 to 0.871)"
    assert shown.loc["DenseNet121", "AUC, ImageNet weights"] == "–"
    model = demo.models.loc["EfficientNetLite0 · imagenet"]
    assert shown.loc["EfficientNetLite0", "AUC, ImageNet weights"] == with_interval(
        model["auc"], model["low"], model["high"]
    )
    assert shown.loc["MNASNet", "Parameters (M)"] == "3.120"
    assert shown.loc["NASNetAMobile", "Paper: parameters (M)"] == "–"


def test_table_2_of_a_study_measures_truncations_against_the_same_init(demo):
    shown = tables.table2(demo).reset_index(names="Model")
    row = shown[(shown["Model"].str.startswith("EfficientNetLite0Minus1")) & (shown["Weights"] == "ImageNet")].iloc[0]
    difference = demo.difference("EfficientNetLite0Minus1 · imagenet", "EfficientNetLite0 · imagenet")
    assert row["AUC change (hundredths)"].startswith(number(100 * difference.value, 2))
    assert (row["Model"][-1] == "*") == (difference.low > 0 or difference.high < 0)


def test_table_2_puts_the_papers_pretrained_numbers_beside_pretrained_models(paper):
    shown = tables.table2(paper)
    own = shown[shown["Weights"] == "random"]
    assert (own["Paper: AUC change (%)"] == "–").all()
    assert shown[shown["Weights"] == "ImageNet"].loc["DenseNet121", "Paper: times smaller"] == "1.0"


def test_tables_of_a_study_without_truncations_are_empty():
    assert tables.table2(fabricate("smoke")) == ""
    assert len(tables.table1(fabricate("smoke"))) == 2


def numbers_of(shown) -> pd.DataFrame:
    """The CSV that a page offers with a table."""
    [(name, address)] = re.findall(
        r'<a download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]+)"', shown._repr_html_()
    )
    assert name.endswith(".csv")
    return pd.read_csv(io.StringIO(unquote(address)))


def test_the_csv_of_table_1_holds_its_numbers_and_the_papers(paper):
    shown = tables.table1(paper)
    numbers = numbers_of(shown).set_index(["model", "init"])
    assert len(numbers) == 2 * len(shown)
    for (model, init), row in numbers.iterrows():
        column = {"random": "AUC, random weights", "imagenet": "AUC, ImageNet weights"}[init]
        assert shown.loc[model, column] == with_interval(row["auc"], row["low"], row["high"])
        assert shown.loc[model, "Parameters (M)"] == f"{row['parameters'] / 1e6:.3f}"
    assert numbers.loc[("ResNet18", "imagenet"), "paper_imagenet_auc"] == 0.862
    assert np.isnan(numbers.loc[("NASNetAMobile", "imagenet"), "paper_imagenet_auc"])


def test_the_csv_of_table_2_holds_its_numbers_and_both_intervals(seeds):
    shown, numbers = tables.table2(seeds), numbers_of(tables.table2(seeds))
    assert list(numbers["model"]) == [name.rstrip("*") for name in shown.index]
    for text, row in zip(shown["AUC change (hundredths)"], numbers.itertuples(), strict=True):
        assert text == with_interval(100 * row.change, 100 * row.low, 100 * row.high, 2)
    cut = numbers[numbers["times"] > 1]
    assert (cut["low_seeds"] <= cut["low"]).all()
    printed = numbers.set_index(["model", "init"])["paper_change_percent"]
    assert printed[("ResNet18Minus1", "imagenet")] == 0.24 and np.isnan(printed[("ResNet18Minus1", "random")])


def test_a_table_shows_its_caption_and_what_is_taken_from_it_is_plain(demo):
    shown = tables.table1(demo)
    assert "<figcaption>" in shown._repr_html_() and "Table 1." in shown._repr_html_()
    assert type(shown.head(2)) is type(shown.copy()) is pd.DataFrame
    assert "<figcaption>" not in shown.head(2)._repr_html_()


def test_rare_tasks_are_shown_apart():
    shown = tables.rare_table(fabricate("nih"))
    assert list(shown.columns) == ["Cardiomegaly", "Consolidation"]
    assert "No task" in tables.rare_table(fabricate("demo"))
    assert "Cardiomegaly" not in tables.task_table(fabricate("nih")).columns


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.03, "higher"),
        (-0.03, -0.001, "lower"),
        (-0.004, 0.006, "same"),
        (-0.002, 0.03, "open"),
        (0.001, 0.004, "same"),
    ],
)
def test_verdicts_follow_the_interval_alone(low, high, verdict):
    assert Estimate((low + high) / 2, low, high).verdict(0.01) == verdict


def test_an_interval_across_zero_is_never_called_no_difference():
    said = reading(Estimate(0.01, -0.002, 0.031))
    assert "open" in said and "0.031" in said
    assert "same" not in said


def test_verdicts_rest_on_the_interval_over_seeds_where_there_is_one():
    assert Estimate(0.02, 0.005, 0.04).verdict() == "higher"
    wide = Estimate(0.02, 0.005, 0.04, low_seeds=-0.01, high_seeds=0.05)
    assert wide.verdict() == "open" and "interval over both includes zero" in reading(wide) and "0.050" in reading(wide)
    assert Estimate(0.0, -0.005, 0.005, low_seeds=-0.02, high_seeds=0.02).verdict() == "open"


def test_both_intervals_are_named_the_one_over_seeds_first():
    assert with_intervals(Estimate(0.02, 0.005, 0.04), sign=True) == "+0.020 (+0.005 to +0.040)"
    wide = Estimate(0.02, 0.005, 0.04, low_seeds=-0.01, high_seeds=0.05)
    assert with_intervals(wide) == "0.020 (−0.010 to 0.050 over patients and seeds, 0.005 to 0.040 over patients alone)"


def test_boosts_and_truncations_of_models_with_several_seeds_have_both_intervals(seeds):
    nih = fabricate("nih")
    for table in (measures.boosts(nih), designs.truncations(nih)):
        lite = table["family"] == "EfficientNet-Lite"
        cut = table[table["low"].notna()]  # whole models differ from themselves by nothing
        assert (cut["low_seeds"].notna() == lite[cut.index]).all() and lite[cut.index].any()
        assert (cut["low_seeds"] <= cut["low"])[lite].all() and (cut["high"] <= cut["high_seeds"])[lite].all()
    found = measures.mean_boost(seeds)
    assert found.over_seeds and found.low_seeds <= found.low and found.high <= found.high_seeds


def test_one_model_with_a_single_seed_leaves_a_mean_and_a_correlation_without(seeds, paper):
    assert not measures.mean_boost(paper).over_seeds
    assert not measures.correlation(fabricate("nih"), "parameters", "random").over_seeds
    assert measures.correlation(seeds, "parameters", "random").over_seeds
    assert measures.boost_correlation(seeds).over_seeds
    assert designs.between_and_within(seeds, "random")[2].over_seeds
    assert not designs.between_and_within(paper, "random")[2].over_seeds


@pytest.mark.parametrize("say", [sentences.boost, sentences.family, sentences.truncation_list, sentences.extremes])
def test_sentences_on_models_with_several_seeds_give_both_intervals(say, seeds, paper):
    assert "over patients and seeds, " in say(seeds) and "over patients alone" in say(seeds)
    assert "seeds" not in say(paper).replace("single seeds", "")


def test_the_spread_says_whom_the_intervals_cover(seeds, demo):
    nih = fabricate("nih")
    assert "no interval covers it" in facts.spread(demo)
    assert "trained once" not in facts.spread(seeds) and "68 models were trained from 3 seeds each" in facts.spread(
        seeds
    )
    once = (nih.models["seeds"] == 1).sum()
    assert f"{once} models were trained once, and no interval of theirs covers seeds" in facts.spread(nih)


def test_a_mean_boost_is_the_mean_of_its_boosts(paper):
    table = measures.boosts(paper)
    assert measures.mean_boost(paper).value == pytest.approx(table["boost"].mean())
    assert measures.mean_boost(paper).n == 20
    single = table.set_index("label").loc["ResNet18"]
    assert single["boost"] == paper.difference("ResNet18 · imagenet", "ResNet18 · random").value


def test_correlations_take_the_papers_sixteen_and_no_other(paper, demo):
    assert measures.correlation(paper, "top1", "imagenet").n == 16
    assert measures.correlation(demo, "top1", "imagenet") is None
    assert measures.boost_correlation(paper).n == 16


def test_drawing_architectures_anew_widens_a_correlations_interval(paper):
    found = measures.correlation(paper, "parameters", "random")
    assert np.diff(found.architectures) > np.diff(found.patients)


def test_families_that_differ_and_sizes_that_do_not(demo):
    from dataclasses import replace

    levels = {family: 0.6 + 0.02 * i for i, family in enumerate(demo.models["family"].unique())}
    models = demo.models.assign(auc=demo.models["family"].map(levels))
    flat = replace(demo, models=models, replicates=np.tile(models["auc"].to_numpy(), (50, 1)))
    between, within, gap = designs.between_and_within(flat, "random")
    assert within.value == 0 and between.value > 0.02
    assert gap.verdict() == "higher"
    assert "families differ more than sizes" in sentences.family(flat)


def test_whole_models_stand_in_the_truncations_with_no_change(demo):
    table = designs.truncations(demo)
    whole = table[table["minus"] == 0]
    assert (whole["change"] == 0).all() and (whole["times"] == 1).all() and whole["low"].isna().all()
    assert table.set_index(["label", "init"]).loc[("DenseNet121Minus1", "random"), "times"] == pytest.approx(
        1.627, abs=1e-3
    )


ANSWERS = (sentences.imagenet, sentences.family, sentences.boost, sentences.truncation)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", ["demo", "nih", "paper", "seeds", "smoke"])
def test_answers_are_one_plain_line(answer, kind):
    said = str(answer(fabricate(kind)))
    assert said.endswith(".") and "\n" not in said and "  " not in said and "nan" not in said


def test_missing_results_are_explained_once_and_otherwise_silent():
    missing = Missing("Not trained yet.")
    assert facts.about(missing) == facts.real(missing) == "Not trained yet."
    assert all(answer(missing) == "" for answer in ANSWERS)


def test_numbers_have_true_minus_signs_and_no_minus_zero():
    assert number(-0.0123) == "−0.012"
    assert number(-0.0001) == "0.000" and number(0.0, sign=True) == "0.000"
    assert number(0.5, 2, sign=True) == "+0.50"
    assert with_interval(0.1, np.nan, np.nan, 1) == "0.1"
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"


def test_missing_results_give_no_table():
    assert tables.table1(Missing("no")) == "" and not isinstance(tables.table2(Missing("no")), pd.DataFrame)


def test_the_view_alone_is_scored_by_what_validation_says_of_it():
    from types import SimpleNamespace

    from chexlib.data.labels import TASKS

    views, sick = ["AP", "PA"] * 20, [1.0, 0.0] * 20
    table = pd.DataFrame(
        {"split": ["val"] * 20 + ["test"] * 20, "study": range(40), "patient": range(40), "view": views}
    )
    for task in TASKS:
        table[f"y:{task}"] = [1 - y for y in sick] if task == "No Finding" else sick
        table[f"p:{task}"] = 0.5
    run = SimpleNamespace(predictions=lambda: table, spec=SimpleNamespace(aggregate="max"))
    results = SimpleNamespace(tasks=TASKS, finished=[run])
    assert measures.view_alone(results).value == 1
    assert measures.positive_by_view(results, "No Finding") == {"AP": 0, "PA": 1}
