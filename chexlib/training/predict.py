"""Probabilities of images: by a model as it stands, or by the ensemble of a run's kept checkpoints."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tqdm import tqdm

from chexlib.data.dataset import Dataset
from chexlib.data.labels import FINDINGS
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run
from chexlib.training import checkpoints

BATCH = 64


def start(spec: RunSpec) -> Accelerator:
    """The device in the spec's precision and with its threads; a process may use one precision, then another."""
    torch.set_num_threads(spec.threads)
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no" if spec.precision == "fp32" else spec.precision)


def laid_out(model: torch.nn.Module, spec: RunSpec) -> torch.nn.Module:
    """The model in the spec's memory format."""
    return model.to(
        memory_format=torch.channels_last if spec.memory_format == "channels_last" else torch.contiguous_format
    )


def predict(
    model, prepare, dataset: Dataset, rows: np.ndarray, accelerator: Accelerator, title: str = ""
) -> np.ndarray:
    """Probabilities (len(rows), T) of these images, which are never augmented; a `title` shows progress."""
    model.eval()
    parts = []
    with torch.inference_mode(), tqdm(total=len(rows), desc=title, unit="image", disable=not title) as bar:
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            images = prepare(dataset.pixels[batch], accelerator.device)  # (N, 3, H, W)
            parts.append(model(images).float().sigmoid().cpu().numpy())  # (N, T)
            bar.update(len(batch))
    return np.concatenate(parts) if parts else np.zeros((0, len(FINDINGS)))


def predict_ensemble(
    run: Run, members: list[int], model, prepare, dataset: Dataset, rows, accelerator: Accelerator, title: str = ""
) -> np.ndarray:
    """The mean probabilities (len(rows), T) over the run's weights after `members` images, loaded into the model."""
    p = np.zeros((len(rows), len(FINDINGS)))
    for images in members:
        checkpoints.load_weights(run, accelerator.unwrap_model(model), images)
        p += predict(model, prepare, dataset, rows, accelerator, title) / len(members)
    return p


def predict_with(run: Run, dataset: Dataset, rows: np.ndarray, title: str = "") -> np.ndarray:
    """What a finished run predicts of images that it may not have written down: (len(rows), T).

    Raises UserError where the run's weights are not there.
    """
    accelerator = start(run.spec)
    model, prepare = checkpoints.load_model(run)
    model = accelerator.prepare(laid_out(model, run.spec))
    return predict_ensemble(run, run.provenance["ensemble"], model, prepare, dataset, rows, accelerator, title)
