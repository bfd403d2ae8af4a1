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
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from chexlib.errors import UserError

PACK_VERSION = 1
"""Raised when decoding or resizing changes the pixels, so that older caches are made again."""

CHUNK = 512
"""Images decoded before they are written: memory does not grow with the data set."""


def cache_folder() -> Path:
    """CHEXLIB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("CHEXLIB_CACHE") or f"{home}/chexlib").expanduser()


def pack(root: Path, images: list[str], size: int, progress: bool = True) -> tuple[np.ndarray, str]:
    """The images (paths below root) as (N, size, size) uint8, memory-mapped, and the SHA-256 of their pixels.

    Raises UserError naming the image that is missing or cannot be decoded, or the disk that is full.
    """
    folder = cache_folder() / "packed" / _key(root, images, size)
    if not (folder / "pack.json").exists():
        with exclusive(folder.with_suffix(".lock")):  # a second process waits, and finds the first one's cache
            if not (folder / "pack.json").exists():
                _write(folder, root, images, size, progress)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return pixels, json.loads((folder / "pack.json").read_text())["sha256"]


def read_grey(path: Path, size: int) -> np.ndarray:
    """One image as (size, size) uint8."""
    try:
        with Image.open(path) as image:
            image.draft("L", (size, size))  # lets libjpeg decode at a reduced scale that still covers the size
            if image.mode.startswith("I"):  # 16-bit grey
                image = Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).astype(np.uint8))
            return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))
    except FileNotFoundError:
        raise UserError(f"{path}: no such image: is the folder complete?") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(
            f"{path}: cannot be decoded ({error}): fetch it again or take its row out of the label file"
        ) from None


@contextmanager
def exclusive(path: Path):
    """Holds the lock file; the operating system frees it when its owner ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key(root: Path, images: list[str], size: int) -> str:
    """Changes with the files' names, lengths and times, the size, and the version of this code."""
    digest = hashlib.sha256(f"{PACK_VERSION}:{size}:{root.resolve()}".encode())
    for name in images:
        try:
            stat = (root / name).stat()
        except FileNotFoundError:
            raise UserError(f"{root / name}: no such image: is the folder complete?") from None
        digest.update(f"{name}:{stat.st_size}:{stat.st_mtime_ns};".encode())
    return f"{root.resolve().name}-{size}-{digest.hexdigest()[:12]}"


def _write(folder: Path, root: Path, images: list[str], size: int, progress: bool) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        pixels = np.lib.format.open_memmap(
            partial / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(images), size, size)
        )
        digest = hashlib.sha256()
        with (
            ThreadPoolExecutor() as pool,
            tqdm(  # Pillow decodes outside the interpreter lock
                total=len(images),
                desc=f"packing {root.name} at {size} px",
                unit="image",
                disable=not progress,
                leave=False,
            ) as bar,
        ):
            for start in range(0, len(images), CHUNK):
                names = images[start : start + CHUNK]
                pixels[start : start + len(names)] = list(pool.map(lambda name: read_grey(root / name, size), names))
                digest.update(pixels[start : start + len(names)])
                bar.update(len(names))
        pixels.flush()
        (partial / "pack.json").write_text(
            json.dumps({"sha256": digest.hexdigest(), "images": len(images), "size": size})
        )
        partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}: free some space or set CHEXLIB_CACHE to another disk"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
