"""The random-effects mean: closed forms, its parts, and how often its interval holds the truth."""

import numpy as np
import pytest
from scipy.stats import norm, t

from chexlib.stats import mean_effect

RNG = np.random.default_rng(0)


def test_without_other_noise_it_is_the_plain_mean_with_students_interval():
    y = RNG.normal(size=8)
    found = mean_effect(y, np.zeros((8, 8)), np.zeros(8))
    half = t.ppf(0.975, 7) * y.std(ddof=1) / np.sqrt(8)
    assert (found.value, found.tau, found.se) == pytest.approx((y.mean(), y.std(ddof=1), half / t.ppf(0.975, 7)))
    assert (found.low, found.high) == pytest.approx((y.mean() - half, y.mean() + half))
    assert (found.se_patients, found.se_seeds) == (0, 0) and found.se_between == pytest.approx(found.se)


def test_equal_independent_noise_is_taken_out_of_the_spread():
    """Balanced: the restricted likelihood is largest where tau^2 is the spread less the noise."""
    y = 3 * RNG.normal(size=10)
    found = mean_effect(y, 0.5 * np.eye(10), np.full(10, 0.25))
    assert found.tau**2 == pytest.approx(y.var(ddof=1) - 0.75)
    assert found.value == pytest.approx(y.mean()) and found.se**2 == pytest.approx(y.var(ddof=1) / 10)
    assert (found.se_patients**2, found.se_seeds**2) == pytest.approx((0.05, 0.025))


def test_what_patients_do_to_all_alike_widens_the_interval_and_moves_nothing():
    y = RNG.normal(size=6)
    alone, shared = (mean_effect(y, 0.2 * np.eye(6) + c * np.ones((6, 6)), np.full(6, 0.1)) for c in (0, 5))
    assert (shared.value, shared.tau) == pytest.approx((alone.value, alone.tau), abs=1e-5)
    assert shared.se**2 == pytest.approx(alone.se**2 + 5, rel=1e-5)
    half = (shared.high - shared.low) / 2
    assert half == pytest.approx(norm.ppf(0.975) * shared.se, rel=0.02)  # patients are known: not Student's 2.57


def test_parts_add_up_and_none_exceeds_the_whole():
    a = RNG.normal(size=(5, 5))
    found = mean_effect(RNG.normal(size=5), a @ a.T / 5, RNG.random(5))
    assert found.se**2 == pytest.approx(found.se_patients**2 + found.se_seeds**2 + found.se_between**2)
    assert found.k == 5


def test_estimates_that_agree_better_than_their_noise_have_no_spread_between():
    found = mean_effect([0.9, 1.0, 1.1], np.eye(3), np.zeros(3))
    assert (found.tau, found.se_between) == (0, 0)
    assert found.se == pytest.approx(np.sqrt(1 / 3))


def test_a_vague_estimate_weighs_little():
    assert mean_effect([0, 0, 9], np.diag([0.01, 0.01, 1e6]), np.zeros(3)).value == pytest.approx(0, abs=0.01)


def test_scale_and_shift_go_through():
    y, patients, seeds = RNG.normal(size=5), 0.3 * np.eye(5) + 0.1, np.full(5, 0.2)
    one, other = mean_effect(y, patients, seeds), mean_effect(7 + y / 100, patients / 1e4, seeds / 1e4)
    assert (other.value, other.low, other.tau) == pytest.approx((7 + one.value / 100, 7 + one.low / 100, one.tau / 100))


def test_equal_values_without_noise_are_a_point():
    found = mean_effect([0.5, 0.5], np.zeros((2, 2)), np.zeros(2))
    assert (found.value, found.low, found.high, found.tau) == (0.5, 0.5, 0.5, 0)


def test_where_an_architecture_has_one_seed_tau_holds_what_seeds_do():
    y = RNG.normal(size=6)
    found = mean_effect(y, np.zeros((6, 6)), np.array([np.nan, 0, 0, 0, 0, 0]))
    assert np.isnan(found.se_seeds) and found.tau == pytest.approx(y.std(ddof=1))


@pytest.mark.parametrize(("tau", "common", "covered"), [(0, 1, 0.96), (1, 0, 0.98), (1, 1, 0.95), (2, 1, 0.95)])
def test_intervals_cover_the_truth_as_often_as_they_say(tau, common, covered):
    """Five architectures; give or take three standard errors of 400 worlds."""
    rng, held = np.random.default_rng(1), []
    for _ in range(400):
        patients = common * np.ones((5, 5)) + np.eye(5)
        y = rng.multivariate_normal(np.zeros(5), patients) + 0.7 * rng.normal(size=5) + tau * rng.normal(size=5)
        found = mean_effect(
            y, np.cov(rng.multivariate_normal(np.zeros(5), patients, 400).T), 0.49 * rng.chisquare(2, 5) / 2
        )
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) == pytest.approx(covered, abs=0.035)


@pytest.mark.parametrize(("change", "says"), [
    ({"values": [1.0]}, "K > 1"),
    ({"patients": np.zeros((2, 2))}, r"\(K, K\)"),
    ({"seeds": np.zeros(2)}, r"\(K,\)"),
    ({"values": [1, np.nan, 2]}, "must be finite"),
    ({"seeds": [-1.0, 0, 0]}, "variances"),
    ({"seeds": [np.inf, 0, 0]}, "variances"),
])  # fmt: skip
def test_refuses_in_words(change, says):
    with pytest.raises(ValueError, match=says):
        mean_effect(**({"values": [1, 2, 3], "patients": np.eye(3), "seeds": np.zeros(3)} | change))


def test_another_architectures_effect_lies_wider_than_the_mean():
    found = mean_effect([0.0, 1.0, 5.0], np.eye(3) * 1e-6, np.zeros(3))
    assert found.low_another < found.low < found.value < found.high < found.high_another
    assert found.high_another - found.value == pytest.approx(4.302653 * np.sqrt(found.tau**2 + found.se**2))
