"""AUC maximisation: the AUC margin loss and its optimiser PESG, of Yuan, Yan, Sonka and Yang (ICCV 2021, "Large-scale
Robust Deep AUC Maximization", arXiv:2012.03173), written from its formulas (the loss F_M, and Algorithm 1).

A score h is a probability, p the share of positives. The loss of an image is, for each finding,

    F = (1 - p) (h - a)² [y = 1] + p (h - b)² [y = 0] - p (1 - p) α²
        + 2 α (p (1 - p) m + p h [y = 0] - (1 - p) h [y = 1])

minimised over the weights, a and b, and maximised over α >= 0. Of fixed scores the optimum is a = the positives' mean
score, b = the negatives' and α = max(0, m + b - a), and there the mean of F is p (1 - p) times

    variance of the positives' scores + variance of the negatives' + max(0, m + b - a)².

Where m + b >= a that is the mean of (m - h + h')² over all pairs of a positive's h and a negative's h'; beyond, where
the pairwise loss would pull scores together again, the margin is met and α is 0.

Ours is that there are many findings, each with an a, b, α and p of its own, and labels that are not known. The loss is
the sum over findings of the mean over a finding's known labels in the batch, so that each takes the steps that it would
take alone; a soft label is y and 1 - y instead of the brackets; p is that of all training labels. Left out: a decay of
the learning rate, momentum and clipping, which are not in Algorithm 1, and a first training by cross-entropy, which the
paper starts from (init=file: takes one).

It wants another learning rate than Adam's: the paper's is 0.1. With 1e-4, Adam's, next to nothing is learned. One that
is too high shows in one of two ways. Scores saturate at 0 or 1, where a sigmoid has no slope: loss and AUC stand still.
Or, from 1 / (p (1 - p)) on, each step takes a and b further from their optimum than they were: the loss grows beyond
all numbers, and training stops and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

MARGIN = 1.0  # m: the paper's first choice; the most that two probabilities can be apart
REFERENCE = 2e-3  # γ, the pull towards the reference


class AUCMargin(torch.nn.Module):
    """The loss of T findings, whose a, b and alpha (T,) are learned with the network."""

    def __init__(self, share: Tensor, margin: float = MARGIN) -> None:
        """share: (T,) p, the part of the known training labels that is positive. Of 0 or 1 a finding has no loss."""
        super().__init__()
        self.register_buffer("share", share.float(), persistent=False)  # known from the data, whatever was saved
        self.margin = margin
        self.a, self.b, self.alpha = (torch.nn.Parameter(torch.zeros(len(share))) for _ in range(3))

    def forward(self, logits: Tensor, labels: Tensor, known: Tensor, totals: Tensor | None = None) -> Tensor:
        """logits (N, T), labels (N, T) in [0, 1], known (N, T) in {0, 1}; 0 where nothing is known.

        `totals` (T,) are the known labels of the whole batch where these images are a part of it.
        """
        h, p = logits.float().sigmoid(), self.share
        positive, negative = labels, 1 - labels
        each = (1 - p) * (h - self.a) ** 2 * positive + p * (h - self.b) ** 2 * negative
        each = each + 2 * self.alpha * (p * (1 - p) * self.margin + p * h * negative - (1 - p) * h * positive)
        each = each - p * (1 - p) * self.alpha**2  # (N, T)
        totals = known.sum(dim=0) if totals is None else totals
        return ((each * known).sum(dim=0) / totals.clamp(min=1)).sum()


class PESG(torch.optim.Optimizer):
    """Proximal epoch stochastic gradient: descent in the weights, a and b, ascent in alpha, which stays at least 0.

    The weights, a and b are pulled towards a reference, their start in the first epoch, then their mean over the steps
    of the epoch before. Weight decay is of the weights alone.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        loss: AUCMargin,
        lr: float,
        weight_decay: float = 0.0,
        pull: float = REFERENCE,
        steps_per_epoch: int = 0,
    ) -> None:
        """steps_per_epoch: after how many steps the reference is renewed; 0 is never."""
        self.steps_per_epoch = steps_per_epoch
        groups = [
            {"params": list(weights), "weight_decay": weight_decay},
            {"params": [loss.a, loss.b]},
            {"params": [loss.alpha], "ascends": True},
        ]
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "pull": pull, "ascends": False})

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if group["ascends"]:
                    weight.add_(weight.grad, alpha=group["lr"]).clamp_(min=0)
                else:
                    self._descend(weight, group)

    def _descend(self, weight: Tensor, group: dict) -> None:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.tensor(0.0), "reference": weight.clone(), "mean": torch.zeros_like(weight)}
        gradient = weight.grad + group["weight_decay"] * weight + group["pull"] * (weight - state["reference"])
        weight.sub_(gradient, alpha=group["lr"])
        state["step"] += 1
        n = int(state["step"]) if not self.steps_per_epoch else int(state["step"] - 1) % self.steps_per_epoch + 1
        state["mean"].lerp_(weight, 1 / n)
        if n == self.steps_per_epoch:
            state["reference"].copy_(state["mean"])
