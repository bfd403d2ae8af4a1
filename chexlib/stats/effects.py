"""One mean over architectures of an effect that all share, such as the boost of pretraining: a random-effects model.

Each of K estimates is the mean effect, plus what is this architecture's own (variance tau^2), plus what its seeds add,
plus what the patients of the test set add. The last is correlated, since all are tested on the same patients: a
covariance matrix, from the replicates of a paired bootstrap. tau^2 is estimated by restricted maximum likelihood
(Viechtbauer, Journal of Educational and Behavioral Statistics 2005), the mean by generalised least squares.

Hartung and Knapp (Statistics in Medicine 2001) scale the whole variance by the spread of the estimates, which tells
nothing of what all estimates share through the patients. So Student's quantile is used with the degrees of freedom of
Satterthwaite, from the information on tau^2 (Kenward and Roger, Biometrics 1997, without their correction of the
variance): K - 1 where architectures are all that varies, many where patients are; never fewer than K - 1.

Another architecture's own effect lies about the mean with variance tau^2 + se^2 and Student's quantile with K - 1
degrees of freedom (Higgins, Thompson and Spiegelhalter, Journal of the Royal Statistical Society A 2009, take K - 2),
which covered 0.94 to 0.98 of the time. `tests/stats/test_effects.py` measures the coverage of the mean's interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import stdtrit

from chexlib.stats.auc import Floats
from chexlib.stats.intervals import TAILS


@dataclass(frozen=True)
class MeanEffect:
    """The mean `value` over `k` architectures, its interval `low` to `high`, and its standard error `se`.

    se^2 is the sum of the squares of se_patients, se_seeds and se_between, what patients, seeds and the choice of
    architectures add. tau: standard deviation between architectures beyond patients and seeds; another architecture's
    effect lies that far from the mean, and from low_another to high_another 95 % of the time. se_seeds is
    NaN where an architecture has one seed: se_between and tau then hold what its seeds add.
    """

    value: float
    low: float
    high: float
    se: float
    tau: float
    se_patients: float
    se_seeds: float
    se_between: float
    low_another: float
    high_another: float
    k: int


def mean_effect(values: ArrayLike, patients: ArrayLike, seeds: ArrayLike) -> MeanEffect:
    """Mean of K estimates that share a test set.

    values: (K,). patients: (K, K) their covariance over patients. seeds: (K,) the variance of each over seeds, NaN
    where it is unknown. All in units of the values. Raises ValueError for fewer than two values, NaN among values and
    patients, variances that are none, and shapes that do not fit.
    """
    y, shared, own = (np.asarray(a, dtype=float) for a in (values, patients, seeds))
    k = y.size
    if y.shape != (k,) or k < 2 or shared.shape != (k, k) or own.shape != (k,):
        raise ValueError(f"values {y.shape}, patients {shared.shape}, seeds {own.shape}: (K,), (K, K), (K,), K > 1")
    if not (np.isfinite(y).all() and np.isfinite(shared).all()):
        raise ValueError("values and patients must be finite: leave out what was not estimated")
    if (own < 0).any() or np.isinf(own).any() or (np.diag(shared) < 0).any():
        raise ValueError("patients and seeds hold variances: they must be finite and not negative")
    of_seeds = np.nan_to_num(own)
    scale = max(y.var(), np.trace(shared) / k, of_seeds.mean())
    if scale == 0:  # all alike, and nothing varies
        return MeanEffect(*[float(y[0])] * 3, *[0.0] * 5, *[float(y[0])] * 2, k)

    known, axes = eigh((shared + shared.T) / 2 + np.diag(of_seeds))  # V = axes (known + tau^2) axes'
    known = np.maximum(known, 1e-9 * scale)  # a covariance from replicates may lack full rank
    z, one = axes.T @ y, axes.T @ np.ones(k)  # (K,) each, uncorrelated
    tau2 = _restricted_maximum(z, one, known, scale)
    variance = known + tau2
    information = (one**2 / variance).sum()
    weights = axes @ (one / variance) / information  # (K,), sum 1
    value = weights @ y
    parts = np.array([weights @ shared @ weights, (weights**2 * of_seeds).sum(), tau2 * (weights**2).sum()])
    se = np.sqrt(parts.sum())
    spread = _trace_of_squared_projection(one, variance)
    freedom = max(k - 1, parts.sum() ** 2 * spread / (weights @ weights) ** 2)
    half = stdtrit(freedom, TAILS[1]) * se
    another = stdtrit(k - 1, TAILS[1]) * np.sqrt(tau2 + parts.sum())
    of_patients, of_own, between = np.sqrt(np.maximum(parts, 0))
    of_own = np.nan if np.isnan(own).any() else of_own
    ends = value - half, value + half, se, np.sqrt(tau2), of_patients, of_own, between, value - another, value + another
    return MeanEffect(float(value), *map(float, ends), k)


def _restricted_maximum(z: Floats, one: Floats, known: Floats, scale: float) -> float:
    """tau^2 that maximises the restricted likelihood: the best of a grid in tau, then the best beside it."""

    def loss(tau: float) -> float:
        variance = known + tau**2
        information = (one**2 / variance).sum()
        residual = z - one * ((one * z / variance).sum() / information)
        return np.log(variance).sum() + np.log(information) + (residual**2 / variance).sum()

    grid = np.linspace(0, 5, 101) * np.sqrt(scale)
    best = int(np.argmin([loss(tau) for tau in grid]))
    sides = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=sides, method="bounded", options={"xatol": 1e-9 * np.sqrt(scale)}).x
    return 0.0 if loss(0.0) <= loss(found) else float(found) ** 2


def _trace_of_squared_projection(one: Floats, variance: Floats) -> float:
    """tr(P P), twice the information on tau^2, with P = V^-1 - V^-1 1 1' V^-1 / (1' V^-1 1)."""
    a, information = one**2, (one**2 / variance).sum()
    return (
        (1 / variance**2).sum()
        - 2 * (a / variance**3).sum() / information
        + ((a / variance**2).sum() / information) ** 2
    )
