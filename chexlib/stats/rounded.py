"""What a rank correlation can have been before one side was printed with few digits.

Values that are printed alike may have been in any order, values that are printed apart cannot have changed places: so
of n values only those in groups of equal print move, and Spearman's rho takes finitely many values, all found here.
With y a permutation of the ranks, rho depends on the sum of products of ranks alone, which is a sum over the groups.
The sums that a group can reach are collected by dynamic programming over its subsets, and those of all groups by adding
every one to every other (their Minkowski sum): no product over groups of numbers of permutations. Sets of whole numbers
are kept as the bits of one number, so that adding to all is a shift and joining two sets an "or".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from chexlib.stats.auc import Floats
from chexlib.stats.correlation import spearman_p

LARGEST = 16  # equal prints: 65,536 subsets, about a second


@dataclass(frozen=True)
class Rounded:
    """All values that Spearman's `rho` can have had, ascending, over `n` pairs; empty where there is none.

    `low` and `high` are the ends. `p` (t distribution) belongs to each, `p_low` and `p_high` are the least and largest.
    """

    rho: Floats
    n: int

    @property
    def low(self) -> float:
        return float(self.rho[0]) if len(self.rho) else np.nan

    @property
    def high(self) -> float:
        return float(self.rho[-1]) if len(self.rho) else np.nan

    @property
    def p(self) -> Floats:
        """Two-sided p of each rho."""
        return spearman_p(self.rho, self.n)

    @property
    def p_low(self) -> float:
        return float(self.p.min()) if len(self.rho) else np.nan

    @property
    def p_high(self) -> float:
        return float(self.p.max()) if len(self.rho) else np.nan


def spearman_rounded(x: ArrayLike, y: ArrayLike, digits: int) -> Rounded:
    """Every value of Spearman's rho that is consistent with y as printed.

    x: (n,) exact, its ties are ties. y: (n,) printed with `digits` decimals; behind equal prints are taken to be
    different values, so that a rho computed from the prints, with their ties, need not be among those returned.
    Pairs with a NaN are left out. Raises ValueError where y has more digits than said, and where more than LARGEST
    values are printed alike.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x {x.shape} and y {y.shape}: both must be (n,)")
    pair = ~(np.isnan(x) | np.isnan(y))
    x, y, n = x[pair], y[pair], int(pair.sum())
    printed = np.round(y * 10.0**digits)
    if (longer := np.abs(y * 10.0**digits - printed) > 1e-6).any():
        raise ValueError(f"y holds {y[longer][0]:g}: more than {digits} decimals")
    if n < 3 or np.ptp(x) == 0:
        return Rounded(np.empty(0), n)
    ranks = np.round(2 * rankdata(x)).astype(int)  # twice the midranks: whole numbers
    reached, least, done = 1, 0, 0  # the sums, each less `least`: the set {0}; how many ranks of y are given out
    for value in np.unique(printed):  # ascending
        group = ranks[printed == value]
        if len(group) > LARGEST:
            raise ValueError(f"{len(group)} values are printed as {value / 10.0**digits:g}: at most {LARGEST} can be")
        size, smallest = len(group), int(group.min())
        reached = _sum_of_sets(reached, _sums((group - smallest).tolist()))
        least += done * int(group.sum()) + smallest * size * (size + 1) // 2  # whatever the order within the group
        done += size
    sums = (least + np.array(_members(reached))) / 2  # of products of ranks
    centred = rankdata(x) - (n + 1) / 2
    scale = np.sqrt((centred**2).sum() * n * (n**2 - 1) / 12)
    return Rounded(np.clip((sums - n * (n + 1) ** 2 / 4) / scale, -1, 1), n)


def _sums(ranks: list[int]) -> int:
    """The set of sums of `ranks` times the numbers 1, 2, ... in any order."""
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


def _sum_of_sets(a: int, b: int) -> int:
    """All sums of one member of each set."""
    together = 0
    for member in _members(b):
        together |= a << member
    return together


def _members(bits: int) -> list[int]:
    return [place for place, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]
