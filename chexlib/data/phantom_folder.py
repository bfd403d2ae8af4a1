"""The phantom as a folder that looks as Stanford ships CheXpert: JPEGs, train.csv, valid.csv,
groundtruth.csv; and masks beside them.

Masks are one 16-bit grey PNG an image, at the image's path under masks/: bit k of a pixel is set where
FINDINGS[k] was drawn.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from chexlib.data.labels import FINDINGS
from chexlib.errors import UserError

SPLITS = {"train": 1, "valid": 64541, "test": 64741}
"""Folders and the number of the first patient in each, as in CheXpert where the numbers suffice."""

QUALITY = 92


def write(
    folder: str | Path,
    n: int,
    size: int = 128,
    seed: int = 0,
    progress: bool = True,
    n_valid: int | None = None,
    n_test: int | None = None,
) -> None:
    """Draws n training images, and valid and test sets on top, into a CheXpert-shaped folder.

    `n_valid` is by default 15 % of n, at least 60, `n_test` 30 %, at least 120; their labels are the truth,
    the training set's are what an automatic labeler would write; no patient is in two sets. The folder
    appears whole or not at all. Raises UserError where the folder is there and not empty, or cannot be
    written.
    """
    from chexlib.data.phantom import _check

    folder = Path(folder).expanduser().absolute()
    counts = {"train": n, "valid": max(60, round(0.15 * n)) if n_valid is None else n_valid,
              "test": max(120, round(0.30 * n)) if n_test is None else n_test}  # fmt: skip
    for count in counts.values():
        _check(count, size, seed)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not empty: choose another folder or remove it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another folder") from None
    try:
        with tqdm(
            total=sum(counts.values()), desc=f"drawing {folder.name} at {size} px", unit="image", disable=not progress
        ) as bar:
            first = 1
            for split, count in counts.items():
                first = _write_split(partial, folder.name, split, count, size, seed, max(first, SPLITS[split]), bar)
        partial.chmod(0o755)
        partial.rename(folder)  # onto nothing, or onto an empty folder
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}): free some space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_split(root: Path, name: str, split: str, count: int, size: int, seed: int, first: int, bar: tqdm) -> int:
    """One split's images, masks and label file; returns the number after its last patient's."""
    from chexlib.data.phantom import draw, plan, table

    rows = []
    for study, view_number in plan(count, seed, split != "train", first):
        rows.append((study, view_number))
        image, masks, _ = draw(study, view_number, size, seed)
        path = root / split / table(rows[-1:], True)["image"].iat[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=QUALITY)
        _save_masks(root / "masks" / path.relative_to(root).with_suffix(".png"), masks, size)
        bar.update()
    rows_table = table(rows, split != "train")
    if split == "test":
        _groundtruth(rows_table, f"{name}/{split}/").to_csv(root / "groundtruth.csv", index=False)
    else:
        _label_file(rows_table, f"{name}/{split}/").to_csv(root / f"{split}.csv", index=False)
    return rows[-1][0].patient + 1


def _label_file(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """CheXpert's 19 columns, one row an image."""
    lateral = rows["view"] == "LATERAL"
    columns = {
        "Path": prefix + rows["image"],
        "Sex": rows["sex"].map({"M": "Male", "F": "Female"}),
        "Age": rows["age"].astype(int),
        "Frontal/Lateral": np.where(lateral, "Lateral", "Frontal"),
        "AP/PA": rows["view"].mask(lateral),
    }
    return pd.DataFrame(columns | {finding: rows[finding] for finding in FINDINGS})


def _groundtruth(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """CheXpert's test labels, one row a study."""
    studies = rows.drop_duplicates("study")
    return pd.DataFrame(
        {"Study": prefix + studies["study"]} | {finding: studies[finding].astype(int) for finding in FINDINGS}
    )


def _save_masks(path: Path, masks: dict[str, np.ndarray], size: int) -> None:
    bits = np.zeros((size, size), dtype=np.uint16)
    for finding, mask in masks.items():
        bits |= mask.astype(np.uint16) << np.uint16(FINDINGS.index(finding))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(bits).save(path, compress_level=1)


def read_masks(folder: str | Path, image: str) -> dict[str, np.ndarray]:
    """Where each finding present was drawn: finding to (size, size) bool; an image without findings gives an
    empty dict.

    `image` is the image's path below the folder, e.g. "valid/patient64541/study1/view1_frontal.jpg". Raises
    UserError where the folder has no mask of it.
    """
    path = (Path(folder) / "masks" / image).with_suffix(".png")
    try:
        with Image.open(path) as png:
            bits = np.asarray(png).astype(np.uint16)
    except (FileNotFoundError, OSError) as error:
        raise UserError(f"{path}: no readable mask ({error.__class__.__name__}): draw the phantom again") from None
    masks = {finding: (bits >> np.uint16(k) & np.uint16(1)).astype(bool) for k, finding in enumerate(FINDINGS)}
    return {finding: mask for finding, mask in masks.items() if mask.any()}
