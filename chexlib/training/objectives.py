"""What training minimises: a loss for each number of outputs that a policy gives a finding."""

from __future__ import annotations

import torch
import torch.nn.functional as F

UNCERTAIN = 2.0
"""The label of an uncertain entry where it is a class of its own; absent and present are 0 and 1 as everywhere."""


def masked_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, total: float | None = None
) -> torch.Tensor:
    """Binary cross-entropy averaged over the known entries; 0 where none is known.

    logits, labels, known: (N, T); labels in [0, 1], known in {0, 1}. `total` is the number of known entries of the
    whole batch where these images are a part of it. The paper says "cross-entropy" (section 3.1); the mean over known
    entries, so that unknown labels weigh nothing, is ours.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")  # (N, T)
    return (loss * known).sum() / (total or known.sum().clamp(min=1))


def masked_three_class_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, total: float | None = None
) -> torch.Tensor:
    """Softmax cross-entropy over absent, present and uncertain, averaged over the known entries; 0 where none is.

    logits (N, T, 3); labels, known (N, T); labels in {0, 1, UNCERTAIN}, known in {0, 1} and 1 where uncertain, too.
    U-MultiClass (Irvin et al. 2019, section 4).
    """
    loss = F.cross_entropy(logits.float().movedim(2, 1), labels.long(), reduction="none")  # (N, T)
    return (loss * known).sum() / (total or known.sum().clamp(min=1))


LOSSES = {1: masked_cross_entropy, 3: masked_three_class_cross_entropy}
"""By the classes of a policy, which are the outputs of its network for each finding."""
