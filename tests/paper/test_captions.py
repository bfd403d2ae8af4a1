"""Captions say what the intervals allow, with the numbers of the study, and never that there is nothing."""

import re
from dataclasses import replace

import numpy as np
import pytest

from chexlib.paper import captions, designs, figure_data, measures
from chexlib.paper.exhibits import Caption, File, csv
from chexlib.paper.measures import Correlation, Estimate
from chexlib.paper.wording import number
from tests.fabricated import fabricate

CAPTIONS = ("figure1", "figure2", "figure3", "figure4", "table1", "table2")
ABSENCE = re.compile(
    r"\b(no|without any|not any) (relation\w*|correlation between|difference|effect|benefit|drop|gain)\b"
)


@pytest.fixture(scope="module")
def studies():
    return {kind: fabricate(kind) for kind in ("demo", "nih", "paper", "seeds")}


def correlation(low: float, high: float, patients: tuple[float, float] = (0.1, 0.2)) -> Correlation:
    return Correlation((low + high) / 2, 0.5, 16, patients, (low, high))


@pytest.mark.parametrize("kind", ["demo", "nih", "paper", "seeds"])
@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_plain_sentences_that_claim_no_absence(studies, name, kind):
    said = str(getattr(captions, name)(studies[kind]))
    assert said.endswith(".") and "nan" not in said and "\n" not in said and "  " not in said and ".." not in said
    assert not ABSENCE.search(said)
    assert ("phantom" in said) == (kind == "demo")


def test_the_search_for_claims_of_absence_finds_them():
    assert ABSENCE.search("there is no relationship") and ABSENCE.search("no difference in AUC")


@pytest.mark.parametrize(
    ("found", "says", "never"),
    [
        (
            correlation(-0.4, 0.6),
            "its sign is not settled, and one as strong as |ρ| = 0.60 is not excluded",
            "positive",
        ),
        (correlation(-0.02, 0.01, (-0.01, 0.01)), "its sign is not settled", "positive"),
        (correlation(0.1, 0.6), "a positive relationship", "settled"),
        (correlation(-0.6, -0.1, (-0.5, -0.2)), "a negative relationship", "settled"),
        (correlation(0.1, 0.6, (-0.1, 0.2)), "its sign is not settled", "a positive relationship"),
        (None, "too few for a rank correlation", "settled"),
    ],
)
@pytest.mark.parametrize("name", ["figure2", "figure3"])
def test_a_rank_correlation_is_read_by_its_intervals_alone(studies, monkeypatch, name, found, says, never):
    monkeypatch.setattr(measures, "correlation", lambda *_: found)
    said = getattr(captions, name)(studies["paper"]).says
    assert said.count(says) == 2 and never not in said  # one an init


def test_a_correlations_numbers_are_the_studys(studies):
    found = measures.correlation(studies["paper"], "parameters", "random")
    low, high = (number(end, 2) for end in found.architectures)
    assert (
        f"ρ = {number(found.rho, 2)} over 16 architectures (95 % interval {low} to {high}"
        in captions.figure3(studies["paper"]).says
    )


@pytest.mark.parametrize(
    ("mean", "says"),
    [
        (Estimate(0.02, 0.01, 0.03), "the interval lies above zero"),
        (Estimate(0.02, -0.01, 0.05), "also differences as large as 0.050, so the question stays open"),
        (Estimate(0.001, -0.004, 0.005), "the whole interval lies within ±0.01"),
        (Estimate(0.02, 0.01, 0.03, low_seeds=-0.02, high_seeds=0.06), "as large as 0.060, so the question stays open"),
    ],
)
def test_a_mean_boost_is_read_by_its_widest_interval(studies, monkeypatch, mean, says):
    monkeypatch.setattr(measures, "mean_boost", lambda _: mean)
    assert says in captions.figure4(studies["paper"]).says
    assert says in captions.figure1(studies["paper"]).says


def test_single_boosts_are_counted_by_their_intervals(studies):
    table = figure_data.boosts(studies["seeds"])
    above, below = (table["low_seeds"] > 0).sum(), (table["high_seeds"] < 0).sum()
    open_ones = len(table) - above - below
    assert (
        f"above zero for {above}, below for {below}, and holds zero for {open_ones}"
        in captions.figure4(studies["seeds"]).says
    )


def test_the_verdicts_of_table_2_add_up_to_its_truncated_models(studies):
    table = designs.truncations(studies["paper"])
    counts = [int(n) for n in re.findall(r"for (\d+)", captions.table2(studies["paper"]).says)]
    assert sum(counts) == (table["minus"] > 0).sum() and len(counts) == 4


def test_what_lines_and_marks_are_is_said_as_it_is_drawn(studies):
    assert "thin over patients and seeds, where there are several" in captions.figure2(studies["nih"]).read
    assert "thin over patients and seeds." in captions.figure2(studies["seeds"]).read
    assert "leave out what other seeds would have changed" in captions.figure2(studies["paper"]).read
    assert "hollow because none is among the paper's" in captions.figure4(studies["nih"]).read
    assert "hollow ones are others" in captions.figure3(studies["nih"]).read


def test_panels_that_a_study_lacks_are_named():
    assert "For (c) and (d) the study trained too little" in captions.figure1(fabricate("smoke")).read
    assert "too little" not in str(captions.figure1(fabricate("paper")))


def test_figure_1_shows_pretrained_models_where_there_are_enough(studies):
    assert (
        figure_data.summary_init(studies["paper"]) == "imagenet"
        and figure_data.summary_init(studies["nih"]) == "random"
    )
    assert figure_data.truncation_init(studies["nih"]) == "imagenet"


def test_a_family_of_one_has_a_mean_that_is_its_member(studies):
    results = studies["paper"]
    table = figure_data.summary(results).query("panel == 'b' and family == 'MNASNet'")
    assert table["value"].nunique() == 1 and set(table["model"]) == {"mean", "MNASNet"}
    model = results.models.loc["MNASNet · random"]
    np.testing.assert_allclose(table.iloc[0][["low", "high"]].astype(float), model[["low", "high"]].astype(float))


def test_captions_and_files_cannot_break_the_page_around_them():
    caption = replace(Caption("Figure 2", "a <b> & c", "", ""), says='"</figure>')
    assert "<b>" not in caption.html and "</figure>" not in caption.html and "&amp;" in caption.html
    link = File("data", "a.csv", 'x,y\n"1 & 2",<3>#\n').html
    assert link.count('"') == 4 and "<3>" not in link and "#" not in link and " & " not in link


def test_a_csv_leaves_empty_what_is_not_known():
    table = figure_data.models(fabricate("nih"), "top1").head(2)
    header, first = csv(table).splitlines()[:2]
    assert header == "model,family,init,in_paper,seeds,top1,auc,low,high,low_seeds,high_seeds"
    assert table["low_seeds"].isna().iloc[0] and first.endswith(",,") and "nan" not in first
