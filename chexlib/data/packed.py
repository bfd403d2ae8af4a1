"""The packed cache: every image of a data set, decoded and resized once, in one memory-mapped uint8 array.

How an image becomes pixels is said in chexlib.data.images. The cache of N images is a folder:

    pixels.npy       (N, size, size) uint8
    journal.jsonl    a line a chunk: how many images, the SHA-256 of all pixels so far, which images are bad and why
    bad_images.csv   the bad images for people, where there are any; their pixels are zeros

It is written beside its place and renamed when whole. What a killed process has written is found by its journal,
verified and continued; verifying a whole cache is the same. The folder's name changes with the images' names, lengths
and times, the size and PACK_VERSION, and a cache that another of these replaces is removed.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from chexlib.data.images import BadImage, Files, Images
from chexlib.errors import UserError
from chexlib.escape import csv
from chexlib.machine import cores

PACK_VERSION = 3
"""Raised when decoding or resizing changes the pixels, so that older caches are made again."""

MAX_SIZE = 4096
"""Pixels of a side; a larger size is a slip of the keyboard."""

CHUNK, CHUNK_BYTES = 512, 2**24
"""Images of a chunk, at most, and how long it may be: what a killed process loses, and half of the memory used."""

PIECE = 8
"""Images that a thread decodes before it takes others."""


@dataclass(frozen=True)
class Pixels:
    """N images of a packed cache, indexed like an array (N, size, size) uint8 and read as they are indexed."""

    folder: Path
    array: np.ndarray = field(repr=False)  # memory-mapped, every image of the cache
    places: np.ndarray = field(repr=False)  # (N,) where each image is in `array`
    sha256: str  # of every image of the cache
    bad: Mapping[int, str] = field(repr=False, default_factory=dict)  # place of a bad image to what is wrong with it

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self), *self.array.shape[1:])

    def __getitem__(self, rows) -> np.ndarray:
        """One image (size, size) or several (n, size, size), copied."""
        return np.take(self.array, self.places[rows], axis=0)

    def at(self, rows: np.ndarray) -> Pixels:
        """These images only, in this order."""
        return replace(self, places=self.places[rows])


def check_size(size: int) -> None:
    """Raises UserError where images cannot be packed at this size."""
    if not 1 <= size <= MAX_SIZE:
        raise UserError(f"size={size}: choose 1 to {MAX_SIZE} pixels a side")


def pack(
    root: Path, images: Images, size: int, progress: bool = True, skip_bad: bool = False, verify: bool = False
) -> Pixels:
    """The images of the data set in the folder `root` at size x size, decoded where the cache has not got them whole.

    `skip_bad` leaves out what cannot be decoded (`Pixels.bad`), and so does every later pack of these images. `verify`
    reads a whole cache again and mends it where it differs from what was written. Raises UserError naming the image
    that is missing or cannot be decoded, or the disk that is full; what was done is kept, and continued.
    """
    check_size(size)
    name, stamps = _key(root, images, size)
    folder = cache_folder() / "packed" / f"{name}-{stamps}"
    shape = (len(images.names), size, size)
    pixels = _open(folder, shape)
    if pixels is not None and not verify:
        return pixels
    with exclusive(folder.with_name(f"{name}.lock"), f"another process is packing {root}"):
        pixels = _open(folder, shape)  # the other process may have made it
        if pixels is None or verify:
            if isinstance(images, Files) and (outside := images.outside()):
                first = f"{len(outside):,} images, the first {outside[0]}"
                print(f"chexlib: symbolic links lead out of {root}: {first}", file=sys.stderr)
            _write(folder, root, images, shape, progress, skip_bad)
            _remove_superseded(folder, name)
            pixels = _open(folder, shape)
    return pixels


def _key(root: Path, images: Images, size: int) -> tuple[str, str]:
    """What names these images at this size, and what changes with their files and with the version of this code."""
    root, n = root.resolve(), len(images.names)
    name = hashlib.sha256("\n".join([str(root), *map(str, images.names)]).encode()).hexdigest()[:10]
    stamps = "\n".join(map(images.stamp, range(n)))
    return f"{root.name[:40]}-{size}-{name}", hashlib.sha256(f"{PACK_VERSION}\n{stamps}".encode()).hexdigest()[:10]


def _header(shape: tuple[int, int, int]) -> bytes:
    """How pixels.npy begins."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _open(folder: Path, shape: tuple[int, int, int]) -> Pixels | None:
    """The cache in the folder; None where it is absent or, by its length, header or journal, damaged."""
    path = folder / "pixels.npy"
    try:
        chunks = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        bad = {int(place): reason for chunk in chunks for place, reason in chunk["bad"].items()}
        array = np.load(path, mmap_mode="r")
        whole = sum(chunk["images"] for chunk in chunks) == len(array)
        whole &= path.stat().st_size == array.offset + array.nbytes
        if array.shape != shape or array.dtype != np.uint8 or not whole:
            return None
        return Pixels(folder, np.asarray(array), np.arange(len(array), dtype=np.int32), chunks[-1]["sha256"], bad)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


@dataclass
class _Written:
    """What of a cache is on the disk as it was written."""

    images: int = 0
    journal: int = 0  # bytes
    bad: dict[int, str] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)  # of all pixels so far

    def add(self, block: bytes | np.ndarray, images: int, bad: Mapping[int, str]) -> bytes:
        """Counts a chunk; returns its line of the journal."""
        self.digest.update(block)
        chunk = {"images": images, "sha256": self.digest.hexdigest(), "bad": dict(bad)}
        line = json.dumps(chunk).encode() + b"\n"
        self.images, self.journal, self.bad = self.images + images, self.journal + len(line), self.bad | chunk["bad"]
        return line


def _verified(folder: Path, shape: tuple[int, int, int], bar: tqdm) -> _Written:
    """Reads the pixels again, as far as they are what the journal says."""
    written, header = _Written(), _header(shape)
    try:
        with open(folder / "pixels.npy", "rb") as pixels, open(folder / "journal.jsonl", "rb") as journal:
            if pixels.read(len(header)) != header:
                return written
            for line in journal:
                chunk = json.loads(line)
                bad = {int(row): reason for row, reason in chunk["bad"].items()}
                after = replace(written, digest=written.digest.copy())
                if after.add(pixels.read(chunk["images"] * shape[1] * shape[2]), chunk["images"], bad) != line:
                    break
                written = after
                bar.update(chunk["images"])
    except (FileNotFoundError, ValueError):  # nothing was written, or the last line only in part
        pass
    return written


def _write(
    folder: Path, root: Path, images: Images, shape: tuple[int, int, int], progress: bool, skip_bad: bool
) -> None:
    """Makes the cache, from what an earlier process has left of it, or from what is good of a whole one."""
    partial, again = folder.with_name(f".{folder.name}"), folder.exists()
    text = f"verifying {folder.name}" if again else f"packing {root.name} at {shape[1]} px"
    try:
        if again:
            skip_bad = skip_bad or (folder / "bad_images.csv").exists()
            shutil.rmtree(partial, ignore_errors=True)
            folder.rename(partial)
        partial.mkdir(parents=True, exist_ok=True)
        with tqdm(total=shape[0], desc=text, unit="image", disable=not progress, leave=False) as bar:
            written = _verified(partial, shape, bar)
            if again and written.images < shape[0]:
                what = f"{folder} is damaged after {written.images} images"
                print(f"chexlib: {what}: they are made again from there", file=sys.stderr)
            _append(written, partial, root, images, shape, bar, skip_bad)
        if written.bad:
            rows = [(str(images.names[row]), reason) for row, reason in sorted(written.bad.items())]
            bad = pd.DataFrame(rows, columns=["image", "reason"])
            (partial / "bad_images.csv").write_text(csv(bad, index=False), errors="backslashreplace")
        partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}: free some space or set CHEXLIB_CACHE to another disk; "
            "what is packed so far stays, and the same command goes on from there"
        ) from None


def _append(
    written: _Written, partial: Path, root: Path, images: Images, shape: tuple[int, int, int], bar: tqdm, skip_bad: bool
) -> None:
    """Decodes and writes what is not there yet. By file.write: a full disk under a memory map would kill us."""
    header, one = _header(shape), shape[1] * shape[2]
    _refuse(written.bad, root, images, skip_bad)
    with open(partial / "pixels.npy", "ab") as pixels, open(partial / "journal.jsonl", "ab") as journal:
        journal.truncate(written.journal)
        pixels.truncate(len(header) + written.images * one if written.images else 0)
        if not written.images:
            pixels.write(header)
        needed, free = (shape[0] - written.images) * one, shutil.disk_usage(partial).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")
        with closing(decode(images, written.images, shape, bar)) as chunks:
            for block, bad in chunks:
                _refuse(written.bad | bad, root, images, skip_bad)
                pixels.write(block)
                pixels.flush()  # before its journal, which says that it is there
                journal.write(written.add(block, len(block), bad))
                journal.flush()
        os.fsync(pixels.fileno())


def _refuse(bad: dict[int, str], root: Path, images: Images, skip_bad: bool) -> None:
    """Raises UserError where an image is bad and must not be left out, or where all are bad."""
    if bad and (not skip_bad or len(bad) == len(images.names)):
        row, reason = min(bad.items())
        raise UserError(
            f"{root / str(images.names[row])}: cannot be decoded ({reason}): fetch it again, take its row out of the "
            "label file, or leave such images out: chexlib data pack --skip-bad"
        )


def _remove_superseded(folder: Path, name: str) -> None:
    """Removes what older files or older code made of the same images; a process that maps it keeps what it maps."""
    for start in ("", "."):
        for path in folder.parent.glob(f"{start}{glob.escape(name)}-*"):
            if path != folder and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def decode(
    images: Images, first: int, shape: tuple[int, int, int], bar: tqdm
) -> Iterator[tuple[np.ndarray, dict[int, str]]]:
    """Images from the first on, in chunks (n, size, size) uint8, and which of each are bad (row to reason).

    The next chunk is decoded while one is used. What `images.read` raises comes through, BadImage excepted.
    """
    n, size, _ = shape
    step = min(CHUNK, max(1, CHUNK_BYTES // size**2))
    pool = ThreadPoolExecutor(cores())  # decoding is outside the interpreter lock

    def begin(start: int) -> tuple[np.ndarray, list[Future]]:
        rows = range(start, min(start + step, n))
        block = np.empty((len(rows), size, size), np.uint8)
        pieces = [slice(at, at + PIECE) for at in range(0, len(rows), PIECE)]
        return block, [pool.submit(_fill, block[piece], images, rows[piece]) for piece in pieces]

    try:
        coming = begin(first)
        for start in range(first, n, step):
            (block, pieces), coming = coming, begin(start + step)
            bad = {}
            for piece in pieces:
                bad |= piece.result()
            bar.update(len(block))
            yield block, bad
    finally:
        pool.shutdown(cancel_futures=True)


def _fill(block: np.ndarray, images: Images, rows: range) -> dict[int, str]:
    """Decodes some images into their places (n, size, size); those that are bad become zeros, and are returned."""
    bad = {}
    for place, row in enumerate(rows):
        try:
            block[place] = images.read(row, block.shape[1])
        except BadImage as error:
            block[place] = 0
            bad[row] = error.reason
    return bad


def cache_folder() -> Path:
    """CHEXLIB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("CHEXLIB_CACHE") or f"{home}/chexlib").expanduser()


@contextmanager
def exclusive(path: Path, busy: str = "another process is at work on it") -> Iterator[None]:
    """Holds the lock file, waiting where it must and saying so; the operating system frees it when its owner ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, "w")  # noqa: SIM115 (it is closed below)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: set CHEXLIB_CACHE to a folder that can be written") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"chexlib: {busy}: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
