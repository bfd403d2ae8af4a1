"""A study held against the paper's protocol (`chexlib.paper.points`), point by point: every deviation shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.points import DEVIATES, POINTS, PRINTED, READING, SECTION, SILENT, Point, Training
from chexlib.paper.shown import Tables
from chexlib.paper.wording import counted, listed
from chexlib.study import load_study


@dataclass(frozen=True)
class Held:
    """A point with what a study's runs have: each value with how many runs have it, and the gravest of their marks."""

    point: Point
    values: Mapping[str, int]

    @property
    def text(self) -> str:
        """The value, or all with how many runs have each."""
        if len(self.values) == 1:
            return next(iter(self.values))
        return ", ".join(f"{value} ({counted(n, 'run')})" for value, n in self.values.items())

    @property
    def mark(self) -> str:
        """The gravest mark of the values."""
        marks = {self.point.mark(value) for value in self.values}
        return next(mark for mark in (DEVIATES, READING, SILENT, PRINTED) if mark in marks)

    @property
    def differs(self) -> bool:
        """Whether a run departs from the paper, or, where that is silent, from our choice."""
        own = self.mark == SILENT and self.point.ours and set(self.values) != {self.point.ours}
        return self.mark == DEVIATES or bool(own)

    def __str__(self) -> str:
        """What is there and what should be: "epochs (6; the paper: 3)"."""
        whose = "the paper" if self.point.paper else "ours"
        return f"{self.name} ({self.text}; {whose}: {self.point.wanted})"

    @property
    def name(self) -> str:
        """The point's, inside a sentence."""
        return self.point.what[0].lower() + self.point.what[1:]


def held(runs: Iterable[Training]) -> list[Held]:
    """Every point with the runs' values; a point of which no run says anything is left out."""
    runs = list(runs)
    counts = [(point, Counter(value for run in runs if (value := point.value(run)))) for point in POINTS]
    return [Held(point, values) for point, values in counts if values]


def trainings(results: Any) -> list[Training]:
    """The finished runs of a Results, in its order."""
    return [Training(run.spec, tuple(results.tasks), run.provenance) for run in results.finished]


@skips_missing
def table(results: Any, folded: bool = False) -> Tables:
    """What the paper says of each point, what the study's runs have, and how that compares; for display."""
    rows = held(trainings(results))
    shown = {
        row.point.what: {
            f"The paper (section {SECTION})": _paper(row.point),
            f"Study {results.name}": row.text,
            "": _verdict(row),
        }
        for row in rows
    }
    title = f"The paper's protocol, point by point: the study deviates in {_share(rows)}" if folded else ""
    return Tables({title: pd.DataFrame.from_dict(shown, orient="index").rename_axis(columns="Point")}, folded)


@skips_missing
def deviations(results: Any) -> Note:
    """In how many points the study deviates from the paper's protocol, and in which."""
    return _deviations(f"Study {results.name}", held(trainings(results)))


def planned(study: str) -> Note:
    """The same of a study as it is planned, trained or not; what only a finished run knows is not counted."""
    plan = load_study(study)
    return _deviations(f"Study {plan.name}, as planned,", held(Training(spec, plan.tasks) for spec in plan.specs()))


def _deviations(subject: str, rows: list[Held]) -> Note:
    departs, read, silent = ([row for row in rows if row.mark == mark] for mark in (DEVIATES, READING, SILENT))
    own = [row for row in silent if row.differs]
    text = f"{subject} deviates from the paper's protocol in {_share(rows)}{_list(departs)}."
    if read:
        text += f" In {len(read)} it follows the paper as we read it: {listed([row.name for row in read])}."
    text += f" The paper leaves {counted(len(silent), 'more point')} open"
    if own:
        text += f"; in {len(own)} of these the study departs from our own choice{_list(own)}"
    return Note(f"{text}.")


def _share(rows: list[Held]) -> str:
    stated = [row for row in rows if row.point.paper]
    return f"{sum(row.mark == DEVIATES for row in rows) or 'none'} of the {len(stated)} points that the paper states"


def _list(rows: list[Held]) -> str:
    return f": {listed(rows)}" if rows else ""


def _verdict(row: Held) -> str:
    if row.mark == READING:
        return f"{row.mark}: {row.point.why}"
    return f"{row.mark}, and we chose otherwise" if row.mark == SILENT and row.differs else row.mark


def _paper(point: Point) -> str:
    return point.paper or ("not said" + f"; our choice: {point.ours}" * bool(point.ours))
