"""CheXpert-shaped label files and folders, every published form (Irvin et al. 2019).

Per image: train.csv and valid.csv with sex, age and view; test_labels.csv and CheXlocalize's val_labels.csv without.
Per study: groundtruth.csv and the test set's radiologists' files; labels repeat on the images in the study's folder.
Labels are those of an image's own row: nothing is filled in from other rows. Columns are taken by name, never by
place: the radiologists' files list Lung Lesion before Lung Opacity, the other files after it.

17 training images that the file calls frontal are LL or RL under AP/PA. They stay frontal, as the published counts
have it, of a position that is not known. The phantom is written in this shape, too, and read here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chexlib.data.chexpert_folders import LABEL_FILES, Release, find_release, images_of
from chexlib.data.images import Files
from chexlib.data.label_files import (
    LabelFile,
    covered_of,
    need,
    read_ages,
    read_codes,
    read_csv,
    read_labels,
)
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing, Problem
from chexlib.data.splits import SPLITS

METADATA = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
SEX = {"MALE": "M", "FEMALE": "F", "UNKNOWN": ""}
FRONTAL = {"FRONTAL": "", "LATERAL": "LATERAL"}
AP_PA = {"AP": "AP", "PA": "PA", "LL": "", "RL": ""}

PARTS = ("folder", "patient", "study", "file")
SHAPE = r"(?:^|/)(?:train|valid|val|test)/patient[^/]+/study[^/]+"
SHAPES = {"image": SHAPE + r"/[^/.][^/]*$", "study": SHAPE + "$"}
SPLIT_OF_FOLDER = {"train": "train", "valid": "val", "val": "val", "test": "test"}
FORMS = "CheXpert's train.csv, valid.csv, test_labels.csv or groundtruth.csv"

WITH_METADATA = ("train.csv", "valid.csv")
"""Files that come with METADATA."""


def read(root: Path) -> Listing:
    """What a folder of this shape lists; a finding without any label in a file is not covered there.

    Raises UserError where there is no label file at all; one that is missing is noted.
    """
    release = find_release(root)
    tables, columns, problems, notes = {}, {}, [], []
    for path in release.label_files():
        rows = read_csv(path, (), FORMS)
        file = label_file(path, rows)
        problems += file.problems
        notes += file.notes
        split = LABEL_FILES[path.name]
        if split in tables:
            problems += _disagreement(tables[split], path, file.table)
            continue
        tables[split], missing = (file.table, []) if file.per == "image" else _images(release, path, file.table)
        problems += missing
        columns[split] = set(rows.columns)
    table = pd.concat(tables.values(), ignore_index=True)
    labelled = covered_of(table)  # an empty column labels nothing
    covered = {split: tuple(finding for finding in labelled if finding in columns[split]) for split in tables}
    notes += [f"{release.home}: no label file of split {split}" for split in SPLITS if split not in tables]
    images = Files(release.root, release.on_disk(table["image"]).array)
    return Listing(table, covered, images, tuple(problems), tuple(notes))


def label_file(path: Path, rows: pd.DataFrame) -> LabelFile:
    """One label file's rows, per image or per study; a row whose path makes no sense is left out.

    Raises UserError where a column is missing.
    """
    per, key = ("study", "Study") if "Study" in rows and "Path" not in rows else ("image", "Path")
    need(path, rows, (key, *(METADATA if _plain_name(path) in WITH_METADATA else ())), FORMS)
    where, problems = _paths(path, rows[key], per)
    labels, strange = read_labels(path, rows, FINDINGS)
    image = where["study"] if per == "study" else where["study"] + "/" + where["file"]
    split = LABEL_FILES.get(_plain_name(path)) or where["folder"].map(SPLIT_OF_FOLDER)
    columns = {"split": split, "image": image, "study": where["study"], "patient": where["patient"]}
    metadata, odd, notes = _metadata(path, rows, image)
    table = pd.DataFrame(columns | metadata | dict(zip(FINDINGS, labels.T))).astype({"split": "str"})
    table = table[where["study"].notna()].reset_index(drop=True)
    problems += strange + odd
    if per == "study":
        table, twice = _once(path, table)
        problems += twice
    order = [column for column in rows.columns if column in ("Lung Lesion", "Lung Opacity")]
    if order == ["Lung Lesion", "Lung Opacity"]:
        notes.append(
            f"{path.name}: Lung Lesion stands before Lung Opacity, as in the radiologists' files and unlike train.csv: "
            "columns are taken by name, which undoes it"
        )
    return LabelFile(path, table, covered_of(table), per, tuple(problems), tuple(notes))


def _plain_name(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _paths(path: Path, paths: pd.Series, per: str) -> tuple[dict[str, pd.Series], list[Problem]]:
    """The parts folder, patient, study (train/patient00001/study1) and file of each path; NaN where it has no shape.

    Whatever relative folder stands before train/, valid/, val/ or test/ is left away.
    """
    strings = pa.array(paths.astype("str"), type=pa.large_string(), from_pandas=True)
    strings = pc.utf8_rtrim(strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings, "/")
    outside = pc.or_(pc.starts_with(strings, "/"), pc.match_substring(strings, ".."))  # or on its way there
    fine = pc.fill_null(pc.and_not(pc.match_substring_regex(strings, SHAPES[per]), outside), False)
    pieces = pc.split_pattern(strings, "/")
    ends = pieces.offsets[1:]
    names = PARTS if per == "image" else PARTS[:-1]
    parts = {
        name: pieces.values.take(pc.if_else(fine, pc.subtract(ends, back), None))
        for back, name in enumerate(reversed(names), 1)
    }
    folders = [parts[name] for name in PARTS[:3]]
    parts["study"] = pc.binary_join_element_wise(*folders, pa.scalar("/", pa.large_string()))
    where = {name: pd.Series(part.to_pandas(), dtype="str") for name, part in parts.items()}
    bad = np.flatnonzero(where["study"].isna())
    if not len(bad):
        return where, []
    wanted = "train/, valid/ or test/patient.../study..." + ("/..." if "file" in where else "")
    items = tuple(f"row {row + 2}: {str(paths.iloc[row])!r}" for row in bad)
    return where, [Problem("path", f"{path}, {items[0]} is not {wanted} below the folder", len(bad), items=items)]


def _metadata(path: Path, rows: pd.DataFrame, image: pd.Series) -> tuple[dict, list[Problem], list[str]]:
    """The columns view, sex and age. Where the file has none, a file name tells a lateral image, and no more."""
    if not set(METADATA) <= set(rows.columns):
        lateral = image.str.contains("lateral", na=False)
        return (
            {"view": pd.Series("", rows.index, dtype="str").mask(lateral, "LATERAL"), "sex": "", "age": np.nan},
            [],
            [],
        )
    side, odd_side = read_codes("view", path, rows["Frontal/Lateral"], FRONTAL)
    position, odd_position = read_codes("view", path, rows["AP/PA"], AP_PA)
    sex, odd_sex = read_codes("sex", path, rows["Sex"], SEX)
    age, odd_age = read_ages(path, rows["Age"], units=False)
    turned = int((rows["AP/PA"].isin(["LL", "RL"]) & (side == "")).sum())
    notes = [f"{path.name}: {turned} frontal images are LL or RL under AP/PA: their position is not known"] * (
        turned > 0
    )
    view = position.where(side == "", side)
    return {"view": view, "sex": sex, "age": age}, odd_side + odd_position + odd_sex + odd_age, notes


def _once(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """One row a study, the first."""
    twice = table["study"].duplicated()
    if not twice.any():
        return table, []
    studies = tuple(table.loc[twice, "study"].unique())
    problem = Problem("study-twice", f"{path}: {studies[0]} has several rows: keep one", len(studies), items=studies)
    return table[~twice].reset_index(drop=True), [problem]


def _images(release: Release, path: Path, studies: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """A per-study file's rows repeated on the images that lie in the studies' folders."""
    folders = release.on_disk(studies["study"] + "/")
    images = [images_of(release.root / folder) for folder in folders]
    counts = np.array([len(names) for names in images], dtype=int)
    table = studies.loc[studies.index.repeat(counts)].reset_index(drop=True)
    table["image"] = table["study"] + "/" + pd.Series([name for names in images for name in names], dtype="str")
    table["view"] = table["view"].mask(table["image"].str.contains("lateral"), "LATERAL")
    empty = tuple(studies.loc[counts == 0, "study"])
    if not empty:
        return table, []
    first = release.root / folders[counts == 0].iloc[0]
    message = f"{path}: no images in {first} ({len(empty)} studies have none): download them"
    return table, [Problem("missing", message, len(empty), items=empty)]


def _disagreement(table: pd.DataFrame, path: Path, other: pd.DataFrame) -> list[Problem]:
    """Where two label files of one split list different studies, or label a study differently."""
    ours = table[["study", *FINDINGS]].drop_duplicates()
    theirs = other.drop_duplicates("study").set_index("study")[list(FINDINGS)].reindex(ours["study"])
    a, b = ours[list(FINDINGS)].to_numpy(), theirs.to_numpy()
    differ = ours["study"][((a != b) & ~(np.isnan(a) & np.isnan(b))).any(axis=1)]
    alone = set(ours["study"]) ^ set(other["study"])
    studies = tuple(sorted({*differ, *alone}))
    if not studies:
        return []
    message = (
        f"{path}: {studies[0]} is not labelled as in the split's other label file ({len(studies)} studies are not)"
    )
    return [Problem("disagree", f"{message}: remove the file that is wrong", len(studies), items=studies)]
