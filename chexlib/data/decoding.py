"""Images decoded in parallel, in order, into chunks of memory that are used again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from chexlib.data.images import BadImage, Images
from chexlib.machine import cores

CHUNK, CHUNK_BYTES = 512, 2**24
"""Images of a chunk, at most, and how long it may be: what a killed process loses, and half of the memory used."""

PIECE = 8
"""Images that a thread decodes before it takes others."""


def decode(
    images: Images, first: int, shape: tuple[int, int, int], bar: tqdm
) -> Iterator[tuple[np.ndarray, dict[int, str]]]:
    """Images from the first on, in chunks (n, size, size) uint8, and which of each are bad (row to reason).

    A chunk is there until the next is asked for; that is decoded meanwhile. What `images.read` raises comes through,
    BadImage excepted.
    """
    n, size, _ = shape
    step = min(CHUNK, max(1, CHUNK_BYTES // size**2))
    blocks = [np.empty((step, size, size), np.uint8) for _ in range(2)]
    pool = ThreadPoolExecutor(cores())  # decoding is outside the interpreter lock

    def begin(start: int) -> list[Future]:
        starts = range(start, min(start + step, n), PIECE)
        pieces = [range(s, min(s + PIECE, start + step, n)) for s in starts]
        block = blocks[start // step % 2]
        return [pool.submit(_fill, block[p.start - start : p.stop - start], images, p) for p in pieces]

    try:
        coming = begin(first)
        for start in range(first, n, step):
            pieces, coming = coming, begin(start + step)
            bad = {}
            for piece in pieces:
                bad |= piece.result()
                bar.update(min(PIECE, n - bar.n))
            yield blocks[start // step % 2][: min(step, n - start)], bad
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
