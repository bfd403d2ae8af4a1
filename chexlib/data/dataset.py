"""A data set as the rest of the package sees it: a table with one row an image, packed pixels, labels to learn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS, targets
from chexlib.data.listing import IMAGE_COLUMNS, SPLITS, Listing, draw_by_patient
from chexlib.data.packed import Pixels, check_size, pack
from chexlib.data.segmentations import Segmentations, find_segmentations
from chexlib.data.sources import Source, find_source, read_listing
from chexlib.errors import UserError

VIEWS = {
    "all": ("PA", "AP", "", "LATERAL"),
    "frontal": ("PA", "AP", ""),
    "lateral": ("LATERAL",),
    "pa": ("PA",),
    "ap": ("AP",),
}
"""Which images a data set is opened with: choice to values of the table's column `view`."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one data set, opened at one size under one policy; N images in the order of `table`."""

    source: Source
    root: Path
    size: int
    policy: str
    unmentioned: str
    table: pd.DataFrame = field(repr=False)  # IMAGE_COLUMNS, then FINDINGS as 1, 0, -1 or NaN
    covered: np.ndarray = field(repr=False)  # (N, 14) bool: whether the set labels the finding of the image at all
    pixels: Pixels = field(repr=False)  # (N, size, size) uint8, read from the disk as it is indexed
    listing: Listing = field(repr=False)  # what the files list, before views and unreadable images were left out
    flow: pd.DataFrame = field(repr=False)  # from files to images: step, split, images, studies, patients

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
        digest = hashlib.sha256(self.pixels.sha256.encode())
        digest.update(self.table[list(IMAGE_COLUMNS)].to_csv(index=False).encode())
        for array in self._targets:
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    @cached_property
    def _segmentations(self) -> Segmentations | None:
        return find_segmentations(self.root) if self.name == "chexpert" else None

    def mask(self, row: int, finding: str) -> np.ndarray | None:
        """Where the finding is in an image, (h, w) bool; None where nobody marked it.

        The phantom's masks have the size that it was drawn at, CheXlocalize's (where its files lie with CheXpert's)
        that of the radiograph; boxes are at this data set's size, the union of a finding's several, each with all
        pixels that it touches.
        """
        image = self.table["image"].iat[row]
        if self.name == "phantom":
            from chexlib.data import phantom

            return phantom.read_masks(self.root, image).get(finding)
        if self._segmentations is not None:
            return self._segmentations.mask(image, finding)
        boxes = self.listing.boxes
        if boxes is None:
            return None
        boxes = boxes[(boxes["image"] == image) & (boxes["finding"] == finding)]
        mask = np.zeros((self.size, self.size), dtype=bool)
        for left, top, right, bottom in boxes[["left", "top", "right", "bottom"]].to_numpy() * self.size:
            mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
        return mask if len(boxes) else None


def open_dataset(
    name: str = "phantom",
    root: str | Path | None = None,
    policy: str = "u-ones",
    size: int = 320,
    unmentioned: str = "absent",
    views: str = "all",
    train_images: int = 0,
    progress: bool = True,
    **options,
) -> Dataset:
    """Opens a data set, packing its images at size x size the first time.

    `name` is a row of chexlib.data.sources, `root` its folder; the phantom needs none and is then made in the cache
    from its options (n, n_valid, n_test, seed). `views` is a key of VIEWS, `train_images` the number of training images
    (0: all): those of whole patients but for the last one, always the same, the fewer among the more. Other options go
    to the data set's reader. Raises UserError, one line, for whatever is missing or unreadable.
    """
    if views not in VIEWS:
        raise UserError(f"views={views!r}: choose one of {', '.join(VIEWS)}")
    targets(np.empty((0, len(FINDINGS))), policy, unmentioned)  # a misspelt policy is said before any work
    check_size(size)
    source, root = find_source(name, root)
    root, listing = read_listing(source, root, size, progress, **options)
    listing.refuse()
    if listing.table.empty:
        raise UserError(f"{root}: no image is listed: give the folder that holds {source.title}")
    pixels = pack(root, listing.images, size, progress)
    table, flow = listing.table, [_count("listed", listing.table)]
    if pixels.bad:  # packed with --skip-bad
        table = table.drop(index=list(pixels.bad))
        flow.append(_count("readable", table))
    if views != "all":
        table = table[table["view"].isin(VIEWS[views])]
        flow.append(_count(f"{views} views", table))
    if table.empty:
        raise UserError(f"{root}: views={views!r} leaves none of {len(listing.table)} images: choose other views")
    if train_images:
        table = _first_patients(table, train_images, root)
        flow.append(_count(f"{train_images:,} to learn from", table))
    kept = table.index.to_numpy()
    table, covered, pixels = table.reset_index(drop=True), listing.covered[kept], pixels.at(kept)
    flow = pd.concat(flow)
    return Dataset(source, root, size, policy, unmentioned, table, covered, pixels, listing, flow)


def _first_patients(table: pd.DataFrame, train_images: int, root: Path) -> pd.DataFrame:
    """The table with so many training images: those of the first patients, in an order drawn once and for all.

    No seed, view or further patient changes it. Of the last patient as many images are taken as make the number exact.
    """
    training = table.index[table["split"] == "train"]
    if not 0 < train_images <= len(training):
        most = len(training)
        raise UserError(f"{root}: train_images={train_images}: there are {most}: ask for 1 to {most}, or for 0 (all)")
    order = np.argsort(draw_by_patient(table.loc[training, "patient"]), kind="stable")
    return table.drop(index=training[order[train_images:]])


def _count(step: str, table: pd.DataFrame) -> pd.DataFrame:
    """How many images, studies and patients are in each split after a step from files to images."""
    splits = table.groupby("split")
    counts = {"images": splits.size(), "studies": splits["study"].nunique(), "patients": splits["patient"].nunique()}
    counts = pd.DataFrame(counts).reindex(list(SPLITS), fill_value=0).rename_axis("split").reset_index()
    return counts.assign(step=step)[["step", "split", "images", "studies", "patients"]]


def open_for(spec, root: str | Path | None = None, progress: bool = True) -> Dataset:
    """The data set that a RunSpec trains on. Raises UserError where it has no training, validation or test images."""
    chosen = {"policy": spec.policy, "size": spec.size, "unmentioned": spec.unmentioned, "views": spec.views}
    chosen["train_images"] = spec.train_images
    dataset = open_dataset(spec.dataset, root, **chosen, progress=progress, **spec.options)
    for split, needs in (("train", "train.csv"), ("val", "valid.csv"), ("test", "test labels and the test images")):
        if len(dataset.rows(split)):
            continue
        if (dataset.listing.table["split"] == split).any():
            raise UserError(f"{dataset.root}: views={spec.views!r} leaves no {split} images: choose other views")
        raise UserError(f"{dataset.root}: no {split} images: a study needs {needs}")
    return dataset
