"""The packed cache: every image of a data set, decoded and resized once, in one memory-mapped uint8 array.

An image is read as 8-bit grey, stretched to size x size (as CheXpert's 320 x 320 training images are, so the aspect
ratio is not kept) with Pillow's antialiased bilinear filter, the same for training and test. The array is written
beside its place and renamed when whole, so a cache is complete or absent.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from chexlib.data.images import Images
from chexlib.errors import UserError

PACK_VERSION = 1
"""Raised when decoding or resizing changes the pixels, so that older caches are made again."""

CHUNK = 512
"""Images decoded before they are written: memory does not grow with the data set."""


def cache_folder() -> Path:
    """CHEXLIB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("CHEXLIB_CACHE") or f"{home}/chexlib").expanduser()


@dataclass(frozen=True)
class Pixels:
    """N images of a packed cache, indexed like an array (N, size, size) uint8 and read as they are indexed."""

    folder: Path
    array: np.ndarray = field(repr=False)  # memory-mapped, every image of the cache
    places: np.ndarray = field(repr=False)  # (N,) where each image is in `array`
    sha256: str  # of every image of the cache

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self), *self.array.shape[1:])

    def __getitem__(self, rows) -> np.ndarray:
        """One image (size, size) or several (n, size, size), copied."""
        return np.array(self.array[self.places[rows]])

    def at(self, rows: np.ndarray) -> Pixels:
        """These images only, in this order."""
        return replace(self, places=self.places[rows])


def pack(root: Path, images: Images, size: int, progress: bool = True) -> Pixels:
    """The images of the data set in the folder `root` at size x size.

    Raises UserError naming the image that is missing or cannot be decoded, or the disk that is full.
    """
    folder = cache_folder() / "packed" / _key(root, images, size)
    if not (folder / "pack.json").exists():
        with exclusive(folder.with_suffix(".lock")):  # a second process waits, and finds the first one's cache
            if not (folder / "pack.json").exists():
                _write(folder, root, images, size, progress)
    array = np.load(folder / "pixels.npy", mmap_mode="r")
    return Pixels(folder, array, np.arange(len(array)), json.loads((folder / "pack.json").read_text())["sha256"])


@contextmanager
def exclusive(path: Path):
    """Holds the lock file; the operating system frees it when its owner ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key(root: Path, images: Images, size: int) -> str:
    """Changes with the files' names, lengths and times, the size, and the version of this code."""
    digest = hashlib.sha256(f"{PACK_VERSION}:{size}:{root.resolve()}".encode())
    for i in range(len(images.names)):
        digest.update(f"{images.stamp(i)};".encode())
    return f"{root.resolve().name}-{size}-{digest.hexdigest()[:12]}"


def _write(folder: Path, root: Path, images: Images, size: int, progress: bool) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        pixels = np.lib.format.open_memmap(
            partial / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(images.names), size, size)
        )
        digest = hashlib.sha256()
        with (
            ThreadPoolExecutor() as pool,
            tqdm(  # Pillow decodes outside the interpreter lock
                total=len(images.names),
                desc=f"packing {root.name} at {size} px",
                unit="image",
                disable=not progress,
                leave=False,
            ) as bar,
        ):
            for start in range(0, len(images.names), CHUNK):
                rows = range(start, min(start + CHUNK, len(images.names)))
                pixels[rows.start : rows.stop] = list(pool.map(lambda i: images.read(i, size), rows))
                digest.update(pixels[rows.start : rows.stop])
                bar.update(len(rows))
        pixels.flush()
        (partial / "pack.json").write_text(
            json.dumps({"sha256": digest.hexdigest(), "images": len(images.names), "size": size})
        )
        partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}: free some space or set CHEXLIB_CACHE to another disk"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
