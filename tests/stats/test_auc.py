"""AUROC and AUPRC: known answers, scikit-learn's values, and the laws that hold for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from chexlib.stats import auroc, average_precision
from tests.stats.made import classified

both = pytest.mark.parametrize(
    ("area", "sklearns"),
    [(auroc, roc_auc_score), (average_precision, average_precision_score)],
    ids=["auroc", "auprc"],
)


def test_perfect_reversed_and_constant_scores():
    y, p = np.array([[0], [0], [0], [1.0]]), np.array([[0.1], [0.2], [0.8], [0.9]])
    assert (auroc(y, p), auroc(y, -p), auroc(y, np.zeros((4, 1)))) == (1, 0, 0.5)
    assert (average_precision(y, p), average_precision(y, np.zeros((4, 1)))) == (1, 1 / 4)  # the share of positives


def test_by_hand():
    assert auroc([0, 0, 1, 1], [1, 2, 2, 3]) == (1 + 0.5 + 1 + 1) / 4  # one tied pair of four counts half
    # From the highest score: found, missed, found: half of the recall at precision 1, half at 2/3.
    assert average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([1, 0, 1, 0], [4, 2, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)  # a tie is one step


@both
def test_unknown_labels_leave_their_task_alone_and_a_missing_class_is_nan(area, sklearns):
    y = np.array([[0, 0, 1], [1, np.nan, 1], [0, 0, 1], [1, 1.0, 1]])
    p = np.array([[0.1, 0.1, 0.1], [0.9, np.nan, 0.2], [0.2, 0.7, 0.3], [0.8, 0.6, 0.4]])
    np.testing.assert_allclose(area(y, p), [1.0, 0.5, np.nan])
    assert np.isnan(area(np.zeros((2, 1)), np.zeros((2, 1)))).all()
    assert np.isnan(area(np.empty((0, 2)), np.empty((0, 2)))).all()


@both
def test_equals_sklearn_on_many_tasks_with_ties_weights_and_unknowns(area, sklearns):
    rng = np.random.default_rng(0)
    y = (rng.random((300, 6)) < 0.3).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    p = np.round(np.nan_to_num(y) + rng.normal(size=y.shape), 1)  # ties
    weights = rng.exponential(size=300) * (rng.random(300) < 0.9)  # some rows weigh nothing
    for w in (None, weights):
        known = [~np.isnan(y[:, t]) for t in range(6)]
        expected = [
            sklearns(y[k, t], p[k, t], sample_weight=None if w is None else w[k])
            for t, k in zip(range(6), known, strict=True)
        ]
        np.testing.assert_allclose(area(y, p, w), expected, atol=1e-12)


@both
@given(data=classified(), random=st.randoms(use_true_random=False))
def test_equals_sklearn_and_sees_neither_increasing_maps_nor_the_order_of_rows(area, sklearns, data, random):
    y, p = data
    assert area(y, p) == pytest.approx(sklearns(y, p), abs=1e-12)
    assert area(y, np.exp(p) + p**3) == area(y, p)
    order = random.sample(range(len(y)), len(y))
    assert area(y[order], p[order]) == pytest.approx(area(y, p), abs=1e-12)


@both
@given(data=classified(), random=st.randoms(use_true_random=False))
def test_whole_weights_are_repeated_rows(area, sklearns, data, random):
    y, p = data
    weights = np.array([random.randint(1, 4) for _ in y])
    assert area(y, p, weights) == pytest.approx(area(np.repeat(y, weights), np.repeat(p, weights)), abs=1e-12)


@given(classified())
def test_auroc_of_the_other_class_is_its_complement(data):
    y, p = data
    assert auroc(y, p) + auroc(1 - y, p) == pytest.approx(1, abs=1e-12)


@both
@pytest.mark.parametrize(("y", "p", "weights", "says"), [
    ([0, 1], [0.1, 0.2, 0.3], None, r"y \(2,\) and p \(3,\)"),
    ([0, -1], [0.1, 0.2], None, "y holds -1.*policy"),
    ([0, 1], [0.1, np.nan], None, "p holds 1 NaN"),
    ([0, 1], ["low", "high"], None, "could not convert string"),
    ([[[0]]], [[[1]]], None, r"both must be \(N, T\)"),
    ([0, 1], [0.1, 0.2], [1, 1, 1], "one weight a row"),
    ([0, 1], [0.1, 0.2], [1, -1], "not negative"),
])  # fmt: skip
def test_refuses_in_words(area, sklearns, y, p, weights, says):
    with pytest.raises(ValueError, match=says):
        area(y, p, weights)
