"""What a data set holds: splits, people, views, and how often each finding is present, uncertain or not mentioned.

Tables for display and for the figures of notebook 01. Only counts: nothing here tells one image from another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from chexlib.data.labels import FINDINGS
from chexlib.paper.notes import Note, says_missing, skips_missing
from chexlib.paper.wording import counted, listed

VIEWS = {"PA": "PA", "AP": "AP", "": "Frontal, AP or PA not said", "LATERAL": "Lateral"}
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@skips_missing
def splits(dataset: Any) -> pd.DataFrame:
    """One row a split: images, studies, patients, share of women, age, and the share of each view; for display."""
    found = []
    for split, name in SPLITS.items():
        part = dataset.table[dataset.table["split"] == split]
        if part.empty:
            continue
        row = {
            "Split": name,
            "Images": f"{len(part):,}",
            "Studies": f"{part['study'].nunique():,}",
            "Patients": f"{part['patient'].nunique():,}",
            "Women": _share(part["sex"] == "F", part["sex"] != ""),
            "Age, median (middle half)": _ages(part["age"]),
        }
        row |= {name: f"{(part['view'] == view).mean():.0%}" for view, name in VIEWS.items()}
        found.append(row)
    return pd.DataFrame(found).set_index("Split").rename_axis(index=None, columns="Split")


def labels(dataset: Any, split: str = "train") -> pd.DataFrame:
    """Share of a split's images by raw label, one row a finding: present, uncertain, absent, unmentioned (sum 1)."""
    part = dataset.table.loc[dataset.table["split"] == split, list(FINDINGS)]
    counts = {
        "present": (part == 1).mean(),
        "uncertain": (part == -1).mean(),
        "absent": (part == 0).mean(),
        "unmentioned": part.isna().mean(),
    }
    return pd.DataFrame(counts).loc[list(FINDINGS)]


def shared_patients(dataset: Any) -> int:
    """How many patients have images in more than one split; anything but 0 would be a leak."""
    return int((dataset.table.groupby("patient")["split"].nunique() > 1).sum())


@skips_missing
def split_check(dataset: Any) -> Note:
    """One sentence on whether a patient is in two splits."""
    leaks = shared_patients(dataset)
    if leaks:
        return Note(
            f"**{counted(leaks, 'patient')} have images in more than one split**: scores on these splits would flatter."
        )
    return Note(
        f"None of the {counted(dataset.table['patient'].nunique(), 'patient')} has images in more than one split."
    )


@says_missing
def study_line(dataset: Any, study: str) -> Note:
    """Which study this is, on which images: one sentence, quoted on the landing page."""
    table = dataset.table
    names = {
        "phantom": "phantom radiographs (drawn by a program, not patients)",
        "nih": "real chest X-rays of NIH ChestX-ray14",
    }
    parts = [
        f"{len(part):,} for {SPLITS.get(split, split)}"
        for split, part in sorted(
            table.groupby("split"), key=lambda item: list(SPLITS).index(item[0]) if item[0] in SPLITS else 9
        )
    ]
    return Note(
        f"Study {Path(study).stem} reads {counted(len(table), 'image')} of "
        f"{counted(table['patient'].nunique(), 'patient')}, "
        f"{names.get(dataset.name, dataset.source.title)}, at {dataset.size} by {dataset.size} pixels: {listed(parts)}."
    )


@skips_missing
def confounding(dataset: Any, finding: str = "No Finding") -> Note:
    """How a finding goes with the view, in the training images: a network can read the one for the other."""
    part = dataset.table[dataset.table["split"] == "train"]
    shares = [
        f"{(part.loc[part['view'] == view, finding] == 1).mean():.0%} of {name} images"
        for view, name in (("PA", "PA"), ("AP", "AP"), ("LATERAL", "lateral"))
        if (part["view"] == view).any()
    ]
    if not shares:
        return Note("The views of these images are not known.")
    return Note(
        f"{finding} is present in {listed(shares)} of the training set. What goes with the view can be told from "
        "the view."
    )


def _share(what: pd.Series, of: pd.Series) -> str:
    return f"{what.sum() / of.sum():.0%}" if of.any() else "–"


def _ages(age: pd.Series) -> str:
    age = age.dropna()
    if age.empty:
        return "–"
    low, middle, high = age.quantile([0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"
