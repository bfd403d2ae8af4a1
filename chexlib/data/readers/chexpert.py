"""CheXpert-shaped label files and folders, every published form (Irvin et al. 2019).

v1.0 and v1.0-small hold train.csv, valid.csv, train/ and valid/ in one folder; CheXlocalize calls them val_labels.csv
and val/. The full release comes as folders beside each other, "CheXpert-v1.0 batch 1 (validate & csv)" with the label
files and valid/, "CheXpert-v1.0 batch 2 (train 1)" and so on with the training patients. Whichever it is, an image is
called by its canonical path, train/patient00001/study1/view1_frontal.jpg, as in the label files without their prefix.

Per image: train.csv and valid.csv with sex, age and view; test_labels.csv and CheXlocalize's val_labels.csv without.
Per study: groundtruth.csv and the test set's radiologists' files; labels repeat on the images in the study's folder.
Labels are those of an image's own row: nothing is filled in from other rows. Columns are taken by name, never by
place: the radiologists' files list Lung Lesion before Lung Opacity, the other files after it.

17 training images that the file calls frontal are LL or RL under AP/PA. They stay frontal, as the published counts
have it, of a position that is not known. The phantom is written in this shape, too, and read here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chexlib.data.images import Files
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import SPLITS, Listing, Remarks, covers, covers_labelled
from chexlib.data.names import image_paths
from chexlib.data.readers.label_files import cells, need, read_ages, read_codes, read_csv, read_labels
from chexlib.errors import UserError

LABEL_FILES = {
    "train.csv": "train",
    "valid.csv": "val",
    "val_labels.csv": "val",
    "test_labels.csv": "test",
    "groundtruth.csv": "test",
}
"""Each label file's split; of two files of one split the first lists the images, and the other must agree."""

FOLDERS = {"train": ("train",), "valid": ("valid", "val"), "val": ("val", "valid"), "test": ("test",)}
"""The folder that a label file names, and under which names it may lie on the disk."""

SIGNS = tuple(f"{folder}{name}" for folder in ("", "CheXpert*/") for name in LABEL_FILES)
IMAGE_TYPES = {".jpg", ".jpeg", ".png"}

TEXT = pa.large_string()

METADATA = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
SEX = {"MALE": "M", "FEMALE": "F", "UNKNOWN": ""}
FRONTAL = {"FRONTAL": "", "LATERAL": "LATERAL"}
AP_PA = {"AP": "AP", "PA": "PA", "LL": "", "RL": ""}

FORMS = "CheXpert's train.csv, valid.csv, test_labels.csv or groundtruth.csv"
SPLIT_FILES = "a study needs train.csv, valid.csv, and groundtruth.csv or test_labels.csv with the test images"


def read(root: Path) -> Listing:
    """What a folder of this shape lists; a finding without any label in a file is not covered there.

    Raises UserError where there is no label file at all; one that is missing is noted.
    """
    release, remarks, tables, columns = find_release(root), Remarks(splits=SPLIT_FILES), {}, {}
    for path in release.label_files():
        rows = read_csv(path, FORMS, notes=remarks.notes)
        file = label_file(path, rows, remarks)
        split = LABEL_FILES[path.name]
        if split in tables:
            _compare(tables[split], path, file.table, remarks)
        else:
            tables[split] = file.table if file.per == "image" else _images(release, path, file.table, remarks)
            columns[split] = list(rows.columns)
    table = pd.concat(tables.values(), ignore_index=True)
    covered = covers_labelled(table) & np.concatenate([covers(columns[split], tables[split]) for split in tables])
    remarks.notes += [f"{release.home}: no label file of split {split}" for split in SPLITS if split not in tables]
    images = Files(release.root, release.on_disk(table["image"]).array)
    return Listing(table, covered, images, remarks)


def label_file(path: Path, rows: pd.DataFrame, remarks: Remarks) -> Listing:
    """One label file's rows, per image or per study; a row whose path makes no sense is left out.

    Raises UserError where a column is missing.
    """
    name = path.name.removesuffix(".gz")
    per, key = ("study", "Study") if "Study" in rows and "Path" not in rows else ("image", "Path")
    need(path, rows, (key, *(METADATA if name in ("train.csv", "valid.csv") else ())), FORMS)
    where = _paths(path, rows[key], per, remarks)
    labels = read_labels(path, rows, FINDINGS, remarks)
    image = where["study"] if per == "study" else where["study"] + "/" + where["file"]
    split = LABEL_FILES.get(name) or where["folder"].replace("valid", "val")
    columns = {"split": split, "image": image, "study": where["study"], "patient": where["patient"]}
    columns |= _metadata(path, rows, image, remarks) | dict(zip(FINDINGS, labels.T))
    table = pd.DataFrame(columns).astype({"split": "str"})
    table = table[where["study"].notna()].reset_index(drop=True)
    if per == "study":
        twice = table["study"].duplicated()
        remarks.wrong("study-twice", table.loc[twice, "study"].unique(), f"{path}: ", " has several rows: keep one")
        table = table[~twice].reset_index(drop=True)
    order = [column for column in rows.columns if column in ("Lung Lesion", "Lung Opacity")]
    if order == ["Lung Lesion", "Lung Opacity"]:
        remarks.notes.append(
            f"{path.name}: Lung Lesion stands before Lung Opacity, as in the radiologists' files and unlike train.csv: "
            "columns are taken by name, which undoes it"
        )
    return Listing(table, covers_labelled(table), None, remarks, per=per)


def _paths(path: Path, paths: pd.Series, per: str, remarks: Remarks) -> dict[str, pd.Series]:
    """The parts folder, patient, study (train/patient00001/study1) and file of each path; NaN where it has no shape.

    Whatever relative folder stands before train/, valid/, val/ or test/ is left away.
    """
    names = ("folder", "patient", "study", "file")[: 4 if per == "image" else 3]
    strings = pa.array(image_paths(paths), type=TEXT, from_pandas=True)
    strings = pc.utf8_rtrim(strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings, "/")
    outside = pc.or_(pc.match_substring_regex(strings, "^(?:/|[A-Za-z]:)"), pc.match_substring(strings, ".."))
    short = pc.less(pc.count_substring(strings, "/"), len(names) - 1)
    wrong, none = pc.fill_null(pc.or_(outside, short), True), pa.scalar("/" * len(names), TEXT)
    strings = pc.if_else(wrong, none, _joined("", strings))
    parts = pc.split_pattern(strings, "/", max_splits=len(names), reverse=True)  # what stands before, and the names
    where = {name: pc.list_element(parts, k) for k, name in enumerate(names, 1)}
    shaped = pc.is_in(where["folder"], pa.array(FOLDERS, TEXT))
    for name in ("patient", "study"):
        shaped = pc.and_(shaped, pc.match_substring_regex(where[name], f"^{name}(?s:.)"))
    if per == "image":
        shaped = pc.and_(shaped, pc.match_substring_regex(where["file"], r"^[^.]"))
    where["study"] = _joined(where["folder"], where["patient"], where["study"])
    where = {name: pc.if_else(shaped, part, None).to_pandas() for name, part in where.items()}
    where = {name: pd.Series(part.array, paths.index, dtype="str") for name, part in where.items()}
    wanted = "train/, valid/ or test/patient.../study..." + ("/..." if per == "image" else "")
    remarks.wrong("path", cells(paths, where["study"].isna()), f"{path}, ", f" is not {wanted} below the folder")
    return where


def _joined(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*(pa.scalar(p, TEXT) if isinstance(p, str) else p for p in (*parts, "/")))


def _metadata(path: Path, rows: pd.DataFrame, image: pd.Series, remarks: Remarks) -> dict:
    """The columns view, sex and age. Where the file has none, a file name tells a lateral image, and no more."""
    if not set(METADATA) <= set(rows.columns):
        lateral = image.str.contains("lateral", na=False)
        return {"view": pd.Series("", rows.index, dtype="str").mask(lateral, "LATERAL"), "sex": "", "age": np.nan}
    side = read_codes("view", path, rows["Frontal/Lateral"], FRONTAL, remarks)
    position = read_codes("view", path, rows["AP/PA"], AP_PA, remarks)
    sex = read_codes("sex", path, rows["Sex"], SEX, remarks)
    age = read_ages(path, rows["Age"], remarks, units=False)
    if turned := int((rows["AP/PA"].isin(["LL", "RL"]) & (side == "")).sum()):
        remarks.notes.append(
            f"{path.name}: {turned} frontal images are LL or RL under AP/PA: their position is not known"
        )
    return {"view": position.where(side == "", side), "sex": sex, "age": age}


def _compare(table: pd.DataFrame, path: Path, other: pd.DataFrame, remarks: Remarks) -> None:
    """Notes where two label files of one split list different studies, or label a study differently."""
    ours = table[["study", *FINDINGS]].drop_duplicates()
    theirs = other.drop_duplicates("study").set_index("study")[list(FINDINGS)].reindex(ours["study"])
    a, b = ours[list(FINDINGS)].to_numpy(), theirs.to_numpy()
    differ = ours["study"][((a != b) & ~(np.isnan(a) & np.isnan(b))).any(axis=1)]
    studies = sorted({*differ, *(set(ours["study"]) ^ set(other["study"]))})
    after = f" is not labelled as in the split's other label file ({len(studies)} studies are not)"
    remarks.wrong("disagree", studies, f"{path}: ", f"{after}: remove the file that is wrong")


@dataclass(frozen=True)
class Release:
    """One release on the disk."""

    root: Path  # images lie below it
    home: Path  # the folder of the label files

    def label_files(self) -> list[Path]:
        """Those that are there, in the order of LABEL_FILES."""
        return [self.home / name for name in LABEL_FILES if (self.home / name).exists()]

    def on_disk(self, images: pd.Series) -> pd.Series:
        """Canonical paths to where they lie, or would lie, below the root."""
        for folder, names in FOLDERS.items():
            here = images.str.startswith(f"{folder}/")
            if here.any():
                images = images.mask(here, self._move(images[here], folder, names))
        return images

    def _move(self, images: pd.Series, folder: str, names: tuple[str, ...]) -> pd.Series:
        """The images of one folder."""
        name = next((name for name in names if (self.home / name).is_dir()), None)
        if name is None and (patients := self._batches(names)):
            parts = images.str.split("/", n=2, expand=True)  # folder, patient, the rest
            return parts[1].map(patients).fillna(folder).astype("str") + "/" + parts[1] + "/" + parts[2]
        return (self.home / (name or folder)).relative_to(self.root).as_posix() + images.str[len(folder) :]

    def _batches(self, names: tuple[str, ...]) -> dict[str, str]:
        """The full release's patients to the folders that hold them, below the root; some unpack with train/ inside."""
        found = {}
        for batch in sorted(self.root.glob("CheXpert* batch *")):
            inside = next((batch / name for name in names if (batch / name).is_dir()), batch)
            if inside.is_dir():
                where = inside.relative_to(self.root).as_posix()
                found |= {name: where for name in os.listdir(inside) if name.startswith("patient")}
        return found


def find_release(root: Path) -> Release:
    """The release in a folder, or in a folder CheXpert* in it; one batch stands for all that lie beside it.

    Raises UserError where there is no label file, or several releases.
    """
    root = root if " batch " not in root.resolve().name else root.resolve().parent
    releases = [Release(root, home) for home in (root, *sorted(root.glob("CheXpert*")))]
    releases = [release for release in releases if release.label_files()]
    if not releases:
        raise UserError(f"{root}: no {', '.join(LABEL_FILES)} in it: give the folder that holds CheXpert's label files")
    if len(releases) > 1 and releases[0].home != root:
        raise UserError(f"{root}: {' and '.join(release.home.name for release in releases)}: give one of them")
    return releases[0]


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_TYPES and not name.startswith(".")


def _images(release: Release, path: Path, studies: pd.DataFrame, remarks: Remarks) -> pd.DataFrame:
    """A per-study file's rows repeated on the images that lie in the studies' folders."""
    folders = [release.root / folder for folder in release.on_disk(studies["study"] + "/")]
    files = [os.listdir(folder) if folder.is_dir() else () for folder in folders]
    images = [sorted(filter(_is_image, names)) for names in files]
    counts = np.array([len(names) for names in images], dtype=int)
    table = studies.loc[studies.index.repeat(counts)].reset_index(drop=True)
    table["image"] = table["study"] + "/" + pd.Series([name for names in images for name in names], dtype="str")
    table["view"] = table["view"].mask(table["image"].str.contains("lateral"), "LATERAL")
    empty = studies.loc[counts == 0, "study"]
    for k in np.flatnonzero(counts == 0)[:1]:
        message = f"{path}: no images in {folders[k]} ({len(empty)} studies have none): download them"
        remarks.wrong("missing", empty, message=message)
    return table
