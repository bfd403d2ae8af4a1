"""Any folder of chest X-rays with a labels.csv: JPEG, PNG or DICOM files, a row each.

Column `image` is the path below the folder. `patient, study, view, sex, age, split` are optional. Every other column
is a finding, under CheXpert's name or another that chexlib.data.names knows: 1 present, 0 absent, -1 uncertain, empty
not mentioned. A row without a patient is a patient of its own, which may hide that one patient is in two splits; a file
without column `split` is split by patient (chexlib.data.splits).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.label_files import (
    SEX_CODES,
    VIEW_CODES,
    covered_of,
    need,
    read_ages,
    read_codes,
    read_csv,
    read_labels,
)
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import IMAGE_COLUMNS, Listing, Problem, same_for_all_splits
from chexlib.data.names import finding_of, is_known, map_names
from chexlib.data.splits import split_by_patient

WHAT = "labels.csv, with a column `image` and a column for each finding"

SPLIT_CODES = {
    **{"TRAIN": "train", "TRAINING": "train", "TEST": "test", "TESTING": "test"},
    **dict.fromkeys(("VAL", "VALID", "VALIDATE", "VALIDATION"), "val"),
}


def read(root: Path, split_seed: int = 0) -> Listing:
    """What labels.csv lists. Raises UserError where it is missing or has no column `image`."""
    path = root / "labels.csv"
    rows = read_rows(path)
    need(path, rows, ("image",), WHAT)
    image = rows["image"]
    patient = rows["patient"].fillna(image)
    view, odd_view = read_codes("view", path, rows["view"], VIEW_CODES)
    sex, odd_sex = read_codes("sex", path, rows["sex"], SEX_CODES)
    age, odd_age = read_ages(path, rows["age"])
    split, odd_split = read_split(path, rows["split"], patient, split_seed)
    study = (patient + "/" + rows["study"]).fillna(image)
    labels, odd, notes = read_findings(path, rows)
    table = pd.DataFrame(dict(zip(IMAGE_COLUMNS, (split, image, study, patient, view, sex, age)))).join(labels)

    outside = image.isna() | image.str.contains(r"^/|(?:^|/)\.\.(?:/|$)", na=False)
    items = tuple(f"row {row + 2}: {str(image.iloc[row])!r}" for row in np.flatnonzero(outside))
    odd += [Problem("path", f"{path}, {item} is not below the folder", len(items), items=items) for item in items[:1]]
    alone = int(rows["patient"].isna().sum())
    notes += [f"{path.name}: {alone} images without a patient count as a patient each"] * (alone > 0)
    table = table[~outside].reset_index(drop=True)
    return Listing(
        table,
        same_for_all_splits(covered_of(table)),
        Files(root, list(table["image"])),
        (*odd, *odd_split, *odd_view, *odd_sex, *odd_age),
        tuple(notes),
    )


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of labels.csv as text; IMAGE_COLUMNS in small letters, empty where there are none, `image` excepted."""
    rows = read_csv(path, (), WHAT, dtype=str)
    rows = rows.rename(columns={name: name.lower() for name in rows if name.lower() in IMAGE_COLUMNS})
    for name in IMAGE_COLUMNS:
        if name not in rows and name != "image":
            rows[name] = pd.Series(np.nan, rows.index, dtype="str")
    return rows


def read_split(path: Path, column: pd.Series, patient: pd.Series, seed: int = 0) -> tuple[pd.Series, list[Problem]]:
    """The file's split where it has one, which must then say it of each row; otherwise drawn by patient."""
    drawn = pd.Series(split_by_patient(patient, seed=seed), patient.index, dtype="str")
    if column.isna().all():
        return drawn, []
    split, odd = read_codes("split", path, column.fillna(""), SPLIT_CODES, fatal=True)
    return split.where(split != "", drawn), odd


def read_findings(
    path: Path, rows: pd.DataFrame, others: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, list[Problem], list[str]]:
    """The columns that are neither IMAGE_COLUMNS nor `others` as CheXpert's findings (N, 14), what is wrong, and notes.

    A name that nobody knows is a Problem: a misspelt finding would count as never mentioned.
    """
    names = [name for name in rows if name not in (*IMAGE_COLUMNS, *others)]
    mapped = [name for name in names if is_known(name) and finding_of(name)]
    values, problems = read_labels(path, rows, tuple(mapped))
    labels = pd.DataFrame(map_names(mapped).labels(values), rows.index, FINDINGS)
    sorted_out = map_names(names)
    if sorted_out.unknown:
        message = f"{path}: column {sorted_out.unknown[0]!r} is no finding that is known: rename it or take it out"
        problems = [Problem("column", message, len(sorted_out.unknown), items=sorted_out.unknown), *problems]
    nothing = ", ".join(sorted_out.nothing)
    return labels, problems, [f"{path.name}: {nothing} left out: no finding of CheXpert's"] if nothing else []
