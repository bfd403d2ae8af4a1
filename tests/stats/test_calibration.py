"""Calibration: Brier scores and reliability, by hand, against scikit-learn, and of probabilities that are true."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from chexlib.stats import brier, reliability


def made(n=500, tasks=3, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, size=(n, tasks))
    return (rng.random((n, tasks)) < p).astype(float), p, rng


def test_brier_by_hand():
    assert brier([1, 0], [0.7, 0.4]) == pytest.approx((0.09 + 0.16) / 2)
    assert brier([1, 0], [1, 0]) == 0 and brier([1, 0], [0, 1]) == 1


def test_brier_is_sklearns_with_unknowns():
    y, p, rng = made()
    y[rng.random(y.shape) < 0.2] = np.nan
    p[np.isnan(y)] = np.nan
    expected = [brier_score_loss(y[k, t], p[k, t]) for t in range(3) for k in [~np.isnan(y[:, t])]]
    np.testing.assert_allclose(brier(y, p), expected, atol=1e-12)
    assert np.isnan(brier(np.full((2, 1), np.nan), np.ones((2, 1)))).all()


def test_classes_are_sklearns_quantiles_and_hold_equally_many_rows():
    y, p, _ = made()
    found = reliability(y[:, 0], p[:, 0])
    observed, predicted = calibration_curve(y[:, 0], p[:, 0], n_bins=10, strategy="quantile")
    np.testing.assert_allclose(found.observed, observed, atol=1e-12)
    np.testing.assert_allclose(found.predicted, predicted, atol=1e-12)
    assert (found.low <= found.observed).all() and (found.observed <= found.high).all()
    eight = reliability(y[:, 0], p[:, 0], bins=8).count
    assert eight.sum() == 500 and np.ptp(eight) <= 1


def test_patients_with_several_rows_tell_less():
    y, p, _ = made(tasks=1)
    y, p = np.repeat(y[:, 0], 3), np.repeat(p[:, 0], 3)  # each patient three times
    once, rows = reliability(y[::3], p[::3], bins=4), reliability(y, p, bins=4)
    patients = reliability(y, p, bins=4, groups=np.repeat(np.arange(500), 3))
    np.testing.assert_allclose(patients.high - patients.low, once.high - once.low, rtol=0.02)
    assert (rows.high - rows.low < 0.65 * (once.high - once.low)).all()


def test_equal_probabilities_share_a_class():
    found = reliability([0, 0, 1, 0, 1, 1], [0.2, 0.2, 0.2, 0.2, 0.2, 0.9], bins=3)
    np.testing.assert_array_equal(found.count, [5, 1])
    np.testing.assert_allclose(found.observed, [0.4, 1.0])
    assert len(reliability(np.ones(4), np.full(4, 0.5)).count) == 1


def test_true_probabilities_lie_in_the_intervals_as_often_as_they_say_and_overconfident_ones_do_not():
    inside = []
    for seed in range(60):
        y, p, _ = made(tasks=1, seed=seed)
        found = reliability(y[:, 0], p[:, 0])
        inside.append((found.low <= found.predicted) & (found.predicted <= found.high))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)
    found = reliability(y[:, 0], p[:, 0] ** 3)
    assert (found.low > found.predicted).sum() >= 4


def test_unknown_labels_are_left_out_and_no_rows_give_no_classes():
    y, p, _ = made()
    more = reliability(np.append(y[:, 0], np.nan), np.append(p[:, 0], np.nan))
    np.testing.assert_array_equal(more.observed, reliability(y[:, 0], p[:, 0]).observed)
    assert len(reliability([np.nan], [0.5]).count) == 0


@pytest.mark.parametrize(("call", "says"), [
    (lambda: brier([0, 1], [0.1, 2.81]), "p holds 2.81"),
    (lambda: reliability([0, 1], [-1, 0.5]), "p holds -1"),
    (lambda: reliability([0, 1], [0.1, np.nan]), "NaN where the label is known"),
    (lambda: reliability([[0, 1]], [[0.1, 0.2]]), "one task"),
    (lambda: reliability([0, 1], [0.1, 0.2], bins=0), "bins=0"),
])  # fmt: skip
def test_refuses_in_words(call, says):
    with pytest.raises(ValueError, match=says):
        call()
