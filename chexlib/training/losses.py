"""What training minimises, and the labels in it.

Each target's loss is a mean over its known labels, and their sum is weighted as the spec says: cross-entropy of
findings, sex, view and position, smooth L1 of age in decades (Awatramani et al. 2021, section 5.1). The findings' can
be the AUC margin loss instead, which is a sum over findings (chexlib.training.auc_margin).

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
from chexlib.data.targets import Target, further, further_labels
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run
from chexlib.training.auc_margin import PESG, AUCMargin
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


class Objective(torch.nn.Module):
    """A spec's loss of all its targets, whose labels stand side by side: W columns, T of findings and E further."""

    def __init__(self, spec: RunSpec, labels: np.ndarray | None = None, known: np.ndarray | None = None) -> None:
        """labels, known: (n, W) of all training images, whose share of positives the AUC margin loss asks for; a half
        where nobody says."""
        super().__init__()
        self.weights = spec.targets
        self.findings = len(FINDINGS) if "findings" in spec.targets else 0
        self.further = further(spec.targets)
        self.margin_loss, self.images = None, 0 if labels is None else len(labels)
        if spec.loss == "auc":
            share = np.full(self.findings, 0.5) if labels is None else _share(labels, known)[: self.findings]
            self.margin_loss = AUCMargin(torch.from_numpy(share))

    def optimizer(self, model: torch.nn.Module, spec: RunSpec) -> torch.optim.Optimizer:
        """What minimises it over the model's weights: Adam, and for the AUC margin loss PESG.

        Adam's weight decay is of the gradient (L2), not AdamW's: what torch.optim.Adam does is what the papers' "Adam"
        and "weight decay" most likely are.
        """
        if self.margin_loss is not None:
            steps = self.images // spec.batch_size
            return PESG(model.parameters(), self.margin_loss, spec.lr, spec.weight_decay, steps_per_epoch=steps)
        betas, decay = (spec.beta1, spec.beta2), spec.weight_decay
        return torch.optim.Adam(model.parameters(), lr=spec.lr, betas=betas, weight_decay=decay, fused=True)

    @property
    def width(self) -> int:
        return self.findings + len(self.further)

    def totals(self, known: np.ndarray) -> list[float | torch.Tensor]:
        """What a batch knows, known (N, W) in {0, 1}, of the findings together and of each further target; at least 1.
        For the AUC margin loss (T,), of each finding.

        A part of the batch divides its loss by these of the whole, so that the parts' gradients add up to the batch's.
        """
        counts = [known[:, : self.findings].sum(), *known[:, self.findings :].sum(axis=0)]
        totals = [max(1.0, float(count)) for count in counts]
        if self.margin_loss is not None:
            totals[0] = torch.from_numpy(known[:, : self.findings].sum(axis=0)).to(self.margin_loss.a.device)
        return totals

    def forward(
        self,
        outputs: tuple[torch.Tensor, torch.Tensor],
        labels: torch.Tensor,
        known: torch.Tensor,
        totals: list[float | torch.Tensor],
    ) -> torch.Tensor:
        """outputs: logits (n, T) or (n, T, 3) and further outputs (n, E); labels, known: (n, W) of these images."""
        logits, more = outputs
        columns = [column.split((self.findings, len(self.further)), dim=1) for column in (labels, known)]
        (y, its_y), (k, its_k) = columns  # (n, T) and (n, E), twice
        losses = []
        if self.findings:
            of_findings = self.margin_loss or masked_cross_entropy
            losses.append(self.weights["findings"] * of_findings(logits, y, k, totals[0]))
        for e, target in enumerate(self.further):
            each = _loss(target, more[:, e].float(), its_y[:, e])  # (n,)
            losses.append(self.weights[target.name] * (each * its_k[:, e]).sum() / totals[1 + e])
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _loss(target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each image: (n,) twice to (n,)."""
    if target.number:
        return F.smooth_l1_loss(outputs, (labels - target.middle) / target.unit, reduction="none")
    return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none")


def _share(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(W,) of (n, W): the mean of each column's known labels; 0 where none is known."""
    return (labels * known).sum(axis=0) / np.maximum(1, known.sum(axis=0))


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
    """labels and known (N, W) float32 as the spec's loss takes them: those of findings, then of further targets."""
    more = further_labels(dataset.table, spec.targets)  # (N, E)
    both = np.nan_to_num(more), ~np.isnan(more)
    if "findings" in spec.targets:
        of_findings = _findings_to_learn(run, spec, dataset)  # (N, 14) twice
        both = [np.hstack(pair) for pair in zip(of_findings, both, strict=True)]
    labels, known = (array.astype(np.float32) for array in both)
    return labels, known


def _findings_to_learn(run: Run, spec: RunSpec, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(N, 14) float32 twice."""
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
