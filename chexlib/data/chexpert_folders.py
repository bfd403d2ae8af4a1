"""Where CheXpert's releases keep their label files and images.

v1.0 and v1.0-small hold train.csv, valid.csv, train/ and valid/ in one folder; CheXlocalize calls them val_labels.csv
and val/. The full release comes as folders beside each other, "CheXpert-v1.0 batch 1 (validate & csv)" with the label
files and valid/, "CheXpert-v1.0 batch 2 (train 1)" and so on with the training patients. Whichever it is, an image is
called by its canonical path, train/patient00001/study1/view1_frontal.jpg, as in the label files without their prefix.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chexlib.errors import UserError

LABEL_FILES = {
    "train.csv": "train",
    "valid.csv": "val",
    "val_labels.csv": "val",
    "test_labels.csv": "test",
    "groundtruth.csv": "test",
}
"""Each label file's split; of two files of one split the first lists the images, and the other must agree."""

FOLDERS = {"train": ("train",), "valid": ("valid", "val"), "val": ("val", "valid"), "test": ("test",)}
"""The folder that a label file names, and under which names it may lie on the disk."""

SIGNS = tuple(f"{folder}{name}" for folder in ("", "CheXpert*/") for name in LABEL_FILES)
IMAGE_TYPES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Release:
    """One release on the disk."""

    root: Path  # images lie below it
    home: Path  # the folder of the label files

    def label_files(self) -> list[Path]:
        """Those that are there, in the order of LABEL_FILES."""
        return [self.home / name for name in LABEL_FILES if (self.home / name).exists()]

    def on_disk(self, images: pd.Series) -> pd.Series:
        """Canonical paths to where they lie, or would lie, below the root."""
        for folder, names in FOLDERS.items():
            here = images.str.startswith(f"{folder}/")
            if here.any() and not (self.home == self.root and (self.home / folder).is_dir()):
                images = images.mask(here, self._move(images[here], folder, names))
        return images

    def _move(self, images: pd.Series, folder: str, names: tuple[str, ...]) -> pd.Series:
        """The images of one folder."""
        name = next((name for name in names if (self.home / name).is_dir()), None)
        if name is None and (patients := self._batches(names)):
            parts = images.str.split("/", n=2, expand=True)  # folder, patient, the rest
            return parts[1].map(patients).fillna(folder).astype("str") + "/" + parts[1] + "/" + parts[2]
        return (self.home / (name or folder)).relative_to(self.root).as_posix() + images.str[len(folder) :]

    def _batches(self, names: tuple[str, ...]) -> dict[str, str]:
        """The full release's patients to the folders that hold them, below the root; some unpack with train/ inside."""
        found = {}
        for batch in sorted(self.root.glob("CheXpert* batch *")):
            inside = next((batch / name for name in names if (batch / name).is_dir()), batch)
            if inside.is_dir():
                where = inside.relative_to(self.root).as_posix()
                found |= {name: where for name in os.listdir(inside) if name.startswith("patient")}
        return found


def find_release(root: Path) -> Release:
    """The release in a folder, or in a folder CheXpert* in it; one batch stands for all that lie beside it.

    Raises UserError where there is no label file, or several releases.
    """
    root = root if " batch " not in root.resolve().name else root.resolve().parent
    releases = [Release(root, home) for home in (root, *sorted(root.glob("CheXpert*")))]
    releases = [release for release in releases if release.label_files()]
    if not releases:
        raise UserError(f"{root}: no {', '.join(LABEL_FILES)} in it: give the folder that holds CheXpert's label files")
    if len(releases) > 1 and releases[0].home != root:
        raise UserError(f"{root}: {' and '.join(release.home.name for release in releases)}: give one of them")
    return releases[0]


def images_of(folder: Path) -> list[str]:
    """The names of a study's images, sorted; none where the folder is not there."""
    try:
        return sorted(name for name in os.listdir(folder) if Path(name).suffix.lower() in IMAGE_TYPES)
    except OSError:
        return []
