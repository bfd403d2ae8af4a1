"""Percentile, BCa and Wilson's intervals, the verdict, equivalence, power, adjusted p."""

from itertools import product
from math import nan

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, norm

from chexlib.stats import (
    auroc,
    bca_interval,
    benjamini_hochberg,
    effective_size,
    equivalence,
    hanley_mcneil,
    holm,
    least_detectable,
    percentile_interval,
    verdict,
    wilson,
)
from chexlib.stats.intervals import acceleration

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.03, "higher"),
        (-0.03, -0.01, "lower"),
        (-0.03, 0.01, "open"),
        (-0.001, 0.001, "same"),
        (0.001, 0.004, "same"),  # above 0, and too small to matter
        (0.001, 0.005, "higher"),  # the margin itself is not inside
        (0.0, 0.01, "open"),
        (nan, 0.01, "open"),
        (0.01, nan, "open"),
        (nan, -0.01, "open"),
        (-0.01, nan, "open"),
        (nan, nan, "open"),
    ],
)
def test_an_interval_has_one_verdict(low, high, says):
    assert verdict(low, high, 0.005) == says


def test_without_a_margin_nothing_is_the_same():
    assert (verdict(-0.001, 0.001, 0), verdict(0.001, 0.002, 0), verdict(0.0, 0.0, 0)) == ("open", "higher", "open")


def test_percentiles_are_numpys_and_skip_nan():
    values = np.random.default_rng(0).normal(size=(500, 3))
    values[::7, 1], values[:, 2] = np.nan, np.nan
    low, high = percentile_interval(values)
    np.testing.assert_allclose([low[0], high[0]], np.quantile(values[:, 0], [0.025, 0.975]))
    np.testing.assert_allclose([low[1], high[1]], np.nanquantile(values[:, 1], [0.025, 0.975]))
    assert np.isnan([low[2], high[2]]).all()


def test_bca_of_a_symmetric_statistic_without_bias_are_its_percentiles():
    replicates = np.concatenate([-np.arange(1.0, 501), np.arange(1.0, 501)])
    low, high = bca_interval(0.0, replicates, None)
    assert (low, high) == pytest.approx(np.quantile(replicates, [0.025, 0.975]))
    assert np.isnan(bca_interval(0.0, np.arange(1.0, 100), None)).all()  # all on one side


def test_acceleration_by_hand():
    """All 27 draws of 0, 0 and 3: their means have a sixth of the skewness of a sum of three such values."""
    counts = np.array([np.bincount(draw, minlength=3) for draw in product(range(3), repeat=3)])  # (27, 3)
    means = counts @ [0.0, 0.0, 3.0] / 3
    by_hand = (-1 - 1 + 8) / (6 * (1 + 1 + 4) ** 1.5)  # -1, -1 and 2 from their mean
    assert acceleration(means, counts) == pytest.approx(by_hand)
    assert acceleration(np.append(means, np.nan), np.append(counts, [[9, 9, 9]], axis=0)) == pytest.approx(by_hand)
    np.testing.assert_allclose(acceleration(np.stack([-means, 0 * means], axis=1), counts), [-by_hand, 0])


def test_what_else_is_drawn_adds_variance_and_no_skewness():
    """Half of the variance from the groups: the acceleration is theirs over two to the power of 3/2."""
    rng, x = np.random.default_rng(0), np.random.default_rng(1).exponential(size=40)
    counts = np.array([np.bincount(draw, minlength=40) for draw in rng.integers(40, size=(20_000, 40))])
    means = counts @ x / 40
    noisy = means + rng.normal(size=len(means)) * means.std()
    assert acceleration(noisy, counts) == pytest.approx(acceleration(means, counts) / 2**1.5, rel=0.1)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 7), (7, 7), (480, 500)])
def test_wilsons_interval_is_scipys(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilsons_interval_takes_arrays_and_says_nothing_of_no_rows():
    low, high = wilson([0, 5, 0], [10, 10, 0])
    assert low[0] == pytest.approx(0, abs=1e-12) and 0 < high[0] < 0.5 and low[1] < 0.5 < high[1]
    assert np.isnan([low[2], high[2]]).all()


def test_effective_size_by_hand():
    """20 patients of 2 cases, both hits in half of them: variance (20/19) 20 / 40^2 against 1/4."""
    hits, n, patients = np.repeat([2, 0], 10), np.full(20, 2), np.arange(20)
    assert effective_size(hits, n, patients) == pytest.approx(0.25 / (20 / 19 * 20 / 40**2))
    rows = np.repeat(patients, 2)  # the same, a case a row, and a row without a case
    assert effective_size(np.append(np.repeat(hits / 2, 2), 0), [1] * 40 + [0], [*rows, 99]) == pytest.approx(19)
    assert effective_size(np.ones(20), n, patients) == 40  # all patients alike: no more than there are cases
    for few in (0, 1, 9):  # too few patients with a hit, or a miss
        ends = np.where(patients < few, 1, 0)
        assert effective_size(ends, n, patients) <= 20 and effective_size(2 - ends, n, patients) <= 20
    assert effective_size(np.where(patients < 10, 1, 0), n, patients) > 20
    assert effective_size([0, 0, 0], [2, 3, 1], ["a", "a", "b"]) == 2  # a count of zero: patients
    assert effective_size([1], [2], ["a"]) == 1 and effective_size([0, 0], [0, 0], ["a", "b"]) == 0


def test_the_upper_end_of_none_in_many_is_near_the_rule_of_three():
    for n in (20, 100, 1000):
        assert 3 / n < wilson(0, n)[1] + 0.3 / n and wilson(0, n)[1] < 4 / n
        assert wilson(n, n)[0] == pytest.approx(1 - wilson(0, n)[1])


def share_coverage(share, alike, sizes, patients, worlds=1500):
    """How often the interval holds the true share: with the effective size, and as if cases were independent."""
    rng, held = np.random.default_rng(patients), []
    for _ in range(worlds):
        n = rng.choice(sizes, size=patients)
        each = rng.binomial(n, share)
        hits = np.where(rng.random(patients) < alike, n * (rng.random(patients) < share), each)
        size, total = effective_size(hits, n, np.arange(patients)), n.sum()
        ends = [wilson_by_hand(hits.sum() / total, size), wilson_by_hand(hits.sum() / total, total)]
        held.append([low - 1e-12 <= share <= high + 1e-12 for low, high in ends])
    return np.mean(held, axis=0)


def wilson_by_hand(p, n):
    """Wilson's formula, which costs nothing."""
    z = norm.ppf(0.975)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.array([p + z**2 / (2 * n) - half, p + z**2 / (2 * n) + half]) / (1 + z**2 / n)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("alike", [0, 0.7, 1])
def test_shares_are_covered_where_patients_have_one_case_or_several(share, alike):
    np.testing.assert_allclose(wilson_by_hand(share, 50), wilson(50 * share, 50))
    assert share_coverage(share, alike, [1], 60)[0] >= 0.93
    ours, as_rows = share_coverage(share, alike, [1, 2, 3, 6], 60)
    assert ours >= 0.92 and (as_rows < 0.88) == (alike > 0)


def test_equivalence_by_hand():
    """99 replicates, three of them at or beyond the margin of 1: p = 4 / 100."""
    d = np.concatenate([np.linspace(-0.9, 0.9, 96), [1.0, 1.1, 1.2]])
    assert equivalence(d, 1) == equivalence(np.append(-d, np.nan), 1) == pytest.approx(0.04)


def test_a_model_is_equivalent_to_itself_and_few_patients_show_nothing():
    assert equivalence(np.zeros(1000), 0.01) == 1 / 1001
    assert equivalence(RNG.normal(0, 0.05, 1000), 0.01) > 0.05  # no difference, and no evidence of none


def test_a_true_difference_of_the_margin_is_called_equivalent_as_rarely_as_the_level_says():
    wrong = np.mean([equivalence(RNG.normal(1 + 0.2 * RNG.normal(), 0.2, 500), 1) <= 0.05 for _ in range(1000)])
    assert wrong == pytest.approx(0.05, abs=0.021)  # 3 standard errors


def test_standard_error_by_hand():
    """Area 0.8, 10 and 20 rows: Q1 = 2/3, Q2 = 1.28 / 1.8."""
    variance = (0.16 + 9 * (2 / 3 - 0.64) + 19 * (1.28 / 1.8 - 0.64)) / 200
    assert hanley_mcneil(0.8, 10, 20) == pytest.approx(np.sqrt(variance))
    assert hanley_mcneil(0.8, 1, 1) == pytest.approx(np.sqrt(0.8 * 0.2))  # one row of each is a coin
    assert hanley_mcneil(1.0, 5, 5) == 0


def test_standard_error_is_the_spread_of_areas_of_simulated_test_sets():
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


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_least_detectable_difference_is_found_as_often_as_its_power_says(power):
    assert least_detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)  # the textbook multiple
    z = np.random.default_rng(0).normal(least_detectable(0.1, power=power) / 0.1, 1, size=20_000)
    assert np.mean(np.abs(z) > norm.ppf(0.975)) == pytest.approx(power, abs=0.011)


def test_adjusted_p_by_hand():
    """Holm: times 4, 3, 2 and 1 from the smallest, and never smaller than one before."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.02, 0.03, 0.5]), [0.04, 0.04, 0.04, 0.5])
    p = np.random.default_rng(0).random(50) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-14)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjusting_keeps_shape_order_and_unknown_values_and_exceeds_no_one(adjust):
    p = np.array([[0.01, np.nan], [0.2, 0.04]])
    found = adjust(p)
    np.testing.assert_allclose(found[~np.isnan(p)], adjust([0.01, 0.2, 0.04]))
    assert np.isnan(found[0, 1]) and found.shape == (2, 2)
    assert np.isnan(adjust([np.nan])).all() and adjust([]).shape == (0,)
    assert adjust(0.03) == 0.03 and (adjust(np.full(9, 0.5)) <= 1).all()


@pytest.mark.parametrize(("call", "says"), [
    (lambda: bca_interval(0.0, np.zeros((5, 2)), None), r"\(R, \.\.\.\) and \(R, G\) are needed"),
    (lambda: effective_size([1, 0], [1, 1], ["a"]), r"must be \(N,\)"),
    (lambda: effective_size([2, 0], [1, 1], ["a", "b"]), "outside 0 to n"),
    (lambda: equivalence(np.zeros(100), 0), "above 0"),
    (lambda: equivalence(np.zeros((100, 2)), 1), r"\(R,\)"),
    (lambda: hanley_mcneil(1.1, 5, 5), "outside"),
    (lambda: hanley_mcneil(0.8, 0, 5), "at least one"),
    (lambda: least_detectable(0.0), "above 0"),
    (lambda: least_detectable(0.1, power=80), "power=80"),
    (lambda: holm([0.5, 1.2]), "outside"),
    (lambda: benjamini_hochberg([-0.1]), "outside"),
    (lambda: holm(["small"]), "could not convert"),
])  # fmt: skip
def test_refuses_in_words(call, says):
    with pytest.raises(ValueError, match=says):
        call()
