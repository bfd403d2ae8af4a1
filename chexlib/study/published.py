"""What is published of a study instead of labels: each run's AUROCs, their bootstrap replicates, and counts.

One Parquet file a study, `<study>.replicates.parquet` beside its runs: a row a replicate and task, a column a run. Row
`replicate` 0 is the test set itself, the others are draws of its patients, the same draws for all runs, so that every
difference stays paired. Its metadata hold how many studies and patients were tested, and each task's positives and
negatives. float32, whose bytes are split by place, which compresses what AUROCs have in common.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.errors import UserError
from chexlib.runs.store import Run, write_atomically
from chexlib.stats import BootstrapAreas
from chexlib.study.held_out import HeldOut, read_held_out

WITHHELD = (
    "the data set's terms keep labels or ids back, so the published numbers are replicates, and what needs the "
    "labels themselves is not shown"
)
METADATA = b"chexlib"


@dataclass(frozen=True, eq=False)
class Published:
    """Stands in for `HeldOut` where labels are kept back: counts, AUROCs and replicates, as they were exported."""

    study: str
    n_studies: int
    n_patients: int
    counts: pd.DataFrame  # positives, negatives, indexed by task
    replicates: np.ndarray  # (1 + R, runs, T), the test set itself first

    def bootstrap(self, n_boot: int = 1000) -> BootstrapAreas:
        """AUROC of every run and task, with at most `n_boot` of the replicates."""
        replicates = self.replicates[1 : n_boot + 1]
        return BootstrapAreas(self.replicates[0], replicates, np.isnan(replicates[:, 0]).sum(axis=0))

    @property
    def labels(self) -> np.ndarray:
        """Raises UserError, as scores and patients do: none is published."""
        raise UserError(f"study {self.study}: {WITHHELD}")

    scores = patients = labels


def open_tested(study: str, runs: Sequence[Run], tasks: Sequence[str]) -> HeldOut | Published:
    """How a study's runs did on its test studies: from their predictions, or as published where those are kept back.

    Raises UserError where a file is broken, runs disagree, or the published file lacks a run or a task.
    """
    path = replicates_file(runs[0].folder.parent, study)
    return _read(path, study, runs, tasks) if path.exists() else read_held_out(study, runs, tasks)


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


def _read(path: Path, study: str, runs: Sequence[Run], tasks: Sequence[str]) -> Published:
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
