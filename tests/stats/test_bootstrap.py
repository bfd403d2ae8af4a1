"""The bootstrap against a plain loop and scipy, its laws, and its coverage."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from chexlib.stats import (
    auroc,
    bca_interval,
    bootstrap,
    bootstrap_auprc,
    bootstrap_auroc,
    paired_difference,
    percentile_interval,
    resample_counts,
    smallest_difference,
)
from tests.stats.made import made

curves = pytest.mark.parametrize(
    ("bootstrapped", "sklearns"),
    [(bootstrap_auroc, roc_auc_score), (bootstrap_auprc, average_precision_score)],
    ids=["auroc", "auprc"],
)


def naive(y, scores, counts, sklearns=roc_auc_score):
    """(R, M, T): scikit-learn on the rows of each replicate, repeated as often as they were drawn."""
    out = np.full((len(counts), len(scores), y.shape[1]), np.nan)
    for r, count in enumerate(counts):
        rows = np.repeat(np.arange(len(y)), count)
        for t in range(y.shape[1]):
            of_task = rows[~np.isnan(y[rows, t])]
            if len(np.unique(y[of_task, t])) == 2:
                out[r, :, t] = [sklearns(y[of_task, t], model[of_task, t]) for model in scores]
    return out


@curves
@pytest.mark.parametrize("grouped", [True, False])
def test_equals_a_loop_over_replicates_with_sklearn(bootstrapped, sklearns, grouped):
    y, scores, patients = made()
    groups = patients if grouped else None
    ours = bootstrapped(y, scores, groups, n_boot=40, seed=3)
    expected = naive(y, scores, resample_counts(len(y), groups, 40, 3), sklearns)
    np.testing.assert_allclose(ours.replicates, expected, atol=1e-9)
    np.testing.assert_allclose(ours.area, naive(y, scores, np.ones((1, len(y)), dtype=int), sklearns)[0], atol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 25), st.integers(0, 1))
def test_equals_the_loop_on_any_small_input(seed, n, decimals):
    y, scores, patients = made(n=n, patients=n, models=2, tasks=2, seed=seed, decimals=decimals)
    counts = resample_counts(n, patients, 5, seed)
    for bootstrapped, sklearns in ((bootstrap_auroc, roc_auc_score), (bootstrap_auprc, average_precision_score)):
        ours = bootstrapped(y, scores, patients, n_boot=5, seed=seed)
        np.testing.assert_allclose(ours.replicates, naive(y, scores, counts, sklearns), atol=1e-9)


@curves
@pytest.mark.parametrize("grouped", [True, False])
def test_how_often_each_group_was_drawn_gives_the_replicates_back(bootstrapped, sklearns, grouped):
    y, scores, patients = made(n=60, tasks=2, models=3, patients=40)
    group = np.unique(patients, return_inverse=True)[1] if grouped else np.arange(len(y))
    found = bootstrapped(y, scores, patients if grouped else None, n_boot=5, bca=True)
    assert found.drawn.shape == (5, group.max() + 1) and (found.drawn.sum(axis=1) == group.max() + 1).all()
    expected = naive(y, scores, found.drawn[:, group], sklearns)
    np.testing.assert_allclose(found.replicates, expected, atol=1e-12)


def test_blocks_do_not_change_the_numbers(monkeypatch):
    y, scores, patients = made()
    whole = bootstrap_auroc(y, scores, patients, n_boot=23)
    monkeypatch.setattr(bootstrap, "BLOCK", 5 * len(y))
    np.testing.assert_array_equal(bootstrap_auroc(y, scores, patients, n_boot=23).replicates, whole.replicates)


def test_a_patient_is_drawn_with_all_its_rows():
    patients = np.array(["a", "b", "a", "c", "b", "a"])
    counts = resample_counts(6, patients, n_boot=200)
    assert (counts[:, [0, 2, 5]] == counts[:, [0]]).all()
    assert (counts[:, 1] == counts[:, 4]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many patients as there are
    assert counts[:, 0].mean() == pytest.approx(1, abs=0.2)


def test_the_seed_decides_and_adding_a_model_changes_no_other():
    y, scores, patients = made()
    a, b, c = (bootstrap_auroc(y, scores, patients, n_boot=20, seed=s).replicates for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c, equal_nan=True)
    np.testing.assert_array_equal(bootstrap_auroc(y, scores[:2], patients, 20).replicates, a[:, :2])


def test_replicates_without_a_class_are_counted_and_left_out_of_the_mean():
    y = np.zeros((30, 2))
    y[0, 0], y[:15, 1] = 1, 1  # one positive: missing from (29/30)**30 = 36% of draws
    scores = np.random.default_rng(0).random((1, 30, 2))
    b = bootstrap_auroc(y, scores, n_boot=2000)
    assert b.dropped[0] == (resample_counts(30, None, 2000)[:, 0] == 0).sum()
    assert b.dropped[0] / 2000 == pytest.approx((29 / 30) ** 30, abs=0.04)
    assert b.dropped[1] == 0
    lost = np.isnan(b.replicates[:, 0, 0])
    np.testing.assert_array_equal(b.mean_replicates[lost, 0], b.replicates[lost, 0, 1])
    np.testing.assert_allclose(b.mean_replicates[~lost, 0], b.replicates[~lost, 0].mean(axis=1))
    assert np.isfinite(b.interval()).all()


def test_a_task_without_a_class_has_no_value_and_no_part_in_the_mean():
    y, scores, _ = made(tasks=2)
    y[:, 0] = 0
    b = bootstrap_auroc(y, scores, n_boot=50)
    assert np.isnan(b.area[:, 0]).all() and np.isnan(b.interval()[0][:, 0]).all()
    assert b.dropped[0] == 50
    np.testing.assert_array_equal(b.mean, b.area[:, 1])
    assert np.isfinite(b.mean_interval()).all()


def test_a_mean_over_selected_tasks_uses_the_same_resamples():
    y, scores, patients = made()
    b = bootstrap_auroc(y, scores, patients, 200, bca=True)
    np.testing.assert_array_equal(b.select([0, 2]).replicates, b.replicates[:, :, [0, 2]])
    np.testing.assert_allclose(b.select([0, 2]).mean, b.area[:, [0, 2]].mean(axis=1))
    ends = np.array(b.select([1]).mean_interval(method="bca"))  # (2, M)
    np.testing.assert_allclose(ends, np.array(b.interval(method="bca"))[:, :, 1])


def test_a_model_ties_with_itself_and_with_any_increasing_map_of_itself():
    y, scores, patients = made(models=1)
    b = bootstrap_auroc(y, np.concatenate([scores, scores, np.exp(scores)]), patients, 200, bca=True)
    for method in ("percentile", "bca"):
        d = b.differences(method=method)
        assert not np.any([d.value, d.low, d.high]) and (d.p == 1).all()


def test_an_obvious_difference_has_the_smallest_p_there_is_and_another_one_p_by_hand():
    y, _, _ = made(models=1)
    d = bootstrap_auroc(y, np.stack([np.nan_to_num(y), -np.nan_to_num(y)]), n_boot=199).differences()
    assert (d.value[0, 1], d.low[0, 1], d.high[0, 1]) == (1, 1, 1)
    assert d.p[0, 1] == pytest.approx(2 / 200)
    d = paired_difference(0.02, [0.01, 0.02, 0.03, -0.01, 0.04, 0.02, 0.05, 0.01, 0.03])
    assert d.p == pytest.approx(2 * (1 + 1) / (9 + 1))


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_all_differences_are_those_of_each_pair(method):
    y, scores, patients = made()
    b = bootstrap_auroc(y, scores, patients, 150, bca=True)
    found = b.differences(method)
    for a, other in [(0, 1), (3, 1)] if method == "percentile" else []:
        one = paired_difference(b.mean[a] - b.mean[other], b.mean_replicates[:, a] - b.mean_replicates[:, other])
        for name in ("value", "low", "high", "p"):
            assert getattr(found, name)[a, other] == pytest.approx(getattr(one, name), abs=1e-12)
    np.testing.assert_array_equal(np.diag(found.p), 1)
    np.testing.assert_array_equal(found.low, -found.high.T)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_neither_increasing_maps_nor_turning_labels_and_scores_round_change_a_replicate(seed):
    y, scores, patients = made(n=30, patients=20, seed=seed)
    ways = (y, scores), (y, np.exp(scores) + scores**3), (1 - y, -scores)
    one, mapped, turned = (bootstrap_auroc(*way, patients, 10, seed).replicates for way in ways)
    np.testing.assert_array_equal(one, mapped)
    np.testing.assert_allclose(one, turned, atol=1e-12)


def test_intervals_shrink_as_rows_are_added():
    """By the root of how many times as many, 4 each step."""
    widths = []
    for n in (100, 400, 1600):
        y, scores, _ = made(n=n, tasks=1, models=8, decimals=8)
        low, high = bootstrap_auroc(y, scores, n_boot=400).interval()
        widths.append((high - low).mean())
    np.testing.assert_allclose(np.divide(widths[:-1], widths[1:]), 2, rtol=0.2)


def test_intervals_cover_the_true_area_as_often_as_they_say():
    """Patients with two rows, binormal scores of known area 0.76: 95% intervals hold it in about 95% of 300 worlds."""
    rng, truth, held = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), []
    for world in range(300):
        y = (rng.random((120, 1)) < 0.4).astype(float)
        scores = y + rng.normal(size=(1, 120, 1))
        found = bootstrap_auroc(np.repeat(y, 2, 0), np.repeat(scores, 2, 1), np.arange(240) // 2, 200, world)
        low, high = found.interval()
        held.append(low[0, 0] <= truth <= high[0, 0])
    assert 0.91 <= np.mean(held) <= 0.98  # 0.95, give or take 3 standard errors


def test_intervals_that_forget_patients_are_too_narrow():
    y, scores, _ = made(n=150, tasks=1, models=1)
    y, scores = np.repeat(y, 4, 0), np.repeat(scores, 4, 1)  # every patient four times over
    by_patient, by_row = (
        np.subtract(*bootstrap_auroc(y, scores, g, 500).interval()[::-1])[0, 0] for g in (np.arange(600) // 4, None)
    )
    assert by_patient / by_row == pytest.approx(2, abs=0.4)  # sqrt(4)


@pytest.mark.parametrize(("change", "says"), [
    ({"scores": np.zeros((4, 80, 2))}, r"\(M, N, T\) are needed"),
    ({"scores": np.full((4, 80, 3), np.nan)}, "NaN where the label is known"),
    ({"groups": np.zeros(3)}, "one group a row"),
    ({"groups": np.append(np.zeros(78), [np.nan] * 2)}, "2 NaN"),
    ({"n_boot": 0}, "at least one replicate"),
    ({"scores": np.full((4, 80, 3), "high")}, "could not convert string"),
    ({"y": np.full((80, 3), -1.0)}, "y holds -1.*policy"),
])  # fmt: skip
def test_refuses_in_words(change, says):
    y, scores, groups = made()
    with pytest.raises(ValueError, match=says):
        bootstrap_auroc(**({"y": y, "scores": scores, "groups": groups, "n_boot": 5} | change))


class Fixed(np.random.Generator):
    """A generator whose drawn rows are given: what scipy's bootstrap indexes its sample with."""

    def __init__(self, rows):
        super().__init__(np.random.PCG64())
        self.rows = rows

    def integers(self, *args, **kwargs):
        return self.rows


def scipys(statistic, n, counts):
    """scipy.stats.bootstrap's BCa interval of a function of rows, on the resamples that `counts` (R, N) describe."""
    drawn = np.array([np.repeat(np.arange(n), count) for count in counts])
    found = scipy_stats.bootstrap((np.arange(n),), statistic, n_resamples=len(counts), method="BCa", rng=Fixed(drawn))
    return found.confidence_interval


def test_intervals_are_scipys_from_the_same_resamples():
    """Of a task's area, of the mean over tasks, and of a difference of two models' means."""
    y, scores, _ = made(n=40, tasks=2, models=3, rates=(0.4,))
    y = np.nan_to_num(y)  # scipy knows no unknown labels
    found = bootstrap_auroc(y, scores, n_boot=300, seed=5, bca=True)
    counts = resample_counts(40, None, 300, 5)
    asked = {
        "area": (lambda rows: auroc(y[rows], scores[1, rows])[1], [a[1, 1] for a in found.interval("bca")]),
        "mean": (lambda rows: auroc(y[rows], scores[1, rows]).mean(), [a[1] for a in found.mean_interval("bca")]),
        "difference": (
            lambda rows: (auroc(y[rows], scores[0, rows]) - auroc(y[rows], scores[2, rows])).mean(),
            [getattr(found.differences("bca"), end)[0, 2] for end in ("low", "high")],
        ),
    }
    for statistic, ours in asked.values():  # scipy's acceleration is that of a jackknife
        np.testing.assert_allclose(ours, scipys(statistic, 40, counts), atol=0.01)


def test_bca_leaves_out_replicates_without_a_class():
    y = np.zeros((30, 1))
    y[:2] = 1
    scores = y + np.random.default_rng(0).normal(size=(1, 30, 1))
    found = bootstrap_auroc(y, scores, n_boot=400, bca=True)
    assert found.dropped[0] > 0
    usable = ~np.isnan(found.replicates[:, 0, 0])
    ends = bca_interval(found.area, found.replicates[usable], found.drawn[usable])
    np.testing.assert_array_equal(found.interval(method="bca"), ends)


def test_bca_covers_a_high_area_from_few_rows_no_less_often_than_percentiles():
    """Area 0.921, 60 rows: of 400 worlds BCa holds it about 93 times in 100, percentiles no more often."""
    rng, truth, held = np.random.default_rng(0), norm.cdf(2 / np.sqrt(2)), {"bca": [], "percentile": []}
    for world in range(400):
        y = (np.arange(60) < 15).astype(float)[:, None]
        scores = 2 * y + rng.normal(size=(1, 60, 1))
        found = bootstrap_auroc(y, scores, n_boot=300, seed=world, bca=True)
        for method, hits in held.items():
            low, high = found.interval(method=method)
            hits.append(low[0, 0] <= truth <= high[0, 0])
    assert np.mean(held["bca"]) == pytest.approx(0.93, abs=0.035)
    assert np.mean(held["bca"]) >= np.mean(held["percentile"]) - 0.01


def test_percentiles_are_the_default_and_bca_needs_the_counts():
    y, scores, patients = made(n=60)
    found = bootstrap_auroc(y, scores, patients, 500, bca=True)
    plain = bootstrap_auroc(y, scores, patients, 500)
    np.testing.assert_array_equal(found.mean_interval(), plain.mean_interval())
    assert np.abs(np.subtract(found.mean_interval(), found.mean_interval(method="bca"))).max() > 1e-3
    with pytest.raises(ValueError, match="bca=True"):
        plain.interval(method="bca")
    with pytest.raises(ValueError, match='"percentile" or "bca"'):
        plain.differences(method="BCa")


def test_the_smallest_of_one_difference_has_its_own_interval():
    draws = np.random.default_rng(0).normal(3, 1, size=(4000, 1))
    value, low, high, p = astuple(smallest_difference([3.0], draws))
    assert p == pytest.approx(2 * norm.sf(3), abs=0.001)
    assert (value, low) == pytest.approx((3, np.quantile(draws, 0.025))) and high == pytest.approx(
        3 + norm.ppf(0.975), abs=0.1
    )


def test_the_smallest_of_several_takes_the_lowest_own_end_and_the_lowest_end_that_holds_for_all():
    draws = np.random.default_rng(0).normal([2, 1, 5], [1, 1, 0.01], size=(20000, 3))
    value, low, high, p = astuple(smallest_difference([2.0, 1.0, 5.0], draws))
    of_three = norm.ppf(0.975 ** (1 / 3))  # independent
    assert value == 1 and (low, high) == pytest.approx((1 - norm.ppf(0.975), 1 + of_three), abs=0.06)
    assert p == pytest.approx(2 * norm.sf(1), abs=0.01)
    worse = astuple(smallest_difference([2.0, 1.0, 5.0], np.vstack([draws, [np.nan, 0, 0]])))
    assert worse == (value, low, high, p)  # a draw that lacks a class is left out
    same = smallest_difference([0.0, 1.0], np.tile([0.0, 1.0], (50, 1)))  # a rival that never differs
    assert astuple(same) == (0, 0, 0, 1)
    assert np.isnan(astuple(smallest_difference([1.0], [[np.nan]]))[1:]).all()


TIES = {
    "two": np.r_[0, 0, np.full(14, -6.0)],
    "sixteen": np.zeros(16),
    "two, others near": np.r_[0, 0, -np.linspace(0.2, 3, 14)],
}


@pytest.mark.parametrize(("tie", "naive"), [("two", 0.025), ("sixteen", 0.55), ("two, others near", 0.22)])
def test_a_best_that_is_tied_is_seldom_denied_or_confirmed(tie, naive):
    """Networks tested on the same patients; naive: how often the replicates' own best other denies it."""
    rng, truth, worlds = np.random.default_rng(0), TIES[tie], 600
    said = []
    for _ in range(worlds):
        auc, *draws = rng.normal(size=(401, 16)) + 2 * rng.normal(size=(401, 1))  # own, and what patients do to all
        auc, draws = truth + auc, truth + auc + draws
        ahead = draws[:, :1] - draws[:, 1:]
        found = smallest_difference(auc[0] - auc[1:], ahead)
        said.append((found.high < 0, found.low > 0, percentile_interval(ahead.min(axis=1))[1] < 0, found.p <= 0.05))
    denied, confirmed, denied_naively, significant = np.mean(said, axis=0)
    assert (
        denied <= 0.025 + 0.014 and confirmed <= 0.025 + 0.014 and significant <= 0.05 + 0.018
    )  # give or take two standard errors
    assert denied_naively == pytest.approx(naive, abs=0.06)


def test_a_true_best_is_found_and_a_false_one_denied():
    draws = np.random.default_rng(0).normal(size=(400, 15))
    best = smallest_difference(np.full(15, 5.0), 5 + draws)
    behind = np.r_[-5.0, np.zeros(14)]  # one rival is ahead
    none = smallest_difference(behind, behind + draws)
    assert best.low > 0 and none.high < 0 and best.p < 0.01 and none.p < 0.01
