"""Spearman's rank correlation, as the paper uses it between architectures, with an interval.

With 16 architectures a rank correlation is uncertain for two reasons: the patients who happened to be in the test
set, and the architectures that happened to be tried. The interval is over patients, and on request over both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr

from chexlib.stats.bootstrap import percentile_interval


@dataclass(frozen=True)
class Spearman:
    """Spearman's `rho`, its two-sided `p` (t distribution, scipy's and the paper's) and the `n` of pairs."""

    rho: float
    p: float
    n: int


def spearman(x: ArrayLike, y: ArrayLike) -> Spearman:
    """Rank correlation of x (M,) and y (M,); pairs with a NaN are left out.

    rho and p are NaN with fewer than three pairs or where one side is constant.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x {x.shape} and y {y.shape}: both must be (M,)")
    pair = ~(np.isnan(x) | np.isnan(y))
    x, y, n = x[pair], y[pair], int(pair.sum())
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Spearman(np.nan, np.nan, n)
    rho, p = spearmanr(x, y)
    return Spearman(float(rho), float(p), n)


def spearman_interval(
    x: ArrayLike, y_replicates: ArrayLike, level: float = 0.95, draw_architectures: bool = False, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of Spearman's rho between x and a resampled y.

    x: (M,) a fact of each architecture (top-1, parameters). y_replicates: (R, M), each row y under one resample of
    patients (`Results.replicates`). With `draw_architectures` each replicate also draws M architectures with
    replacement (for architectures alone, repeat y R times). Columns where x is NaN are left out; so are replicates
    without a rho (all one architecture, a NaN). Returns (low, high), NaN where no replicate has a rho.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y_replicates, dtype=float)
    if x.ndim != 1 or y.ndim != 2 or y.shape[1] != len(x):
        raise ValueError(f"x {x.shape} and y_replicates {y.shape}: (M,) and (R, M) are needed")
    x, y = x[~np.isnan(x)], y[:, ~np.isnan(x)]
    x = np.broadcast_to(x, y.shape)  # (R, M)
    if draw_architectures and y.shape[1]:
        drawn = np.random.default_rng(seed).integers(y.shape[1], size=y.shape)
        x, y = np.take_along_axis(x, drawn, axis=1), np.take_along_axis(y, drawn, axis=1)
    low, high = percentile_interval(_rank_correlations(x, y), level)
    return float(low), float(high)


def _rank_correlations(x: NDArray, y: NDArray) -> NDArray:
    """Spearman's rho of each row, NaN where undefined. Two (R, M) -> (R,)."""
    if x.shape[1] < 3:
        return np.full(len(x), np.nan)
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(x, axis=1), rankdata(y, axis=1)))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)
