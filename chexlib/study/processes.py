"""Processes for one task each: forked from one that has imported torch, so that they start at once, ended with us."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from chexlib.runs.spec import RunSpec

PRELOAD = ["chexlib.training.fit", "chexlib.training.measure", "timm", "pretrainedmodels", "torch.utils.tensorboard"]


def fresh_processes(workers: int) -> ProcessPoolExecutor:
    """A pool whose tasks each have a process of their own: Accelerate's precision cannot change within one."""
    from chexlib.training.together import end_with_parent

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1, initializer=end_with_parent)


def default_workers(specs: list[RunSpec]) -> int:
    """One run at a time on a GPU; on a CPU as many as its cores can give their threads to."""
    import torch

    if torch.cuda.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS lacks it
    return max(1, cores // max(spec.threads * spec.processes for spec in specs))
