"""Any folder of chest X-rays with a labels.csv: JPEG, PNG or DICOM files, a row each.

Column `image` is the path below the folder. `patient, study, view, sex, age, split` are optional. Every other column
is a finding, under CheXpert's name or another that chexlib.data.names knows: 1 present, 0 absent, -1 uncertain, empty
not mentioned. A row without a patient is a patient of its own, which may hide that one patient is in two splits; a file
without column `split` is split by patient.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.listing import DRAWN, IMAGE_COLUMNS, Listing, Remarks, covers_labelled, split_by_patient
from chexlib.data.names import image_paths, normal
from chexlib.data.readers.label_files import cells, need, read_codes, read_csv, read_findings, read_people
from chexlib.errors import UserError

WHAT = "labels.csv, with a column `image` and a column for each finding"

SPLIT_CODES = {
    **{"TRAIN": "train", "TRAINING": "train", "TEST": "test", "TESTING": "test"},
    **dict.fromkeys(("VAL", "VALID", "VALIDATE", "VALIDATION"), "val"),
}


def read(root: Path, split_seed: int = 0) -> Listing:
    """What labels.csv lists. Raises UserError where it is missing or has no column `image`."""
    path, remarks = root / "labels.csv", Remarks()
    rows = read_rows(path, remarks.notes)
    need(path, rows, ("image",), WHAT)
    labels = read_findings(path, rows.drop(columns=list(IMAGE_COLUMNS)), remarks)
    image = rows["image"]
    outside = image.isna() | image.str.contains(r"^/|^[A-Za-z]:/|(?:^|/)\.\.(?:/|$)", na=False)
    remarks.wrong("path", cells(image, outside), f"{path}, ", " is not below the folder")
    patient = rows["patient"].fillna(image)
    if alone := int(rows["patient"].isna().sum()):
        remarks.notes.append(f"{path.name}: {alone} images without a patient count as a patient each")
    split = read_split(path, rows["split"], patient, split_seed, remarks)
    study = (patient + "/" + rows["study"]).fillna(image)
    columns = {"split": split, "image": image, "study": study, "patient": patient}
    table = pd.DataFrame(columns | read_people(path, rows, remarks)).join(labels)
    table = table[~outside].reset_index(drop=True)
    return Listing(table, covers_labelled(table), Files(root, list(table["image"])), remarks)


def read_rows(path: Path, notes: list[str] | None = None) -> pd.DataFrame:
    """The rows of labels.csv as text, names in their normal form; IMAGE_COLUMNS in small letters, empty where there are
    none, `image` excepted."""
    rows = read_csv(path, WHAT, str, notes)
    names = [name.lower() if name.lower() in IMAGE_COLUMNS else name for name in rows]
    if twice := [name for name in IMAGE_COLUMNS if names.count(name) > 1]:
        raise UserError(f"{path}: two columns are called {twice[0]}: take one out")
    rows = rows.set_axis(names, axis=1)
    for name in IMAGE_COLUMNS:
        if name not in rows and name != "image":
            rows[name] = pd.Series(np.nan, rows.index, dtype="str")
    for name, form in (("image", image_paths), ("patient", normal), ("study", normal)):
        if name in rows:
            rows[name] = form(rows[name])
    return rows


def read_split(path: Path, column: pd.Series, patient: pd.Series, seed: int, remarks: Remarks) -> pd.Series:
    """The file's split where it has one, which must then say it of each row; otherwise drawn by patient."""
    drawn = pd.Series(split_by_patient(patient, seed=seed), patient.index, dtype="str")
    if column.isna().all():
        remarks.splits = f"{DRAWN}, or write them into a column split of {path.name}"
        return drawn
    remarks.splits = f"{path.name} names them in its column split: without that column patients are drawn"
    split = read_codes("split", path, column.fillna(""), SPLIT_CODES, remarks)
    return split.where(split != "", drawn)
