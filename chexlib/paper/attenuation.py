"""How weak a relationship some architectures can show: what Spearman's rho would come out, were the true rho given.

A simulation. The true AUCs of n architectures and some fact of theirs (ImageNet accuracy, size) are drawn from a
bivariate normal distribution whose Spearman correlation is the true rho. What is seen is the true AUC plus noise: a
replicate's departure from the mean, drawn from the study's own, and the departure of its trainings. Noise between
architectures weakens rho (attenuation); that there are only n of them widens what it can come out as.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import rankdata

from chexlib.paper.measures import FEWEST, rows
from chexlib.paper.power import POWER, Pairs, one_training, pairs, paper_errors, paper_pairs

TRUE = np.linspace(-1, 1, 41)
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Attenuation:
    """What n architectures show of each of G true values of Spearman's rho.

    true: (G,) ascending. mean, low, high: (G,) of the rho that comes out, 95 % between low and high. power: (G,) the
    chance that it has p < 0.05. pairs: the noise and the spread that went in; None for no noise.
    """

    true: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    power: np.ndarray
    n: int
    pairs: Pairs | None = None

    @property
    def least(self) -> float:
        """The weakest true rho that comes out with p < 0.05 with POWER; NaN where not even 1 does."""
        up = self.true >= 0
        true, power = self.true[up], np.maximum.accumulate(self.power[up])
        return float(np.interp(POWER, power, true)) if power[-1] >= POWER else np.nan

    def compatible(self, rho: float) -> tuple[float, float]:
        """The true values whose 95 % hold the rho that came out, if AUCs are truly spread as `pairs` has it."""
        low, high = np.maximum.accumulate(self.low), np.maximum.accumulate(self.high)
        return float(np.interp(rho, high, self.true)), float(np.interp(rho, low, self.true))


def of_study(results: Any, init: str, seed: int = 0) -> Attenuation | None:
    """For the paper's architectures that a study trained whole from an init; None with fewer than FEWEST."""
    models = rows(results, init, in_paper=True).dropna(subset=["auc"])
    found = pairs(results, init, in_paper=True)
    if len(models) < FEWEST or found is None:
        return None
    replicates = results.replicates[:, models["row"]]
    noise = replicates[~np.isnan(replicates).any(axis=1)]
    noise = noise - noise.mean(axis=0)  # (R, n)
    of_seed = one_training(results, init)
    if not np.isnan(of_seed):
        rng = np.random.default_rng(seed)
        noise = noise + rng.normal(size=noise.shape) * of_seed / np.sqrt(models["seeds"].to_numpy(float))
    return simulate(noise, found, seed)


@cache
def of_paper(r: float, seed: int = 0) -> Attenuation:
    """For Table 1's 16 models, if the errors of any two correlate by r over patients."""
    error, found = paper_errors(), paper_pairs(r)
    own = np.random.default_rng(seed).normal(size=(DRAWS, len(error))) * error * np.sqrt(1 - r)
    return simulate(own, found, seed)  # what all share moves no rank


@cache
def noiseless(n: int, seed: int = 0) -> Attenuation:
    """For n architectures whose true AUCs are seen."""
    return simulate(np.zeros((1, n)), None, seed)


def simulate(noise: np.ndarray, found: Pairs | None, seed: int = 0) -> Attenuation:
    """noise: (R, n) departures of which one row is drawn at a time; `found` says how far true AUCs are spread."""
    rng = np.random.default_rng(seed)
    n = noise.shape[1]
    x, other = rng.normal(size=(2, DRAWS, n))
    drawn = noise[rng.integers(len(noise), size=DRAWS)]  # (DRAWS, n)
    sd = 1.0 if found is None else found.true_sd
    ranks = _centred(x)
    columns = []
    for rho in TRUE:
        pearson = 2 * np.sin(np.pi * rho / 6)  # of a normal pair with this Spearman correlation
        seen = sd * (pearson * x + np.sqrt(max(0.0, 1 - pearson**2)) * other) + drawn
        columns.append((ranks * _centred(seen)).sum(axis=1))
    came = np.array(columns) / ((n**3 - n) / 12)  # (G, DRAWS) no ties
    low, high = np.quantile(came, [0.025, 0.975], axis=1)
    return Attenuation(TRUE, came.mean(axis=1), low, high, (np.abs(came) > critical(n)).mean(axis=1), n, found)


def critical(n: int) -> float:
    """The |rho| of n pairs beyond which p < 0.05, two-sided, by the t distribution."""
    t = stdtrit(n - 2, 0.975)
    return float(t / np.sqrt(n - 2 + t**2))


def _centred(values: np.ndarray) -> np.ndarray:
    """Ranks in each row, less their mean."""
    return rankdata(values, axis=1) - (values.shape[1] + 1) / 2
