"""What of the variance between networks each factor of a full factorial makes up: architecture, init, data, recipe ...

Every combination of the factors' levels, a cell, is trained from the same number of seeds. Levels are fixed: shares
speak of these levels, weighted equally, and of no others. A cell's true AUC is then a sum of main effects and
interactions, each of mean zero, and the variance of one training in a cell drawn at random is a sum too: of the mean
square of each effect, and of the variance of seeds. A share is one of these terms over their sum.

Squares of estimated effects are too large, as seeds and patients differ (so is eta squared). The variance within cells
takes the seeds' part from each, which makes shares Hays' omega squared (Statistics 1963; mean squares and what is
expected of them: Searle, Casella and McCulloch, Variance Components 1992), and bootstrap replicates take the patients'.
What is left is unbiased, and below zero where no effect is seen beyond noise; a share, a quotient, is nearly unbiased.

Intervals draw both anew. A replicate has other patients, by the bootstrap, and other seeds: normal ones, whose variance
is that within cells times its degrees of freedom over chi-squared (a generalized interval; Weerahandi, Journal of the
American Statistical Association 1993). Freedom is Satterthwaite's (Biometrics Bulletin 1946), as small data can make
seeds less steady. Squares of replicates hold the noise twice, so that twice as much is taken from them, as in
`chexlib.stats.families.less_noise`. `tests/stats/test_factorial.py` measures bias, coverage and wrong decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexlib.errors import UserError
from chexlib.stats.auc import Floats
from chexlib.stats.bootstrap import Difference, paired_difference
from chexlib.stats.intervals import percentile_interval

Term = tuple[int, ...]  # places of the factors whose effect or interaction it is

SEEDS, HIGHER, REST = "seeds", "higher interactions", "interactions and seeds"


@dataclass(frozen=True)
class VarianceShares:
    """Shares of K terms, which add to 1: main effects, interactions ("arch × init"), seeds.

    value: (K,), replicates: (R, K), both by term, NaN where `missing` says why. sd: the standard deviation that is
    shared out, in units of the values.
    """

    value: pd.Series
    replicates: pd.DataFrame
    sd: float
    missing: dict[str, str]

    @property
    def table(self) -> pd.DataFrame:
        """A row a term: share, low, high (95 %), missing (why it has none, else empty)."""
        low, high = percentile_interval(self.replicates)
        why = [self.missing.get(term, "") for term in self.value.index]
        return pd.DataFrame({"share": self.value, "low": low, "high": high, "missing": why})

    def more(self, a: str, b: str) -> tuple[Difference, str]:
        """The share of a less that of b, and which matters more: a, b, or "undecided" where the interval holds 0.

        Raises ValueError for a term that has no share.
        """
        told = self.value.dropna().index
        if lacking := [term for term in (a, b) if term not in told]:
            raise ValueError(f"{', '.join(lacking)} has no share: {', '.join(told) or 'no term'} has")
        found = paired_difference(self.value[a] - self.value[b], self.replicates[a] - self.replicates[b])
        return found, a if found.low > 0 else b if found.high < 0 else "undecided"


def variance_shares(
    values: ArrayLike, factors: pd.DataFrame, replicates: ArrayLike, order: int = 2, seed: int = 0
) -> VarianceShares:
    """Shares of the factors in the variance between the networks of a balanced full factorial.

    values: (N,) mean AUC of each run, on the same test patients. factors: a row a run, a column a factor; runs of one
    cell are its seeds, taken to be independent. replicates: (R, N) the values with patients drawn anew, the same for
    all runs; rows with a NaN are left out. order: interactions of more factors than this are one term. seed: of the
    draws of seeds. Where a cell has one seed, seeds cannot be told from interactions: main effects are then held
    against both, and come out too small where there are interactions. Raises UserError where a cell lacks runs, or a
    factor has one level, and ValueError for shapes that differ, and for values that are NaN.
    """
    cell, shape = _cells(factors)
    y, drawn = np.asarray(values, dtype=float), np.asarray(replicates, dtype=float)
    if y.shape != cell.shape or drawn.shape[1:] != y.shape or np.isnan(y).any():
        raise ValueError(f"values {y.shape}, replicates {drawn.shape}, {len(cell)} runs: (N,), (R, N), N, no value NaN")
    in_cells = np.argsort(cell, kind="stable")
    y = y[in_cells].reshape(1, *shape, -1)  # (1, ..., S) an axis a factor
    drawn = drawn[~np.isnan(drawn).any(axis=1)][:, in_cells].reshape(-1, *y.shape[1:])  # (R, ..., S)
    terms = [term for k in range(len(shape)) for term in combinations(range(len(shape)), k + 1)]
    names = [" × ".join(factors.columns[place] for place in term) if len(term) <= order else HIGHER for term in terms]
    names, missing = [*names, SEEDS], {}
    if y.shape[-1] == 1:
        missing = dict.fromkeys(names[len(shape) :], "one seed a cell: interactions and seeds cannot be told apart")
        terms, names = terms[: len(shape)], [*names[: len(shape)], REST]
    value, draws = _components(y, drawn - drawn.mean(axis=0), terms, np.random.default_rng(seed))
    total = value.sum()
    if total <= np.finfo(float).eps:  # rounding alone
        missing |= dict.fromkeys(names, "the runs differ by no more than other patients would make them")
        value, draws = value * np.nan, draws * np.nan
    columns = list(dict.fromkeys([*names, *missing]))
    value, draws = (_shares(one, names).reindex(columns=columns) for one in (value, draws))
    return VarianceShares(value.iloc[0], draws, float(np.sqrt(max(total, 0))), missing)


def _shares(variances: Floats, names: Sequence[str]) -> pd.DataFrame:
    """Variances (R, K + 1) over their sums, those of one name together; NaN where a sum is not above zero."""
    total = variances.sum(axis=1, keepdims=True)
    shares = variances / np.where(total > 0, total, np.nan)
    return pd.DataFrame(shares.T, index=names).groupby(level=0, sort=False).sum(min_count=1).T


def _cells(factors: pd.DataFrame) -> tuple[NDArray[np.int64], list[int]]:
    """The cell of each run (N,), counted with the last factor fastest, and how many levels each factor has."""
    coded = {str(name): pd.factorize(levels.astype(str)) for name, levels in factors.items()}
    shape = [len(levels) for _, levels in coded.values()]
    for name, (_, levels) in coded.items():
        if len(levels) < 2:
            raise UserError(f"factor {name} has the one level {', '.join(levels)}: leave it out, or train another")
    cell = np.ravel_multi_index([codes for codes, _ in coded.values()], shape)
    runs = np.bincount(cell, minlength=int(np.prod(shape)))
    if (lacking := np.flatnonzero(runs < runs.max())).size:
        at = zip(coded.items(), np.unravel_index(lacking[0], shape), strict=True)
        which = ", ".join(f"{name}={levels[place]}" for (name, (_, levels)), place in at)
        more = f", and {len(lacking) - 1} more cells lack some" if len(lacking) > 1 else ""
        raise UserError(f"{which}: {runs[lacking[0]]} of {runs.max()} runs{more}: train every cell from as many seeds")
    return cell, shape


def _components(y: Floats, patients: Floats, terms: Sequence[Term], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The variance of each term, seeds (or all else, where there is one) last: (1, K + 1), and replicates (R, K + 1).

    y: (1, ..., S), patients: (R, ..., S) what drawing patients adds.
    """
    shape, cells, seeds = y.shape[1:-1], y[0, ..., 0].size, y.shape[-1]
    freedom = np.array([np.prod([shape[place] - 1 for place in term]) for term in terms])
    left = cells * (seeds - 1) if seeds > 1 else cells - 1 - freedom.sum()
    if not left:
        raise UserError("one factor, and one seed of each level: no effect can be told from seeds: train more seeds")
    rest, of_patients = (_rest(one, terms) for one in (y, patients))  # (1, ..., S), (R, ..., S)
    noise, taken = (rest**2).sum() / left, (of_patients**2).sum() / left / len(patients)
    if seeds > 1 and noise > 0:
        within = (rest**2).sum(axis=-1)
        left = min(left, (seeds + 1) / (seeds - 1) * within.sum() ** 2 / (within**2).sum())
    again = noise * left / rng.chisquare(left, len(patients)) - taken  # (R,) variances of seeds that fit as well
    spread = np.sqrt(np.maximum(again, 0) / seeds).reshape(-1, *(1 for _ in shape))
    others = spread * rng.normal(size=(len(patients), *shape))  # (R, ...) what other seeds change in cells' means

    part = freedom / (cells * seeds)  # (K,) of a variance within cells, in each square
    squares, by_patients = (_squares(one.mean(axis=-1), terms) for one in (y, patients))
    twice = _squares((y + patients).mean(axis=-1) + others, terms)  # (R, K)
    value = squares[0] - by_patients.mean(axis=0) - part * (noise - taken)
    draws = twice - 2 * by_patients.mean(axis=0) - part * (noise - taken + again[:, None])
    return np.append(value, noise - taken)[None], np.column_stack([draws, again])


def _effects(means: Floats, term: Term) -> Floats:
    """A term's effects in cells' means (R, ...), one where they are all alike along an axis."""
    for place in range(means.ndim - 1):
        mean = means.mean(axis=place + 1, keepdims=True)
        means = means - mean if place in term else mean
    return means


def _squares(means: Floats, terms: Sequence[Term]) -> Floats:
    """The mean square of each term's effects over cells: means (R, ...) -> (R, K)."""
    return np.stack([(_effects(means, term) ** 2).mean(axis=tuple(range(1, means.ndim))) for term in terms], axis=1)


def _rest(y: Floats, terms: Sequence[Term]) -> Floats:
    """What of runs (R, ..., S) neither the mean nor these terms explain."""
    means = y.mean(axis=-1)
    return y - sum(_effects(means, term) for term in [(), *terms])[..., None]
