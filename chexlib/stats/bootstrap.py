"""Bootstrap of AUROC for many models at once, by matrix products.

A replicate draws patients with replacement, so it is a vector of counts c, and its AUROC is a quadratic form
c+' K c- over the counts of positives and negatives, K the Mann-Whitney kernel (1 where the positive scores higher,
1/2 at a tie). K need not be formed: with the smaller class in order of score it is a running sum over a sparse
matrix S with at most two entries a row of the larger class, so that all replicates of a model cost one sparse
product, one running sum and one dot product: O(R N), not O(R P Q). One matrix of counts serves all models, which
pairs them, so that any difference between models is a subtraction.

Sums of counts and halves are exact, so replicates equal a loop over resampled rows but for the last division.
Intervals are percentile (Efron and Tibshirani 1993, ch. 13); BCa and stratified resampling are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from chexlib.stats.auc import Floats, auroc, check_labels, check_scores

BLOCK = 4_000_000  # most counts held at once: 16 MB, 32 MB where the sums outgrow single precision


@dataclass(frozen=True)
class Difference:
    """A paired difference of mean AUROCs: `value`, its percentile interval `low` to `high`, two-sided bootstrap `p`.

    These are over patients. `low_seeds` to `high_seeds` is over patients and seeds, NaN where it is not known.
    """

    value: float
    low: float
    high: float
    p: float
    low_seeds: float = np.nan
    high_seeds: float = np.nan


@dataclass(frozen=True)
class BootstrapAuroc:
    """AUROC of M models on T tasks and its R bootstrap replicates, the same resamples for every model.

    auroc: (M, T). replicates: (R, M, T), NaN where that replicate lacks a class of that task.
    dropped: (T,) how many replicates do. A mean over tasks is over those that are not NaN.
    """

    auroc: Floats
    replicates: Floats
    dropped: NDArray[np.int64]

    @property
    def mean(self) -> Floats:
        """Mean over tasks of each model, (M,)."""
        return _mean_over_tasks(self.auroc)

    @property
    def mean_replicates(self) -> Floats:
        """Mean over tasks in each replicate, (R, M)."""
        return _mean_over_tasks(self.replicates)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Percentile interval of each AUROC: low (M, T), high (M, T)."""
        return percentile_interval(self.replicates, level)

    def mean_interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Percentile interval of each model's mean over tasks: low (M,), high (M,)."""
        return percentile_interval(self.mean_replicates, level)

    def select(self, tasks: Sequence[int]) -> "BootstrapAuroc":
        """The same resamples with these tasks only, for a mean over fewer tasks."""
        tasks = list(tasks)
        return BootstrapAuroc(self.auroc[:, tasks], self.replicates[:, :, tasks], self.dropped[tasks])

    def difference(self, a: int | Sequence[int], b: int | Sequence[int], level: float = 0.95) -> Difference:
        """Mean AUROC over tasks of model a minus that of model b, on the same resamples.

        a, b: index of a model, or several, which are averaged (seeds of one architecture).
        """
        a, b = np.atleast_1d(a), np.atleast_1d(b)
        mean, replicates = self.mean, self.mean_replicates
        return paired_difference(
            mean[a].mean() - mean[b].mean(), replicates[:, a].mean(axis=1) - replicates[:, b].mean(axis=1), level
        )


def bootstrap_auroc(
    y: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> BootstrapAuroc:
    """Bootstrap the AUROC of every model and task with one set of resamples.

    y: (N, T) labels, 1, 0 or NaN (unknown). scores: (M, N, T), one model a slice. groups: (N,) what is drawn, each
    with all its rows: patients; rows themselves when None. Raises ValueError for shapes that do not fit.
    """
    y, scores = np.asarray(y, dtype=float), np.asarray(scores, dtype=float)
    if y.ndim != 2 or scores.ndim != 3 or scores.shape[1:] != y.shape:
        raise ValueError(f"y {y.shape} and scores {scores.shape}: (N, T) and (M, N, T) are needed")
    check_scores(scores, check_labels(y))

    replicates = np.full((n_boot, len(scores), y.shape[1]), np.nan)  # (R, M, T)
    done = 0
    for counts in _count_blocks(len(y), groups, n_boot, seed):  # (N, r), r replicates at a time
        block = replicates[done : done + counts.shape[1]]
        for task in range(y.shape[1]):
            block[:, :, task] = _task_replicates(y[:, task], scores[:, :, task], counts).T
        done += counts.shape[1]
    dropped = np.isnan(replicates[:, 0]).sum(axis=0) if len(scores) else np.zeros(y.shape[1], dtype=int)
    return BootstrapAuroc(np.array([auroc(y, model) for model in scores]).reshape(len(scores), -1), replicates, dropped)


def resample_counts(n: int, groups: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> NDArray:
    """How often each of n rows is in each replicate, (R, N): what `bootstrap_auroc` uses, for checks by other means."""
    return np.concatenate([block.T for block in _count_blocks(n, groups, n_boot, seed)]).astype(int)


def percentile_interval(replicates: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval along the first axis, NaN replicates left out: (R, ...) -> low (...), high (...)."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, e.g. 0.95")
    replicates = np.asarray(replicates, dtype=float)
    tails = [(1 - level) / 2, (1 + level) / 2]
    usable = ~np.isnan(replicates).all(axis=0)  # an empty column has no interval
    quantile = np.nanquantile if np.isnan(replicates).any() else np.quantile
    low, high = quantile(np.where(usable, replicates, 0.0), tails, axis=0)
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def paired_difference(value: float, replicates: ArrayLike, level: float = 0.95) -> Difference:
    """Interval and two-sided p of a difference, from its replicates (R,).

    p = 2 min(1 + #{d <= 0}, 1 + #{d >= 0}) / (R + 1), at most 1 (Davison and Hinkley 1997, sec. 4.2): never 0, and
    1 for two models that do not differ in any replicate. NaN replicates are left out; with none, p is NaN.
    """
    d = np.asarray(replicates, dtype=float)
    d = d[~np.isnan(d)]
    d[np.abs(d) < 1e-12] = 0.0  # averages differ by rounding alone
    value = 0.0 if abs(value) < 1e-12 else float(value)
    low, high = percentile_interval(d, level) if d.size else (np.nan, np.nan)
    tail = min((d <= 0).sum(), (d >= 0).sum())
    p = min(1.0, 2 * (1 + tail) / (1 + d.size)) if d.size and not np.isnan(value) else np.nan
    return Difference(value, float(low), float(high), float(p))


def _mean_over_tasks(values: Floats) -> Floats:
    """Mean along the last axis over what is not NaN; NaN where nothing is. (..., T) -> (...)."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    return np.divide(np.where(there, values, 0.0).sum(axis=-1), n, out=np.full(n.shape, np.nan), where=n > 0)


def _count_blocks(n: int, groups: ArrayLike | None, n_boot: int, seed: int) -> Iterator[NDArray]:
    """Blocks (N, r) of how often each row is drawn; the draws do not depend on the size of the blocks."""
    if n_boot < 1:
        raise ValueError(f"n_boot={n_boot}: at least one replicate is needed")
    group = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if group.shape != (n,):
        raise ValueError(f"groups {group.shape}: one group a row is needed, ({n},)")
    size = int(group.max()) + 1 if n else 0
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(n, 1))
    for start in range(0, n_boot, step):
        r = min(step, n_boot - start)
        drawn = rng.integers(size, size=(r, size)) if size else np.empty((r, 0), dtype=int)
        flat = (drawn * r + np.arange(r)[:, None]).ravel()  # group-major, so rows are contiguous
        counts = np.bincount(flat, minlength=size * r).reshape(size, r)[group]  # (N, r)
        # Twice the sums are integers: exact in single precision while below 2**24.
        exact = counts.sum(axis=0).max(initial=0) ** 2 / 4 < 2**23
        yield counts.astype(np.float32 if exact else np.float64)


def _task_replicates(y: Floats, scores: Floats, counts: NDArray) -> Floats:
    """AUROC of each model under each column of counts. y (N,), scores (M, N), counts (N, r) -> (M, r)."""
    few, many, sign = y == 1, y == 0, 1
    if few.sum() > many.sum():
        few, many, sign = many, few, -1  # AUROC(y, p) = AUROC(1 - y, -p)
    few_counts, many_counts = counts[few], counts[many]  # (P, r), (Q, r)
    pairs = few_counts.sum(axis=0, dtype=float) * many_counts.sum(axis=0, dtype=float)
    out = np.full((len(scores), counts.shape[1]), np.nan)
    for row, score in zip(out, sign * scores, strict=True):
        ordered = np.argsort(score[few])
        below = np.cumsum(_steps(score[few][ordered], score[many]) @ many_counts, axis=0)  # (P, r)  K times counts
        wins = np.einsum("pr,pr->r", few_counts[ordered], below)
        np.divide(wins, pairs, out=row, where=pairs > 0)
    return out


def _steps(ordered: Floats, others: Floats) -> csr_array:
    """The matrix S (P, Q) whose running sum down its rows is the Mann-Whitney kernel of sorted scores against others.

    Another's column steps by 1/2 at the first row that reaches it and by 1/2 at the first that exceeds it.
    """
    p, q = len(ordered), len(others)
    rows = np.concatenate([np.searchsorted(ordered, others, side) for side in ("left", "right")])
    columns = np.tile(np.arange(q), 2)
    inside = rows < p
    half = np.full(int(inside.sum()), 0.5, dtype=np.float32)
    return csr_array((half, (rows[inside], columns[inside])), shape=(p, q))  # equal places add up to 1
