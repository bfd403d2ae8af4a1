"""Statistics of classifiers: areas, their bootstrap over patients and seeds, tests, intervals, power, calibration.

Knows nothing of images, networks or runs: arrays in, numbers out. `y` is 1 present, 0 absent and NaN unknown
throughout; an unknown label leaves its row out of that task alone. A part of the rows (a sex, an age group, a view) is
the same call on these rows.
"""

from chexlib.stats.auc import auroc
from chexlib.stats.auprc import average_precision
from chexlib.stats.bca import bca_interval
from chexlib.stats.bootstrap import (
    BootstrapAreas,
    Difference,
    Differences,
    bootstrap_auprc,
    bootstrap_auroc,
    paired_difference,
    percentile_interval,
    resample_counts,
)
from chexlib.stats.calibration import Reliability, brier, reliability
from chexlib.stats.correlation import (
    Spearman,
    rank_correlations,
    spearman,
    spearman_interval,
    spearman_over_architectures,
    spearman_p,
)
from chexlib.stats.delong import DeLong, delong, delong_covariance
from chexlib.stats.effects import MeanEffect, mean_effect
from chexlib.stats.equivalence import Equivalence, equivalence
from chexlib.stats.intervals import verdict
from chexlib.stats.multiple import benjamini_hochberg, holm
from chexlib.stats.power import detection_power, hanley_mcneil, least_detectable
from chexlib.stats.proportion import wilson
from chexlib.stats.rounded import Rounded, spearman_rounded
from chexlib.stats.seeds import SeedDraws, SeedSpread, draw_seeds, seed_shifts, seed_spreads, seeds_interval
from chexlib.stats.thresholds import OperatingPoint, choose_threshold, operating_point

__all__ = [
    "BootstrapAreas",
    "DeLong",
    "Difference",
    "Differences",
    "Equivalence",
    "MeanEffect",
    "OperatingPoint",
    "Reliability",
    "Rounded",
    "SeedDraws",
    "SeedSpread",
    "Spearman",
    "auroc",
    "average_precision",
    "bca_interval",
    "benjamini_hochberg",
    "bootstrap_auprc",
    "bootstrap_auroc",
    "brier",
    "choose_threshold",
    "delong",
    "delong_covariance",
    "detection_power",
    "draw_seeds",
    "equivalence",
    "hanley_mcneil",
    "holm",
    "least_detectable",
    "mean_effect",
    "operating_point",
    "paired_difference",
    "percentile_interval",
    "rank_correlations",
    "reliability",
    "resample_counts",
    "seed_shifts",
    "seed_spreads",
    "seeds_interval",
    "spearman",
    "spearman_interval",
    "spearman_over_architectures",
    "spearman_p",
    "spearman_rounded",
    "verdict",
    "wilson",
]
