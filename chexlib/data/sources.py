"""The data sets that the package knows, a row each: adding one is a reader and a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chexlib.data import chexpert, nih
from chexlib.data.listing import Listing
from chexlib.data.packed import cache_folder, exclusive
from chexlib.errors import UserError


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, how it is read, and what its terms let be shown to others.

    `read(root, **options)` gives its Listing. `signs` are patterns of files by which a folder of it is known.
    """

    name: str
    title: str
    read: Callable[..., Listing]
    signs: tuple[str, ...]
    share_labels: bool
    share_ids: bool  # of images, studies and patients
    share_pixels: bool
    get_it: str  # one line: how a user comes by it
    attribution: str

    @property
    def shareable(self) -> bool:
        """Whether labels, ids and pixels may all be shown."""
        return self.share_labels and self.share_ids and self.share_pixels


SOURCES = {
    source.name: source
    for source in (
        Source(
            "phantom",
            "Phantom radiographs",
            chexpert.read,
            (),  # its folder looks like CheXpert's
            share_labels=True,
            share_ids=True,
            share_pixels=True,
            get_it="it is made here, from a seed",
            attribution="Drawn by chexlib; no patient is in it.",
        ),
        Source(
            "chexpert",
            "CheXpert",
            chexpert.read,
            ("train.csv", "valid.csv", "groundtruth.csv", "test_labels.csv"),
            share_labels=False,
            share_ids=False,
            share_pixels=False,
            get_it="register at stanfordmlgroup.github.io/competitions/chexpert",
            attribution="Stanford ML Group, Irvin et al. 2019.",
        ),
        Source(
            "nih",
            "NIH ChestX-ray14",
            nih.read,
            ("Data_Entry_2017*.csv",),
            share_labels=True,
            share_ids=True,
            share_pixels=True,
            get_it="download it from nihcc.app.box.com/v/ChestXray-NIHCC",
            attribution="Provided by the NIH Clinical Center; Wang et al. 2017.",
        ),
    )
}


def find_source(name: str, root: str | Path | None = None) -> tuple[Source, Path | None]:
    """The row of a data set's name; or, where `name` is a folder, of the set whose files lie in it, and the folder.

    Raises UserError where there is no such name and no such folder, or the folder holds no data set that is known.
    """
    if name in SOURCES:
        return SOURCES[name], Path(root).expanduser() if root else None
    folder = Path(name).expanduser()
    if not folder.is_dir() or root:
        raise UserError(f"data set {name!r} is unknown: choose one of {', '.join(SOURCES)}, or give its folder")
    for source in SOURCES.values():
        if any(next(folder.glob(sign), None) for sign in source.signs):
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
    try:
        return root, source.read(root, **options)
    except TypeError as error:
        raise UserError(f"data set {source.name}: {str(error).split('()')[-1].strip()}") from None


def _phantom_folder(size: int, progress: bool, options: dict) -> Path:
    """The phantom of these options in the cache, drawn when it is not there yet."""
    from chexlib.data import phantom  # only where it is drawn

    options = {"n": 1000} | options
    allowed = ("n", "n_valid", "n_test", "seed")
    for name, value in options.items():
        if name not in allowed or not isinstance(value, int):
            raise UserError(
                f"data set phantom: option {name}={value!r}: its options are whole numbers {', '.join(allowed)}"
            )
    name = "-".join(
        ["phantom", phantom.VERSION, f"{size}px"] + [f"{key}{value}" for key, value in sorted(options.items())]
    )
    folder = cache_folder() / name
    if not folder.exists():
        with exclusive(folder.with_suffix(".lock")):
            if not folder.exists():
                phantom.write(folder, size=size, progress=progress, **options)
    return folder
