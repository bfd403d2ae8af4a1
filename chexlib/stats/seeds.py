"""Seeds drawn anew: how far another training of the same networks would have moved their areas.

A network that is trained S times departs, seed by seed, from its mean over seeds. These residuals, over all networks of
one pool (a study's networks from the same init, say), are a sample of what a seed does, also for networks that were
trained once. A replicate draws as many residuals for each network as it has seeds, and adds their mean to the
network's areas; all tasks of a seed move together. Two corrections keep so few seeds from giving too narrow an interval
(Hesterberg, The American Statistician 2015): residuals are scaled by sqrt(S / (S - 1)), as they lie about their own
mean, and a spread that is known from few seeds is widened by Student's quantile over the normal one.
A pool assumes that its networks are about equally steady; where one is twice as unsteady as the rest, its own interval
is too narrow. Where seeds are all that varies nothing needs to be drawn: `seed_contrast` and `jackknife` are Student's.
`tests/stats/test_seeds.py` measures the coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr, stdtrit

from chexlib.stats.auc import Floats
from chexlib.stats.bootstrap import Difference
from chexlib.stats.intervals import TAILS


@dataclass(frozen=True)
class SeedSpread:
    """What a seed does to T areas: `residuals` (K, T) of standard scale, with `freedom` degrees of freedom."""

    residuals: Floats
    freedom: int

    @property
    def widening(self) -> float:
        """Student's 97.5 % quantile over the normal one: how much wider an interval is for so few seeds."""
        return float(stdtrit(self.freedom, TAILS[1]) / ndtri(TAILS[1]))

    def sd(self, tasks: Sequence[int]) -> float:
        """Standard deviation of one training's mean area over these tasks."""
        means = self.residuals[:, list(tasks)].mean(axis=1)
        return float(np.sqrt((means**2).mean()))


def seed_spreads(areas: Sequence[ArrayLike], pools: Sequence[Hashable]) -> dict[Hashable, SeedSpread | None]:
    """The spread of each pool of networks; areas: for each of M networks (S, T), a row a seed.

    A pool in which every network has one seed takes the residuals of all others; None where no network has several.
    """
    areas = [np.asarray(one, dtype=float) for one in areas]
    several = [(pool, one) for pool, one in zip(pools, areas, strict=True) if len(one) > 1]
    found = {}
    for pool in dict.fromkeys(pools):
        its = [one for other, one in several if other == pool] or [one for _, one in several]
        residuals = [(one - one.mean(axis=0)) * np.sqrt(len(one) / (len(one) - 1)) for one in its]
        found[pool] = SeedSpread(np.concatenate(residuals), sum(len(one) - 1 for one in its)) if its else None
    return found


def seed_shifts(seeds: Sequence[int], spreads: Sequence[SeedSpread], n_boot: int = 1000, seed: int = 0) -> Floats:
    """What drawing seeds adds to the areas of M networks in each replicate: (R, M, T).

    seeds: (M,) how often each was trained. Each network has a generator of its own, spawned from `seed`.
    """
    shifts = []
    for rng, s, spread in zip(np.random.default_rng(seed).spawn(len(seeds)), seeds, spreads, strict=True):
        drawn = rng.integers(len(spread.residuals), size=(n_boot, s))
        shifts.append(spread.widening * spread.residuals[drawn].mean(axis=1))  # (R, T)
    return np.stack(shifts, axis=1)


def seed_contrast(values: Sequence[ArrayLike], pools: Sequence[Hashable], weights: Sequence[float]) -> Difference:
    """A weighted sum of networks' means over seeds, such as one less another, with Student's interval and p.

    values: for each of M networks (S,), a number a seed. pools: (M,) as for `seed_spreads`; networks of weight 0 add to
    what is known of a pool's spread. weights: (M,). Pools need not be equally steady: the degrees of freedom are
    Satterthwaite's (Biometrics Bulletin 1946), as in Welch's test. Interval and p are NaN where no network has several
    seeds.
    """
    values = [np.asarray(one, dtype=float) for one in values]
    value = float(sum(weight * one.mean() for weight, one in zip(weights, values, strict=True)))
    spreads = seed_spreads([one[:, None] for one in values], pools)
    squares = Counter()  # of the weights of means, by pool
    for pool, weight, one in zip(pools, weights, values, strict=True):
        squares[pool] += weight**2 / len(one)
    if None in spreads.values():
        return Difference(value, np.nan, np.nan, np.nan)
    parts = np.array([times * spreads[pool].sd([0]) ** 2 for pool, times in squares.items()])  # of the variance
    freedom = np.array([spreads[pool].freedom for pool in squares])
    if not parts.any():
        return _student(value, 0.0, freedom.sum())
    return _student(value, np.sqrt(parts.sum()), parts.sum() ** 2 / (parts**2 / freedom).sum())


def jackknife(value: float, without: ArrayLike) -> Difference:
    """Any statistic of data that fall into K parts (seeds, groups of images), with its interval and p over these.

    without: (K,) the same statistic without all that a part has a share in; of seeds it may compare pairs, which share
    seeds. The error is Tukey's (Efron and Stein, Annals of Statistics 1981), with K - 1 degrees of freedom. Interval
    and p are NaN where one of `without` is. ValueError for fewer than two parts.
    """
    without = np.asarray(without, dtype=float)
    if (parts := len(without)) < 2:
        raise ValueError(f"without {without.shape}: at least two seeds, or other parts, are needed")
    error = np.sqrt((parts - 1) / parts * ((without - without.mean()) ** 2).sum())
    return _student(float(value), error, parts - 1)


def _student(value: float, error: float, freedom: float) -> Difference:
    """The interval of a value with a standard error known with so many degrees of freedom, and the p of its being 0."""
    reach = float(stdtrit(freedom, TAILS[1]) * error)
    p = 2 * stdtr(freedom, -abs(value) / error) if error != 0 else float(value == 0)
    return Difference(value, value - reach, value + reach, float(p))
