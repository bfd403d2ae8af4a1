"""How a statement is judged: against other printed numbers and counts, and against what a study measured.

Numbers agree where their spans meet (`chexlib.paper.rounding`). A study's measurement has an interval, and a criterion
asks where all of it lies: to find nothing is never to find that there is nothing, so absence takes an interval inside a
margin. What a criterion cannot settle is "cannot tell at this size".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chexlib.paper.measures import AUC_MARGIN, Correlation, Estimate
from chexlib.paper.rounding import SLACK, Span, span
from chexlib.paper.wording import listed, number

RHO_MARGIN = 0.3
"""No relationship is a rank correlation whose whole interval lies nearer to zero: it would explain less than a tenth
(0.3 squared) of the variance of the ranks. The papers state no margin."""

LEVEL_MARGIN = 0.02
"""An AUC counts as the printed one where its whole interval lies this near to it: the paper's own 95 % intervals reach
up to 0.018 to one side, so a narrower margin would ask for more than it knows itself."""

CONSISTENT, INCONSISTENT, UNCHECKED = "consistent", "not consistent", "nothing to check"
REPRODUCED, NOT_REPRODUCED, OPEN, NOT_RUN = "reproduced", "not reproduced", "cannot tell at this size", "not run"
NO_STUDY = "no study was asked"
STUDY_WORDS = (REPRODUCED, NOT_REPRODUCED, OPEN, NOT_RUN)
CHECK_WORDS = (CONSISTENT, INCONSISTENT, UNCHECKED)


class NotRun(Exception):
    """A study lacks what a statement is about; its text says what."""


@dataclass(frozen=True)
class Verdict:
    """A word, the sentence of numbers behind it, and the models of the study that they are of."""

    word: str
    reason: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Derived:
    """What other numbers leave open for a printed one: any value in one of `spans`; `source` says which numbers.

    With `whole` words give the first and the last of the spans, otherwise the one that is nearest to what is printed.
    """

    name: str
    spans: tuple[Span, ...]
    source: str
    digits: int = 3
    whole: bool = False


@dataclass(frozen=True)
class Measured:
    """A study's number for a statement, with the interval that its verdict rests on, and what that is over.

    `margin` is what counts as nothing for this kind of number; `models` are names of `results.models`.
    """

    what: str
    value: float
    low: float
    high: float
    over: str
    margin: float
    models: tuple[str, ...] = ()
    digits: int = 3
    sign: bool = True

    def __str__(self) -> str:
        value, low, high = (number(n, self.digits, self.sign) for n in (self.value, self.low, self.high))
        return f"{self.what} {value} ({low} to {high} over {self.over})"


def of_difference(what: str, found: Estimate, models: Iterable[str]) -> Measured:
    """A difference of AUCs as measured."""
    over = "patients and seeds" if found.over_seeds else "patients alone"
    return Measured(what, found.value, *found.interval, over, AUC_MARGIN, tuple(models))


def of_correlation(what: str, found: Correlation, models: Iterable[str]) -> Measured:
    """A rank correlation with its widest interval: architectures drawn anew as well."""
    over = "architectures, patients and seeds" if found.over_seeds else "architectures and patients"
    return Measured(what, found.rho, *found.architectures, over, RHO_MARGIN, tuple(models), digits=2)


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
    swapped = {"all of it above zero": "all of it below zero", "all of it below zero": "all of it above zero"}
    return word, swapped.get(why, why)


def absent(found: Measured, printed: float = np.nan) -> tuple[str, str]:
    """The whole interval lies within the margin around zero; one that leaves out zero is a find."""
    if _inside(found, 0):
        return REPRODUCED, f"all of it within ±{found.margin:g}"
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
        return REPRODUCED, f"no drop as large as {found.margin:g}"
    if found.high < 0:
        return NOT_REPRODUCED, "all of it below zero"
    return OPEN, f"which does not exclude a drop of {number(-found.low, found.digits)}"


def near(found: Measured, printed: float) -> tuple[str, str]:
    """The whole interval lies within the margin around the printed number."""
    if _inside(found, printed):
        return REPRODUCED, f"all of it within {found.margin:g} of the printed {printed:.3f}"
    if found.low >= printed + found.margin or found.high <= printed - found.margin:
        return NOT_REPRODUCED, f"all of it further than {found.margin:g} from the printed {printed:.3f}"
    return OPEN, f"not all of it within {found.margin:g} of the printed {printed:.3f}"


def judge_study(
    statistic: Callable[[Any], tuple[Measured, ...]] | str, criterion: Criterion | None, printed: str, results: Any
) -> Verdict:
    """A statement against a study. A text in place of a statistic says why no study answers it.

    Where several numbers are measured all have to agree: one that is not reproduced settles it, one that is open
    leaves it open.
    """
    if isinstance(statistic, str):
        return Verdict(NOT_RUN, statistic)
    if results is None:
        return Verdict(NOT_RUN, NO_STUDY)
    try:
        found = statistic(results)
    except NotRun as reason:
        return Verdict(NOT_RUN, str(reason))
    value = (span(printed).low + span(printed).high) / 2 if criterion is near else np.nan
    ruled = [(one, *criterion(one, value)) for one in found]
    words = [word for _, word, _ in ruled]
    word = next((word for word in (NOT_REPRODUCED, OPEN) if word in words), REPRODUCED)
    telling = [(one, why) for one, w, why in ruled if w == word]
    reason = "; ".join(f"{one}, {why}" for one, why in telling)
    if len(telling) < len(found):
        reason = f"{len(telling)} of {len(found)}: {reason}"
    return Verdict(word, reason, tuple(dict.fromkeys(name for one in found for name in one.models)))


def judge_numbers(printed: Mapping[str, str], derived: Iterable[Derived]) -> Verdict:
    """Printed numbers against those worked out from others; several ways to one number need not all meet it."""
    ways: dict[str, list[Derived]] = {}
    for one in derived:
        ways.setdefault(one.name, []).append(one)
    if not ways:
        return Verdict(UNCHECKED)
    word, reasons = CONSISTENT, []
    for name, found in ways.items():
        meeting = [one for one in found if any(allowed.meets(span(printed[name])) for allowed in one.spans)]
        if not meeting:
            word = INCONSISTENT
        shown = meeting or found
        reasons.append(f"{name} {printed[name]}: {listed([_said(one, span(printed[name])) for one in shown])}")
    return Verdict(word, "; ".join(reasons))


def judge_repeats(printed: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> Verdict:
    """Printed numbers against what other places (`others`, by place) print of the same statistic."""
    shared = [(place, name, text[name]) for place, text in others.items() for name in printed if name in text]
    if not shared:
        return Verdict(UNCHECKED)
    apart = [one for one in shared if not _repeats(span(one[2]), span(printed[one[1]]))]
    told = dict.fromkeys(f"{place} prints {text}" for place, _, text in apart or shared)
    return Verdict(INCONSISTENT if apart else CONSISTENT, "; ".join(told))


def both(first: Verdict, second: Verdict) -> Verdict:
    """Two checks of one kind as one: what does not agree in either does not agree."""
    told = [one for one in (first, second) if one.word != UNCHECKED]
    if not told:
        return first
    apart = [one for one in told if one.word == INCONSISTENT]
    return Verdict((apart or told)[0].word, "; ".join(one.reason for one in apart or told))


def _repeats(a: Span, b: Span) -> bool:
    """Whether one number can be printed in both ways; the one tie at which two roundings touch does not count."""
    both = a & b
    return both.high - both.low > SLACK


def _said(one: Derived, printed: Span) -> str:
    """What a Derived allows, in words: the span nearest to what is printed, or from the first to the last."""
    nearest = min(one.spans, key=lambda allowed: max(allowed.low - printed.high, printed.low - allowed.high))
    first, last = (one.spans[0], one.spans[-1]) if one.whole else (nearest, nearest)
    low, high = ((number(n, one.digits) if one.digits else f"{n:,.0f}") for n in (first.low, last.high))
    return f"{low if low == high else f'{low} to {high}'} from {one.source}"


def _inside(found: Measured, centre: float) -> bool:
    return centre - found.margin < found.low and found.high < centre + found.margin


def _not_excluded(found: Measured) -> str:
    far = number(max(abs(found.low), abs(found.high)), found.digits)
    return f"which does not exclude {far}, and ±{found.margin:g} is what counts as nothing"


def _mirrored(found: Measured) -> Measured:
    return Measured(found.what, -found.value, -found.high, -found.low, found.over, found.margin)
