"""NIH ChestX-ray14: `Data_Entry_2017*.csv` and `images*/` (Wang et al. 2017).

Findings are mapped to CheXpert's by name; what NIH does not label is unknown, never absent. A study is one follow-up
visit. Splits are drawn by patient (chexlib.data.splits).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.images import Files
from chexlib.data.label_files import read_csv
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing, same_for_all_splits
from chexlib.data.splits import split_by_patient
from chexlib.errors import UserError

NIH_NAMES = {
    "No Finding": ("No Finding",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Lung Lesion": ("Mass", "Nodule"),
    "Edema": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Effusion",),
    "Pleural Other": ("Pleural_Thickening",),
}
"""CheXpert's finding to NIH's; four of NIH's map to nothing."""

UNMAPPED = {"Infiltration", "Emphysema", "Fibrosis", "Hernia"}
KNOWN = UNMAPPED.union(*NIH_NAMES.values())

COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)


def read(root: Path, split_seed: int = 0) -> Listing:
    """What an NIH folder lists; it labels ten of the fourteen findings."""
    source = next(iter(sorted(root.glob("Data_Entry_2017*.csv"))), None)
    if source is None:
        raise UserError(f"{root}: no Data_Entry_2017*.csv: give the folder that holds NIH's label file and images/")
    rows = read_csv(source, COLUMNS, "NIH's Data_Entry_2017 file")
    named = [str(text).split("|") for text in rows["Finding Labels"]]
    for row, names in enumerate(named):
        if strange := set(names) - KNOWN:
            raise UserError(f"{source}, row {row + 2}: {', '.join(sorted(strange))} is no finding of NIH's")
    patient = rows["Patient ID"].astype(str)
    table = pd.DataFrame(
        {
            "split": split_by_patient(patient, seed=split_seed),
            "image": _locate(root, rows["Image Index"], source),
            "study": patient + "/" + rows["Follow-up #"].astype(str),
            "patient": patient,
            "view": rows["View Position"],
            "sex": rows["Patient Gender"],
            "age": _years(rows["Patient Age"].astype(str)),
        }
    )
    for finding in FINDINGS:
        theirs = set(NIH_NAMES.get(finding, ()))
        present = [bool(theirs.intersection(names)) for names in named]
        table[finding] = np.float32(present) if theirs else np.float32(np.nan)
    return Listing(table, same_for_all_splits(tuple(NIH_NAMES)), Files(root, list(table["image"])))


def _locate(root: Path, names: pd.Series, source: Path) -> list[str]:
    """Each image's path below the root: in images/ or, as NIH ships them, in images_001/images/ and so on."""
    found = {
        file.name: str(file.relative_to(root))
        for pattern in ("images/*.png", "images_*/images/*.png")
        for file in root.glob(pattern)
    }
    absent = [name for name in names if name not in found]
    if absent:
        raise UserError(f"{source}: {absent[0]} is not in {root / 'images'} ({len(absent)} missing): unpack them there")
    return [found[name] for name in names]


def _years(ages: pd.Series) -> pd.Series:
    """Ages in years: 58, or 058Y, 013M and 005D as the first release wrote them; anything else is unknown."""
    parts = ages.str.extract(r"^(\d+)(?:\.0)?([YMD]?)$")
    return parts[0].astype(float) / parts[1].map({"": 1, "Y": 1, "M": 12, "D": 365})
