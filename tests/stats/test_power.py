"""Standard errors and power: published values, simulation, and that the two functions undo each other."""

import numpy as np
import pytest
from scipy.stats import norm

from chexlib.stats import auroc, detection_power, hanley_mcneil, least_detectable


def test_standard_error_by_hand():
    """Area 0.8, 10 and 20 rows: Q1 = 2/3, Q2 = 1.28 / 1.8."""
    variance = (0.16 + 9 * (2 / 3 - 0.64) + 19 * (1.28 / 1.8 - 0.64)) / 200
    assert hanley_mcneil(0.8, 10, 20) == pytest.approx(np.sqrt(variance))


def test_one_row_of_each_is_a_coin():
    assert hanley_mcneil(0.8, 1, 1) == pytest.approx(np.sqrt(0.8 * 0.2))


def test_is_the_spread_of_areas_of_simulated_test_sets():
    """Exponential scores, for which the formula is exact: area a for means in the ratio a / (1 - a)."""
    rng, areas = np.random.default_rng(0), []
    y = np.repeat([1.0, 0.0], [30, 60])
    for _ in range(2000):
        areas.append(auroc(y, rng.exponential(size=90) * np.where(y == 1, 0.8 / 0.2, 1)))
    assert np.mean(areas) == pytest.approx(0.8, abs=0.004)
    assert np.std(areas) == pytest.approx(hanley_mcneil(0.8, 30, 60), rel=0.06)


def test_more_rows_and_a_clearer_area_have_less_error_and_arrays_broadcast():
    found = hanley_mcneil([0.7, 0.9], np.array([[20], [80]]), 400)
    assert found.shape == (2, 2)
    assert (np.diff(found, axis=0) < 0).all() and (np.diff(found, axis=1) < 0).all()
    assert hanley_mcneil(1.0, 5, 5) == 0


def test_the_textbook_multiple_of_the_standard_error():
    assert least_detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_power_undoes_the_least_detectable_difference(power):
    error = np.array([0.01, 0.3])
    np.testing.assert_allclose(detection_power(least_detectable(error, power=power), error), power, atol=1e-4)


def test_power_is_the_share_of_simulated_rejections():
    z = np.random.default_rng(0).normal(1.5, 1, size=20_000)
    assert detection_power(0.15, 0.1) == pytest.approx(np.mean(np.abs(z) > norm.ppf(0.975)), abs=0.011)
    assert detection_power(-0.15, 0.1) == detection_power(0.15, 0.1)


def test_without_a_difference_power_is_the_level():
    assert detection_power(0, 0.1, level=0.01) == pytest.approx(0.01)


@pytest.mark.parametrize("call", [
    lambda: hanley_mcneil(1.1, 5, 5),
    lambda: hanley_mcneil(0.8, 0, 5),
    lambda: least_detectable(0.0),
    lambda: least_detectable(0.1, power=80),
    lambda: detection_power(0.1, -1),
    lambda: detection_power(0.1, 1, level=5),
])  # fmt: skip
def test_refuses(call):
    with pytest.raises(ValueError):
        call()
