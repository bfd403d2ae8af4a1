"""How far the same training drifts apart where only its last digits are computed otherwise; no claim of speed.

The same spec is trained again, with two threads, and as an older CPU would compute it; each in a process of its own.
Every sum of floats in another order rounds otherwise, and training makes of the last digit the first ones that differ.

    python -m benchmarks.determinism              # prints what it finds
    python -m benchmarks.determinism --publish    # and writes results/determinism.json, which the book shows
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from chexlib.data.dataset import open_dataset
from chexlib.runs.store import Run, project_folder

NETWORKS = ("resnet18", "densenet121", "mobilenet_v3")
DATA = {"n": 640, "n_valid": 120, "n_test": 240}
SPEC = {"dataset": "phantom", "options": DATA, "size": 64, "epochs": 1, "batch_size": 16, "eval_every": 640}
SPEC |= {"lr": 0.001, "keep": 1, "precision": "fp32"}
"""One epoch of 40 steps, and the weights after it."""


@dataclass(frozen=True)
class Change:
    """What is not as in the first training."""

    name: str
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


FIRST = Change("first")
CHANGES = (
    Change("the same again"),
    Change("2 threads", threads=2),
    Change(
        "without AVX-512",
        environment={"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    ),
)


def train(arch: str, change: Change, folder: Path) -> Run:
    """The run, trained by the command that users type. Raises CalledProcessError, with its words, where it fails."""
    values = SPEC | {"arch": arch, "threads": change.threads}
    fields = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    store = folder / arch / change.name.replace(" ", "-")
    subprocess.run(
        [sys.executable, "-m", "chexlib.cli", "train", *fields, "--runs", str(store)],
        env=os.environ | {"OMP_NUM_THREADS": str(change.threads)} | change.environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    [run] = store.glob("phantom*")
    return Run(run)


def difference(run: Run, first: Run) -> dict[str, float]:
    """Between the probabilities of two runs of one spec, image by image, and between their mean AUCs."""
    a, b = (table.predictions().set_index("image").sort_index().filter(like="p:") for table in (run, first))
    gap = np.abs(a.to_numpy(float) - b.to_numpy(float))  # (N, T)
    auc = {split: mean_auc(run, split) - mean_auc(first, split) for split in ("val", "test")}
    return {
        "largest": float(gap.max()),
        "median": float(np.median(gap)),
        "auc_val": auc["val"],
        "auc_test": auc["test"],
    }


def mean_auc(run: Run, split: str) -> float:
    """Of the run's ensemble."""
    return next(row["auc"] for row in run.log("ensemble") if row["split"] == split)


def cpu() -> str:
    """Its kind, without its name: x86_64 with AVX512."""
    import torch

    return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"


def main(publish: bool = False) -> dict:
    """Trains and compares; prints a line a network and change."""
    open_dataset("phantom", size=SPEC["size"], **DATA)  # drawn once, before several processes ask for it
    trained: dict[tuple[str, str], Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):  # threads of two runs at once would wait for each other
            wanted = [(arch, change) for arch in NETWORKS for change in (FIRST, *CHANGES) if change.threads == threads]
            with ThreadPoolExecutor(2 // threads) as pool:
                runs = pool.map(lambda one: train(*one, Path(folder)), wanted)
                trained |= {(arch, change.name): run for (arch, change), run in zip(wanted, runs, strict=True)}
        rows = [
            {"arch": arch, "change": change.name}
            | difference(trained[arch, change.name], trained[arch, FIRST.name])
            | {"auc_test_first": mean_auc(trained[arch, FIRST.name], "test")}
            for arch in NETWORKS
            for change in CHANGES
        ]
    for row in rows:
        print(
            f"{row['arch']}, {row['change']}: predictions differ by {row['largest']:.2g} at most, "
            f"{row['median']:.2g} in the median; mean test AUC by {row['auc_test']:+.2g} of {row['auc_test_first']:.3f}"
        )
    packages = {name: version(name) for name in ("torch", "timm", "numpy", "accelerate")}
    found = {"cpu": cpu(), "python": platform.python_version(), "packages": packages, "spec": SPEC, "rows": rows}
    if publish:
        path = project_folder() / "results" / "determinism.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written to {path}")
    return found


if __name__ == "__main__":
    main(publish="--publish" in sys.argv[1:])
