"""Two one-sided tests: their agreement with the interval, and how often they are wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from chexlib.stats import equivalence

RNG = np.random.default_rng(0)


def test_p_and_interval_by_hand():
    """99 replicates, three of them at or beyond the margin of 1: p = 4 / 100; the fifth from each end bounds."""
    d = np.concatenate([np.linspace(-0.9, 0.9, 96), [1.0, 1.1, 1.2]])
    found = equivalence(d, 1)
    assert found.p == pytest.approx(0.04) and found.equivalent
    assert (found.low, found.high) == (np.sort(d)[4], np.sort(d)[-5])


@given(st.integers(20, 400), st.floats(0.1, 3), st.floats(0.05, 0.4), st.integers(0, 10**6))
def test_it_is_equivalent_just_when_p_is_small_and_the_interval_inside(n, margin, level, seed):
    found = equivalence(np.random.default_rng(seed).normal(0.3, 0.5, n), margin, level)
    assert found.equivalent == (found.p <= level + 1e-9) == (-margin < found.low and found.high < margin)


def test_the_interval_is_that_of_confidence_one_minus_twice_the_level():
    d = RNG.normal(size=100_000)
    found = equivalence(d, 10, level=0.05)
    assert (found.low, found.high) == pytest.approx((norm.ppf(0.05), norm.ppf(0.95)), abs=0.02)


def test_a_model_is_equivalent_to_itself_and_few_patients_show_nothing():
    assert equivalence(np.zeros(1000), 0.01).equivalent
    assert not equivalence(RNG.normal(0, 0.05, 1000), 0.01).equivalent  # no difference, and no evidence of none


def test_a_true_difference_of_the_margin_is_called_equivalent_as_rarely_as_the_level_says():
    wrong = np.mean([equivalence(RNG.normal(1 + 0.2 * RNG.normal(), 0.2, 500), 1).equivalent for _ in range(1000)])
    assert wrong == pytest.approx(0.05, abs=0.021)  # 3 standard errors


def test_unknown_replicates_are_left_out():
    d = RNG.normal(size=200)
    assert equivalence(np.append(d, np.nan), 2) == equivalence(d, 2)


@pytest.mark.parametrize(("replicates", "margin", "level", "says"), [
    (np.zeros(100), 0, 0.05, "above 0"),
    (np.zeros(100), 1, 0.5, "0 and 0.5"),
    (np.zeros((100, 2)), 1, 0.05, r"\(R,\)"),
    (np.zeros(18), 1, 0.05, "18 replicates are too few"),
    ([], 1, 0.05, "0 replicates are too few"),
])  # fmt: skip
def test_refuses_in_words(replicates, margin, level, says):
    with pytest.raises(ValueError, match=says):
        equivalence(replicates, margin, level)
