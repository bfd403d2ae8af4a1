"""AUROC: known answers, scikit-learn's values, and the laws that hold for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from chexlib.stats import auroc
from tests.stats.made import classified


def test_perfect_reversed_and_constant_scores():
    y, p = np.array([[0], [0], [0], [1.0]]), np.array([[0.1], [0.2], [0.8], [0.9]])
    assert (auroc(y, p), auroc(y, -p), auroc(y, np.zeros((4, 1)))) == (1, 0, 0.5)


def test_by_hand():
    assert auroc([0, 0, 1, 1], [1, 2, 2, 3]) == (1 + 0.5 + 1 + 1) / 4  # one tied pair of four counts half


def test_unknown_labels_leave_their_task_alone_and_a_missing_class_is_nan():
    y = np.array([[0, 0, 1], [1, np.nan, 1], [0, 0, 1], [1, 1.0, 1]])
    p = np.array([[0.1, 0.1, 0.1], [0.9, np.nan, 0.2], [0.2, 0.7, 0.3], [0.8, 0.6, 0.4]])
    np.testing.assert_allclose(auroc(y, p), [1.0, 0.5, np.nan])
    assert np.isnan(auroc(np.zeros((2, 1)), np.zeros((2, 1)))).all()
    assert np.isnan(auroc(np.empty((0, 2)), np.empty((0, 2)))).all()


def test_equals_sklearn_on_many_tasks_with_ties_weights_and_unknowns():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 6)) < 0.3).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    p = np.round(np.nan_to_num(y) + rng.normal(size=y.shape), 1)  # ties
    weights = rng.exponential(size=300) * (rng.random(300) < 0.9)  # some rows weigh nothing
    for w in (None, weights):
        known = [~np.isnan(y[:, t]) for t in range(6)]
        expected = [
            roc_auc_score(y[k, t], p[k, t], sample_weight=None if w is None else w[k])
            for t, k in zip(range(6), known, strict=True)
        ]
        np.testing.assert_allclose(auroc(y, p, w), expected, atol=1e-12)


@given(data=classified(), random=st.randoms(use_true_random=False))
def test_equals_sklearn_and_sees_neither_increasing_maps_nor_the_order_of_rows(data, random):
    y, p = data
    assert auroc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert auroc(y, np.exp(p) + p**3) == auroc(y, p)
    order = random.sample(range(len(y)), len(y))
    assert auroc(y[order], p[order]) == pytest.approx(auroc(y, p), abs=1e-12)


@given(data=classified(), random=st.randoms(use_true_random=False))
def test_whole_weights_are_repeated_rows(data, random):
    y, p = data
    weights = np.array([random.randint(1, 4) for _ in y])
    assert auroc(y, p, weights) == pytest.approx(auroc(np.repeat(y, weights), np.repeat(p, weights)), abs=1e-12)


@given(classified())
def test_auroc_of_the_other_class_is_its_complement(data):
    y, p = data
    assert auroc(y, p) + auroc(1 - y, p) == pytest.approx(1, abs=1e-12)


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
