"""How a study's runs did on the test studies that they have in common: from their predictions, or as published.

From predictions: `predictions.parquet` alone is read, the images of a study are combined as the runs' spec says, and
runs that were not tested on the same images are refused: a paired difference between them would mean nothing.

Where a data set's terms keep labels back, each run's AUROCs, their bootstrap replicates and counts are published
instead, in one Parquet file a study, `<study>.replicates.parquet` beside its runs: a row a replicate and task, a column
a run. Row `replicate` 0 is the test set itself, the others are draws of its patients, the same draws for all runs, so
that every difference stays paired. Its metadata hold how many studies and patients were tested, and each task's
positives and negatives. float32, whose bytes are split by place, which compresses what AUROCs have in common.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.runs.store import IDS, Run, by_study, write_atomically
from chexlib.stats import BootstrapAreas, bootstrap_auroc

METADATA = b"chexlib"


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

    def bootstrap(self, n_boot: int = 1000, seed: int = 0) -> BootstrapAreas:
        """AUROC of every run and task, with replicates in which patients are drawn anew."""
        return bootstrap_auroc(self.labels, self.scores, self.patients, n_boot, self.seed + seed, bca=True)


@dataclass(frozen=True, eq=False)
class Published:
    """Stands in for `HeldOut` where labels are kept back: counts, AUROCs and replicates, as they were exported."""

    study: str
    n_studies: int
    n_patients: int
    counts: pd.DataFrame  # positives, negatives, indexed by task
    replicates: np.ndarray  # (1 + R, runs, T), the test set itself first

    def bootstrap(self, n_boot: int = 1000, seed: int = 0) -> BootstrapAreas:
        """AUROC of every run and task, with at most `n_boot` of the replicates. `seed` changes nothing here."""
        replicates = self.replicates[1 : n_boot + 1]
        return BootstrapAreas(self.replicates[0], replicates, np.isnan(replicates[:, 0]).sum(axis=0))

    @property
    def labels(self) -> np.ndarray:
        """Raises UserError, as scores and patients do: none is published."""
        raise UserError(
            f"study {self.study}: the data set's terms keep labels or ids back, so the published numbers are "
            "replicates, and what needs the labels themselves is not shown"
        )

    scores = patients = labels


def open_tested(study: str, runs: Sequence[Run], tasks: Sequence[str]) -> HeldOut | Published:
    """How a study's runs did on its test studies: from their predictions, or as published where those are kept back.

    Raises UserError where a file is broken, runs disagree, or the published file lacks a run or a task.
    """
    path = replicates_file(runs[0].folder.parent, study)
    return _read_published(path, study, runs, tasks) if path.exists() else read_held_out(study, runs, tasks)


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
    """Whether the terms of the run's data set keep its labels and ids from being shared."""
    return not SOURCES[run.spec.dataset].shareable


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
    table = run.predictions()
    if absent := [name for name in columns if name not in table]:
        raise UserError(f"{path}: lacks the columns {', '.join(absent)}: remove {run.folder} and train it again")
    table = table.loc[table["split"] == "test", columns]
    if table.empty:
        raise UserError(f"{path}: no row has split test: does the data set have a test split?")
    if broken := [task for task in tasks if table[f"p:{task}"].isna().any()]:
        raise UserError(f"{path}: predictions of {', '.join(broken)} are NaN: the training diverged: lower the lr")
    return table


def replicates_file(folder: Path, study: str) -> Path:
    """Where a folder of exported runs holds the study's replicates, if it does."""
    return folder / f"{study}.replicates.parquet"


def publish_replicates(folder: Path, study: str, runs: Sequence[str], tested: HeldOut | Published) -> None:
    """Writes the study's file; `runs` are the run_ids as published, in the order of `tested`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found, tasks = tested.bootstrap(), list(tested.counts.index)
    values = np.concatenate([found.area[None], found.replicates])  # (1 + R, runs, T)
    rows = values.transpose(0, 2, 1).reshape(-1, len(runs)).astype(np.float32)  # ((1 + R) T, runs)
    columns = {
        "replicate": np.repeat(np.arange(len(values), dtype=np.int32), len(tasks)),
        "task": np.tile(np.array(tasks, dtype=object), len(values)),
    }
    columns |= {run: rows[:, place] for place, run in enumerate(runs)}
    facts = {"studies": tested.n_studies, "patients": tested.n_patients, "counts": tested.counts.to_dict("index")}
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(facts, default=int)})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=15,
        use_dictionary=["replicate", "task"],
        use_byte_stream_split=list(runs),
    )
    write_atomically(replicates_file(folder, study), buffer.getvalue())


def _read_published(path: Path, study: str, runs: Sequence[Run], tasks: Sequence[str]) -> Published:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[METADATA])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        raise UserError(f"{path}: not readable as a study's replicates: export the study again") from None
    counts = pd.DataFrame.from_dict(facts["counts"], orient="index").rename_axis("task")
    names = [run.run_id for run in runs]
    if lacks := [name for name in names if name not in table.column_names] + [
        t for t in tasks if t not in counts.index
    ]:
        raise UserError(f"{path}: lacks {', '.join(lacks)}: export the study again")
    values = np.stack([table[name].to_numpy().astype(float) for name in names])  # (runs, (1 + R) T)
    values = values.reshape(len(names), -1, len(counts)).transpose(1, 0, 2)  # (1 + R, runs, T)
    counts = counts.loc[list(tasks)]
    kept = [list(facts["counts"]).index(task) for task in tasks]
    return Published(study, facts["studies"], facts["patients"], counts, values[:, :, kept])
