"""A thin adapter to the data sets of torchxrayvision (Cohen et al. 2022).

A set is read from its `.csv`, `.labels` and `.pathologies`; names map by chexlib.data.names. A label that is NaN there
is unknown: the library gives up on the difference between uncertain and not mentioned. Every view and every image of a
patient is asked for, since filters are chexlib's, and since several classes pick one image of a patient by
`groupby().first()`, which fills its missing labels from the patient's other images.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from chexlib.data.images import BadImage, stretch
from chexlib.data.listing import Listing, Remarks, split_by_patient
from chexlib.data.names import is_known, normal
from chexlib.data.readers.label_files import VIEW_CODES, read_ages, read_codes, read_findings
from chexlib.errors import UserError

FILLED = ("CheX_Dataset", "CheXlocalize_Dataset")
"""Classes that give images other images' labels; chexlib reads those folders itself."""

ALL_IMAGES = {"unique_patients": False, "views": ["*"]}
"""Given to each class that takes them."""

IDS = ("Image Index", "ImageID", "dicom_id", "image_id", "PngPath", "Path", "filename", "imageid", "fname")
STUDIES = ("study_id", "StudyID", "AccessionNumber")
"""Columns of `.csv` that may name the image and the study."""

VIEWS = VIEW_CODES | {"AP SUPINE": "AP", "AP ERECT": "AP", "COSTAL": "", "EXCLUDE": "", "": ""}


def read(root: Path, dataset: str, split_seed: int = 0, **options) -> Listing:
    """The set of torchxrayvision's class `dataset`, built with imgpath=root and the class's own options.

    Raises UserError where the package or the class is missing, the class mixes images' labels, or it cannot be built.
    """
    try:
        import torchxrayvision
    except ImportError:
        raise UserError("torchxrayvision is not installed: pip install torchxrayvision") from None
    if dataset in FILLED:
        reason = "fills labels from other studies: open the folder as data set chexpert"
        raise UserError(f"torchxrayvision's {dataset} {reason}")
    build = getattr(torchxrayvision.datasets, dataset, None)
    if not inspect.isclass(build) or not dataset.endswith("_Dataset"):
        classes = {name for name in dir(torchxrayvision.datasets) if name.endswith("_Dataset")}
        raise UserError(f"dataset={dataset!r}: choose one of {', '.join(sorted(classes.difference(FILLED)))}")
    if fixed := [name for name in options if name in ALL_IMAGES]:
        raise UserError(f"data set torchxrayvision: option {fixed[0]} is set here: every image is read")
    takes = inspect.signature(build).parameters
    options |= {name: value for name, value in ALL_IMAGES.items() if name in takes}
    try:
        built = build(imgpath=str(root), **options)
    except Exception as error:  # the library raises plain exceptions for missing files, too
        raise UserError(f"torchxrayvision's {dataset}: {' '.join(str(error).split())}") from None
    return listing(built, root, split_seed)


def listing(dataset, root: Path, split_seed: int = 0) -> Listing:
    """What an object of torchxrayvision's, already built, lists."""
    where, remarks = Path(type(dataset).__name__), Remarks()
    csv = dataset.csv.reset_index(drop=True)
    image = _ids(csv)
    patient = normal(csv["patientid"]).fillna(image) if "patientid" in csv else image
    if "patientid" not in csv:
        remarks.notes.append(f"{where}: patients are not known, so each image counts as one")
    findings = pd.DataFrame(dataset.labels, columns=[str(name) for name in dataset.pathologies])
    unknown = [name for name in findings if not is_known(name)]
    labels = read_findings(where, findings.drop(columns=unknown), remarks)
    remarks.notes += [f"{where}: {name} has no row in chexlib.data.names and is left out" for name in unknown]
    sex = pd.Series("", csv.index, dtype="str")
    for name, code in (("sex_male", "M"), ("sex_female", "F")):
        sex = sex.mask(_column(csv, name).fillna(False).astype(bool), code)
    columns = {
        "split": pd.Series(split_by_patient(patient, seed=split_seed), dtype="str"),
        "image": image,
        "study": next((normal(csv[name]) for name in STUDIES if name in csv), image),
        "patient": patient,
        "view": read_codes("view", where, _column(csv, "view").replace("UNKNOWN", ""), VIEWS, remarks),
        "sex": sex,
        "age": read_ages(where, _column(csv, "age_years"), remarks),
    }
    images = Items(dataset, image.array, root)
    covered = labels.notna().to_numpy()  # NaN means that nobody knows, and never that a report does not mention it
    return Listing(pd.DataFrame(columns).join(labels), covered, images, remarks)


def _column(csv: pd.DataFrame, name: str) -> pd.Series:
    return csv[name] if name in csv else pd.Series(np.nan, csv.index, name=name)


def _ids(csv: pd.DataFrame) -> pd.Series:
    """A name for each image: the first column of IDS that tells all apart, else its place."""
    named = (csv[name].astype("str") for name in IDS if name in csv and csv[name].notna().all() and csv[name].is_unique)
    return next(named, pd.Series([f"{i:06d}" for i in range(len(csv))], dtype="str"))


@dataclass(frozen=True)
class Items:
    """The images of one of torchxrayvision's objects, whose values of -1024 to 1024 become 0 to 255 again."""

    dataset: Any = field(repr=False)
    names: Sequence[str] = field(repr=False)
    root: Path

    def stamp(self, i: int) -> str:
        """Of the file below the root, where the name is its path; the library does not tell it otherwise."""
        try:
            stat = (self.root / self.names[i]).stat()
        except OSError:
            return self.names[i]
        return f"{self.names[i]}:{stat.st_size}:{stat.st_mtime_ns}"

    def read(self, i: int, size: int) -> np.ndarray:
        try:
            image = np.asarray(self.dataset[i]["img"], dtype=np.float64)[0]  # (1, h, w) to (h, w)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or self.names[i]}: no such image: is the folder complete?") from None
        except Exception as error:  # the library's decoders differ by data set
            raise BadImage(self.root / self.names[i], error) from None
        grey = np.clip(np.rint((image / 1024 + 1) * 127.5), 0, 255).astype(np.uint8)
        return stretch(Image.fromarray(grey), size)
