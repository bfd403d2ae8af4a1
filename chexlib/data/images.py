"""Images of a data set, decoded: 8-bit grey, stretched to a square.

A data set's images are files below a folder (`Files`); a set that comes as an array brings its own class with the same
methods (see chexlib.data.readers.chestmnist).

An image is stretched to size x size, as CheXpert's 320 x 320 training images are, so its aspect ratio is not kept; the
filter is Pillow's antialiased bilinear one; both are the same for training and test. What a file is, its first bytes
say, not its name. Grey is the luma of a colour image; alpha is ignored, a palette is followed. An image is turned as
its EXIF orientation says, as viewers do.

Of 9 to 16 bits, 0 is black and white is the image's own greatest value, 255 at least, because files of 12 bits, say,
do not say that they are; or, with `bits`, the greatest value of so many bits, for all images of a set. DICOM files say
more of themselves: chexlib.data.dicom. Of colours of 16 bits Pillow gives the upper 8.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from chexlib.data import dicom
from chexlib.data.names import spelling
from chexlib.errors import UserError

MARGIN = 2
"""A large JPEG is decoded at 1/2, 1/4 or 1/8 of its scale, the smallest whose shorter side is still MARGIN times the
size. On X-rays of 2,828 x 2,320 px that changes pixels by 0.14 grey levels in the mean and 2 at most at 320 px, where
it is 1.3 times as fast as the full scale; by 0.20 and 7 at 128 px, 1.9 times as fast. A margin of 1 would change them
by 0.31 and 13 at 224 px for another fifth of the time."""

BITS = range(9, 17)
"""What `bits` may be."""

MAX_PIXELS = 89_478_485
"""Width times height of the largest image that is decoded, whatever its format: Pillow's limit. Detectors have 17
million pixels; a file of a megabyte can declare a thousand times as many."""

LOOKED_AT = 16
"""Images that are looked at to see whether a set has any of more than 8 bits."""

MAX_BYTES = 2**30
"""Of the largest file that is read."""

FORMATS = (
    *("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP", "DIB", "GIF", "MPO", "PPM", "PCX", "DCX", "TGA", "PSD"),
    *("SGI", "SUN", "IM", "MSP", "XBM", "ICO", "DDS", "QOI", "FITS"),
)
"""What Pillow may decode: pictures that it decodes itself. EPS and WMF are programs, which others would run."""

DEEP = re.compile(r"\b(L|LA|RGB.?|CMYK);16")
"""What Pillow calls the values of 16 bits of which it gives the upper 8."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations to what makes of the stored pixels the picture that is meant; 1 is as stored."""


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
class Picture:
    """One image, decoded, and what its file tells of it; what nobody knows is 0."""

    pixels: np.ndarray = field(repr=False)  # (size, size) uint8
    width: int = 0  # pixels, as shown
    height: int = 0
    orientation: int = 1  # EXIF's, 1 to 8
    greatest: int = 0  # the greatest value of an image of 9 to 16 bits


@dataclass(frozen=True)
class Files:
    """Images that are files below a folder."""

    root: Path
    names: Sequence[str] = field(repr=False)  # paths below root
    bits: int | None = None  # of 16-bit images, how many count; None: as many as each image's own greatest value needs
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
        path = f"{self.root}/{self.names[i]}"
        try:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                found = os.stat(path := self.path(i))
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        bits = f":{self.bits}" if self.bits else ""
        return f"{self.names[i]}:{found.st_size}:{found.st_mtime_ns}{bits}"

    def read(self, i: int, size: int) -> np.ndarray:
        return self.picture(i, size).pixels

    def picture(self, i: int, size: int) -> Picture:
        """As `read`, with what the file tells."""
        return read_picture(self.path(i), size, self.bits)

    def outside(self) -> list[str]:
        """The images that symbolic links take out of the folder."""
        home, real = f"{os.path.realpath(self.root)}/", cache(os.path.realpath)

        def leaves(i: int) -> bool:
            folder, name = os.path.split(self.path(i))
            path = f"{real(folder)}/{name}"
            return not (os.path.realpath(path) if os.path.islink(path) else path).startswith(home)

        return [str(name) for i, name in enumerate(self.names) if leaves(i)]

    def range_note(self) -> str:
        """Which values of 9 to 16 bits are taken for black and white, in words; "" where a few images have none."""
        n = len(self.names)
        some = np.unique(np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(int))
        if not any(_is_deep(self.path(int(i))) for i in some):
            return ""
        white = f"{(1 << self.bits) - 1:,} (bits={self.bits})" if self.bits else "its greatest value (bits=... sets it)"
        return f"images of 9 to 16 bits: 0 is black, and white is {white}"


def visible_files(root: str | Path) -> Iterator[str]:
    """Paths of all files below a folder, except hidden ones and what macOS puts into archives (._a.jpg, __MACOSX)."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        yield from (f"{folder}/{name}" for name in sorted(files) if not name.startswith("."))


def read_grey(path: str | Path, size: int, bits: int | None = None) -> np.ndarray:
    """The pixels of `read_picture`, (size, size) uint8."""
    return read_picture(path, size, bits).pixels


def read_picture(path: str | Path, size: int, bits: int | None = None) -> Picture:
    """One image file, size x size: JPEG, DICOM, PNG or another of FORMATS.

    bits: of an image of 9 to 16 bits, how many count; by default as many as its greatest value needs. Raises UserError
    where the file cannot be read, BadImage where it cannot be decoded as a whole: a truncated or damaged JPEG is an
    error, never filler.
    """
    data = _read(path)
    try:
        if dicom.is_dicom(data[:256]):
            grey = dicom.grey(data, _check_size)
            return Picture(stretch(Image.fromarray(grey), size), grey.shape[1], grey.shape[0])
        return _jpeg(data, size, bits) if data.startswith(b"\xff\xd8\xff") else _pillow(data, size, bits)
    except UnidentifiedImageError:
        reason = "no image"
    except Image.DecompressionBombError:
        reason = f"it declares more than {MAX_PIXELS:,} pixels"
    except (UserError, OSError, SyntaxError) as error:
        reason = str(error)
    except Exception:  # Pillow lets out whatever a damaged file makes of it
        reason = "it is damaged"
    raise BadImage(path, reason)


def colours(path: str | Path) -> float:
    """Grey levels between the strongest and the weakest colour of an image file, in the mean over its pixels; 0 for
    DICOM and for what is no image."""
    data = _read(path)
    try:
        if dicom.is_dicom(data[:256]):
            return 0.0
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(*image.size)
            if image.mode not in ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                return 0.0
            image.draft("RGB", (LOOKED_AT**2, LOOKED_AT**2))
            levels = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // LOOKED_AT**2)))  # (h, w, 3)
    except Exception:  # whoever reads its pixels says what is wrong
        return 0.0
    return float(np.ptp(levels, axis=2).mean())


def _read(path: str | Path) -> bytes:
    """A file's bytes. Raises UserError where it is no file that ends, as a pipe is not."""
    try:
        found = os.stat(path)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise OSError(errno.EINVAL, "no file, but a pipe or a device")
        large = found.st_size > MAX_BYTES
        with open(path, "rb") as file:
            data = b"" if large else file.read()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if large:
        raise BadImage(path, f"its {found.st_size:,} bytes are more than {MAX_BYTES:,}")
    if not data:
        raise BadImage(path, "the file is empty")
    return data


def _check_size(width: int, height: int) -> None:
    """Raises UserError, before anything is decoded, where a file declares more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise UserError(f"it declares {width:,} x {height:,} pixels: at most {MAX_PIXELS:,} are decoded")


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


def _jpeg(data: bytes, size: int, bits: int | None) -> Picture:
    """By simplejpeg, which decodes outside the interpreter lock and refuses data that end early or are damaged."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _pillow(data, size, bits)  # no JPEG that libjpeg-turbo's short interface knows, such as 12 bits
    _check_size(width, height)
    orientation = _jpeg_orientation(data)
    scales = (1,) if orientation in TURNS else (8, 4, 2, 1)
    scale = next(s for s in scales if s == 1 or min(height, width) // s >= MARGIN * size)
    least = {"min_height": -(-height // scale), "min_width": -(-width // scale)}
    try:
        grey = simplejpeg.decode_jpeg(data, colorspace="GRAY", **least)  # (h, w, 1), h and w rounded up
    except ValueError as error:
        raise UserError(str(error)) from None
    image = _turned(Image.fromarray(grey[..., 0]), orientation)
    if scale == 1:
        return Picture(stretch(image, size), *image.size, orientation)
    return Picture(stretch(image, size, (0, 0, width / scale, height / scale)), width, height)


def _jpeg_orientation(data: bytes) -> int:
    """Of the segments before a JPEG's pixels; few hold one, and only those are given to Pillow."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":  # the last one
        at += 1 if data[at + 1 : at + 2] == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    header = data[:at]
    if b"Exif\0\0" not in header and b"tiff:Orientation" not in header:
        return 1
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        return _orientation(image)


def _pillow(data: bytes, size: int, bits: int | None) -> Picture:
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        _check_size(*image.size)
        if image.mode == "F":
            raise UserError("its values are fractions, of a scale that nobody states")
        deep_colours = not image.mode.startswith("I") and any(map(DEEP.search, map(str, image.tile)))
        orientation = _orientation(image)
        image.load()  # which turns a TIFF
        grey, greatest = image, 0
        if image.mode.startswith("I"):  # 9 to 16 bits
            values, greatest = _eight_bits(np.asarray(image), bits)
            grey = Image.fromarray(values)
        grey = grey.convert("L")
        if deep_colours and grey.getextrema()[1] < 64:  # all would be nearly black
            raise UserError("it has colours of 16 bits and uses fewer, and nobody says how many: save it as grey")
        if image.format != "TIFF":
            grey = _turned(grey, orientation)
        return Picture(stretch(grey, size), *grey.size, orientation, greatest)


def _is_deep(path: str) -> bool:
    """Whether a file is an image of more than 8 bits, by its header; False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
        if head.startswith(b"\xff\xd8\xff") or dicom.is_dicom(head):
            return False
        with Image.open(path, formats=_formats()) as image:
            return image.mode.startswith("I")
    except Exception:  # whoever reads all of it says what is wrong
        return False


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; 1 where there is none, or one that is damaged."""
    try:
        orientation = image.getexif().get(Base.Orientation)
    except Exception:  # of whatever bytes call themselves EXIF
        return 1
    return orientation if orientation in TURNS else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _eight_bits(values: np.ndarray, bits: int | None) -> tuple[np.ndarray, int]:
    """Values of at most 16 bits as uint8, and the greatest of them where that is of more than 8 bits, else 0.

    The upper 8 bits, where the values fill their bits; and no jump between 1,023 and 1,024.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >> BITS[-1]:
        raise UserError(f"its values go from {low} to {high}, beyond 16 bits")
    if bits and high >> bits:
        raise UserError(f"its greatest value, {high}, is beyond bits={bits}")
    white = (1 << bits) - 1 if bits else max(high, 255)
    levels = np.arange(white + 1) * 256 // (white + 1)
    return levels.astype(np.uint8)[values], high if high > 255 else 0
