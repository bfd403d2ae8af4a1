"""Findings and what a network is asked to learn from a label: CheXpert's 14 observations and the uncertainty policies.

Raw labels are CheXpert's: 1 present, 0 absent, -1 uncertain, NaN not mentioned in the report. A policy says what an
uncertain label becomes (Irvin et al. 2019, section 4: U-Ignore, U-Zeros, U-Ones, U-MultiClass, U-SelfTrained), and
single findings can follow one of their own ("u-zeros, Edema=u-ones"). What "not mentioned" becomes is a separate,
explicit choice: the labeler's maintainers treat it as absent, while some loaders ignore it. A finding that a data set
does not label at all is unknown whatever the policy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chexlib.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
"""CheXpert's 14 observations in the order of its columns."""

TASKS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "No Finding")
"""The six whose mean AUC the paper reports (section 3.1)."""


@dataclass(frozen=True)
class Policy:
    """What an uncertain label becomes: a row of POLICIES, or a mix of them."""

    name: str  # a mix's is its canonical text
    meaning: str
    becomes: dict[str, float | None]  # of each of FINDINGS, the label; None: it has none, and is not known
    classes: int = 1  # outputs of a network for each finding; 3 where uncertain is a class of its own
    teacher: str = ""  # the policy of the run whose predictions become the uncertain labels


MIXABLE = {"u-ones": 1.0, "u-zeros": 0.0, "u-ignore": None}
"""Policies that single findings can follow, and what an uncertain label becomes under them."""

ONES, ZEROS, NONE = (dict.fromkeys(FINDINGS, label) for label in MIXABLE.values())
MIXED = ZEROS | {"Edema": 1.0, "Atelectasis": 1.0}  # as LibAUC and most others have it

POLICIES = {
    policy.name: policy
    for policy in (
        Policy("u-ones", "uncertain counts as present", ONES),
        Policy("u-zeros", "uncertain counts as absent", ZEROS),
        Policy("u-ignore", "uncertain is left out of the loss", NONE),
        Policy("u-multiclass", "uncertain is a class of its own, beside absent and present", NONE, classes=3),
        Policy(
            "u-selftrained", "uncertain becomes the probability that a u-ignore run predicts", NONE, teacher="u-ignore"
        ),
        Policy("u-mixed", "uncertain counts as present for Edema and Atelectasis, as absent elsewhere", MIXED),
    )
}

UNMENTIONED = {"absent": 0.0, "unknown": None}
"""What a finding that the report does not mention becomes; CheXpert's convention is absent."""

NO_FINDING = FINDINGS.index("No Finding")
PATHOLOGIES = [i for i, finding in enumerate(FINDINGS) if finding not in ("No Finding", "Support Devices")]


def parse_policy(text: str) -> Policy:
    """The policy that a text names: a row of POLICIES, or a mix such as "u-zeros, Edema=u-ones, Atelectasis=u-ones".

    In a mix all findings follow the first policy but those named; only u-ones, u-zeros and u-ignore can be mixed. The
    result's name depends on what the text means and not on how it is spelt, and parses to the same policy. Raises
    UserError for anything misspelt, a finding named twice, and a policy that cannot be mixed.
    """
    base, *exceptions = (part.strip() for part in str(text).split(","))
    row = _choice(POLICIES, base.lower(), "policy")
    becomes, named = dict(row.becomes), set()
    for part in exceptions:
        finding, equals, name = (word.strip() for word in part.partition("="))
        if not equals or finding in named:
            reason = "is named twice" if equals else "is not of the form FINDING=POLICY, e.g. Edema=u-ones"
            raise UserError(f"policy={text!r}: {finding!r} {reason}")
        _choice(becomes, finding, "finding")
        other = _choice(POLICIES, name.lower(), "policy")
        if row.classes > 1 or row.teacher or other.name not in MIXABLE:
            raise UserError(f"policy={text!r}: only {', '.join(MIXABLE)} can be mixed")
        becomes[finding] = MIXABLE[other.name]
        named.add(finding)
    if not exceptions:
        return row
    for name in (*MIXABLE, "u-mixed"):
        if POLICIES[name].becomes == becomes:
            return POLICIES[name]
    names = {label: name for name, label in MIXABLE.items()}
    times = Counter(becomes.values())
    most = max(names, key=lambda label: times[label])  # the first of equals: a mix begins with what most become
    others = (f"{finding}={names[label]}" for finding, label in becomes.items() if label != most)
    return Policy(", ".join([names[most], *others]), "uncertain becomes what the finding's own policy says", becomes)


def targets(
    raw: np.ndarray,
    policy: str = "u-ones",
    unmentioned: str = "absent",
    covered: np.ndarray | bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels to learn, and which of them are known.

    raw (N, 14) holds 1, 0, -1 or NaN in the order of FINDINGS; `covered` (N, 14) bool says which the data set labels
    at all, (14,) the same of each row. Returns labels (N, 14) float32 in [0, 1] and known (N, 14) float32 in {0, 1};
    where known is 0 the label is 0 and means nothing. Uncertain labels under u-multiclass and u-selftrained are not
    known here: training makes a class of them, or asks the teacher.

    Where unmentioned="unknown", an empty No Finding beside another finding that is present or uncertain is known to be
    absent all the same: the labeler writes 1 exactly where there is none, Support Devices aside (Irvin et al. 2019,
    mention aggregation), and train.csv has no other negatives of it.

    Raises UserError for an unknown policy or convention, and for a raw value that is none of the four.
    """
    becomes = np.array(list(parse_policy(policy).becomes.values()), dtype=np.float32)  # (14,), NaN for None
    absent = _choice(UNMENTIONED, unmentioned, "unmentioned")
    raw = _checked(raw)
    labels = np.where(raw == -1, becomes, raw)  # (N, 14), NaN where there is no label
    if absent is None:
        found = np.isin(raw[:, PATHOLOGIES], (1, -1)).any(axis=1)  # (N,)
        labels[found & np.isnan(raw[:, NO_FINDING]), NO_FINDING] = 0
    else:
        labels[np.isnan(raw)] = absent
    known = ~np.isnan(labels) & covered
    return np.where(known, labels, 0).astype(np.float32), known.astype(np.float32)


def counts(
    raw: np.ndarray,
    policy: str | None = None,
    unmentioned: str = "absent",
    covered: np.ndarray | bool = True,
) -> pd.DataFrame:
    """How often each finding has each label, and under a policy each target: a row a finding, the index named finding.

    Columns positive, negative, uncertain and unmentioned sum to N in each row, and so do target_1, target_0 and
    unknown. Uncertain labels under u-multiclass and u-selftrained count as unknown, being neither 1 nor 0 (their column
    says how many they are). Arguments and errors as in `targets`.
    """
    import pandas as pd

    raw = _checked(raw)
    columns = {"positive": raw == 1, "negative": raw == 0, "uncertain": raw == -1, "unmentioned": np.isnan(raw)}
    if policy is not None:
        labels, known = targets(raw, policy, unmentioned, covered)
        columns |= {"target_1": known * labels == 1, "target_0": known > labels, "unknown": known == 0}
    sums = {name: entries.sum(axis=0) for name, entries in columns.items()}  # (14,) each
    return pd.DataFrame(sums, index=pd.Index(FINDINGS, name="finding"))


def _checked(raw: np.ndarray) -> np.ndarray:
    """raw as float32. Raises UserError for a value that is no label."""
    raw = np.asarray(raw, dtype=np.float32)
    strange = ~(np.isnan(raw) | np.isin(raw, (0.0, 1.0, -1.0)))
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise UserError(f"row {row}, {FINDINGS[column]}: label {raw[row, column]:g} is none of 1, 0, -1 and empty")
    return raw


def _choice(table: dict, name: str, what: str):
    if name not in table:
        raise UserError(f"{what}={name!r}: choose one of {', '.join(table)}")
    return table[name]
