"""What a network learns beside the findings, or instead of them: a patient's sex and age, an image's view.

The "easy" targets are those of In-domain Pre-training (Awatramani et al. 2021, sections 4.1 and 5.1): sex and angle
(frontal or lateral) by cross-entropy, age by a smooth L1 loss. Position (AP or PA) is ours, for sets without lateral
images. What the data set leaves open is unknown: it reaches no loss and no score. An image of unknown view is frontal,
as everywhere (chexlib.data.dataset.VIEWS). CheXpert's test labels tell nobody's sex, age or position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chexlib.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Target:
    """One output of a network, learned from the data set's table."""

    name: str
    meaning: str  # of 1, or the unit
    labels: Callable[[pd.DataFrame], pd.Series]  # of a table's N rows, NaN where unknown
    number: bool = False  # learned by smooth L1 and scored by mean absolute error; else by cross-entropy and AUC
    middle: float = 0.0  # of a number: an output of 0
    unit: float = 1.0  # of a number: an output of 1 is so much more


TARGETS = {
    row.name: row
    for row in (
        Target("sex", "female, not male", lambda table: table["sex"].map({"F": 1.0, "M": 0.0})),
        Target("age", "years; learned in decades from 50 on", lambda table: table["age"], True, 50.0, 10.0),
        Target("view", "lateral, not frontal", lambda table: (table["view"] == "LATERAL").astype(float)),
        Target("position", "of a frontal image: AP, not PA", lambda table: table["view"].map({"AP": 1.0, "PA": 0.0})),
    )
}
"""Beside "findings", in the order of a network's further outputs."""

NAMES = ("findings", *TARGETS)


def check_targets(targets: Mapping[str, float]) -> dict[str, float]:
    """The targets that have a weight in the loss, in the order of NAMES and as floats, so that equal ones look equal.

    Raises UserError for a name that there is none of, a weight below 0, and where nothing is left.
    """
    for name, weight in targets.items():
        if name not in NAMES:
            raise UserError(f"targets: {name!r} is unknown: choose of {', '.join(NAMES)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UserError(f"targets: {name}={weight!r}: a weight in the loss is a number from 0 (none) on, e.g. 0.1")
    kept = {name: float(targets[name]) for name in NAMES if targets.get(name)}
    if not kept:
        raise UserError(f"targets: nothing has a weight: give at least one of {', '.join(NAMES)}, e.g. findings=1")
    return kept


def further(targets: Iterable[str]) -> list[Target]:
    """The rows, in their order, of these targets but the findings."""
    return [row for name, row in TARGETS.items() if name in targets]


def further_labels(table: pd.DataFrame, targets: Iterable[str]) -> np.ndarray:
    """(N, E) float: of each of a table's N rows and each of `further`, 1 or 0, or the age in years; NaN: unknown."""
    columns = [row.labels(table).to_numpy(dtype=float) for row in further(targets)]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))
