"""Bootstrap of mean AUROCs with all paired differences, 50 models x 6 tasks x 1,000 replicates, against four peers.

A loop over scikit-learn resamples rows and calls `roc_auc_score`, as the paper's kind of analysis is usually written;
scipy.stats.bootstrap, confidenceinterval and torchmetrics' BootStrapper hold that loop themselves. All of it would take
minutes, so a peer does a part, on the same resamples, and its time is extrapolated; none of them is asked for the
differences between models, ours finds all of them. The fifth is quick, too: the same quadratic form with the
Mann-Whitney kernel written out, by dense matrix products on every core. Then 50,000 studies in bounded memory, and
DeLong's covariance against MLstatkit. What is resampled are studies, as no peer draws patients.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from benchmarks.compare import compare, machine, record
from chexlib.stats import auroc, bootstrap_auroc, delong_covariance, percentile_interval, resample_counts

MODELS, TASKS, REPLICATES, STUDIES, MANY = 50, 6, 1000, 500, 50_000
LOOP, PART = 4, 40  # replicates of all models by scikit-learn, and of one model by those that hold its loop
PREVALENCE = (0.15, 0.30, 0.07, 0.17, 0.24, 0.40)


def main() -> None:
    y, scores = made(STUDIES)
    work = f"{MODELS} models, {TASKS} tasks, {REPLICATES} replicates, {STUDIES} studies"
    counts = resample_counts(STUDIES, None, REPLICATES)
    drawn = np.array([np.repeat(np.arange(STUDIES), count) for count in counts[:PART]])  # (PART, N) rows
    compare(
        "bootstrap_auroc and all differences",
        lambda: ours(y, scores)[0],
        lambda: loop(y, scores, drawn[:LOOP]),
        peer_name="scikit-learn loop",
        share=LOOP / REPLICATES,
        peer_repeats=3,
        agree=lambda found, peer: np.abs(found[:LOOP] - peer).max(),
        work=work,
    )
    for name, peer in {"scipy.stats.bootstrap": by_scipy, "confidenceinterval": by_confidenceinterval}.items():
        compare(
            "bootstrap_auroc and all differences",
            lambda: ours(y, scores)[0],
            lambda peer=peer: peer(y[:, 0], scores[0, :, 0], drawn),
            peer_name=name,
            share=PART / (REPLICATES * MODELS * TASKS),
            peer_repeats=3,
            agree=lambda found, peer: np.abs(np.array(percentile_interval(found[:PART, 0, 0])) - peer).max(),
            work=work,
        )
    compare(
        "bootstrap_auroc and all differences",
        lambda: ours(y, scores)[0],
        lambda: by_torchmetrics(y[:, 0], scores[0, :, 0], drawn),
        peer_name="torchmetrics BootStrapper",
        share=PART / (REPLICATES * MODELS * TASKS),
        peer_repeats=3,
        agree=lambda found, peer: np.abs(found[:PART, 0, 0] - peer).max(),
        work=work,
    )
    compare(
        "bootstrap_auroc",
        lambda: bootstrap_auroc(y, scores, n_boot=REPLICATES).replicates,
        lambda: dense(y, scores, resample_counts(STUDIES, None, REPLICATES)),
        peer_name="dense kernel in numpy",
        work=work,
    )
    compare(
        "auroc",
        lambda: [auroc(y, model) for model in scores],
        lambda: [[roc_auc_score(y[:, t], model[:, t]) for t in range(TASKS)] for model in scores],
        peer_name="scikit-learn",
        work=f"{MODELS} models, {TASKS} tasks, {STUDIES} studies",
    )
    many_studies()
    against_mlstatkit(y[:, 0], scores[:, :, 0])


def many_studies() -> None:
    """The same on 50,000 studies; scikit-learn does one replicate of two models."""
    y, scores = made(MANY)
    rows = np.repeat(np.arange(MANY), resample_counts(MANY, None, 1)[0])
    work, peaks = f"{MODELS} models, {TASKS} tasks, {REPLICATES} replicates, {MANY:,} studies", []

    def measured() -> np.ndarray:
        (replicates, _), grown = grown_memory(lambda: ours(y, scores))
        peaks.append(grown)
        return replicates

    compare(
        "bootstrap_auroc and all differences, many studies",
        measured,
        lambda: loop(y, scores[:2], rows[None]),
        peer_name="scikit-learn loop",
        share=2 / (MODELS * REPLICATES),
        repeats=1,
        peer_repeats=3,
        agree=lambda found, peer: np.abs(found[:1, :2] - peer).max(),
        work=work,
    )
    held = scores.nbytes / 2**20
    record(
        {
            "name": "bootstrap_auroc memory",
            "peak_mib": max(peaks),
            "scores_mib": held,
            "work": work,
            "machine": machine(),
        }
    )
    print(f"peak of anonymous memory: {max(peaks):,.0f} MiB beside the scores' {held:,.0f} MiB ({work})", flush=True)


def against_mlstatkit(y: np.ndarray, scores: np.ndarray) -> None:
    """DeLong's z of all pairs of models: one covariance of all, against a call a pair."""
    from MLstatkit import Delong_test

    first, second = np.triu_indices(len(scores), 1)

    def z() -> np.ndarray:
        auc, covariance = delong_covariance(y, scores)
        variance = np.diag(covariance)
        return (auc[second] - auc[first]) / np.sqrt(variance[first] + variance[second] - 2 * covariance[first, second])

    compare(
        "delong, all pairs",
        z,
        lambda: [
            Delong_test(y, scores[a], scores[b], return_ci=False, return_auc=False)[0]
            for a, b in zip(first, second, strict=True)
        ],
        peer_name="MLstatkit",
        peer_repeats=1,
        work=f"{len(first)} pairs of {len(scores)} models, {len(y)} studies",
    )


def made(studies: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, T) and scores (M, N, T), with ties."""
    rng = np.random.default_rng(0)
    y = (rng.random((studies, TASKS)) < PREVALENCE).astype(float)
    return y, np.round(y + 1.2 * rng.normal(size=(MODELS, studies, TASKS)), 3)


def ours(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, Any]:
    """Replicates (R, M, T) and the differences of all pairs."""
    found = bootstrap_auroc(y, scores, n_boot=REPLICATES)
    return found.replicates, found.differences()


def loop(y: np.ndarray, scores: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(R, M, T) by scikit-learn, one call a replicate, model and task."""
    return np.array(
        [[[roc_auc_score(y[rows, t], model[rows, t]) for t in range(TASKS)] for model in scores] for rows in drawn]
    )


class Given(np.random.Generator):
    """A generator that draws the rows that it was given, so that a peer's answer can be compared."""

    def __init__(self, rows: np.ndarray):
        super().__init__(np.random.PCG64())
        self.rows = rows

    def integers(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.rows


def by_scipy(y: np.ndarray, score: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Percentile interval of one model's AUROC of one task."""
    found = scipy_stats.bootstrap(
        (np.arange(len(y)),),
        lambda rows: roc_auc_score(y[rows], score[rows]),
        n_resamples=len(drawn),
        method="percentile",
        rng=Given(drawn),
    )
    return tuple(found.confidence_interval)


def by_confidenceinterval(y: np.ndarray, score: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """The same, through confidenceinterval."""
    from confidenceinterval import roc_auc_score as with_interval

    return with_interval(y, score, method="bootstrap_percentile", n_resamples=len(drawn), random_state=Given(drawn))[1]


def by_torchmetrics(y: np.ndarray, score: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(R,) one model's replicates of one task; it computes rates in single precision, whatever it is given."""
    from torchmetrics.classification import BinaryAUROC
    from torchmetrics.wrappers import BootStrapper, bootstrapping

    given = iter(torch.from_numpy(drawn))
    sampler = bootstrapping._bootstrap_sampler
    bootstrapping._bootstrap_sampler = lambda size, sampling_strategy: next(given)
    try:
        metric = BootStrapper(BinaryAUROC(), num_bootstraps=len(drawn), mean=False, std=False, raw=True)
        metric.update(torch.from_numpy(score), torch.from_numpy(y).long())
        return metric.compute()["raw"].numpy()
    finally:
        bootstrapping._bootstrap_sampler = sampler


def dense(y: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R, M, T) by the kernel (P, Q) itself, one matrix product a model and task, single precision."""
    out = np.empty((len(counts), len(scores), TASKS))
    counts = counts.astype(np.float32)  # (R, N)
    for t in range(TASKS):
        positive, negative = y[:, t] == 1, y[:, t] == 0
        of_positives, of_negatives = counts[:, positive], counts[:, negative]
        pairs = of_positives.sum(axis=1, dtype=float) * of_negatives.sum(axis=1)
        for m, model in enumerate(scores[:, :, t]):
            p, q = model[positive][:, None], model[negative][None]
            kernel = (p > q).astype(np.float32) + 0.5 * (p == q).astype(np.float32)
            out[:, m, t] = ((of_negatives @ kernel.T) * of_positives).sum(axis=1, dtype=float) / pairs
    return out


def grown_memory(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work returns, and by how many MiB its anonymous memory exceeded that before at its peak (Linux)."""
    before, seen, done = anonymous(), [], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answer = work()
    finally:
        done.set()
        watcher.join()
    return answer, max(seen, default=before) - before


def anonymous() -> float:
    """MiB of this process that no file backs; NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
