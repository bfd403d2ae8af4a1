"""Whether the fast settings learn the same: the loss of the first 100 steps against a plain fp32 loop's, 16 networks.

Ours is in bf16 and channels_last, the coarsest of the settings, whichever is the fastest. On phantom radiographs, from
the same weights, in the same order. Compared are means over ten steps, as one step of sixteen images says little.
"""

from __future__ import annotations

import multiprocessing

import numpy as np
import torch

from benchmarks.compare import machine, record
from benchmarks.training import BATCH, PAPER, plain_loop, plain_model
from chexlib.data.dataset import open_dataset
from chexlib.runs.spec import RunSpec
from chexlib.training.device import start
from chexlib.training.loop import Learner, step

SIZE, STEPS, SMOOTH = 96, 100, 10


def main() -> None:
    open_dataset("phantom", size=SIZE, n=STEPS * BATCH, n_valid=16, n_test=16)  # drawn once, before the processes
    worst = 0.0
    for name in PAPER:
        spec = RunSpec(arch=name, size=SIZE, precision="bf16", memory_format="channels_last", execution="eager")
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            ours, plain = (found.get() for found in (pool.apply_async(f, (spec,)) for f in (our_curve, plain_curve)))
        ours, plain = (np.reshape(curve, (-1, SMOOTH)).mean(axis=1) for curve in (ours, plain))
        apart = np.abs(ours - plain) / plain
        worst = max(worst, apart.max())
        row = {
            "name": f"loss curve {spec.arch}",
            "largest": apart.max(),
            "mean": apart.mean(),
            "precision": spec.precision,
            "first": plain[0],
            "last": plain[-1],
            "machine": machine(),
        }
        record(row)
        found = f"{apart.max():.2%} apart at most, {apart.mean():.2%} in the mean"
        print(f"loss of {spec.arch} in {spec.precision}: {plain[0]:.3f} to {plain[-1]:.3f}, {found}", flush=True)
    print(f"loss curves of {STEPS} steps: at most {worst:.2%} apart", flush=True)


def images() -> tuple[np.ndarray, np.ndarray]:
    data = open_dataset("phantom", size=SIZE, n=STEPS * BATCH, n_valid=16, n_test=16, progress=False)
    rows = data.rows("train")[: STEPS * BATCH]
    return data.pixels[rows], data.labels[rows]


def our_curve(spec: RunSpec) -> list[float]:
    learner = Learner.begin(spec, start(spec), lambda: (0.5, 0.25))
    learner.model.train()
    pixels, labels = images()
    torch.manual_seed(0)
    known = np.ones_like(labels)
    return [step(learner, pixels, labels, known, np.arange(BATCH) + n * BATCH).item() for n in range(STEPS)]


def plain_curve(spec: RunSpec) -> list[float]:
    torch.set_num_threads(1)
    model = plain_model(spec)
    pixels, labels = images()
    torch.manual_seed(0)
    learn = plain_loop(model, pixels, labels)
    return [learn(n) for n in range(STEPS)]
