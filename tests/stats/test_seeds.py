"""Seeds drawn anew: what a pool of residuals is, and how often the interval holds the truth."""

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp, ttest_ind

from chexlib.stats import jackknife, percentile_interval, seed_contrast, seed_shifts, seed_spreads

Z = norm.ppf(0.975)


def test_residuals_are_pooled_and_scaled():
    a, b = np.array([[0.7], [0.8]]), np.array([[0.5], [0.6], [0.7]])
    spread = seed_spreads([a, b, [[0.9]]], ["x", "x", "x"])["x"]
    expected = [-0.05 * 2**0.5, 0.05 * 2**0.5, -0.1 * 1.5**0.5, 0, 0.1 * 1.5**0.5]
    np.testing.assert_allclose(spread.residuals[:, 0], expected, atol=1e-12)
    assert spread.freedom == 3 and spread.widening == pytest.approx(t.ppf(0.975, 3) / Z)
    assert spread.sd([0]) == pytest.approx(np.sqrt(np.square(expected).mean()))


def test_a_pool_of_single_seeds_takes_the_others_and_none_is_known_where_no_network_has_several():
    several = np.array([[0.7], [0.8]])
    found = seed_spreads([several, [[0.5]]], ["random", "imagenet"])
    np.testing.assert_array_equal(found["imagenet"].residuals, found["random"].residuals)
    assert seed_spreads([[[0.5]], [[0.6]]], ["a", "b"]) == {"a": None, "b": None}


def test_tasks_of_a_seed_move_together():
    areas = np.array([[0.7, 0.2], [0.8, 0.4]])
    spread = seed_spreads([areas], ["x"])["x"]
    shifts = seed_shifts([1, 4], [spread, spread], 500)  # (R, M, T)
    np.testing.assert_allclose(shifts[:, :, 1], 2 * shifts[:, :, 0], atol=1e-12)
    np.testing.assert_array_equal(shifts[:, :1], seed_shifts([1], [spread], 500))  # a network more changes none
    assert not np.array_equal(shifts, seed_shifts([1, 4], [spread, spread], 500, seed=1))


def coverage(seeds: int, networks: int, of_patients: float, worlds: int = 400) -> float:
    """How often the interval of one network less another, the first trained once, holds their true difference, 0."""
    rng, hits = np.random.default_rng(seeds), 0
    for world in range(worlds):
        areas = [rng.normal(size=(1, 1))] + [rng.normal(size=(seeds, 1)) for _ in range(networks)]
        spread = seed_spreads(areas, [0] * len(areas))[0]
        shifts = seed_shifts([len(one) for one in areas], [spread] * len(areas), 400, world)[:, :, 0]
        value = areas[0].mean() - areas[1].mean() + of_patients * rng.normal()
        draws = value + of_patients * rng.normal(size=400) + shifts[:, 0] - shifts[:, 1]
        low, high = percentile_interval(draws)
        hits += low <= 0 <= high
    return hits / worlds


@pytest.mark.parametrize(("seeds", "networks"), [(2, 3), (3, 3), (3, 10)])
@pytest.mark.parametrize("of_patients", [0, 1])
def test_intervals_over_pooled_seeds_cover_the_truth(seeds, networks, of_patients):
    """Give or take three standard errors of 400 worlds."""
    assert coverage(seeds, networks, of_patients) == pytest.approx(0.95, abs=0.035)


def test_a_contrast_is_students_test_within_a_pool_and_welchs_between_two():
    a, b = [0.70, 0.72, 0.75], [0.80, 0.81, 0.82]
    for pools, equal in ((["x", "x"], True), (["x", "y"], False)):
        found, test = seed_contrast([a, b], pools, [1, -1]), ttest_ind(a, b, equal_var=equal)
        expected = (np.mean(a) - np.mean(b), *test.confidence_interval(0.95), test.pvalue)
        assert (found.value, found.low, found.high, found.p) == pytest.approx(expected)


def test_a_contrast_of_three_networks_and_one_of_weight_zero():
    values = [[1.0, 2.0], [4.0, 6.0], [0.0, 1.0], [5.0, 9.0]]  # squares about the means: 0.5, 2, 0.5, 8
    found = seed_contrast(values, ["x"] * 4, [2, -1, -1, 0])
    error = np.sqrt(11 / 4 * (4 + 1 + 1) / 2)
    assert found.value == pytest.approx(3 - 5 - 0.5)
    assert found.high - found.value == pytest.approx(t.ppf(0.975, 4) * error)


def test_seeds_that_agree_leave_nothing_open_and_single_ones_everything():
    same = seed_contrast([[0.5, 0.5], [0.6, 0.6]], [0, 0], [1, -1])
    assert (same.low, same.high, same.p) == (same.value, same.value, 0)
    assert seed_contrast([[0.5, 0.5], [0.5, 0.5]], [0, 0], [1, -1]).p == 1
    once = seed_contrast([[0.5], [0.6]], [0, 0], [1, -1])
    assert once.value == pytest.approx(-0.1) and np.isnan([once.low, once.high, once.p]).all()


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.array([0.3, 0.5, 0.9, 0.4])
    found = jackknife(values.mean(), [np.delete(values, s).mean() for s in range(4)])
    test = ttest_1samp(values, 0)
    assert (found.low, found.high, found.p) == pytest.approx((*test.confidence_interval(0.95), test.pvalue))
    lacking = jackknife(0.5, [0.4, np.nan, 0.6])
    assert np.isnan([lacking.low, lacking.high, lacking.p]).all()
    with pytest.raises(ValueError, match="two seeds"):
        jackknife(0.5, [0.4])


@pytest.mark.parametrize("spreads", [(1, 1), (1, 5)])
@pytest.mark.parametrize("networks", [1, 4])
def test_contrasts_of_three_seeds_cover_the_truth_where_pools_are_not_equally_steady(spreads, networks):
    """Give or take three standard errors of 400 worlds."""
    rng, hits = np.random.default_rng(networks), 0
    pools = [pool for pool in (0, 1) for _ in range(networks)]
    for _ in range(400):
        values = [spreads[pool] * rng.normal(size=3) for pool in pools]
        found = seed_contrast(values, pools, [1, *[0] * (len(pools) - 2), -1])
        hits += found.low <= 0 <= found.high
    assert hits / 400 == pytest.approx(0.95, abs=0.035)


def test_jackknifed_means_over_pairs_of_three_seeds_cover_the_truth():
    """Pairs of random networks less pairs of a random and another one: what a seed does is in several pairs."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        a, b = rng.normal(size=(2, 3))
        own, noise = rng.normal(size=(2, 3, 3))

        def apart(kept, a=a, b=b, own=own, noise=noise):
            alike = [a[i] + a[j] + own[i, j] for i in kept for j in kept if i < j]
            return np.mean(alike) - np.mean([a[i] + b[j] + noise[i, j] for i in kept for j in kept])

        found = jackknife(apart([0, 1, 2]), [apart([s for s in range(3) if s != left]) for left in range(3)])
        hits += found.low <= 0 <= found.high
    assert hits / 400 > 0.915  # a jackknife of pairs errs to the wide side
