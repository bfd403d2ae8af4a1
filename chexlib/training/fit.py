"""`fit`: one run from its spec to its predictions. Interrupted, it resumes; finished, it is reused.

Training is cut into stretches between evaluations. Which images come in which order depends only on (seed, epoch),
and any other draw in a stretch only on (seed, images seen), so that resuming needs neither a sampler's nor a
generator's state.
"""

from __future__ import annotations

import io
import json
import platform
import resource
import time
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

import chexlib
from chexlib.data.augment import augmenter
from chexlib.data.dataset import Dataset, open_for
from chexlib.data.images import decoder
from chexlib.data.labels import FINDINGS, TASKS, parse_policy
from chexlib.errors import UserError
from chexlib.models import zoo
from chexlib.runs.predictions import by_study, predictions_table
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.stats import auroc
from chexlib.training import checkpoints, uncertainty
from chexlib.training.devices import safe_settings
from chexlib.training.objectives import LOSSES
from chexlib.training.predict import laid_out, predict, predict_ensemble, start

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pretrainedmodels",
    "accelerate",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
)


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
    if spec.arch in zoo.ARCHITECTURES:
        zoo.check_size(spec.arch, spec.size)
    return _fit(spec, open_for(spec, root, progress), store or RunStore.open(), progress, wait)


def _fit(spec: RunSpec, dataset: Dataset, store: RunStore, progress: bool, wait: bool) -> Run:
    spec = spec.resolve(dataset.fingerprint, safe_settings())
    run = store.run(spec)
    with run.lock(wait):
        if not run.finished:
            run.write("spec.json", spec.to_json())
            if spec.teacher and not uncertainty.has_soft_labels(run):
                its_data = replace(dataset, policy=spec.teacher.policy)
                teacher = _fit(spec.teacher, its_data, store, progress, wait=True)
                uncertainty.write_soft_labels(run, teacher, dataset, progress)
            _train(run, spec, dataset, progress)
    return run


def _train(run: Run, spec: RunSpec, dataset: Dataset, progress: bool) -> None:
    started = time.perf_counter()
    accelerator = start(spec)
    model, prepare = checkpoints.build(spec, dataset.mean_std)
    model = laid_out(model, spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.lr, betas=(spec.beta1, spec.beta2), fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    loss_of, augment = LOSSES[parse_policy(spec.policy).classes], augmenter(spec.augment, spec.size)

    rows = dataset.rows("train")
    if len(rows) < spec.batch_size:
        raise UserError(f"{dataset.root}: {len(rows)} training images are fewer than batch_size={spec.batch_size}")
    per_epoch = len(rows) // spec.batch_size * spec.batch_size  # an incomplete last batch is dropped
    total = spec.epochs * per_epoch
    to_learn = uncertainty.labels_to_learn(run, spec, dataset)
    log = checkpoints.load_resume_state(run, model, optimizer)
    seen, before = (log[-1]["images"], log[-1]["seconds"]) if log else (0, 0.0)
    bar = tqdm(total=total, initial=seen, desc=run.run_id, unit="image", disable=not progress)

    while seen < total:
        stop = min(seen + spec.images_between_evaluations(per_epoch), total)
        losses = []
        model.train()
        with torch.random.fork_rng():
            torch.manual_seed(spec.seed * 1_000_003 + seen)
            for first in range(seen, stop, spec.batch_size):
                batch = _batch(rows, first, per_epoch, spec)
                images = prepare(dataset.pixels[batch], accelerator.device, augment)  # (N, 3, H, W)
                labels, known = (torch.from_numpy(a[batch]).to(accelerator.device) for a in to_learn)  # (N, T)
                logits = model(images)  # (N, T) or (N, T, 3), under autocast where the precision asks for it
                loss = loss_of(logits, labels, known)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                losses.append(_finite(loss, dataset, batch))
                bar.update(len(batch))
        seen = stop
        row = {"event": "eval", "images": seen, "epoch": seen / per_epoch, "loss": float(np.mean(losses))}
        log.append(
            row
            | _validate(model, prepare, dataset, accelerator, spec.aggregate)
            | {"seconds": round(before + time.perf_counter() - started, 2)}
        )
        _checkpoint(run, spec, accelerator.unwrap_model(model), optimizer, log)

    bar.close()
    _finish(run, spec, dataset, model, prepare, accelerator, log)


def _batch(rows: np.ndarray, first: int, per_epoch: int, spec: RunSpec) -> np.ndarray:
    """The images of the batch that begins when `first` images have been seen: a stretch of the epoch's permutation."""
    epoch, offset = divmod(first, per_epoch)
    return rows[_order(spec.seed, epoch, len(rows))[offset : offset + spec.batch_size]]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


def _finite(loss: torch.Tensor, dataset: Dataset, batch: np.ndarray) -> float:
    value = loss.item()
    if not np.isfinite(value):
        names = ", ".join(dataset.table["image"].iloc[batch])
        raise UserError(f"the loss is {value} on the batch {names}: lower the learning rate or look at these images")
    return value


def _table(dataset: Dataset, rows: np.ndarray, p: np.ndarray):
    return predictions_table(dataset.table.iloc[rows], FINDINGS, dataset.labels[rows], dataset.known[rows], p)


def _validate(model, prepare, dataset: Dataset, accelerator: Accelerator, aggregate: str) -> dict:
    """Validation AUC of each of the paper's tasks and their mean; None where validation lacks a class."""
    rows = dataset.rows("val")
    table = _table(dataset, rows, predict(model, prepare, dataset, rows, accelerator))
    y, p, _ = by_study(table, TASKS, aggregate)
    aucs = auroc(y, p)  # (6,)
    mean = np.nanmean(aucs) if np.isfinite(aucs).any() else np.nan
    named = {"auc": mean} | {f"auc:{task}": auc for task, auc in zip(TASKS, aucs, strict=True)}
    return {name: None if np.isnan(auc) else float(auc) for name, auc in named.items()}


def _checkpoint(run: Run, spec: RunSpec, model, optimizer, log: list[dict]) -> None:
    """Keeps what ensemble and resuming need; the resume state comes last, as it makes the rest count."""
    now, before = (checkpoints.ensemble_members(rows, spec.keep) for rows in (log, log[:-1]))
    seen = log[-1]["images"]
    if seen in now:
        checkpoints.save_weights(run, model, seen)
    run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    checkpoints.save_resume_state(run, model, optimizer, log)
    checkpoints.keep_only(run, now + before, states=2)  # the state before serves where the newest is damaged


def _finish(
    run: Run, spec: RunSpec, dataset: Dataset, model, prepare, accelerator: Accelerator, log: list[dict]
) -> None:
    """The ensemble's predictions, the provenance, and last of all done.json."""
    rows = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    members = checkpoints.ensemble_members(log, spec.keep)
    p = predict_ensemble(run, members, model, prepare, dataset, rows, accelerator)
    buffer = io.BytesIO()
    _table(dataset, rows, p).to_parquet(buffer, index=False, compression="zstd")
    run.write("predictions.parquet", buffer.getvalue())
    run.write(
        "provenance.json", json.dumps(_provenance(spec, dataset, model, prepare, accelerator, log, members), indent=1)
    )
    run.write("done.json", json.dumps({"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
    checkpoints.keep_only(run, members, states=0)


def _provenance(spec, dataset, model, prepare, accelerator, log, members) -> dict:
    """What made these numbers (DESIGN: provenance.json)."""
    return {
        "chexlib": chexlib.__version__,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else f"cpu ({platform.machine()})",
        "threads": spec.threads,
        "seed": spec.seed,
        "fingerprint": spec.fingerprint,
        "data": {"name": dataset.name, "attribution": dataset.source.attribution, "images": len(dataset.table)},
        "normalisation": {"mean": prepare.mean, "std": prepare.std},
        "decoder": decoder(),
        "weights": accelerator.unwrap_model(model).weights_source,
        "teacher": spec.teacher and spec.teacher.run_id,
        "ensemble": members,
        "seconds": log[-1]["seconds"],
        "images_per_second": round(log[-1]["images"] / log[-1]["seconds"], 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
