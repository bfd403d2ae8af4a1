"""Statistics of classifiers: areas, their bootstrap over patients and seeds, tests, intervals, power, calibration.

Knows nothing of images, networks or runs: arrays in, numbers out. `y` is 1 present, 0 absent and NaN unknown
throughout; an unknown label leaves its row out of that task alone. A part of the rows (a sex, an age group, a view) is
the same call on these rows.
"""

from chexlib.stats.auc import auroc
from chexlib.stats.bootstrap import (
    BootstrapAreas,
    Difference,
    bootstrap_auprc,
    bootstrap_auroc,
    paired_difference,
    resample_counts,
    smallest_difference,
)
from chexlib.stats.calibration import Reliability, brier, reliability
from chexlib.stats.correlation import Spearman, rank_correlations, spearman, spearman_p, spearman_rounded
from chexlib.stats.delong import DeLong, delong, delong_covariance
from chexlib.stats.factorial import VarianceShares, variance_shares
from chexlib.stats.families import (
    FEWEST_ARCHITECTURES,
    FEWEST_FAMILIES,
    draw_families,
    less_noise,
    squared_gaps,
)
from chexlib.stats.intervals import (
    FEW,
    bca_interval,
    benjamini_hochberg,
    effective_size,
    enough,
    equivalence,
    hanley_mcneil,
    holm,
    least_detectable,
    percentile_interval,
    verdict,
    wilson,
)
from chexlib.stats.seeds import SeedSpread, jackknife, seed_contrast, seed_shifts, seed_spreads
from chexlib.stats.thresholds import choose_threshold
