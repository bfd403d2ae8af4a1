"""Seeds drawn anew: known widths, what cannot be known, and how often the interval holds the truth."""

import numpy as np
import pytest
from scipy.stats import norm, t

from chexlib.stats import draw_seeds, percentile_interval, seed_shifts, seed_spreads, seeds_interval

TWO, Z = t.ppf(0.975, 1), norm.ppf(0.975)


def test_equal_seeds_shift_nothing():
    draws = draw_seeds([[0.75, 0.75, 0.75], [0.5, 0.5]], 50)
    assert not draws.deviations.any() and not draws.shifts([1, -1]).any()
    patients = np.random.default_rng(0).normal(size=50)
    assert seeds_interval(patients, patients + draws.shifts([1, 0])[:, 0]) == percentile_interval(patients)


def test_two_seeds_that_differ_by_c_give_a_known_interval():
    """The mean of two drawn seeds departs by -c/2, 0 or c/2, a quarter, a half and a quarter of the time."""
    c = 0.02
    shifts = draw_seeds([[0.8, 0.8 + c]], 4000).shifts([1])[:, 0]
    edge = c / 2 * np.sqrt(2) * TWO / Z
    np.testing.assert_allclose(np.unique(shifts.round(12)), [-edge, 0, edge], atol=1e-9)
    assert np.mean(np.abs(shifts) < 1e-9) == pytest.approx(0.5, abs=0.03)
    low, high = seeds_interval(np.full(4000, 0.81), 0.81 + shifts)
    assert high - low == pytest.approx(2 * edge)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_drawn_means_vary_as_means_of_seeds_do(seeds):
    """A plain bootstrap would have (S - 1)/S of this variance."""
    x = np.random.default_rng(seeds).normal(size=seeds)
    assert draw_seeds([x], 20_000).deviations.var() == pytest.approx(x.var(ddof=1) / seeds, rel=0.03)


def test_a_model_with_one_seed_has_no_draws_and_neither_has_what_weighs_it():
    draws = draw_seeds([[0.7], [0.7, 0.8], [0.6, 0.7]], 20)
    assert np.isnan(draws.deviations[:, 0]).all() and np.isnan(draws.variances[0])
    assert np.isnan(draws.shifts([1, -1, 0])[:, 0]).all()
    assert np.isfinite(draws.shifts([0, 1, -1])).all()
    low, high = seeds_interval(np.zeros((20, 3)), draws.shifts([1, 1, 0]))
    assert np.isnan([low[0], high[0]]).all() and (low[2], high[2]) == (0, 0)


def test_models_that_are_weighed_together_inform_together():
    """Two seeds a model: one degree of freedom each, three for three alike, and as before for one beside two steady."""
    draws = draw_seeds([[0.7, 0.8], [0.5, 0.6], [0.6, 0.7], [0.5, 0.5], [0.4, 0.4]], 30)
    alone, three = draws.shifts([1, 0, 0, 0, 0])[:, 0], draws.shifts([1, 1, 1, 0, 0])[:, 0]
    np.testing.assert_allclose(alone * t.ppf(0.975, 3), three * TWO)
    np.testing.assert_allclose(draws.shifts([1, 0, 0, 1, -1])[:, 0], alone)
    np.testing.assert_array_equal(draws.shifts([2, -2, 2, 0, 0]), draws.shifts([1, 1, 1, 0, 0]))  # ratios count
    assert not draws.shifts([1, 1, 1, 0, 0])[:, 3:].any()


def test_each_model_draws_by_itself_and_a_model_more_changes_none():
    values = np.random.default_rng(0).normal(size=(3, 5))
    two, three = draw_seeds(values[:2], 5000), draw_seeds(values, 5000)
    np.testing.assert_array_equal(two.deviations, three.deviations[:, :2])
    same = draw_seeds([values[0]] * 2, 5000).deviations
    assert abs(np.corrcoef(same.T)[0, 1]) < 0.05
    assert not np.array_equal(draw_seeds(values, 5000, seed=1).deviations, three.deviations)


def test_the_interval_over_both_never_ends_inside_that_over_patients():
    patients = np.linspace(-1, 1, 101)
    assert seeds_interval(patients, patients / 2) == percentile_interval(patients)
    low, high = seeds_interval(patients, 2 * patients)
    assert (low, high) == pytest.approx((-1.9, 1.9))


def held(seeds: int, of_patients: float, widened: bool = True, worlds: int = 600) -> float:
    """How often the interval holds the truth; seeds move the mean over them by one standard deviation."""
    rng, hits = np.random.default_rng(seeds), 0
    for world in range(worlds):
        x = rng.normal(0, np.sqrt(seeds), seeds)
        estimate = x.mean() + of_patients * rng.normal()
        patients = estimate + of_patients * rng.normal(size=300)
        draws = draw_seeds([x], 300, world)
        low, high = percentile_interval(patients + (draws.shifts([1]) if widened else draws.deviations)[:, 0])
        hits += low <= 0 <= high
    return hits / worlds


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_the_module_says(seeds):
    """Give or take three standard errors of 600 worlds."""
    assert held(seeds, 0) == pytest.approx({2: 0.93, 3: 0.94, 5: 0.94, 10: 0.95}[seeds], abs=0.03)
    assert held(seeds, 1) == pytest.approx({2: 0.98, 3: 0.97, 5: 0.96, 10: 0.95}[seeds], abs=0.025)


@pytest.mark.parametrize(("seeds", "share"), [(2, 0.61), (3, 0.79), (5, 0.87)])
def test_without_students_quantile_few_seeds_fall_far_short(seeds, share):
    assert held(seeds, 0, widened=False) == pytest.approx(share, abs=0.06)


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
