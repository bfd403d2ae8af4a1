"""BCa intervals: scipy's, given the same replicates; areas without one group, by leaving it out; and coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import norm

from chexlib.stats import auroc, bca_interval, bootstrap_auroc, resample_counts
from chexlib.stats.bca import acceleration, leave_one_out


def made(n=60, tasks=2, models=3, patients=40, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, tasks)) < 0.4).astype(float)
    scores = np.round(y + rng.normal(size=(models, n, tasks)), 1)
    y[rng.random(y.shape) < 0.1] = np.nan
    return y, scores, rng.integers(patients, size=n)


@pytest.mark.parametrize("grouped", [True, False])
def test_areas_without_a_group_are_those_of_the_other_rows(grouped):
    y, scores, patients = made()
    group = np.unique(patients, return_inverse=True)[1] if grouped else np.arange(len(y))
    expected = [[auroc(y[group != g], model[group != g]) for model in scores] for g in range(group.max() + 1)]
    np.testing.assert_allclose(leave_one_out(y, scores, group), expected, atol=1e-12)


def test_without_the_only_positive_there_is_no_area():
    y, scores = np.array([[1], [0], [0.0]]), np.array([[[3], [1], [2.0]]])
    np.testing.assert_array_equal(leave_one_out(y, scores, np.arange(3))[:, 0, 0], [np.nan, 1, 1])


class Fixed(np.random.Generator):
    """A generator whose drawn rows are given: what scipy's bootstrap indexes its sample with."""

    def __init__(self, rows):
        super().__init__(np.random.PCG64())
        self.rows = rows

    def integers(self, *args, **kwargs):
        return self.rows


def scipys(statistic, n, counts, level):
    """scipy.stats.bootstrap's BCa interval of a function of rows, on the resamples that `counts` (R, N) describe."""
    drawn = np.array([np.repeat(np.arange(n), count) for count in counts])
    found = scipy_stats.bootstrap(
        (np.arange(n),), statistic, n_resamples=len(counts), method="BCa", confidence_level=level, rng=Fixed(drawn)
    )
    return found.confidence_interval


def test_intervals_are_scipys_from_the_same_resamples():
    """Of a task's area, of the mean over tasks, and of a difference of two models' means."""
    y, scores, _ = made(n=40)
    y = np.nan_to_num(y)  # scipy knows no unknown labels
    found = bootstrap_auroc(y, scores, n_boot=300, seed=5, jackknife=True)
    counts = resample_counts(40, None, 300, 5)
    asked = {
        "area": (lambda rows: auroc(y[rows], scores[1, rows])[1], [a[1, 1] for a in found.interval(0.9, "bca")]),
        "mean": (lambda rows: auroc(y[rows], scores[1, rows]).mean(), [a[1] for a in found.mean_interval(0.9, "bca")]),
        "difference": (
            lambda rows: (auroc(y[rows], scores[0, rows]) - auroc(y[rows], scores[2, rows])).mean(),
            [getattr(found.difference(0, 2, 0.9, "bca"), end) for end in ("low", "high")],
        ),
    }
    for statistic, ours in asked.values():
        np.testing.assert_allclose(ours, scipys(statistic, 40, counts, 0.9), atol=1e-10)


def test_it_is_not_the_percentile_interval():
    y, scores, patients = made()
    found = bootstrap_auroc(y, scores, patients, 500, jackknife=True)
    assert np.abs(np.subtract(found.mean_interval(), found.mean_interval(method="bca"))).max() > 1e-3
    np.testing.assert_array_equal(
        found.mean_interval(), bootstrap_auroc(y, scores, patients, 500).mean_interval()
    )  # which stays the default


def test_a_symmetric_statistic_without_bias_keeps_its_percentiles():
    replicates = np.concatenate([-np.arange(1.0, 501), np.arange(1.0, 501)])
    low, high = bca_interval(0.0, replicates, np.array([-1.0, 1.0]))
    assert (low, high) == pytest.approx(np.quantile(replicates, [0.025, 0.975]))
    assert acceleration(np.array([0.0, 0.0, 3.0])) == pytest.approx(
        (1 + 1 - 8) / (6 * 6**1.5)
    )  # 1, 1, -2 from the mean


def test_equal_models_have_a_point_and_one_sided_replicates_no_interval():
    y, scores, patients = made()
    found = bootstrap_auroc(y, scores[[0, 0]], patients, 100, jackknife=True).difference(0, 1, method="bca")
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert np.isnan(bca_interval(0.0, np.arange(1.0, 100), np.array([0.0, 1, 3]))).all()


def test_replicates_without_a_class_are_left_out():
    y = np.zeros((30, 1))
    y[:2] = 1
    scores = y + np.random.default_rng(0).normal(size=(1, 30, 1))
    found = bootstrap_auroc(y, scores, n_boot=400, jackknife=True)
    assert found.dropped[0] > 0
    usable = found.replicates[~np.isnan(found.replicates[:, 0, 0])]
    np.testing.assert_array_equal(found.interval(method="bca"), bca_interval(found.area, usable, found.jackknife))


def test_fewer_tasks_keep_their_jackknife():
    y, scores, patients = made()
    found = bootstrap_auroc(y, scores, patients, 200, jackknife=True)
    ends = np.array(found.select([1]).mean_interval(method="bca"))  # (2, M)
    np.testing.assert_allclose(ends, np.array(found.interval(method="bca"))[:, :, 1])


def test_covers_a_high_area_from_few_rows_better_than_percentiles():
    """Area 0.921, 60 rows: of 400 worlds BCa holds it about 93 times in 100, percentiles no more often."""
    rng, truth, held = np.random.default_rng(0), norm.cdf(2 / np.sqrt(2)), {"bca": [], "percentile": []}
    for world in range(400):
        y = (np.arange(60) < 15).astype(float)[:, None]
        scores = 2 * y + rng.normal(size=(1, 60, 1))
        found = bootstrap_auroc(y, scores, n_boot=300, seed=world, jackknife=True)
        for method, hits in held.items():
            low, high = found.interval(method=method)
            hits.append(low[0, 0] <= truth <= high[0, 0])
    assert np.mean(held["bca"]) == pytest.approx(0.93, abs=0.035)
    assert np.mean(held["bca"]) >= np.mean(held["percentile"]) - 0.01


def test_refuses_in_words():
    y, scores, _ = made()
    with pytest.raises(ValueError, match="jackknife=True"):
        bootstrap_auroc(y, scores, n_boot=5).interval(method="bca")
    with pytest.raises(ValueError, match='"percentile" or "bca"'):
        bootstrap_auroc(y, scores, n_boot=5).differences(method="BCa")
    with pytest.raises(ValueError, match=r"\(G, \.\.\.\) are needed"):
        bca_interval(0.0, np.zeros((5, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="level"):
        bca_interval(0.0, np.zeros(5), np.zeros(3), level=95)
