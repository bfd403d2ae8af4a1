"""Thresholds: what each rule picks by hand, scikit-learn's curve, and the rates at a threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from chexlib.stats import choose_threshold, operating_point, wilson
from tests.stats.made import classified

Y, P = np.array([0, 0, 1, 0, 1, 1.0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_each_rule_by_hand():
    assert choose_threshold(Y, P) == 0.3  # sensitivity 1, specificity 2/3; 0.5 gives 2/3 and 1, less sensitive
    assert choose_threshold(Y, P, ("sensitivity", 0.6)) == 0.5
    assert choose_threshold(Y, P, ("sensitivity", 1)) == 0.3
    assert choose_threshold(Y, P, ("specificity", 0.6)) == 0.3
    assert choose_threshold(Y, P, ("specificity", 1)) == 0.5


@given(classified())
def test_youdens_sum_is_the_largest_on_sklearns_curve(data):
    y, p = data
    wrongly, rightly, _ = roc_curve(y, p)
    at = operating_point(y, p, choose_threshold(y, p))
    assert at.sensitivity + at.specificity == pytest.approx(1 + (rightly - wrongly).max())


@given(classified(), st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_a_rate_asked_for_is_reached_and_the_next_threshold_misses_it(data, least):
    y, p = data
    at = choose_threshold(y, p, ("sensitivity", least))
    assert operating_point(y, p, at).sensitivity >= least
    if (p > at).any():
        assert operating_point(y, p, p[p > at].min()).sensitivity < least or least == 0
    at = choose_threshold(y, p, ("specificity", least))
    assert operating_point(y, p, at).specificity >= least
    if (p < at).any():
        assert operating_point(y, p, p[p < at].max()).specificity < least


def test_where_the_highest_score_is_a_negatives_nothing_is_called_positive():
    at = choose_threshold([1, 0], [0.2, 0.7], ("specificity", 1))
    assert 0.7 < at < 0.7 + 1e-9
    assert operating_point([1, 0], [0.2, 0.7], at).sensitivity == 0


def test_rates_and_intervals_by_hand():
    found = operating_point(Y, P, 0.4)
    assert (found.sensitivity, found.specificity) == (2 / 3, 2 / 3)
    assert (found.positives, found.negatives) == (3, 3)
    assert (found.sensitivity_low, found.sensitivity_high) == wilson(2, 3)
    assert (found.specificity_low, found.specificity_high) == wilson(2, 3)


def test_several_tasks_have_a_threshold_each_and_unknown_labels_are_left_out():
    y = np.column_stack([Y, Y, np.zeros(6)])
    y[0, 1] = np.nan
    found = operating_point(y, np.column_stack([P] * 3), [0.4, 0.15, 0.4])
    np.testing.assert_allclose(found.specificity, [2 / 3, 0, 2 / 3 * 5 / 4 - 1 / 3])
    np.testing.assert_array_equal(found.sensitivity, [2 / 3, 1, np.nan])
    assert np.isnan(found.sensitivity_low[2]) and found.negatives.tolist() == [3, 2, 6]
    assert choose_threshold(np.append(Y, np.nan), np.append(P, np.nan)) == choose_threshold(Y, P)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: choose_threshold(Y, P, "sensitivity"), "rule='sensitivity'"),
    (lambda: choose_threshold(Y, P, ("sensitivity", 90)), "least in"),
    (lambda: choose_threshold(Y, P, ("youden", 0.9)), "rule="),
    (lambda: choose_threshold([1, 1], [0, 1]), "2 positives, 0 negatives"),
    (lambda: choose_threshold(Y[:, None], P[:, None]), "one task"),
    (lambda: choose_threshold([0, 1], [0, np.nan]), "NaN where the label is known"),
    (lambda: operating_point(Y, P, [0.1, 0.2]), "threshold"),
    (lambda: operating_point(Y, P, np.nan), "NaN"),
])  # fmt: skip
def test_refuses_in_words(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_sensitivity_is_reached_by_whole_numbers_and_not_by_rounding():
    """93 of 100 positives are 0.93 of them, though 1 - 7 / 100 is a little less in floating point."""
    y, p = np.array([1] * 100 + [0]), np.append(np.arange(100) / 100, -1)
    assert choose_threshold(y, p, ("sensitivity", 0.93)) == 0.07
    assert choose_threshold(1 - y, -p, ("specificity", 0.93)) == pytest.approx(-0.06)
