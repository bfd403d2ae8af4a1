"""Scores that nobody's network gave: architectures and labels by hand, with thresholds at 0.5."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chexlib.paper.scored import Scored

HALF = (np.array([[0.0], [1.0]]), np.array([[0.4], [0.5]]))
"""Validation labels and scores of one task for which Youden's threshold is 0.5."""


def make(y, p, seeds=None, validation=HALF, patients=None) -> Scored:
    """Architectures with scores p (M, S) or (M, S, T) for labels y (S,) or (S, T), thresholds at 0.5."""
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    y, p = (y[:, None], p[:, :, None]) if y.ndim == 1 else (y, p)
    tasks = y.shape[1]
    studies = pd.DataFrame({"study": [f"s{i}" for i in range(len(y))], "sex": "", "age": np.nan, "view": ""})
    return Scored(
        "random",
        tuple("ABCDEFGHIJ"[: len(p)]),
        0,
        ("Edema", "Atelectasis")[:tasks],
        y,
        p,
        np.arange(len(y)) if patients is None else np.asarray(patients),
        studies,
        [one[None] for one in p] if seeds is None else seeds,
        [tuple(np.repeat(part, tasks, axis=1) for part in validation)] * len(p),
        200,
    )
