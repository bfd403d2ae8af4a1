"""ChestMNIST, NIH ChestX-ray14 at 28, 64, 128 or 224 px, as the package medmnist ships it (Yang et al. 2023).

The arrays of chestmnist*.npz are compressed, so that they cannot be memory-mapped: they are unzipped into the cache
folder when the first image is read, as large as 112,120 images of the resolution (5.6 GB at 224 px), for as long as
this process reads them.
Labels map by name (chexlib.data.names). Patients are not published: nobody can tell whether one is in two splits.
"""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from chexlib.data.images import stretch
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import SPLITS, Listing, Remarks, covers
from chexlib.data.names import finding_of, merged
from chexlib.data.packed import cache_folder
from chexlib.errors import UserError

RESOLUTIONS = {28: "chestmnist.npz", 64: "chestmnist_64.npz", 128: "chestmnist_128.npz", 224: "chestmnist_224.npz"}

NAMES = (
    *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"),
    *("consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
)
"""The columns of the labels, in medmnist's order."""

GET_IT = "medmnist.ChestMNIST(split='train', download=True, size=224, root=FOLDER)"

_UNZIPPING = threading.Lock()


def read(root: Path, resolution: int | None = None) -> Listing:
    """What the largest chestmnist*.npz of the folder lists, or that of a resolution. Raises UserError without one."""
    if resolution is not None and resolution not in RESOLUTIONS:
        raise UserError(f"resolution={resolution!r}: choose one of {', '.join(map(str, RESOLUTIONS))}")
    sides = [side for side in RESOLUTIONS if (root / RESOLUTIONS[side]).exists() and resolution in (None, side)]
    if not sides:
        raise UserError(f"{root}: no {RESOLUTIONS.get(resolution, 'chestmnist*.npz')}: get it by {GET_IT}")
    path = root / RESOLUTIONS[max(sides)]
    labels = _labels(path)
    counts = {split: len(labels[split]) for split in SPLITS}
    values = merged(NAMES, np.concatenate([labels[split] for split in SPLITS]))
    names = [(split, f"{split}/{i:06d}") for split in SPLITS for i in range(counts[split])]
    split, image = (pd.Series(column, dtype="str") for column in zip(*names))
    unsaid = pd.Series("", image.index, dtype="str")
    columns = {"split": split, "image": image, "study": image, "patient": image, "view": unsaid, "sex": unsaid}
    table = pd.DataFrame(columns | {"age": np.nan} | dict(zip(FINDINGS, values.T)))
    note = f"{path.name}: patients are not published, so each image counts as one"
    stat = path.stat()
    arrays = Arrays(path, f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}", image.array, counts)
    remarks = Remarks(notes=[note], splits=f"{path.name} holds them")
    return Listing(table, covers(map(finding_of, NAMES), table), arrays, remarks)


def _labels(path: Path) -> dict[str, np.ndarray]:
    """Each split's labels (N, 14) of 0 and 1."""
    try:
        with np.load(path) as file:
            labels = {name: file[f"{name}_labels"] for name in SPLITS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not ChestMNIST ({error}): get it by {GET_IT}") from None
    for name, values in labels.items():
        if values.ndim != 2 or values.shape[1] != len(NAMES) or not np.isin(values, (0, 1)).all():
            raise UserError(f"{path}: {name}_labels is not (N, {len(NAMES)}) of 0 and 1: get it by {GET_IT}")
    return labels


@dataclass(frozen=True)
class Arrays:
    """Images that lie in one npz file, split after split."""

    path: Path
    mark: str  # changes when the file does
    names: Sequence[str] = field(repr=False)  # the split and the place in it
    counts: Mapping[str, int]  # images of each split

    def stamp(self, i: int) -> str:
        return f"{self.mark}:{i}"

    def read(self, i: int, size: int) -> np.ndarray:
        split, place = self.names[i].split("/")
        with _UNZIPPING:
            array = self._arrays[split]
        return stretch(Image.fromarray(array[int(place)]), size)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Each split's images (N, h, w) uint8, mapped from files without a name, which go when nobody reads them."""
        arrays, where = {}, cache_folder()
        try:
            where.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=where) as folder, zipfile.ZipFile(self.path) as archive:
                for split in SPLITS:
                    arrays[split] = np.load(archive.extract(f"{split}_images.npy", folder), mmap_mode="r")
        except (KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: not ChestMNIST ({error}): get it by {GET_IT}") from None
        except OSError as error:
            raise UserError(f"{where}: {error.strerror or error}: free some space or move CHEXLIB_CACHE") from None
        for split, array in arrays.items():
            if array.ndim != 3 or array.dtype != np.uint8 or len(array) != self.counts[split]:
                wanted = f"({self.counts[split]}, h, w) uint8"
                raise UserError(f"{self.path}: {split}_images is not {wanted}: get it by {GET_IT}")
        return arrays
