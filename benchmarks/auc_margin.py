"""The AUC margin loss and its gradient against LibAUC 2.0.1's, on the same scores, where LibAUC follows the formula.

That is one finding, every label known, and `auto=False`, without which LibAUC replaces the share of positives by the
batch's. For many findings LibAUC has no margin of the caller's, and takes no labels that are unknown.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.compare import compare
from chexlib.training.auc_margin import AUCMargin

N, SHARE, MARGIN, BATCHES = 256, 0.12, 0.8, 200
LEARNED = {"a": 0.6, "b": 0.2, "alpha": 0.4}


def main() -> None:
    try:
        from libauc.losses import AUCMLoss
    except ImportError as error:
        print(f"auc_margin: skipped, as LibAUC is not here: {error}", flush=True)
        return
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N, 1, generator=generator)
    labels = (torch.rand(N, 1, generator=generator) < SHARE).float()
    known = torch.ones(N, 1)
    ours = AUCMargin(torch.tensor([SHARE]), MARGIN)
    theirs = AUCMLoss(margin=MARGIN, imratio=SHARE, device="cpu")
    with torch.no_grad():
        for loss in (ours, theirs):
            for name, value in LEARNED.items():
                getattr(loss, name).fill_(value)

    def our_loss(x: torch.Tensor) -> torch.Tensor:
        return ours(x, labels, known)

    def their_loss(x: torch.Tensor) -> torch.Tensor:
        return theirs(x.sigmoid(), labels, auto=False)

    compare(
        "AUC margin loss",
        lambda: answer(our_loss, ours, logits),
        lambda: answer(their_loss, theirs, logits),
        peer_name="LibAUC 2.0.1",
        work=f"{BATCHES} batches of {N} scores of one finding, forward and backward",
    )


def answer(loss, module: torch.nn.Module, logits: torch.Tensor) -> np.ndarray:
    """The loss, and its gradient with respect to the logits, a, b and alpha."""
    for _ in range(BATCHES):
        x = logits.clone().requires_grad_()
        value = loss(x)
        learned = [getattr(module, name) for name in LEARNED]
        gradients = torch.autograd.grad(value, [x, *learned])
    return torch.cat([value.detach().reshape(1), *(each.reshape(-1) for each in gradients)]).numpy()


if __name__ == "__main__":
    main()
