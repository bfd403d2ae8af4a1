"""Images a second of the paper's 16 networks on all cores, ours against a plain PyTorch loop over the same timm models.

Plain: one network at a time on all cores (or on the GPU, under AMP), fp32, contiguous, torch's own Adam. Ours: what
`study run` does with the settings of `study plan --tune`: as many runs at once as there are cores, a thread each (or
one on the GPU). Both learn from the same batches, in memory as uint8, from the same weights.
"""

from __future__ import annotations

import multiprocessing
import time
from statistics import geometric_mean

import numpy as np
import timm
import torch

from benchmarks.compare import machine, record
from chexlib.models import create_model
from chexlib.models.zoo import ARCHITECTURES
from chexlib.runs.spec import RunSpec
from chexlib.study.one import default_workers
from chexlib.study.plan import tune_networks
from chexlib.training.device import device_type, start
from chexlib.training.loop import Learner, step

SIZE, STEPS, WARM = 128, 4, 2
PAPER = [name for name, row in ARCHITECTURES.items() if row.in_paper]
FINDINGS, BATCH = 14, 16


def main() -> None:
    specs = [RunSpec(arch=name, size=SIZE) for name in PAPER]
    workers = default_workers(specs)
    fastest = tune_networks(specs, speed_alone, device_type(), workers, progress=True)
    ratios = [compare_one(spec, workers) for spec, _ in fastest.values()]
    mean = geometric_mean(ratios)
    print(f"training, {len(ratios)} networks: {mean:.2f} times a plain loop, geometric mean ({machine()})", flush=True)


def speed_alone(spec: RunSpec, speed) -> float:
    return 1 / speed.images_per_second


def compare_one(spec: RunSpec, workers: int) -> float:
    """Prints and records one network's ratio, ours over plain."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        plain = pool.apply(plain_rate, (spec,))
    barrier = context.Manager().Barrier(workers)
    with context.Pool(workers) as pool:
        ours = sum(pool.starmap(our_rate, [(spec, barrier)] * workers))
    settings = f"{spec.precision}, {spec.memory_format}, {spec.execution}, {workers} at once"
    row = {
        "name": f"training {spec.arch}",
        "ours_images_per_second": ours,
        "plain_images_per_second": plain,
        "ratio": ours / plain,
        "settings": settings,
        "work": f"batches of {BATCH} at {SIZE} px",
        "machine": machine(),
    }
    record(row)
    print(
        f"training {spec.arch}: {ours:.1f} images/s to {plain:.1f}, {ours / plain:.2f} times ({settings})", flush=True
    )
    return ours / plain


def batches(size: int, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images (n * BATCH, size, size) uint8 and labels (., FINDINGS)."""
    rng = np.random.default_rng(0)
    return (
        rng.integers(0, 256, (n * BATCH, size, size), dtype=np.uint8),
        (rng.random((n * BATCH, FINDINGS)) < 0.3).astype(np.float32),
    )


def our_rate(spec: RunSpec, barrier) -> float:
    """Images a second of one of several runs at once."""
    learner = Learner.begin(spec, start(spec), lambda: (0.5, 0.25))
    learner.model.train()
    pixels, labels = batches(spec.size)

    def learn(n: int) -> None:
        step(learner, pixels, labels, np.ones_like(labels), np.arange(BATCH) + n % 4 * BATCH).item()

    for n in range(WARM):
        learn(n)
    barrier.wait()
    return rate(learn)


def plain_rate(spec: RunSpec) -> float:
    model = plain_model(spec)
    pixels, labels = batches(spec.size)
    learn = plain_loop(model, pixels, labels)
    for n in range(WARM):
        learn(n)
    return rate(learn)


def rate(learn) -> float:
    began = time.perf_counter()
    for n in range(STEPS):
        learn(n)
    return STEPS * BATCH / (time.perf_counter() - began)


def plain_model(spec: RunSpec) -> torch.nn.Module:
    """timm's model with a head of its own, holding the very weights that ours starts from."""
    ours = create_model(spec.arch, init="random", seed=spec.seed)
    model = timm.create_model(ARCHITECTURES[spec.arch].tag, num_classes=FINDINGS)
    model.load_state_dict(ours.trunk.state_dict(), strict=False)
    model.get_classifier().load_state_dict(ours.head.state_dict())
    return model.to("cuda" if torch.cuda.is_available() else "cpu").train()


def plain_loop(model: torch.nn.Module, pixels: np.ndarray, labels: np.ndarray):
    """One step of the loop that everybody writes."""
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_of = torch.nn.BCEWithLogitsLoss()
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def learn(n: int) -> float:
        first = n * BATCH % len(pixels)
        at = slice(first, first + BATCH)
        images = (torch.from_numpy(pixels[at]).to(device)[:, None].float() / 255 - 0.5) / 0.25
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            loss = loss_of(model(images.repeat(1, 3, 1, 1)), torch.from_numpy(labels[at]).to(device))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return learn
