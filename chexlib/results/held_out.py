"""How a study's runs did on the test studies that they have in common: from their predictions, or as published.

From predictions: `predictions.parquet` alone is read, the images of a study are combined as the runs' spec says, and
runs that were not tested on the same images are refused: a paired difference between them would mean nothing.

A closed data set's terms keep labels back. An exact AUROC is one linear equation in them: the ranks of the positive
studies add up to a number that the AUROC and the counts of both classes tell. Whoever has the scores and a few runs'
AUROCs can solve these for the labels. So the scores of a closed set are never published; its draws are seeded by what
nobody else knows; and its AUROCs have DIGITS digits wherever they are shown, one more than is printed. (Who publishes
weights gives the scores back to everybody who has the images.)

What is published of it is one Parquet file a study, `<study>.replicates.parquet` beside its runs: a row a replicate and
task, a column a run. The replicates are draws of the test patients, the same draws for all runs, so that every
difference stays paired. Its metadata hold each run's AUROCs, how many studies and patients were tested, and each task's
positives and negatives. float32, whose bytes are split by place, which compresses what AUROCs have in common.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.runs.store import IDS, Run, RunStore, by_study, write_atomically
from chexlib.stats import BootstrapAreas, bootstrap_auroc

METADATA = b"chexlib"

DIGITS = 4
"""Of a closed set's AUROCs and losses, wherever they are shown: one more than is printed, for means and differences."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """S test studies: labels (S, T) as 1, 0 or NaN (unknown), scores (runs, S, T), patients (S,).

    Where they are `closed`, AUROCs have DIGITS digits, and draws that nobody else can repeat (see `private_seed`).
    """

    tasks: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    patients: np.ndarray
    closed: bool = False

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
        if self.closed:
            seed += private_seed(self.labels, self.patients, self.scores[0])
        found = bootstrap_auroc(self.labels, self.scores, self.patients, n_boot, seed, bca=True)
        if self.closed:
            found = replace(found, area=found.area.round(DIGITS), replicates=found.replicates.round(DIGITS))
        return found


@dataclass(frozen=True, eq=False)
class Published:
    """Stands in for `HeldOut` where labels are kept back: counts, AUROCs and replicates, as they were exported."""

    study: str
    n_studies: int
    n_patients: int
    counts: pd.DataFrame  # positives, negatives, indexed by task
    area: np.ndarray  # (runs, T)
    replicates: np.ndarray  # (R, runs, T)

    def bootstrap(self, n_boot: int = 1000, seed: int = 0) -> BootstrapAreas:
        """AUROC of every run and task, with at most `n_boot` of the replicates. `seed` changes nothing here."""
        replicates = self.replicates[:n_boot]
        return BootstrapAreas(self.area, replicates, np.isnan(replicates[:, 0]).sum(axis=0))

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
    return HeldOut(tuple(tasks), first[1], np.array(scores), first[2], any(map(is_closed, runs)))


def is_closed(run: Run) -> bool:
    """Whether the terms of the run's data set keep its labels and ids from being shared."""
    return not SOURCES[run.spec.dataset].shareable


def shown_log(run: Run) -> list[dict]:
    """A run's evaluations as they may be shown: all that it logged, or, of a closed set, no score of a single task."""
    if not is_closed(run):
        return run.log()
    rows = [{name: value for name, value in row.items() if not name.startswith(("auc:", "mae:"))} for row in run.log()]
    few = {"loss", "auc"}
    return [{k: round(v, DIGITS) if k in few and v is not None else v for k, v in row.items()} for row in rows]


def private_seed(labels: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> int:
    """A seed for the bootstrap that labels (S, T) and a run's scores (S, T) determine: who has both has the same draws.

    With a seed that is known, anyone can redo the draws over a list of patients, and a regression of the replicates on
    how often each was drawn gives the positive ones away: replicates that are to be shared instead of labels would
    share them after all. Of labels alone it could be found by trying, where a few positives are all there are, and a
    replicate that lacks a class says when it was.
    """
    digest = hashlib.sha256("\n".join(map(str, patients)).encode())
    for array in (labels, scores):
        digest.update(np.ascontiguousarray(array, dtype=float).tobytes())
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


def publish_replicates(folder: Path, study: str, runs: Sequence[str], tested: HeldOut | Published) -> Path:
    """Writes the study's file, and returns it; `runs` are the run_ids as published, in the order of `tested`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found, tasks = tested.bootstrap(), list(tested.counts.index)
    rows = found.replicates.transpose(0, 2, 1).reshape(-1, len(runs)).astype(np.float32)  # (R T, runs)
    columns = {
        "replicate": np.repeat(np.arange(1, len(found.replicates) + 1, dtype=np.int32), len(tasks)),
        "task": np.tile(np.array(tasks, dtype=object), len(found.replicates)),
    }
    columns |= {run: rows[:, place] for place, run in enumerate(runs)}
    facts = {"studies": tested.n_studies, "patients": tested.n_patients, "counts": tested.counts.to_dict("index")}
    facts["auroc"] = {run: area.tolist() for run, area in zip(runs, found.area, strict=True)}
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
    return replicates_file(folder, study)


def _read_published(path: Path, study: str, runs: Sequence[Run], tasks: Sequence[str]) -> Published:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.name in RunStore(path.parent).damaged(study):
        raise UserError(f"{path}: not what was written: export the study again")
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[METADATA])
        counts = pd.DataFrame.from_dict(facts["counts"], orient="index").rename_axis("task")
        areas = facts["auroc"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        raise UserError(f"{path}: not readable as a study's replicates: export the study again") from None
    names = [run.run_id for run in runs]
    lacks = [name for name in names if name not in areas or name not in table.column_names]
    if lacks := lacks + [task for task in tasks if task not in counts.index]:
        raise UserError(f"{path}: lacks {', '.join(lacks)}: export the study again")
    values = np.stack([table[name].to_numpy().astype(float).round(DIGITS) for name in names])  # (runs, R T)
    values = values.reshape(len(names), -1, len(counts)).transpose(1, 0, 2)  # (R, runs, T)
    kept = [list(counts.index).index(task) for task in tasks]
    area = np.array([areas[name] for name in names])[:, kept]  # (runs, T)
    return Published(study, facts["studies"], facts["patients"], counts.iloc[kept], area, values[:, :, kept])
