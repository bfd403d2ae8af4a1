"""What an interval says: the one verdict that tables, figures and claims share."""

from math import isnan


def verdict(low: float, high: float, margin: float) -> str:
    """What an interval of a difference, `low` to `high`, says of it: "same", "higher", "lower" or "open".

    "same" where it lies inside `margin` to each side of 0 (a difference that small does not matter, whatever its sign),
    else "higher" or "lower" where it lies on one side of 0. Otherwise, and where an end is NaN, it is open.
    """
    if isnan(low) or isnan(high):
        return "open"
    if -margin < low and high < margin:
        return "same"
    if low > 0:
        return "higher"
    return "lower" if high < 0 else "open"
