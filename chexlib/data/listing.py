"""What a reader finds in a data set's files before a pixel is decoded: the images with their labels, and what is wrong.

A reader raises UserError only where nothing can be read. What is wrong with single rows it notes as a Problem, so that
`chexlib data check` can list all of them; opening the data set to train on it refuses the first (`Listing.refuse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from chexlib.data.images import Images
from chexlib.data.labels import FINDINGS
from chexlib.data.splits import SPLITS
from chexlib.errors import UserError

IMAGE_COLUMNS = ("split", "image", "study", "patient", "view", "sex", "age")
"""Of each row, before the 14 findings. `image` is unique; view is PA, AP, LATERAL or "" (not known: of the frontals,
where the set says so); sex is M, F or ""; age is in years, NaN where unknown."""


@dataclass(frozen=True)
class Problem:
    """One kind of thing that is wrong, and how often: what training refuses, or only a warning."""

    kind: str  # a word for machines: label, missing, duplicate, leak ...
    message: str  # one line that names the file, row or value of the first, and what to do
    count: int = 1
    fatal: bool = True
    items: tuple[str, ...] = ()  # the images, rows or patients concerned


@dataclass(frozen=True)
class Listing:
    """N images as a data set's files list them, in the order of `table`."""

    table: pd.DataFrame = field(repr=False)  # IMAGE_COLUMNS, then FINDINGS as 1, 0, -1 or NaN, float32
    covered: Mapping[str, tuple[str, ...]]  # split to the findings that the set labels there at all
    images: Images = field(repr=False)
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()  # what the reader put right, a sentence each
    boxes: pd.DataFrame | None = field(default=None, repr=False)  # image, finding, left, top, right, bottom in [0, 1]
    partial: bool = False  # NaN means that nobody knows, and never that a report does not mention it

    def covers(self, table: pd.DataFrame) -> np.ndarray:
        """(n, 14) bool of rows of the table: whether the finding is labelled at all in the image's split, or on it."""
        of_split = {split: np.isin(FINDINGS, findings) for split, findings in self.covered.items()}
        covers = np.stack([of_split[split] for split in table["split"]]).reshape(-1, len(FINDINGS))
        return covers & table[list(FINDINGS)].notna().to_numpy() if self.partial else covers

    def all_problems(self) -> tuple[Problem, ...]:
        """The reader's, then images listed twice and patients in several splits, which make test scores too good."""
        return (*self.problems, *_twice(self.table), *_leaks(self.table))

    def refuse(self) -> None:
        """Raises UserError for the first problem that makes training meaningless."""
        fatal = [problem for problem in self.all_problems() if problem.fatal]
        if fatal:
            raise UserError(fatal[0].message)


def _twice(table: pd.DataFrame) -> list[Problem]:
    names = table.loc[table["image"].duplicated(), "image"]
    if names.empty:
        return []
    times = (table["image"] == names.iloc[0]).sum()
    message = f"{names.iloc[0]} is listed {times} times: keep one row"
    return [Problem("listed-twice", message, names.nunique(), items=tuple(names.unique()))]


def _leaks(table: pd.DataFrame) -> list[Problem]:
    sides = table.groupby("patient")["split"].nunique()
    shared = sides.index[sides > 1]
    if shared.empty:
        return []
    message = f"patient {shared[0]} is in {sides[shared[0]]} splits ({len(shared)} patients are): keep one"
    return [Problem("leak", message, len(shared), items=tuple(map(str, shared)))]


def same_for_all_splits(findings: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`covered` of a set whose splits are labelled alike."""
    return dict.fromkeys(SPLITS, findings)
