"""What rounding allows a rank correlation to be: every order of equal prints, tried out, and the paper's Table 1."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import spearmanr

from chexlib.stats import spearman, spearman_rounded
from tests.stats.test_correlation import AUC, SIZE


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
    np.testing.assert_allclose(spearman_rounded(x, y, 1).rho, by_trying(x, y), atol=1e-9)


def test_values_printed_apart_leave_one_rho():
    x, y = [3, 1, 2, 4, 9], [0.1, 0.2, 0.3, 0.4, 0.5]
    found = spearman_rounded(x, y, 1)
    assert found.rho == pytest.approx([spearman(x, y).rho])
    assert (found.p_low, found.p_high) == pytest.approx((spearman(x, y).p,) * 2)


def test_all_printed_alike_allow_anything():
    found = spearman_rounded(np.arange(12), np.ones(12), 0)
    assert (found.low, found.high, found.p_low, found.p_high) == pytest.approx((-1, 1, 0, 1), abs=1e-9)


def test_the_papers_table_allows_the_rho_and_p_that_it_prints():
    """Mean AUC against parameters: 0.597 by the printed digits, 0.565 (p = 0.023) in the text, section 4.2."""
    found = spearman_rounded(SIZE, AUC, 3)
    assert (round(found.low, 3), round(found.high, 3), found.n, len(found.rho)) == (0.524, 0.659, 16, 47)
    printed = np.round(found.rho, 3) == 0.565
    assert printed.sum() == 1 and np.round(found.p[printed], 3) == 0.023
    assert (round(found.p_low, 3), round(found.p_high, 3)) == (0.006, 0.037)  # significant at 0.05 whatever the digits


def test_more_digits_allow_no_more():
    coarse, fine = (
        spearman_rounded(SIZE, AUC, 3),
        spearman_rounded(SIZE, np.array(AUC) + 1e-4 * np.arange(16) % 9e-4, 5),
    )
    assert coarse.low <= fine.low <= fine.high <= coarse.high
    assert all(np.abs(coarse.rho - rho).min() < 1e-9 for rho in fine.rho)


def test_many_values_take_no_time_and_groups_that_are_too_large_are_refused():
    """A product over groups would have 8!^12 orders."""
    rng = np.random.default_rng(0)
    found = spearman_rounded(rng.normal(size=96), np.repeat(np.arange(12), 8), 0)
    assert -1 <= found.low < found.high <= 1 and len(found.rho) > 1000
    with pytest.raises(ValueError, match=r"17 values are printed as 0\.5: at most 16"):
        spearman_rounded(np.arange(17), np.full(17, 0.5), 1)


def test_pairs_with_a_nan_are_left_out_and_too_few_have_no_rho():
    x, y = np.append(SIZE, [1, np.nan]), np.append(AUC, [np.nan, 0.85])
    np.testing.assert_array_equal(spearman_rounded(x, y, 3).rho, spearman_rounded(SIZE, AUC, 3).rho)
    few = spearman_rounded([1, 2], [1, 2], 0)
    assert len(few.rho) == 0 and np.isnan([few.low, few.high, few.p_low, few.p_high]).all()


def test_refuses_in_words():
    with pytest.raises(ValueError, match="more than 2 decimals"):
        spearman_rounded(SIZE, AUC, 2)
    with pytest.raises(ValueError, match=r"both must be \(n,\)"):
        spearman_rounded([1, 2], [1, 2, 3], 0)
