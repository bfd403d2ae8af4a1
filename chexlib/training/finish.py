"""The end of a run: its ensemble's predictions and their AUCs, and the provenance that says what made them."""

from __future__ import annotations

import io
import json
import platform
import time
from importlib.metadata import version

import numpy as np
import pandas as pd

import chexlib
from chexlib.data.dataset import Dataset
from chexlib.data.images import decoder
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.runs.store import Run, by_study, predictions_table
from chexlib.stats import auroc
from chexlib.training import checkpoints
from chexlib.training.devices import device_name
from chexlib.training.predict import predict_ensemble
from chexlib.training.step import Learner

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


def finish(run: Run, it: Learner, dataset: Dataset, log: list[dict]) -> None:
    """Writes the ensemble's predictions, their AUCs, the provenance, and last of all done.json."""
    rows = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    members = checkpoints.ensemble_members(log, it.spec.keep)
    p = predict_ensemble(run, members, it.model, it.prepare, dataset, rows, it.accelerator)
    if not it.accelerator.is_main_process:
        return
    table, buffer = table_of(dataset, rows, p), io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    run.write("predictions.parquet", buffer.getvalue())
    scores = [
        {"event": "ensemble", "split": split, **aucs(table[table["split"] == split], it.spec.aggregate)}
        for split in ("val", "test")
    ]
    run.write_log(log + scores)
    run.write("provenance.json", json.dumps(_provenance(it, dataset, log, members), indent=1))
    run.write("done.json", json.dumps({"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
    checkpoints.keep_only(run, members, states=0)


def _provenance(it: Learner, dataset: Dataset, log: list[dict], members: list[int]) -> dict:
    """What made these numbers (DESIGN: provenance.json)."""
    spec, network = it.spec, it.network
    parameters = sum(weight.numel() for weight in network.parameters())
    return {
        "chexlib": chexlib.__version__,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": device_name(),
        "processes": spec.processes,
        "threads": spec.threads,
        "seed": spec.seed,
        "fingerprint": spec.fingerprint,
        "data": {"name": dataset.name, "attribution": dataset.source.attribution, "images": len(dataset.table)},
        "model": {"label": network.label, "family": network.family, "parameters": parameters},
        "normalisation": {"mean": it.prepare.mean, "std": it.prepare.std},
        "decoder": decoder(),
        "weights": network.weights_source,
        "teacher": spec.teacher and spec.teacher.run_id,
        "ensemble": members,
        "seconds": log[-1]["seconds"],
        "images_per_second": round(log[-1]["images"] / log[-1]["seconds"], 1),
        "peak_memory_mb": log[-1]["memory_mb"],
        "resumed": log[-1]["resumed"],
    }


def table_of(dataset: Dataset, rows: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Labels and probabilities p (len(rows), 14) of these images (DESIGN: predictions.parquet)."""
    return predictions_table(dataset.table.iloc[rows], FINDINGS, dataset.labels[rows], dataset.known[rows], p)


def aucs(table: pd.DataFrame, aggregate: str) -> dict[str, float | None]:
    """AUC over studies of each of the paper's tasks (`auc:<task>`) and their mean (`auc`); None where a class lacks."""
    y, p, _ = by_study(table, TASKS, aggregate)
    of_tasks = auroc(y, p)  # (6,)
    mean = np.nanmean(of_tasks) if np.isfinite(of_tasks).any() else np.nan
    named = {"auc": mean} | {f"auc:{task}": auc for task, auc in zip(TASKS, of_tasks, strict=True)}
    return {name: None if np.isnan(auc) else float(auc) for name, auc in named.items()}
