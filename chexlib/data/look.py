"""One pass over the pixels of a data set: which images are missing, unreadable, constant, inverted, duplicates ...

Each image is decoded once, at SIDE px, in several threads; what is kept of it is a hash, a thumbnail of 16 x 16 px
and its shorter side, about 300 bytes. Images with equal hashes are decoded again at FINE px before they are called
duplicates; the same picture with other losses is none. An inverted image is one whose thumbnail correlates with the
median thumbnail of its view below INVERTED, an upside-down one fits that median better when it is turned over. Both
are known only where most images of a view are right.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from chexlib.data.defects import FEW, defect
from chexlib.data.images import BadImage, Files, Images
from chexlib.data.listing import Listing, Problem
from chexlib.errors import UserError

SIDE, THUMBNAIL, FINE = 64, 16, 512

CHUNK = 1024
"""Images in the threads' queue at once."""

FLAT = 1.0
"""Grey levels: an image whose standard deviation is smaller shows nothing."""

INVERTED = -0.2
"""With 20 of 1,000 X-rays of NIH's inverted, in 20 draws, it finds 398 of 400, with 300 inverted 5,956 of 6,000, and of
1,450 phantoms all. It names no image wrongly: upright ones lie above -0.06."""

UPSIDE_DOWN = 0.2
"""How much better the median turned over must fit. With 20 turned over it finds 297 of 400 X-rays and 355 of 400
phantoms. Of images as they come it names one, an X-ray of NIH's that does stand on its head; the next is at 0.14."""

SMALL = 0.5
"""Of the median shorter side."""


@dataclass(frozen=True)
class Looks:
    """What stays of N images."""

    rows: np.ndarray  # (N,) of the table
    thumbnails: np.ndarray = field(repr=False)  # (N, 16, 16) uint8
    hashes: np.ndarray = field(repr=False)  # (N,) of the pixels at SIDE px, 16 bytes; empty where there are none
    flat: np.ndarray = field(repr=False)  # (N,) bool
    sides: np.ndarray = field(repr=False)  # (N,) pixels of the shorter side; 0 where the file's header does not say
    missing: dict[int, str] = field(repr=False)  # row to one line
    unreadable: dict[int, str] = field(repr=False)

    @property
    def decoded(self) -> np.ndarray:
        """(N,) bool."""
        return self.hashes != b""


def look(images: Images, rows: np.ndarray, progress: bool = True) -> Looks:
    """Decodes these images, in the order of `rows`."""
    n = len(rows)
    thumbnails, hashes = np.zeros((n, THUMBNAIL, THUMBNAIL), np.uint8), np.zeros(n, "S32")
    flat, sides = np.zeros(n, bool), np.zeros(n, np.int32)
    missing, unreadable = {}, {}

    def at(k: int) -> None:
        row = int(rows[k])
        try:
            pixels = images.read(row, SIDE)
        except BadImage as error:
            unreadable[row] = str(error)
        except UserError as error:
            missing[row] = str(error)
        else:
            blocks = pixels.reshape(THUMBNAIL, SIDE // THUMBNAIL, THUMBNAIL, SIDE // THUMBNAIL)
            thumbnails[k] = blocks.mean(axis=(1, 3)).round()
            hashes[k] = _hash(pixels)
            flat[k] = pixels.std() < FLAT
            sides[k] = _side(images, row)

    bar = tqdm(total=n, desc="looking at images", unit="image", disable=not progress, leave=False)
    with bar, ThreadPoolExecutor() as pool:  # decoding is outside the interpreter lock
        for start in range(0, n, CHUNK):  # memory does not grow with what is queued
            for _ in pool.map(at, range(start, min(start + CHUNK, n))):
                bar.update()
    return Looks(rows, thumbnails, hashes, flat, sides, dict(sorted(missing.items())), dict(sorted(unreadable.items())))


def _hash(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(pixels).hexdigest()[:32].encode()


def _side(images: Images, row: int) -> int:
    """Pixels of an image file's shorter side, of what Pillow knows; else 0."""
    if not isinstance(images, Files):
        return 0
    try:
        with Image.open(f"{images.root}/{images.names[row]}") as header:
            return min(header.size)
    except (OSError, ValueError, SyntaxError):
        return 0


def seen(listing: Listing, looks: Looks) -> list[Problem]:
    """What is wrong with the images that were looked at."""
    names = listing.table["image"].to_numpy()
    found = []
    for kind, wrong in (("missing", looks.missing), ("unreadable", looks.unreadable)):
        found += defect(kind, names[list(wrong)], message=next(iter(wrong.values()), ""))
    flat = names[looks.rows[looks.flat]]
    found += defect("constant", flat, what="is one grey all over")
    return [*found, *_duplicates(listing, looks), *_orientation(listing.table, looks), *_small(looks, names)]


def _duplicates(listing: Listing, looks: Looks) -> list[Problem]:
    """The same pixels under several names: in several splits, else of several patients, else of one."""
    found: dict[str, list[pd.DataFrame]] = {"duplicate-splits": [], "duplicate-patients": [], "duplicate": []}
    for candidates in _equal(looks.rows, looks.hashes, looks.decoded & ~looks.flat):
        finer = np.array([_hash(listing.images.read(int(row), FINE)) for row in candidates])
        for same in _equal(candidates, finer):
            of = listing.table.iloc[same]
            splits, patients = of["split"].nunique(), of["patient"].nunique()
            kind = "duplicate-splits" if splits > 1 else "duplicate-patients" if patients > 1 else "duplicate"
            found[kind].append(of)
    problems = []
    for kind, groups in found.items():
        for of in groups[:1]:
            where = f"split {' and '.join(of['split'].unique())}, patient {' and '.join(of['patient'].unique())}"
            what = f"shows the same as {of['image'].iloc[1]} ({where})"
            [first] = defect(kind, of["image"].iloc[:1], what=what)
            problems += defect(kind, [" = ".join(group["image"]) for group in groups], message=first.message)
    return problems


def _equal(rows: np.ndarray, hashes: np.ndarray, among: np.ndarray | slice = slice(None)) -> list[np.ndarray]:
    """Groups of at least two rows with the same hash."""
    rows, hashes = rows[among], hashes[among]
    _, group, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    return [rows[group == which] for which in np.flatnonzero(sizes > 1)]


def _orientation(table: pd.DataFrame, looks: Looks) -> list[Problem]:
    """Negatives of the other images of their view, and images that stand on their head."""
    among = looks.decoded & ~looks.flat
    rows, small = looks.rows[among], looks.thumbnails[among].reshape(-1, THUMBNAIL**2)  # (n,), (n, 256)
    names, views = table["image"].to_numpy()[rows], table["view"].to_numpy()[rows]
    upright, turned = np.ones(len(rows)), np.zeros(len(rows))
    for view in pd.unique(views):
        here = np.flatnonzero(views == view)
        median = np.median(small[here] if len(here) >= FEW else small, axis=0).reshape(THUMBNAIL, THUMBNAIL)
        upright[here], turned[here] = (_correlation(small[here], which.ravel()) for which in (median, median[::-1]))
    inverted = upright < INVERTED
    over = ~inverted & (turned - upright > UPSIDE_DOWN)
    return [
        *defect("inverted", names[inverted], what="looks like a negative of the others"),
        *defect("upside-down", names[over], what="fits the others better when turned over"),
    ]


def _correlation(images: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Pearson's, (n,), of each row of (n, d) with (d,); 0 where either is constant."""
    b, found = median - median.mean(), np.zeros(len(images))
    for start in range(0, len(images), CHUNK):
        a = images[start : start + CHUNK] - images[start : start + CHUNK].mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
        np.divide(a @ b, lengths, out=found[start : start + CHUNK], where=lengths > 0)
    return found


def _small(looks: Looks, names: np.ndarray) -> list[Problem]:
    known = looks.sides > 0
    usual = np.median(looks.sides[known]) if known.any() else 0
    small = known & (looks.sides < SMALL * usual)
    sides = looks.sides[small]
    return defect("small", names[looks.rows[small]], what=f"{sides[:1].sum()} px, where {usual:.0f} are usual")


def unlisted(images: Images) -> list[Problem]:
    """Files of the listed images' types, anywhere below the folder, that no row lists."""
    if not isinstance(images, Files):
        return []
    listed = set(map(str, images.names))
    types = {Path(name).suffix for name in listed}
    below = (f"{folder}/{file}" for folder, _, files in os.walk(images.root) for file in files)
    names = (os.path.relpath(path, images.root) for path in below if Path(path).suffix in types)
    found = sorted(name for name in names if name not in listed)
    return defect("unlisted", found, what="no row lists it")
