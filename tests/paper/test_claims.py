"""Every statement is a row that can be judged, and each verdict is reached by a study that was made to reach it."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from chexlib import figures
from chexlib.cli import main
from chexlib.paper import claims, tables
from chexlib.paper.claims import from_study, judging, own_tables, recounts
from chexlib.paper.claims.judging import NOT_REPRODUCED, NOT_RUN, OPEN, REPRODUCED, Measured, judge_study
from chexlib.paper.claims.statement import CHEXTRANSFER
from chexlib.paper.claims.statements import BY_ID, STATEMENTS
from chexlib.paper.notes import Missing
from tests.fabricated import fabricate

CRITERIA = {judging.above, judging.below, judging.absent, judging.small, judging.no_drop, judging.near}


def made(auc: dict[str, float] | float, spread: float, kind: str = "paper"):
    """Results whose every model has its AUC (by label and init, or one for all) and independent noise of `spread`."""
    results = fabricate(kind)
    own = auc if isinstance(auc, dict) else {}
    values = np.array([own.get(name, 0.8 if isinstance(auc, dict) else auc) for name in results.models.index])
    noise = np.random.default_rng(1).normal(0, 1, results.replicates.shape)
    replicates = values + spread * (noise - noise.mean(axis=0))
    low, high = np.percentile(replicates, [2.5, 97.5], axis=0)
    return replace(results, models=results.models.assign(auc=values, low=low, high=high), replicates=replicates)


def verdict(id: str, results) -> str:
    return claims.judge(BY_ID[id], results).study.word


def test_there_are_more_than_fifty_statements_and_each_has_its_own_id():
    assert sum(row.paper == CHEXTRANSFER for row in STATEMENTS) > 150
    written = [r for r in STATEMENTS if r.paper == CHEXTRANSFER and not r.place.startswith("Table")]
    assert len(written) > 50
    assert len({row.id for row in STATEMENTS}) == len(STATEMENTS) == len(BY_ID)
    assert {row.paper for row in STATEMENTS} == {"CheXtransfer", "In-domain Pre-training", "Transfusion"}


def test_every_number_of_the_tables_has_its_row():
    for label in tables.PAPER_TABLE1.index:
        assert BY_ID[f"t1-auc-{label.lower()}"].printed["AUC"] == f"{tables.PAPER_TABLE1.loc[label, 'auc']:.3f}"
        assert f"t1-size-{label.lower()}" in BY_ID
    assert sum(row.place == "Table 2" and row.paper == CHEXTRANSFER for row in STATEMENTS) == 24


@pytest.mark.parametrize("row", STATEMENTS, ids=lambda row: row.id)
def test_a_statement_names_functions_that_exist_and_take_its_arguments(row):
    for check, module in ((row.own, own_tables), (row.count, recounts)):
        if check is not None:
            function = check.func if isinstance(check, partial) else check
            assert getattr(module, function.__name__) is function
            assert {one.name for one in check(row.printed)} <= set(row.printed)
    if isinstance(row.study, str):
        assert row.study and row.criterion is None and row.statistic == ""
    else:
        name = row.statistic.partition("(")[0]
        assert callable(getattr(from_study, name)) and row.criterion in CRITERIA and row.criterion.__doc__
        assert row.page
    assert row.says and all(text for text in row.printed.values())


def found(low: float, high: float, margin: float = 0.01) -> Measured:
    return Measured("x", (low + high) / 2, low, high, "patients", margin)


@pytest.mark.parametrize(
    ("criterion", "low", "high", "word"),
    [
        (judging.above, 0.001, 0.03, REPRODUCED),
        (judging.above, -0.03, -0.001, NOT_REPRODUCED),
        (judging.above, -0.004, 0.005, NOT_REPRODUCED),
        (judging.above, -0.004, 0.02, OPEN),
        (judging.below, -0.03, -0.001, REPRODUCED),
        (judging.below, 0.001, 0.03, NOT_REPRODUCED),
        (judging.below, -0.02, 0.004, OPEN),
        (judging.absent, -0.004, 0.005, REPRODUCED),
        (judging.absent, -0.02, 0.02, OPEN),
        (judging.absent, 0.001, 0.02, NOT_REPRODUCED),
        (judging.small, -0.009, 0.009, REPRODUCED),
        (judging.small, 0.001, 0.02, OPEN),
        (judging.small, 0.011, 0.02, NOT_REPRODUCED),
        (judging.no_drop, -0.009, 0.05, REPRODUCED),
        (judging.no_drop, -0.02, 0.01, OPEN),
        (judging.no_drop, -0.03, -0.01, NOT_REPRODUCED),
        (partial(judging.near, printed=0.86), 0.855, 0.865, REPRODUCED),
        (partial(judging.near, printed=0.86), 0.84, 0.88, OPEN),
        (partial(judging.near, printed=0.86), 0.88, 0.9, NOT_REPRODUCED),
    ],
)
def test_a_criterion_asks_where_the_whole_interval_lies(criterion, low, high, word):
    assert criterion(found(low, high))[0] == word


@pytest.mark.parametrize("criterion", [judging.absent, judging.small, judging.no_drop])
def test_absence_is_never_reproduced_by_a_wide_interval(criterion):
    for width in (0.011, 0.03, 0.3):
        word, why = criterion(found(-width, width))
        assert word == OPEN and f"{width:.3f}" in why


def test_several_numbers_have_to_agree():
    def three(*ends):
        return lambda results: tuple(found(low, low + 0.005) for low in ends)

    assert judge_study(three(0.01, 0.02), judging.above, "", object()).word == REPRODUCED
    assert judge_study(three(0.01, -0.002), judging.above, "", object()).word == NOT_REPRODUCED
    assert judge_study(lambda r: (found(0.01, 0.02), found(-0.1, 0.1)), judging.above, "", object()).word == OPEN


def test_equal_models_show_no_boost_and_no_drop_where_the_intervals_are_narrow():
    results = made(0.8, 0.0005)
    assert verdict("4.4-resnet18", results) == verdict("abs-times", results) == REPRODUCED
    assert verdict("1-resnet", results) == verdict("2.1-boost-4", results) == REPRODUCED
    assert verdict("abs-boost", results) == verdict("4.4-deeper", results) == NOT_REPRODUCED
    assert "within ±0.01" in claims.judge(BY_ID["4.4-resnet18"], results).study.reason


def test_the_same_models_settle_nothing_where_the_intervals_are_wide():
    results = made(0.8, 0.05)
    for id in ("4.4-resnet18", "abs-times", "1-resnet", "2.1-boost-4", "abs-relation", "4.3-densenet", "4.4-deeper"):
        assert verdict(id, results) == OPEN, id


def test_a_boost_that_is_there_is_found_and_one_that_falls_with_size_too():
    names = fabricate("paper").models
    auc = {n: 0.7 + (0.05 - 0.01 * np.log10(row["parameters"] / 1e6)) * (row["init"] == "imagenet")
           for n, row in names.iterrows()}  # fmt: skip
    results = made(auc, 0.0005)
    for id in ("abs-boost", "2.1-boost-12", "4.3-efficientnetb0", "abs-boost-size", "id-densenet-imagenet"):
        assert verdict(id, results) == REPRODUCED, id
    for id in ("2.1-boost-4", "id-resnet-imagenet", "tf-cxr-boost"):
        assert verdict(id, results) == NOT_REPRODUCED, id
    judged = claims.judge(BY_ID["4.3-efficientnetb0"], results)
    assert judged.runs == ("efficientnet_b0-0-random-0", "efficientnet_b0-0-imagenet-0")
    assert "+0.044" in judged.study.reason and "over patients alone" in judged.study.reason


def test_a_relationship_that_is_there_is_no_absence_of_one():
    models = fabricate("paper").models
    auc = dict(zip(models.index, 0.6 + 0.002 * models["top1"].fillna(70), strict=True))
    results = made(auc, 0.0001)
    assert verdict("4.1-rho-random", results) == verdict("abs-relation", results) == NOT_REPRODUCED


def test_families_and_extremes_are_found_where_they_are():
    models = fabricate("paper").models
    level = {
        "DenseNet": 0.84,
        "ResNet": 0.83,
        "Inception": 0.85,
        "MobileNet": 0.7,
        "EfficientNet": 0.75,
        "MNASNet": 0.72,
    }
    auc = {n: level.get(row["family"], 0.8) for n, row in models.iterrows()}
    auc |= {"InceptionV3 · random": 0.866, "MobileNetV2 · random": 0.65}
    results = made(auc, 0.0005)
    for id in ("abs-families", "2.2-searched", "4.2-families", "4.1-best", "4.1-worst", "4.1-gap", "4.1-best-auc"):
        assert verdict(id, results) == REPRODUCED, id
    assert verdict("4.1-worst-auc", results) == NOT_REPRODUCED
    turned = made({n: 1.5 - a for n, a in auc.items()}, 0.0005)
    assert (
        verdict("2.2-searched", turned) == verdict("4.1-best", turned) == verdict("4.1-gap", turned) == NOT_REPRODUCED
    )


def test_a_boost_gap_is_the_difference_of_two_boosts():
    results = made({"DenseNet201 · imagenet": 0.9, "DenseNet121 · imagenet": 0.85}, 0.0005)
    [gap] = from_study.boost_gap(results, "DenseNet201", "DenseNet121")
    assert gap.value == pytest.approx(0.05) and gap.low < 0.05 < gap.high and gap.high - gap.low < 0.01


def test_seeds_are_in_the_interval_where_all_models_have_several():
    seeds = fabricate("seeds")
    assert "over patients and seeds" in claims.judge(BY_ID["4.1-gap"], seeds).study.reason
    assert "patients and seeds" in claims.judge(BY_ID["4.1-best"], seeds).study.reason
    assert "seeds" not in claims.judge(BY_ID["4.1-gap"], fabricate("paper")).study.reason


@pytest.mark.parametrize("kind", ["demo", "nih", "smoke"])
def test_what_a_study_lacks_is_not_run_and_says_what(kind):
    results = fabricate(kind)
    for id in ("4.4-resnet18", "t1-auc-resnet18", "abs-boost", "2.1-boost-4", "4.1-rho-imagenet", "4.2-weaker"):
        judged = claims.judge(BY_ID[id], results)
        assert judged.study.word == NOT_RUN and judged.study.reason and judged.runs == ()
    assert "ImageNet weights is not among the study's runs" in claims.judge(BY_ID["4.4-resnet18"], results).study.reason


def test_architectures_that_are_not_the_papers_do_not_answer_for_it():
    judged = claims.judge(BY_ID["abs-boost"], fabricate("nih"))
    assert judged.study.word == NOT_RUN and "EfficientNetLite0" in judged.study.reason
    assert "mean boost is" in judged.study.reason


def test_the_papers_own_numbers_and_the_counts_are_judged_without_a_study():
    words = {row.statement.id: (row.own.word, row.count.word) for row in claims.ledger()}
    yes, no, none = "consistent", "not consistent", "nothing to check"
    known = {
        "abs-times": (yes, no), "4.2-times-efficientnet": (no, no), "4.2-times-resnet101": (yes, no),
        "4.2-times-densenet": (yes, yes), "4.1-third": (yes, no), "3.2-efficiency": (no, no),
        "3.1-checkpoints": (no, none), "3.1-images": (yes, none), "1-boost": (no, none), "1-densenet": (no, none),
        "4.2-rho-imagenet": (yes, yes), "4.2-rho-random": (yes, none), "4.1-densenet-imagenet": (yes, none),
        "4.3-densenet": (yes, none), "4.4-resnet18": (yes, none), "t1-size-mnasnet": (none, no),
        "t1-size-densenet121": (none, yes), "t2-times-resnet18minus2": (none, no), "tf-size-cbr-tiny": (none, yes),
        "tf-size-resnet50": (none, no), "tf-t2-cardiomegaly": (no, none), "tf-t2-edema": (yes, none),
    }  # fmt: skip
    assert {id: words[id] for id in known} == known
    assert all(row.study.word == NOT_RUN for row in claims.ledger())


def test_a_study_that_is_missing_says_why_where_it_was_asked():
    words = {row.statement.id: row.study for row in claims.ledger(Missing("Not trained yet."))}
    assert words["abs-boost"].reason == "Not trained yet." and words["3.1-adam"].reason != "Not trained yet."
    assert claims.summary(Missing("Not trained yet.")) == "Not trained yet."


def test_the_text_is_grouped_fits_a_hundred_columns_and_ends_in_the_counts():
    said = claims.text(claims.ledger(fabricate("paper")))
    assert max(map(len, said.splitlines())) <= 100
    heads = [line for line in said.splitlines() if re.match(r"(CheX|In-domain|Transfusion).*,", line)]
    assert len(heads) == len(set(heads)) > 15 and "CheXtransfer, section 4.2" in heads
    last = said.splitlines()[-1]
    assert last.startswith("  study:") and sum(map(int, re.findall(r"\d+", last))) == len(STATEMENTS)


def test_sentences_on_the_ledger_have_its_numbers():
    results = fabricate("paper")
    words = claims.tally(row for row in claims.ledger(results) if row.statement.paper == CHEXTRANSFER)
    assert f"{words['study'][OPEN]} cannot tell" in claims.summary(results)
    assert f"{words['count']['not consistent']} of these are not consistent" in claims.consistency()


@pytest.mark.parametrize("question", tables.PRINTED)
def test_what_the_paper_prints_on_a_question_is_taken_from_the_rows(question):
    said = tables.printed(question)
    assert said.startswith("For comparison, the paper (section 4") and said.endswith(".")
    assert all(text in said for id in tables.PRINTED[question] for text in BY_ID[id].printed.values())


def test_the_page_has_every_row_a_rule_an_option_and_links_to_figures_and_runs():
    results = fabricate("paper")
    html = figures.claim_table(results)._repr_html_()
    assert html.count('<tr class="claim"') == len(STATEMENTS) and "<script" not in html
    for option in re.findall(r'<option value="([^"]+)"', html):
        assert f'[value="{option}"]:checked' in html
    assert 'href="05_truncation.html"' in html and 'href="12_runs.html#resnet18-1-imagenet-0"' in html
    assert f"of {len(STATEMENTS)} statements" in html
    bare = figures.claim_table(None)._repr_html_()
    assert bare.count('<tr class="claim"') == len(STATEMENTS) and "12_runs" not in bare


def test_the_findings_are_shown_with_the_code_that_computes_them():
    html = figures.finding_cards()._repr_html_()
    assert "def headline() -&gt; Finding:" in html and html.count("<pre>") == html.count('class="finding"') > 15


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        try:
            chromium = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        except playwright.Error:
            pytest.skip("chromium is not there")
        yield chromium
        chromium.close()


VISIBLE = "all => all.filter(row => getComputedStyle(row).display !== 'none').map(row => ({...row.dataset}))"


def test_a_choice_hides_the_other_rows_without_a_script(browser):
    page = browser.new_page()
    page.set_content(figures.claim_table(fabricate("paper")).html)
    rows = page.locator("tr.claim")
    assert len(rows.evaluate_all(VISIBLE)) == len(STATEMENTS)
    page.select_option('select[data-by="count"]', "not consistent")
    counted = rows.evaluate_all(VISIBLE)
    assert 20 < len(counted) < len(STATEMENTS) and {row["count"] for row in counted} == {"not consistent"}
    page.select_option('select[data-by="place"]', "Table 2")
    both = rows.evaluate_all(VISIBLE)
    assert {row["place"] for row in both} == {"Table 2"} and {row["count"] for row in both} == {"not consistent"}
    page.select_option('select[data-by="count"]', "")
    assert len(rows.evaluate_all(VISIBLE)) == 24


class TestCommand:
    def test_without_a_study_it_prints_the_papers_own(self, capsys):
        assert main(["claims"]) == 0
        out = capsys.readouterr().out
        assert "study:       none asked (--study STUDY)" in out and "2.96 from counts with one 14-finding head" in out

    def test_json_and_csv_have_every_row(self, capsys):
        assert main(["claims", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(found["statements"]) == len(STATEMENTS) == sum(found["counts"]["study"].values())
        assert main(["claims", "--csv"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == len(STATEMENTS) + 1

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--study", "nope"], "nope.yaml is not there"),
            (["--runs", "x"], "goes with --study"),
            (["--study", "smoke", "--runs", "/nowhere"], "has no finished runs"),
            (["--studies", "x"], "did you mean '--study'"),
        ],
    )
    def test_bad_input_is_one_line(self, arguments, said, capsys):
        assert main(["claims", *arguments]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1

    def test_a_study_that_was_trained_is_judged(self, smoke_store, capsys):
        assert main(["claims", "--study", "smoke", "--runs", str(smoke_store.folder)]) == 0
        assert "not run" in capsys.readouterr().out
