"""Images of a data set, decoded: 8-bit grey, stretched to a square.

A data set's images are files below a folder (`Files`); a set that comes as an array brings its own class with the same
methods (see chexlib.data.readers.chestmnist).

An image is stretched to size x size, as CheXpert's 320 x 320 training images are, so its aspect ratio is not kept; the
filter is Pillow's antialiased bilinear one; both are the same for training and test. What a file is, its first bytes
say, not its name. Grey is the luma of a colour image; alpha is ignored, a palette is followed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from chexlib.data.names import spelling
from chexlib.errors import UserError

MARGIN = 2
"""A large JPEG is decoded at 1/2, 1/4 or 1/8 of its scale, the smallest whose shorter side is still MARGIN times the
size. On X-rays of 2,828 x 2,320 px that changes pixels by 0.14 grey levels in the mean and 2 at most at 320 px, where
it is 1.3 times as fast as the full scale; by 0.20 and 7 at 128 px, 1.9 times as fast. A margin of 1 would change them
by 0.31 and 13 at 224 px for another fifth of the time."""

BITS = (8, 10, 12, 16)
"""How many bits of a 16-bit image's values may count: the fewest that hold its maximum; the upper 8 of them stay."""


class BadImage(UserError):
    """A file that is there, and whose content is no image that can be decoded."""

    def __init__(self, path, reason: str):
        self.reason = " ".join(str(reason).split()) or "no reason given"
        super().__init__(f"{path}: cannot be decoded ({self.reason}): fetch it again or take its row out of the labels")


class Images(Protocol):
    """N images, decoded one at a time and from several threads at once."""

    names: Sequence[str]  # (N,) as in the table's column `image`

    def stamp(self, i: int) -> str:
        """Changes when image i does, and costs no decoding. Raises UserError where it is missing."""
        ...

    def read(self, i: int, size: int) -> np.ndarray:
        """Image i as (size, size) uint8. Raises UserError where it is missing, BadImage where it cannot be decoded."""
        ...


@dataclass(frozen=True)
class Files:
    """Images that are files below a folder."""

    root: Path
    names: Sequence[str] = field(repr=False)  # paths below root
    _folders: dict[str, dict[str, str]] = field(default_factory=dict, repr=False, compare=False)

    def path(self, i: int) -> str:
        """Where image i lies: as it is listed or, where nothing is there, at the one path spelt like it."""
        path = f"{self.root}/{self.names[i]}"
        return path if os.path.exists(path) else self._spelt(str(self.root), self.names[i]) or path

    def _spelt(self, folder: str, below: str) -> str | None:
        """The path `below` a folder, however its parts are spelt."""
        first, _, rest = below.partition("/")
        whole, part = (self._entries(folder).get(spelling(name)) for name in (below, first))
        part = f"{folder}/{first}" if os.path.exists(f"{folder}/{first}") else part
        return whole or (self._spelt(part, rest) if part and rest else None)

    def _entries(self, folder: str) -> dict[str, str]:
        """A folder's entries by their spelling; "" where several share one."""
        if folder not in self._folders:
            found: dict[str, str] = {}
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                found[spelling(name)] = "" if spelling(name) in found else f"{folder}/{name}"
            self._folders[folder] = found
        return self._folders[folder]

    def stamp(self, i: int) -> str:
        path = self.path(i)
        try:
            stat = os.stat(path)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        return f"{self.names[i]}:{stat.st_size}:{stat.st_mtime_ns}"

    def read(self, i: int, size: int) -> np.ndarray:
        return read_grey(self.path(i), size)


def visible_files(root: str | Path) -> Iterator[str]:
    """Paths of all files below a folder, except hidden ones and what macOS puts into archives (._a.jpg, __MACOSX)."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        yield from (f"{folder}/{name}" for name in sorted(files) if not name.startswith("."))


def read_grey(path: str | Path, size: int) -> np.ndarray:
    """One image file as (size, size) uint8: JPEG, DICOM, PNG or whatever else Pillow reads.

    Raises UserError where the file cannot be read, BadImage where it cannot be decoded as a whole: a truncated or
    damaged JPEG is an error, never filler.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not data:
        raise BadImage(path, "the file is empty")
    if data[128:132] == b"DICM" or str(path).lower().endswith((".dcm", ".dicom")):
        return stretch(Image.fromarray(_dicom(path, data)), size)
    try:
        return _jpeg(data, size) if data.startswith(b"\xff\xd8\xff") else _pillow(data, size)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        reason = "no image" if isinstance(error, UnidentifiedImageError) else error
        raise BadImage(path, reason) from None


def decoder() -> str:
    """What turns files into pixels, with versions, for a run's provenance."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("simplejpeg", "pillow", "pydicom"))
    return f"{versions}; 8-bit grey, stretched, antialiased bilinear"


def _unreadable(path: str | Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such image: is the folder complete?")
    return UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}): is its disk there?")


def stretch(image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """A grey image as (size, size) uint8; `box` is the part of it that counts."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _jpeg(data: bytes, size: int) -> np.ndarray:
    """By simplejpeg, which decodes outside the interpreter lock and refuses data that end early or are damaged."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _pillow(data, size)  # no JPEG that libjpeg-turbo's short interface knows, such as 12 bits
    scale = next(s for s in (8, 4, 2, 1) if s == 1 or min(height, width) // s >= MARGIN * size)
    grey = simplejpeg.decode_jpeg(
        data, colorspace="GRAY", min_height=-(-height // scale), min_width=-(-width // scale)
    )  # (h, w, 1), h and w rounded up
    return stretch(Image.fromarray(grey[..., 0]), size, (0, 0, width / scale, height / scale))


def _pillow(data: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode == "F":
            raise ValueError("its values are fractions, of a scale that nobody states")
        if image.mode.startswith("I"):  # 16-bit grey
            image = Image.fromarray(_upper_8_bits(np.asarray(image)))
        return stretch(image.convert("L"), size)


def _upper_8_bits(values: np.ndarray) -> np.ndarray:
    """Values of at most 16 bits as uint8; see BITS."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 1 << BITS[-1]:
        raise ValueError(f"its values go from {low} to {high}, beyond 16 bits")
    bits = next(bits for bits in BITS if high < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


def _dicom(path: str | Path, data: bytes) -> np.ndarray:
    """A DICOM file as (h, w) uint8: rescaled, seen through its first VOI table or window, dark where air is.

    0 and 255 are the ends of the window (DICOM PS3.3, C.11) or, in a file without one, the image's least and greatest
    value: files store 12 bits of 16, or signed numbers, and the ends of what they could store would leave little grey.
    """
    import pydicom
    from pydicom.pixels import get_decoder

    try:
        file = pydicom.dcmread(io.BytesIO(data))
        syntax = file.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and not get_decoder(syntax).is_available:
            raise ValueError(f'{syntax.name} needs a decoder that is not installed: pip install "pylibjpeg[all]"')
        if int(file.get("NumberOfFrames") or 1) != 1:
            raise ValueError(f"it has {file.NumberOfFrames} frames: one image is wanted")
        if file.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
            raise ValueError(f"it is {file.PhotometricInterpretation}, not grey")
        return _window(file)
    except Exception as error:  # pydicom lets out whatever a damaged file makes of it
        raise BadImage(path, error) from None


def _window(file) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    low = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
    stored = np.array([low, low + 2**file.BitsStored - 1])
    values = apply_modality_lut(file.pixel_array, file)
    if tables := file.get("VOILUTSequence"):
        ends = (0, 2 ** tables[0].LUTDescriptor[2] - 1)
        tables[0].LUTDescriptor[2] = 16  # pydicom looks up by integers of this width: 8 bits would wrap around
        values = np.rint(values).astype(np.int64)
    elif "WindowWidth" not in file:
        ends = (values.min(), values.max())
    elif tables := file.get("ModalityLUTSequence"):
        ends = (0, 2 ** tables[0].LUTDescriptor[2] - 1)
    else:
        ends = apply_modality_lut(stored, file)  # what pydicom makes of a window's lower and upper end
    span = float(ends[1]) - float(ends[0]) or 1.0  # an image of one value is black
    grey = np.clip((apply_voi_lut(values, file) - float(ends[0])) / span, 0, 1) * 255
    if file.PhotometricInterpretation == "MONOCHROME1":  # the lowest value is white
        grey = 255 - grey
    return np.rint(grey).astype(np.uint8)
