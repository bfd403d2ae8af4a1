"""Spearman's rank correlation, as the paper uses it between architectures, in replicates, and what rounding allows.

With 16 architectures a rank correlation is uncertain for two reasons: the patients who happened to be in the test set,
and the architectures that happened to be tried (`chexlib.stats.families` draws them anew). Over patients it is biased
toward 0, and its interval with it: the areas at hand are the true ones and noise, those of a replicate have the noise
twice, and noise hides order (attenuation; Spearman, The American Journal of Psychology 1904; measured in
`tests/stats/test_correlation.py`). So it says how far the order at hand depends on who was tested. Corrections are left
out: they need the noise's size, and leave [-1, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr
from scipy.stats import rankdata, spearmanr

from chexlib.stats.auc import Floats

LARGEST = 16  # equal prints that `spearman_rounded` takes: 65,536 subsets, about a second


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
    x, y = _pairs(x, y)
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Spearman(np.nan, np.nan, n)
    rho, p = spearmanr(x, y)
    return Spearman(float(rho), float(p), n)


def spearman_p(rho: ArrayLike, n: int) -> Floats:
    """Two-sided p of rank correlations over n pairs by the t distribution, as `spearman` has it; 0 for 1 and -1."""
    r, freedom = np.abs(np.asarray(rho, dtype=float)), n - 2
    with np.errstate(divide="ignore"):
        return 2 * stdtr(freedom, -r * np.sqrt(freedom / ((1 - r) * (1 + r))))


def rank_correlations(x: Floats, y: Floats, times: ArrayLike | None = None) -> Floats:
    """Spearman's rho of each row, NaN where undefined. x (R, M) or (M,), y (R, M) -> (R,).

    times: (R, M) how often each pair counts, where pairs were drawn anew (`draw_families`); None: each once. Over
    patients alone it is biased toward 0 (above).
    """
    y = np.asarray(y)
    if y.shape[1] < 3:
        return np.full(len(y), np.nan)
    x, y = (_centred_ranks(values, times) for values in (np.broadcast_to(x, y.shape), y))
    weights = 1 if times is None else np.asarray(times)
    scale = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    return np.divide((weights * x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)


def _centred_ranks(values: Floats, times: ArrayLike | None) -> Floats:
    """The midranks in each row less their mean: half the number of values below less half the number above."""
    if times is None:
        return rankdata(values, axis=1) - (values.shape[1] + 1) / 2
    above = np.sign(values[:, :, None] - values[:, None, :])  # (R, M, M)
    return np.einsum("rij,rj->ri", above, np.asarray(times, dtype=float)) / 2


def spearman_rounded(x: ArrayLike, y: ArrayLike, digits: int) -> Floats:
    """Every value of Spearman's rho, ascending, that is consistent with y as printed.

    x: (M,) exact, its ties are ties. y: (M,) printed with `digits` decimals: values printed alike are taken to be
    different behind it, and may have been in any order, so that a rho computed from the prints need not be among those
    returned. With y a permutation of the ranks, rho depends on the sum of products of ranks alone, which is a sum over
    the groups of equal print. What a group can reach is found over its subsets, and what all can by adding every sum to
    every other: no product over groups of numbers of permutations. Pairs with a NaN are left out; empty with fewer than
    three. Raises ValueError where y has more digits than said, and where more than LARGEST values are printed alike.
    """
    x, y = _pairs(x, y)
    n, printed = len(x), np.round(y * 10.0**digits)
    if (longer := np.abs(y * 10.0**digits - printed) > 1e-6).any():
        raise ValueError(f"y holds {y[longer][0]:g}: more than {digits} decimals")
    if n < 3 or np.ptp(x) == 0:
        return np.empty(0)
    ranks = np.round(2 * rankdata(x)).astype(int)  # twice the midranks: whole numbers
    reached, least, done = 1, 0, 0  # sums so far, each less `least`, as bits; how many ranks of y are given out
    for value in np.unique(printed):  # ascending
        group = ranks[printed == value]
        size, smallest = len(group), int(group.min())
        if size > LARGEST:
            raise ValueError(f"{size} values are printed as {value / 10.0**digits:g}: at most {LARGEST} can be")
        of_group, before, reached = _members(_sums((group - smallest).tolist())), reached, 0
        for one in of_group:
            reached |= before << one
        least += done * int(group.sum()) + smallest * size * (size + 1) // 2
        done += size
    centred = rankdata(x) - (n + 1) / 2
    scale = np.sqrt((centred**2).sum() * n * (n**2 - 1) / 12)
    return np.clip(((least + np.array(_members(reached))) / 2 - n * (n + 1) ** 2 / 4) / scale, -1, 1)


def _sums(ranks: list[int]) -> int:
    """The set of sums of `ranks` times the numbers 1, 2, ... in any order, as the bits of one number.

    So adding to all is a shift, and joining two sets an "or".
    """
    reached = {0: 1}  # which ranks are placed (bits) -> the sums that doing so can give
    for number in range(1, len(ranks) + 1):
        further: dict[int, int] = {}
        for placed, sums in reached.items():
            for i, rank in enumerate(ranks):
                if not placed >> i & 1:
                    key = placed | 1 << i
                    further[key] = further.get(key, 0) | sums << (rank * number)
        reached = further
    return reached[(1 << len(ranks)) - 1]


def _members(bits: int) -> list[int]:
    return [place for place, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _pairs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """x and y, (M,), without the pairs that have a NaN."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x {x.shape} and y {y.shape}: both must be (M,)")
    pair = ~(np.isnan(x) | np.isnan(y))
    return x[pair], y[pair]
