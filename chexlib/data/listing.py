"""What a reader finds in a data set's files before a pixel is decoded: the images with their labels, and what is wrong.

A reader raises UserError only where nothing can be read. What is wrong with single rows it notes as a Problem, so that
`chexlib data check` can list all of them; opening the data set to train on it refuses the first (`Listing.refuse`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from chexlib.data.images import Images
from chexlib.data.labels import FINDINGS
from chexlib.data.names import alike
from chexlib.errors import UserError, one_line

SPLITS = ("train", "val", "test")

IMAGE_COLUMNS = ("split", "image", "study", "patient", "view", "sex", "age")
"""Of each row, before the 14 findings. `image` is unique; view is PA, AP, LATERAL or "" (not known: of the frontals,
where the set says so); sex is M, F or ""; age is in years, NaN where unknown."""

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
"""A problem is what training refuses, or what makes scores wrong; a warning is worth a look, a note worth knowing."""

FEW = 10
"""Positives or negatives below which an interval of an AUC is too wide to tell anything."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing that can be wrong with a data set: how it is called, what to do, how much it matters."""

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
    "no-images": Kind("splits without images", "see that each split has patients"),
    "missing": Kind("missing images", "complete the folder, or take their rows out"),
    "unreadable": Kind("unreadable images", "fetch them again, or leave them out: chexlib data pack --skip-bad"),
    "constant": Kind("constant images", "fetch them again, or take their rows out"),
    "inverted": Kind("inverted images", "look at them, and turn black and white round"),
    "duplicate-splits": Kind("duplicates in several splits", "keep those of the test set"),
    "duplicate-patients": Kind("duplicates of several patients", "find out whose they are"),
    "known": Kind("val or test images that the known set trains on", "take them out: scores on them are too good"),
    "no-auc": Kind("tasks without an AUC", "put positives and negatives into the test set"),
    "view": Kind("views that nobody knows", "correct them: they count as not said", WARNING),
    "sex": Kind("sexes that nobody knows", "correct them: they count as not said", WARNING),
    "age": Kind("ages that are none", "correct them: they count as not said", WARNING),
    "alike": Kind("patients with nearly the same name", "write each patient one way: they count as several", WARNING),
    "files": Kind("label files beside the one that is read", "remove those that are not meant", WARNING),
    "box": Kind("boxes that are none", "correct them: they are left out", WARNING),
    "duplicate": Kind("duplicates of one patient", "keep one of each", WARNING),
    "known-held-out": Kind("training images that the known set holds out", "expect too good scores there", WARNING),
    "upside-down": Kind("images upside down", "look at them, and turn them", WARNING),
    "small": Kind("images much smaller than usual", "look for the originals", WARNING),
    "outside": Kind("images outside the folder", "look where their symbolic links lead", WARNING),
    "no-auc-elsewhere": Kind("other findings without an AUC", "expect no score of them", WARNING),
    "few": Kind(f"findings with fewer than {FEW} of a class", "expect wide intervals", WARNING),
    "turned": Kind("images that EXIF turns", "nothing: they are learned from as viewers show them", NOTE),
    "deep": Kind("images of 9 to 16 bits", "nothing, or one range for all of them: --option bits=12", NOTE),
    "known-both": Kind("training images that the known set trains on", "nothing", NOTE),
    "unlisted": Kind("image files that no row lists", "nothing, where they are meant to be left out", NOTE),
}
"""In the order in which they are shown: what readers find, then what `data check` adds; problems first."""


@dataclass(frozen=True)
class Problem:
    """One kind of thing that is wrong, with everything that it concerns."""

    kind: str  # of KINDS
    message: str  # one line that names the file, row or value of the first, and what to do
    items: tuple[str, ...]  # the images, rows or patients concerned

    @property
    def count(self) -> int:
        return len(self.items)

    @property
    def fatal(self) -> bool:
        """Whether training refuses it, or its scores would be wrong."""
        return KINDS[self.kind].severity == PROBLEM


DRAWN = "patients are drawn into splits: add some, or draw otherwise (option split_seed)"


@dataclass
class Remarks:
    """What is noted while files are read: problems, what was put right, a sentence each, and where splits are from."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    splits: str = DRAWN  # what an empty split wants, in the set's own words

    def wrong(self, kind: str, items: Sequence, before: str = "", after: str = "", message: str = "") -> None:
        """Notes a Problem where there are items; its message, or the first item between `before` and `after`."""
        items = tuple(map(str, items))
        if items:
            self.problems.append(Problem(kind, one_line(message or f"{before}{items[0]}{after}"), items))


@dataclass(frozen=True)
class Listing:
    """N images as a data set's files list them, in the order of `table`; of a label file alone, without `images`."""

    table: pd.DataFrame = field(repr=False)  # IMAGE_COLUMNS, then FINDINGS as 1, 0, -1 or NaN, float32
    covered: np.ndarray = field(repr=False)  # (N, 14) bool: whether the set labels the finding of the image at all
    images: Images | None = field(repr=False)
    remarks: Remarks = field(default_factory=Remarks)
    boxes: pd.DataFrame | None = field(default=None, repr=False)  # image, finding, left, top, right, bottom in [0, 1]
    per: str = "image"  # what a row is: an image, or in a file with labels per study, a study

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self.remarks.problems)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.remarks.notes)

    def all_problems(self, needs: Sequence[str] = ()) -> tuple[Problem, ...]:
        """The reader's, then what makes test scores too good, and which of the splits in `needs` hold no image."""
        found = Remarks(list(self.remarks.problems))
        names = self.table["image"]
        twice = names[names.duplicated()].unique()
        times = (names == twice[0]).sum() if len(twice) else 0
        found.wrong("listed-twice", twice, after=f" is listed {times} times: keep one row")
        sides = self.table.groupby("patient")["split"].nunique()
        sides = sides[sides > 1]
        count = sides.iloc[0] if len(sides) else 0
        found.wrong("leak", sides.index, "patient ", f" is in {count} splits ({len(sides)} patients are): keep one")
        patients = self.table["patient"]
        groups = [" = ".join(group) for group in alike(patients[patients != names])]
        found.wrong("alike", groups, after=f": case or zeros alone tell them apart: {KINDS['alike'].advice}")
        empty = [split for split in needs if not (self.table["split"] == split).any()]
        whose = " (all are of one patient)" if patients.nunique() == 1 else ""
        after = f": {self.remarks.splits}"
        found.wrong("no-images", empty, message=f"no {' and no '.join(empty)} images{whose}{after}")
        return tuple(found.problems)

    def refuse(self, needs: Sequence[str] = ()) -> None:
        """Raises UserError for the first problem that makes training meaningless."""
        for problem in self.all_problems(needs):
            if problem.fatal:
                raise UserError(problem.message)


def covers(findings: Iterable[str], table: pd.DataFrame) -> np.ndarray:
    """`covered` (n, 14) of n rows for which a set labels these findings."""
    return np.tile(np.isin(FINDINGS, list(findings)), (len(table), 1))


def covers_labelled(table: pd.DataFrame) -> np.ndarray:
    """`covered` (n, 14) of a table's n rows, where a finding without any label is not covered."""
    return covers([finding for finding in FINDINGS if table[finding].notna().any()], table)


def split_by_patient(
    patients: Sequence[str], fractions: tuple[float, float, float] = (0.60, 0.15, 0.25), seed: int = 0
) -> np.ndarray:
    """One of train, val and test for each entry of `patients` (N,), about in these fractions of the patients.

    A patient's side depends on nothing but its name and the seed: adding or removing other patients moves nobody.
    """
    (train, val, _), draws = fractions, draw_by_patient(patients, seed)
    return np.where(draws < train, "train", np.where(draws < train + val, "val", "test"))


def draw_by_patient(patients: Sequence[str], seed: int = 0) -> np.ndarray:
    """A number in [0, 1) for each entry of `patients` (N,), which its name and the seed alone determine."""
    names, where = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    hashes = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in names]
    return np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in hashes])[where]
