"""`fit`: one run from its spec to its predictions. Interrupted, it resumes; finished, it is reused.

Training is cut into stretches between evaluations. Which images come in which order depends only on (seed, epoch),
and any other draw in a stretch only on (seed, images seen), so that resuming needs neither a sampler's nor a
generator's state.
"""

from __future__ import annotations

import errno
import io
import json
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

import chexlib
from chexlib.data import looks
from chexlib.data.augment import augmenter
from chexlib.data.dataset import Dataset, open_for
from chexlib.data.images import decoder
from chexlib.data.labels import FINDINGS
from chexlib.data.targets import further, further_labels
from chexlib.errors import UserError
from chexlib.models.build import check_model
from chexlib.models.networks import count
from chexlib.runs.manifest import keep_manifest
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.training import checkpoints, processes
from chexlib.training.device import Normaliser, device_name, peak_memory_mb, placed, processor, safe_settings, start
from chexlib.training.losses import Objective, has_soft_labels, labels_to_learn, write_soft_labels
from chexlib.training.predict import compared_tasks, predict, predict_ensemble, scores_of, table_of

LOOK = 16
"""Steps from one look at the losses to the next: a look waits for the GPU."""

PACKAGES = ("torch", "torchvision", "timm", "pretrainedmodels", "accelerate")
PACKAGES += ("numpy", "pandas", "pillow", "safetensors")
"""Whose versions provenance.json notes."""


def fit(
    spec: RunSpec,
    root: str | Path | None = None,
    store: RunStore | None = None,
    progress: bool = True,
    wait: bool = False,
) -> Run:
    """Trains the spec's network, or reuses the finished run of the same spec and data.

    `root` is the data set's folder (none for the phantom), `store` where runs are kept (RunStore.open() by default).
    The result is the mean prediction of the `keep` evaluations with the best mean validation AUC (`compared_tasks`).
    U-SelfTrained trains its teacher first, or reuses it. Raises UserError, one line, for bad input, a full disk,
    a loss that is not a number, and, unless `wait`, a run that another process is training.
    """
    check_model(spec.arch, spec.size, spec.init, spec.minus, spec.norm)
    dataset, store = open_for(spec, root, progress), store or RunStore.open()
    spec = spec.resolve(dataset.fingerprint, safe_settings())
    run = store.run(spec)
    if not run.finished or checkpoints.untidy(run):  # else without a lock, which no store on a read-only disk has
        with run.lock(wait):
            if run.finished:
                checkpoints.tidy(run)
            else:
                _train_alone(run, spec, dataset, root, store, progress)
    if grown := run.diverged():
        tqdm.write(f"chexlib: {grown}", file=sys.stderr)
    return run


def _train_alone(run: Run, spec: RunSpec, dataset: Dataset, root, store: RunStore, progress: bool) -> None:
    """What `fit` does of a run that is locked, and not finished."""
    run.write("spec.json", spec.to_json())
    keep_manifest(store.folder, dataset, progress)
    if spec.teacher and not has_soft_labels(run):
        teacher = fit(spec.teacher, root, store, progress, wait=True)
        write_soft_labels(run, teacher, dataset, progress)
    if spec.processes == 1:
        _train_or_refuse(run, spec, root, progress, dataset)
    else:
        processes.run(_train_or_refuse, spec.processes, run, spec, root, progress)


def train(run: Run, spec: RunSpec, dataset: Dataset, progress: bool) -> None:
    """Trains a run, from its newest checkpoint on, and writes what its ensemble predicts."""
    began = time.perf_counter()
    rows = dataset.rows("train")
    labels, known = labels_to_learn(run, spec, dataset)  # (N, W) each
    _check_data(spec, dataset, labels[rows], known[rows])
    compared = compared_tasks(spec, dataset)
    per_epoch = len(rows) // spec.batch_size * spec.batch_size  # an incomplete last batch is dropped
    every, total = spec.images_between_evaluations(per_epoch), spec.epochs * per_epoch

    accelerator = start(spec, run.folder)
    learner = Learner.begin(spec, accelerator, dataset.mean_std, Objective(spec, labels[rows], known[rows]))
    with accelerator.main_process_first():  # which removes what is damaged
        log = checkpoints.load_resume_state(run, learner.network, learner.objective, learner.optimizer)
    seen, before, resumed = (log[-1]["images"], log[-1]["seconds"], log[-1]["resumed"] + 1) if log else (0, 0.0, 0)
    accelerator.init_trackers("tensorboard")
    show = progress and accelerator.is_main_process

    with tqdm(total=total, initial=seen, desc=run.run_id, unit="image", disable=not show) as bar:
        while seen < total:
            # a stretch of training
            stop, since = min(seen + every, total), time.perf_counter()
            batches = [batch_at(rows, first, per_epoch, spec) for first in range(seen, stop, spec.batch_size)]
            losses = []
            learner.model.train()
            with torch.random.fork_rng():
                # primes keep apart the draws of seeds, of stretches and of processes
                torch.manual_seed(spec.seed * 1_000_003 + seen + accelerator.process_index * 7_919)
                for n, batch in enumerate(batches, start=1):
                    losses.append(step(learner, dataset.pixels, labels, known, batch))
                    bar.update(len(batch))
                    if n % LOOK == 0 or n == len(batches):
                        _check_finite(losses[-LOOK:], batches[max(0, n - LOOK) : n], dataset)
            whole = accelerator.reduce(torch.stack(losses), "sum")  # where processes share a batch, each has a part
            loss, rate = float(np.mean(whole.tolist())), (stop - seen) / (time.perf_counter() - since)
            seen = stop

            # its evaluation
            row = {"event": "eval", "images": seen, "epoch": seen / per_epoch, "loss": loss}
            row |= _validate(learner, dataset, compared)
            row["seconds"] = round(before + time.perf_counter() - began, 2)
            row["images_per_second"] = round(rate, 1)
            row["memory_mb"] = max([peak_memory_mb(accelerator), *(earlier["memory_mb"] for earlier in log)])
            log.append(row | {"resumed": resumed})

            # its checkpoint
            if accelerator.is_main_process:
                state = learner.network, learner.prepare, learner.objective, learner.optimizer
                checkpoints.save_checkpoint(run, *state, log, spec.keep)
            numbers = {k: v for k, v in log[-1].items() if k not in ("event", "images") and v is not None}
            accelerator.log(numbers, step=seen)  # for TensorBoard
            accelerator.wait_for_everyone()

    _finish(run, learner, dataset, log, compared)
    accelerator.end_training()


def step(
    learner: Learner, pixels: np.ndarray, labels: np.ndarray, known: np.ndarray, batch: np.ndarray
) -> torch.Tensor:
    """Learns from the images of one batch (N,), rows of pixels (uint8) and of labels and known (., W).

    A batch may go through the network in parts, one after the other (`accumulate`) or on several GPUs at once
    (`processes`). Each part's loss is divided by what the whole batch knows, so that the gradients add up to the
    batch's own; what differs is batch norm, whose statistics are of a part. Gives the loss, on the device and not
    waited for; where processes share the batch, this one's part of it.
    """
    spec, accelerator = learner.spec, learner.accelerator
    totals = learner.objective.totals(known[batch])
    parts = np.split(np.split(batch, spec.processes)[accelerator.process_index], spec.accumulate)
    losses = []
    learner.optimizer.zero_grad()
    for part in parts:
        images = learner.prepare(pixels[part], accelerator.device, learner.augment)  # (n, 3, H, W)
        y, k = (torch.from_numpy(array[part]).to(accelerator.device, non_blocking=True) for array in (labels, known))
        last = len(losses) == len(parts) - 1
        with nullcontext() if last else accelerator.no_sync(learner.model):
            outputs = learner.model(images, further=True)  # under autocast where the precision asks for it
            loss = learner.objective(outputs, y, k, totals)
            accelerator.backward(loss * spec.processes)  # gradients are averaged over processes
        losses.append(loss.detach())
    for weight in learner.objective.parameters():  # which no wrapper averages over processes
        weight.grad = accelerator.reduce(weight.grad, "mean")
    learner.optimizer.step()
    return torch.stack(losses).sum() if len(losses) > 1 else losses[0]


@dataclass(frozen=True, eq=False)
class Learner:
    """A network on its device, with all that a step needs."""

    spec: RunSpec
    accelerator: Accelerator
    model: torch.nn.Module
    prepare: Normaliser
    objective: Objective
    optimizer: torch.optim.Optimizer
    augment: Callable | None

    @classmethod
    def begin(
        cls, spec: RunSpec, accelerator: Accelerator, train_mean_std: Callable, objective: Objective | None = None
    ) -> Learner:
        """The spec's network at its start, on the device, with its optimiser; `objective` where it knows the labels."""
        objective = (objective or Objective(spec)).to(accelerator.device)
        model, prepare = checkpoints.build(spec, train_mean_std)
        model = placed(model, spec, accelerator)
        optimizer = accelerator.prepare(objective.optimizer(model, spec))
        return cls(spec, accelerator, model, prepare, objective, optimizer, augmenter(spec.augment, spec.size))

    @property
    def network(self) -> torch.nn.Module:
        """The model itself, without what shares it between processes."""
        return self.accelerator.unwrap_model(self.model)


def batch_at(rows: np.ndarray, first: int, per_epoch: int, spec: RunSpec) -> np.ndarray:
    """The images of the batch that begins when `first` images have been seen: a stretch of the epoch's permutation."""
    epoch, offset = divmod(first, per_epoch)
    return rows[_order(spec.seed, epoch, len(rows))[offset : offset + spec.batch_size]]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


def _check_data(spec: RunSpec, dataset: Dataset, labels: np.ndarray, known: np.ndarray) -> None:
    """Refuses too few images, and a task that the set labels where the policy leaves no label of it: a network would
    learn nothing of it, and be judged by it; and a further target that is not known, or the same, in all training
    images. The AUC margin loss needs positives and negatives of each task. labels, known: (training images, W)."""
    if len(known) < spec.batch_size:
        raise UserError(f"{dataset.root}: {len(known)} training images are fewer than batch_size={spec.batch_size}")
    training = dataset.rows("train")
    for target, values in zip(
        further(spec.targets), further_labels(dataset.table.iloc[training], spec.targets).T, strict=True
    ):
        values = values[~np.isnan(values)]
        if not len(values) or np.ptp(values) == 0:
            how = f"the same ({values[0]:g}: {target.meaning})" if len(values) else "unknown"
            raise UserError(
                f"{dataset.root}: {target.name} is {how} in all {len(known)} training images: leave it out of targets"
            )
    covered = dataset.covered[training].any(axis=0)
    for task in spec.tasks if "findings" in spec.targets else ():
        t = FINDINGS.index(task)
        if covered[t] and not known[:, t].any():
            raise UserError(
                f"{dataset.root}: {task} is unknown in all {len(known)} training images under policy "
                f"{dataset.policy} with unmentioned={dataset.unmentioned}: choose others, or mend the labels"
            )
        values = labels[known[:, t] > 0, t]
        if spec.loss == "auc" and len(values) and values.min() == values.max():
            raise UserError(
                f"{dataset.root}: {task} is {values[0]:g} in all {len(values)} training images that say it: loss=auc "
                "needs positives and negatives: leave it out of tasks, or choose loss=cross-entropy"
            )


def _check_finite(losses: list[torch.Tensor], batches: list[np.ndarray], dataset: Dataset) -> None:
    """Stops where a loss is not a number, and names its images; what was learned since the last checkpoint is lost."""
    for loss, batch in zip(torch.stack(losses).tolist(), batches, strict=True):
        if not np.isfinite(loss):
            names = ", ".join(dataset.table["image"].iloc[batch])
            raise UserError(f"the loss is {loss} on the batch {names}: lower the learning rate or look at these images")


def _validate(learner: Learner, dataset: Dataset, compared: list[str]) -> dict:
    """The validation scores of all that is learned, and the mean AUC of what is compared."""
    rows = dataset.rows("val")
    targets = learner.spec.targets
    p = predict(learner.model, learner.prepare, dataset.pixels, rows, learner.accelerator, targets)  # (N, W)
    if not np.isfinite(p).all():
        raise UserError("the network predicts no numbers for validation images: lower the learning rate")
    return scores_of(table_of(dataset, rows, p, targets), learner.spec, compared)


def _finish(run: Run, learner: Learner, dataset: Dataset, log: list[dict], compared: list[str]) -> None:
    """Writes the ensemble's predictions, their AUCs, the provenance, and last of all done.json."""
    rows = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    members = checkpoints.ensemble_members(log, learner.spec.keep)
    p = predict_ensemble(run, members, learner.model, learner.prepare, dataset.pixels, rows, learner.accelerator)
    if not learner.accelerator.is_main_process:
        return
    table, buffer = table_of(dataset, rows, p, run.spec.targets), io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    run.write("predictions.parquet", buffer.getvalue())
    scores = [
        {"event": "ensemble", "split": split, **scores_of(table[table["split"] == split], learner.spec, compared)}
        for split in ("val", "test")
    ]
    run.write_log(log + scores)
    if learned := looks.Looks.of(dataset):  # for whoever gives the network images of their own
        run.write(looks.FILE, learned.to_bytes())
    run.write("provenance.json", json.dumps(_provenance(learner, dataset, log, members), indent=1))
    checkpoints.keep_only(run, members, states=2)  # the ensemble's weights are all whose hashes are kept
    run.finish(finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    checkpoints.tidy(run)


def _provenance(learner: Learner, dataset: Dataset, log: list[dict], members: list[int]) -> dict:
    """What made these numbers: provenance.json."""
    spec, network = learner.spec, learner.network
    return {
        "chexlib": chexlib.__version__,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": device_name(),
        "processor": processor(),
        "processes": spec.processes,
        "threads": spec.threads,
        "seed": spec.seed,
        "fingerprint": spec.fingerprint,
        "data": {"name": dataset.name, "attribution": dataset.source.attribution, "images": len(dataset.table)},
        "model": {"label": network.label, "family": network.family, "parameters": count(network)},
        "normalisation": {"mean": learner.prepare.mean, "std": learner.prepare.std},
        "decoder": decoder(),
        "weights": network.weights_source,
        "teacher": spec.teacher and spec.teacher.run_id,
        "ensemble": members,
        "seconds": log[-1]["seconds"],
        "images_per_second": round(log[-1]["images"] / log[-1]["seconds"], 1),
        "peak_memory_mb": log[-1]["memory_mb"],
        "resumed": log[-1]["resumed"],
    }


def _train_or_refuse(
    run: Run, spec: RunSpec, root: str | Path | None, progress: bool, dataset: Dataset | None = None
) -> None:
    """What each of a run's processes does. Where there are several, each opens the data, and only the first one writes.

    Raises UserError where memory does not suffice, and for a disk that is full.
    """
    try:
        train(run, spec, dataset or open_for(spec, root, progress=False), progress)
    except RuntimeError as error:
        if should_reduce_batch_size(error):
            raise _out_of_memory(spec) from error
        raise
    except OSError as error:  # of TensorBoard's files; ours are written by the run store, which says so itself
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{run.folder}: {error.strerror}: free some space, and give the same command") from None
        raise


def _out_of_memory(spec: RunSpec) -> UserError:
    share = spec.batch_size // spec.processes
    line = f"{spec.arch}: {share // spec.accumulate} images of {spec.size} px at once do not fit into memory"
    more = [parts for parts in range(spec.accumulate + 1, share + 1) if share % parts == 0]
    if not more:
        return UserError(f"{line}: choose a smaller size, or another device")
    return UserError(
        f"{line}: accumulate={more[0]} takes {share // more[0]} at once and adds the gradients up "
        f"to those of batch_size={spec.batch_size} (batch norm alone then sees a part)"
    )
