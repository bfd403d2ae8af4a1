"""Intervals, and what they say: percentile, BCa and Wilson's; the one verdict; equivalence; power; adjusted p.

That two models do not differ significantly says nothing of their being alike: that takes an interval inside a margin
(`verdict`, `equivalence`). Simulated power is left out: areas of hundreds of rows are near enough to normal.
"""

from math import isnan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from chexlib.stats.auc import Floats

FEW = 25
"""Rows of the rarer class below which percentile intervals of its areas cover too seldom (0.876 at 10 positives): BCa
intervals are used there, and no verdict is given."""

TELLING = 10
"""Groups with a hit, and with a miss, from which a design effect is told: with fewer, intervals that believe it cover a
share 0.88 of the time where they should 0.95."""

TAILS = (1 - 0.95) / 2, (1 + 0.95) / 2
"""Every interval is of 95 %."""


def enough(y: ArrayLike) -> NDArray[np.bool_]:
    """Which tasks have at least FEW rows of each class: y (N, T), 1, 0 or NaN -> (T,)."""
    y = np.asarray(y)
    return np.minimum((y == 1).sum(axis=0), (y == 0).sum(axis=0)) >= FEW


def verdict(low: float, high: float, margin: float) -> str:
    """What an interval of a difference, `low` to `high`, says of it: "same", "higher", "lower" or "open".

    "same" where it lies inside `margin` to each side of 0 (a difference that small does not matter, whatever its sign),
    else "higher" or "lower" where it lies on one side of 0. Otherwise, and where an end is NaN, it is open.
    """
    if isnan(low) or isnan(high):
        return "open"
    if -margin < low and high < margin:
        return "same"
    if low > 0:
        return "higher"
    return "lower" if high < 0 else "open"


def percentile_interval(replicates: ArrayLike) -> tuple[Floats, Floats]:
    """Percentile interval along the first axis, NaN replicates left out: (R, ...) -> low (...), high (...)."""
    replicates = np.asarray(replicates, dtype=float)
    usable = ~np.isnan(replicates).all(axis=0)  # an empty column has no interval
    quantile = np.nanquantile if np.isnan(replicates).any() else np.quantile
    low, high = quantile(np.where(usable, replicates, 0.0), TAILS, axis=0)
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def bca_interval(value: ArrayLike, replicates: ArrayLike, drawn: ArrayLike | None) -> tuple[Floats, Floats]:
    """Bias-corrected and accelerated interval of each statistic: low (...), high (...).

    Percentiles whose levels are shifted by z0, from the share of replicates below the estimate, and by the acceleration
    (Efron, Journal of the American Statistical Association 1987). value: (...), replicates: (R, ...), NaN ones left
    out, drawn: (R, G) how often each drew each of G groups; None where that is kept back: the bias alone is corrected.
    NaN where all replicates lie on one side of the value, as the correction is then infinite, and where there are none.
    Raises ValueError for shapes that differ.
    """
    value, replicates = np.asarray(value, dtype=float), np.asarray(replicates, dtype=float)
    drawn = np.zeros((len(replicates), 1)) if drawn is None else np.asarray(drawn)
    if value.shape != replicates.shape[1:] or drawn.ndim != 2 or len(drawn) != len(replicates):
        shapes = f"value {value.shape}, replicates {replicates.shape}, drawn {drawn.shape}"
        raise ValueError(f"{shapes}: (...), (R, ...) and (R, G) are needed")
    n = (~np.isnan(replicates)).sum(axis=0)
    ordered = np.sort(replicates, axis=0)  # NaN last
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where undefined, as promised
        share = ((replicates < value).sum(axis=0) + (replicates <= value).sum(axis=0)) / (2 * n)
        z0, skew = ndtri(share), acceleration(replicates, drawn)
        low, high = (_quantile(ordered, n, ndtr(z0 + (z0 + z) / (1 - skew * (z0 + z)))) for z in ndtri(TAILS))
    return low, high


def acceleration(replicates: Floats, drawn: NDArray) -> Floats:
    """Efron's a of each statistic, (R, ...) and (R, G) -> (...): a sixth of the skewness that G groups give it.

    A group's influence is the covariance of the statistic with how often the group is drawn (Efron, Journal of the
    American Statistical Association 2014, sec. 3), so that no further fits are needed, and anything that is computed in
    every replicate has one. What else is drawn (seeds, architectures) adds to the variance, and so lessens a.
    """
    flat = replicates.reshape(len(replicates), -1)  # (R, K)
    known = ~np.isnan(flat)
    n = np.maximum(known.sum(axis=0), 1)
    apart = np.where(known, flat - np.where(known, flat, 0.0).sum(axis=0) / n, 0.0)
    influence = apart.T @ drawn.astype(float) / n[:, None]  # (K, G)
    spread = np.sqrt((apart**2).sum(axis=0) / n)
    spread[spread < 1e-12] = 0.0  # statistics that differ by rounding alone
    cubes = (influence**3).sum(axis=1)
    return np.divide(cubes, 6 * spread**3, out=np.zeros(len(cubes)), where=spread > 0).reshape(replicates.shape[1:])


def _quantile(ordered: Floats, n: NDArray[np.int64], share: Floats) -> Floats:
    """The quantile `share` (...) of each column's first n (...) values, interpolated as numpy does."""
    undefined = np.isnan(share) | (n == 0)
    place = np.where(undefined, 0.0, share) * np.maximum(n - 1, 0)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, np.maximum(n - 1, 0))
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (lower, upper))
    return np.where(undefined, np.nan, low + (high - low) * (place - lower))


def wilson(hits: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's score interval (Journal of the American Statistical Association 1927) of hits / n: low, high.

    Takes numbers or arrays that broadcast; NaN where n is 0. It stays in [0, 1], and has a width at 0 and n hits: of
    none in n the upper end is near the rule of three, 3 / n (Hanley and Lippman-Hand, JAMA 1983), which is one-sided.
    It treats rows as independent, so where patients have several, n is their `effective_size`.
    """
    from statsmodels.stats.proportion import proportion_confint

    hits, n = np.broadcast_arrays(np.asarray(hits, dtype=float), np.asarray(n, dtype=float))
    return proportion_confint(hits, np.where(n > 0, n, np.nan), alpha=1 - 0.95, method="wilson")


def effective_size(hits: ArrayLike, n: ArrayLike, groups: ArrayLike) -> float:
    """How many independent cases would tell a share as well as the cases of some groups do.

    hits: (N,) how many of a row's n (N,) cases are hits. groups: (N,) whose rows they are: patients. The number of
    cases over the design effect (Kish, Survey Sampling 1965), which is the variance of the share over groups by that
    over independent cases, never below 1. Fewer than TELLING groups with a hit, or with a miss, do not tell it: then a
    group counts as one case at most, so that none of G patients is none of G. Raises ValueError for shapes that differ,
    and for hits outside 0 to n. `tests/stats/test_intervals.py` measures the coverage of Wilson's interval with it.
    """
    hits, n, groups = np.asarray(hits, dtype=float), np.asarray(n, dtype=float), np.asarray(groups)
    if not hits.shape == n.shape == groups.shape or hits.ndim != 1:
        raise ValueError(f"hits {hits.shape}, n {n.shape}, groups {groups.shape}: all three must be (N,)")
    if ((hits < 0) | (hits > n)).any():
        raise ValueError("hits lie outside 0 to n")
    group = np.unique(groups[n > 0], return_inverse=True)[1]
    hits, n = (np.bincount(group, of[n > 0]) for of in (hits, n))  # (G,)
    total, size = n.sum(), len(n)
    if size < 2 or hits.sum() in (0, total):
        return float(size)
    share = hits.sum() / total
    variance = size / (size - 1) * ((hits - share * n) ** 2).sum() / total**2
    effect = max(1.0, variance / (share * (1 - share) / total))
    told = min((hits > 0).sum(), (hits < n).sum()) >= TELLING
    return float(total / effect if told else min(size, total / effect))


def equivalence(replicates: ArrayLike, margin: float) -> float:
    """p of a difference lying within `margin` of 0, from its bootstrap replicates (R,); NaN ones are left out.

    The larger p of two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987), each of
    which is (1 + replicates at or beyond the margin) / (R + 1) (Davison and Hinkley 1997, sec. 4.2). Raises ValueError
    for a margin that is not positive.
    """
    if not 0 < margin < np.inf:
        raise ValueError(f"margin={margin}: it must be above 0, and finite")
    d = np.asarray(replicates, dtype=float)
    if d.ndim != 1:
        raise ValueError(f"replicates {d.shape}: those of one difference are needed, (R,)")
    return float((1 + max((d <= -margin).sum(), (d >= margin).sum())) / (1 + (~np.isnan(d)).sum()))


def hanley_mcneil(auc: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> Floats:
    """Standard error of an AUROC over so many rows (Hanley and McNeil, Radiology 1982, eq. 1 and 2).

    Takes numbers or arrays that broadcast. Their Q1 and Q2 are those of exponentially distributed scores, which they
    found to differ little from others. That of a difference of two areas of equal precision which correlate by r is
    sqrt(2 (1 - r)) times it. Raises ValueError for areas outside [0, 1] and fewer than one row of a class.
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
    0 < level < power < 1, and for an error that is not above 0.
    """
    if not 0 < level < power < 1:
        raise ValueError(f"level={level}, power={power}: 0 < level < power < 1 is needed")
    standard_error = np.asarray(standard_error, dtype=float)
    if not (standard_error > 0).all():
        raise ValueError("standard_error must be above 0")
    return (ndtri(1 - level / 2) + ndtri(power)) * standard_error


def holm(p: ArrayLike) -> Floats:
    """p values adjusted so that the chance of a single false rejection is bounded, whatever the tests have in common.

    Holm (Scandinavian Journal of Statistics 1979). Of the shape of `p`; a NaN stays one and is not counted as a test.
    Raises ValueError for values outside [0, 1].
    """
    return _adjusted(p, "holm")


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """p values adjusted so that the expected share of false ones among the rejections is bounded.

    Benjamini and Hochberg (Journal of the Royal Statistical Society B 1995), for tests that are independent or
    positively dependent. NaN and errors as for `holm`.
    """
    return _adjusted(p, "fdr_bh")


def _adjusted(p: ArrayLike, method: str) -> Floats:
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p, dtype=float)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError("p holds values outside [0, 1]")
    adjusted = np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = multipletests(p[known], method=method)[1]
    return adjusted
