"""Probabilities of images, by a model as it stands or by the ensemble of a run's kept checkpoints, and their AUCs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from chexlib.data.dataset import Dataset
from chexlib.data.labels import FINDINGS
from chexlib.data.targets import Target, further, further_labels
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, by_study, predictions_table
from chexlib.stats import auroc
from chexlib.stats.bootstrap import mean_over_tasks
from chexlib.stats.intervals import enough
from chexlib.training import checkpoints
from chexlib.training.device import laid_out, start

BATCH = 64


def predict(
    model,
    prepare,
    pixels: np.ndarray,
    rows: np.ndarray,
    accelerator: Accelerator,
    targets: Iterable[str] = ("findings",),
    title: str = "",
) -> np.ndarray:
    """What a network that learned these targets says of these rows of pixels (uint8), never augmented: (len(rows), W).

    Probabilities of the T findings, then of further targets, an age in years. A `title` shows progress.

    Processes that share a run take every n-th image each, and all get all probabilities.
    """
    forward = accelerator.unwrap_model(model).eval().forward  # uncompiled: a last, smaller batch would compile it anew
    first, every = accelerator.process_index, accelerator.num_processes
    mine, parts, rows_of = rows[first::every], [], further(targets)
    with torch.inference_mode(), tqdm(total=len(rows), desc=title, unit="image", disable=not title) as bar:
        for start_of_batch in range(0, len(mine), BATCH):
            batch = mine[start_of_batch : start_of_batch + BATCH]
            images = prepare(pixels[batch], accelerator.device)  # (N, 3, H, W)
            logits, more = forward(images, further=True)  # (N, T), (N, E)
            said = [logits.float().sigmoid(), *(_said(*one) for one in zip(rows_of, more.float().T, strict=True))]
            parts.append(torch.column_stack(said).cpu().numpy())  # (N, W)
            bar.update(len(batch) * every)
    p = np.zeros((len(rows), _width(targets)), dtype=np.float32)
    for place, found in enumerate(gather_object([np.concatenate([p[:0], *parts])])):
        p[place::every] = found
    return p


def _said(target: Target, outputs: torch.Tensor) -> torch.Tensor:
    """A further target's outputs (N,) as probabilities, or in its unit."""
    return target.middle + target.unit * outputs if target.number else outputs.sigmoid()


def _width(targets: Iterable[str]) -> int:
    return len(FINDINGS) * ("findings" in targets) + len(further(targets))


def predict_ensemble(
    run: Run, members: list[int], model, prepare, pixels: np.ndarray, rows, accelerator: Accelerator, title: str = ""
) -> np.ndarray:
    """The mean of `predict`, (len(rows), W), over the run's weights after `members` images, loaded into the model."""
    targets = run.spec.targets
    p = np.zeros((len(rows), _width(targets)))
    for images in members:
        checkpoints.load_weights(run, accelerator.unwrap_model(model), images, prepare)
        p += predict(model, prepare, pixels, rows, accelerator, targets, title) / len(members)
    return p


def predict_with(run: Run, pixels: np.ndarray, rows: np.ndarray, title: str = "") -> np.ndarray:
    """A finished run's probabilities of findings in images that it may not have written down, rows of pixels (uint8):
    (len(rows), T).

    Raises UserError where the run's weights are not there, and where it learned no findings.
    """
    run.need_findings()
    accelerator = start(run.spec)
    model, prepare = checkpoints.load_model(run)
    model = accelerator.prepare(laid_out(model, run.spec))
    p = predict_ensemble(run, run.provenance["ensemble"], model, prepare, pixels, rows, accelerator, title)
    return p[:, : len(FINDINGS)]


def table_of(dataset: Dataset, rows: np.ndarray, p: np.ndarray, targets: Iterable[str] = ("findings",)) -> pd.DataFrame:
    """Labels and predictions p (len(rows), W) of these images as predictions.parquet has them."""
    more = further_labels(dataset.table.iloc[rows], targets)  # (len(rows), E)
    names, y, known = tuple(row.name for row in further(targets)), more, ~np.isnan(more)
    if "findings" in targets:
        names = (*FINDINGS, *names)
        y, known = np.hstack([dataset.labels[rows], y]), np.hstack([dataset.known[rows], known])
    return predictions_table(dataset.table.iloc[rows], names, y, known, p)


def compared_tasks(spec: RunSpec, dataset: Dataset) -> list[str]:
    """The tasks whose mean AUC chooses checkpoints: those in which networks are compared later, by the same mean.

    They are the spec's tasks of which the test studies hold enough of both classes (`chexlib.stats.intervals.FEW`); all
    of them where none has, or nothing is tested. Only the counts of test labels are looked at.
    """
    rows = dataset.rows("test")
    y, _, _ = by_study(table_of(dataset, rows, np.zeros((len(rows), len(FINDINGS)))), spec.tasks)  # (S, T)
    return [task for task, kept in zip(spec.tasks, enough(y), strict=True) if kept] or list(spec.tasks)


def scores_of(table: pd.DataFrame, spec: RunSpec, compared: list[str]) -> dict[str, float | None]:
    """AUC over studies of each of the spec's tasks (`auc:<task>`), and the mean of those `compared` (`auc`).

    Of further targets AUC over images (`auc:sex`), as a study's can differ in view, and the mean absolute error in
    years (`mae:age`); `auc` is their mean AUC where no findings are learned. None where a class lacks, or all labels;
    the mean leaves out such a task.
    """
    areas, errors = {}, {}
    if "findings" in spec.targets:
        y, p, _ = by_study(table, spec.tasks, spec.aggregate)
        areas = dict(zip(spec.tasks, auroc(y, p), strict=True))
    for target in further(spec.targets):
        y, p = (table[f"{kind}:{target.name}"].to_numpy(dtype=float) for kind in "yp")
        if target.number:
            errors[f"mae:{target.name}"] = np.abs(y - p)[~np.isnan(y)].mean() if (~np.isnan(y)).any() else np.nan
        else:
            [areas[target.name]] = auroc(y[:, None], p[:, None])
    mean = mean_over_tasks(np.array([areas[name] for name in (compared if "findings" in spec.targets else areas)]))
    named = {"auc": mean} | {f"auc:{name}": area for name, area in areas.items()} | errors
    return {name: None if np.isnan(area) else float(area) for name, area in named.items()}
