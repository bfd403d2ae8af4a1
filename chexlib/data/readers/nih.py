"""NIH ChestX-ray14: `Data_Entry_2017*.csv` and `images*/` (Wang et al. 2017).

Findings are mapped to CheXpert's by name (chexlib.data.names); what NIH does not label is unknown, never absent. A
study is one follow-up visit. Where the official train_val_list.txt and test_list.txt lie in the folder, the test set
is theirs, and training and validation patients are drawn from the rest; otherwise all three are drawn by patient.
BBox_List_2017.csv gives boxes of about 900 images.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files, visible_files
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing, Remarks, covers, split_by_patient
from chexlib.data.names import finding_of, is_known, merged, normal, spelling
from chexlib.data.readers.label_files import cells, need, read_csv, read_people, read_text
from chexlib.errors import UserError

NAMES = (
    *("No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)
"""What `Finding Labels` may hold."""

COVERED = {finding_of(name) for name in NAMES} - {None}

PEOPLE = ("View Position", "Patient Gender", "Patient Age")
COLUMNS = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", *reversed(PEOPLE))
WHAT = "NIH's Data_Entry_2017 file"

LISTS = ("train_val_list.txt", "test_list.txt")
OLDEST = 100
"""Years: the 16 greater ages of the first release, 148 to 414, are typing errors, and nobody else is older than 95."""

TRAIN = 0.8
"""Of the patients of train_val_list.txt; the rest validates."""

BOXES = ("Image Index", "Finding Label", "x", "y", "w", "h")
"""What the first six columns of BBox_List_2017.csv hold; its header, `Bbox [x,y,w,h]`, splits in the wrong places."""

WHAT_BOXES = "NIH's BBox_List_2017.csv"

PIXELS = 1024
"""Width and height of NIH's images, in which boxes are given."""


def read(root: Path, split_seed: int = 0) -> Listing:
    """What an NIH folder lists; it labels ten of the fourteen findings. Raises UserError without a label file."""
    remarks = Remarks()
    source = _file(root, "Data_Entry_2017*.csv", remarks)
    if source is None:
        raise UserError(f"{root}: no Data_Entry_2017*.csv: give the folder that holds NIH's label file and images/")
    file = label_file(source, read_csv(source, WHAT, notes=remarks.notes), remarks, split_seed)
    names = file.table["image"]
    split = _official(root, file.table, split_seed, remarks)
    table = file.table.assign(split=split, image=_locate(root, names, remarks))
    boxes = _boxes(root, dict(zip(names, table["image"])), remarks)
    return Listing(table, file.covered, Files(root, list(table["image"])), remarks, boxes)


def label_file(path: Path, rows: pd.DataFrame, remarks: Remarks, split_seed: int = 0) -> Listing:
    """The rows of Data_Entry_2017, split by patient; `image` is the file's name. Raises UserError without a column."""
    rows = rows.rename(columns={"Patient Sex": "Patient Gender"})  # as the release of 2020 calls it
    need(path, rows, COLUMNS, WHAT)
    sets, kinds = pd.factorize(rows["Finding Labels"].fillna("").astype("str"))  # (N,) of the hundreds of combinations
    named = [text.split("|") for text in kinds]
    labels = merged(NAMES, np.array([[name in names for name in NAMES] for names in named], dtype=np.float32))
    strange = {k: names for k, name in enumerate(named) if (names := sorted(set(name).difference(NAMES)))}
    unknown = np.flatnonzero(np.isin(sets, list(strange)))  # their rows would count as without the finding
    items = [f"row {rows.index[row] + 2}: {', '.join(strange[sets[row]]) or 'nothing'}" for row in unknown]
    remarks.wrong("finding", items, f"{path}, ", " is no finding of NIH's")
    image, patient, visit = (normal(rows[column]) for column in ("Image Index", "Patient ID", "Follow-up #"))
    outside = ~image.str.fullmatch(r"[^/\\]+").fillna(False).astype(bool)
    remarks.wrong("path", cells(rows["Image Index"], outside), f"{path}, ", " is no file name")
    if alone := int(patient.isna().sum()):
        remarks.notes.append(f"{path.name}: {alone} images without a patient count as a patient each")
    patient = patient.fillna(image)
    columns = {
        "split": split_by_patient(patient, seed=split_seed),
        "image": image,
        "study": (patient + "/" + visit).fillna(image),
        "patient": patient,
    }
    findings = dict(zip(FINDINGS, labels[sets].T))
    table = pd.DataFrame(columns | read_people(path, rows, remarks, PEOPLE, oldest=OLDEST) | findings)
    table = table[~outside].reset_index(drop=True)
    return Listing(table, covers(COVERED, table), None, remarks)


def _file(root: Path, pattern: str, remarks: Remarks) -> Path | None:
    """The first file of the pattern, with a Problem where there are others."""
    files = sorted(root.glob(pattern))
    after = f" is not read, as {files[0].name} lies beside it: remove the one that is not meant" if files else ""
    remarks.wrong("files", [file.name for file in files[1:]], f"{root}: ", after)
    return files[0] if files else None


def _official(root: Path, table: pd.DataFrame, seed: int, remarks: Remarks) -> pd.Series:
    """Splits by the official lists where both are there, else as they are."""
    missing = [name for name in LISTS if not (root / name).exists()]
    if len(missing) == 1:
        there = next(root / name for name in LISTS if name not in missing)
        remarks.wrong("list", missing, f"{there} is there without ", ": get both, or remove it")
    if missing:
        return table["split"]
    remarks.splits = f"{LISTS[1]} lists the test images, and of the patients of {LISTS[0]} {TRAIN:.0%} train"
    learn, test = (set(normal(pd.Series(read_text(root / name, name).split(), dtype="str"))) for name in LISTS)
    images = table["image"]
    wrong = images[images.isin(test) == images.isin(learn)]
    which = "both" if test.intersection(wrong[:1]) else "neither"
    after = f" is in {which} of {' and '.join(LISTS)}: take its row out of the labels"
    remarks.wrong("list", wrong, f"{root}: ", after)
    drawn = split_by_patient(table["patient"], (TRAIN, 1 - TRAIN, 0.0), seed)
    return pd.Series(np.where(images.isin(test), "test", drawn), table.index, dtype="str")


def _locate(root: Path, names: pd.Series, remarks: Remarks) -> pd.Series:
    """Each image's path below the root: in images/ or, as NIH ships them, in images_001/images/ and so on; of those
    that are in neither, wherever else a file of that name lies."""
    patterns = ("images/*.png", "images_*/images/*.png")
    found = {file.name: file.relative_to(root).as_posix() for pattern in patterns for file in root.glob(pattern)}
    if lost := {spelling(name): name for name in names if name not in found}:
        elsewhere: dict[str, str] = {}
        for path in visible_files(root):
            if name := lost.get(spelling(os.path.basename(path))):
                elsewhere.setdefault(name, os.path.relpath(path, root))
        if elsewhere:
            place = os.path.dirname(min(elsewhere.values())) or "the folder itself"
            remarks.notes.append(f"{len(elsewhere):,} images are not in images/, but in {place} or elsewhere below")
        found |= elsewhere
    return names.map(lambda name: found.get(name, f"images/{name}")).astype("str")


def _boxes(root: Path, places: dict[str, str], remarks: Remarks) -> pd.DataFrame | None:
    """The boxes of the images listed, in fractions of the image's sides."""
    path = _file(root, "BBox_List_2017.csv*", remarks)
    if path is None:
        return None
    rows = read_csv(path, WHAT_BOXES, notes=remarks.notes).iloc[:, : len(BOXES)]
    need(path, rows, BOXES[:2], WHAT_BOXES)
    rows = rows.set_axis(BOXES[: rows.shape[1]], axis=1)
    need(path, rows, BOXES, WHAT_BOXES)
    name = rows["Finding Label"].astype("str")
    x, y, w, h = (pd.to_numeric(rows[side], errors="coerce") / PIXELS for side in BOXES[2:])
    strange = ~(name.map(is_known) & (x >= 0) & (y >= 0) & (w > 0) & (h > 0) & (x + w <= 1) & (y + h <= 1))
    items = [f"row {place + 2}: {', '.join(map(str, row))}" for place, *row in rows[strange].itertuples()]
    remarks.wrong("box", items, f"{path}, ", " is no box")
    finding = name.map(finding_of).mask(strange)
    if nothing := int((finding.isna() & ~strange).sum()):
        remarks.notes.append(f"{path.name}: {nothing} boxes of findings that are none of CheXpert's are left out")
    sides = {"left": x, "top": y, "right": x + w, "bottom": y + h}
    boxes = pd.DataFrame({"image": normal(rows["Image Index"]).map(places), "finding": finding, **sides})
    return boxes.dropna().reset_index(drop=True)
