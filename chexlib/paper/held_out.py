"""The test studies that a study's runs have in common: labels, every run's scores, whose study it is.

Reads `predictions.parquet` alone, combines the images of a study by maximum, and refuses runs that were not tested on
the same images: a paired difference between them would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chexlib.errors import UserError
from chexlib.runs.predictions import IDS, by_study
from chexlib.runs.store import Run


@dataclass(frozen=True, eq=False)
class HeldOut:
    """S test studies: labels (S, T) as 1, 0 or NaN (unknown), scores (runs, S, T), patients (S,)."""

    labels: np.ndarray
    scores: np.ndarray
    patients: np.ndarray


def read_held_out(study: str, runs: Sequence[Run], tasks: Sequence[str]) -> HeldOut:
    """The test studies of finished runs. Raises UserError where runs disagree on them, or a file is broken."""
    first, scores = None, []
    for run in runs:
        table = _read_test(run, tasks)
        images = sorted(zip(table["image"], table["study"], table["patient"], strict=True))
        labels, p, patients = by_study(table, tuple(tasks))  # (S, T), (S, T), (S,)
        first = first or (images, labels, patients)
        if images != first[0] or not np.array_equal(labels, first[1], equal_nan=True):
            what = "other images" if images != first[0] else "other labels"
            raise UserError(
                f"study {study}: {run.run_id} was tested on {what} than {runs[0].run_id}: "
                f'run "chexlib study run {study}" again on one data set'
            )
        scores.append(p)
    return HeldOut(first[1], np.array(scores), first[2])


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
