"""Where findings are marked on a data set's images, and on which of them thresholds are tuned for which others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chexlib.paper import maps

MOST = 256
"""Images of a finding and a split that are scored at most."""

FEWEST = 5
"""A finding with fewer marked test images enters no mean, unless all have so few."""


@dataclass(frozen=True)
class Marks:
    """P pairs of an image and a finding that is marked on it, test images and those that thresholds are tuned on."""

    rows: np.ndarray  # (P,) of the data set
    findings: np.ndarray  # (P,)
    patients: np.ndarray  # (P,)
    test: np.ndarray  # (P,) bool
    masks: np.ndarray  # (P, H, W) bool, at the size that the networks see

    @cached_property
    def near(self) -> np.ndarray:
        """(P, H, W) bool: the masks and what is just beside them, for the pointing game."""
        from chexlib.explain.localisation import grown

        return grown(self.masks)

    def __len__(self) -> int:
        return len(self.rows)


def marked(tasks: tuple[str, ...], dataset: Any) -> Marks:
    """The tasks' marked frontal images of the validation and test sets, at most MOST of a task and split."""
    found = [
        (row, task, split == "test", fit(mask, (dataset.size, dataset.size)))
        for split in ("test", "val")
        for task in tasks
        for row in maps.positives(dataset, task, split)[:MOST]
        if (mask := maps.outline(dataset, row, task)) is not None
    ]
    rows, findings, test, masks = zip(*found, strict=True) if found else ((), (), (), ())
    rows = np.array(rows, dtype=int)
    patients = dataset.table["patient"].to_numpy()[rows]
    masks = np.array(masks, dtype=bool).reshape(-1, dataset.size, dataset.size)
    return Marks(rows, np.array(findings), patients, np.array(test, dtype=bool), masks)


def tuning(marks: Marks) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs to be scored, and those of the same finding and other images on which their threshold is tuned."""
    half = np.isin(marks.patients, np.unique(marks.patients[marks.test])[::2])  # every other patient
    found = []
    for task in np.unique(marks.findings):
        at = marks.findings == task
        test, other = at & marks.test, at & ~marks.test
        if other.sum() >= FEWEST:
            found.append((test, other))
        else:
            found += [(test & half, test & ~half), (test & ~half, test & half)]
    return found


def tuned_on(marks: Marks) -> str:
    """The same in words."""
    validation = {task for task in np.unique(marks.findings)
                  if ((marks.findings == task) & ~marks.test).sum() >= FEWEST}  # fmt: skip
    if len(validation) == len(np.unique(marks.findings)):
        return "the validation images"
    other = "the other half of the test patients"
    return f"the validation images, or {other} where too few of those are marked" if validation else other


def fit(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at the size of the map (nearest neighbour); it keeps at least one point."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, mask.shape, strict=True))
    fitted = mask[np.ix_(rows, columns)]
    if not fitted.any():
        y, x = (int(at.mean() * n / m) for at, n, m in zip(np.nonzero(mask), shape, mask.shape, strict=True))
        fitted[y, x] = True
    return fitted
