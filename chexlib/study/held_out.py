"""The test studies that a study's runs have in common: labels, every run's scores, whose study it is.

Reads `predictions.parquet` alone, combines the images of a study as the runs' spec says, and refuses runs that were not
tested on the same images: a paired difference between them would mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.runs.predictions import IDS, by_study
from chexlib.runs.store import Run
from chexlib.stats import BootstrapAreas, bootstrap_auroc


@dataclass(frozen=True, eq=False)
class HeldOut:
    """S test studies: labels (S, T) as 1, 0 or NaN (unknown), scores (runs, S, T), patients (S,).

    `seed` is that of the bootstrap: 0, or one that only who holds the labels can know (see `private_seed`).
    """

    tasks: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    patients: np.ndarray
    seed: int = 0

    @property
    def n_studies(self) -> int:
        return len(self.labels)

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patients))

    @property
    def counts(self) -> pd.DataFrame:
        """Positive and negative test studies of each task: columns positives, negatives, indexed by task."""
        counts = {"positives": (self.labels == 1).sum(axis=0), "negatives": (self.labels == 0).sum(axis=0)}
        return pd.DataFrame(counts, index=pd.Index(self.tasks, name="task"))

    def bootstrap(self, n_boot: int = 1000) -> BootstrapAreas:
        """AUROC of every run and task, with replicates in which patients are drawn anew."""
        return bootstrap_auroc(self.labels, self.scores, groups=self.patients, n_boot=n_boot, seed=self.seed)


def read_held_out(study: str, runs: Sequence[Run], tasks: Sequence[str]) -> HeldOut:
    """The test studies of finished runs. Raises UserError where runs disagree on them, or a file is broken."""
    first, scores = None, []
    for run in runs:
        table = _read_test(run, tasks)
        images = sorted(zip(table["image"], table["study"], table["patient"], strict=True))
        labels, p, patients = by_study(table, tuple(tasks), run.spec.aggregate)  # (S, T), (S, T), (S,)
        first = first or (images, labels, patients)
        if images != first[0] or not np.array_equal(labels, first[1], equal_nan=True):
            what = "other images" if images != first[0] else "other labels"
            raise UserError(
                f"study {study}: {run.run_id} was tested on {what} than {runs[0].run_id}: "
                f'run "chexlib study run {study}" again on one data set'
            )
        scores.append(p)
    seed = private_seed(first[1], first[2]) if any(map(keeps_back, runs)) else 0
    return HeldOut(tuple(tasks), first[1], np.array(scores), first[2], seed)


def keeps_back(run: Run) -> bool:
    """Whether the terms of the run's data set keep its labels or ids from being shared."""
    source = SOURCES[run.spec.dataset]
    return not (source.share_labels and source.share_ids)


def private_seed(labels: np.ndarray, patients: np.ndarray) -> int:
    """A seed for the bootstrap that the labels themselves determine: the same wherever they are, unknown elsewhere.

    With a seed that is known, anyone can redo the draws over a list of patients, and a regression of the replicates on
    how often each was drawn gives the positive ones away: replicates that are to be shared instead of labels would
    share them after all.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels, dtype=float).tobytes())
    digest.update("\n".join(map(str, patients)).encode())
    return int.from_bytes(digest.digest(), "big")


def _read_test(run: Run, tasks: Sequence[str]) -> pd.DataFrame:
    """The test rows of a run's predictions. Raises UserError where the file is not whole or a prediction is NaN."""
    path = run.folder / "predictions.parquet"
    columns = [*IDS, *(f"{kind}:{task}" for kind in "yp" for task in tasks)]
    try:
        table = run.predictions()
    except (OSError, ValueError):  # pyarrow's errors are either
        raise UserError(f"{path}: not readable as Parquet: remove {run.folder} and train it again") from None
    if absent := [name for name in columns if name not in table]:
        raise UserError(f"{path}: lacks the columns {', '.join(absent)}: remove {run.folder} and train it again")
    table = table.loc[table["split"] == "test", columns]
    if table.empty:
        raise UserError(f"{path}: no row has split test: does the data set have a test split?")
    if broken := [task for task in tasks if table[f"p:{task}"].isna().any()]:
        raise UserError(f"{path}: predictions of {', '.join(broken)} are NaN: the training diverged: lower the lr")
    return table
