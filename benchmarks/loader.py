"""What the loader takes of a training step, with and without augmentation, and of memory with 200,000 images.

A step is ResNet18's at 224 px, batches of 16, as in chexlib.training.loop, on batches that are in memory. Loading is
all between the row numbers and a normalised batch: shuffling, reading the cache, labels, augmentation.
"""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.compare import compare, largest_difference
from benchmarks.data import BATCH, SMALL, made
from chexlib.data import packed
from chexlib.data.augment import augmenter
from chexlib.data.labels import FINDINGS
from chexlib.models import create_model
from chexlib.runs.spec import RunSpec
from chexlib.training.device import Normaliser
from chexlib.training.loop import batch_at
from chexlib.training.losses import masked_cross_entropy

SIZE, BATCHES = 224, 2
AUGMENT = {"rotation": 10, "crop": 0.8, "jitter": 0.2, "flip": 0.5}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHEXLIB_CACHE"] = f"{folder}/cache"
        files = made(Path(folder) / "small", SMALL, 500)
        share(packed.pack(files.root, files, SIZE, progress=False))
        memory(Path(folder))


def share(pixels: packed.Pixels) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = training_step(device)
    for what, options in (("without augmentation", {}), (f"with {', '.join(AUGMENT)}", AUGMENT)):
        load = loader(pixels, device, options)
        batches = load()
        row = compare(
            f"loader, {what}",
            lambda load=load: [images for images, _, _ in load()],
            lambda batches=batches: [step(*batch) for batch in batches],
            peer_name=f"ResNet18's steps on {device}",
            work=f"{BATCHES} batches of {BATCH} at {SIZE} px",
            repeats=3,
            agree=lambda a, b: largest_difference(torch.stack(a).cpu(), torch.stack(b).cpu()),
        )
        print(f"  loading takes {row['ours_seconds'] / row['peer_seconds']:.2%} of a step's time")


def loader(pixels: packed.Pixels, device: str, augment: dict[str, float]) -> Callable[[], list]:
    """Gives the first batches of an epoch, the same ones at each call: images, labels, known."""
    rows = np.arange(len(pixels))
    spec, per_epoch, change = RunSpec(batch_size=BATCH), len(rows) // BATCH * BATCH, augmenter(augment, SIZE)
    labels = known = np.ones((len(rows), len(FINDINGS)), np.float32)
    prepare = Normaliser((0.5,), (0.25,))

    def load() -> list:
        torch.manual_seed(0)
        batches = []
        for first in range(0, BATCHES * BATCH, BATCH):
            batch = batch_at(rows, first, per_epoch, spec)
            images = prepare(pixels[batch], device, change)
            batches.append((images, *(torch.from_numpy(a[batch]).to(device) for a in (labels, known))))
        return batches

    return load


def training_step(device: str) -> Callable:
    """Learns from a batch, and returns its images."""
    model = create_model("resnet18", init="random", seed=0).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step(images: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        loss = masked_cross_entropy(model(images), labels, known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device, as training does
        return images

    return step


def memory(folder: Path) -> None:
    """Anonymous memory of a process of its own that opens a cache of n images and reads all of them, shuffled."""
    if not Path("/proc/self/status").exists():
        print("  no /proc to read memory from: not measured")
        return
    grown = {}
    for n in (2_000, 200_000):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            grown[n] = process.submit(anonymous_growth, folder / str(n), n, 64).result()
    print(f"anonymous memory after reading {' and '.join(f'{n:,} images: {kb:,} kB' for n, kb in grown.items())}")


def anonymous_growth(folder: Path, n: int, size: int) -> int:
    """kB of anonymous memory that reading a sparse cache of n images adds; 4 a batch of 16 would be its pixels."""
    folder.mkdir()
    shape = (n, size, size)
    (folder / "journal.jsonl").write_text(json.dumps({"images": n, "sha256": "", "bad": {}}))
    with open(folder / "pixels.npy", "wb") as file:
        file.write(packed._header(shape))
        file.truncate(file.tell() + n * size * size)
    order = np.random.default_rng(0).permutation(n)
    before = anonymous()
    pixels = packed._open(folder, shape)
    for start in range(0, n, BATCH):
        pixels[order[start : start + BATCH]]
    return anonymous() - before


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
