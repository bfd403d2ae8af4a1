"""What could have been seen: standard errors, least detectable differences, attenuation, and boosts taken together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from chexlib import figures, stats
from chexlib.paper import attenuation, pooled, power, power_notes
from chexlib.paper.notes import Missing, Note
from tests.fabricated import fabricate

CHEXPERT = Path(__file__).parents[3] / "shared" / "data" / "chexpert_test"
needs_chexpert = pytest.mark.skipif(not CHEXPERT.is_dir(), reason=f"the CheXpert test labels are not in {CHEXPERT}")
TASKS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
KINDS = ("demo", "nih", "paper", "smoke", "seeds")


@pytest.fixture(scope="module")
def studies():
    return {kind: fabricate(kind) for kind in KINDS}


def test_the_least_detectable_difference_is_2_80_standard_errors(studies):
    found = power.pairs(studies["seeds"], "random")
    np.testing.assert_allclose(found.least / found.error, 2.8016, atol=1e-4)
    np.testing.assert_allclose(found.least_seeds / found.error_seeds, 2.8016, atol=1e-4)


def test_a_pairs_error_is_that_of_its_replicates(studies):
    results = studies["demo"]
    whole = np.flatnonzero((results.models["minus"] == 0) & (results.models["init"] == "random"))
    found = power.pairs(results, "random")
    assert len(found.auc) == len(whole) and len(found.error) == len(whole) * (len(whole) - 1) / 2
    by_hand = (results.replicates[:, whole[0]] - results.replicates[:, whole[1]]).std(ddof=1)
    assert found.error[0] == pytest.approx(by_hand)
    assert found.observed.max() == pytest.approx(found.spread)
    assert np.isnan(found.error_seeds).all() and np.isnan(found.seed_sd)  # each was trained once


def test_seeds_add_their_variance_over_their_number(studies):
    results = studies["nih"]  # three seeds of some, one of the others
    found, sd = power.pairs(results, "random"), power.one_training(results, "random")
    here = results.seed_spread[results.seed_spread.index.str.endswith("random")]
    here = here[here.index.isin(results.models.index[results.models["minus"] == 0])]
    assert sd == pytest.approx(np.sqrt((here["sd"] ** 2).mean()))
    one, other = [np.flatnonzero(results.models["seeds"][results.models["minus"] == 0] == n)[0] for n in (1, 3)]
    assert one < other
    added = found.error_seeds**2 - found.error**2
    assert added.max() == pytest.approx(2 * sd**2) and added.min() == pytest.approx(2 * sd**2 / 3)


def test_models_that_are_one_cannot_differ_and_are_not_counted_as_found(studies):
    auc, covariance = np.array([0.8, 0.8]), np.full((2, 2), 1e-4)
    found = power.of_covariance(auc, covariance, covariance)
    assert (found.error, found.r) == (0, pytest.approx(1)) and found.least == 0
    assert power_notes._reach(found, found.least) == 0


def test_independent_errors_add_up_and_equal_ones_cancel():
    errors = power.paper_errors()
    none, half = power.paper_pairs(0.0), power.paper_pairs(0.5)
    assert none.error[0] == pytest.approx(np.hypot(errors[0], errors[1]))
    assert none.r == pytest.approx(0, abs=1e-12) and half.r == pytest.approx(0.5)
    assert (half.error < none.error).all() and power.paper_pairs(1.0).error.max() < 0.0015  # intervals of other widths


def test_the_papers_intervals_give_its_errors_and_its_printed_differences_their_correlation():
    assert power.paper_errors()[0] == pytest.approx((0.871 - 0.846) / 3.92, rel=1e-3)  # DenseNet121
    resnet18, efficientnet = map(power.implied_r, power.TRUNCATED)
    assert resnet18 == pytest.approx(1 - (0.012 / 0.028) ** 2 / 2)
    assert 0.8 < power.implied_r() < min(resnet18, efficientnet) < 0.95  # a network and its truncation err more alike


def test_below_some_correlation_noise_alone_would_spread_table_1_more():
    least = power.least_r()
    assert 0.6 < least < 0.9
    assert power.paper_pairs(least - 0.1).true_sd == 0 < power.paper_pairs(least + 0.1).true_sd


def test_with_unknown_order_sixteen_models_are_significant_one_time_in_twenty():
    found = attenuation.noiseless(16)
    at = {round(float(rho), 2): i for i, rho in enumerate(found.true)}
    assert attenuation.critical(16) == pytest.approx(0.497, abs=0.001)  # the t test's, as tables print it
    assert found.power[at[0.0]] == pytest.approx(0.05, abs=0.015)
    assert found.mean[at[0.0]] == pytest.approx(0, abs=0.02)
    assert found.low[at[1.0]] == found.high[at[1.0]] == found.power[at[1.0]] == 1
    low, high = found.compatible(0.0)
    assert -low == pytest.approx(high, abs=0.05) and 0.4 < high < 0.6


def test_noise_as_large_as_the_truth_takes_rho_1_to_0_69():
    """Pearson's correlation falls to 1/sqrt(2), Spearman's of a normal pair is then 6/pi asin(1/(2 sqrt(2)))."""
    noise = np.random.default_rng(0).normal(size=(500, 40))
    auc = np.linspace(-1, 1, 40)
    found = power.of_covariance(auc * np.sqrt(2) / auc.std(ddof=1), np.eye(40), np.eye(40) * np.nan)
    assert found.noise == pytest.approx(1) and found.true_sd == pytest.approx(1)
    came = attenuation.simulate(noise, found)
    assert came.mean[-1] == pytest.approx(6 / np.pi * np.arcsin(np.sqrt(0.5) / 2), abs=0.02)
    assert came.least > attenuation.noiseless(40).least


def test_where_all_spread_is_noise_no_relationship_can_be_found():
    found = attenuation.of_paper(0.3)
    assert np.isnan(found.least) and found.pairs.true_sd == 0
    assert found.compatible(0.06) == (-1, 1)


def test_a_correlation_takes_as_many_of_the_papers_architectures_as_measures_ask(studies):
    assert attenuation.of_study(studies["smoke"], "random") is None
    assert attenuation.of_study(studies["demo"], "random").n == 16
    assert attenuation.of_study(studies["demo"], "imagenet") is None  # Lite alone, which is not the paper's


@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_and_figure_is_made_of_any_study(studies, kind):
    results = studies[kind]
    for say in (
        power_notes.differences,
        power_notes.paper_differences,
        power_notes.relationship,
        power_notes.answer,
    ):
        text = say(results)
        assert isinstance(text, Note) and text.endswith(".") and "nan" not in text.lower()
    for say in (pooled.mean_sentence, pooled.boost_sentence):
        assert "nan" not in say(results)
    for draw in (figures.detectable, figures.attenuated):
        shown = draw(results)
        assert isinstance(shown, Figure) and results.caption in " ".join(text.get_text() for text in shown.texts)


def test_missing_results_say_why_once():
    missing = Missing("Not trained yet.")
    assert power_notes.answer(missing) == "Not trained yet."
    assert power_notes.differences(missing) == power_notes.relationship(missing) == figures.detectable(missing) == ""
    assert "Table 1" in power_notes.paper_differences(missing) and len(power_notes.paper_table(missing).tables[""]) == 5


def test_the_papers_table_has_a_row_for_the_correlation_measured_here(studies):
    rows = power_notes.paper_table(studies["paper"]).tables[""].index
    assert sum("measured in this study" in row for row in rows) == 1 and len(rows) == 6
    assert [float(row.split()[0]) for row in rows] == sorted(float(row.split()[0]) for row in rows)


def test_the_mean_boosts_error_is_the_sum_of_its_parts(studies):
    found, table = pooled.mean(studies["seeds"]), pooled.boosts(studies["seeds"])
    assert found.k == len(table)
    assert found.se**2 == pytest.approx(found.se_patients**2 + found.se_seeds**2 + found.se_between**2)
    assert found.low < found.value < found.high and min(table["boost"]) < found.value < max(table["boost"])
    assert pooled.mean(studies["smoke"]) is None and "fewer than two" in pooled.mean_sentence(studies["smoke"])


def test_where_models_were_trained_once_seeds_are_said_to_be_unknown(studies):
    assert np.isnan(pooled.mean(studies["demo"]).se_seeds)
    assert "seeds is not known" in pooled.mean_sentence(studies["demo"])
    assert (
        not pooled.boosts(studies["demo"])["over_seeds"].any() and pooled.boosts(studies["seeds"])["over_seeds"].all()
    )


def test_adjusted_p_is_never_smaller_and_holm_is_never_smaller_than_benjamini_hochberg(studies):
    table = pooled.boosts(studies["seeds"])
    assert (table["holm"] >= table["benjamini_hochberg"]).all() and (table["benjamini_hochberg"] >= table["p"]).all()
    assert len(pooled.boost_table(studies["seeds"]).tables[""]) == len(table)


def test_a_boost_is_none_only_where_its_whole_interval_is_inside_the_margin():
    results = fabricate("paper")  # a copy of its own
    table = pooled.boosts(results)
    assert not table["equivalent"].any()  # the invented boosts are large
    a, b = table["pretrained"].iloc[0], table["random"].iloc[0]
    column = results.models.columns.get_loc("auc")
    results.models.iloc[a, column] = results.models.iloc[b, column]
    results.replicates[:, a] = results.replicates[:, b] + np.random.default_rng(1).normal(0, 1e-3, 400)
    after = pooled.boosts(results)
    assert after["equivalent"].tolist() == [True] + [False] * (len(table) - 1)
    assert after["p"].iloc[0] > 0.3


@needs_chexpert
def test_real_predictions_of_the_papers_test_set_have_such_errors_and_such_correlations():
    """Seven models on CheXpert's 500 test studies: what the page works out from printed intervals is of this size."""
    truth = pd.read_csv(CHEXPERT / "groundtruth.csv", index_col="Study")
    files = sorted(CHEXPERT.glob("predictions/*.csv"))
    scores = np.array([pd.read_csv(file, index_col="Study").loc[truth.index, TASKS].to_numpy() for file in files])
    y, patients = truth[TASKS].to_numpy(float), truth.index.str.split("/").str[2].to_numpy()
    found = stats.bootstrap_auroc(y, scores, patients)
    measured = power.of_covariance(found.mean, *[np.cov(found.mean_replicates.T)] * 2)
    r = np.corrcoef(found.mean_replicates.T)[np.triu_indices(len(files), 1)]
    assert r.min() > 0.7 and r.max() > 0.99 and 0.7 < measured.r < 1  # strangers' models, and entries that share parts
    errors = found.mean_replicates.std(axis=0, ddof=1)
    np.testing.assert_allclose(errors, np.median(power.paper_errors()), rtol=0.15)
    each = stats.hanley_mcneil(found.area, (y == 1).sum(axis=0), (y == 0).sum(axis=0))  # (7, 5)
    foretold = np.sqrt((each**2).sum(axis=1)) / 5
    assert (foretold > errors).all() and (foretold < 1.8 * errors).all()  # too careful, where areas are near 1
