"""Average precision: known answers, scikit-learn's values, and the laws that hold for any data."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from chexlib.stats import average_precision, bootstrap_auprc, resample_counts


@st.composite
def classified(draw):
    """Labels with both classes, scores on a coarse grid, and whole weights."""
    y = draw(hnp.arrays(float, st.integers(2, 40), elements=st.sampled_from([0.0, 1.0])))
    y[:2] = 0, 1
    p = draw(hnp.arrays(float, len(y), elements=st.integers(-5, 5).map(float)))
    return y, p, draw(hnp.arrays(float, len(y), elements=st.integers(1, 4).map(float)))


def test_perfect_scores_have_one_and_constant_ones_the_share_of_positives():
    y = np.array([0, 0, 0, 1.0])
    assert average_precision(y, [1, 2, 3, 4]) == 1
    assert average_precision(y, np.zeros(4)) == 1 / 4


def test_by_hand():
    """From the highest score: found, missed, found: half of the recall at precision 1, half at 2/3."""
    assert average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([1, 0, 1, 0], [4, 2, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)  # a tie counts as one step


def test_equals_sklearn_on_many_tasks_with_ties_weights_and_unknowns():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 6)) < 0.3).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    p = np.round(np.nan_to_num(y) + rng.normal(size=y.shape), 1)
    weights = rng.exponential(size=300) * (rng.random(300) < 0.9)
    for w in (np.ones(300), weights):
        known = [~np.isnan(y[:, t]) for t in range(6)]
        expected = [
            average_precision_score(y[k, t], p[k, t], sample_weight=w[k]) for t, k in zip(range(6), known, strict=True)
        ]
        np.testing.assert_allclose(average_precision(y, p, w), expected, atol=1e-12)


@given(classified())
def test_equals_sklearn(data):
    y, p, weights = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = average_precision_score(y, p, sample_weight=weights)
    assert average_precision(y, p, weights) == pytest.approx(expected, abs=1e-12)


@given(classified())
def test_is_invariant_to_increasing_maps(data):
    y, p, weights = data
    assert average_precision(y, np.exp(p) + p**3, weights) == average_precision(y, p, weights)


@given(classified())
def test_whole_weights_are_repeated_rows(data):
    y, p, weights = data
    n = weights.astype(int)
    assert average_precision(y, p, weights) == pytest.approx(average_precision(np.repeat(y, n), np.repeat(p, n)))


def test_a_missing_class_is_nan():
    y = np.array([[1, 0, 1], [1, 0, 0.0]])
    np.testing.assert_array_equal(average_precision(y, y), [np.nan, np.nan, 1])


@pytest.mark.parametrize(("y", "p", "says"), [
    ([0, 1], [0.1, 0.2, 0.3], r"y \(2,\) and p \(3,\)"),
    ([0, 1], [0.1, np.nan], "p holds 1 NaN"),
    ([0, 1], ["low", "high"], "could not convert string"),
])  # fmt: skip
def test_refuses_in_words(y, p, says):
    with pytest.raises(ValueError, match=says):
        average_precision(y, p)


def test_replicates_are_scikit_learns_of_the_same_rows():
    rng = np.random.default_rng(1)
    y = (rng.random((60, 2)) < 0.3).astype(float)
    y[:5, 1] = np.nan
    scores = np.round(y + rng.normal(size=(3, 60, 2)), 1)  # with ties
    scores[:, :5, 1] = 0.0
    patients = rng.integers(25, size=60)
    found = bootstrap_auprc(y, scores, patients, n_boot=20)
    for r, count in enumerate(resample_counts(60, patients, 20)):
        for t in range(2):
            rows = np.repeat(np.arange(60), count)
            rows = rows[~np.isnan(y[rows, t])]
            for m in range(3):
                area = average_precision_score(y[rows, t], scores[m, rows, t])
                assert found.replicates[r, m, t] == pytest.approx(area, abs=1e-12)
    np.testing.assert_allclose(found.area, [average_precision(y, model) for model in scores], atol=1e-12)
    assert found.difference(0, 0).p == 1


def test_replicates_without_a_class_are_left_out_and_counted():
    y, scores = np.array([[1.0], [0], [0]]), np.array([[[0.9], [0.5], [0.1]]])
    found = bootstrap_auprc(y, scores, n_boot=200)
    assert found.dropped[0] == np.isnan(found.replicates[:, 0, 0]).sum() > 0
    assert np.nanmin(found.replicates) == 1  # the positive is first wherever it is drawn
