"""Seeds drawn anew: what a pool of residuals is, and how often the interval holds the truth."""

import numpy as np
import pytest
from scipy.stats import norm, t

from chexlib.stats import percentile_interval, seed_shifts, seed_spreads

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
