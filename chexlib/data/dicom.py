"""A folder of DICOM files: patient, study, view, sex and age from their headers, labels from a labels.csv beside them.

labels.csv names each file by its path below the folder (column `image`) or by `SOPInstanceUID`; its findings and its
optional column `split` are read as in chexlib.data.folder. Without it nothing is labelled. Pixels are decoded by
chexlib.data.images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.folder import WHAT, read_findings, read_rows, read_split
from chexlib.data.images import Files
from chexlib.data.label_files import SEX_CODES, VIEW_CODES, covered_of, need, read_ages, read_codes
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import IMAGE_COLUMNS, Listing, Problem, same_for_all_splits
from chexlib.errors import UserError

SUFFIXES = {".dcm", ".dicom"}
UID = "SOPInstanceUID"
TAGS = (UID, "PatientID", "StudyInstanceUID", "ViewPosition", "PatientSex", "PatientAge", "Rows")

VIEWS = VIEW_CODES | dict.fromkeys(("LLD", "RLD", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO"), "")
"""Of DICOM's defined terms of ViewPosition: decubitus and oblique views are neither frontal of a side nor lateral."""


def read(root: Path, split_seed: int = 0) -> Listing:
    """What the files' headers say. Raises UserError where there is no DICOM file."""
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{root}: no {' or '.join(sorted(SUFFIXES))} file in it: give the folder that holds them")
    headers, problems, notes = _headers(root, files)
    image = headers["image"]
    patient = headers["PatientID"].fillna(image)
    alone = int(headers["PatientID"].isna().sum())
    notes += [f"{alone} images without PatientID count as a patient each"] * (alone > 0)
    view, odd_view = read_codes("view", root, headers["ViewPosition"], VIEWS)
    sex, odd_sex = read_codes("sex", root, headers["PatientSex"], SEX_CODES)
    age, odd_age = read_ages(root, headers["PatientAge"])
    path, rows = root / "labels.csv", pd.DataFrame({"split": pd.Series(np.nan, image.index, dtype="str")})
    labels = pd.DataFrame(np.nan, image.index, FINDINGS, dtype=np.float32)
    listed = pd.Series(True, image.index)
    if path.exists():
        rows, labels, listed, odd, more = _labels(path, headers)
        problems, notes = problems + odd, notes + more
    split, odd_split = read_split(path, rows["split"][listed], patient[listed], split_seed)
    study = headers["StudyInstanceUID"].fillna(image)
    table = pd.DataFrame(dict(zip(IMAGE_COLUMNS, (split, image, study, patient, view, sex, age)))).join(labels)
    table = table[listed].reset_index(drop=True)
    problems += odd_split + odd_view + odd_sex + odd_age
    covered = same_for_all_splits(covered_of(table))
    return Listing(table, covered, Files(root, list(table["image"])), tuple(problems), tuple(notes))


def _headers(root: Path, files: list[str]) -> tuple[pd.DataFrame, list[Problem], list[str]]:
    """TAGS of each file as text, NaN where empty; files without an image are left out and noted."""
    import pydicom

    headers, bad = [], {}
    for name in files:
        try:
            header = pydicom.dcmread(root / name, stop_before_pixels=True, specific_tags=list(TAGS))
            headers.append({"image": name} | {tag: str(header.get(tag) or "").strip() or None for tag in TAGS})
        except Exception as error:  # pydicom lets out whatever a damaged file makes of it
            bad[name] = " ".join(str(error).split())
    table = pd.DataFrame(headers, columns=["image", *TAGS], dtype="str")
    other = int(table["Rows"].isna().sum())
    problems = [
        Problem(
            "unreadable",
            f"{root / name}: no DICOM file ({reason}): fetch it again or remove it",
            len(bad),
            items=tuple(bad),
        )
        for name, reason in list(bad.items())[:1]
    ]
    notes = [f"{other} DICOM files without an image are left out"] * (other > 0)
    return table.dropna(subset="Rows").reset_index(drop=True), problems, notes


def _labels(path: Path, headers: pd.DataFrame):
    """The rows of labels.csv in the files' order, their labels, which files are listed, what is wrong, and notes."""
    rows = read_rows(path)
    key = UID if UID in rows else "image"
    need(path, rows, (key,), WHAT)
    labels, problems, notes = read_findings(path, rows, (UID,))
    twice = rows[key].duplicated()
    absent = rows[key][~rows[key].isin(headers[key])]
    place = pd.Index(rows[key][~twice]).get_indexer(headers[key])
    listed = pd.Series(place >= 0, headers.index)
    for kind, wrong, what, fatal in (
        ("listed-twice", rows[key][twice], "is listed several times: keep one row", True),
        ("missing", absent, "is none of the DICOM files: take its row out", True),
        ("unlisted", headers["image"][~listed], "has no row: it is left out", False),
    ):
        items = tuple(map(str, wrong))
        problems += [Problem(kind, f"{path}: {item} {what}", len(items), fatal, items) for item in items[:1]]
    place = np.flatnonzero(~twice)[place]
    rows, labels = (part.iloc[place].set_axis(headers.index) for part in (rows, labels))
    return rows, labels, listed, problems, notes
