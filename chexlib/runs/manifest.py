"""Which images a run learned from and was tested on: a manifest, a row an image, by which copies are known again.

A run's images are those of its data, so the manifest is the data's: <fingerprint>.hashes.parquet beside the runs, a
table of chexlib.data.hashes.HASHED. Training writes it, where it is not there yet.

What is published of it hangs on the data set's terms, as all of an export does. A perceptual hash is a sketch of an
image, 24 x 24 signs of it, and cannot be put under a key, or no copy could be compared with it. Whoever holds an X-ray
of somebody could tell by it that this person is in the set. So of a closed set no hash is published: its manifest says
how many images and patients each split has, ids under the export's key. Who may have the images can hash them.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from chexlib.data.dataset import Dataset
from chexlib.data.hashes import HASHED, hash_images, hash_texts, read_hashes
from chexlib.errors import UserError
from chexlib.runs.store import Run, write_atomically

SUFFIX = ".hashes.parquet"

CHUNK = 64
"""Packed images that are hashed at once."""


def manifest_file(folder: Path, fingerprint: str) -> Path:
    """Where a folder of runs holds the manifest of the data with this fingerprint."""
    return folder / f"{fingerprint}{SUFFIX}"


def make_manifest(dataset: Dataset, progress: bool = True) -> pd.DataFrame:
    """HASHED of a data set, from its packed pixels."""
    starts = range(0, len(dataset.pixels), CHUNK)
    hashes = []
    for start in tqdm(starts, "hashing images", unit_scale=CHUNK, unit="image", disable=not progress, leave=False):
        hashes += hash_texts(hash_images(dataset.pixels[slice(start, start + CHUNK)]))  # of (n, size, size)
    return dataset.table[list(HASHED[:-1])].assign(hash=hashes)


def keep_manifest(folder: Path, dataset: Dataset, progress: bool = True) -> None:
    """Writes the data set's manifest beside the runs in a folder, where it is not there yet."""
    path = manifest_file(folder, dataset.fingerprint)
    if not path.exists():
        write_hashes(path, make_manifest(dataset, progress))


def write_hashes(path: Path, table: pd.DataFrame) -> None:
    """Writes a table of HASHED. Raises UserError where the disk does not take it."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    write_atomically(path, buffer.getvalue(), "free some space or choose another folder")


def hide_ids(table: pd.DataFrame, key: bytes) -> pd.DataFrame:
    """The table with its images, studies and patients as hashes under a key, in their order."""
    table = table.copy()
    for name in {"image", "study", "patient"} & set(table):
        texts = (f"{name} {value}".encode() for value in table[name])
        table[name] = [hashlib.blake2b(text, key=key, digest_size=8).hexdigest() for text in texts]
    return table.sort_values("image")


def find_hashes(place: str | Path) -> pd.DataFrame:
    """The images that a file of hashes, a run's folder or a folder of runs knows: HASHED, those that have a hash.

    Raises UserError where there are none, or they cannot be read.
    """
    place = Path(place).expanduser()
    paths = [place]
    if (place / "spec.json").exists():
        paths = [manifest_file(place.resolve().parent, Run(place).spec.fingerprint)]
    elif place.is_dir():
        paths = sorted(place.glob(f"*{SUFFIX}"))
        if not paths:
            raise UserError(f"{place}: no *{SUFFIX} in it: give a folder of runs that has one, or a file of hashes")
    table = pd.concat([read_hashes_file(path) for path in paths], ignore_index=True)
    known = table[table["hash"] != ""]
    if known.empty:
        raise UserError(
            f"{place}: none of its {len(table):,} images has a hash: its data set's terms keep them back: make them of "
            "its images, with chexlib data check SOURCE --hashes FILE"
        )
    return known


def read_hashes_file(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        table = pd.read_parquet(path, columns=list(HASHED))
        read_hashes(table["hash"])
    except FileNotFoundError:
        todo = f"write it with chexlib data check SOURCE --hashes {path.name}, or export the study again with --data"
        raise UserError(f"{path}: no such file of hashes: {todo}") from None
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException):
        raise UserError(f"{path}: not readable as a file of hashes: write it again with data check --hashes") from None
    return table
