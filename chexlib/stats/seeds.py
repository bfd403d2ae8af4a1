"""Seeds drawn anew: how far another training of the same networks would have moved their areas.

A network that is trained S times departs, seed by seed, from its mean over seeds. These residuals, over all networks of
one pool (a study's networks from the same init, say), are a sample of what a seed does, also for networks that were
trained once. A replicate draws as many residuals for each network as it has seeds, and adds their mean to the
network's areas; all tasks of a seed move together. Two corrections keep so few seeds from giving too narrow an interval
(Hesterberg, The American Statistician 2015): residuals are scaled by sqrt(S / (S - 1)), as they lie about their own
mean, and a spread that is known from few seeds is widened by Student's quantile over the normal one.
A pool assumes that its networks are about equally steady; where one is twice as unsteady as the rest, its own interval
is too narrow. `tests/stats/test_seeds.py` measures the coverage.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from chexlib.stats.auc import Floats
from chexlib.stats.intervals import percentile_interval


@dataclass(frozen=True)
class SeedSpread:
    """What a seed does to T areas: `residuals` (K, T) of standard scale, with `freedom` degrees of freedom."""

    residuals: Floats
    freedom: int

    @property
    def widening(self) -> float:
        """Student's 97.5 % quantile over the normal one: how much wider an interval is for so few seeds."""
        return float(stdtrit(self.freedom, 0.975) / ndtri(0.975))

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


@dataclass(frozen=True)
class SeedDraws:
    """R draws of the seeds of M models; all is NaN for a model with a single seed, of whose spread nothing is known.

    deviations: (R, M) the mean of the drawn seeds minus the mean of the seeds, times sqrt(S / (S - 1)).
    variances: (M,) of a mean over seeds. freedom: (M,) S - 1.
    """

    deviations: Floats
    variances: Floats
    freedom: Floats

    def shifts(self, weights: ArrayLike, level: float = 0.95) -> Floats:
        """What drawing seeds adds to each model's replicates, (R, M), for a statistic that weighs models so.

        weights: (M,), 1 for a single model, 1 and -1 for a difference; only their ratios matter. A model of weight 0
        shifts by 0, one with a single seed by NaN. `level` is that of the interval to be taken.
        """
        weights = np.asarray(weights, dtype=float)
        used = weights != 0
        parts = weights[used] ** 2 * self.variances[used]  # of the statistic's variance
        wide = 1.0
        if parts.sum() > 0:  # equal seeds need no widening
            freedom = parts.sum() ** 2 / (parts**2 / self.freedom[used]).sum()
            wide = stdtrit(freedom, (1 + level) / 2) / ndtri((1 + level) / 2)
        return np.where(used, wide * self.deviations, 0.0)


def seeds_interval(patients: ArrayLike, both: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval of replicates `both` (R, ...) that drew patients and seeds: low (...), high (...), or NaN.

    It never ends inside that of the replicates `patients`, as chance in a finite number of draws now and then has it.
    """
    (low, high), (low_both, high_both) = percentile_interval(patients, level), percentile_interval(both, level)
    return np.minimum(low, low_both), np.maximum(high, high_both)  # NaN where either is


def draw_seeds(values: Sequence[ArrayLike], n_boot: int = 1000, seed: int = 0) -> SeedDraws:
    """Draws the seeds of each model `n_boot` times; `values` holds, for each of M models, its S seeds' results (S,).

    Each model has a generator of its own, spawned from `seed`: a model that is added after the others changes none.
    """
    deviations, variances = np.full((n_boot, len(values)), np.nan), np.full(len(values), np.nan)
    for m, rng in enumerate(np.random.default_rng(seed).spawn(len(values))):
        x = np.asarray(values[m], dtype=float)
        s = len(x)
        if s > 1:
            drawn = x[rng.integers(s, size=(n_boot, s))].mean(axis=1)  # (R,)
            deviations[:, m] = (drawn - x.mean()) * np.sqrt(s / (s - 1))
            variances[m] = x.var(ddof=1) / s
    freedom = np.array([len(x) - 1 for x in values], dtype=float)
    return SeedDraws(deviations, variances, np.where(freedom > 0, freedom, np.nan))
