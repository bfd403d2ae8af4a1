"""Probabilities of images, by a model as it stands or by the ensemble of a run's kept checkpoints, and their AUCs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from chexlib.data.dataset import Dataset
from chexlib.data.labels import FINDINGS
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, by_study, predictions_table
from chexlib.stats import auroc
from chexlib.stats.bootstrap import mean_over_tasks
from chexlib.stats.intervals import enough
from chexlib.training import checkpoints
from chexlib.training.device import laid_out, start

BATCH = 64


def predict(
    model, prepare, pixels: np.ndarray, rows: np.ndarray, accelerator: Accelerator, title: str = ""
) -> np.ndarray:
    """Probabilities (len(rows), T) of these rows of pixels (uint8), never augmented; a `title` shows progress.

    Processes that share a run take every n-th image each, and all get all probabilities.
    """
    forward = accelerator.unwrap_model(model).eval().forward  # uncompiled: a last, smaller batch would compile it anew
    first, every = accelerator.process_index, accelerator.num_processes
    mine, parts = rows[first::every], []
    with torch.inference_mode(), tqdm(total=len(rows), desc=title, unit="image", disable=not title) as bar:
        for start_of_batch in range(0, len(mine), BATCH):
            batch = mine[start_of_batch : start_of_batch + BATCH]
            images = prepare(pixels[batch], accelerator.device)  # (N, 3, H, W)
            parts.append(forward(images).float().sigmoid().cpu().numpy())  # (N, T)
            bar.update(len(batch) * every)
    p = np.zeros((len(rows), len(FINDINGS)), dtype=np.float32)
    for place, found in enumerate(gather_object([np.concatenate([p[:0], *parts])])):
        p[place::every] = found
    return p


def predict_ensemble(
    run: Run, members: list[int], model, prepare, pixels: np.ndarray, rows, accelerator: Accelerator, title: str = ""
) -> np.ndarray:
    """The mean probabilities (len(rows), T) over the run's weights after `members` images, loaded into the model."""
    p = np.zeros((len(rows), len(FINDINGS)))
    for images in members:
        checkpoints.load_weights(run, accelerator.unwrap_model(model), images, prepare)
        p += predict(model, prepare, pixels, rows, accelerator, title) / len(members)
    return p


def predict_with(run: Run, pixels: np.ndarray, rows: np.ndarray, title: str = "") -> np.ndarray:
    """What a finished run predicts of images that it may not have written down, rows of pixels (uint8): (len(rows), T).

    Raises UserError where the run's weights are not there.
    """
    accelerator = start(run.spec)
    model, prepare = checkpoints.load_model(run)
    model = accelerator.prepare(laid_out(model, run.spec))
    return predict_ensemble(run, run.provenance["ensemble"], model, prepare, pixels, rows, accelerator, title)


def table_of(dataset: Dataset, rows: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Labels and probabilities p (len(rows), 14) of these images as predictions.parquet has them."""
    return predictions_table(dataset.table.iloc[rows], FINDINGS, dataset.labels[rows], dataset.known[rows], p)


def compared_tasks(spec: RunSpec, dataset: Dataset) -> list[str]:
    """The tasks whose mean AUC chooses checkpoints: those in which networks are compared later, by the same mean.

    They are the spec's tasks of which the test studies hold enough of both classes (`chexlib.stats.intervals.FEW`); all
    of them where none has, or nothing is tested. Only the counts of test labels are looked at.
    """
    rows = dataset.rows("test")
    y, _, _ = by_study(table_of(dataset, rows, np.zeros((len(rows), len(FINDINGS)))), spec.tasks)  # (S, T)
    return [task for task, kept in zip(spec.tasks, enough(y), strict=True) if kept] or list(spec.tasks)


def aucs(table: pd.DataFrame, spec: RunSpec, compared: list[str]) -> dict[str, float | None]:
    """AUC over studies of each of the spec's tasks (`auc:<task>`), and the mean of those `compared` (`auc`).

    None where a class lacks; the mean leaves out such a task.
    """
    y, p, _ = by_study(table, spec.tasks, spec.aggregate)
    areas = dict(zip(spec.tasks, auroc(y, p), strict=True))
    mean = mean_over_tasks(np.array([areas[task] for task in compared]))
    named = {"auc": mean} | {f"auc:{task}": area for task, area in areas.items()}
    return {name: None if np.isnan(area) else float(area) for name, area in named.items()}
