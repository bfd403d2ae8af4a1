"""The data sets that the package knows, a row each: adding one is a reader and a row."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chexlib.data.images import BITS, Files
from chexlib.data.listing import Listing, Remarks
from chexlib.data.packed import cache_folder, exclusive
from chexlib.data.readers import chestmnist, chexpert, dicom, folder, nih, xrv
from chexlib.data.readers.label_files import need_header, read_csv
from chexlib.errors import UserError, quoted


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, how it is read, and whether its terms let it be shown to others.

    `read(root, **options)` gives its Listing. `holds(folder)` says whether a folder looks like it.
    """

    name: str
    title: str
    read: Callable[..., Listing]
    holds: Callable[[Path], bool]
    get_it: str  # one line: how a user comes by it
    attribution: str
    shareable: bool = False  # labels, pixels, and the ids of images, studies and patients


def _has(*patterns: str) -> Callable[[Path], bool]:
    """Whether a folder has a file of one of these patterns."""
    return lambda folder: any(next(folder.glob(pattern), None) for pattern in patterns)


SOURCES = {
    source.name: source
    for source in (
        Source(
            "phantom",
            "Phantom radiographs",
            chexpert.read,
            _has("masks/train"),  # but for its masks, its folder looks like CheXpert's
            "it is made here, from a seed",
            "Drawn by chexlib; no patient is in it.",
            shareable=True,
        ),
        Source(
            "chexpert",
            "CheXpert",
            chexpert.read,
            _has(*chexpert.SIGNS),
            "register at stanfordmlgroup.github.io/competitions/chexpert",
            "Stanford ML Group, Irvin et al. 2019.",
        ),
        Source(
            "nih",
            "NIH ChestX-ray14",
            nih.read,
            _has("Data_Entry_2017*.csv"),
            "download it from nihcc.app.box.com/v/ChestXray-NIHCC",
            "Provided by the NIH Clinical Center; Wang et al. 2017.",
            shareable=True,
        ),
        Source(
            "chestmnist",
            "ChestMNIST",
            chestmnist.read,
            _has(*chestmnist.RESOLUTIONS.values()),
            f"in Python, {chestmnist.GET_IT}",
            "MedMNIST, Yang et al. 2023, CC BY 4.0; from NIH ChestX-ray14, Wang et al. 2017.",
            shareable=True,
        ),
        Source(
            "torchxrayvision",  # each set has terms of its own, which nobody tells here; so it is for the next two
            "a data set of torchxrayvision",
            xrv.read,
            _has(),  # its folders look like anybody's
            "see mlmed.org/torchxrayvision, and name the class: dataset=NIH_Dataset",
            "Read by torchxrayvision, Cohen et al. 2022.",
        ),
        Source(
            "dicom",
            "DICOM files",
            dicom.read,
            dicom.holds,
            "any folder of DICOM files, with a labels.csv for labels",
            "The reader's own files.",
        ),
        Source(
            "folder",
            "a folder of images with a labels.csv",
            folder.read,
            _has("labels.csv"),
            "any folder of JPEG, PNG or DICOM files and a labels.csv",
            "The reader's own files.",
        ),
    )
}

KNOWN_BY = {"Image Index": nih.label_file, "Path": chexpert.label_file, "Study": chexpert.label_file}
"""The column by which a label file is known, and what reads it."""


def find_source(name: str, root: str | Path | None = None) -> tuple[Source, Path | None]:
    """The row of a data set's name; or, where `name` is a folder, of the set whose files lie in it, and the folder.

    Raises UserError where there is no such name and no such folder, or the folder holds no data set that is known.
    """
    if name in SOURCES:
        return SOURCES[name], Path(root).expanduser() if root else None
    folder = Path(name).expanduser()
    if not os.path.isdir(folder) or root:
        raise UserError(f"data set {quoted(name)} is unknown: choose one of {', '.join(SOURCES)}, or give its folder")
    for source in SOURCES.values():
        if source.holds(folder):
            return source, folder
    raise UserError(f"{folder}: no label file of {', '.join(SOURCES)} in it: give the folder that holds one")


def read_listing(
    source: Source, root: Path | None, size: int, progress: bool = True, **options
) -> tuple[Path, Listing]:
    """The folder and what its files list; the phantom needs no folder and is then drawn at `size` into the cache.

    Raises UserError where the folder is missing, an option is none of the reader's, or nothing can be read.
    """
    if root is None:
        if source.name != "phantom":
            raise UserError(f"data set {source.name} needs its folder (--data FOLDER): {source.get_it}")
        root, options = _phantom_folder(size, progress, options), {}
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give the one that holds {source.title}")
    bits = options.pop("bits", None)
    signature = inspect.signature(source.read)
    try:
        signature.bind(root, **options)
    except TypeError as error:
        allowed = ", ".join([*list(signature.parameters)[1:], "bits"])
        raise UserError(f"data set {source.name}: {error}; its options: {allowed}") from None
    listing = source.read(root, **options)
    if bits is not None:
        listing = _of_bits(listing, bits)
    if isinstance(listing.images, Files) and (note := listing.images.range_note()):
        listing.remarks.notes.append(note)
    return root, listing


def _of_bits(listing: Listing, bits: int) -> Listing:
    """The same images, of whose 16-bit ones so many bits count. Raises UserError where there is no such choice."""
    if not isinstance(listing.images, Files):
        raise UserError(f"bits={bits!r}: this data set has no images of more than 8 bits: leave it out")
    if type(bits) is not int or bits not in BITS:
        raise UserError(f"bits={bits!r}: choose {BITS[0]} to {BITS[-1]}, or leave it out")
    return replace(listing, images=replace(listing.images, bits=bits))


def read_label_file(path: str | Path) -> Listing:
    """A label file alone, plain or gzipped, without its images: CheXpert's per image or per study, NIH's Data_Entry.

    Raises UserError where it cannot be read or is none of these.
    """
    path, remarks = Path(path).expanduser(), Remarks()
    rows = read_csv(path, "a label file", notes=remarks.notes)
    for column, read in KNOWN_BY.items():
        if column in rows:
            return read(path, rows, remarks)
    need_header(path, rows)
    raise UserError(f"{path}: no column {', '.join(KNOWN_BY)}: give a label file of CheXpert's or NIH's")


def _phantom_folder(size: int, progress: bool, options: dict) -> Path:
    """The phantom of these options in the cache, drawn when it is not there yet."""
    from chexlib.data import phantom  # only where it is drawn

    options = {"n": 1000} | options
    allowed = ("n", "n_valid", "n_test", "seed")
    for key, value in options.items():
        if key not in allowed or not isinstance(value, int):
            message = f"data set phantom: option {key}={value!r}: its options are whole numbers {', '.join(allowed)}"
            raise UserError(message)
    chosen = [f"{key}{value}" for key, value in sorted(options.items())]
    folder = cache_folder() / "-".join(["phantom", phantom.VERSION, f"{size}px", *chosen])
    if not folder.exists():
        with exclusive(folder.with_suffix(".lock")):
            if not folder.exists():
                phantom.write(folder, size=size, progress=progress, **options)
    return folder
