"""What training minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy averaged over the known entries; 0 where none is known.

    logits, labels, known: (N, T); labels in [0, 1], known in {0, 1}. The paper says "cross-entropy" (section 3.1);
    the mean over known entries, so that unknown labels weigh nothing, is ours.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")  # (N, T)
    return (loss * known).sum() / known.sum().clamp(min=1)
