"""How fast a spec trains on this device, and how much memory it takes: a few steps on made-up images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.training.device import peak_memory_mb, start
from chexlib.training.loop import Learner, step
from chexlib.training.predict import predict

STEPS, SECONDS = 12, 3.0
"""After a first step, which warms up (and compiles), so many steps are timed, or as many as this time allows."""


@dataclass(frozen=True)
class Speed:
    """Of one spec on one device. `losses` are those of the first steps, by which two settings are compared."""

    images_per_second: float
    predicted_per_second: float
    start_seconds: float  # building the network, and its first step
    memory_mb: int
    losses: tuple[float, ...]

    def agrees(self, reference: Speed, within: float = 0.02) -> bool:
        """Whether the loss of every step that both took is within so much of the reference's."""
        ours, theirs = (np.array(losses) for losses in zip(*zip(self.losses, reference.losses, strict=False)))
        return bool(np.all(np.abs(ours - theirs) <= within * np.abs(theirs)))


def time_steps(spec: RunSpec) -> Speed:
    """Trains the spec's network, from random weights and by one process, for a few steps; one spec a process.

    Raises UserError where the settings cannot be had here, and where memory is too small.
    """
    began = time.perf_counter()
    spec = replace(spec, init="random", processes=1)
    accelerator = start(spec)
    learner = Learner.begin(spec, accelerator, lambda: (0.5, 0.25))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4 * spec.batch_size, spec.size, spec.size), dtype=np.uint8)
    labels = (rng.random((len(pixels), learner.objective.width)) < 0.3).astype(np.float32)
    batches = np.arange(len(pixels)).reshape(4, -1)
    torch.manual_seed(0)

    def learn(n: int) -> float:
        return step(learner, pixels, labels, np.ones_like(labels), batches[n % 4]).item()  # waits for the device

    learner.model.train()
    try:
        losses = [learn(0)]
        ends = [time.perf_counter()]
        while len(losses) < 4 or (len(losses) <= STEPS and ends[-1] - ends[0] < SECONDS):
            losses.append(learn(len(losses)))
            ends.append(time.perf_counter())
        a_step = float(np.median(np.diff(ends)))  # one step that was held up says nothing of the others
        some, began_to_predict = pixels[: spec.batch_size], time.perf_counter()
        predict(learner.model, learner.prepare, some, np.arange(len(some)), accelerator, spec.targets)
        predicting = (time.perf_counter() - began_to_predict) / len(some)
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{spec.arch} at {spec.size} px: {str(error).splitlines()[0]}") from error
    return Speed(
        images_per_second=spec.batch_size / a_step,
        predicted_per_second=1 / predicting,
        start_seconds=ends[0] - began,
        memory_mb=peak_memory_mb(accelerator),
        losses=tuple(losses),
    )
