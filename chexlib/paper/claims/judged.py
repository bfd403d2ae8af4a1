"""The ledger: every statement judged three ways, for the command line, for machines, and for the book.

Against the paper's own numbers (its tables, and what it prints of the same statistic elsewhere), against counted
architectures, and against a study. No study's verdict says that the paper is right or wrong: it says what came out on
the images at hand.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from chexlib.paper.claims.judging import (
    CHECK_WORDS,
    CONSISTENT,
    INCONSISTENT,
    NO_STUDY,
    NOT_RUN,
    STUDY_WORDS,
    UNCHECKED,
    Verdict,
    both,
    judge_numbers,
    judge_repeats,
    judge_study,
)
from chexlib.paper.claims.statement import CHEXTRANSFER
from chexlib.paper.claims.statements import BY_ID, STATEMENTS, Statement
from chexlib.paper.notes import Missing, Note, says_missing
from chexlib.paper.wording import DATA_NAMES, counted, listed

JUDGES = {"own": "own numbers", "count": "recount", "study": "study"}
"""The three, by the field of a Judged, and what they are called."""


@dataclass(frozen=True)
class Judged:
    """A statement with its three verdicts, and the ids of the study's runs behind the third."""

    statement: Statement
    own: Verdict
    count: Verdict
    study: Verdict
    runs: tuple[str, ...] = ()


def judge(statement: Statement, results: Any = None) -> Judged:
    """One statement, against a study's Results, or against none."""
    own = both(
        judge_numbers(statement.checked, statement.own(statement.checked) if statement.own else ()),
        judge_repeats(statement.printed, _elsewhere(statement)),
    )
    count = judge_numbers(statement.checked, statement.count(statement.checked) if statement.count else ())
    study = judge_study(statement.study, statement.criterion, statement.measured, results)
    return Judged(statement, own, count, study, _runs(results, study.models))


def ledger(results: Any = None) -> list[Judged]:
    """All statements, in the papers' order. `results`: a Results, None, or a Missing, whose reason is told."""
    if isinstance(results, Missing):
        return [_unasked(judge(row), results.reason) for row in STATEMENTS]
    return [judge(row, results) for row in STATEMENTS]


def records(judged: Iterable[Judged]) -> list[dict]:
    """The ledger for machines, a dict a statement."""
    return [
        {
            "id": one.statement.id,
            "paper": one.statement.paper,
            "place": one.statement.place,
            "says": one.statement.says,
            "printed": dict(one.statement.printed),
            "reading": dict(one.statement.reading),
            "statistic": one.statement.statistic,
            "criterion": criterion_of(one.statement),
            **{name: {"verdict": getattr(one, name).word, "reason": getattr(one, name).reason} for name in JUDGES},
            "page": one.statement.page,
            "runs": list(one.runs),
        }
        for one in judged
    ]


def frame(judged: Iterable[Judged]) -> pd.DataFrame:
    """The same as a table of texts, one row a statement; runs are joined by spaces."""
    judged = list(judged)
    rows = []
    for row, one in zip(records(judged), judged, strict=True):
        flat = {
            f"{name}{end}": row[name][key] for name in JUDGES for end, key in (("", "verdict"), ("_reason", "reason"))
        }
        read = ", ".join(f"{name} {text}" for name, text in one.statement.reading.items())
        rows.append(row | flat | {"printed": one.statement.numbers, "reading": read, "runs": " ".join(one.runs)})
    return pd.DataFrame(rows)


def tally(judged: Iterable[Judged]) -> dict[str, dict[str, int]]:
    """How often each judge gave each of its words."""
    judged = list(judged)
    words = {"own": CHECK_WORDS, "count": CHECK_WORDS, "study": STUDY_WORDS}
    counts = {name: Counter(getattr(one, name).word for one in judged) for name in JUDGES}
    return {name: {word: counts[name][word] for word in words[name]} for name in JUDGES}


def text(judged: Iterable[Judged], width: int = 100) -> str:
    """The ledger to read on a terminal: grouped by paper and place, the counts of each verdict at the end."""
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(f"{one.statement.paper}, {section_of(one.statement)}", []).append(one)
    judged, lines = [one for members in groups.values() for one in members], []
    for title, members in groups.items():
        lines += ["", title, ""]
        for one in members:
            lines += _paragraph(one, width)
    lines += ["", counted(len(judged), "statement")]
    for name, words in tally(judged).items():
        said = ", ".join(f"{n} {word}" for word, n in words.items())
        if name == "study" and any(one.study.reason == NO_STUDY for one in judged):
            said = "none asked (--study STUDY)"
        lines.append(f"  {JUDGES[name] + ':':<13}{said}")
    return "\n".join(lines[1:])


@says_missing
def summary(results: Any) -> Note:
    """Answer of notebook 07: how many of CheXtransfer's statements the study could judge, and how."""
    judged = [one for one in ledger(results) if one.statement.paper == CHEXTRANSFER]
    words = tally(judged)["study"]
    asked = [one for one in judged if not isinstance(one.statement.study, str)]
    lacking = sum(one.study.word == NOT_RUN for one in asked)
    on = DATA_NAMES.get(results.dataset, results.dataset)
    judged_words = ", ".join(f"{n} {word}" for word, n in words.items() if word != NOT_RUN)
    return Note(
        f"Of {counted(len(judged), 'statement')} of the paper, {len(asked)} ask something that a study can answer. "
        f"Study {results.name}, on {on}: {judged_words}"
        + (f"; for the other {lacking} it lacks what they are about." if lacking else ".")
    )


def consistency() -> Note:
    """How many of CheXtransfer's statements agree with its other numbers and with counted architectures.

    A number that is printed in several places is a statement in each: how many numbers there are is told as well.
    """
    judged = [one for one in ledger() if one.statement.paper == CHEXTRANSFER]
    found = tally(judged)
    told = []
    for name, what in (
        ("own", "what else it or its sources print"),
        ("count", "networks counted with one 14-finding head"),
    ):
        yes, no = found[name][CONSISTENT], found[name][INCONSISTENT]
        apart = len(disagreements(judged, name))
        told.append(
            f"{yes + no} can be held against {what}, and {no} of these {'is' if no == 1 else 'are'} not consistent "
            f"with it, about {counted(apart, 'number')}"
        )
    return Note(
        f"Of {counted(len(judged), 'statement')} of the paper, {'; '.join(told)}. A number that is printed in several "
        "places is a statement in each."
    )


def disagreements(judged: Iterable[Judged], name: str) -> list[list[str]]:
    """Ids of the statements that are not consistent by a judge ("own", "count"), those about one number together."""
    found: dict[str, list[str]] = {}
    for one in judged:
        if getattr(one, name).word == INCONSISTENT:
            about = repr(_key(one.statement) if name == "own" else _call(one.statement.count))
            found.setdefault(about, []).append(one.statement.id)
    return list(found.values())


def printed(*ids: str) -> Note:
    """What CheXtransfer prints of some statements, in a sentence, for a notebook to set beside its own numbers."""
    rows = [BY_ID[name] for name in ids]
    places = listed(list(dict.fromkeys(row.place for row in rows)))
    said = "; ".join(f"{_within_a_sentence(row.says)} ({row.numbers})" for row in rows)
    return Note(f"For comparison, the paper (section {places}, CheXpert): {said}.")


def _within_a_sentence(text: str) -> str:
    """Its first word with a small letter, unless that is a network's name: InceptionV3, DenseNet."""
    word = text.split()[0]
    return text[0].lower() + text[1:] if word[1:].islower() else text


def section_of(statement: Statement) -> str:
    """Where a statement stands: "section 4.2", "Table 1", "abstract"."""
    return f"section {statement.place}" if statement.place[0].isdigit() else statement.place


def criterion_of(statement: Statement) -> str:
    """What the study's interval has to do, in words; empty where no study can answer."""
    return (statement.criterion.__doc__ or "").strip() if statement.criterion else ""


def _paragraph(one: Judged, width: int) -> list[str]:
    """A statement with what its judges say; one who has nothing to say is left out."""
    row = one.statement
    says = f"{row.says}: {row.shown}" if row.shown else row.says
    lines = textwrap.wrap(f"{row.id}  {says}", width, initial_indent="  ", subsequent_indent="    ")
    for name, title in JUDGES.items():
        verdict = getattr(one, name)
        if verdict.word != UNCHECKED and verdict.reason != NO_STUDY:
            said = f"{title + ':':<13}{verdict.word}" + f"; {verdict.reason}" * bool(verdict.reason)
            lines += textwrap.wrap(said, width, initial_indent=" " * 6, subsequent_indent=" " * 19)
    return lines


def _elsewhere(statement: Statement) -> dict[str, dict[str, str]]:
    """What other places print of the statistic that a statement names, by place."""
    if isinstance(statement.study, str):
        return {}
    mine = _key(statement)
    return {
        section_of(row): dict(row.printed)
        for row in STATEMENTS
        if row.id != statement.id and row.paper == statement.paper and _key(row) == mine
    }


def _key(statement: Statement) -> tuple:
    """What number a statement is of: a study's statistic, or, where there is none, what else works it out."""
    return _call(statement.own if isinstance(statement.study, str) else statement.study)


def _call(function: Any) -> tuple:
    """A function with its arguments, to compare."""
    if isinstance(function, partial):
        return (function.func, *sorted(function.keywords.items()))
    return (function,)


def _runs(results: Any, models: Iterable[str]) -> tuple[str, ...]:
    if results is None or not models:
        return ()
    names = results.runs["label"] + " · " + results.runs["init"]
    return tuple(results.runs.loc[names.isin(list(models)), "run_id"])


def _unasked(one: Judged, reason: str) -> Judged:
    asked = not isinstance(one.statement.study, str)
    return Judged(one.statement, one.own, one.count, Verdict(one.study.word, reason) if asked else one.study)
