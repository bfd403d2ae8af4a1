"""Runs a study: on this machine, or on a cluster (chexlib.study.cluster). Each run has a process of its own.

On this machine as many train at once as there are cores for their threads, in processes forked from one that has
imported torch, so that a run starts at once. What is finished is reused, what was interrupted is resumed.
"""

from __future__ import annotations

import sys
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from tqdm import tqdm

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.study import cluster
from chexlib.study.one import default_workers, fresh_processes, train_one
from chexlib.study.study import Study, resolve_study


def run_study(
    study: Study,
    root: str | Path | None = None,
    store: RunStore | None = None,
    workers: int | None = None,
    progress: bool = True,
    ray: str = "",
    gpus: float | None = None,
) -> list[Run]:
    """Trains what is missing of the study and returns all its runs.

    `workers` train at once on this machine; where `ray` is a cluster's address, its nodes train, and a run asks for
    `gpus` of a GPU. A run that fails does not stop the others; at the end a UserError names those that failed, with
    the first one's reason.
    """
    store = store or RunStore.open()
    failed: dict[str, str] = {}
    if ray:
        place = cluster.connect(ray, gpus, study.specs(), root, store)
    else:
        place = nullcontext((None, partial(_train_all, workers=workers)))  # None: this machine's own settings
    with place as (settings, train_all):
        specs = resolve_study(study, root, store, progress, settings)
        todo = [spec for spec in specs if not store.run(spec).finished]
        todo.sort(key=lambda spec: spec.seed)  # one of every network before a second of any
        done = len(specs) - len(todo)
        with tqdm(total=len(specs), initial=done, desc=f"study {study.name}", unit="run", disable=not progress) as bar:
            for run_id, error in train_all(todo, root, store) if todo else ():
                bar.update(1)
                if error:
                    failed[run_id] = error
                    tqdm.write(f"{run_id}: {error}", file=sys.stderr)
    if failed:
        run_id, error = next(iter(failed.items()))
        raise UserError(f"study {study.name}: {len(failed)} of {len(specs)} runs failed, the first ({run_id}): {error}")
    return [store.run(spec) for spec in specs]


def _train_all(specs: list[RunSpec], root, store: RunStore, workers: int | None):
    """Yields (run_id, error or "") as runs end.

    A process that dies takes its pool along, so the others' runs are taken up again by a new one, with one process
    fewer, in case memory was short. A run that dies alone has failed.
    """
    waiting, workers = {spec.run_id: spec for spec in specs}, workers or default_workers(specs)
    while waiting:
        for run_id, error in _train_in_pool(list(waiting.values()), root, store, workers):
            del waiting[run_id]
            yield run_id, error
        if waiting and workers == 1:
            run_id = next(iter(waiting))
            del waiting[run_id]
            yield run_id, "its process died: killed, or out of memory? accumulate=2 needs less"
        elif waiting:
            workers = min(workers, len(waiting) + 1) - 1
            tqdm.write(f"a training process died: going on with {workers} at once", file=sys.stderr)


def _train_in_pool(specs: list[RunSpec], root, store: RunStore, workers: int):
    """Yields (run_id, error or "") of the runs that end, until all have or a process dies."""
    with fresh_processes(min(workers, len(specs))) as pool:
        futures = {pool.submit(train_one, spec.to_json(), root, store.folder): spec.run_id for spec in specs}
        for future in as_completed(futures):
            error = future.exception()
            if not isinstance(error, BrokenProcessPool):
                yield futures[future], f"{type(error).__name__}: {error}" if error else future.result()
