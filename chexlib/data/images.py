"""Images of a data set, decoded: 8-bit grey, stretched to a square.

A data set's images are files below a folder (`Files`); a set that comes as an array brings its own class with the same
methods (see chexlib.data.chestmnist).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from chexlib.errors import UserError


class Images(Protocol):
    """N images, decoded one at a time and from several threads at once."""

    names: Sequence[str]  # (N,) as in the table's column `image`

    def stamp(self, i: int) -> str:
        """Changes when image i does, and costs no decoding. Raises UserError where it is missing."""
        ...

    def read(self, i: int, size: int) -> np.ndarray:
        """Image i as (size, size) uint8. Raises UserError, one line, where it cannot be decoded."""
        ...


@dataclass(frozen=True)
class Files:
    """Images that are files below a folder."""

    root: Path
    names: Sequence[str] = field(repr=False)  # paths below root

    def stamp(self, i: int) -> str:
        path = f"{self.root}/{self.names[i]}"
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such image: is the folder complete?") from None
        return f"{self.names[i]}:{stat.st_size}:{stat.st_mtime_ns}"

    def read(self, i: int, size: int) -> np.ndarray:
        return read_grey(self.root / self.names[i], size)


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
