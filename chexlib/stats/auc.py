"""Area under the ROC curve, for many tasks at once.

The area is the Mann-Whitney probability that a positive scores above a negative, ties counted half (Hanley and
McNeil, Radiology 1982), so that sorting and one cumulative sum give it exactly, with weights too; the values are
those of `sklearn.metrics.roc_auc_score`. Curves, partial areas and multi-class areas are left out.
"""

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
    p, positive, negative = in_order(y, p, row)  # (N, T) each
    below = np.cumsum(negative, axis=0)  # negatives up to and with this row
    first, last = tie_bounds(p)
    before = np.take_along_axis(below - negative, first, axis=0)  # negatives that score strictly lower
    through = np.take_along_axis(below, last, axis=0)  # ... and those that tie
    wins = (positive * (before + through) / 2).sum(axis=0)  # (T,)
    pairs = positive.sum(axis=0) * negative.sum(axis=0)
    return np.divide(wins, pairs, out=np.full(y.shape[1], np.nan), where=pairs > 0)


def checked(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Labels, scores and the weights of rows, (N,), as numbers; ValueError where `auroc` says."""
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    if y.ndim not in (1, 2) or y.shape != p.shape:
        raise ValueError(f"y {y.shape} and p {p.shape}: both must be (N, T), or both (N,) for a single task")
    check_scores(p, check_labels(y))
    return y, p, np.ones(len(y)) if weights is None else _check_weights(weights, len(y))


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


def in_order(y: Floats, p: Floats, row: Floats) -> tuple[Floats, Floats, Floats]:
    """Each task's scores, ascending, and the weights of its positives and negatives in that order; (N, T) each.

    y, p: (N, T). row: (N,) weights. A row of unknown label weighs nothing, whatever its score.
    """
    known = ~np.isnan(y)
    p = np.where(known, p, 0.0)
    order = np.argsort(p, axis=0)
    p, y, known = (np.take_along_axis(a, order, axis=0) for a in (p, y, known))
    weight = np.where(known, row[order], 0.0)
    return p, weight * (y == 1), weight * (y == 0)


def tie_bounds(p: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
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


def _check_weights(weights: ArrayLike, n: int) -> Floats:
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (n,):
        raise ValueError(f"weights {weights.shape}: one weight a row is needed, ({n},)")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("weights must be finite and not negative")
    return weights
