"""The ledger: the papers' statements (statements.yaml), each held against other numbers, and against a study.

A statement's criterion says what the one verdict on a study's measurement (`chexlib.results.Estimate`) has to be; where
it says that something is not significant, that is one verdict, and being the same to the margin another. None of this
says that a paper is right or wrong: it says what came out on the images at hand, and phantoms reproduce nothing.
"""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain
from math import isfinite, isnan, nan
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

from chexlib.errors import UserError, nearest
from chexlib.results import Estimate, Results, number
from chexlib.stats import holm
from chexpaper.claims.checks import allowed, counted, own
from chexpaper.claims.measurements import CHEXTRANSFER, Measured
from chexpaper.claims.printed import SLACK, Span, middle, span
from chexpaper.claims.transfusion import TRANSFUSION

MEASUREMENTS = {one.__name__: one for one in (*CHEXTRANSFER, *TRANSFUSION)}
"""What a statement's `measurement` can call, by name."""
STATEMENTS = Path(__file__).with_name("statements.yaml")
PAPER = "CheXtransfer"
REPRODUCED, NOT_REPRODUCED, OPEN = "reproduced", "not reproduced", "cannot tell at this size"
ON_PHANTOMS = {REPRODUCED: "holds on phantoms", NOT_REPRODUCED: "does not hold on phantoms"}
"""What is said instead where the images are not of patients."""
NOT_RUN, UNTESTABLE = "not run", "not testable here"
CONSISTENT, INCONSISTENT, UNCHECKED = "consistent", "not consistent", "nothing to check"
DRAWS_A_TEST = 100
"""Bootstrap draws for each test that Holm's method adjusts: the least p that they allow, 2 / (R + 1), is 0.02 then."""


@dataclass(frozen=True)
class Criterion:
    """What an Estimate has to do for a statement to be reproduced, and what speaks against it; between, it is open.

    less_printed: asked of the estimate less the printed number. most: of more than half of several, not of all.
    absence: it takes no evidence to meet it, so being the same to the margin is asked as well, as a second verdict.
    """

    words: str
    reproduced: Callable[[Estimate], bool]
    contradicted: Callable[[Estimate], bool]
    less_printed: bool = False
    most: bool = False
    absence: bool = False


def _is(*verdicts: str) -> Callable[[Estimate], bool]:
    return lambda estimate: estimate.verdict in verdicts


def _beyond(estimate: Estimate) -> bool:
    return estimate.low >= estimate.margin or estimate.high <= -estimate.margin


def _below(estimate: Estimate) -> bool:
    return estimate.high < 0


def _above(estimate: Estimate) -> bool:
    return estimate.low > 0


def _not_significant(words: str, significant: Callable[[Estimate], bool]) -> Criterion:
    return Criterion(words, lambda estimate: not significant(estimate), significant, absence=True)


CRITERIA = {
    "higher": Criterion("the verdict is higher", _is("higher"), _is("lower", "same")),
    "lower": Criterion("the verdict is lower", _is("lower"), _is("higher", "same")),
    "same": Criterion("the verdict is the same", _is("same"), _is("higher", "lower")),
    "small": Criterion("the verdict is the same; only an interval beyond the margin denies it", _is("same"), _beyond),
    "significant drop": Criterion("the interval lies below 0", _below, _is("higher", "same")),
    "no significant drop": _not_significant("the interval does not lie below 0", _below),
    "no significant gain": _not_significant("the interval does not lie above 0", _above),
    "not significant": _not_significant("0 is in the interval", lambda e: _below(e) or _above(e)),
    "no gain": Criterion("the interval excludes a gain of the margin", lambda e: e.high < e.margin, _is("higher")),
    "near": Criterion("the same as the printed number, to the margin", _is("same"), _beyond, less_printed=True),
    "more than": Criterion("the interval lies above the printed number", _above, _below, less_printed=True),
    "most higher": Criterion(
        "the verdict is higher for more than half", _is("higher"), _is("lower", "same"), most=True
    ),
    UNTESTABLE: Criterion("no study's runs can tell", _is(), _is()),
}


@dataclass(frozen=True)
class Statement:
    """One statement of a paper, in our words, with its numbers as printed.

    statistic: which of the numbers a study measures. reading: what we read words as: "larger" as "> 0". own, count: the
    same numbers from others (`checks`). measurement: a study's, with its arguments. margin: within it the measurement
    counts as none (that of the study's AUCs when None). page: the notebook that shows it. reason: why no study tells.
    """

    id: str
    place: str
    statement: str
    criterion: str
    paper: str = PAPER
    statistic: str = ""
    printed: Mapping[str, str] = field(default_factory=dict)
    reading: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    count: Mapping[str, str] = field(default_factory=dict)
    measurement: str = ""
    margin: float | None = None
    page: str = ""
    reason: str = ""

    def problem(self) -> str:
        """What is wrong with it; empty where nothing is."""
        name, *words = self.measurement.split() or [""]
        numbers = {**self.printed, **self.reading}
        if unquoted := [name for name, text in numbers.items() if not isinstance(text, str)]:
            return f"{unquoted[0]} has to stand in quotes, which keep its digits"
        if self.criterion not in CRITERIA:
            return f"criterion {self.criterion!r} is none of {', '.join(CRITERIA)}"
        if (self.criterion == UNTESTABLE) == bool(self.measurement) or (not self.measurement and not self.reason):
            return f"a measurement, or criterion {UNTESTABLE!r} with a reason, is needed"
        if self.measurement and name not in MEASUREMENTS:
            return f"measurement {name!r} is none of {', '.join(MEASUREMENTS)}"
        try:
            if self.measurement:
                inspect.signature(MEASUREMENTS[name]).bind(None, *words)
            for check, functions in ((self.own, own()), (self.count, counted())):
                for of, expression in check.items():
                    span(numbers[of]), allowed(expression, functions)
        except KeyError as problem:
            return f"a check is of {problem}, which is not printed"
        except (TypeError, ValueError, ArithmeticError) as problem:
            return f"{problem}"
        if CRITERIA[self.criterion].less_printed and self.statistic not in self.printed:
            return f"criterion {self.criterion!r} needs the number {self.statistic!r} to be printed"
        return ""


class Check(NamedTuple):
    """What other numbers say of the printed ones: consistent or not, and the values that they allow."""

    verdict: str = UNCHECKED
    allowed: str = ""


@dataclass(frozen=True)
class Judged:
    """A statement with its verdicts: of a study, with what was measured, of its own numbers, and of the count.

    equivalence: the second verdict on an absence. words: the verdict on each of `measured`.
    """

    statement: Statement
    verdict: str
    reason: str
    measured: tuple[Measured, ...]
    own: Check
    count: Check
    runs: tuple[str, ...] = ()
    equivalence: str = ""
    words: tuple[str, ...] = ()


def load(path: str | Path = STATEMENTS, paper: str = "") -> list[Statement]:
    """The statements of a file, in its order; of one paper, where one is asked for.

    UserError where a statement is not right, which names the file and the id, and for a paper that the file lacks.
    """
    known, found = [one.name for one in fields(Statement)], {}
    for n, entry in enumerate(yaml.safe_load(Path(path).read_text(encoding="utf-8")), start=1):
        id = entry.get("id", f"entry {n}")
        strange = [name for name in entry if name not in known]
        lacking = [name for name in ("id", "place", "statement", "criterion") if name not in entry]
        if strange or lacking:
            what = f"unknown field {strange[0]!r}" if strange else f"no {lacking[0]}"
            raise UserError(f"{path}: {id}: {what}; the fields are {', '.join(known)}")
        if id in found:
            raise UserError(f"{path}: {id}: two statements have this id")
        found[id] = Statement(**entry)
        if problem := found[id].problem():
            raise UserError(f"{path}: {id}: {problem}")
    papers = dict.fromkeys(one.paper for one in found.values())
    if paper and paper not in papers:
        raise UserError(f"paper {paper!r} has no statements in {path}: {nearest(paper, papers)}")
    return [one for one in found.values() if paper in ("", one.paper)]


def ledger(results: Results | None = None, statements: Iterable[Statement] | None = None) -> list[Judged]:
    """All statements judged, against a study or against none; what several share is measured once.

    p values are of DRAWS_A_TEST draws a test, where the study lets draw so many; intervals are of the study's draws.
    """
    statements = load() if statements is None else list(statements)
    asked = dict.fromkeys(one.measurement for one in statements if one.measurement) if results else {}
    measured = _measured(results, asked)
    tests = sum(isfinite(one.p) for one in distinct(chain(*measured.values())))
    if tests and results.n_boot < DRAWS_A_TEST * tests:
        again = _measured(replace(results, n_boot=DRAWS_A_TEST * tests), asked)
        p = {one.what: one.p for one in chain(*again.values())}
        measured = {name: [replace(one, p=p[one.what]) for one in found] for name, found in measured.items()}
    return [_judged(one, measured.get(one.measurement, []), results, statements) for one in statements]


def _measured(results: Results | None, asked: Iterable[str]) -> dict[str, list[Measured]]:
    return {name: MEASUREMENTS[name.split()[0]](results, *name.split()[1:]) for name in asked}


def distinct(measured: Iterable[Measured]) -> list[Measured]:
    """Each number once, however many statements and measurements it is part of."""
    return list({one.what: one for one in measured}.values())


def _judged(row: Statement, found: list[Measured], results: Results | None, statements: list[Statement]) -> Judged:
    if row.margin is not None:
        found = [replace(one, estimate=replace(one.estimate, margin=row.margin)) for one in found]
    numbers = {**row.printed, **row.reading}
    elsewhere = [one for one in statements if one is not row and one.paper == row.paper and _about(one) == _about(row)]
    checks = [_compared(numbers, row.own, own()), _repeated(row.printed, elsewhere)]
    said = [one for one in checks if one.verdict == INCONSISTENT] or [one for one in checks if one.allowed] or checks
    behind = {name for one in found for name in one.networks}
    runs = results.runs.loc[results.runs["model"].isin(behind), "run_id"] if behind else ()
    both = Check(said[0].verdict, "; ".join(one.allowed for one in said if one.allowed))
    criterion, on = CRITERIA[row.criterion], ON_PHANTOMS if results and results.dataset == "phantom" else {}
    verdict, reason = judge(row, found)
    equivalence = judge(replace(row, criterion="same"), found)[0] if criterion.absence else ""
    words = [verdict if criterion.most else _word(row, one) for one in found]
    return Judged(row, on.get(verdict, verdict), reason, tuple(found), both,
                  _compared(numbers, row.count, counted()), tuple(runs),
                  on.get(equivalence, equivalence), tuple(on.get(word, word) for word in words))  # fmt: skip


def judge(row: Statement, found: list[Measured]) -> tuple[str, str]:
    """The verdict on a statement, given what was measured for it, and why there is none.

    Where several were measured all have to agree, or, for a criterion of most, more than half of the paper's
    architectures. What only some of these show does not settle what all do.
    """
    if row.criterion == UNTESTABLE:
        return UNTESTABLE, row.reason
    if missing := [one.estimate.missing for one in found if not one.estimate]:
        return NOT_RUN, missing[0]
    if not found:
        return NOT_RUN, "no study was asked"
    if few := [one.estimate.few for one in found if one.estimate.few]:
        return OPEN, few[0]
    words = [_word(row, one) for one in found]
    if CRITERIA[row.criterion].most:
        half = max(one.of for one in found) / 2
        if words.count(NOT_REPRODUCED) >= half:
            return NOT_REPRODUCED, ""
        return REPRODUCED if words.count(REPRODUCED) > half else OPEN, ""
    return next((word for word in (NOT_REPRODUCED, OPEN) if word in words), REPRODUCED), ""


def _word(row: Statement, one: Measured) -> str:
    """The verdict on one of the numbers that were measured for a statement."""
    if not one.estimate:
        return NOT_RUN
    criterion = CRITERIA[row.criterion]
    if one.estimate.few or (one.n < one.of and not criterion.most):
        return OPEN
    less = middle(row.printed[row.statistic]) if criterion.less_printed else 0.0
    estimate = replace(one.estimate, low=one.estimate.low - less, high=one.estimate.high - less)
    if isnan(estimate.low) or isnan(estimate.high):
        return OPEN
    return (
        REPRODUCED if criterion.reproduced(estimate) else NOT_REPRODUCED if criterion.contradicted(estimate) else OPEN
    )


def measurements(judged: Iterable[Judged]) -> pd.DataFrame:
    """One row a number that statements ask of a study, indexed by what it is, however many of them rest on it.

    Columns: statements (how many), verdict, estimate, p, holm. The verdict is the gravest on it in any statement, of
    which each number is judged by itself; what is merely not significant, and not shown to be the same, cannot be told.
    p: two-sided, of its being 0, NaN where that is no question or too few rows tell. holm: adjusted for all of the
    table that have one, whatever their verdict.
    """
    said, found = defaultdict(list), {}
    for one in judged:
        words = one.words or ([one.verdict] if one.statement.measurement else [])
        for what, word in zip([each.what for each in one.measured] or [one.statement.measurement], words, strict=False):
            unproven = one.equivalence == OPEN and word in (REPRODUCED, ON_PHANTOMS[REPRODUCED])
            said[what].append(OPEN if unproven else word)
        found |= {each.what: each for each in one.measured}
    grave = [NOT_REPRODUCED, ON_PHANTOMS[NOT_REPRODUCED], OPEN, REPRODUCED, ON_PHANTOMS[REPRODUCED], NOT_RUN]
    rows = {
        what: (len(words), min(words, key=grave.index), found[what].estimate if what in found else None,
               found[what].p if what in found else nan)
        for what, words in said.items()
    }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["statements", "verdict", "estimate", "p"])
    return table.assign(holm=holm(table["p"].astype(float)))


def records(judged: Iterable[Judged]) -> list[dict]:
    """The ledger for machines, a dict a statement: its fields, the verdicts, and what was measured."""
    judged = list(judged)
    adjusted = measurements(judged)["holm"]
    return [
        {name: value for name, value in asdict(one.statement).items() if name not in ("own", "count", "reason")}
        | {
            "verdict": one.verdict,
            "equivalence": one.equivalence,
            "reason": one.reason,
            "measured": [
                {"what": each.what, "n": each.n, "of": each.of, "verdict": each.estimate.verdict}
                | {"p": _or_none(each.p), "holm": _or_none(adjusted[each.what])}
                | {name: getattr(each.estimate, name) for name in ("value", "low", "high", "over")}
                for each in one.measured
                if each.estimate
            ],
            "own": one.own._asdict(),
            "count": one.count._asdict(),
            "runs": list(one.runs),
        }
        for one in judged
    ]


def frame(judged: Iterable[Judged]) -> pd.DataFrame:
    """The same to read and filter, a row a statement, indexed by id; all are texts, numbers as printed."""
    judged = list(judged)
    table = pd.DataFrame(records(judged)).set_index("id").drop(columns="margin")
    adjusted = measurements(judged)["holm"].map(lambda p: number(p, 4))
    at_hand = [[each for each in one.measured if each.estimate] for one in judged]
    table["measured"] = ["; ".join(map(str, some)) for some in at_hand]
    table["holm"] = ["; ".join(adjusted[each.what] for each in some) for some in at_hand]
    table["runs"] = table["runs"].map(" ".join)
    for name in ("printed", "reading"):
        table[name] = [", ".join(f"{of} {text}" for of, text in numbers.items()) for numbers in table[name]]
    for name in ("own", "count"):
        table[f"{name}_allowed"] = [check["allowed"] for check in table[name]]
        table[name] = [check["verdict"] for check in table[name]]
    return table


def text(judged: Iterable[Judged]) -> str:
    """The ledger to read on a terminal: a line a statement, and how often each verdict fell."""
    judged = list(judged)
    lines = [f"{'id':<26}{'study':<25}{'as equivalence':<25}{'own numbers':<18}{'recount':<18}statement"]
    for one in judged:
        checks = "".join(
            f"{'–' if check.verdict == UNCHECKED else check.verdict:<18}" for check in (one.own, one.count)
        )
        verdicts = f"{one.verdict:<25}{one.equivalence or '–':<25}{checks}"
        lines.append(f"{one.statement.id:<26}{verdicts}{one.statement.place}: {one.statement.statement}")
    for name, words in tally(judged).items():
        lines.append(f"{name}: {', '.join(f'{n} {word}' for word, n in words.items())}")
    return "\n".join(lines)


def tally(judged: Iterable[Judged]) -> dict[str, dict[str, int]]:
    """How often each verdict fell: on a measured number, on a statement, on their own numbers, and on the count.

    A number is counted once (`measurements`). "equivalence" counts the second verdicts, of statements of an absence.
    "holm" counts the numbers with a p, those below 0.05, and those that still are when adjusted by Holm's method.
    """
    judged = list(judged)
    table = measurements(judged)
    return {
        "measurements": _counted(table["verdict"]),
        "statements": _counted(one.verdict for one in judged),
        "equivalence": _counted(one.equivalence for one in judged if one.equivalence),
        "holm": {"tests": int(table["p"].count()), "with p < 0.05": int((table["p"] < 0.05).sum()),
                 "still so by Holm": int((table["holm"] < 0.05).sum())},
        "own": _counted(one.own.verdict for one in judged),
        "count": _counted(one.count.verdict for one in judged),
    }  # fmt: skip


def _counted(verdicts: Iterable[str]) -> dict[str, int]:
    """Verdicts that fell, in a fixed order."""
    counts = Counter(verdicts)
    order = (REPRODUCED, *ON_PHANTOMS.values(), NOT_REPRODUCED, OPEN, NOT_RUN, UNTESTABLE,
             CONSISTENT, INCONSISTENT, UNCHECKED)  # fmt: skip
    return {word: counts[word] for word in order if counts[word]}


def _or_none(p: float) -> float | None:
    return None if isnan(p) else p


def _about(row: Statement) -> object:
    """What number a statement prints: that of a measurement, or of what else gives it; itself where nothing does."""
    return row.measurement or tuple(row.own.items()) or row.id


def _compared(numbers: Mapping[str, str], checks: Mapping[str, str], functions: dict) -> Check:
    """Printed numbers against the values that other numbers allow."""
    word, told = CONSISTENT if checks else UNCHECKED, []
    for name, expression in checks.items():
        spans, printed = allowed(expression, functions), span(numbers[name])
        if not any(one.meets(printed) for one in spans):
            word = INCONSISTENT
        low, high = min(one.low for one in spans), max(one.high for one in spans)
        told.append(f"{name} {low:.4g}" + f" to {high:.4g}" * (high - low > SLACK))
    return Check(word, "; ".join(told))


def _repeated(printed: Mapping[str, str], elsewhere: list[Statement]) -> Check:
    """Printed numbers against what other places print of the same; a tie at which two roundings touch is apart."""
    pairs = [(other, name) for other in elsewhere for name in printed if name in other.printed]
    apart = [(other, name) for other, name in pairs if not _overlap(span(printed[name]), span(other.printed[name]))]
    told = "; ".join(f"{other.place}: {name} {other.printed[name]}" for other, name in apart or pairs)
    return Check(INCONSISTENT if apart else CONSISTENT if pairs else UNCHECKED, told)


def _overlap(a: Span, b: Span) -> bool:
    return (a & b).high - (a & b).low > SLACK
