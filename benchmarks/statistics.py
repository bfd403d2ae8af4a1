"""Bootstrap of mean AUROCs, 50 models x 6 tasks x 1,000 replicates on 500 studies, against a loop over scikit-learn.

The loop resamples rows and calls `roc_auc_score`, as the paper's kind of analysis is usually written. All of it would
take minutes, so the peer does the first replicates only, on the same resamples, and its time is extrapolated. The
second peer is quick too: the same quadratic form with the Mann-Whitney kernel written out, by dense matrix products
on every core.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.compare import compare
from chexlib.stats import auroc, bootstrap_auroc, resample_counts

MODELS, TASKS, REPLICATES, STUDIES, PATIENTS = 50, 6, 1000, 500, 400
PEER_REPLICATES = 4
PREVALENCE = (0.15, 0.30, 0.07, 0.17, 0.24, 0.40)


def main() -> None:
    y, scores, patients = made()
    counts = resample_counts(STUDIES, patients, REPLICATES)
    compare(
        "bootstrap_auroc",
        lambda: bootstrap_auroc(y, scores, patients, REPLICATES).replicates,
        lambda: loop(y, scores, counts[:PEER_REPLICATES]),
        peer_name="scikit-learn loop",
        share=PEER_REPLICATES / REPLICATES,
        peer_repeats=3,
        agree=lambda ours, peer: np.abs(ours[:PEER_REPLICATES] - peer).max(),
        work=f"{MODELS} models, {TASKS} tasks, {REPLICATES} replicates, {STUDIES} studies of {PATIENTS} patients",
    )
    compare(
        "bootstrap_auroc",
        lambda: bootstrap_auroc(y, scores, patients, REPLICATES).replicates,
        lambda: dense(y, scores, resample_counts(STUDIES, patients, REPLICATES)),
        peer_name="dense kernel in numpy",
        work=f"{MODELS} models, {TASKS} tasks, {REPLICATES} replicates, {STUDIES} studies of {PATIENTS} patients",
    )
    compare(
        "auroc",
        lambda: [auroc(y, model) for model in scores],
        lambda: [[roc_auc_score(y[:, t], model[:, t]) for t in range(TASKS)] for model in scores],
        peer_name="scikit-learn",
        work=f"{MODELS} models, {TASKS} tasks, {STUDIES} studies",
    )


def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N, T), scores (M, N, T) with ties, and patients (N,)."""
    rng = np.random.default_rng(0)
    y = (rng.random((STUDIES, TASKS)) < PREVALENCE).astype(float)
    scores = np.round(y + 1.2 * rng.normal(size=(MODELS, STUDIES, TASKS)), 3)
    return y, scores, np.concatenate([np.arange(PATIENTS), rng.integers(PATIENTS, size=STUDIES - PATIENTS)])


def loop(y: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R, M, T) by scikit-learn, one call a replicate, model and task."""
    drawn = [np.repeat(np.arange(len(y)), count) for count in counts]
    return np.array(
        [[[roc_auc_score(y[rows, t], model[rows, t]) for t in range(TASKS)] for model in scores] for rows in drawn]
    )


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
