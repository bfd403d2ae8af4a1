"""Similarity of two layers' features against google/svcca's algorithm, cca-zoo, pytorch-cka and ckatorch.

Features lie in a file, in single precision, as what is read of networks does. Ours reads them batch by batch; the peers
take arrays. Each answers in a process of its own, whose anonymous memory counts: pages of the file count for nobody.
Ours finds a null and an interval as well, twelve times the measure; peers find the measure. A Pair holds ten groups'
sums for that, so where channels are many and images few, it is the peers that hold less: the last comparison shows it.

google/svcca is no package: its `get_cca_similarity` (numpy, epsilon 0) is written here in its own steps, without the
directions it can return. The peers compute in double precision where they are given it; google/svcca and ckatorch turn
single into it themselves, cca-zoo does so as well, pytorch-cka is given it.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.compare import compare, machine, record
from benchmarks.statistics import grown_memory
from chexlib.explain.similarity import Pair

BATCH = 256

Features = tuple[np.ndarray, np.ndarray]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        positions = made(
            Path(folder) / "positions", 100_000, 256
        )  # ResNet50's first stage, 50 positions of 2,000 images
        against(positions, "cca", "google/svcca", by_google)
        against(positions, "cca", "cca-zoo", by_cca_zoo)
        pooled = made(Path(folder) / "pooled", 5_000, 256)
        against(pooled, "cka", "pytorch-cka", by_pytorch_cka)
        against(pooled, "cka", "ckatorch", by_ckatorch)
        against(made(Path(folder) / "wide", 2_000, 2_048), "cka", "pytorch-cka", by_pytorch_cka)  # its last stage


def against(folder: Path, measure: str, peer_name: str, peer: Callable[[Path], float]) -> None:
    """Time and answers of both in this process, memory of each in its own."""
    n, channels = read(folder)[0].shape
    ours, work = partial(by_pair, measure=measure), f"{n:,} examples of {channels:,} channels and as many"
    compare(
        f"{measure} with null and interval",
        lambda: ours(folder),
        lambda: peer(folder),
        peer_name=peer_name,
        work=work,
        repeats=3,
        peer_repeats=1,
    )
    peaks = []
    for way in (ours, peer):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            peaks.append(process.submit(peak, way, folder).result())
    row = {"name": f"{measure} memory", "ours_mib": peaks[0], "peer": peer_name, "peer_mib": peaks[1], "work": work}
    record({**row, "ratio": peaks[1] / peaks[0], "machine": machine()})
    print(
        f"  peak of anonymous memory: {peaks[0]:,.0f} MiB against {peaks[1]:,.0f} MiB, {peaks[1] / peaks[0]:.3g} times"
    )


def peak(way: Callable[[Path], float], folder: Path) -> float:
    """MiB that it adds at its peak, once its libraries are loaded and warm."""
    with tempfile.TemporaryDirectory() as small:
        way(made(Path(small) / "features", 200, 8))
    return grown_memory(lambda: way(folder))[1]


def made(folder: Path, n: int, channels: int) -> Path:
    """Features (n, channels) of two layers that have some factors in common, in two files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(2, 64, channels)).astype(np.float32) / 8
    files = [np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (n, channels)) for name in "xy"]
    for first in range(0, n, BATCH):
        factors = rng.normal(size=(min(BATCH, n - first), 64)).astype(np.float32)
        for file, of_factors in zip(files, mix, strict=True):
            noise = rng.normal(size=(len(factors), channels)).astype(np.float32)
            file[first : first + BATCH] = np.maximum(factors @ of_factors + noise, 0)
    return folder


def read(folder: Path) -> Features:
    """(n, channels) each, mapped from the files."""
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy")
    return x, y


def by_pair(folder: Path, measure: str) -> float:
    pair = Pair()
    x, y = read(folder)
    for first in range(0, len(x), BATCH):
        pair.add(*(np.array(features[first : first + BATCH]) for features in (x, y)))
    return pair.similarity(measure).value


def by_google(folder: Path) -> float:
    """The mean of `get_cca_similarity`'s correlations."""
    x, y = read(folder)
    p, covariance = x.shape[1], np.cov(x.T, y.T)
    xx, xy, yy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    x_max, y_max = np.abs(xx).max(), np.abs(yy).max()
    inverse_x, inverse_y = np.linalg.pinv(xx / x_max), np.linalg.pinv(yy / y_max)
    arr = root(inverse_x) @ (xy / np.sqrt(x_max * y_max)) @ root(inverse_y)
    return float(np.abs(np.linalg.svd(arr)[1]).mean())


def root(matrix: np.ndarray) -> np.ndarray:
    """`positivedef_matrix_sqrt`."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def by_cca_zoo(folder: Path) -> float:
    from cca_zoo.linear import CCA

    views = [features.astype(np.float64) for features in read(folder)]
    model = CCA(n_components=min(view.shape[1] for view in views)).fit(views)
    return float(model.score(views))


def by_pytorch_cka(folder: Path) -> float:
    from cka import cka_from_features

    return float(cka_from_features(*(torch.from_numpy(features.astype(np.float64)) for features in read(folder))))


def by_ckatorch(folder: Path) -> float:
    """The minibatch form, with all examples in one batch: the debiased CKA."""
    from ckatorch import cka_batch

    return float(cka_batch(*(torch.from_numpy(np.array(features))[None] for features in read(folder))))


if __name__ == "__main__":
    main()
