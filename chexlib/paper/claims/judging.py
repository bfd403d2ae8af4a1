"""How a statement is judged: against other printed numbers and counts, and against what a study measured.

Numbers agree where their spans meet (`chexlib.paper.rounding`). A study's measurement has an interval, and a criterion
(`criteria`) asks where all of it lies. What only some of the paper's architectures show leaves a statement about all of
them open, and where a printed size was not judged the reason says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chexlib.paper.claims.criteria import NOT_REPRODUCED, OPEN, REPRODUCED, Criterion, beyond, mostly_above, near
from chexlib.paper.claims.measured import Measured, NotRun
from chexlib.paper.rounding import SLACK, Span, middle, span
from chexlib.paper.wording import listed, number

CONSISTENT, INCONSISTENT, UNCHECKED = "consistent", "not consistent", "nothing to check"
NOT_RUN, NO_STUDY = "not run", "no study was asked"
STUDY_WORDS = (REPRODUCED, NOT_REPRODUCED, OPEN, NOT_RUN)
CHECK_WORDS = (CONSISTENT, INCONSISTENT, UNCHECKED)


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


def judge_study(
    statistic: Callable[[Any], tuple[Measured, ...]] | str, criterion: Criterion | None, printed: str, results: Any
) -> Verdict:
    """A statement against a study. A text in place of a statistic says why no study answers it.

    `printed` is what the paper prints of the number that is measured, if anything. Where several are measured all have
    to agree: one that is not reproduced settles it, one that is open leaves it open. With `mostly_above` more than half
    decide. What is over a part of the paper's architectures leaves it open.
    """
    if isinstance(statistic, str):
        return Verdict(NOT_RUN, statistic)
    if results is None:
        return Verdict(NOT_RUN, NO_STUDY)
    try:
        found = statistic(results)
    except NotRun as reason:
        return Verdict(NOT_RUN, str(reason))
    sized = criterion in (near, beyond)
    ruled = [(one, *criterion(one, middle(printed) if sized else np.nan)) for one in found]
    word, reason = (_most if criterion is mostly_above else _all)(ruled)
    if printed and not sized and word != OPEN:
        reason += f"; size not judged: printed {printed}"
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


def _all(ruled: list[tuple[Measured, str, str]]) -> tuple[str, str]:
    """One verdict of several, all of which have to agree; each measurement with its word and what decided it."""
    ruled = [
        (one, OPEN, f"{why}, but what {one.n} do does not settle what all {one.of} do")
        if one.n < one.of and word != OPEN
        else (one, word, why)
        for one, word, why in ruled
    ]
    words = [word for _, word, _ in ruled]
    word = next((word for word in (NOT_REPRODUCED, OPEN) if word in words), REPRODUCED)
    telling = [(one, why) for one, w, why in ruled if w == word]
    reason = "; ".join(f"{one}, {why}" for one, why in telling)
    return word, f"{len(telling)} of {len(ruled)}: {reason}" if len(telling) < len(ruled) else reason


def _most(ruled: list[tuple[Measured, str, str]]) -> tuple[str, str]:
    """One verdict of several, by majority of the paper's architectures; one that was not trained is an open one."""
    names = {word: [one.what for one, w, _ in ruled if w == word] for word in (REPRODUCED, NOT_REPRODUCED, OPEN)}
    first = ruled[0][0]
    word = REPRODUCED if 2 * len(names[REPRODUCED]) > first.of else OPEN
    if 2 * len(names[NOT_REPRODUCED]) >= first.of:
        word = NOT_REPRODUCED
    means = {REPRODUCED: "above zero", NOT_REPRODUCED: "below it or nothing", OPEN: "open"}
    said = "; ".join(f"{len(some)} {means[w]} ({listed(some)})" for w, some in names.items() if some)
    over = " or ".join(dict.fromkeys(one.over for one, _, _ in ruled))
    return word, f"of {first.scope} over {over}: {said}"


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
