"""Spearman's rho: the paper's own number, known answers, and its interval."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from chexlib.stats import spearman, spearman_interval, spearman_over_architectures

# Table 1 of CheXtransfer (Ke et al. 2021), rows as printed: mean AUC, parameters in millions.
AUC = [0.859, 0.860, 0.864, 0.859, 0.858, 0.866, 0.853, 0.862, 0.861, 0.858, 0.854, 0.859, 0.863, 0.862, 0.863, 0.859]
SIZE = [
    6.968,
    12.508,
    18.120,
    4.025,
    6.531,
    7.721,
    10.718,
    27.161,
    42.680,
    5.290,
    2.242,
    4.220,
    44.549,
    11.690,
    21.798,
    25.557,
]


def test_the_papers_table_gives_0_597():
    found = spearman(AUC, SIZE)
    assert (round(found.rho, 3), round(found.p, 3), found.n) == (0.597, 0.015, 16)


def test_monotone_is_one_and_reversed_is_minus_one():
    x = np.arange(5.0)
    assert spearman(x, np.exp(x)).rho == pytest.approx(1)
    assert spearman(x, -(x**3)).rho == pytest.approx(-1)


def test_pairs_with_a_nan_are_left_out():
    assert spearman([1, 2, np.nan, 3, 4], [1, np.nan, 5, 3, 2]) == spearman([1, 3, 4], [1, 3, 2])


def test_constant_or_too_few_has_no_rho():
    assert np.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    assert np.isnan(spearman([1, 2], [1, 2]).rho) and spearman([1, 2], [1, 2]).n == 2


def test_interval_is_the_percentiles_of_scipys_rho_over_replicates():
    y = np.round(np.array(AUC) + np.random.default_rng(0).normal(0, 0.01, size=(200, 16)), 3)  # ties
    expected = np.quantile([spearmanr(SIZE, row)[0] for row in y], [0.025, 0.975])
    np.testing.assert_allclose(spearman_interval(SIZE, y), expected, atol=1e-12)


def test_without_noise_in_patients_the_interval_is_a_point():
    assert spearman_interval(SIZE, np.tile(AUC, (50, 1))) == pytest.approx((0.597, 0.597), abs=5e-4)


def test_drawing_architectures_widens_it():
    y = np.array(AUC) + np.random.default_rng(0).normal(0, 0.001, size=(1000, 16))
    low, high = spearman_interval(SIZE, y)
    wide_low, wide_high = spearman_interval(SIZE, y, draw_architectures=True)
    assert wide_low < low < 0.597 and high < wide_high
    assert spearman_interval(SIZE, y, draw_architectures=True, seed=1) != (wide_low, wide_high)


def test_over_patients_it_is_biased_toward_zero_by_noise():
    """Noise as large as the spread that x leaves open: a rho of 0.52 at hand has replicates of 0.43 in the mean."""
    rng, at_hand, replicates = np.random.default_rng(0), [], []
    for _ in range(300):
        x = rng.normal(size=16)
        y = 0.8 * x + 0.6 * rng.normal(size=16) + rng.normal(size=16)
        at_hand.append(spearman(x, y).rho)
        replicates.append(np.mean(spearman_interval(x, y + rng.normal(size=(100, 16)), level=0.01)))
    assert np.mean(at_hand) == pytest.approx(0.52, abs=0.04)
    assert np.mean(at_hand) - np.mean(replicates) == pytest.approx(0.09, abs=0.03)


def test_interval_over_architectures_by_hand():
    """0.597 of 16: atanh 0.6884, standard error sqrt(1.178 / 13) = 0.3010."""
    low, high = spearman_over_architectures(SIZE, AUC)
    assert (low, high) == pytest.approx((np.tanh(0.6884 - 1.96 * 0.3010), np.tanh(0.6884 + 1.96 * 0.3010)), abs=1e-3)
    assert spearman_over_architectures([*SIZE, np.nan], [*AUC, 0.9]) == (low, high)


def test_interval_over_architectures_covers_the_true_rho():
    """Normal pairs with a correlation of 0.6 have a rho of 6 / pi asin(0.3)."""
    rng, held = np.random.default_rng(0), []
    for _ in range(800):
        x = rng.normal(size=16)
        low, high = spearman_over_architectures(x, 0.6 * x + 0.8 * rng.normal(size=16))
        held.append(low <= 6 / np.pi * np.arcsin(0.3) <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.024)  # 3 standard errors


def test_interval_over_too_few_or_perfect_architectures():
    assert np.isnan(spearman_over_architectures([1, 2, 3], [1, 3, 2])).all()
    assert spearman_over_architectures([1, 2, 3, 4], [1, 2, 3, 4]) == (1, 1)


def test_an_unknown_fact_leaves_its_architecture_out():
    y = np.random.default_rng(0).normal(size=(100, 5))
    x = np.array([1, 4, np.nan, 2, 3])
    assert spearman_interval(x, y) == spearman_interval(x[~np.isnan(x)], y[:, ~np.isnan(x)])


def test_too_few_architectures_have_no_interval():
    assert np.isnan(spearman_interval([1, 2], np.zeros((10, 2)))).all()


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(M,\)"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"\(R, M\)"):
        spearman_interval([1, 2, 3], [1, 2, 3])
