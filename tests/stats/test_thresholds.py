"""Thresholds: what each rule picks by hand, and by scikit-learn's curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from chexlib.stats import choose_threshold
from tests.stats.made import classified

Y, P = np.array([0, 0, 1, 0, 1, 1.0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def rates(y, p, at):
    """Sensitivity and specificity of calling rows positive whose score is at or above the threshold."""
    called = np.asarray(p) >= at
    return called[np.asarray(y) == 1].mean(), (~called)[np.asarray(y) == 0].mean()


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
    assert sum(rates(y, p, choose_threshold(y, p))) == pytest.approx(1 + (rightly - wrongly).max())


@given(classified(), st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_a_rate_asked_for_is_reached_and_the_next_threshold_misses_it(data, least):
    y, p = data
    at = choose_threshold(y, p, ("sensitivity", least))
    assert rates(y, p, at)[0] >= least
    if (p > at).any():
        assert rates(y, p, p[p > at].min())[0] < least or least == 0
    at = choose_threshold(y, p, ("specificity", least))
    assert rates(y, p, at)[1] >= least
    if (p < at).any():
        assert rates(y, p, p[p < at].max())[1] < least


def test_where_the_highest_score_is_a_negatives_nothing_is_called_positive():
    at = choose_threshold([1, 0], [0.2, 0.7], ("specificity", 1))
    assert 0.7 < at < 0.7 + 1e-9


def test_unknown_labels_are_left_out():
    assert choose_threshold(np.append(Y, np.nan), np.append(P, np.nan)) == choose_threshold(Y, P)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: choose_threshold(Y, P, "sensitivity"), "rule='sensitivity'"),
    (lambda: choose_threshold(Y, P, ("sensitivity", 90)), "least in"),
    (lambda: choose_threshold(Y, P, ("youden", 0.9)), "rule="),
    (lambda: choose_threshold([1, 1], [0, 1]), "2 positives, 0 negatives"),
    (lambda: choose_threshold(Y[:, None], P[:, None]), "one task"),
    (lambda: choose_threshold([0, 1], [0, np.nan]), "NaN where the label is known"),
])  # fmt: skip
def test_refuses_in_words(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_sensitivity_is_reached_by_whole_numbers_and_not_by_rounding():
    """93 of 100 positives are 0.93 of them, though 1 - 7 / 100 is a little less in floating point."""
    y, p = np.array([1] * 100 + [0]), np.append(np.arange(100) / 100, -1)
    assert choose_threshold(y, p, ("sensitivity", 0.93)) == 0.07
    assert choose_threshold(1 - y, -p, ("specificity", 0.93)) == pytest.approx(-0.06)
