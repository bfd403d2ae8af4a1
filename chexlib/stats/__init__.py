"""Statistics of classifiers: AUROC, its bootstrap over patients and seeds, DeLong's test, rank correlation.

Knows nothing of images, networks or runs: arrays in, numbers out. `y` is 1 present, 0 absent and NaN unknown
throughout; an unknown label leaves its row out of that task alone.
"""

from chexlib.stats.auc import auroc
from chexlib.stats.bootstrap import (
    BootstrapAuroc,
    Difference,
    bootstrap_auroc,
    paired_difference,
    percentile_interval,
    resample_counts,
)
from chexlib.stats.correlation import Spearman, spearman, spearman_interval
from chexlib.stats.delong import DeLong, delong
from chexlib.stats.seeds import SeedDraws, draw_seeds, seeds_interval

__all__ = [
    "BootstrapAuroc",
    "DeLong",
    "Difference",
    "SeedDraws",
    "Spearman",
    "auroc",
    "bootstrap_auroc",
    "delong",
    "draw_seeds",
    "paired_difference",
    "percentile_interval",
    "resample_counts",
    "seeds_interval",
    "spearman",
    "spearman_interval",
]
