"""The Mann-Whitney kernel of one model and task, as a sparse matrix and a running sum, for many weightings of the rows.

K is 1 where a positive scores above a negative and 1/2 at a tie. With the smaller class in order of score, 2 K is the
running sum over a sparse matrix with at most two entries a row of the larger class: c+' K c- costs one sparse product
and one weighted running sum, O(N) and not O(P Q). All sums are of whole numbers, and so exact: in 16 bits where they
fit, which is twice as fast as 32, since what takes time is to read and to write, in double precision where they grow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from chexlib.stats.auc import Floats

RUN = 16  # rows of the running sum that are summed at a time; the runs themselves are summed likewise


@dataclass(frozen=True)
class Kernel:
    """order: (P,) rows of the smaller class by score, turned round where it is the negatives. steps: sparse, (P, N) and
    empty rows up to a multiple of RUN; its running sum down the rows is 2 K. heaviest: the largest sum of a run."""

    order: NDArray[np.intp]
    steps: csr_array
    heaviest: int


def kernel(y: Floats, score: Floats) -> Kernel:
    """The kernel of one task, y (N,) of 1, 0 and NaN (left out), and one model's scores (N,)."""
    few, many = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if len(few) > len(many):
        few, many, score = many, few, -score  # AUROC(y, p) = AUROC(1 - y, -p)
    few, many = (rows[np.argsort(score[rows])] for rows in (few, many))
    # Another's column steps by 1 at the first row that reaches it, and by 1 at the first that exceeds it.
    reaches, exceeds = (np.searchsorted(score[few], score[many], side) for side in ("left", "right"))
    tied = np.flatnonzero(reaches != exceeds)
    rows = np.concatenate([reaches, exceeds[tied]])
    columns = np.concatenate([many, many[tied]])
    sizes = np.full(len(rows), 2, dtype=np.uint16)
    sizes[tied] = sizes[len(many) :] = 1
    by_row = np.argsort(rows, kind="stable")
    runs = -(-len(few) // RUN)
    ends = np.searchsorted(rows[by_row], np.arange(runs * RUN + 1))
    ends = np.minimum(ends, np.searchsorted(rows[by_row], len(few)))  # what no row reaches steps nowhere
    by_row = by_row[: ends[-1]]
    steps = csr_array((sizes[by_row], columns[by_row].astype(np.int32), ends.astype(np.int32)), (runs * RUN, len(y)))
    until = np.concatenate([[0], np.cumsum(steps.data, dtype=int)])[ends[::RUN]]
    return Kernel(few, steps, int(np.diff(until).max(initial=0)))


def wins(of: Kernel, counts: NDArray[np.uint16], most: int) -> Floats:
    """c+' K c- for each column of counts, (N, r) -> (r,); `most` is the largest count."""
    steps = of.steps
    if max(of.heaviest, RUN) * most >= 2**16:  # a run could exceed 16 bits
        steps, counts = steps.astype(np.uint32), counts.astype(np.uint32)
    stepped = steps @ counts  # (P, r)
    few = np.zeros_like(stepped)
    np.take(counts, of.order, axis=0, out=few[: len(of.order)], mode="clip")  # "raise" would copy
    return _running(few, stepped) / 2


def _running(few: NDArray, steps: NDArray) -> Floats:
    """Sum over rows of few times the running sum of steps, (P, r) and (P, r) -> (r,); both are used up.

    A running sum within each of P / RUN runs of rows, then the same for the sums of the runs, in double precision:
    contiguous additions, ten times as fast as a cumulative sum down columns.
    """
    total = np.zeros(few.shape[1])
    while len(few):
        few, steps = _in_runs(few), _in_runs(steps)  # (runs, RUN, r)
        for row in range(1, RUN):
            steps[:, row] += steps[:, row - 1]
        of_run, reached = np.einsum("kpr->kr", few).astype(float), steps[:, -1].astype(float)  # (runs, r)
        within = np.einsum("kpr,kpr->kr", few, steps).astype(float)
        if few.dtype != float:
            over = (of_run * reached).max(axis=1) > np.iinfo(few.dtype).max  # these runs may have overflown
            within[over] = np.einsum("kpr,kpr->kr", few[over].astype(float), steps[over].astype(float))
        total += within.sum(axis=0)
        few, steps = of_run[1:], reached[:-1]  # a run exceeds all that the runs before it reach
    return total


def _in_runs(rows: NDArray) -> NDArray:
    """(P, r) -> (runs, RUN, r), rows of 0 added at the end."""
    more = -len(rows) % RUN
    if more:
        rows = np.concatenate([rows, np.zeros((more, rows.shape[1]), dtype=rows.dtype)])
    return rows.reshape(-1, RUN, rows.shape[1])
