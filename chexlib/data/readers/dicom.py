"""A folder of DICOM files: patient, study, view, sex and age from their headers, labels from a labels.csv beside them.

A file is known as DICOM by its content, at any depth, whatever its suffix. labels.csv names each file by its path below
the folder (column `image`) or by `SOPInstanceUID`; its findings and its optional column `split` are read as in
chexlib.data.readers.folder. Without it nothing is labelled. Pixels are decoded by chexlib.data.dicom.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.dicom import is_dicom, read_header
from chexlib.data.images import LOOKED_AT, Files, visible_files
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import IMAGE_COLUMNS, Listing, Remarks, covers_labelled
from chexlib.data.names import normal, spelling
from chexlib.data.readers.folder import WHAT, read_rows, read_split
from chexlib.data.readers.label_files import VIEW_CODES, need, read_findings, read_people
from chexlib.errors import UserError

SUFFIXES = {".dcm", ".dicom"}
UID = "SOPInstanceUID"
PEOPLE = ("ViewPosition", "PatientSex", "PatientAge")
TAGS = (UID, "PatientID", "StudyInstanceUID", *PEOPLE, "Rows", "PhotometricInterpretation", "PresentationLUTShape")

VIEWS = VIEW_CODES | dict.fromkeys(("LLD", "RLD", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO"), "")
"""Of DICOM's defined terms of ViewPosition: decubitus and oblique views are neither frontal of a side nor lateral."""


def read(root: Path, split_seed: int = 0) -> Listing:
    """What the files' headers say. Raises UserError where there is no DICOM file."""
    files = sorted(path.relative_to(root).as_posix() for path in map(Path, visible_files(root)) if _is_dicom(path))
    if not files:
        raise UserError(f"{root}: no DICOM file in it: give the folder that holds them")
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


def holds(root: Path) -> bool:
    """Whether a folder is one of DICOM files: some that labels.csv lists are or, where none is there, any file is."""
    listed: list[str] = []
    with suppress(UserError):
        rows = read_rows(root / "labels.csv")
        if UID in rows:
            return True
        listed = list(rows["image"].dropna()[:LOOKED_AT]) if "image" in rows else []
    there = [path for path in (root / name for name in listed) if os.path.isfile(path)]  # also of names too long
    return any(map(_is_dicom, there or map(Path, visible_files(root))))


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES or not path.is_file():
        return path.suffix.lower() in SUFFIXES
    try:
        with open(path, "rb") as file:
            return is_dicom(file.read(256))
    except OSError:
        return False


def _headers(root: Path, files: list[str], remarks: Remarks) -> pd.DataFrame:
    """TAGS of each file as text, NaN where empty; files without an image are left out and noted."""
    headers, bad = [], {}
    for name in files:
        try:
            header = read_header(root / name, TAGS)
            headers.append({"image": name} | {tag: _text(header, tag) for tag in TAGS})
        except UserError as error:
            bad[name] = str(error)
    reason = next(iter(bad.values()), "")
    remarks.wrong("unreadable", bad, f"{root}/", f": {reason}: fetch it again or remove it")
    table = pd.DataFrame(headers, columns=["image", *TAGS], dtype="str")
    if other := int(table["Rows"].isna().sum()):
        remarks.notes.append(f"{other} DICOM files without an image are left out")
    table["PatientID"] = normal(table["PatientID"])
    table = table.dropna(subset="Rows").reset_index(drop=True)
    inverse = table["PresentationLUTShape"].eq("INVERSE") & table["PhotometricInterpretation"].ne("MONOCHROME1")
    if inverse.any():
        what = f"{inverse.sum()} MONOCHROME2 images are shown inverted: their PresentationLUTShape is INVERSE"
        remarks.notes.append(f"{what} (the first: {table['image'][inverse].iloc[0]})")
    return table


def _text(header, tag: str) -> str | None:
    """A tag as text without spaces around it; None where it is absent, empty or damaged."""
    try:
        return str(header.get(tag) or "").strip() or None
    except Exception:  # pydicom reads a value when it is asked for it
        return None


def _labels(path: Path, headers: pd.DataFrame, remarks: Remarks) -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    """Of labels.csv, in the files' order: the split, the labels (N, 14), and which files are listed at all."""
    rows = read_rows(path, remarks.notes)
    key = UID if UID in rows else "image"
    need(path, rows, (key,), WHAT)
    if key == "image":
        files = pd.Series(headers["image"].to_numpy(), headers["image"].map(spelling))
        spelt = rows["image"].map(spelling, na_action="ignore").map(files[~files.index.duplicated(keep=False)])
        rows["image"] = rows["image"].where(rows["image"].isin(headers["image"]), spelt.fillna(rows["image"]))
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
