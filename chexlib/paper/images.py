"""What a data set holds: splits, people, views, and what a check of it found.

Tables for display and for the figures of notebook 01. Only counts: nothing here tells one image from another.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from chexlib.data.check import Report, check
from chexlib.data.describe import VIEWS, WORDS, Description, describe
from chexlib.data.sources import read_label_file
from chexlib.paper.notes import Missing, Note, says_missing, skips_missing
from chexlib.paper.shown import Tables
from chexlib.paper.wording import counted, listed

SPLITS = {"train": "training", "val": "validation", "test": "test"}
MOST = 20_000
"""Images that a page's check decodes at most."""


def described(dataset: Any) -> Description | Missing:
    """The counts of a Dataset, of which the tables and figures are made."""
    if isinstance(dataset, Missing):
        return dataset
    return describe(dataset, name=dataset.name, title=dataset.source.title)


def chexpert_file() -> Any:
    """The LabelFile of CheXpert's train.csv that the package torchxrayvision brings; Missing where there is none."""
    spec = find_spec("torchxrayvision")  # not imported: that takes seconds
    path = Path(spec.origin).parent / "data" / "chexpert_train.csv.gz" if spec and spec.origin else Path()
    if not path.is_file():
        return Missing(
            "CheXpert's own labels are shown here where the package torchxrayvision is installed, which brings its "
            "train.csv; it is not installed on the machine that made this page."
        )
    return read_label_file(path)


def described_file(file: Any) -> Description | Missing:
    """The counts of CheXpert's train.csv."""
    if isinstance(file, Missing):
        return file
    return describe(file, title="CheXpert, train.csv as published: labels only")


@says_missing
def chexpert_line(file: Any) -> Note:
    """What the tables below it are made of."""
    return Note(
        f"These tables count the labels of CheXpert's real `train.csv`: {counted(len(file.table), 'image')} of "
        f"{counted(file.table['study'].nunique(), 'study', 'studies')} and "
        f"{counted(file.table['patient'].nunique(), 'patient')}. They are counts of labels: no image was read, and "
        "nothing on this page was trained on them."
    )


@skips_missing
def splits(description: Description) -> Tables:
    """One column a split: images, studies, patients, share of women, age, and the share of each view; for display."""
    found, whole = {}, description.splits.loc["all"]
    for split, part in description.splits.drop(index="all").iterrows():
        known = part["sex F"] + part["sex M"]
        rows = {
            "Images": f"{part['rows']:,.0f}",
            "Studies": f"{part['studies']:,.0f}",
            "Patients": f"{part['patients']:,.0f}",
            "Women": f"{part['sex F'] / known:.0%}" if known else "–",
            "Age, median (middle half)": _ages(part) if part["age known"] else "–",
        }
        views = {view: part[f"view {view}"] for view in VIEWS.values() if whole[f"view {view}"]}
        rows |= {_title(WORDS[view]): f"{n / part['rows']:.0%}" for view, n in views.items()}
        found[SPLITS[split].capitalize()] = rows
    return Tables({"": pd.DataFrame(found)})


def _ages(part: pd.Series) -> str:
    return f"{part['age median']:.0f} ({part['age lower quartile']:.0f} to {part['age upper quartile']:.0f})"


def _title(words: str) -> str:
    return words[0].upper() + words[1:]


def shared_patients(dataset: Any) -> int:
    """How many patients have images in more than one split; anything but 0 would be a leak."""
    return int((dataset.table.groupby("patient")["split"].nunique() > 1).sum())


def checked(dataset: Any) -> Report | Missing:
    """What `chexlib data check` finds, of at most MOST images."""
    return dataset if isinstance(dataset, Missing) else check(dataset.listing, most=MOST, progress=False)


@skips_missing
def found(report: Report) -> Tables | Note:
    """One row a kind of defect: how many, how grave, what to do; for display. It names no image and no patient."""
    rows = []
    for found in report.table.itertuples():
        row = (_title(found.found), counted(found.count, found.severity), _title(found.advice))
        rows.append(dict(zip(("Found", "How many", "What to do"), row, strict=True)))
    if not rows:
        return Note("")
    return Tables({"": pd.DataFrame(rows).set_index("Found").rename_axis(index=None, columns="Found")})


@skips_missing
def verdict(report: Report) -> Note:
    """The check's last line, and that not all images were decoded where that is so."""
    text = f"**{report.verdict}**"
    if report.images > MOST:
        text += f" This page decodes at most {MOST:,} images, spread evenly; `chexlib data check` decodes all."
    return Note(text)


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
