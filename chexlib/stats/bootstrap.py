"""Bootstrap of areas under the ROC and precision-recall curves, for many models at once.

A replicate draws patients with replacement, so it is a vector of counts c, and its AUROC is a quadratic form
c+' K c- over the counts of positives and negatives, K the Mann-Whitney kernel (1 where the positive scores higher,
1/2 at a tie). K need not be formed (`chexlib.stats.kernel`): a replicate costs two passes over its rows. One matrix of
counts serves all models, which pairs them, so that any difference between models is a subtraction. Average precision
is no such form, and costs a cumulative sum down the rows.

Sums of counts and halves are exact, so replicates equal a loop over resampled rows but for the last division.
Intervals are percentile, the paper's (Efron and Tibshirani 1993, ch. 13), or on request BCa, for which the counts are
kept; stratified resampling is left out, as the prevalence of a test set is chance, too.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from chexlib.machine import cores
from chexlib.stats.auc import Floats, check_labels, check_scores, found_precisely, ranking
from chexlib.stats.intervals import TAILS, bca_interval, percentile_interval
from chexlib.stats.kernel import kernel, wins

BLOCK = 4_000_000  # most counts held at once: 8 MB, which stay near the processor


@dataclass(frozen=True)
class Difference:
    """A paired difference: `value`, its interval `low` to `high`, two-sided bootstrap `p`; numbers, or arrays of them.

    (M, M) where all pairs of M models were asked for, the row's less the column's.
    """

    value: float | Floats
    low: float | Floats
    high: float | Floats
    p: float | Floats


@dataclass(frozen=True)
class BootstrapAreas:
    """Areas under a curve, of M models on T tasks, and R bootstrap replicates, the same resamples for every model.

    area: (M, T). replicates: (R, M, T), NaN where that replicate lacks a class of that task.
    dropped: (T,) how many replicates do. A mean over tasks is over those that are not NaN.
    drawn: (R, G) how often each replicate drew each of G groups, which BCa intervals need; None unless asked for.
    Methods take the `method` of their interval, "percentile" or "bca", and raise ValueError for others.
    """

    area: Floats
    replicates: Floats
    dropped: NDArray[np.int64]
    drawn: NDArray[np.uint16] | None = None

    @property
    def mean(self) -> Floats:
        """Mean over tasks of each model, (M,)."""
        return mean_over_tasks(self.area)

    @property
    def mean_replicates(self) -> Floats:
        """Mean over tasks in each replicate, (R, M)."""
        return mean_over_tasks(self.replicates)

    def interval(self, method: str = "percentile") -> tuple[Floats, Floats]:
        """Interval of each area: low (M, T), high (M, T)."""
        return self._interval(lambda areas: areas, method)

    def mean_interval(self, method: str = "percentile") -> tuple[Floats, Floats]:
        """Interval of each model's mean over tasks: low (M,), high (M,)."""
        return self._interval(mean_over_tasks, method)

    def select(self, tasks: Sequence[int]) -> "BootstrapAreas":
        """The same resamples with these tasks only, for a mean over fewer tasks."""
        tasks = list(tasks)
        return BootstrapAreas(self.area[:, tasks], self.replicates[:, :, tasks], self.dropped[tasks], self.drawn)

    def differences(self, method: str = "percentile") -> Difference:
        """All paired differences of the models' means over tasks, on the same resamples; each (M, M).

        A model at a time against those after it, so that memory does not grow with the square of M.
        """
        mean, replicates = self.mean, self.mean_replicates  # (M,), (R, M)
        corrected = self._corrected(method)
        found = np.zeros((4, len(mean), len(mean)))
        for a in range(len(mean)):
            b = slice(a, None)
            apart = replicates[:, [a]] - replicates[:, b]
            value, low, high, p = _paired(mean[a] - mean[b], apart, corrected, self.drawn)
            found[:, b, a] = -value, -high, -low, p
            found[:, a, b] = value, low, high, p
        return Difference(*found)

    def _interval(self, of: Callable[[Floats], Floats], method: str) -> tuple[Floats, Floats]:
        """Interval of what `of` makes of areas and of those of each replicate."""
        if self._corrected(method):
            return bca_interval(of(self.area), of(self.replicates), self.drawn)
        return percentile_interval(of(self.replicates))

    def _corrected(self, method: str) -> bool:
        """Whether the method is BCa; ValueError where it is unknown or lacks the counts."""
        if method not in ("percentile", "bca"):
            raise ValueError(f'method={method!r}: it must be "percentile" or "bca"')
        if method == "bca" and self.drawn is None:
            raise ValueError("BCa needs how often each group was drawn: bootstrap with bca=True")
        return method == "bca"


def bootstrap_auroc(
    y: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    bca: bool = False,
) -> BootstrapAreas:
    """Bootstrap the AUROC of every model and task with one set of resamples.

    y: (N, T) labels, 1, 0 or NaN (unknown). scores: (M, N, T), one model a slice. groups: (N,) what is drawn, each
    with all its rows: patients; rows themselves when None. bca: keep what BCa intervals need as well.
    Beside its arguments it holds about as much as `scores`, and a few BLOCKs. Raises ValueError for shapes that do not
    fit, for labels and scores as `auroc`, and for n_boot below 1.
    """
    return _bootstrapped(y, scores, groups, n_boot, seed, bca, kernel, _aurocs)


def bootstrap_auprc(
    y: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    bca: bool = False,
) -> BootstrapAreas:
    """Bootstrap the average precision of every model and task, with the resamples of `bootstrap_auroc`.

    Arguments, errors and the rule for a replicate without a class are those of `bootstrap_auroc`.
    """
    return _bootstrapped(y, scores, groups, n_boot, seed, bca, ranking, _auprcs)


def _bootstrapped(y, scores, groups, n_boot, seed, bca, prepare: Callable, fill: Callable) -> BootstrapAreas:
    """Areas of the rows themselves and of each replicate.

    Arguments are `bootstrap_auroc`'s. prepare(y (N,), score (N,)) sorts a model's scores of a task, once. fill(counts
    (N, r), positives (T, r), negatives (T, r), sorted tasks of a model, areas (T, r)) writes what these counts give.
    """
    y, scores = np.asarray(y, dtype=float), np.asarray(scores, dtype=float)
    if y.ndim != 2 or scores.ndim != 3 or scores.shape[1:] != y.shape:
        raise ValueError(f"y {y.shape} and scores {scores.shape}: (N, T) and (M, N, T) are needed")
    check_scores(scores, check_labels(y))
    group = _groups(len(y), groups)
    models, n, tasks = scores.shape
    first, drawn = np.unique(group, return_index=True)[1], []
    positive, negative = (csr_array(np.equal(y.T, label), dtype=np.int32) for label in (1, 0))  # (T, N)
    areas, done = np.full((1 + n_boot, models, tasks), np.nan), 0
    with ThreadPoolExecutor(cores()) as pool:
        ready = list(pool.map(lambda m: [prepare(y[:, t], scores[m, :, t]) for t in range(tasks)], range(models)))
        for counts in _count_blocks(group, n_boot, seed):  # (N, r), r at a time
            if bca:
                drawn.append(counts[first].T)  # (r, G)
            if not done:  # the rows themselves come first
                counts = np.concatenate([np.ones((n, 1), dtype=counts.dtype), counts], axis=1)
            block = areas[done : done + counts.shape[1]].transpose(1, 2, 0)  # (M, T, r)
            list(pool.map(partial(fill, counts, positive @ counts, negative @ counts), ready, block))
            done += counts.shape[1]
    area, replicates = areas[0], areas[1:]
    dropped = np.isnan(replicates[:, 0]).sum(axis=0) if models else np.zeros(tasks, dtype=int)
    return BootstrapAreas(area, replicates, dropped, np.concatenate(drawn) if bca else None)


def resample_counts(n: int, groups: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> NDArray:
    """How often each of n rows is in each replicate, (R, N): what `bootstrap_auroc` uses, for checks by other means."""
    return np.concatenate([block.T for block in _count_blocks(_groups(n, groups), n_boot, seed)]).astype(int)


def paired_difference(value: float, replicates: ArrayLike) -> Difference:
    """Interval and two-sided p of a difference, from its replicates (R,).

    p = 2 min(1 + #{d <= 0}, 1 + #{d >= 0}) / (R + 1), at most 1 (Davison and Hinkley 1997, sec. 4.2): never 0, and
    1 for two models that do not differ in any replicate. NaN replicates are left out; with none, p is NaN.
    """
    return Difference(*map(float, _paired(value, replicates)))


def smallest_difference(values: ArrayLike, replicates: ArrayLike) -> Difference:
    """The smallest of J true differences, such as a claimed best's lead over each of its rivals.

    values: (J,), replicates: (R, J); draws with a NaN are left out. It lies above 0 only where all do, and so above the
    smallest of their own lower ends (intersection-union; Berger, Technometrics 1982). It lies below 0 where any does;
    as that one was picked for being smallest, the upper ends have to hold for all at once: each difference plus the
    97.5 % quantile of the largest centred draw over its standard error, times that error (max-T, single step; Westfall
    and Young, Resampling-Based Multiple Testing 1993). Each end errs in at most 2.5 %, and p is twice the smaller of
    the two tests'. The percentile interval of the smallest in each draw does not hold: noise lowers a minimum, and a
    best that is truly tied is then denied in up to half of all cases (`tests/stats/test_bootstrap.py`).
    """
    values, draws = np.array(values, dtype=float), np.asarray(replicates, dtype=float)
    draws = draws[~np.isnan(draws).any(axis=1)]
    if len(draws) == 0 or np.isnan(values).any():
        return Difference(float(values.min()), np.nan, np.nan, np.nan)
    below = draws.mean(axis=0) - draws  # (R, J)
    error = below.std(axis=0)
    scale = np.where(error > 1e-12, error, np.inf)  # two that differ by the same in every draw cannot be picked by it
    largest = (below / scale).max(axis=1)  # (R,)
    high = (values + np.quantile(largest, TAILS[1]) * error).min()
    behind = (1 + (draws <= 0).sum(axis=0).max()) / (1 + len(draws))  # p of its not being above 0, and not below 0
    ahead = (1 + (largest >= -(values / scale).min()).sum()) / (1 + len(draws))
    p = min(1.0, 2 * min(behind, ahead))
    return Difference(float(values.min()), float(percentile_interval(draws)[0].min()), float(high), float(p))


def _paired(value: ArrayLike, replicates: ArrayLike, bca: bool = False, drawn: NDArray | None = None) -> Floats:
    """Value, low, high, p of differences (...), (4, ...), from replicates (R, ...), which drew groups so often."""
    value, d = np.array(value, dtype=float), np.array(replicates, dtype=float)
    d[np.abs(d) < 1e-12] = 0.0  # averages differ by rounding alone
    value[np.abs(value) < 1e-12] = 0.0
    if bca:
        low, high = bca_interval(value, d, drawn)
    else:
        low, high = percentile_interval(d) if len(d) else (np.full(value.shape, np.nan),) * 2
    n = (~np.isnan(d)).sum(axis=0)
    tail = np.minimum((d <= 0).sum(axis=0), (d >= 0).sum(axis=0))
    p = np.minimum(1.0, 2 * (1 + tail) / (1 + n))
    return np.array([value, low, high, np.where((n == 0) | np.isnan(value), np.nan, p)])


def mean_over_tasks(values: Floats) -> Floats:
    """Mean along the last axis over what is not NaN; NaN where nothing is. (..., T) -> (...)."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    return np.divide(np.where(there, values, 0.0).sum(axis=-1), n, out=np.full(n.shape, np.nan), where=n > 0)


def _groups(n: int, groups: ArrayLike | None) -> NDArray[np.intp]:
    """The number of each row's group, (N,), from 0 on."""
    if groups is None:
        return np.arange(n)
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise ValueError(f"groups {groups.shape}: one group a row is needed, ({n},)")
    if (groups != groups).any():  # NaN; they would all be one group
        raise ValueError(f"groups hold {(groups != groups).sum()} NaN: every row needs a group")
    return np.unique(groups, return_inverse=True)[1]


def _count_blocks(group: NDArray[np.intp], n_boot: int, seed: int) -> Iterator[NDArray[np.uint16]]:
    """Blocks (N, r) of how often each row is drawn; the draws do not depend on the size of the blocks."""
    if n_boot < 1:
        raise ValueError(f"n_boot={n_boot}: at least one replicate is needed")
    n = len(group)
    size = int(group.max()) + 1 if n else 0
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(n, 1))
    for start in range(0, n_boot, step):
        r = min(step, n_boot - start)
        drawn = rng.integers(size, size=(r, size)) if size else np.empty((r, 0), dtype=int)
        drawn *= r  # group-major, so rows are contiguous
        drawn += np.arange(r)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * r).astype(np.uint16).reshape(size, r)[group]  # (N, r)


def _aurocs(counts: NDArray[np.uint16], positives: NDArray, negatives: NDArray, kernels: list, areas: Floats) -> None:
    most = int(counts.max(initial=0))
    for of_task, area, n in zip(kernels, areas, positives.astype(float) * negatives, strict=True):
        np.divide(wins(of_task, counts, most), n, out=area, where=n > 0)


def _auprcs(counts: NDArray[np.uint16], positives: NDArray, negatives: NDArray, rankings: list, areas: Floats) -> None:
    for of_task, area, p, q in zip(rankings, areas, positives, negatives, strict=True):
        np.divide(found_precisely(of_task, counts), p, out=area, where=(p > 0) & (q > 0))
