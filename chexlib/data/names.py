"""The one table of findings' names: what each data set calls them, and which of CheXpert's 14 they are.

Names are compared without regard to case, spaces, underscores and hyphens. A name that maps to nothing is known, and
is no finding of CheXpert's: Infiltration is not Lung Opacity, and CheXpert's readers were told to ignore granulomas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Mapped:
    """How P names of a data set map to CheXpert's findings."""

    findings: dict[str, tuple[int, ...]]  # finding, in CheXpert's order, to the places of its names
    nothing: tuple[str, ...]
    unknown: tuple[str, ...]

    def labels(self, values: np.ndarray) -> np.ndarray:
        """Labels (N, P) of 1, 0, -1 and NaN as (N, 14) float32, NaN where no name maps.

        Several names of one finding: present where one is, else uncertain where one is, else absent where all are,
        else NaN.
        """
        merged = np.full((len(values), len(FINDINGS)), np.nan, dtype=np.float32)
        for finding, places in self.findings.items():
            theirs = values[:, places]  # (N, p)
            rules = [(theirs == 1).any(axis=1), (theirs == -1).any(axis=1), (theirs == 0).all(axis=1)]
            merged[:, FINDINGS.index(finding)] = np.select(rules, [1, -1, 0], np.nan)
        return merged


def map_names(names: Sequence[str]) -> Mapped:
    """Sorts names (P,) by what the table says of them."""
    mapped = [finding_of(name) for name in names]
    return Mapped(
        {finding: tuple(i for i, f in enumerate(mapped) if f == finding) for finding in FINDINGS if finding in mapped},
        tuple(name for name, finding in zip(names, mapped) if finding is None and is_known(name)),
        tuple(name for name in names if not is_known(name)),
    )
