"""Adjustment of p values for how many there are.

Holm (Scandinavian Journal of Statistics 1979) bounds the chance of a single false rejection, whatever the tests have
to do with one another; Benjamini and Hochberg (Journal of the Royal Statistical Society B 1995) the expected share of
false ones among the rejections, for tests that are independent or positively dependent.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from chexlib.stats.auc import Floats


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p values, of the shape of `p`. A NaN stays one and is not counted as a test.

    Raises ValueError for values outside [0, 1].
    """
    p, known = _checked(p)
    order = np.argsort(p[known])
    ordered = p[known][order] * np.arange(len(order), 0, -1)  # the smallest times m, the next times m - 1 ...
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(ordered), 1.0)
    return _placed(adjusted, known)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Benjamini and Hochberg's adjusted p values, of the shape of `p`. NaN and errors as for `holm`."""
    p, known = _checked(p)
    return _placed(false_discovery_control(p[known]) if known.any() else np.empty(0), known)


def _checked(p: ArrayLike) -> tuple[Floats, np.ndarray]:
    p = np.asarray(p, dtype=float)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError("p holds values outside [0, 1]")
    return p, known


def _placed(values: Floats, known: np.ndarray) -> Floats:
    out = np.full(known.shape, np.nan)
    out[known] = values
    return out
