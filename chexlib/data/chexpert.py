"""CheXpert-shaped folders: train.csv, valid.csv and groundtruth.csv beside the images (Irvin et al. 2019).

The phantom is written in this shape too, and read here. Labels are those of an image's own row; the test set's are
per study, and its images are those that lie in the study's folder. `Path` may or may not begin with the data set's
own folder name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.label_files import read_csv
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing
from chexlib.errors import UserError

SEX = {"Male": "M", "Female": "F"}
IMAGE_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")


def read(root: Path) -> Listing:
    """What a folder of this shape lists; a finding without any label in a file is not covered there."""
    parts = [_read_images(root, "train.csv", "train"), _read_images(root, "valid.csv", "val")]
    names = ["train.csv", "valid.csv"]
    if (root / "groundtruth.csv").exists():
        parts.append(_read_studies(root, "groundtruth.csv", "test"))
        names.append("groundtruth.csv")
    has = [pd.read_csv(root / name, nrows=0).columns for name in names]
    table = pd.concat(parts, ignore_index=True)
    labelled = [finding for finding in FINDINGS if table[finding].notna().any()]  # an empty column labels nothing
    covered = {
        split: tuple(finding for finding in labelled if finding in columns)
        for split, columns in zip(table["split"].unique(), has, strict=True)
    }
    return Listing(table, covered, Files(root, list(table["image"])))


def _read_images(root: Path, name: str, split: str) -> pd.DataFrame:
    """A file with one row an image (train.csv, valid.csv)."""
    rows = _read_labels(root / name, IMAGE_COLUMNS)
    image = _below_root(rows["Path"], root / name)
    frontal = rows["Frontal/Lateral"] == "Frontal"
    view = np.where(frontal, rows["AP/PA"].fillna(""), "LATERAL")
    sex = rows["Sex"].map(SEX).fillna("")
    age = rows["Age"].astype(float)
    return _table(split, image, view, sex, age, rows)


def _read_studies(root: Path, name: str, split: str) -> pd.DataFrame:
    """A file with one row a study (groundtruth.csv): the labels repeat on the study's images."""
    studies = _read_labels(root / name, ("Study",))
    studies["Study"] = _below_root(studies["Study"], root / name)
    images = {study: sorted((root / study).glob("*.jpg")) for study in studies["Study"]}
    empty = [study for study, files in images.items() if not files]
    if empty:
        raise UserError(
            f"{root / name}: no images in {root / empty[0]} ({len(empty)} studies have none): download them"
        )
    rows = studies.loc[studies.index.repeat([len(images[study]) for study in studies["Study"]])]
    image = pd.Series([f"{study}/{file.name}" for study, files in images.items() for file in files], index=rows.index)
    view = np.where(image.str.contains("lateral"), "LATERAL", "")  # the file does not say AP or PA
    return _table(split, image, view, "", np.nan, rows)


def _table(split: str, image: pd.Series, view, sex, age, labels: pd.DataFrame) -> pd.DataFrame:
    folder = image.str.rsplit("/", n=1).str[0]  # train/patient00001/study1
    patient = image.str.split("/").str[1]
    columns = {
        "split": split,
        "image": image,
        "study": folder,
        "patient": patient,
        "view": view,
        "sex": sex,
        "age": age,
    }
    return pd.DataFrame(columns | {finding: labels[finding].astype(np.float32) for finding in FINDINGS})


def _below_root(paths: pd.Series, source: Path) -> pd.Series:
    """Paths from train/, valid/ or test/ on, whatever stands before; one that leaves the folder is refused."""
    below = paths.str.extract(r"((?:train|valid|test)/patient.*)$")[0]
    bad = below.isna() | below.str.contains("..", regex=False)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise UserError(
            f"{source}, row {row + 2}: {paths.iloc[row]!r} is not train/, valid/ or test/patient.../study.../..."
        )
    return below


def _read_labels(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """A label file with all 14 findings, those that it does not have as empty columns."""
    rows = read_csv(path, needed, "CheXpert's train.csv, valid.csv or groundtruth.csv")
    rows = rows.reindex(columns=[*rows.columns, *(finding for finding in FINDINGS if finding not in rows)])
    for finding in FINDINGS:
        words = rows[finding][pd.to_numeric(rows[finding], errors="coerce").isna() & rows[finding].notna()]
        if len(words):
            raise UserError(f"{path}, column {finding}: {words.iloc[0]!r} is not a label: 1, 0, -1 or empty")
    return rows
