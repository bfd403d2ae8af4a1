"""A data set as the rest of the package sees it: a table with one row an image, packed pixels, labels to learn.

`SOURCES` has one row a data set: adding one is a reader and a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data import chexpert, nih
from chexlib.data.labels import FINDINGS, targets
from chexlib.data.packed import cache_folder, exclusive, pack
from chexlib.errors import UserError

IMAGE_COLUMNS = ("split", "image", "study", "patient", "view", "sex", "age")


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and what its terms allow.

    `read(root, **options)` gives the table (IMAGE_COLUMNS, then the 14 raw labels) and the findings that the set
    labels.
    """

    name: str
    title: str
    read: Callable[..., tuple[pd.DataFrame, tuple[str, ...]]]
    shareable: bool  # may labels, ids and pixels be shown to others?
    get_it: str  # one line: how a user comes by it
    attribution: str


SOURCES = {
    source.name: source
    for source in (
        Source(
            "phantom",
            "Phantom radiographs",
            chexpert.read,
            True,
            "it is made here, from a seed",
            "Drawn by chexlib; no patient is in it.",
        ),
        Source(
            "chexpert",
            "CheXpert",
            chexpert.read,
            False,
            "register at stanfordmlgroup.github.io/competitions/chexpert",
            "Stanford ML Group, Irvin et al. 2019.",
        ),
        Source(
            "nih",
            "NIH ChestX-ray14",
            nih.read,
            True,
            "download it from nihcc.app.box.com/v/ChestXray-NIHCC",
            "Provided by the NIH Clinical Center; Wang et al. 2017.",
        ),
    )
}


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one data set, opened at one size under one policy; N images in the order of `table`."""

    source: Source
    root: Path
    size: int
    policy: str
    unmentioned: str
    covered: tuple[str, ...]  # the findings that the set labels at all
    table: pd.DataFrame = field(repr=False)  # IMAGE_COLUMNS, then FINDINGS as 1, 0, -1 or NaN
    pixels: np.ndarray = field(repr=False)  # (N, size, size) uint8, memory-mapped
    pixels_sha256: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def shareable(self) -> bool:
        return self.source.shareable

    @cached_property
    def _targets(self) -> tuple[np.ndarray, np.ndarray]:
        return targets(self.table[list(FINDINGS)].to_numpy(), self.policy, self.unmentioned, self.covered)

    @property
    def labels(self) -> np.ndarray:
        """(N, 14) float32 in [0, 1], meaningful where known."""
        return self._targets[0]

    @property
    def known(self) -> np.ndarray:
        """(N, 14) float32 in {0, 1}."""
        return self._targets[1]

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of the images of train, val or test."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels, in [0, 1]; over at most 2,000 images spread evenly."""
        rows = self.rows("train")
        counts = np.zeros(256, dtype=np.int64)
        for row in rows[:: max(1, len(rows) // 2000)]:
            counts += np.bincount(self.pixels[row].ravel(), minlength=256)
        grey = np.arange(256) / 255
        mean = np.average(grey, weights=counts)
        return float(mean), float(np.sqrt(np.average((grey - mean) ** 2, weights=counts)))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything in the data that can change a result: pixels, labels as learned, splits, ids."""
        digest = hashlib.sha256(self.pixels_sha256.encode())
        digest.update(self.table[list(IMAGE_COLUMNS)].to_csv(index=False).encode())
        for array in self._targets:
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    def mask(self, row: int, finding: str) -> np.ndarray | None:
        """Where the finding is in an image, (h, w) bool at the size it was drawn at; None where nobody marked it."""
        if self.name != "phantom":
            return None
        from chexlib.data import phantom

        return phantom.read_masks(self.root, self.table["image"].iat[row]).get(finding)


def open_dataset(
    name: str = "phantom",
    root: str | Path | None = None,
    policy: str = "u-ones",
    size: int = 320,
    unmentioned: str = "absent",
    progress: bool = True,
    **options,
) -> Dataset:
    """Opens a data set, packing its images at size x size the first time.

    `root` is its folder; the phantom needs none and is then made in the cache from its options (n, n_valid, n_test,
    seed). Other options go to the data set's reader. Raises UserError, one line, for whatever is missing or
    unreadable.
    """
    if name not in SOURCES:
        raise UserError(f"data set {name!r} is unknown: choose one of {', '.join(SOURCES)}")
    source = SOURCES[name]
    if not root:
        if name != "phantom":
            raise UserError(f"data set {name} needs its folder (--data FOLDER): {source.get_it}")
        root, options = _phantom_folder(size, progress, options), {}
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give the one that holds {source.title}")
    try:
        table, covered = source.read(root, **options)
    except TypeError as error:
        raise UserError(f"data set {name}: {str(error).split('()')[-1].strip()}") from None
    _refuse_leaks(table, root)
    pixels, sha256 = pack(root, list(table["image"]), size, progress)
    return Dataset(source, root, size, policy, unmentioned, covered, table, pixels, sha256)


def _refuse_leaks(table: pd.DataFrame, root: Path) -> None:
    """An image listed twice, or a patient on two sides, would make the test scores too good."""
    twice = table["image"][table["image"].duplicated()]
    if len(twice):
        raise UserError(
            f"{root}: {twice.iloc[0]} is listed {(table['image'] == twice.iloc[0]).sum()} times: keep one row"
        )
    sides = table.groupby("patient")["split"].nunique()
    if (sides > 1).any():
        shared = sides.index[sides > 1]
        raise UserError(
            f"{root}: patient {shared[0]} is in {sides[shared[0]]} splits ({len(shared)} patients are): keep one"
        )


def open_for(spec, root: str | Path | None = None, progress: bool = True) -> Dataset:
    """The data set that a RunSpec trains on. Raises UserError where it has no training, validation or test images."""
    dataset = open_dataset(
        spec.dataset,
        root,
        policy=spec.policy,
        size=spec.size,
        unmentioned=spec.unmentioned,
        progress=progress,
        **spec.options,
    )
    for split, needs in (("train", "train.csv"), ("val", "valid.csv"), ("test", "groundtruth.csv and the test images")):
        if not len(dataset.rows(split)):
            raise UserError(f"{dataset.root}: no {split} images: a study needs {needs}")
    return dataset


def _phantom_folder(size: int, progress: bool, options: dict) -> Path:
    """The phantom of these options in the cache, drawn when it is not there yet."""
    from chexlib.data import phantom  # only where it is drawn

    options = {"n": 1000} | options
    name = "-".join(
        ["phantom", phantom.VERSION, f"{size}px"] + [f"{key}{value}" for key, value in sorted(options.items())]
    )
    folder = cache_folder() / name
    if not folder.exists():
        with exclusive(folder.with_suffix(".lock")):
            if not folder.exists():
                phantom.write(folder, size=size, progress=progress, **options)
    return folder
