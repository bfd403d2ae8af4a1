"""One DICOM file: known by its content, and its picture as grey (DICOM PS3.3, C.7.6.3, C.8.11 and C.11).

A picture is dark where its lowest value is meant to be, whatever is stored. 0 and 255 are the ends of its first VOI
table or, without one, of its first window; in a file without either, the image's least and greatest value, because
files store 12 bits of 16, or signed numbers, and the ends of what they could store would leave little grey. What pads
an image to a rectangle (PixelPaddingValue) is black and counts for neither end. MONOCHROME1 and PresentationLUTShape
INVERSE both say that low values are white; together they say it once.

A tag that is empty, or only half there, is as if absent: a window without its width, or of width 0, a slope of 0, a
table without entries. Left out: colour, several frames, shutters, overlays and the picture's rotation.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chexlib.errors import UserError

MARK = slice(128, 132)
"""Where a file says DICM, after a preamble of 128 bytes that some writers leave away."""

META, IDENTIFYING = 0x0002, 0x0008
"""Groups of tags, of which a file without a preamble begins with one."""

DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
"""The transfer syntax that compresses header and pixels together, and that of the same inflated, at equal length."""

HEADER = 2**20
"""Bytes of a deflated file that are inflated to see how large the rest is."""

NEEDED = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PixelRepresentation", "PixelData"),
)

LEVELS = 2**16
"""Pixels of at most so many different values are looked up in a table; more are computed one by one."""


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so (132 bytes or more) is DICOM, with a preamble or without."""
    if head[MARK] == b"DICM":
        return True
    group, element = (int.from_bytes(head[at : at + 2], "little") for at in (0, 2))
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    return len(head) > 8 and group in (META, IDENTIFYING) and element < 0x20 and length < 1024


def read_header(path: str | Path, tags: Sequence[str]):
    """These tags of a file, as a pydicom Dataset. Raises UserError, without the path, where it is no DICOM file."""
    import pydicom

    try:
        if not os.path.isfile(path):  # a pipe would never end
            raise UserError("no file")
        with open(path, "rb") as file:
            head = file.read(1024)
            if not is_dicom(head):
                raise UserError("no DICOM file")
            file.seek(0)
            whole = io.BytesIO(_inflated(file.read())) if DEFLATED in head else file
            return pydicom.dcmread(whole, force=True, stop_before_pixels=True, specific_tags=list(tags))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    except Exception:  # pydicom lets out whatever a damaged file makes of it
        raise UserError("its header is damaged") from None


def grey(data: bytes, check_size: Callable[[int, int], None]) -> np.ndarray:
    """A DICOM file's picture (h, w) uint8.

    check_size(columns, rows) raises UserError where that is too large, and is asked before anything is decoded. Raises
    UserError, without the path, for what cannot be shown.
    """
    try:
        return _shown(_opened(data, check_size))
    except UserError:
        raise
    except Exception:  # pydicom lets out whatever a damaged file makes of it
        raise UserError("its header or its pixels are damaged") from None


def _opened(data: bytes, check_size: Callable[[int, int], None]):
    """The file as a pydicom Dataset whose pixels can be asked for."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if DEFLATED in data[:1024]:
        data = _inflated(data, check_size)
    file = pydicom.dcmread(io.BytesIO(data), force=True)
    for tag in NEEDED:
        if not any(entry not in (None, "", b"") for entry in _entries(file, tag)):
            raise UserError(f"it has no {tag}")
    if (frames := _number(file, "NumberOfFrames") or 1) != 1:
        raise UserError(f"it has {frames:.0f} frames: one image is wanted")
    file.PhotometricInterpretation = _word(file, "PhotometricInterpretation")
    if file.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise UserError(f"it is {file.PhotometricInterpretation}, not grey")
    check_size(int(file.Columns), int(file.Rows))
    syntax = file.file_meta.get("TransferSyntaxUID")
    if not syntax:
        if file["PixelData"].is_undefined_length:
            raise UserError("its pixels are compressed, and it does not say how (no TransferSyntaxUID)")
        implicit, little = file.original_encoding  # as pydicom found them by trying
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        file.file_meta.TransferSyntaxUID = syntax
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise UserError(f"its transfer syntax {syntax} is not known")
    if not syntax.is_encapsulated:
        there, wanted = len(file.PixelData), int(file.Rows) * int(file.Columns) * int(file.BitsAllocated) // 8
        if there < wanted:
            raise UserError(f"its pixels end early, after {there:,} of {wanted:,} bytes")
    elif not _decodable(syntax):
        raise UserError(f'{syntax.name} needs a decoder that is not installed: pip install "pylibjpeg[all]"')
    return file


def _inflated(data: bytes, check_size: Callable[[int, int], None] | None = None) -> bytes:
    """A deflated file as it would be undeflated, another as it is; without check_size, enough of it for its header."""
    import pydicom

    at = MARK.stop if data[MARK] == b"DICM" else 0
    while int.from_bytes(data[at : at + 2], "little") == META:  # (0002,xxxx) is explicit, and never deflated
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        value = at + (12 if long else 8)
        at = value + int.from_bytes(data[value - (4 if long else 2) : value], "little")
    if DEFLATED not in data[:at]:
        return data
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    begin = data[:at].replace(DEFLATED, PLAIN) + inflate.decompress(data[at:], HEADER)
    if check_size is None or inflate.eof:
        return begin
    header = pydicom.dcmread(io.BytesIO(begin), force=True, stop_before_pixels=True)
    check_size(int(header.Columns), int(header.Rows))
    most = HEADER + int(header.Columns) * int(header.Rows) * int(header.BitsAllocated) // 8
    return begin + inflate.decompress(inflate.unconsumed_tail, most)


def _decodable(syntax) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:  # films
        return False


def _shown(file) -> np.ndarray:
    """The picture (h, w) uint8 of an opened file."""
    values = file.pixel_array  # (h, w) integers
    padding = _padding(file, values)  # (h, w) bool
    real = values if padding is None else values[~padding]
    if not real.size:
        return np.zeros(values.shape, np.uint8)
    low, high = int(real.min()), int(real.max())
    if high - low < LEVELS:
        above = np.subtract(values, low, dtype=np.int64)
        if padding is not None:
            above[padding] = 0
        there = np.flatnonzero(np.bincount(above.ravel()))
        table = np.zeros(high - low + 1, np.uint8)
        table[there] = _levels(file, low + there)
        picture = table[above]
    else:
        picture = np.zeros(values.shape, np.uint8)
        picture[... if padding is None else ~padding] = _levels(file, real)
    if padding is not None:
        picture[padding] = 0
    return picture


def _padding(file, values: np.ndarray) -> np.ndarray | None:
    """Which pixels only pad the image, (h, w) bool; None where it says of none.

    The padding value may be written with the other sign than the pixels, and need not fit into their BitsStored.
    """
    from pydicom.pixels import pixel_array

    value = _number(file, "PixelPaddingValue")
    if value is None:
        return None
    limit = _number(file, "PixelPaddingRangeLimit")
    allocated, stored = int(file.BitsAllocated), int(file.BitsStored)
    signed = bool(file.PixelRepresentation)
    first, last = sorted(_signed(int(end), allocated, signed) for end in (value, value if limit is None else limit))
    least = -(1 << (stored - 1)) if signed else 0
    if first < least or last >= least + (1 << stored):
        values = pixel_array(file, correct_unused_bits=False)
    padding = (values >= first) & (values <= last)
    return padding if padding.any() else None


def _signed(value: int, bits: int, signed: bool) -> int:
    """What the bits of an integer are, read as signed or unsigned."""
    value %= 1 << bits
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _levels(file, stored: np.ndarray) -> np.ndarray:
    """Stored values as 0 to 255, uint8: rescaled, seen through the first VOI table or window, inverted."""
    values = _rescaled(file, stored)
    if table := _table(file, "VOILUTSequence"):
        fractions = table.look_up(np.rint(values).astype(np.int64)) / table.greatest
    elif window := _window(file):
        fractions = _through(values, *window, function=_word(file, "VOILUTFunction") or "LINEAR")
    else:
        least, greatest = float(values.min()), float(values.max())
        fractions = (values - least) / (greatest - least or 1.0)  # an image of one value is black
    levels = np.clip(fractions, 0, 1) * 255
    if file.PhotometricInterpretation == "MONOCHROME1" or _word(file, "PresentationLUTShape") == "INVERSE":
        levels = 255 - levels
    return np.rint(levels).astype(np.uint8)


def _rescaled(file, stored: np.ndarray) -> np.ndarray:
    """Stored values through the modality table, or with slope and intercept, where the file has them."""
    if table := _table(file, "ModalityLUTSequence"):
        return table.look_up(stored)
    slope, intercept = _number(file, "RescaleSlope") or 1.0, _number(file, "RescaleIntercept") or 0.0
    return stored * slope + intercept


@dataclass(frozen=True)
class Table:
    """A table of what values become; what lies before or after it becomes its first or last entry."""

    first: int  # the value of the first entry
    entries: np.ndarray
    greatest: int  # that an entry could be

    def look_up(self, values: np.ndarray) -> np.ndarray:
        return self.entries[np.clip(values - self.first, 0, len(self.entries) - 1)]


def _table(file, tag: str) -> Table | None:
    """The first table of a sequence that has a descriptor and entries."""
    for item in file.get(tag) or ():
        descriptor = _numbers(item, "LUTDescriptor")
        if len(descriptor) != 3 or np.isnan(descriptor).any() or not 1 <= descriptor[2] <= 16:
            continue
        if not (entries := item.get("LUTData")):
            continue
        length, first, bits = map(int, descriptor)
        length = length or 1 << 16
        if isinstance(entries, bytes):
            wide = len(entries) >= 2 * length
            entries = np.frombuffer(entries, ("<u2" if file.original_encoding[1] else ">u2") if wide else np.uint8)
        entries = np.atleast_1d(np.asarray(entries, np.int64))[:length]
        if len(entries) < length:
            raise UserError(f"its {tag} has {len(entries):,} of {length:,} entries")
        return Table(first, entries, (1 << bits) - 1)
    return None


def _window(file) -> tuple[float, float] | None:
    """Centre and width of the first window that has both."""
    pairs = zip(_numbers(file, "WindowCenter"), _numbers(file, "WindowWidth"))
    return next(((centre, width) for centre, width in pairs if np.isfinite([centre, width]).all() and width > 0), None)


def _through(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Values as fractions of a window's grey (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    LINEAR is defined for widths of at least 1; of narrower ones, as over values in [0, 1], LINEAR_EXACT is meant.
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise UserError(f"its VOILUTFunction {function} is not known")
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    if not width:
        return values > centre
    return (values - centre) / width + 0.5


def _number(item, tag: str) -> float | None:
    """The first number of a tag; None where it has none."""
    return next((number for number in _numbers(item, tag) if np.isfinite(number)), None)


def _numbers(item, tag: str) -> list[float]:
    """A tag's entries, NaN where one is empty or no number."""
    return [_float(entry) for entry in _entries(item, tag)]


def _word(item, tag: str) -> str:
    """A tag's first entry that is not empty, in capitals; "" where it has none."""
    return next((word for entry in _entries(item, tag) if (word := str(entry or "").strip().upper())), "")


def _entries(item, tag: str) -> list:
    """A tag's values; none where it is absent or cannot be read."""
    try:
        value = item.get(tag)
    except Exception:  # pydicom reads a value when it is asked for it
        return []
    return list(value) if isinstance(value, MutableSequence) else [value]


def _float(entry) -> float:
    try:
        return float(entry)
    except (TypeError, ValueError):
        return float("nan")
