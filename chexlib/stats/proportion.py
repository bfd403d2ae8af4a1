"""An interval of a share, such as a sensitivity or an observed frequency."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from chexlib.stats.auc import Floats


def wilson(hits: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval (Journal of the American Statistical Association 1927) of hits / n: low, high.

    Takes numbers or arrays that broadcast; NaN where n is 0. It stays in [0, 1], has a width at 0 and n hits, and
    treats rows as independent, so that it is too narrow where patients have several.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, e.g. 0.95")
    hits, n = np.broadcast_arrays(np.asarray(hits, dtype=float), np.asarray(n, dtype=float))
    z, n = ndtri((1 + level) / 2), np.where(n > 0, n, np.nan)
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.where(hits == 0, 0.0, centre - half) + 0 * n, np.where(hits == n, 1.0, centre + half) + 0 * n
