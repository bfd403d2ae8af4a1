from math import nan

import pytest

from chexlib.stats import verdict


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
def test_an_interval_has_one_verdict(low: float, high: float, says: str) -> None:
    assert verdict(low, high, 0.005) == says


def test_without_a_margin_nothing_is_the_same() -> None:
    assert verdict(-0.001, 0.001, 0) == "open"
    assert verdict(0.001, 0.002, 0) == "higher"
    assert verdict(0.0, 0.0, 0) == "open"
