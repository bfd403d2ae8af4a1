"""What a test set of a given size could have shown: standard errors before any model is trained, and power.

`hanley_mcneil` needs only an area and the numbers of positives and negatives. The standard error of a *difference*
depends on how alike the two models order the rows: sqrt(2 (1 - r)) times that of one area for two of equal precision
whose areas correlate by r (`delong_covariance` and the replicates of a bootstrap measure it). Simulated power is left
out: areas of hundreds of rows are near enough to normal.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from chexlib.stats.auc import Floats


def hanley_mcneil(auc: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> Floats:
    """Standard error of an AUROC over so many rows (Hanley and McNeil, Radiology 1982, eq. 1 and 2).

    Takes numbers or arrays that broadcast. Their Q1 and Q2 are those of exponentially distributed scores, which they
    found to differ little from others. Raises ValueError for areas outside [0, 1] and fewer than one row of a class.
    """
    auc, p, q = (np.asarray(a, dtype=float) for a in (auc, positives, negatives))
    if ((auc < 0) | (auc > 1)).any():
        raise ValueError("auc lies outside [0, 1]")
    if (p < 1).any() or (q < 1).any():
        raise ValueError("positives and negatives: at least one of each is needed")
    two_positives = auc / (2 - auc)  # both of two positives score above one negative
    two_negatives = 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (p - 1) * (two_positives - auc**2) + (q - 1) * (two_negatives - auc**2)
    return np.sqrt(variance / (p * q))


def least_detectable(standard_error: ArrayLike, level: float = 0.05, power: float = 0.8) -> Floats:
    """The true difference that a two-sided test at `level` finds with probability `power`.

    standard_error: of the difference, a number or an array. The normal approximation (z of level plus z of power) times
    the error leaves out rejections on the wrong side, under 1e-5 from a power of 0.8 on. Raises ValueError unless
    0 < level < power < 1.
    """
    if not 0 < level < power < 1:
        raise ValueError(f"level={level}, power={power}: 0 < level < power < 1 is needed")
    return (ndtri(1 - level / 2) + ndtri(power)) * _error(standard_error)


def detection_power(difference: ArrayLike, standard_error: ArrayLike, level: float = 0.05) -> Floats:
    """Probability that a two-sided test at `level` rejects when this is the true difference; both sides counted.

    Takes numbers or arrays that broadcast; `level` itself for a difference of 0.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: it lies between 0 and 1, e.g. 0.05")
    edge, shift = ndtri(1 - level / 2), np.abs(np.asarray(difference, dtype=float)) / _error(standard_error)
    return ndtr(shift - edge) + ndtr(-shift - edge)


def _error(standard_error: ArrayLike) -> Floats:
    standard_error = np.asarray(standard_error, dtype=float)
    if not (standard_error > 0).all():
        raise ValueError("standard_error must be above 0")
    return standard_error
