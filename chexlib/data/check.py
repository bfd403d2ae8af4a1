"""Reads a data set before anyone trains on it: its label files, its images, and how much its splits can tell.

What may be found is a table, chexlib.data.defects; how pixels are judged is said in chexlib.data.look.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np

from chexlib.data.defects import FEW, KINDS, NOTE, PROBLEM, WARNING, defect, severity
from chexlib.data.labels import FINDINGS, TASKS, counts
from chexlib.data.listing import Listing, Problem
from chexlib.data.look import look, seen, unlisted

WIDTH = 100


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found; `found` holds warnings and notes, too."""

    images: int
    studies: int
    patients: int
    decoded: int  # images whose pixels were looked at
    found: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # of the reader: what it put right

    def of(self, level: str) -> list[Problem]:
        """What is a problem, a warning or a note."""
        return [problem for problem in self.found if severity(problem) == level]

    @property
    def exit_code(self) -> int:
        """1 where training refuses the set or its scores would be wrong, else 0: warnings and notes do not count."""
        return int(bool(self.of(PROBLEM)))

    @property
    def verdict(self) -> str:
        """One sentence."""
        looked = f"{self.images:,} images of {self.patients:,} patients"
        if self.decoded < self.images:
            looked += f", {self.decoded:,} of them decoded"
        kinds = ((level, len(self.of(level))) for level in (PROBLEM, WARNING))
        words = " and ".join(f"{n} kind{'s' * (n > 1)} of {level}" for level, n in kinds if n)
        state = "Not fit to train on" if self.exit_code else "Fit to train on"
        return f"{state}: {words or 'nothing wrong'} in {looked}."

    def text(self) -> str:
        """The summary for a terminal of 100 columns: for each kind how grave, how many, the first, and what to do."""
        lines = [line for note in self.notes for line in _wrapped(note)]
        for level in (PROBLEM, WARNING, NOTE):
            for problem in self.of(level):
                title = KINDS[problem.kind].title if problem.kind in KINDS else problem.kind
                lines += [f"{level:<8}{problem.count:>8,}  {title}", *_wrapped(problem.message, indent=18)]
        return "\n".join([*lines, *[""][: len(lines)], *_wrapped(self.verdict)])

    def to_json(self) -> dict:
        """All of it, every item too, for machines."""
        keys = ("images", "studies", "patients", "decoded", "verdict", "exit_code")
        found = [
            {
                "kind": problem.kind,
                "severity": severity(problem),
                "count": problem.count,
                "message": problem.message,
                "items": list(problem.items),
            }
            for problem in self.found
        ]
        return {key: getattr(self, key) for key in keys} | {"notes": list(self.notes), "problems": found}


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """Lines of at most WIDTH columns; a path is never cut."""
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False,
                         break_long_words=False)  # fmt: skip


def check(listing: Listing, pixels: bool = True, most: int | None = None, progress: bool = True) -> Report:
    """Everything that is wrong with a data set, in the order of KINDS.

    `pixels=False` looks at the label files alone. `most` decodes at most so many images, spread evenly over the
    listing, and duplicates are those among them; the report says how many they were.
    """
    table = listing.table
    found, decoded = [*listing.all_problems(), *_class_counts(listing)], 0
    if pixels:
        rows = np.flatnonzero(~table["image"].duplicated().to_numpy())
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
        looks = look(listing.images, rows, progress)
        decoded = int(looks.decoded.sum())
        found += [*seen(listing, looks), *unlisted(listing.images)]
    order = list(KINDS)
    found.sort(key=lambda problem: order.index(problem.kind) if problem.kind in order else -1)
    studies, patients = table["study"].nunique(), table["patient"].nunique()
    return Report(len(table), studies, patients, decoded, tuple(found), listing.notes)


def _class_counts(listing: Listing) -> list[Problem]:
    """Findings whose classes are too small for an AUC in a split; uncertain is left out, not mentioned is absent."""
    cases: dict[str, list[str]] = {"no-auc": [], "no-auc-elsewhere": [], "few": []}
    for split, table in listing.table.groupby("split", sort=False):
        covered, raw = listing.covered[split], table[list(FINDINGS)].to_numpy()
        for row in counts(raw, "u-ignore", "absent", listing.covers(table)).itertuples():
            rarer = min(row.target_1, row.target_0)
            if row.Index in covered and rarer < FEW:
                scored = split == "test" and row.Index in TASKS
                kind = "few" if rarer else "no-auc" if scored else "no-auc-elsewhere"
                cases[kind].append(f"{row.Index} in {split}: {row.target_1:,} positive, {row.target_0:,} negative")
    return [problem for kind, items in cases.items() for problem in defect(kind, items)]
