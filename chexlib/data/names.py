"""Names: the one form in which those of patients, studies and images are compared, and the one table of findings'.

Patients, studies and images have a normal form, without space around it and in Unicode's NFC: what looks the same is
the same. Case and zero padding can tell two patients apart, so that they are compared only to say what is `alike`.

Findings are compared without regard to case, spaces, underscores and hyphens: what each data set calls them, and which
of CheXpert's 14 they are. A name that maps to nothing is known, and is no finding of CheXpert's: Infiltration is not
Lung Opacity, and CheXpert's readers were told to ignore granulomas.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chexlib.data.labels import FINDINGS

if TYPE_CHECKING:
    import pandas as pd

BLANK = "".join(
    map(chr, (*range(0x21), 0x85, 0xA0, 0x1680, *range(0x2000, 0x2010), *range(0x2028, 0x2030), 0x205F, 0x2060, 0x3000,
              0xFEFF))
)  # fmt: skip
"""What nobody sees at the ends of a name: control characters, spaces of every width, byte-order marks."""

SYNONYMS = {
    "Enlarged Cardiomediastinum": ("Enlarged Cardiom.",),
    "Lung Opacity": ("Opacity", "Airspace Opacity"),  # Open-i, CheXlocalize and Google's labels of NIH
    "Lung Lesion": ("Mass", "Nodule", "Nodule/Mass", "Nodule or mass", "Lesion"),  # NIH, VinDr, Google, Open-i
    "Pleural Effusion": ("Effusion",),  # NIH, torchxrayvision
    "Pleural Other": ("Pleural_Thickening", "Pleural"),  # NIH, ChestMNIST
    "Support Devices": ("Tube", "Tube'"),  # PadChest in torchxrayvision
}
"""CheXpert's finding to others' names of it; each finding's own name is known, too."""

NOTHING = (
    *("Infiltration", "Infiltrate", "Emphysema", "Fibrosis", "Hernia"),  # NIH, its boxes, ChestMNIST
    *("Granuloma", "Calcified Granuloma", "Flattened Diaphragm", "Bronchiectasis", "Aortic Elongation"),  # PadChest
    *("Scoliosis", "Hilar Enlargement", "Tuberculosis", "Air Trapping", "Costophrenic Angle Blunting"),
    *("Aortic Atheromatosis", "Hemidiaphragm Elevation"),
    *("Aortic enlargement", "Calcification", "ILD", "Other Lesion", "Pulmonary Fibrosis"),  # VinDr
    *("Geographic Extent", "Foreign Object"),  # Stony Brook's COVID score, Object-CXR
    *("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis"),  # TBX11K
    *("Viral", "Bacterial", "Fungal", "Lipoid", "Aspiration", "COVID-19", "SARS", "MERS-CoV", "Varicella"),
    *("Influenza", "H1N1", "Herpes", "Pneumocystis", "Streptococcus", "Klebsiella", "Chlamydophila", "Legionella"),
    *("E.Coli", "Mycoplasma", "Nocardia", "Aspergillosis", "Staphylococcus", "MRSA"),  # covid-chestxray-dataset
)
"""Names of what CheXpert does not label."""


def normal(column: pd.Series) -> pd.Series:
    """Names in their normal form, as text; NaN where nothing is left. Whole numbers are named without a fraction."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.dtype.kind == "f" and (column.isna() | ((column % 1 == 0) & (column.abs() < 2**53))).all():
        column = column.astype("Int64")  # they are fractions only because a cell is empty
    names = pa.array(column.astype("str"), type=pa.large_string(), from_pandas=True)
    names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    names = pc.utf8_trim(pc.utf8_normalize(names, "NFC"), BLANK)
    names = pc.if_else(pc.equal(names, ""), None, names)
    return pd.Series(names.to_pandas().array, column.index, "str", column.name)


def image_paths(column: pd.Series) -> pd.Series:
    """Paths below a folder in their normal form, and with slashes for Windows' backslashes, without any ./ and //."""
    paths = normal(column)
    if paths.str.contains(r"\\|//|(?:^|/)\./", na=False).any():
        paths = paths.str.replace(r"[\\/]+", "/", regex=True).str.replace(r"(^|/)(?:\./)+", r"\1", regex=True)
    return paths


def spelling(name: str) -> str:
    """By what a file's name is known on disks of every kind: those of Windows and macOS see no case, macOS takes names
    apart (NFD), and Windows' folders end in a backslash."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).strip(BLANK).casefold()


def alike(names: pd.Series) -> list[list[str]]:
    """Groups of names that differ in case or zero padding alone, such as p7, P7 and p007."""
    names = names.drop_duplicates()
    plain = names.str.lower().str.replace(r"0*(\d+)", r"\1", regex=True)
    return [sorted(group) for _, group in names[plain.duplicated(keep=False)].groupby(plain)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", str(name)).casefold()


NAMES: dict[str, str | None] = {
    **dict.fromkeys(map(_plain, NOTHING)),
    **{_plain(name): finding for finding in FINDINGS for name in (finding, *SYNONYMS.get(finding, ()))},
}


def is_known(name: str) -> bool:
    """Whether the table has the name, be it of a finding or of something that maps to nothing."""
    return _plain(name) in NAMES


def finding_of(name: str) -> str | None:
    """CheXpert's finding of that name, or None where it maps to nothing or nobody knows it."""
    return NAMES.get(_plain(name))


def merged(names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Labels (N, P) of 1, 0, -1 and NaN under a data set's P names as CheXpert's (N, 14) float32.

    Several names of one finding: present where one is, else uncertain where one is, else absent where all are, else
    NaN; NaN, too, for a finding that no name maps to.
    """
    findings = np.array([finding_of(name) or "" for name in names], dtype=str)
    labels = np.full((len(values), len(FINDINGS)), np.nan, dtype=np.float32)
    for column, finding in enumerate(FINDINGS):
        theirs = values[:, findings == finding]  # (N, p)
        if theirs.size:
            rules = [(theirs == 1).any(axis=1), (theirs == -1).any(axis=1), (theirs == 0).all(axis=1)]
            labels[:, column] = np.select(rules, [1, -1, 0], np.nan)
    return labels
