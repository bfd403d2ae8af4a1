"""AUROC: known answers, scikit-learn's values, and the laws that hold for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from chexlib.stats import auroc


@st.composite
def classified(draw):
    """Labels with both classes, and scores on a coarse grid, so that ties abound."""
    y = draw(hnp.arrays(float, st.integers(2, 40), elements=st.sampled_from([0.0, 1.0])))
    y[:2] = 0, 1
    return y, draw(hnp.arrays(float, len(y), elements=st.integers(-5, 5).map(float)))


def test_perfect_reversed_and_constant_scores():
    y = np.array([[0], [0], [1], [1.0]])
    p = np.array([[0.1], [0.2], [0.8], [0.9]])
    assert auroc(y, p) == 1
    assert auroc(y, -p) == 0
    assert auroc(y, np.zeros((4, 1))) == 0.5


def test_one_tied_pair_of_four_counts_half():
    assert auroc([0, 0, 1, 1], [1, 2, 2, 3]) == (1 + 0.5 + 1 + 1) / 4


def test_unknown_labels_leave_their_task_alone():
    y = np.array([[0, 0], [1, np.nan], [0, 0], [1, 1.0]])
    p = np.array([[0.1, 0.1], [0.9, np.nan], [0.2, 0.7], [0.8, 0.6]])
    np.testing.assert_allclose(auroc(y, p), [1.0, 0.5])


def test_a_missing_class_is_nan_and_the_other_task_is_not():
    y = np.array([[1, 0], [1, 1.0]])
    assert np.isnan(auroc(y, y)[0])
    assert auroc(y, y)[1] == 1


def test_no_rows_at_all_is_nan():
    assert np.isnan(auroc(np.empty((0, 2)), np.empty((0, 2)))).all()


def test_equals_sklearn_on_many_tasks_with_ties_weights_and_unknowns():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 6)) < 0.3).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    p = np.round(np.nan_to_num(y) + rng.normal(size=y.shape), 1)  # ties
    weights = rng.exponential(size=300) * (rng.random(300) < 0.9)  # some rows weigh nothing
    for w in (None, weights):
        expected = [
            roc_auc_score(
                *(a[~np.isnan(y[:, t])] for a in (y[:, t], p[:, t])),
                sample_weight=None if w is None else w[~np.isnan(y[:, t])],
            )
            for t in range(6)
        ]
        np.testing.assert_allclose(auroc(y, p, w), expected, atol=1e-12)


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    y, p, weights = rng.integers(0, 2, 50).astype(float), rng.integers(0, 9, 50).astype(float), rng.integers(0, 4, 50)
    assert auroc(y, p, weights) == pytest.approx(auroc(np.repeat(y, weights), np.repeat(p, weights)), abs=1e-12)


@given(classified())
def test_equals_sklearn(data):
    y, p = data
    assert auroc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)


@given(classified())
def test_is_invariant_to_increasing_maps(data):
    y, p = data
    assert auroc(y, np.exp(p) + p**3) == auroc(y, p)


@given(classified())
def test_of_the_other_class_is_its_complement(data):
    y, p = data
    assert auroc(y, p) + auroc(1 - y, p) == pytest.approx(1, abs=1e-12)


@given(classified(), st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_rows(data, random):
    y, p = data
    order = random.sample(range(len(y)), len(y))
    assert auroc(y[order], p[order]) == pytest.approx(auroc(y, p), abs=1e-12)


@pytest.mark.parametrize(("y", "p", "weights", "says"), [
    ([0, 1], [0.1, 0.2, 0.3], None, r"y \(2,\) and p \(3,\)"),
    ([0, -1], [0.1, 0.2], None, "y holds -1.*policy"),
    ([0, 1], [0.1, np.nan], None, "p holds 1 NaN"),
    ([0, 1], ["low", "high"], None, "could not convert string"),
    ([[[0]]], [[[1]]], None, r"both must be \(N, T\)"),
    ([0, 1], [0.1, 0.2], [1, 1, 1], "one weight a row"),
    ([0, 1], [0.1, 0.2], [1, -1], "not negative"),
])  # fmt: skip
def test_refuses_in_words(y, p, weights, says):
    with pytest.raises(ValueError, match=says):
        auroc(y, p, weights)
