"""Publishing a study: predictions, logs and provenance of its finished runs, without weights and without images."""

from __future__ import annotations

import shutil
from pathlib import Path

from tqdm import tqdm

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.runs.store import RunStore
from chexlib.study.study import Study

FILES = ("spec.json", "log.jsonl", "predictions.parquet", "provenance.json", "done.json")


def export_study(study: Study, out: str | Path, store: RunStore | None = None, progress: bool = True) -> Path:
    """Copies what may be shared of the study's finished runs to `out`, which is a run store too; returns it.

    Raises UserError where the study has no finished run, or where its data set's terms do not let labels and ids be
    shared.
    """
    store = store or RunStore.open()
    runs = [run for run in store.planned(study.name) if run.finished]
    if not runs:
        raise UserError(
            f'study {study.name} has no finished runs in {store.folder}: run "chexlib study run {study.name}" first'
        )
    for run in runs:
        if not SOURCES[run.spec.dataset].shareable:
            raise UserError(
                f"{run.run_id}: {run.spec.dataset}'s terms forbid it to share labels and ids: keep it in its run store"
            )
    published = RunStore(Path(out))
    for run in tqdm(runs, desc=f"exporting {study.name}", unit="run", disable=not progress, leave=False):
        for name in FILES:
            target = published.folder / run.run_id / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.folder / name, target)
    published.plan(study.name, [run.spec for run in runs])
    return published.folder
