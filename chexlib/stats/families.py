"""Architectures come in families: gaps between and within them, and draws of whole families.

The members of a family share their design, and their areas are alike. Sixteen architectures of six families are not
sixteen draws from all that could have been tried: a replicate draws whole families (Davison and Hinkley, Bootstrap
Methods and their Application 1997, sec. 3.8, where drawing members once more is found to vary too much).
`tests/stats/test_families.py` measures what that covers, and how often the gaps mislead.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexlib.stats.auc import Floats

FEWEST_ARCHITECTURES, FEWEST_FAMILIES = 5, 3
"""Fewer architectures, or families of them, do not show how architectures differ: no rank correlation over these."""


def draw_families(family: ArrayLike, n_boot: int = 1000, seed: int = 0) -> NDArray[np.int64]:
    """How often each of K architectures is drawn in each of R replicates, where families are drawn whole: (R, K).

    family: (K,) names. As many families are drawn as there are, with replacement; all members of one are drawn equally
    often. Raises ValueError for fewer than FEWEST_FAMILIES families.
    """
    names, of = np.unique(np.asarray(family, dtype=str), return_inverse=True)
    if len(names) < FEWEST_FAMILIES:
        raise ValueError(f"{len(names)} families: at least {FEWEST_FAMILIES} are needed to draw families anew")
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_boot)
    return drawn[:, of]


def squared_gaps(values: ArrayLike, family: ArrayLike, size: ArrayLike) -> tuple[Floats, Floats]:
    """Mean squared gap between two families' means, and between a family's largest and smallest member.

    values: (R, K), of K architectures; family, size: (K,). Families of one architecture are left out. Gives between
    (R,) and within (R,), in squared units of the values. Noise adds to both: see `less_noise`. Raises ValueError where
    fewer than two families have two members.
    """
    values, family, size = np.asarray(values, dtype=float), np.asarray(family, dtype=str), np.asarray(size)
    groups = [np.flatnonzero(family == name) for name in np.unique(family)]
    groups = [group[np.argsort(size[group], kind="stable")] for group in groups if len(group) > 1]  # smallest first
    if len(groups) < 2:
        raise ValueError("fewer than two families have two members")
    means = np.stack([values[:, group].mean(axis=1) for group in groups], axis=1)  # (R, F)
    between = 2 * means.var(axis=1, ddof=1)  # the mean over pairs of their squared differences
    within = np.mean([(values[:, group[-1]] - values[:, group[0]]) ** 2 for group in groups], axis=0)
    return between, within


def less_noise(value: float, replicates: ArrayLike) -> tuple[float, Floats]:
    """A sum of squares without what noise adds to it, and its replicates (R,).

    value: computed from estimates; replicates: (R,) the same from estimates drawn anew, NaN ones left out. Noise
    adds to squares, on average as much as drawing anew adds once more. So that much is subtracted from the value, which
    is then unbiased (Efron and Tibshirani, An Introduction to the Bootstrap 1993, sec. 10.2), and twice that much from
    the replicates, which have the noise of the estimates and that of the draw.
    """
    replicates = np.asarray(replicates, dtype=float)
    noise = np.nanmean(replicates) - value
    return float(value - noise), replicates - 2 * noise
