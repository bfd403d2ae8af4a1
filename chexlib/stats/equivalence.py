"""Equivalence within a margin: the test by which "no difference" can be claimed.

Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987), each by the share of bootstrap
replicates beyond its margin. Both reject at `level` exactly when the interval of confidence 1 - 2 level lies inside
the margin. That two models do not differ significantly says nothing of the kind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Equivalence:
    """The larger of the two one-sided p, the interval `low` to `high` of confidence 1 - 2 level, and the verdict."""

    p: float
    low: float
    high: float
    margin: float
    equivalent: bool


def equivalence(replicates: ArrayLike, margin: float, level: float = 0.05) -> Equivalence:
    """Whether a difference lies within `margin` of 0, from its bootstrap replicates (R,); NaN ones are left out.

    Each one-sided p is (1 + replicates at or beyond the margin) / (R + 1) (Davison and Hinkley 1997, sec. 4.2). The
    interval ends at order statistics, not between them, so that it and p always agree. Raises ValueError for a margin
    that is not positive, and where R is too small to reject at `level` at all.
    """
    if not 0 < margin < np.inf:
        raise ValueError(f"margin={margin}: it must be above 0, and finite")
    if not 0 < level < 0.5:
        raise ValueError(f"level={level}: it lies between 0 and 0.5, e.g. 0.05")
    d = np.asarray(replicates, dtype=float)
    if d.ndim != 1:
        raise ValueError(f"replicates {d.shape}: those of one difference are needed, (R,)")
    d = np.sort(d[~np.isnan(d)])
    beyond = int(np.floor(level * (d.size + 1) + 1e-9)) - 1  # most that may lie beyond one margin
    if beyond < 0:
        raise ValueError(f"{d.size} replicates are too few to test at level {level}: {int(np.ceil(1 / level))} will do")
    tail = max((d <= -margin).sum(), (d >= margin).sum())
    low, high = d[beyond], d[d.size - 1 - beyond]
    inside = bool(-margin < low and high < margin)
    return Equivalence(float((1 + tail) / (d.size + 1)), float(low), float(high), float(margin), inside)
