"""Area under the precision-recall curve as average precision, for many tasks at once.

The sum over thresholds of precision times the recall that the threshold adds, without interpolation (Davis and
Goadrich, ICML 2006, on why none): `sklearn.metrics.average_precision_score`. A score that says nothing reaches the
share of positives, not 1/2, so areas of tasks with other shares are not comparable. The interpolated area is left out.
`chexlib.stats.bootstrap_auprc` has intervals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexlib.stats.auc import Floats, checked, in_order, tie_bounds


def average_precision(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Average precision of each task.

    y: (N, T) labels, 1, 0 or NaN (left out). p: (N, T) scores on any scale. weights: (N,), as for `auroc`. Returns
    (T,), in [0, 1], NaN where a task lacks a class (scikit-learn gives 0 without positives and 1 without negatives);
    a 0-d value for (N,) and (N,). Raises ValueError where `auroc` does.
    """
    y, p, row = checked(y, p, weights)
    if y.ndim == 1:
        return average_precision(y[:, None], p[:, None], row)[0]
    p, positive, negative = in_order(y, p, row)  # (N, T) each
    first, _ = tie_bounds(p)
    found, wrongly = (_from(weight, first) for weight in (positive, negative))  # called positive at this row's score
    called = found + wrongly
    precision = np.divide(found, called, out=np.zeros_like(called), where=called > 0)
    total = positive.sum(axis=0)  # (T,)
    both = (total > 0) & (negative.sum(axis=0) > 0)
    return np.divide((positive * precision).sum(axis=0), total, out=np.full(len(total), np.nan), where=both)


def _from(weight: Floats, first: np.ndarray) -> Floats:
    """For each row, the weight of all rows that score at least as high. (N, T) -> (N, T)."""
    return np.take_along_axis(np.cumsum(weight[::-1], axis=0)[::-1], first, axis=0)


@dataclass(frozen=True)
class Ranking:
    """The rows of one task whose label is known, best score first, for many weightings of them.

    order: (n,) rows. positive: (p,) places in that order which hold a positive. last: (p,) the place where the run of
    equal scores ends in which each of these lies.
    """

    order: NDArray[np.intp]
    positive: NDArray[np.intp]
    last: NDArray[np.intp]


def ranking(y: Floats, score: Floats) -> Ranking:
    """Sorts one task: y (N,) of 1, 0 and NaN (left out), and one model's scores (N,)."""
    known = np.flatnonzero(~np.isnan(y))
    order = known[np.argsort(-score[known], kind="stable")]
    positive = np.flatnonzero(y[order] == 1)
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # last places of runs of equal scores
    return Ranking(order, positive, ends[np.searchsorted(ends, positive)])


def found_precisely(of: Ranking, counts: NDArray) -> Floats:
    """Sum over positives of the precision at their scores, for each column of counts (N, r): (r,).

    Divided by the number of positives it is the average precision.
    """
    called = np.cumsum(counts[of.order], axis=0, dtype=np.int32)[of.last]  # (p, r) called positive at that score
    own = counts[of.order[of.positive]]  # (p, r)
    found = np.cumsum(own, axis=0, dtype=np.int32)
    found = found[np.searchsorted(of.positive, of.last, side="right") - 1]  # those of the same run, too
    precision = np.divide(found, called, out=np.zeros(called.shape), where=called > 0)
    return np.einsum("pr,pr->r", own, precision)
