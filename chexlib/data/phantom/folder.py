"""The phantom as a folder that looks as Stanford ships CheXpert: JPEGs, train.csv, valid.csv, groundtruth.csv; and
masks beside them.

Masks are one 16-bit grey PNG an image, at the image's path under masks/: bit k of a pixel is set where FINDINGS[k] was
drawn.
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
from chexlib.data.phantom.population import Study, series
from chexlib.data.phantom.radiograph import draw
from chexlib.errors import UserError

SPLITS = {"train": 1, "valid": 64541, "test": 64741}
"""Folders and the number of the first patient in each, as in CheXpert where the numbers suffice."""

SIZES = (32, 1024)
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
    """Draws n training images of size x size pixels, and valid and test sets on top, into a CheXpert-shaped folder.

    `n_valid` is by default 15 % of n, at least 60, `n_test` 30 %, at least 120; their labels are the truth, the
    training set's are what an automatic labeler would write; no patient is in two sets. The folder appears whole or not
    at all. Raises UserError for what cannot be drawn, and where the folder is there and not empty, or cannot be
    written.
    """
    folder = Path(folder).expanduser().absolute()
    counts = {
        "train": n,
        "valid": max(60, round(0.15 * n)) if n_valid is None else n_valid,
        "test": max(120, round(0.30 * n)) if n_test is None else n_test,
    }
    for count in counts.values():
        _check(count, size, seed)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not empty: choose another folder or remove it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another folder") from None
    label = f"drawing {folder.name} at {size} px"
    try:
        with tqdm(total=sum(counts.values()), desc=label, unit="image", disable=not progress) as bar:
            first = 1
            for split, count in counts.items():
                images = list(series(count, seed, max(first, SPLITS[split]), one_study=split != "train"))
                for study, view_number in images:
                    _write_image(partial, split, study, view_number, size, seed)
                    bar.update()
                _write_labels(partial, split, images, prefix=f"{folder.name}/{split}/")
                first = images[-1][0].patient + 1
        partial.chmod(0o755)
        partial.rename(folder)  # onto nothing, or onto an empty folder
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}): free some space or choose another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_masks(folder: str | Path, image: str) -> dict[str, np.ndarray]:
    """Where each finding present was drawn: finding to (size, size) bool, nothing for an image without findings.

    `image` is the image's path below the folder, e.g. "valid/patient64541/study1/view1_frontal.jpg". Raises UserError
    where the folder has no mask of it.
    """
    path = (Path(folder) / "masks" / image).with_suffix(".png")
    try:
        with Image.open(path) as png:
            bits = np.asarray(png).astype(np.uint16)
    except OSError as error:
        raise UserError(f"{path}: no readable mask ({error.__class__.__name__}): draw the phantom again") from None
    masks = {finding: (bits >> np.uint16(k) & np.uint16(1)).astype(bool) for k, finding in enumerate(FINDINGS)}
    return {finding: mask for finding, mask in masks.items() if mask.any()}


def _check(n: int, size: int, seed: int) -> None:
    if n < 1:
        raise UserError(f"n={n}: a phantom has at least one image")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size={size}: the phantom is drawn at {SIZES[0]} to {SIZES[1]} pixels")
    if seed < 0:
        raise UserError(f"seed={seed}: seeds are 0 or more")


def _write_image(root: Path, split: str, study: Study, view_number: int, size: int, seed: int) -> None:
    """One image and its masks."""
    image, masks, _ = draw(study, view_number, size, seed)
    bits = np.zeros((size, size), dtype=np.uint16)
    for finding, mask in masks.items():
        bits |= mask.astype(np.uint16) << np.uint16(FINDINGS.index(finding))
    name = Path(split) / study.image(view_number)
    for path, pixels, options in (
        (root / name, image, {"quality": QUALITY}),
        ((root / "masks" / name).with_suffix(".png"), bits, {"compress_level": 1}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)


def _write_labels(root: Path, split: str, images: list[tuple[Study, int]], prefix: str) -> None:
    """One split's label file: CheXpert's 19 columns, one row an image; of the test set, one row a study."""
    if split == "test":
        path = root / "groundtruth.csv"
        rows = {study.path: {"Study": prefix + study.path} | _labels(study.truth.astype(int)) for study, _ in images}
        pd.DataFrame(list(rows.values())).to_csv(path, index=False)
        return
    rows = []
    for study, view_number in images:
        view = study.views[view_number]
        lateral = view == "LATERAL"
        about = {
            "Path": prefix + study.image(view_number),
            "Sex": "Male" if study.male else "Female",
            "Age": study.age,
            "Frontal/Lateral": "Lateral" if lateral else "Frontal",
            "AP/PA": None if lateral else view,
        }
        rows.append(about | _labels(study.labels if split == "train" else study.truth.astype(float)))
    pd.DataFrame(rows).to_csv(root / f"{split}.csv", index=False)


def _labels(values: np.ndarray) -> dict[str, float]:
    return dict(zip(FINDINGS, values.tolist()))
