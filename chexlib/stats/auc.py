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
    return np.array([_auroc(y[:, t], p[:, t], row) for t in range(y.shape[1])])


def _auroc(y: Floats, p: Floats, weights: Floats) -> float:
    """AUROC of one task; all (N,)."""
    known = ~np.isnan(y)
    y, p, weights = y[known], p[known], weights[known]
    place = np.unique(p, return_inverse=True)[1]  # of each row's score among those there are, ascending
    positive, negative = (np.bincount(place, weights * (y == label)) for label in (1, 0))  # at each score
    pairs = positive.sum() * negative.sum()
    wins = (positive * (np.cumsum(negative) - negative / 2)).sum()  # over lower scores, and half of the ties
    return wins / pairs if pairs > 0 else np.nan


def checked(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
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
