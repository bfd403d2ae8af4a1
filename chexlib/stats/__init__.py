"""Statistics of classifiers: AUROC, its bootstrap over patients, DeLong's test, rank correlation.

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

__all__ = [
    "BootstrapAuroc",
    "DeLong",
    "Difference",
    "Spearman",
    "auroc",
    "bootstrap_auroc",
    "delong",
    "paired_difference",
    "percentile_interval",
    "resample_counts",
    "spearman",
    "spearman_interval",
]
