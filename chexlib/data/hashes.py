"""Perceptual hashes: which images are copies of one another, whatever their size, their losses and their sign.

The hash of an image is the signs of its 24 x 24 lowest cosines (DCT-II) that are constant along neither axis: 576 bits.
It is pHash (Zauner 2010, section 3.2.1) with nine times as many bits, as chest X-rays all look alike, and cut at zero
instead of the median: a low-pass filter, which is what resizing and compression are, damps a cosine and leaves its
sign, at any size of the array; and the negative of an image has every sign turned. So the distance of two images is how
many of their signs differ, or how many agree, whichever are fewer.

Measured on 1,000 X-rays of NIH's (256 px) and 1,640 phantoms (96 px): the nearest of 498,823 pairs of different people
are 175 bits apart, half within 277; of 1,342,702 pairs of phantoms 96; two films of one person 108 and more, but for
two of NIH's that are the same. Copies of 28 to 1,500 px, of another shape, negatives, JPEGs of quality 30 and up, and
several of these at once lie within 57, so all are found; with losses that fewer pixels make worse, 999 of 1,000 (128
px, quality 30) and 244 of 250 (64 px, quality 50); at quality 10, 885 of 1,000. What is cropped by 2 % a side, turned,
mirrored or equalised is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from tqdm import tqdm

from chexlib.machine import cores

HASHED = ("split", "image", "patient", "hash")
"""Columns of a table of hashes, a row an image; a hash as text, "" where an image shows nothing."""

COSINES = 24
"""Along each axis: from half a wave over the image to twelve waves."""

BITS, WORDS = COSINES**2, COSINES**2 // 64

NEAR = 64
"""Bits by which copies differ at most."""

FEW_WORDS = 3
"""Of a hash, the last, which alone rule out nearly every pair: the higher cosines are those in which X-rays differ."""

FLAT = 1.0
"""Grey levels: an image whose standard deviation is smaller shows nothing, and its hash is 0."""

ROWS, COLUMNS = 32, 4096
"""Pairs that are compared at once: 1 MB, which stays in a core's cache."""


def hash_images(pixels: np.ndarray) -> np.ndarray:
    """Of square grey images (N, size, size), (N, WORDS) uint64."""
    waves = _cosines(pixels.shape[-1])
    signs = (waves @ pixels.astype(np.float32) @ waves.T) > 0  # (N, 24, 24)
    hashes = np.packbits(signs.reshape(len(pixels), BITS), axis=1).view(np.uint64)
    hashes[pixels.std(axis=(1, 2)) < FLAT] = 0
    return hashes


@cache
def _cosines(size: int) -> np.ndarray:
    """(COSINES, size): the first that are not constant."""
    waves, places = np.arange(1, COSINES + 1)[:, None], np.arange(size) + 0.5
    return np.cos(np.pi * waves * places / size).astype(np.float32)


def hash_texts(hashes: np.ndarray) -> list[str]:
    """Hashes (N, WORDS) as hexadecimal digits, "" for 0."""
    return [row.tobytes().hex() if row.any() else "" for row in hashes]


def read_hashes(texts: Sequence[str]) -> np.ndarray:
    """(N, WORDS) uint64 of N such texts, "" among them. Raises ValueError where one is none."""
    rows = [bytes.fromhex(text) or bytes(BITS // 8) for text in texts]
    if any(len(row) != BITS // 8 for row in rows):
        raise ValueError(f"a hash has {BITS // 4} hexadecimal digits")
    return np.frombuffer(b"".join(rows), np.uint64).reshape(-1, WORDS)


def near_pairs(a: np.ndarray, b: np.ndarray | None = None, progress: bool = False) -> np.ndarray:
    """(P, 2): all rows i of `a` (N, WORDS) and j of `b` (M, WORDS) that are copies; of `a` alone, those with i < j.

    Every pair is compared, in threads: of 200,000 images, in two minutes of one core. Hashes of 0 are copies of none.
    """
    alone = b is None
    columns = np.ascontiguousarray((a if alone else b).T)  # (WORDS, M)

    def search(start: int) -> list[np.ndarray]:
        rows, found = a[start : start + ROWS].T[:, :, None], []  # (WORDS, n, 1)
        for first in range(start if alone else 0, columns.shape[1], COLUMNS):
            block = columns[:, None, first : first + COLUMNS]  # (WORDS, 1, m)
            few = _distance(rows[-FEW_WORDS:], block[-FEW_WORDS:], np.uint8)  # (n, m)
            i, j = np.divmod(np.flatnonzero(few <= NEAR), few.shape[1])
            near = _distance(rows[:, i, 0], block[:, 0, j], np.uint16) <= NEAR
            found.append(np.stack([i[near] + start, j[near] + first], axis=1))
        return found

    starts = range(0, len(a), ROWS)
    with ThreadPoolExecutor(cores()) as pool:  # NumPy counts bits outside the interpreter lock
        blocks = pool.map(search, starts)
        bar = tqdm(blocks, "looking for copies", len(starts), unit="block", leave=False, disable=not progress)
        found = np.concatenate([np.empty((0, 2), int), *(pairs for several in bar for pairs in several)])
    if alone:
        found = found[found[:, 0] < found[:, 1]]
    return found[a[found[:, 0]].any(axis=1)]


def _distance(a: np.ndarray, b: np.ndarray, kind: type[np.unsignedinteger]) -> np.ndarray:
    """How many bits differ between words (W, ...) each, or agree, whichever are fewer; `kind` holds 64 W."""
    differ = np.bitwise_count(a[0] ^ b[0]).astype(kind, copy=False)
    for x, y in zip(a[1:], b[1:], strict=True):
        differ += np.bitwise_count(x ^ y)
    return np.minimum(differ, 64 * len(a) - differ)


def copies(hashes: np.ndarray, progress: bool = False) -> list[np.ndarray]:
    """Groups of at least two rows of (N, WORDS) that are copies of one another, or of a third, in their order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shown = np.flatnonzero(hashes.any(axis=1))
    different, which = np.unique(hashes[shown], axis=0, return_inverse=True)  # so that 10,000 equal ones make no pair
    i, j = near_pairs(different, progress=progress).T
    near = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(different), len(different)))
    group = connected_components(near, directed=False)[1][which.ravel()]
    order = np.argsort(group, kind="stable")
    groups = np.split(shown[order], np.flatnonzero(np.diff(group[order])) + 1)
    return sorted((rows for rows in groups if len(rows) > 1), key=lambda rows: rows[0])
