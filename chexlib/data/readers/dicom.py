"""A folder of DICOM files: patient, study, view, sex and age from their headers, labels from a labels.csv beside them.

labels.csv names each file by its path below the folder (column `image`) or by `SOPInstanceUID`; its findings and its
optional column `split` are read as in chexlib.data.readers.folder. Without it nothing is labelled. Pixels are decoded
by chexlib.data.images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import IMAGE_COLUMNS, Listing, Remarks, covers_labelled
from chexlib.data.names import normal
from chexlib.data.readers.folder import WHAT, read_rows, read_split
from chexlib.data.readers.label_files import VIEW_CODES, need, read_findings, read_people
from chexlib.errors import UserError

SUFFIXES = {".dcm", ".dicom"}
UID = "SOPInstanceUID"
PEOPLE = ("ViewPosition", "PatientSex", "PatientAge")
TAGS = (UID, "PatientID", "StudyInstanceUID", *PEOPLE, "Rows")

VIEWS = VIEW_CODES | dict.fromkeys(("LLD", "RLD", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO"), "")
"""Of DICOM's defined terms of ViewPosition: decubitus and oblique views are neither frontal of a side nor lateral."""


def read(root: Path, split_seed: int = 0) -> Listing:
    """What the files' headers say. Raises UserError where there is no DICOM file."""
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{root}: no {' or '.join(sorted(SUFFIXES))} file in it: give the folder that holds them")
    remarks = Remarks()
    headers = _headers(root, files, remarks)
    image = headers["image"]
    patient = headers["PatientID"].fillna(image)
    if alone := int(headers["PatientID"].isna().sum()):
        remarks.notes.append(f"{alone} images without PatientID count as a patient each")
    path, split = root / "labels.csv", pd.Series(np.nan, image.index, dtype="str")
    labels, listed = pd.DataFrame(np.nan, image.index, FINDINGS, dtype=np.float32), pd.Series(True, image.index)
    if path.exists():
        split, labels, listed = _labels(path, headers, remarks)
    columns = {
        "split": read_split(path, split[listed], patient[listed], split_seed, remarks),
        "image": image,
        "study": headers["StudyInstanceUID"].fillna(image),
        "patient": patient,
    }
    table = pd.DataFrame(columns | read_people(root, headers, remarks, PEOPLE, VIEWS)).join(labels)
    table = table[listed].reset_index(drop=True)
    return Listing(table, covers_labelled(table), Files(root, list(table["image"])), remarks)


def _headers(root: Path, files: list[str], remarks: Remarks) -> pd.DataFrame:
    """TAGS of each file as text, NaN where empty; files without an image are left out and noted."""
    import pydicom

    headers, bad = [], {}
    for name in files:
        try:
            header = pydicom.dcmread(root / name, stop_before_pixels=True, specific_tags=list(TAGS))
            headers.append({"image": name} | {tag: str(header.get(tag) or "").strip() or None for tag in TAGS})
        except Exception as error:  # pydicom lets out whatever a damaged file makes of it
            bad[name] = " ".join(str(error).split())
    reason = next(iter(bad.values()), "")
    remarks.wrong("unreadable", bad, f"{root}/", f": no DICOM file ({reason}): fetch it again or remove it")
    table = pd.DataFrame(headers, columns=["image", *TAGS], dtype="str")
    if other := int(table["Rows"].isna().sum()):
        remarks.notes.append(f"{other} DICOM files without an image are left out")
    table["PatientID"] = normal(table["PatientID"])
    return table.dropna(subset="Rows").reset_index(drop=True)


def _labels(path: Path, headers: pd.DataFrame, remarks: Remarks) -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    """Of labels.csv, in the files' order: the split, the labels (N, 14), and which files are listed at all."""
    rows = read_rows(path, remarks.notes)
    key = UID if UID in rows else "image"
    need(path, rows, (key,), WHAT)
    labels = read_findings(path, rows.drop(columns=[*IMAGE_COLUMNS, UID], errors="ignore"), remarks)
    twice = rows[key].duplicated()
    place = pd.Index(rows[key][~twice]).get_indexer(headers[key])
    listed = pd.Series(place >= 0, headers.index)
    absent = rows[key][~rows[key].isin(headers[key])]
    remarks.wrong("listed-twice", rows[key][twice], f"{path}: ", " is listed several times: keep one row")
    remarks.wrong("missing", absent, f"{path}: ", " is none of the DICOM files: take its row out")
    remarks.wrong("unlisted", headers["image"][~listed], f"{path}: ", " has no row: it is left out")
    place = np.flatnonzero(~twice)[place]
    split, labels = (part.iloc[place].set_axis(headers.index) for part in (rows["split"], labels))
    return split, labels, listed
