"""One step of training: a batch's images through the network, the loss, and the optimiser.

A batch may go through in parts, one after the other (`accumulate`) or on several GPUs at once (`processes`). Each
part's loss is divided by what the whole batch knows, so that the gradients add up to the batch's own; what differs is
batch norm, whose statistics are of a part.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator

from chexlib.data.augment import augmenter
from chexlib.data.labels import parse_policy
from chexlib.runs.spec import RunSpec
from chexlib.training import checkpoints
from chexlib.training.checkpoints import Normaliser
from chexlib.training.devices import placed
from chexlib.training.objectives import LOSSES


@dataclass(frozen=True, eq=False)
class Learner:
    """A network on its device, with all that a step needs."""

    spec: RunSpec
    accelerator: Accelerator
    model: torch.nn.Module
    prepare: Normaliser
    optimizer: torch.optim.Optimizer
    loss_of: Callable
    augment: Callable | None

    @property
    def network(self) -> torch.nn.Module:
        """The model itself, without what shares it between processes."""
        return self.accelerator.unwrap_model(self.model)


def learner(spec: RunSpec, accelerator: Accelerator, train_mean_std: Callable[[], tuple[float, float]]) -> Learner:
    """The spec's network at its start, on the device, with Adam."""
    model, prepare = checkpoints.build(spec, train_mean_std)
    model = placed(model, spec, accelerator)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.lr, betas=(spec.beta1, spec.beta2), fused=True)
    loss_of, augment = LOSSES[parse_policy(spec.policy).classes], augmenter(spec.augment, spec.size)
    return Learner(spec, accelerator, model, prepare, accelerator.prepare(optimizer), loss_of, augment)


def step(it: Learner, pixels: np.ndarray, labels: np.ndarray, known: np.ndarray, batch: np.ndarray) -> torch.Tensor:
    """Learns from the images of one batch (N,), rows of pixels (uint8) and of labels and known (., T).

    Gives the loss, on the device and not waited for; where processes share the batch, this one's part of it.
    """
    total = max(1.0, float(known[batch].sum()))
    parts = np.split(np.split(batch, it.spec.processes)[it.accelerator.process_index], it.spec.accumulate)
    losses = []
    it.optimizer.zero_grad()
    for part in parts:
        images = it.prepare(pixels[part], it.accelerator.device, it.augment)  # (n, 3, H, W)
        y, k = (torch.from_numpy(array[part]).to(it.accelerator.device, non_blocking=True) for array in (labels, known))
        last = len(losses) == len(parts) - 1
        with nullcontext() if last else it.accelerator.no_sync(it.model):
            logits = it.model(images)  # (n, T) or (n, T, 3), under autocast where the precision asks for it
            loss = it.loss_of(logits, y, k, total)
            it.accelerator.backward(loss * it.spec.processes)  # gradients are averaged over processes
        losses.append(loss.detach())
    it.optimizer.step()
    return torch.stack(losses).sum() if len(losses) > 1 else losses[0]
