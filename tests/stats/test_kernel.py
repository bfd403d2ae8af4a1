"""The kernel's sums of wins against the kernel written out, in each of the widths of number that it takes."""

import numpy as np
import pytest

from chexlib.stats import auroc, resample_counts
from chexlib.stats.kernel import RUN, kernel, wins


def made(n, positives, decimals, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.permutation(n) < positives).astype(float)
    score = np.round(y + rng.normal(size=n), decimals)
    y[rng.random(n) < 0.05] = np.nan
    return y, score, resample_counts(n, None, 6, seed).T.astype(np.uint16)


@pytest.mark.parametrize(("n", "positives"), [(30, 1), (40, 20), (200, 170), (600, 300)])
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_equals_the_kernel_written_out(n, positives, decimals):
    y, score, counts = made(n, positives, decimals)
    p, q = score[y == 1][:, None], score[y == 0]
    written = (p > q) + 0.5 * (p == q)  # (P, Q)
    expected = np.einsum("pr,pq,qr->r", counts[y == 1].astype(float), written, counts[y == 0].astype(float))
    np.testing.assert_array_equal(wins(kernel(y, score), counts, int(counts.max())), expected)


@pytest.mark.parametrize(("positives", "narrow", "over"), [(9000, True, False), (500, True, True), (20, False, True)])
def test_sums_beyond_sixteen_bits_stay_exact(positives, narrow, over):
    """The rarer the smaller class, the more of the larger one in a run: in 16 bits, recounted, and in 32."""
    n = 20_000
    y, score, counts = made(n, positives, 3)
    of, most = kernel(y, score), int(counts.max())
    assert (max(of.heaviest, RUN) * most < 2**16) == narrow
    assert (of.heaviest * RUN > 2**16) == over  # at the least: a run has RUN rows
    pairs = counts[y == 1].sum(axis=0, dtype=float) * counts[y == 0].sum(axis=0, dtype=float)
    expected = [auroc(y, score, count) for count in counts.T.astype(float)]
    np.testing.assert_allclose(wins(of, counts, most) / pairs, expected, rtol=1e-14)


def test_without_one_class_there_are_no_wins():
    y, score, counts = made(30, 0, 1)
    np.testing.assert_array_equal(wins(kernel(y, score), counts, 9), np.zeros(6))
