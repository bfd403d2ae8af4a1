"""Who the phantom's patients are, what they have and what is written of it: CheXpert's rates, not CheXpert's patients.

Each finding has a latent normal number. Above one threshold the finding is there, and the higher the number, the more
severe. The number also decides what an automatic labeler would have read in the report: clearly above, 1; about the
threshold, -1 (uncertain: the mildest three in ten are absent in truth); below, 0 or, mostly, nothing. So uncertain
findings are the faint ones. Correlations of the numbers (a Gaussian copula) and all rates were estimated from
CheXpert's train.csv (Irvin et al. 2019; 223,414 images), separately for studies of AP images only and others. A further
number makes the normal studies, whose only finding can be Support Devices. Not modelled: more than six studies a
patient, labels that hang on sex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from scipy.special import ndtr, ndtri

from chexlib.data.labels import FINDINGS

RATES = {
    # finding: shares of 1, -1 and 0 on images of AP-only studies, then of other studies (PA, lateral); CheXpert
    "No Finding": ((0.0708, 0.0000, 0.0000), (0.1689, 0.0000, 0.0000)),
    "Enlarged Cardiomediastinum": ((0.0479, 0.0517, 0.0550), (0.0493, 0.0645, 0.1947)),
    "Cardiomegaly": ((0.1256, 0.0337, 0.0283), (0.1098, 0.0420, 0.0999)),
    "Lung Opacity": ((0.5252, 0.0205, 0.0216), (0.3495, 0.0358, 0.0481)),
    "Lung Lesion": ((0.0297, 0.0044, 0.0016), (0.0677, 0.0118, 0.0153)),
    "Edema": ((0.3002, 0.0678, 0.0694), (0.0788, 0.0355, 0.1474)),
    "Consolidation": ((0.0710, 0.1332, 0.0683), (0.0549, 0.1032, 0.2602)),
    "Pneumonia": ((0.0208, 0.0836, 0.0058), (0.0417, 0.0851, 0.0283)),
    "Atelectasis": ((0.1650, 0.1647, 0.0046), (0.1130, 0.1189, 0.0092)),
    "Pneumothorax": ((0.1004, 0.0144, 0.2464), (0.0557, 0.0134, 0.2656)),
    "Pleural Effusion": ((0.4284, 0.0474, 0.0937), (0.2860, 0.0628, 0.3097)),
    "Pleural Other": ((0.0090, 0.0059, 0.0006), (0.0316, 0.0258, 0.0034)),
    "Fracture": ((0.0364, 0.0022, 0.0091), (0.0500, 0.0044, 0.0162)),
    "Support Devices": ((0.6240, 0.0047, 0.0287), (0.2743, 0.0050, 0.0247)),
}

CORRELATIONS = (
    # lower triangle: findings from the second on, then age; tetrachoric, in studies that are not normal; CheXpert
    (0.00,),
    (0.00, 0.09),
    (0.00, -0.06, -0.07),
    (0.00, 0.00, -0.18, 0.11),
    (0.00, -0.10, 0.31, -0.05, -0.24),
    (0.00, -0.07, -0.10, -0.20, 0.03, -0.09),
    (0.00, -0.16, -0.12, 0.20, 0.08, -0.03, 0.23),
    (0.00, -0.06, -0.06, -0.18, -0.10, -0.01, -0.07, -0.12),
    (0.00, -0.08, -0.32, -0.10, 0.02, -0.44, -0.18, -0.25, -0.02),
    (0.00, -0.08, 0.01, 0.20, -0.06, 0.12, 0.09, -0.15, 0.09, -0.14),
    (0.00, -0.01, -0.09, 0.06, 0.08, -0.20, 0.04, -0.02, -0.08, -0.03, -0.15),
    (0.00, 0.06, -0.11, -0.14, -0.06, -0.24, -0.11, -0.14, -0.04, 0.06, -0.19, 0.11),
    (-0.09, 0.00, 0.08, 0.12, -0.14, 0.12, -0.02, -0.22, 0.11, 0.07, 0.20, -0.03, -0.12),
    (-0.29, 0.00, 0.13, 0.12, 0.03, 0.15, 0.03, 0.04, 0.03, -0.12, 0.13, 0.03, 0.03, -0.07),
)

STUDY_VIEWS = (
    # views of a study and their share of studies, from the bedside to the upright; CheXpert
    (("AP",), 0.808), (("AP", "AP"), 0.013), (("AP", "LATERAL"), 0.026),
    (("PA",), 0.012), (("PA", "LATERAL"), 0.135), (("PA", "PA", "LATERAL"), 0.006),
)  # fmt: skip
STUDIES = (0.54, 0.18, 0.10, 0.07, 0.05, 0.06)  # share of patients with 1 to 6 studies; CheXpert has up to 91
AGES = ((0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0),
        (18, 20, 27, 34, 49, 62, 74, 83, 88, 90))  # quantiles, CheXpert train.csv  # fmt: skip
MALE = (0.577, 0.632)  # in AP-only studies, in others
UNCERTAIN_TRUE = 0.7  # the share of uncertain findings that are there
PERSISTENCE = 0.5  # of the latent numbers' variance, the share that stays with a patient from study to study
VIEW_SHARES = np.cumsum([share for _, share in STUDY_VIEWS])
_DEVICES = FINDINGS.index("Support Devices")
_SHARES = np.array([RATES[finding] for finding in FINDINGS]).transpose(1, 2, 0)  # (2, 3, 14)


@dataclass(frozen=True)
class Study:
    """One study of one patient: its images' views, what is there, how severe (0 to 1), what the labeler wrote."""

    patient: int
    number: int  # from 1 on, among the patient's studies
    male: bool
    age: int
    views: tuple[str, ...]
    truth: np.ndarray  # (14,) bool
    severity: np.ndarray  # (14,) float, 0 where absent
    labels: np.ndarray  # (14,) of 1, 0, -1, NaN

    @property
    def path(self) -> str:
        """The study's folder below its split's, e.g. "patient00001/study1"."""
        return f"patient{self.patient:05d}/study{self.number}"

    def image(self, view_number: int) -> str:
        """The path of one of its images below the split's folder."""
        kind = "lateral" if self.views[view_number] == "LATERAL" else "frontal"
        return f"{self.path}/view{view_number + 1}_{kind}.jpg"


def _factor() -> np.ndarray:
    """(15, 15) square root of the correlations, made positive definite where rounding left them otherwise."""
    matrix = np.eye(15)
    for row, values in enumerate(CORRELATIONS, start=1):
        matrix[row, : len(values)] = matrix[: len(values), row] = values
    # age stays from study to study: only the lasting part of a finding can follow it
    matrix[14, :14] = matrix[:14, 14] = matrix[14, :14] / np.sqrt(PERSISTENCE)
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(values.clip(1e-4))
    return root / np.linalg.norm(root, axis=1, keepdims=True)


def _thresholds() -> np.ndarray:
    """(2, 3, 14) thresholds of "written as present", "there", "written as uncertain", in AP-only studies and others."""
    abnormal = np.ones((2, 14))
    abnormal[:, 1:_DEVICES] -= _SHARES[:, 0, :1]  # these findings only occur in studies that are not normal
    present, uncertain = _SHARES[:, 0] / abnormal, _SHARES[:, 1] / abnormal
    return -ndtri(np.stack([present, present + UNCERTAIN_TRUE * uncertain, present + uncertain], axis=1))


FACTOR, THRESHOLDS = _factor(), _thresholds()
ABSENT = _SHARES[:, 2] / (1 - _SHARES[:, 0] - _SHARES[:, 1])  # (2, 14) how often 0 is written where neither 1 nor -1 is


def series(n: int, seed: int, first_patient: int, one_study: bool = False) -> Iterator[tuple[Study, int]]:
    """The first n images of patients numbered from `first_patient` on, as (study, the image's number in it from 0)."""
    images = (
        (study, view_number)
        for number in count(first_patient)
        for study in patient(number, seed, one_study)
        for view_number in range(len(study.views))
    )
    return islice(images, n)


def patient(number: int, seed: int, one_study: bool = False) -> list[Study]:
    """The studies of one patient, who depends on nothing but the number and the seed."""
    rng = np.random.default_rng([seed, number, 0])
    lasting = FACTOR @ rng.standard_normal(15)
    bedside = rng.standard_normal()
    age = int(np.interp(ndtr(lasting[14]), *AGES))
    male_draw = rng.random()
    n_studies = 1 + int(np.searchsorted(np.cumsum(STUDIES), rng.random()))
    studies = []
    for k in range(1 if one_study else min(n_studies, len(STUDIES))):
        passing = FACTOR @ rng.standard_normal(15)
        latent = np.sqrt(PERSISTENCE) * lasting[:14] + np.sqrt(1 - PERSISTENCE) * passing[:14]
        draw = ndtr(np.sqrt(0.6) * bedside + np.sqrt(0.4) * rng.standard_normal())
        views = STUDY_VIEWS[min(int(np.searchsorted(VIEW_SHARES, draw)), len(STUDY_VIEWS) - 1)][0]
        group = int(set(views) != {"AP"})
        if not studies:
            male = bool(male_draw < MALE[group])
        truth, severity, labels = findings(latent, group, rng.random(14))
        studies.append(Study(number, k + 1, male, min(age + k // 2, 90), views, truth, severity, labels))
    return studies


def findings(latent: np.ndarray, group: int, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, severity and the labeler's labels (14,) of latent numbers (14,), in AP-only studies (group 0) or not."""
    written, there, uncertain = THRESHOLDS[group]
    normal = latent[0] > written[0]
    possible = np.full(14, not normal)
    possible[_DEVICES] = True
    truth = (latent > there) & possible
    severity = np.where(truth, 1 - ndtr(-latent) / ndtr(-there), 0.0)
    labels = np.where(draws < ABSENT[group], 0.0, np.nan)
    labels[(latent > uncertain) & possible] = -1.0
    labels[(latent > written) & possible] = 1.0
    labels[0] = 1.0 if normal else np.nan  # CheXpert's labeler never says 0 or -1 here
    truth[0] = not truth[1:_DEVICES].any()
    severity[0] = 0.0
    return truth, severity, labels
