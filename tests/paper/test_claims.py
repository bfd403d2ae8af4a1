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
from chexlib.paper.claims import criteria, from_study, measured, own_tables, recounts
from chexlib.paper.claims.judged import disagreements, judge
from chexlib.paper.claims.judging import NOT_REPRODUCED, NOT_RUN, OPEN, REPRODUCED, judge_study
from chexlib.paper.claims.measured import Measured
from chexlib.paper.claims.statement import CHEXTRANSFER
from chexlib.paper.claims.statements import BY_ID, STATEMENTS
from chexlib.paper.notes import Missing
from tests.fabricated import fabricate

CRITERIA = {criteria.above, criteria.below, criteria.absent, criteria.small, criteria.no_drop, criteria.no_gain,
            criteria.near, criteria.beyond, criteria.mostly_above}  # fmt: skip


def made(auc: dict[str, float] | float, spread: float, kind: str = "paper"):
    """Results whose every model has its AUC (by label and init, or one for all) and independent noise of `spread`."""
    results = fabricate(kind)
    own = auc if isinstance(auc, dict) else {}
    values = np.array([own.get(name, 0.8 if isinstance(auc, dict) else auc) for name in results.models.index])
    noise = np.random.default_rng(1).normal(0, 1, results.replicates.shape)
    replicates = values + spread * (noise - noise.mean(axis=0))
    low, high = np.percentile(replicates, [2.5, 97.5], axis=0)
    return replace(results, models=results.models.assign(auc=values, low=low, high=high), replicates=replicates)


def only(results, labels):
    """The same of a study that trained these architectures alone."""
    keep = results.models["label"].isin(labels).to_numpy()
    return replace(results, models=results.models[keep], replicates=results.replicates[:, keep])


def verdict(id: str, results) -> str:
    return judge(BY_ID[id], results).study.word


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
            assert {one.name for one in check(row.checked)} <= set(row.checked)
    if isinstance(row.study, str):
        assert row.study and row.criterion is None and row.statistic == ""
    else:
        name = row.statistic.partition("(")[0]
        assert callable(getattr(from_study, name)) and row.criterion in CRITERIA
        assert "\n" not in row.criterion.__doc__
        assert row.page
    assert row.says and all(text for text in row.checked.values())
    assert not set(row.printed) & set(row.reading)


def found(low: float, high: float, margin: float = 0.01) -> Measured:
    return Measured("x", (low + high) / 2, low, high, "patients", margin)


@pytest.mark.parametrize(
    ("criterion", "low", "high", "word"),
    [
        (criteria.above, 0.001, 0.03, REPRODUCED),
        (criteria.above, -0.03, -0.001, NOT_REPRODUCED),
        (criteria.above, -0.004, 0.005, NOT_REPRODUCED),
        (criteria.above, -0.004, 0.02, OPEN),
        (criteria.below, -0.03, -0.001, REPRODUCED),
        (criteria.below, 0.001, 0.03, NOT_REPRODUCED),
        (criteria.below, -0.02, 0.004, OPEN),
        (criteria.absent, -0.004, 0.005, REPRODUCED),
        (criteria.absent, -0.02, 0.02, OPEN),
        (criteria.absent, 0.001, 0.02, NOT_REPRODUCED),
        (criteria.small, -0.009, 0.009, REPRODUCED),
        (criteria.small, 0.001, 0.02, OPEN),
        (criteria.small, 0.011, 0.02, NOT_REPRODUCED),
        (criteria.no_drop, -0.009, 0.05, REPRODUCED),
        (criteria.no_drop, -0.02, 0.01, OPEN),
        (criteria.no_drop, -0.03, -0.01, NOT_REPRODUCED),
        (criteria.no_gain, -0.05, 0.009, REPRODUCED),
        (criteria.no_gain, -0.05, -0.02, REPRODUCED),
        (criteria.no_gain, -0.01, 0.02, OPEN),
        (criteria.no_gain, 0.001, 0.02, NOT_REPRODUCED),
        (partial(criteria.beyond, printed=0.006), 0.007, 0.02, REPRODUCED),
        (partial(criteria.beyond, printed=0.006), 0.001, 0.02, OPEN),
        (partial(criteria.beyond, printed=0.006), 0.001, 0.005, NOT_REPRODUCED),
        (partial(criteria.near, printed=0.86), 0.855, 0.865, REPRODUCED),
        (partial(criteria.near, printed=0.86), 0.84, 0.88, OPEN),
        (partial(criteria.near, printed=0.86), 0.88, 0.9, NOT_REPRODUCED),
    ],
)
def test_a_criterion_asks_where_the_whole_interval_lies(criterion, low, high, word):
    assert criterion(found(low, high))[0] == word


@pytest.mark.parametrize("criterion", [criteria.absent, criteria.small, criteria.no_drop, criteria.no_gain])
def test_absence_is_never_reproduced_by_a_wide_interval(criterion):
    for width in (0.011, 0.03, 0.3):
        word, why = criterion(found(-width, width))
        assert word == OPEN and f"{width:.3f}" in why


def test_an_absence_that_is_a_small_but_significant_effect_says_so():
    for criterion, low, high, side in (
        (criteria.absent, -0.009, -0.001, "below"),
        (criteria.absent, 0.001, 0.009, "above"),
        (criteria.no_drop, -0.009, -0.001, "below"),
        (criteria.no_gain, 0.001, 0.009, "above"),
    ):
        word, why = criterion(found(low, high))
        assert word == REPRODUCED and why.endswith(f", but significantly {side} zero")
    for criterion in (criteria.absent, criteria.no_drop, criteria.no_gain):
        assert "significantly" not in criterion(found(-0.004, 0.005))[1]
    assert "significantly" not in criteria.no_drop(found(0.001, 0.009))[1]


def test_a_printed_size_is_judged_or_said_not_to_be():
    def one(results):
        return (found(0.01, 0.02),)

    said = judge_study(one, criteria.above, "0.040", object())
    assert said.word == REPRODUCED and said.reason.endswith("all of it above zero; size not judged: printed 0.040")
    assert "size" not in judge_study(one, criteria.above, "", object()).reason
    assert judge_study(one, criteria.beyond, "> 0.006", object()).word == REPRODUCED
    assert judge_study(one, criteria.beyond, "> 0.015", object()).word == OPEN
    assert judge_study(one, criteria.near, "0.015", object()).reason.endswith("of the printed 0.015")


def test_what_some_of_the_papers_architectures_show_settles_nothing_about_all():
    for low, high in ((0.01, 0.02), (-0.02, -0.01)):
        few = replace(found(low, high), n=5, of=16)
        said = judge_study(lambda r, few=few: (few,), criteria.above, "", object())
        assert said.word == OPEN and "5 of the paper's 16" in said.reason
        every = replace(few, n=16)
        said = judge_study(lambda r, every=every: (every,), criteria.above, "", object())
        assert said.word != OPEN and "all 16 of the paper's" in said.reason


@pytest.mark.parametrize(
    ("gain", "open_", "no", "word"),
    [(9, 0, 7, REPRODUCED), (9, 7, 0, REPRODUCED), (8, 8, 0, OPEN), (8, 0, 8, NOT_REPRODUCED), (7, 2, 7, OPEN),
     (9, 0, 0, REPRODUCED), (5, 0, 0, OPEN), (0, 8, 8, NOT_REPRODUCED)],
)  # fmt: skip
def test_most_is_more_than_half_of_the_sixteen(gain, open_, no, word):
    ends = [(0.01, 0.02)] * gain + [(-0.02, 0.02)] * open_ + [(-0.02, -0.01)] * no
    all_ = tuple(replace(found(*end), n=len(ends), of=16) for end in ends)
    said = judge_study(lambda r: all_, criteria.mostly_above, "", object())
    assert said.word == word and (f"{gain} above zero" in said.reason) == (gain > 0)


def test_no_relation_takes_more_architectures_than_sixteen_and_the_reason_says_that_size():
    assert round(measured.reach(16), 2) == 0.50
    assert measured.FOR_NO_RELATION == 44 and measured.reach(43) > measured.RHO_MARGIN > measured.reach(44)
    reason = judge(BY_ID["4.1-rho-random"], made(0.8, 0.05)).study.reason
    assert "the size that matters is that of 16 architectures" in reason and "takes 44" in reason
    assert "architectures" not in judge(BY_ID["1-resnet"], made(0.8, 0.05)).study.reason


def test_several_numbers_have_to_agree():
    def three(*ends):
        return lambda results: tuple(found(low, low + 0.005) for low in ends)

    assert judge_study(three(0.01, 0.02), criteria.above, "", object()).word == REPRODUCED
    assert judge_study(three(0.01, -0.002), criteria.above, "", object()).word == NOT_REPRODUCED
    assert judge_study(lambda r: (found(0.01, 0.02), found(-0.1, 0.1)), criteria.above, "", object()).word == OPEN


def test_equal_models_show_no_boost_and_no_drop_where_the_intervals_are_narrow():
    results = made(0.8, 0.0005)
    assert verdict("4.4-resnet18", results) == verdict("abs-times", results) == REPRODUCED
    assert verdict("1-resnet", results) == verdict("2.1-boost-4", results) == REPRODUCED
    assert verdict("abs-boost", results) == verdict("4.4-deeper", results) == NOT_REPRODUCED
    assert "within ±0.01" in judge(BY_ID["4.4-resnet18"], results).study.reason


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
    judged = judge(BY_ID["4.3-efficientnetb0"], results)
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


SOME = ("DenseNet121", "ResNet18", "InceptionV3", "MobileNetV2", "EfficientNetB0")


def test_a_statement_about_all_sixteen_is_not_settled_by_five():
    auc = {n: 0.4 + 0.05 * np.log10(row["parameters"]) + 0.1 * (row["init"] == "imagenet")
           for n, row in fabricate("paper").models.iterrows()}  # fmt: skip
    results = made(auc, 0.0001)
    for id in ("abs-boost", "4.1-best", "4.2-rho-random", "4.2-rho-imagenet", "4.2-families", "fig4-most"):
        assert verdict(id, results) != OPEN, id
        five = judge(BY_ID[id], only(results, SOME)).study
        assert five.word == OPEN and re.search(r"\b5 of the paper's 1[56]\b", five.reason), id
    for id in ("4.2-weaker", "4.3-rho"):
        assert "5 of the paper's 16" in judge(BY_ID[id], only(results, SOME)).study.reason
    two = only(results, (*SOME, "DenseNet201", "ResNet101"))
    assert "of the paper's 15" in judge(BY_ID["abs-families"], two).study.reason
    for id in ("abs-boost", "4.3-rho", "4.2-weaker", "fig4-most", "4.1-best"):
        assert verdict(id, only(results, SOME[:4])) == NOT_RUN, id
    assert verdict("4.3-resnet101", only(results, (*SOME, "ResNet101"))) == REPRODUCED


def test_most_models_may_gain_where_not_all_twelve_do():
    names = fabricate("paper").models
    without = ("DenseNet121", "DenseNet169", "ResNet18")
    auc = {n: 0.7 + 0.05 * (row["init"] == "imagenet" and row["label"] not in without) for n, row in names.iterrows()}
    results = made(auc, 0.0005)
    assert verdict("fig4-most", results) == REPRODUCED and verdict("2.1-boost-12", results) == NOT_REPRODUCED
    assert "13 above zero" in judge(BY_ID["fig4-most"], results).study.reason
    assert verdict("fig4-most", made(0.8, 0.0005)) == NOT_REPRODUCED


def test_models_that_lose_from_pretraining_do_not_gain_from_it():
    names = fabricate("paper").models
    results = made({n: 0.8 - 0.05 * (row["init"] == "imagenet") for n, row in names.iterrows()}, 0.0005)
    for id in ("2.1-raghu-boost", "2.1-boost-4", "5-boost-4", "tf-cxr-boost"):
        assert verdict(id, results) == REPRODUCED, id
    assert verdict("4.3-within", results) == REPRODUCED


def test_families_have_to_differ_by_more_than_the_printed_gap():
    def apart(gap):
        names = fabricate("paper").models
        better = ("DenseNet", "ResNet", "Inception")
        return made({n: 0.7 + gap * (row["family"] in better) for n, row in names.iterrows()}, 0.0002)

    assert verdict("1-families", apart(0.02)) == REPRODUCED
    assert verdict("1-families", apart(0.003)) == NOT_REPRODUCED
    assert verdict("1-families", made(0.8, 0.05)) == OPEN  # noise alone is no gap
    for id in ("2.2-searched", "4.2-families", "5-searched"):
        assert BY_ID[id].study.keywords["init"] == "random"


def test_a_lead_over_seeds_never_ends_inside_the_one_over_patients():
    results = fabricate("seeds")
    [patients] = from_study.lead(fabricate("paper"), "InceptionV3", "random")
    assert patients.over == "patients alone"
    results.over_seeds = lambda weights: results.replicates + 0.0 * weights
    [same] = from_study.lead(results, "InceptionV3", "random")
    middle = results.models["auc"].to_numpy(float)
    results.over_seeds = lambda weights: middle + 0.1 * (results.replicates - middle)
    [narrow] = from_study.lead(results, "InceptionV3", "random")
    assert narrow.low <= same.low and narrow.high >= same.high


def test_a_gap_of_correlations_draws_seeds_where_all_models_have_several():
    reason = judge(BY_ID["4.2-weaker"], fabricate("seeds")).study.reason
    assert "over architectures, patients and seeds" in reason
    assert "seeds" not in judge(BY_ID["4.2-weaker"], fabricate("paper")).study.reason


def test_a_boost_gap_is_the_difference_of_two_boosts():
    results = made({"DenseNet201 · imagenet": 0.9, "DenseNet121 · imagenet": 0.85}, 0.0005)
    [gap] = from_study.boost_gap(results, "DenseNet201", "DenseNet121")
    assert gap.value == pytest.approx(0.05) and gap.low < 0.05 < gap.high and gap.high - gap.low < 0.01


def test_seeds_are_in_the_interval_where_all_models_have_several():
    seeds = fabricate("seeds")
    assert "over patients and seeds" in judge(BY_ID["4.1-gap"], seeds).study.reason
    assert "patients and seeds" in judge(BY_ID["4.1-best"], seeds).study.reason
    assert "seeds" not in judge(BY_ID["4.1-gap"], fabricate("paper")).study.reason


@pytest.mark.parametrize("kind", ["demo", "nih", "smoke"])
def test_what_a_study_lacks_is_not_run_and_says_what(kind):
    results = fabricate(kind)
    for id in ("4.4-resnet18", "t1-auc-resnet18", "abs-boost", "2.1-boost-4", "4.1-rho-imagenet", "4.2-weaker"):
        judged = judge(BY_ID[id], results)
        assert judged.study.word == NOT_RUN and judged.study.reason and judged.runs == ()
    assert "ImageNet weights is not among the study's runs" in judge(BY_ID["4.4-resnet18"], results).study.reason


def test_architectures_that_are_not_the_papers_do_not_answer_for_it():
    judged = judge(BY_ID["abs-boost"], fabricate("nih"))
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
        "4.2-weaker": (yes, none), "2.2-searched": (yes, none), "5-searched": (yes, none), "4.1-kornblith": (yes, none),
        "t2-auc-resnet18minus1": (yes, none), "t2-auc-efficientnetb0minus2": (yes, none), "4.4-cams": (none, yes),
        "t1-auc-resnet18": (none, none), "4.1-best-auc": (none, none), "2.1-kornblith-tuned": (none, none),
        "tf-third": (yes, yes), "tf-twentieth": (yes, yes),
        "4.3-densenet": (yes, none), "4.4-resnet18": (yes, none), "t1-size-mnasnet": (none, no),
        "t1-size-densenet121": (none, yes), "t2-times-resnet18minus2": (none, no), "tf-size-cbr-tiny": (none, yes),
        "tf-size-resnet50": (none, no), "tf-t2-cardiomegaly": (no, none), "tf-t2-edema": (yes, none),
    }  # fmt: skip
    assert {id: words[id] for id in known} == known
    assert all(row.study.word == NOT_RUN for row in claims.ledger())


def test_a_source_that_is_not_the_papers_own_says_so():
    own = {row.statement.id: row.own.reason for row in claims.ledger()}
    for id in ("3.1-images", "3.1-checkpoints", "id-images"):
        assert "CheXpert's label files, not the paper" in own[id], id
    assert "Transfusion's Table 1, not the paper" in own["2.1-raghu-size"]
    assert "not the paper" not in own["tf-third"] and "its Table 1" in own["tf-third"]


def test_rows_about_one_number_that_disagree_are_one_disagreement():
    judged = [row for row in claims.ledger() if row.statement.paper == CHEXTRANSFER]
    own, count = (disagreements(judged, name) for name in ("own", "count"))
    assert ["1-densenet", "4.1-densenet-random", "4.2-densenet"] in own and ["1-boost", "4.3-boost"] in own
    assert ["abs-times", "1-times", "5-times"] in count and ["4.4-resnet18-times", "t2-times-resnet18minus1"] in count
    assert len(own) == 6 and f"about {len(own)} numbers" in claims.consistency()
    assert sum(map(len, own)) == 11 and f"about {len(count)} numbers" in claims.consistency()


def test_what_words_were_read_as_is_no_printed_number():
    printed = [text for row in STATEMENTS for text in row.printed.values()]
    assert not {"> 0.000", "< 0.00", "> 0", "29 to 40", "4 to 6", "2.5 to 3.5", "0.0 to 1.0"} & set(printed)
    assert [text for text in printed if text[0] in "<>"] == ["> 0.006", "< 40"]
    row = BY_ID["4.2-families"]
    assert not row.printed and row.numbers == "" and row.shown == "(read as difference > 0)"
    assert "(read as difference > 0)" in claims.text([judge(row)])
    [record] = claims.records([judge(row)])
    assert record["printed"] == {} and record["reading"] == {"difference": "> 0"}


def test_the_two_similarities_of_transfusion_are_not_said_to_be_of_which_networks():
    row = BY_ID["tf-r2"]
    assert sorted(row.printed.values()) == ["0.75", "0.84"]
    assert not any(word in name for name in row.printed for word in ("random", "pretrained"))
    assert "at initialisation" in row.says and "at convergence" in row.says


def test_what_a_section_says_beside_its_numbers_has_rows_too():
    assert BY_ID["fig3-linear"].place == "Figure 3" and BY_ID["fig1-bars"].printed == {"standard deviations": "1"}
    assert "Edema" in BY_ID["fig5-cams"].says and "pictures" not in BY_ID["4.4-cams"].study
    assert BY_ID["4.1-resnet-interval"].printed == {"difference": "0.005"}
    top5 = {id: row.printed["top-5"] for id, row in BY_ID.items() if id.startswith("tf-top5-")}
    assert len(top5) == 6 and top5["tf-top5-cbr-small"] == "67.6"


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


def test_a_networks_name_keeps_its_capital_within_a_sentence():
    said = claims.printed("4.1-gap")
    assert ": InceptionV3 leads" in said, said
