"""NIH ChestX-ray14: `Data_Entry_2017*.csv` and `images*/` (Wang et al. 2017).

Findings are mapped to CheXpert's by name (chexlib.data.names); what NIH does not label is unknown, never absent. A
study is one follow-up visit. Where the official train_val_list.txt and test_list.txt lie in the folder, the test set
is theirs, and training and validation patients are drawn from the rest; otherwise all three are drawn by patient.
BBox_List_2017.csv gives boxes of about 900 images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing, Remarks, covers, split_by_patient
from chexlib.data.names import finding_of, is_known, merged
from chexlib.data.readers.label_files import need, read_csv, read_people
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
TRAIN = 0.8
"""Of the patients of train_val_list.txt; the rest validates."""

BOXES = ("Image Index", "Finding Label", "x", "y", "w", "h")
"""What the first six columns of BBox_List_2017.csv hold; its header, `Bbox [x,y,w,h]`, splits in the wrong places."""

WHAT_BOXES = "NIH's BBox_List_2017.csv"

PIXELS = 1024
"""Width and height of NIH's images, in which boxes are given."""


def read(root: Path, split_seed: int = 0) -> Listing:
    """What an NIH folder lists; it labels ten of the fourteen findings. Raises UserError without a label file."""
    source = _file(root, "Data_Entry_2017*.csv")
    if source is None:
        raise UserError(f"{root}: no Data_Entry_2017*.csv: give the folder that holds NIH's label file and images/")
    file = label_file(source, read_csv(source, WHAT), split_seed)
    names = file.table["image"]
    split = _official(root, file.table, split_seed, file.remarks)
    table = file.table.assign(split=split, image=_locate(root, names))
    boxes = _boxes(root, dict(zip(names, table["image"])), file.remarks)
    return Listing(table, file.covered, Files(root, list(table["image"])), file.remarks, boxes)


def label_file(path: Path, rows: pd.DataFrame, split_seed: int = 0) -> Listing:
    """The rows of Data_Entry_2017, split by patient; `image` is the file's name. Raises UserError without a column."""
    remarks = Remarks()
    rows = rows.rename(columns={"Patient Sex": "Patient Gender"})  # as the release of 2020 calls it
    need(path, rows, COLUMNS, WHAT)
    sets, kinds = pd.factorize(rows["Finding Labels"].fillna("").astype("str"))  # (N,) of the hundreds of combinations
    named = [text.split("|") for text in kinds]
    labels = merged(NAMES, np.array([[name in names for name in NAMES] for names in named], dtype=np.float32))
    strange = {k: names for k, name in enumerate(named) if (names := sorted(set(name).difference(NAMES)))}
    unknown = np.flatnonzero(np.isin(sets, list(strange)))  # their rows would count as without the finding
    items = [f"row {row + 2}: {', '.join(strange[sets[row]]) or 'nothing'}" for row in unknown]
    remarks.wrong("finding", items, f"{path}, ", " is no finding of NIH's")
    image, patient = rows["Image Index"].astype("str"), rows["Patient ID"].astype("str")
    outside = image.str.contains("/")
    items = [f"row {row + 2}: {image.iloc[row]!r}" for row in np.flatnonzero(outside)]
    remarks.wrong("path", items, f"{path}, ", " is no file name")
    columns = {
        "split": split_by_patient(patient, seed=split_seed),
        "image": image,
        "study": patient + "/" + rows["Follow-up #"].astype("str"),
        "patient": patient,
    }
    findings = dict(zip(FINDINGS, labels[sets].T))
    table = pd.DataFrame(columns | read_people(path, rows, remarks, PEOPLE) | findings)
    table = table[~outside].reset_index(drop=True)
    return Listing(table, covers(COVERED, table), None, remarks)


def _file(root: Path, pattern: str) -> Path | None:
    return next(iter(sorted(root.glob(pattern))), None)


def _official(root: Path, table: pd.DataFrame, seed: int, remarks: Remarks) -> pd.Series:
    """Splits by the official lists where both are there, else as they are."""
    missing = [name for name in LISTS if not (root / name).exists()]
    if len(missing) == 1:
        there = next(root / name for name in LISTS if name not in missing)
        remarks.wrong("list", missing, f"{there} is there without ", ": get both, or remove it")
    if missing:
        return table["split"]
    learn, test = (set((root / name).read_text().split()) for name in LISTS)
    images = table["image"]
    wrong = images[images.isin(test) == images.isin(learn)]
    which = "both" if test.intersection(wrong[:1]) else "neither"
    after = f" is in {which} of {' and '.join(LISTS)}: take its row out of the labels"
    remarks.wrong("list", wrong, f"{root}: ", after)
    drawn = split_by_patient(table["patient"], (TRAIN, 1 - TRAIN, 0.0), seed)
    return pd.Series(np.where(images.isin(test), "test", drawn), table.index, dtype="str")


def _locate(root: Path, names: pd.Series) -> pd.Series:
    """Each image's path below the root: in images/ or, as NIH ships them, in images_001/images/ and so on."""
    found = {
        file.name: file.relative_to(root).as_posix()
        for pattern in ("images/*.png", "images_*/images/*.png")
        for file in root.glob(pattern)
    }
    return names.map(lambda name: found.get(name, f"images/{name}")).astype("str")


def _boxes(root: Path, places: dict[str, str], remarks: Remarks) -> pd.DataFrame | None:
    """The boxes of the images listed, in fractions of the image's sides."""
    path = _file(root, "BBox_List_2017.csv*")
    if path is None:
        return None
    rows = read_csv(path, WHAT_BOXES).iloc[:, : len(BOXES)]
    need(path, rows, BOXES[:2], WHAT_BOXES)
    rows = rows.set_axis(BOXES[: rows.shape[1]], axis=1)
    need(path, rows, BOXES, WHAT_BOXES)
    name = rows["Finding Label"].astype("str")
    x, y, w, h = (pd.to_numeric(rows[side], errors="coerce") / PIXELS for side in BOXES[2:])
    strange = ~(name.map(is_known) & (x >= 0) & (y >= 0) & (w > 0) & (h > 0) & (x + w <= 1) & (y + h <= 1))
    items = [f"row {row + 2}: {', '.join(map(str, rows.iloc[row]))}" for row in np.flatnonzero(strange)]
    remarks.wrong("box", items, f"{path}, ", " is no box")
    finding = name.map(finding_of).mask(strange)
    if nothing := int((finding.isna() & ~strange).sum()):
        remarks.notes.append(f"{path.name}: {nothing} boxes of findings that are none of CheXpert's are left out")
    sides = {"left": x, "top": y, "right": x + w, "bottom": y + h}
    boxes = pd.DataFrame({"image": rows["Image Index"].map(places), "finding": finding, **sides})
    return boxes.dropna().reset_index(drop=True)
