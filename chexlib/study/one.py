"""One run in a process of its own, which starts at once, as it is forked from one that has imported torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from chexlib.errors import UserError
from chexlib.machine import cores
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore

PRELOAD = ["chexlib.training.loop", "chexlib.training.timing", "timm", "pretrainedmodels", "torch.utils.tensorboard"]


@contextmanager
def fresh_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose tasks each have a process of their own: Accelerate's precision cannot change within one.

    Where the block is left by an error, Ctrl-C among them, and where this process is killed, they end at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    _start_server()
    ours, theirs = context.Pipe()
    with ProcessPoolExecutor(
        workers, mp_context=context, max_tasks_per_child=1, initializer=_end_with, initargs=(theirs,)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            ours.close()
            raise


def _start_server() -> None:
    """Starts what processes are forked from. Ctrl-C reaches all processes of a terminal: the study alone answers."""
    resource_tracker.ensure_running()  # before, as it ends by letting Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(study: Connection) -> None:
    """Ends this process when the other end is closed."""
    threading.Thread(target=lambda: study.poll(None) and os._exit(1), daemon=True).start()  # nothing is ever sent


def default_workers(specs: list[RunSpec]) -> int:
    """One run at a time on a GPU; on a CPU as many as its cores can give their threads to."""
    import torch

    if torch.cuda.is_available():
        return 1
    return max(1, cores() // max(spec.threads * spec.processes for spec in specs))


def train_one(spec_json: str, root: str | Path | None, folder: Path) -> str:
    """Trains a resolved spec into the store of this folder; returns what was wrong with it, or nothing."""
    from chexlib.training.loop import fit

    spec = RunSpec.from_json(spec_json)
    try:
        fit(spec, root, RunStore(folder), progress=False, wait=True)  # another run's teacher may be one of the study
    except UserError as error:
        return str(error)
    return ""
