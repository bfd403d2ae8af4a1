"""What may be wrong with a data set, a row a kind: how it is called, what to do, and how much it matters.

A problem is what training refuses, or what makes scores wrong. A warning is worth a look, a note is worth knowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexlib.data.listing import Problem

PROBLEM, WARNING, NOTE = "problem", "warning", "note"

FEW = 10
"""Positives or negatives below which an interval of an AUC is too wide to tell anything."""


@dataclass(frozen=True)
class Kind:
    """One kind of defect, in words."""

    title: str
    advice: str
    severity: str = PROBLEM


KINDS = {
    "label": Kind("labels out of range", "write 1, 0, -1 or nothing"),
    "column": Kind("columns of no known finding", "rename them, or take them out"),
    "finding": Kind("findings that nobody knows", "write the data set's own names"),
    "path": Kind("paths that leave the folder", "write paths below the folder"),
    "split": Kind("rows of no known split", "write train, val or test"),
    "list": Kind("images in none or both of the official lists", "get both lists whole"),
    "study-twice": Kind("studies with several rows", "keep one row of each"),
    "disagree": Kind("studies on which two label files disagree", "remove the file that is wrong"),
    "listed-twice": Kind("images listed twice", "keep one row of each"),
    "leak": Kind("patients in several splits", "keep each in one split"),
    "missing": Kind("missing images", "complete the folder, or take their rows out"),
    "unreadable": Kind("unreadable images", "fetch them again, or leave them out: chexlib data pack --skip-bad"),
    "constant": Kind("constant images", "fetch them again, or take their rows out"),
    "inverted": Kind("inverted images", "look at them, and turn black and white round"),
    "duplicate-splits": Kind("duplicates in several splits", "keep those of the test set"),
    "duplicate-patients": Kind("duplicates of several patients", "find out whose they are"),
    "no-auc": Kind("tasks without an AUC", "put positives and negatives into the test set"),
    "view": Kind("views that nobody knows", "correct them: they count as not said", WARNING),
    "sex": Kind("sexes that nobody knows", "correct them: they count as not said", WARNING),
    "age": Kind("ages that are none", "correct them: they count as not said", WARNING),
    "box": Kind("boxes that are none", "correct them: they are left out", WARNING),
    "duplicate": Kind("duplicates of one patient", "keep one of each", WARNING),
    "upside-down": Kind("images upside down", "look at them, and turn them", WARNING),
    "small": Kind("images much smaller than usual", "look for the originals", WARNING),
    "no-auc-elsewhere": Kind("other findings without an AUC", "expect no score of them", WARNING),
    "few": Kind(f"findings with fewer than {FEW} of a class", "expect wide intervals", WARNING),
    "unlisted": Kind("image files that no row lists", "nothing, where they are meant to be left out", NOTE),
}
"""In the order in which they are shown: what readers find in label files, then what `data check` adds; problems first.
A reader may note further kinds, in words of its own."""


def severity(problem: Problem) -> str:
    """PROBLEM where training refuses it or its scores would be wrong, else WARNING or, by the table above, NOTE."""
    if problem.fatal:
        return PROBLEM
    return NOTE if problem.kind in KINDS and KINDS[problem.kind].severity == NOTE else WARNING


def defect(kind: str, items: Sequence, message: str = "", what: str = "") -> list[Problem]:
    """The one Problem of these items, or none where there are none; its message, or `what` is wrong with the first."""
    if not len(items):
        return []
    row, items = KINDS[kind], tuple(map(str, items))
    message = message or ": ".join(filter(None, (items[0], what, row.advice)))
    return [Problem(kind, message, len(items), row.severity == PROBLEM, items)]
