"""What training minimises, and the labels in it.

Labels are the data set's, but where a policy does more with an uncertain one than choose 1, 0 or nothing. Under
U-MultiClass it is a class of its own. Under U-SelfTrained it is the probability that a teacher predicts, a run of the
same spec under U-Ignore, and labels of 1 and 0 stay (Irvin et al. 2019, section 4). The student starts from its own
initialisation, not from the teacher's weights: the paper does not say. Only training labels change: validation and
test never learn, and count no uncertain label.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from chexlib.data.dataset import Dataset
from chexlib.data.labels import FINDINGS, parse_policy
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run
from chexlib.training.predict import predict_with

UNCERTAIN = 2.0
"""The label of an uncertain entry where it is a class of its own; absent and present are 0 and 1 as everywhere."""

SOFT_LABELS = "soft_labels.parquet"
"""In the run's folder: image, finding and p, a row each uncertain training label. It stays there: resuming does not
predict again, and a finished run can be asked what it learned from."""


def masked_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, total: float | None = None
) -> torch.Tensor:
    """Cross-entropy averaged over the known entries; 0 where none is known.

    logits (N, T): binary, labels (N, T) in [0, 1]. logits (N, T, 3): softmax over absent, present and uncertain
    (U-MultiClass, Irvin et al. 2019, section 4), labels in {0, 1, UNCERTAIN}. known: (N, T) in {0, 1}. `total` is the
    number of known entries of the whole batch where these images are a part of it. The paper says "cross-entropy"
    (section 3.1); the mean over known entries, so that unknown labels weigh nothing, is ours.
    """
    if logits.ndim == 3:
        loss = F.cross_entropy(logits.float().movedim(2, 1), labels.long(), reduction="none")  # (N, T)
    else:
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")  # (N, T)
    return (loss * known).sum() / (total or known.sum().clamp(min=1))


def has_soft_labels(run: Run) -> bool:
    return (run.folder / SOFT_LABELS).exists()


def write_soft_labels(run: Run, teacher: Run, dataset: Dataset, progress: bool = True) -> None:
    """Asks the teacher's ensemble for the probability of each uncertain training label, and keeps the answers."""
    row, finding = np.nonzero(_uncertain_in_training(dataset))  # (U,) each
    images, place = np.unique(row, return_inverse=True)
    p = predict_with(teacher, dataset.pixels, images, f"soft labels by {teacher.run_id}" if progress else "")
    table = {"image": dataset.table["image"].to_numpy()[row], "finding": np.array(FINDINGS)[finding]}
    buffer = io.BytesIO()
    pd.DataFrame(table | {"p": p[place, finding].astype(np.float32)}).to_parquet(buffer, index=False)
    run.write(SOFT_LABELS, buffer.getvalue())


def labels_to_learn(run: Run, spec: RunSpec, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """labels and known (N, 14) float32 as the spec's loss takes them."""
    policy, where = parse_policy(spec.policy), _uncertain_in_training(dataset)
    labels, known = dataset.labels.copy(), dataset.known.copy()
    if policy.teacher:
        path = run.folder / SOFT_LABELS
        try:
            labels[where] = pd.read_parquet(path)["p"]  # in the order of np.nonzero(where)
        except (OSError, ValueError, KeyError):  # damaged, or of other labels
            raise UserError(f"{path}: damaged: remove it, and its labels are predicted again") from None
    elif policy.classes == 3:
        labels[where] = UNCERTAIN
    else:
        return labels, known
    known[where] = 1
    return labels, known


def _uncertain_in_training(dataset: Dataset) -> np.ndarray:
    """(N, 14) bool."""
    is_training = (dataset.table["split"] == "train").to_numpy()
    return (dataset.table[list(FINDINGS)].to_numpy() == -1) & dataset.covered & is_training[:, None]
