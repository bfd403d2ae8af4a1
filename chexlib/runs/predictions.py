"""The one table that all analysis reads: an image a row, what is known of it and what a run predicts."""

from __future__ import annotations

import numpy as np
import pandas as pd

AGGREGATES = ("max", "mean")
"""How a study is scored from its views."""

IDS = ("split", "image", "study", "patient", "view", "sex", "age")


def predictions_table(
    ids: pd.DataFrame, findings: tuple[str, ...], y: np.ndarray, known: np.ndarray, p: np.ndarray
) -> pd.DataFrame:
    """`ids` (N rows), then `y:<finding>` (NaN where unknown) and `p:<finding>`; y, known and p are (N, T)."""
    table = ids[list(IDS)].reset_index(drop=True)
    y = np.where(known > 0, y, np.nan)
    columns = {f"y:{finding}": y[:, t].astype(np.float32) for t, finding in enumerate(findings)}
    columns |= {f"p:{finding}": p[:, t].astype(np.float32) for t, finding in enumerate(findings)}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def by_study(
    table: pd.DataFrame, findings: tuple[str, ...], aggregate: str = "max"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y (S, T), p (S, T) and patients (S,) of S studies; `aggregate` is one of AGGREGATES.

    A study scores its views' maximum, as CheXpert does it (Irvin et al. 2019, section 4), or their mean. Labels repeat
    on a study's images, so their maximum is the label itself.
    """
    studies = table.groupby("study", sort=True)
    y = studies[[f"y:{finding}" for finding in findings]].max()  # NaN only where every view is unknown
    p = studies[[f"p:{finding}" for finding in findings]].agg(aggregate)
    return y.to_numpy(dtype=float), p.to_numpy(dtype=float), studies["patient"].first().to_numpy()
