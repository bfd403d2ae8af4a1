"""Areas under the ROC and the precision-recall curve, for many tasks at once, and what both ask of labels and scores.

AUROC is the Mann-Whitney probability that a positive scores above a negative, ties counted half (Hanley and McNeil,
Radiology 1982): `sklearn.metrics.roc_auc_score`. AUPRC is average precision, the sum over thresholds of precision times
the recall that the threshold adds, without interpolation (Davis and Goadrich, ICML 2006, on why none):
`sklearn.metrics.average_precision_score`. A score that says nothing reaches the share of positives, not 1/2, so that
the AUPRC of tasks with other shares are not comparable. Partial and multi-class areas are left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """AUROC of each task.

    y: (N, T) labels, 1, 0 or NaN (unknown: the row is left out of that task). p: (N, T) scores on any scale.
    weights: (N,) non-negative weights of the rows. Returns (T,), in [0, 1], NaN where a task lacks a class.
    One task may be given as (N,) and (N,), which returns a 0-d value.
    Raises ValueError for shapes that differ, labels that are none of the three, and scores that are NaN where the
    label is known.
    """
    y, p, row = checked(y, p, weights)
    if y.ndim == 1:
        return auroc(y[:, None], p[:, None], row)[0]
    p, positive, negative = _in_order(y, p, row)  # (N, T) each
    below = np.cumsum(negative, axis=0)  # negatives up to and with this row
    first, last = _tie_bounds(p)
    before = np.take_along_axis(below - negative, first, axis=0)  # negatives that score strictly lower
    through = np.take_along_axis(below, last, axis=0)  # ... and those that tie
    wins = (positive * (before + through) / 2).sum(axis=0)  # (T,)
    pairs = positive.sum(axis=0) * negative.sum(axis=0)
    return np.divide(wins, pairs, out=np.full(y.shape[1], np.nan), where=pairs > 0)


def average_precision(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """AUPRC of each task, as average precision.

    y: (N, T) labels, 1, 0 or NaN (left out). p: (N, T) scores on any scale. weights: (N,), as for `auroc`. Returns
    (T,), in [0, 1], NaN where a task lacks a class (scikit-learn gives 0 without positives and 1 without negatives);
    a 0-d value for (N,) and (N,). Raises ValueError where `auroc` does.
    """
    y, p, row = checked(y, p, weights)
    if y.ndim == 1:
        return average_precision(y[:, None], p[:, None], row)[0]
    p, positive, negative = _in_order(y, p, row)  # (N, T) each
    first, _ = _tie_bounds(p)
    # the positives and negatives that are called positive at this row's score
    found, wrongly = (np.take_along_axis(np.cumsum(w[::-1], axis=0)[::-1], first, axis=0) for w in (positive, negative))
    called = found + wrongly
    precision = np.divide(found, called, out=np.zeros_like(called), where=called > 0)
    total = positive.sum(axis=0)  # (T,)
    both = (total > 0) & (negative.sum(axis=0) > 0)
    return np.divide((positive * precision).sum(axis=0), total, out=np.full(len(total), np.nan), where=both)


def checked(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Labels, scores and the weights of rows, (N,), as numbers; ValueError where `auroc` says."""
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    if y.ndim not in (1, 2) or y.shape != p.shape:
        raise ValueError(f"y {y.shape} and p {p.shape}: both must be (N, T), or both (N,) for a single task")
    check_scores(p, check_labels(y))
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape != (len(y),):
        raise ValueError(f"weights {weights.shape}: one weight a row is needed, ({len(y)},)")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("weights must be finite and not negative")
    return y, p, weights


def check_labels(y: Floats) -> NDArray[np.bool_]:
    """Where `y` is known; ValueError when a known label is neither 0 nor 1."""
    known = ~np.isnan(y)
    wrong = known & (y != 0) & (y != 1)
    if wrong.any():
        raise ValueError(f"y holds {y[wrong][0]:g}: labels are 1, 0 or NaN (unknown); apply a policy first")
    return known


def check_scores(p: Floats, known: NDArray[np.bool_]) -> None:
    """ValueError when a score is NaN where its label is known. p: (..., N, T), known: (N, T)."""
    missing = np.isnan(p) & known
    if missing.any():
        raise ValueError(f"p holds {missing.sum()} NaN where the label is known: a model must score every such row")


def _in_order(y: Floats, p: Floats, row: Floats) -> tuple[Floats, Floats, Floats]:
    """Each task's scores, ascending, and the weights of its positives and negatives in that order; (N, T) each.

    y, p: (N, T). row: (N,) weights. A row of unknown label weighs nothing, whatever its score.
    """
    known = ~np.isnan(y)
    p = np.where(known, p, 0.0)
    order = np.argsort(p, axis=0)
    p, y, known = (np.take_along_axis(a, order, axis=0) for a in (p, y, known))
    weight = np.where(known, row[order], 0.0)
    return p, weight * (y == 1), weight * (y == 0)


def _tie_bounds(p: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row of each row's run of equal values, for columns in ascending order. (N, T) -> two (N, T)."""
    n = len(p)
    rows = np.arange(n)[:, None]
    starts = np.ones(p.shape, dtype=bool)
    starts[1:] = p[1:] != p[:-1]
    ends = np.ones(p.shape, dtype=bool)
    ends[:-1] = starts[1:]
    first = np.maximum.accumulate(np.where(starts, rows, 0), axis=0)
    last = np.minimum.accumulate(np.where(ends, rows, n - 1)[::-1], axis=0)[::-1]
    return first, last


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
