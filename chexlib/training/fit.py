"""`fit`: one run from its spec to its predictions. Interrupted, it resumes; finished, it is reused.

Training is cut into stretches between evaluations. Which images come in which order depends only on (seed, epoch),
and any other draw in a stretch only on (seed, images seen), so that resuming needs neither a sampler's nor a
generator's state.
"""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

from chexlib.data.dataset import Dataset, open_for
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.errors import UserError
from chexlib.models.truncate import check_minus
from chexlib.models.zoo import check_size
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.training import checkpoints, together, uncertainty
from chexlib.training.devices import peak_memory_mb, safe_settings, start
from chexlib.training.finish import aucs, finish, table_of
from chexlib.training.predict import predict
from chexlib.training.step import Learner, learner, step

LOOK = 16
"""Steps from one look at the losses to the next: a look waits for the GPU."""


def fit(
    spec: RunSpec,
    root: str | Path | None = None,
    store: RunStore | None = None,
    progress: bool = True,
    wait: bool = False,
) -> Run:
    """Trains the spec's network, or reuses the finished run of the same spec and data.

    `root` is the data set's folder (none for the phantom), `store` where runs are kept (RunStore.open() by default).
    The result is the mean prediction of the `keep` evaluations with the best mean validation AUC over the paper's six
    tasks. U-SelfTrained trains its teacher first, or reuses it. Raises UserError, one line, for bad input, a full disk,
    a loss that is not a number, and, unless `wait`, a run that another process is training.
    """
    check_size(spec.arch, spec.size)
    check_minus(spec.arch, spec.minus)
    return _fit(spec, root, open_for(spec, root, progress), store or RunStore.open(), progress, wait)


def _fit(spec: RunSpec, root: str | Path | None, dataset: Dataset, store: RunStore, progress: bool, wait: bool) -> Run:
    spec = spec.resolve(dataset.fingerprint, safe_settings())
    run = store.run(spec)
    with run.lock(wait):
        if not run.finished:
            run.write("spec.json", spec.to_json())
            if spec.teacher and not uncertainty.has_soft_labels(run):
                its_data = replace(dataset, policy=spec.teacher.policy)
                teacher = _fit(spec.teacher, root, its_data, store, progress, wait=True)
                uncertainty.write_soft_labels(run, teacher, dataset, progress)
            if spec.processes == 1:
                _train(run, spec, dataset, progress)
            else:
                together.call(_open_and_train, spec.processes, run, spec, root, progress)
        elif any(run.checkpoints.glob(checkpoints.STATES)):  # killed between its last file and tidying up
            checkpoints.keep_only(run, checkpoints.ensemble_members(run.log(), spec.keep), states=0)
    return run


def _open_and_train(run: Run, spec: RunSpec, root: str | Path | None, progress: bool) -> None:
    """What each of several processes does; only the first one writes."""
    _train(run, spec, open_for(spec, root, progress=False), progress)


def _train(run: Run, spec: RunSpec, dataset: Dataset, progress: bool) -> None:
    try:
        _learn(run, spec, dataset, progress)
    except RuntimeError as error:
        if should_reduce_batch_size(error):
            raise _out_of_memory(spec) from error
        raise
    except OSError as error:  # of TensorBoard's files; ours are written by the run store, which says so itself
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{run.folder}: {error.strerror}: free some space, and give the same command") from None
        raise


def _learn(run: Run, spec: RunSpec, dataset: Dataset, progress: bool) -> None:
    started = time.perf_counter()
    rows = dataset.rows("train")
    if len(rows) < spec.batch_size:
        raise UserError(f"{dataset.root}: {len(rows)} training images are fewer than batch_size={spec.batch_size}")
    per_epoch = len(rows) // spec.batch_size * spec.batch_size  # an incomplete last batch is dropped
    total = spec.epochs * per_epoch
    labels, known = uncertainty.labels_to_learn(run, spec, dataset)
    _check_known(dataset, known[rows])

    accelerator = start(spec, run.folder)
    it = learner(spec, accelerator, dataset.mean_std)
    with accelerator.main_process_first():  # which removes what is damaged
        log = checkpoints.load_resume_state(run, it.network, it.optimizer)
    seen, before = (log[-1]["images"], log[-1]["seconds"]) if log else (0, 0.0)
    resumed = log[-1].get("resumed", 0) + 1 if log else 0
    accelerator.init_trackers("tensorboard")
    show = progress and accelerator.is_main_process

    with tqdm(total=total, initial=seen, desc=run.run_id, unit="image", disable=not show) as bar:
        while seen < total:
            stop = min(seen + spec.images_between_evaluations(per_epoch), total)
            batches = [_batch(rows, first, per_epoch, spec) for first in range(seen, stop, spec.batch_size)]
            since = time.perf_counter()
            loss = _stretch(it, dataset, labels, known, batches, seen, bar)
            trained, seconds = stop - seen, time.perf_counter() - since
            seen = stop
            row = {"event": "eval", "images": seen, "epoch": seen / per_epoch, "loss": loss, **_validate(it, dataset)}
            row["seconds"] = round(before + time.perf_counter() - started, 2)
            row["images_per_second"] = round(trained / seconds, 1)
            row["memory_mb"] = max([peak_memory_mb(accelerator), *(row.get("memory_mb", 0) for row in log)])
            log.append(row | {"resumed": resumed})
            if accelerator.is_main_process:
                _checkpoint(run, it, log)
            _show(it, log[-1])
            accelerator.wait_for_everyone()

    finish(run, it, dataset, log)
    accelerator.end_training()


def _stretch(
    it: Learner,
    dataset: Dataset,
    labels: np.ndarray,
    known: np.ndarray,
    batches: list[np.ndarray],
    seen: int,
    bar: tqdm,
) -> float:
    """Learns from these batches, the first of which begins when `seen` images have been seen; gives their mean loss."""
    losses = []
    it.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(it.spec.seed * 1_000_003 + seen + it.accelerator.process_index * 7_919)
        for n, batch in enumerate(batches, start=1):
            losses.append(step(it, dataset.pixels, labels, known, batch))
            bar.update(len(batch))
            if n % LOOK == 0 or n == len(batches):
                _check_finite(losses[-LOOK:], batches[max(0, n - LOOK) : n], dataset)
    whole = it.accelerator.reduce(torch.stack(losses), "sum")  # processes that share a batch have parts of its loss
    return float(np.mean(whole.tolist()))


def _out_of_memory(spec: RunSpec) -> UserError:
    at_once = spec.batch_size // spec.accumulate // spec.processes
    line = f"{spec.arch}: {at_once} images of {spec.size} px at once do not fit into memory"
    more = [n for n in range(spec.accumulate + 1, at_once * spec.accumulate + 1) if at_once * spec.accumulate % n == 0]
    if not more:
        return UserError(f"{line}: choose a smaller size, or another device")
    return UserError(
        f"{line}: accumulate={more[0]} takes {at_once * spec.accumulate // more[0]} at once and adds the gradients up "
        f"to those of batch_size={spec.batch_size} (batch norm alone then sees a part)"
    )


def _check_known(dataset: Dataset, known: np.ndarray) -> None:
    """Refuses to train where the set labels a task and the policy leaves no label of it: a network would learn nothing
    of it, and be judged by it. known: (training images, 14)."""
    covered = dataset.covered[dataset.rows("train")].any(axis=0)
    for task in TASKS:
        t = FINDINGS.index(task)
        if covered[t] and not known[:, t].any():
            raise UserError(
                f"{dataset.root}: {task} is unknown in all {len(known)} training images under policy "
                f"{dataset.policy} with unmentioned={dataset.unmentioned}: choose others, or mend the labels"
            )


def _batch(rows: np.ndarray, first: int, per_epoch: int, spec: RunSpec) -> np.ndarray:
    """The images of the batch that begins when `first` images have been seen: a stretch of the epoch's permutation."""
    epoch, offset = divmod(first, per_epoch)
    return rows[_order(spec.seed, epoch, len(rows))[offset : offset + spec.batch_size]]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


def _check_finite(losses: list[torch.Tensor], batches: list[np.ndarray], dataset: Dataset) -> None:
    """Stops where a loss is not a number, and names its images; what was learned since the last checkpoint is lost."""
    for loss, batch in zip(torch.stack(losses).tolist(), batches, strict=True):
        if not np.isfinite(loss):
            names = ", ".join(dataset.table["image"].iloc[batch])
            raise UserError(f"the loss is {loss} on the batch {names}: lower the learning rate or look at these images")


def _validate(it: Learner, dataset: Dataset) -> dict:
    """Validation AUC of each of the paper's tasks and their mean; None where validation lacks a class."""
    rows = dataset.rows("val")
    p = predict(it.model, it.prepare, dataset.pixels, rows, it.accelerator)  # (N, 14)
    if not np.isfinite(p).all():
        raise UserError("the network predicts no numbers for validation images: lower the learning rate")
    return aucs(table_of(dataset, rows, p), it.spec.aggregate)


def _checkpoint(run: Run, it: Learner, log: list[dict]) -> None:
    """Keeps what ensemble and resuming need; the resume state comes last, as it makes the rest count."""
    now, before = (checkpoints.ensemble_members(rows, it.spec.keep) for rows in (log, log[:-1]))
    seen = log[-1]["images"]
    if seen in now:
        checkpoints.save_weights(run, it.network, seen)
    run.write_log(log)
    checkpoints.save_resume_state(run, it.network, it.optimizer, log)
    checkpoints.keep_only(run, now + before, states=2)  # the state before serves where the newest is damaged


def _show(it: Learner, row: dict) -> None:
    """One evaluation's numbers for TensorBoard, by images seen."""
    numbers = {name: value for name, value in row.items() if name not in ("event", "images") and value is not None}
    it.accelerator.log(numbers, step=row["images"])
