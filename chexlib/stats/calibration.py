"""Calibration of probabilities: the Brier score, and observed frequency against predicted probability.

The classes of a reliability diagram hold equally many rows, not equal widths: a network's probabilities crowd near 0,
and of ten equal widths most would hold a handful of rows. One summary number of the diagram (expected calibration
error) is left out, as it changes with the number of classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexlib.stats.auc import Floats, checked
from chexlib.stats.intervals import effective_size, wilson


@dataclass(frozen=True)
class Reliability:
    """Of each of B classes of rows: mean `predicted` probability, `observed` frequency of the finding, `count` of rows,
    the 95 % Wilson interval of the frequency, `low` to `high`, and its `lowest` and `highest` probability; all (B,), in
    ascending order of `predicted`."""

    predicted: Floats
    observed: Floats
    count: NDArray[np.int64]
    low: Floats
    high: Floats
    lowest: Floats
    highest: Floats


def brier(y: ArrayLike, p: ArrayLike) -> Floats:
    """Mean squared difference of probability and label of each task (Brier, Monthly Weather Review 1950).

    y: (N, T) labels, 1, 0 or NaN (left out). p: (N, T) probabilities. Returns (T,), 0 best, NaN where nothing is
    known; a 0-d value for (N,) and (N,). Raises ValueError where `auroc` does, and for p outside [0, 1].
    """
    y, p, _ = checked(y, p)
    _check_probabilities(y, p)
    known = ~np.isnan(y)
    squares, total = (np.where(known, p - y, 0.0) ** 2).sum(axis=0), known.sum(axis=0)
    return np.divide(squares, total, out=np.full(total.shape, np.nan), where=total > 0)


def reliability(y: ArrayLike, p: ArrayLike, bins: int = 10, groups: ArrayLike | None = None) -> Reliability:
    """Observed frequency by class of predicted probability, for one task.

    y: (N,) labels, 1, 0 or NaN (left out). p: (N,) probabilities. bins: how many classes of equally many rows; rows of
    equal probability share one, so that there may be fewer. groups: (N,) whose rows they are, patients, which widens
    the intervals; each row its own when None. Raises ValueError as `brier`, and for bins below 1.
    """
    y, p, _ = checked(y, p)
    if y.ndim != 1:
        raise ValueError(f"y {y.shape} and p {p.shape}: reliability is of one task, both must be (N,)")
    if bins < 1:
        raise ValueError(f"bins={bins}: at least one is needed")
    _check_probabilities(y, p)
    groups = np.arange(len(y)) if groups is None else np.asarray(groups)
    y, p, groups = (of[~np.isnan(y)] for of in (y, p, groups))
    inner = np.quantile(p, np.arange(1, bins) / bins, method="inverted_cdf") if len(p) else np.empty(0)
    # `inverted_cdf` gives values of p, so that a class ends with all rows that share its last value
    place = np.unique(np.searchsorted(inner, p), return_inverse=True)[1]
    count = np.bincount(place)
    hits, total = np.bincount(place, weights=y), np.bincount(place, weights=p)
    here = [place == of_class for of_class in range(len(count))]
    sizes = np.array([effective_size(y[rows], np.ones(rows.sum()), groups[rows]) for rows in here])
    ends = (np.array([end(p[rows]) for rows in here], dtype=float) for end in (np.min, np.max))
    return Reliability(total / count, hits / count, count, *wilson(hits / count * sizes, sizes), *ends)


def _check_probabilities(y: Floats, p: Floats) -> None:
    outside = ~np.isnan(y) & ((p < 0) | (p > 1))
    if outside.any():
        raise ValueError(f"p holds {p[outside][0]:g}: calibration is of probabilities, in [0, 1]")
