"""Findings and what a network is asked to learn from a label: CheXpert's 14 observations and the uncertainty policies.

Raw labels are CheXpert's: 1 present, 0 absent, -1 uncertain, NaN not mentioned in the report. A policy says what an
uncertain label becomes (Irvin et al. 2019, section 4); what "not mentioned" becomes is a separate, explicit choice,
because the labeler's maintainers treat it as absent while some loaders ignore it, which leaves No Finding without
negatives. A finding that a data set does not label at all is unknown whatever the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chexlib.errors import UserError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""CheXpert's 14 observations in the order of its columns."""

TASKS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "No Finding")
"""The six whose mean AUC the paper reports (section 3.1)."""


@dataclass(frozen=True)
class Policy:
    """What an uncertain label becomes; None leaves it out of the loss."""

    name: str
    uncertain: float | None
    meaning: str


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("u-ones", 1.0, "uncertain counts as present"),
        Policy("u-zeros", 0.0, "uncertain counts as absent"),
        Policy("u-ignore", None, "uncertain is left out of the loss"),
    )
}

UNMENTIONED = {"absent": 0.0, "unknown": None}
"""What a finding that the report does not mention becomes; CheXpert's convention is absent."""


def targets(
    raw: np.ndarray,
    policy: str = "u-ones",
    unmentioned: str = "absent",
    covered: tuple[str, ...] | np.ndarray = FINDINGS,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels to learn, and which of them are known.

    raw (N, 14) holds 1, 0, -1 or NaN in the order of FINDINGS; `covered` names the findings that the data set labels
    at all, or says it for each entry, (N, 14) bool. Returns labels (N, 14) float32 in [0, 1] and known (N, 14) float32
    in {0, 1}; where known is 0 the label is 0 and means nothing. Raises UserError for an unknown policy or convention,
    and for a raw value that is none of
    the four.
    """
    uncertain = _choice(POLICIES, policy, "policy").uncertain
    absent = _choice(UNMENTIONED, unmentioned, "unmentioned")
    raw = np.asarray(raw, dtype=np.float32)
    strange = ~(np.isnan(raw) | np.isin(raw, (0.0, 1.0, -1.0)))
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise UserError(f"row {row}, {FINDINGS[column]}: label {raw[row, column]:g} is none of 1, 0, -1 and empty")
    is_covered = covered if isinstance(covered, np.ndarray) else np.isin(FINDINGS, covered)  # (14,) or (N, 14)
    labels, known = raw.copy(), np.broadcast_to(is_covered, raw.shape).copy()
    for where, value in ((raw == -1, uncertain), (np.isnan(raw), absent)):
        labels[where] = 0.0 if value is None else value
        known[where] &= value is not None
    labels[~known] = 0.0
    return labels, known.astype(np.float32)


def _choice(table: dict, name: str, what: str):
    if name not in table:
        raise UserError(f"{what}={name!r}: choose one of {', '.join(table)}")
    return table[name]
