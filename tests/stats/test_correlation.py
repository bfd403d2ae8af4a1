"""Spearman's rho: the paper's own number, known answers, replicates, and what rounding allows it to be."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import spearmanr

from chexlib.stats import rank_correlations, spearman, spearman_p, spearman_rounded

# Table 1 of CheXtransfer (Ke et al. 2021), rows as printed: mean AUC, parameters in millions.
AUC = [0.859, 0.860, 0.864, 0.859, 0.858, 0.866, 0.853, 0.862, 0.861, 0.858, 0.854, 0.859, 0.863, 0.862, 0.863, 0.859]
SIZE = [6.968, 12.508, 18.12, 4.025, 6.531, 7.721, 10.718, 27.161]
SIZE += [42.68, 5.29, 2.242, 4.22, 44.549, 11.69, 21.798, 25.557]


def test_the_papers_table_gives_0_597():
    found = spearman(AUC, SIZE)
    assert (round(found.rho, 3), round(found.p, 3), found.n) == (0.597, 0.015, 16)


def test_monotone_is_one_reversed_minus_one_and_constant_or_too_few_have_none():
    x = np.arange(5.0)
    assert (spearman(x, np.exp(x)).rho, spearman(x, -(x**3)).rho) == pytest.approx((1, -1))
    assert np.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    assert np.isnan(spearman([1, 2], [1, 2]).rho) and spearman([1, 2], [1, 2]).n == 2
    assert spearman([1, 2, np.nan, 3, 4], [1, np.nan, 5, 3, 2]) == spearman([1, 3, 4], [1, 3, 2])  # known pairs alone


def test_rank_correlations_are_scipys_row_by_row_and_undefined_ones_nan():
    y = np.round(np.array(AUC) + np.random.default_rng(0).normal(0, 0.01, size=(200, 16)), 3)  # ties
    found = rank_correlations(np.broadcast_to(SIZE, y.shape), y)
    np.testing.assert_allclose(found, [spearmanr(SIZE, row)[0] for row in y], atol=1e-12)
    assert np.isnan(rank_correlations(np.zeros((1, 5)), np.arange(5.0)[None])).all()  # constant
    assert np.isnan(rank_correlations(np.ones((10, 2)), np.zeros((10, 2)))).all()  # too few


def test_pairs_that_count_several_times_are_pairs_repeated():
    rng = np.random.default_rng(0)
    x, y = np.array(SIZE), np.round(rng.normal(size=(40, 16)), 1)  # ties in y
    times = rng.integers(0, 3, size=y.shape)
    again = [spearmanr(np.repeat(x, n), np.repeat(row, n))[0] for row, n in zip(y, times, strict=True)]
    np.testing.assert_allclose(rank_correlations(x, y, times), again, atol=1e-12)
    np.testing.assert_allclose(rank_correlations(x, y, np.ones_like(y)), rank_correlations(x, y), atol=1e-12)
    one = np.eye(16, dtype=int)[:1] * 16  # one architecture, however often
    assert np.isnan(rank_correlations(x, y[:1], one)).all()


def test_over_patients_it_is_biased_toward_zero_by_noise():
    """Noise as large as the spread that x leaves open: a rho of 0.52 at hand has replicates of 0.43 in the mean."""
    rng, at_hand, replicates = np.random.default_rng(0), [], []
    for _ in range(300):
        x = rng.normal(size=16)
        y = 0.8 * x + 0.6 * rng.normal(size=16) + rng.normal(size=16)
        at_hand.append(spearman(x, y).rho)
        again = rank_correlations(np.broadcast_to(x, (100, 16)), y + rng.normal(size=(100, 16)))
        replicates.append(np.median(again))
    assert np.mean(at_hand) == pytest.approx(0.52, abs=0.04)
    assert np.mean(at_hand) - np.mean(replicates) == pytest.approx(0.09, abs=0.03)


def by_trying(x, y):
    """All rho with y's equal values in any order, by scipy."""
    y, found = np.asarray(y, dtype=float), set()
    places = [np.flatnonzero(y == value) for value in np.unique(y)]
    for orders in product(*(permutations(range(len(place))) for place in places)):
        behind = y.copy()
        for place, order in zip(places, orders, strict=True):
            behind[place] += np.array(order) * 1e-6
        found.add(round(float(spearmanr(x, behind)[0]), 10))
    return sorted(found)


@pytest.mark.parametrize("seed", range(4))
def test_equals_trying_every_order(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 9), np.round(rng.random(9), 1)  # ties in both
    np.testing.assert_allclose(spearman_rounded(x, y, 1), by_trying(x, y), atol=1e-9)


def test_values_printed_apart_leave_one_rho_and_values_printed_alike_any():
    x, y = [3, 1, 2, 4, 9], [0.1, 0.2, 0.3, 0.4, 0.5]
    assert spearman_rounded(x, y, 1) == pytest.approx([spearman(x, y).rho])
    assert spearman_p(spearman_rounded(x, y, 1), 5) == pytest.approx([spearman(x, y).p])
    anything = spearman_rounded(np.arange(12), np.ones(12), 0)
    assert (anything.min(), anything.max()) == pytest.approx((-1, 1)) and len(anything) == 287


def test_the_papers_table_allows_the_rho_and_p_that_it_prints():
    """Mean AUC against parameters: 0.597 by the printed digits, 0.565 (p = 0.023) in the text, section 4.2."""
    rho = spearman_rounded(SIZE, AUC, 3)
    p = spearman_p(rho, 16)
    assert (round(rho.min(), 3), round(rho.max(), 3), len(rho)) == (0.524, 0.659, 47)
    printed = np.round(rho, 3) == 0.565
    assert printed.sum() == 1 and np.round(p[printed], 3) == 0.023
    assert (round(p.min(), 3), round(p.max(), 3)) == (0.006, 0.037)  # significant at 0.05 whatever the digits


def test_more_digits_allow_no_more():
    coarse = spearman_rounded(SIZE, AUC, 3)
    fine = spearman_rounded(SIZE, np.array(AUC) + 1e-4 * np.arange(16) % 9e-4, 5)
    assert all(np.abs(coarse - rho).min() < 1e-9 for rho in fine)


def test_many_values_take_no_time_and_groups_that_are_too_large_are_refused():
    """A product over groups would have 8!^12 orders."""
    found = spearman_rounded(np.random.default_rng(0).normal(size=96), np.repeat(np.arange(12), 8), 0)
    assert -1 <= found[0] < found[-1] <= 1 and len(found) > 1000
    with pytest.raises(ValueError, match=r"17 values are printed as 0\.5: at most 16"):
        spearman_rounded(np.arange(17), np.full(17, 0.5), 1)


def test_rounding_leaves_out_pairs_with_a_nan_and_too_few_have_no_rho():
    x, y = np.append(SIZE, [1, np.nan]), np.append(AUC, [np.nan, 0.85])
    np.testing.assert_array_equal(spearman_rounded(x, y, 3), spearman_rounded(SIZE, AUC, 3))
    assert len(spearman_rounded([1, 2], [1, 2], 0)) == 0


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(M,\)"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="more than 2 decimals"):
        spearman_rounded(SIZE, AUC, 2)
