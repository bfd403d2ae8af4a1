"""Which differences between architectures a test set could have shown: for the study at hand, and for the paper.

For a study, the replicates of all models share their patients, so the standard error of every paired difference is
known. For CheXpert's test set only what the paper prints is known: half the width of a printed interval is 1.96
standard errors of a mean AUC, and how much of it cancels in a difference depends on r, the correlation of two models'
errors over patients. Three differences are printed with their own intervals, which gives r for those pairs: one of two
architectures, and two of a network and its own truncation, which err more alike than two architectures do. Printed
intervals are rounded, so that errors have two digits, and r about one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from chexlib import stats
from chexlib.paper.as_printed import PAPER_TABLE1
from chexlib.paper.claims.statements import BY_ID
from chexlib.paper.measures import rows

ASSUMED = (0.0, 0.5, 0.8, 0.9)
"""Values of r for which the paper's test set is worked out, beside those that are measured."""

POWER = 0.8
"""The chance of finding a difference, by which it counts as detectable: a convention."""

STUDIES = 500
"""CheXpert's test set (Irvin et al. 2019, section 5)."""

TWO_ARCHITECTURES = ("4.1-gap", ("4.1-best-auc", "4.1-worst-auc"))
TRUNCATED = (("4.4-resnet18", ("ResNet18",) * 2), ("4.4-efficientnet", ("EfficientNetB0",) * 2))
"""A printed difference and the printed intervals of its two models, each a statement's id or a row of Table 1. The
truncated models' are not printed: they are taken to be as wide as the whole models'."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of K models tested on the same patients; P = K (K - 1) / 2.

    auc: (K,). observed: (P,) absolute difference. error: (P,) its standard error over patients. error_seeds: (P,) that
    over patients and seeds, NaN where nothing is known of seeds. r: median correlation of two models' errors.
    seed_sd: of one training of a model around the mean of its trainings, pooled over models trained several times.
    """

    auc: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    error_seeds: np.ndarray
    r: float
    seed_sd: float = np.nan

    @property
    def least(self) -> np.ndarray:
        """(P,) least difference that is found with POWER, over patients."""
        return detectable(self.error)

    @property
    def least_seeds(self) -> np.ndarray:
        """(P,) the same, over patients and seeds."""
        return detectable(self.error_seeds)

    @property
    def spread(self) -> float:
        """The best AUC minus the worst."""
        return float(np.ptp(self.auc))

    @property
    def noise(self) -> float:
        """Standard deviation that chance alone puts between models: over seeds too, where these are known."""
        error = self.error if np.isnan(self.error_seeds).any() else self.error_seeds
        return float(np.sqrt((error**2).mean() / 2))

    @property
    def true_sd(self) -> float:
        """Standard deviation of the models' AUCs beyond `noise`; 0 where noise alone would spread them as much."""
        return float(np.sqrt(max(0.0, self.auc.var(ddof=1) - self.noise**2)))


def detectable(error: np.ndarray) -> np.ndarray:
    """`stats.least_detectable` with POWER for errors that may be 0 (two models in one) or NaN."""
    return np.asarray(error, dtype=float) * stats.least_detectable(1.0, power=POWER)


def pairs(results: Any, init: str, in_paper: bool | None = None) -> Pairs | None:
    """All pairs of a study's whole architectures from an init, or of the paper's alone; None with fewer than two."""
    models = rows(results, init, in_paper=in_paper).dropna(subset=["auc"])
    if len(models) < 2:
        return None
    replicates = results.replicates[:, models["row"]]  # (R, K)
    covariance = np.cov(replicates[~np.isnan(replicates).any(axis=1)].T)  # (K, K)
    of_seed = one_training(results, init)
    over_seeds = covariance + np.diag(of_seed**2 / models["seeds"].to_numpy(float))
    return of_covariance(models["auc"].to_numpy(float), covariance, over_seeds, of_seed)


def of_covariance(auc: np.ndarray, patients: np.ndarray, both: np.ndarray, seed_sd: float = np.nan) -> Pairs:
    """Pairs of K models from the covariance (K, K) of their errors over patients, and over patients and seeds."""
    a, b = np.triu_indices(len(auc), 1)
    sd = np.sqrt(np.diag(patients))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = patients[a, b] / (sd[a] * sd[b])
    known = r[~np.isnan(r)]  # an AUC that never moves correlates with nothing
    return Pairs(
        auc,
        np.abs(auc[a] - auc[b]),
        _error(patients, a, b),
        _error(both, a, b),
        float(np.median(known)) if known.size else np.nan,
        seed_sd,
    )


def one_training(results: Any, init: str) -> float:
    """Standard deviation of one training's mean AUC over seeds, pooled over whole models of an init with several.

    Over all models with several where this init has none; NaN where no model has.
    """
    table = results.seed_spread
    here = table[table.index.isin(rows(results, init).index)]
    here = here if len(here) else table
    if not len(here):
        return np.nan
    freedom = here["seeds"].to_numpy(float) - 1
    return float(np.sqrt((freedom * here["sd"].to_numpy(float) ** 2).sum() / freedom.sum()))


def paper_errors() -> np.ndarray:
    """(16,) standard errors of Table 1's AUCs, from the widths of their printed intervals."""
    return (PAPER_TABLE1["high"] - PAPER_TABLE1["low"]).to_numpy() / (2 * ndtri(0.975))


def paper_pairs(r: float) -> Pairs:
    """All pairs of Table 1's 16 models, if the errors of any two of them correlate by r. Nothing is known of seeds."""
    error = paper_errors()
    covariance = np.outer(error, error) * np.where(np.eye(len(error)), 1.0, r)
    return of_covariance(PAPER_TABLE1["auc"].to_numpy(), covariance, covariance * np.nan)


def least_r() -> float:
    """The r below which patients alone would be expected to spread Table 1's 16 AUCs more than they are spread."""
    variance = PAPER_TABLE1["auc"].to_numpy().var(ddof=1)
    return float(1 - variance / (paper_errors() ** 2).mean())


def implied_r(pair: tuple[str, tuple[str, str]] = TWO_ARCHITECTURES) -> float:
    """r of a pair whose difference the paper prints with an interval: TWO_ARCHITECTURES, or one of TRUNCATED."""
    id, models = pair
    of_difference, a, b = _printed_error(id), *map(_printed_error, models)
    return (a**2 + b**2 - of_difference**2) / (2 * a * b)


def formula(results: Any, auc: float) -> float:
    """Standard error of a mean AUC by Hanley and McNeil from a study's counts alone, its tasks taken as independent."""
    counts = results.counts.loc[list(results.tasks)]
    each = stats.hanley_mcneil(auc, np.maximum(counts["positives"], 1), np.maximum(counts["negatives"], 1))
    return float(np.sqrt((each**2).sum()) / len(each))


def _printed_error(id: str) -> float:
    """Standard error behind a printed 95 % interval: of a statement, or of a row of Table 1."""
    if id in BY_ID:
        low, high = (float(BY_ID[id].printed[end].replace("−", "-")) for end in ("low", "high"))
    else:
        low, high = PAPER_TABLE1.loc[id, ["low", "high"]]
    return (high - low) / (2 * ndtri(0.975))


def _error(covariance: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Standard errors of the differences of models a and b."""
    variance = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
    return np.sqrt(np.where(variance < 1e-18, 0 * variance, variance))  # NaN stays
