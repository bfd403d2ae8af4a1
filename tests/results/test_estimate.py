"""An estimate prints itself, and gives the one verdict."""

import numpy as np
import pytest

from chexlib.results import Estimate, interval_text, number
from chexlib.stats import bca_interval


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.02, 0.05, "higher"),
        (-0.05, -0.02, "lower"),
        (-0.009, 0.009, "same"),
        (0.001, 0.008, "same"),  # above zero, and too little to matter
        (-0.02, 0.03, "open"),
        (-0.01, 0.005, "open"),  # an end on the margin is not inside it
        (np.nan, np.nan, "open"),
    ],
)
def test_the_verdict(low, high, verdict):
    assert Estimate(0.0, low, high).verdict == verdict


def test_a_wider_margin_makes_more_the_same():
    assert Estimate(0.02, 0.015, 0.03).verdict == "higher"
    assert Estimate(0.02, 0.015, 0.03, margin=0.05).verdict == "same"


def test_it_prints_itself():
    assert str(Estimate(0.016, 0.0101, 0.0219, signed=True)) == "+0.016 (0.010 to 0.022)"
    assert repr(Estimate(-0.016, -0.03, 0.001, signed=True)) == "−0.016 (−0.030 to 0.001)"
    assert str(Estimate(0.8123, digits=2)) == "0.81"


def test_what_is_missing_says_why_and_has_no_verdict():
    nothing = Estimate(missing="no architecture was trained from both inits")
    assert not nothing and nothing.verdict == "missing" and np.isnan(nothing.value)
    assert "no architecture was trained from both inits" in str(nothing)
    assert nothing._repr_markdown_() == str(nothing)


def test_too_few_rows_give_a_value_with_its_bca_interval_and_no_verdict():
    rng, x = np.random.default_rng(0), np.random.default_rng(1).exponential(size=20)
    drawn = np.array([np.bincount(draw, minlength=20) for draw in rng.integers(20, size=(2000, 20))])
    few = Estimate.of(x.mean(), drawn @ x / 20, drawn, few="fewer than 25 positive test studies", signed=True)
    enough = Estimate.of(x.mean(), drawn @ x / 20, drawn)
    assert few and few.value == enough.value and few.low > enough.low and few.high > enough.high  # x is skewed
    assert (few.low, few.high) == bca_interval(x.mean(), drawn @ x / 20, drawn)
    assert (few.verdict, enough.verdict) == ("missing", "higher")
    assert few.few in few.reading and few.few in few._repr_markdown_()


def test_a_value_that_is_not_a_number_is_missing_for_a_reason():
    nothing, rare = Estimate.of(np.nan, [np.nan] * 9), Estimate.of(np.nan, [np.nan] * 9, few="no positive study")
    assert not nothing and nothing.missing and rare.missing == "no positive study" in str(rare)


def test_the_interval_is_of_the_replicates_without_nan():
    found = Estimate.of(0.5, [*np.linspace(0, 1, 1001), np.nan], over="patients")
    assert (found.low, found.high) == pytest.approx((0.025, 0.975)) and found


def test_numbers_have_true_minus_signs_and_no_negative_zero():
    assert number(-0.0001) == "0.000" and number(0.0001, signed=True) == "0.000"
    assert number(-0.012) == "−0.012" and number(0.012, 2, signed=True) == "+0.01" and number(np.nan) == "–"
    assert interval_text(0.5, np.nan, np.nan) == "0.500"
