"""The one table of findings' names: what each data set calls them, and which of CheXpert's 14 they are.

Names are compared without regard to case, spaces, underscores and hyphens. A name that maps to nothing is known, and
is no finding of CheXpert's: Infiltration is not Lung Opacity, and CheXpert's readers were told to ignore granulomas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from chexlib.data.labels import FINDINGS

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
