"""Area under the precision-recall curve as average precision, for many tasks at once.

The sum over thresholds of precision times the recall that the threshold adds, without interpolation (Davis and
Goadrich, ICML 2006, on why none): `sklearn.metrics.average_precision_score`. A score that says nothing reaches the
share of positives, not 1/2, so areas of tasks with other shares are not comparable. The interpolated area and a
bootstrap of its own are left out: replicates are `average_precision` with the counts of `resample_counts` as weights.
"""

import numpy as np
from numpy.typing import ArrayLike

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
