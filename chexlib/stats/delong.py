"""DeLong's covariance of correlated AUROCs, and his test of two.

DeLong, DeLong and Clarke-Pearson (Biometrics 1988), with the structural components computed from midranks as Sun
and Xu (IEEE Signal Processing Letters 2014, "Fast implementation of DeLong's algorithm") do: O(N log N), not the
product of positives and negatives. It treats rows as independent: where patients have several rows, bootstrap. It is
of one task: the mean over tasks has no such formula, as tasks share patients and not labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from chexlib.stats.auc import Floats, check_labels, check_scores


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs on the same rows: `auc` (2,), their `covariance` (2, 2), and the test of a minus b, two-sided."""

    auc: Floats
    covariance: Floats
    z: float
    p: float


def delong(y: ArrayLike, a: ArrayLike, b: ArrayLike) -> DeLong:
    """Test whether scores `a` and `b` have the same AUROC.

    y: (N,) labels, 1, 0 or NaN (left out). a, b: (N,) scores. Scores that order the rows alike give z = 0, p = 1.
    Where a class has no row, all is NaN; where it has one row, or the difference has no variance although the
    areas differ (both orders perfect or constant), z and p are NaN: the test says nothing there.
    """
    y, a, b = (np.asarray(x, dtype=float) for x in (y, a, b))
    if y.ndim != 1 or not y.shape == a.shape == b.shape:
        raise ValueError(f"y {y.shape}, a {a.shape} and b {b.shape}: all three must be (N,)")
    of_positives, of_negatives = structural_components(y, np.array([a, b]))  # (2, P), (2, Q)
    auc, covariance = _areas(of_positives, of_negatives)
    if np.isnan(auc).any():
        return DeLong(auc, covariance, np.nan, np.nan)
    if np.array_equal(of_positives[0], of_positives[1]) and np.array_equal(of_negatives[0], of_negatives[1]):
        return DeLong(auc, covariance, 0.0, 1.0)
    difference, variance = auc[0] - auc[1], np.array([1, -1]) @ covariance @ np.array([1, -1])
    if not variance > 1e-18:
        return DeLong(auc, covariance, np.nan, np.nan)
    z = float(difference / np.sqrt(variance))
    return DeLong(auc, covariance, z, float(2 * norm.sf(abs(z))))


def delong_covariance(y: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """AUROC of M models on the same rows, (M,), and the covariance of these areas over test sets, (M, M).

    y: (N,) labels, 1, 0 or NaN (left out). scores: (M, N). All is NaN where a class has no row, the covariance where
    one has a single row. Raises ValueError for shapes that do not fit, and where `auroc` does.
    """
    y, scores = np.asarray(y, dtype=float), np.asarray(scores, dtype=float)
    if y.ndim != 1 or scores.ndim != 2 or scores.shape[1] != len(y):
        raise ValueError(f"y {y.shape} and scores {scores.shape}: (N,) and (M, N) are needed")
    return _areas(*structural_components(y, scores))


def structural_components(y: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """DeLong's V10 and V01: each positive's share of negatives below it, each negative's share of positives above.

    y: (N,), scores: (M, N) -> (M, P), (M, Q), from midranks (Sun and Xu 2014, eq. 5 to 8).
    """
    check_scores(scores, check_labels(y))
    positive, negative = scores[:, y == 1], scores[:, y == 0]  # (M, P), (M, Q)
    p, q = positive.shape[1], negative.shape[1]
    together = rankdata(np.concatenate([positive, negative], axis=1), axis=1)  # (M, P + Q) midranks
    below = together[:, :p] - rankdata(positive, axis=1)
    above = p - (together[:, p:] - rankdata(negative, axis=1))
    return below / max(q, 1), above / max(p, 1)


def _areas(of_positives: Floats, of_negatives: Floats) -> tuple[Floats, Floats]:
    """Areas (M,) and their covariance (M, M) from structural components (M, P) and (M, Q)."""
    m = len(of_positives)
    if not of_positives.shape[1] or not of_negatives.shape[1]:
        return np.full(m, np.nan), np.full((m, m), np.nan)
    return of_positives.mean(axis=1), _covariance(of_positives) + _covariance(of_negatives)


def _covariance(components: Floats) -> Floats:
    """Covariance of the means of (M, n) components; NaN when n is 1."""
    m, n = components.shape
    return np.cov(components).reshape(m, m) / n if n > 1 else np.full((m, m), np.nan)
