"""Spearman's rank correlation, as the paper uses it between architectures, with intervals.

With 16 architectures a rank correlation is uncertain for two reasons: the patients who happened to be in the test
set, and the architectures that happened to be tried. There is an interval over each, and one over both.

Over patients a rank correlation is biased toward 0, and its interval with it. The areas at hand are the true ones and
noise, those of a replicate have the noise twice, and noise hides order (attenuation; Spearman, The American Journal of
Psychology 1904). Measured over 16 architectures whose true areas and x have a rho of 0.76 on average, with independent
noise of so many times the standard deviation of what x leaves open:

    noise   rho at hand   mean of replicates   interval over patients holds the true rho   ... the rho at hand
     0.5       0.68              0.62                            61 %                             99 %
     1         0.52              0.43                            25 %                             98 %
     2         0.34              0.25                            11 %                             99 %

So it says how far the order at hand depends on who was tested, not where the rho of areas without noise lies.
Corrections for attenuation are left out: they need the noise's size, and leave [-1, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr
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


def spearman_p(rho: ArrayLike, n: int) -> NDArray:
    """Two-sided p of rank correlations over n pairs by the t distribution, as `spearman` has it; 0 for 1 and -1."""
    r, freedom = np.abs(np.asarray(rho, dtype=float)), n - 2
    with np.errstate(divide="ignore"):
        return 2 * stdtr(freedom, -r * np.sqrt(freedom / ((1 - r) * (1 + r))))


def spearman_interval(
    x: ArrayLike, y_replicates: ArrayLike, level: float = 0.95, draw_architectures: bool = False, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of Spearman's rho between x and a resampled y: over patients, so biased toward 0 (above).

    x: (M,) a fact of each architecture (top-1, parameters). y_replicates: (R, M), each row y under one resample of
    patients (`Results.replicates`). With `draw_architectures` each replicate also draws M architectures with
    replacement (for architectures alone see `spearman_over_architectures`). Columns where x is NaN are left out; so are
    replicates without a rho (all one architecture, a NaN). Returns (low, high), NaN where no replicate has a rho.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y_replicates, dtype=float)
    if x.ndim != 1 or y.ndim != 2 or y.shape[1] != len(x):
        raise ValueError(f"x {x.shape} and y_replicates {y.shape}: (M,) and (R, M) are needed")
    x, y = x[~np.isnan(x)], y[:, ~np.isnan(x)]
    x = np.broadcast_to(x, y.shape)  # (R, M)
    if draw_architectures and y.shape[1]:
        drawn = np.random.default_rng(seed).integers(y.shape[1], size=y.shape)
        x, y = np.take_along_axis(x, drawn, axis=1), np.take_along_axis(y, drawn, axis=1)
    low, high = percentile_interval(rank_correlations(x, y), level)
    return float(low), float(high)


def spearman_over_architectures(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of Spearman's rho over architectures alone, x and y taken as they are: low, high.

    Fisher's transformation with the variance (1 + rho^2 / 2) / (n - 3) of Bonett and Wright (Psychometrika 2000). Of 16
    normal pairs its 95 % interval held the true rho 94 to 97 % of the time, for rho from 0 to 0.9; a bootstrap of the
    pairs did so as often, with intervals a few percent wider. x, y: (M,), pairs with a NaN left out. NaN with fewer
    than four pairs and where rho is not defined; the point alone where it is 1 or -1. It takes architectures for a
    random sample of those that could have been tried, which families of them are not.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, e.g. 0.95")
    found = spearman(x, y)
    if found.n < 4 or np.isnan(found.rho):
        return np.nan, np.nan
    if abs(found.rho) > 1 - 1e-12:
        return found.rho, found.rho
    half = ndtri((1 + level) / 2) * np.sqrt((1 + found.rho**2 / 2) / (found.n - 3))
    return float(np.tanh(np.arctanh(found.rho) - half)), float(np.tanh(np.arctanh(found.rho) + half))


def rank_correlations(x: NDArray, y: NDArray) -> NDArray:
    """Spearman's rho of each row, NaN where undefined. Two (R, M) -> (R,)."""
    if x.shape[1] < 3:
        return np.full(len(x), np.nan)
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(x, axis=1), rankdata(y, axis=1)))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)
