"""Bias-corrected and accelerated bootstrap intervals (BCa), for any number of statistics at once.

Efron (Journal of the American Statistical Association 1987; Efron and Tibshirani 1993, ch. 14): percentiles whose
levels are shifted by z0, from the share of replicates below the estimate, and by the acceleration, from the skewness
of the jackknife that leaves out one group at a time. Values are those of `scipy.stats.bootstrap`, which asks for a call
of the statistic a group; here one sort gives the areas without each group, because what a group takes away is a sum
over its own rows: its positives against all negatives, all positives against its negatives, less what is in both.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from chexlib.stats.auc import Floats


def bca_interval(
    value: ArrayLike, replicates: ArrayLike, jackknife: ArrayLike, level: float = 0.95
) -> tuple[Floats, Floats]:
    """BCa interval of each statistic: low (...), high (...).

    value: (...), replicates: (R, ...), jackknife: (G, ...) the statistic without each of G groups. NaN in the last two
    are left out. NaN where all replicates lie on one side of the value, as the correction is then infinite, and where
    there are none. Raises ValueError for shapes that differ, and for a level outside (0, 1).
    """
    value, replicates, jackknife = (np.asarray(a, dtype=float) for a in (value, replicates, jackknife))
    if not value.shape == replicates.shape[1:] == jackknife.shape[1:]:
        raise ValueError(
            f"value {value.shape}, replicates {replicates.shape}, jackknife {jackknife.shape}: "
            "(...), (R, ...) and (G, ...) are needed"
        )
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, e.g. 0.95")
    n = (~np.isnan(replicates)).sum(axis=0)
    ordered = np.sort(replicates, axis=0)  # NaN last
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where undefined, as promised
        share = ((replicates < value).sum(axis=0) + (replicates <= value).sum(axis=0)) / (2 * n)
        z0, skew = ndtri(share), acceleration(jackknife)
        ends = []
        for z in ndtri([(1 - level) / 2, (1 + level) / 2]):
            tail = ndtr(z0 + (z0 + z) / (1 - skew * (z0 + z)))
            ends.append(_quantile(ordered, n, tail))
    return ends[0], ends[1]


def acceleration(jackknife: Floats) -> Floats:
    """Efron's a of each statistic, (G, ...) -> (...): a sixth of the skewness of its jackknife; 0 if nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        known = ~np.isnan(jackknife)
        mean = np.where(known, jackknife, 0.0).sum(axis=0) / known.sum(axis=0)
        below = np.where(known, mean - jackknife, 0.0)
        below[np.abs(below) < 1e-15] = 0.0  # areas that differ by rounding alone
        squares = (below**2).sum(axis=0)
        return np.divide((below**3).sum(axis=0), 6 * squares**1.5, out=np.zeros(squares.shape), where=squares > 0)


def leave_one_out(y: Floats, scores: Floats, group: NDArray[np.intp]) -> Floats:
    """AUROC of each model and task without each group, (G, M, T), NaN where that lacks a class.

    y: (N, T) of 1, 0 and NaN, scores: (M, N, T), group: (N,) numbers from 0 to G - 1. Holds as many numbers as
    `scores` does, and less where groups have several rows.
    """
    groups = int(group.max()) + 1 if len(group) else 0
    out = np.full((groups, len(scores), y.shape[1]), np.nan)
    for t in range(y.shape[1]):
        known = ~np.isnan(y[:, t])
        out[:, :, t] = _without(y[known, t] == 1, scores[:, known, t], group[known], groups)
    return out


def _without(positive: NDArray[np.bool_], scores: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """AUROC of each model without each group, for one task. positive, group: (n,), scores: (M, n) -> (G, M)."""
    n = len(positive)
    of_group = csr_array((np.ones(n), (group, np.arange(n))), shape=(groups, n))  # (G, n)
    rows, positives = of_group.sum(axis=1), of_group @ positive.astype(float)  # (G,) each
    negatives = rows - positives
    ranks = rankdata(scores, axis=1)  # (M, n) midranks
    beaten = np.empty_like(ranks)  # negatives that a positive beats, positives that beat a negative; ties count half
    beaten[:, positive] = ranks[:, positive] - rankdata(scores[:, positive], axis=1)
    beaten[:, ~positive] = positive.sum() - (ranks[:, ~positive] - rankdata(scores[:, ~positive], axis=1))
    wins = beaten[:, positive].sum(axis=1) - of_group @ beaten.T  # (G, M)
    if (rows > 1).any():  # pairs within a group were taken away twice
        earlier = np.cumsum(rows) - rows  # (G,) rows of the groups before
        within = rankdata(group * (n + 1.0) + ranks, axis=1) - earlier[group]  # (M, n) midranks among the group's own
        wins += of_group @ np.where(positive, within, 0.0).T - (positives * (positives + 1) / 2)[:, None]
    pairs = (positive.sum() - positives) * ((~positive).sum() - negatives)  # (G,)
    pairs = np.broadcast_to(pairs[:, None], wins.shape)
    return np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)


def _quantile(ordered: Floats, n: NDArray[np.int64], share: Floats) -> Floats:
    """The quantile `share` (...) of each column's first n (...) values, interpolated as numpy does."""
    undefined = np.isnan(share) | (n == 0)
    place = np.where(undefined, 0.0, share) * np.maximum(n - 1, 0)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, np.maximum(n - 1, 0))
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (lower, upper))
    return np.where(undefined, np.nan, low + (high - low) * (place - lower))
