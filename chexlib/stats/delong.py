"""DeLong's test of two correlated AUROCs.

DeLong, DeLong and Clarke-Pearson (Biometrics 1988), with the structural components computed from midranks as Sun
and Xu (IEEE Signal Processing Letters 2014, "Fast implementation of DeLong's algorithm") do: O(N log N), not the
product of positives and negatives. It treats rows as independent: where patients have several rows, bootstrap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from chexlib.stats.auc import check_labels, check_scores


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs on the same rows: `auc` (2,), their `covariance` (2, 2), and the test of a minus b, two-sided."""

    auc: NDArray[np.float64]
    covariance: NDArray[np.float64]
    z: float
    p: float

    @property
    def difference(self) -> float:
        """AUROC of a minus that of b."""
        return float(self.auc[0] - self.auc[1])


def delong(y: ArrayLike, a: ArrayLike, b: ArrayLike) -> DeLong:
    """Test whether scores `a` and `b` have the same AUROC.

    y: (N,) labels, 1, 0 or NaN (left out). a, b: (N,) scores. Scores that order the rows alike give z = 0, p = 1.
    Where a class has no row, all is NaN; where it has one row, or the difference has no variance although the
    areas differ (both orders perfect or constant), z and p are NaN: the test says nothing there.
    """
    y = np.asarray(y, dtype=float)
    scores = np.array([np.asarray(a, dtype=float), np.asarray(b, dtype=float)])  # (2, N)
    if y.ndim != 1 or scores.shape != (2, len(y)):
        raise ValueError(f"y {y.shape}, a and b {scores.shape[1:]}: all three must be (N,)")
    known = check_labels(y)
    check_scores(scores, known)
    positive, negative = scores[:, y == 1], scores[:, y == 0]  # (2, P), (2, Q)
    if not positive.size or not negative.size:
        return DeLong(np.full(2, np.nan), np.full((2, 2), np.nan), np.nan, np.nan)

    of_positives, of_negatives = structural_components(positive, negative)
    auc = of_positives.mean(axis=1)  # (2,)
    covariance = _covariance(of_positives) + _covariance(of_negatives)  # (2, 2)
    if np.array_equal(of_positives[0], of_positives[1]) and np.array_equal(of_negatives[0], of_negatives[1]):
        return DeLong(auc, covariance, 0.0, 1.0)
    difference, variance = auc[0] - auc[1], np.array([1, -1]) @ covariance @ np.array([1, -1])
    if not variance > 1e-18:
        return DeLong(auc, covariance, np.nan, np.nan)
    z = float(difference / np.sqrt(variance))
    return DeLong(auc, covariance, z, float(2 * norm.sf(abs(z))))


def structural_components(positive: NDArray, negative: NDArray) -> tuple[NDArray, NDArray]:
    """DeLong's V10 and V01: each positive's share of negatives below it, each negative's share of positives above.

    positive: (M, P), negative: (M, Q) scores -> (M, P), (M, Q), from midranks (Sun and Xu 2014, eq. 5 to 8).
    """
    p, q = positive.shape[1], negative.shape[1]
    together = rankdata(np.concatenate([positive, negative], axis=1), axis=1)  # (M, P + Q) midranks
    below = together[:, :p] - rankdata(positive, axis=1)
    above = p - (together[:, p:] - rankdata(negative, axis=1))
    return below / q, above / p


def _covariance(components: NDArray) -> NDArray:
    """Covariance of the means of (2, n) components; NaN when n is 1."""
    n = components.shape[1]
    return np.cov(components) / n if n > 1 else np.full((2, 2), np.nan)
