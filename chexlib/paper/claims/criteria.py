"""Criteria: where the whole interval of a measurement has to lie for a statement to be reproduced.

To find nothing is never to find that there is nothing, so absence takes an interval inside a margin. What a criterion
cannot settle is "cannot tell at this size". Criteria judge directions, `near` and `beyond` alone the size that is
printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from chexlib.paper.claims.measured import Measured
from chexlib.paper.wording import number

REPRODUCED, NOT_REPRODUCED, OPEN = "reproduced", "not reproduced", "cannot tell at this size"

Criterion = Callable[[Measured, float], tuple[str, str]]
"""Takes what was measured and the printed number (NaN where it plays no part); gives a word and what decided it."""


def above(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies above zero."""
    if found.low > 0:
        return REPRODUCED, "all of it above zero"
    if found.high < 0:
        return NOT_REPRODUCED, "all of it below zero"
    if _inside(found, 0):
        return NOT_REPRODUCED, f"all of it within ±{found.margin:g}"
    return OPEN, "which includes zero"


def below(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies below zero."""
    word, why = above(_mirrored(found))
    return word, _turned(why)


def beyond(found: Measured, printed: float) -> tuple[str, str]:
    """The whole interval lies above the printed number."""
    if found.low > printed:
        return REPRODUCED, f"all of it above the printed {printed:g}"
    if found.high < printed:
        return NOT_REPRODUCED, f"all of it below the printed {printed:g}"
    return OPEN, f"which includes the printed {printed:g}"


def mostly_above(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies above zero for more than half of the paper's architectures."""
    return above(found)


def absent(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies within the margin around zero (asked first); failing that, one without zero is a find."""
    if _inside(found, 0):
        return REPRODUCED, f"all of it within ±{found.margin:g}{_significantly(found)}"
    if found.low > 0 or found.high < 0:
        return NOT_REPRODUCED, f"all of it {'above' if found.low > 0 else 'below'} zero"
    return OPEN, _not_excluded(found)


def small(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies within the margin around zero; only one wholly beyond it says otherwise."""
    if _inside(found, 0):
        return REPRODUCED, f"all of it within ±{found.margin:g}"
    if found.low >= found.margin or found.high <= -found.margin:
        return NOT_REPRODUCED, f"all of it beyond ±{found.margin:g}"
    return OPEN, _not_excluded(found)


def no_drop(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies above a drop of the margin."""
    if found.low > -found.margin:
        return REPRODUCED, f"no drop as large as {found.margin:g}{_significantly(found) if found.high < 0 else ''}"
    if found.high < 0:
        return NOT_REPRODUCED, "all of it below zero"
    return OPEN, f"which does not exclude a drop of {number(-found.low, found.digits)}"


def no_gain(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies below a gain of the margin."""
    word, why = no_drop(_mirrored(found))
    return word, _turned(why).replace("drop", "gain")


def near(found: Measured, printed: float) -> tuple[str, str]:
    """The whole interval lies within the margin around the printed number."""
    if _inside(found, printed):
        return REPRODUCED, f"all of it within {found.margin:g} of the printed {printed:.3f}"
    if found.low >= printed + found.margin or found.high <= printed - found.margin:
        return NOT_REPRODUCED, f"all of it further than {found.margin:g} from the printed {printed:.3f}"
    return OPEN, f"not all of it within {found.margin:g} of the printed {printed:.3f}"


def _inside(found: Measured, centre: float) -> bool:
    return centre - found.margin < found.low and found.high < centre + found.margin


def _not_excluded(found: Measured) -> str:
    far = number(max(abs(found.low), abs(found.high)), found.digits)
    limit = f"; {found.limit}" if found.limit else ""
    return f"which does not exclude {far}, and ±{found.margin:g} is what counts as nothing{limit}"


def _significantly(found: Measured) -> str:
    """What has to be added where too little to count is more than chance."""
    if found.low <= 0 <= found.high:
        return ""
    return f", but significantly {'above' if found.low > 0 else 'below'} zero"


def _turned(why: str) -> str:
    """The same of what was mirrored."""
    return why.replace("above", "below") if "above" in why else why.replace("below", "above")


def _mirrored(found: Measured) -> Measured:
    return replace(found, value=-found.value, low=-found.high, high=-found.low)
