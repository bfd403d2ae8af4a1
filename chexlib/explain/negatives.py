"""What negative values in the feature maps do to class activation maps.

Grad-CAM was made for maps that end in a ReLU. Those of a truncated DenseNet, MNASNet or EfficientNet end in a
convolution, a norm or a sum of blocks, and about half of their values are negative; SiLU and Hardswish leave small
ones. The maps here keep them (`chexlib.explain.cam` says why); this module makes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chexlib.explain.cam import evaluating, maps_of, parts, scaled, sums
from chexlib.stats.correlation import rank_correlations

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier


@dataclass(frozen=True)
class Negatives:
    """The same maps with and without the negative values of the network's last feature maps."""

    share: float  # of the feature maps' values that are below zero
    kept: Tensor  # (N, T, h, w) the maps as `cam` gives them
    cut: Tensor  # (N, T, h, w) with the feature maps cut off below zero first

    @property
    def correlations(self) -> np.ndarray:
        """(N, T): Spearman's rank correlation of the two over the points of a map; NaN where one of them is flat."""
        kept, cut = (maps.flatten(2).flatten(0, 1).numpy(force=True) for maps in (self.kept, self.cut))
        return rank_correlations(kept, cut).reshape(self.kept.shape[:2])

    @property
    def same_peak(self) -> float:
        """The share of maps that are brightest at the same point, of those that are not all zero with either."""
        kept, cut = (maps.flatten(2) for maps in (self.kept, self.cut))
        lit = (kept.amax(dim=2) > 0) & (cut.amax(dim=2) > 0)
        return float((kept.argmax(dim=2) == cut.argmax(dim=2))[lit].double().mean())

    @property
    def dark(self) -> tuple[float, float]:
        """The shares of maps that are zero everywhere: with the negative values kept, and cut off."""
        return tuple(float((maps.amax(dim=(2, 3)) == 0).double().mean()) for maps in (self.kept, self.cut))


def negatives(
    model: Classifier, images: Tensor, findings: Sequence[int | str] | None = None, method: str = "paper"
) -> Negatives:
    """Native maps of `images` (N, 3, H, W) with the negative values kept and cut off; arguments as those of `cam`."""
    kept, cut = (scaled(*sums(model, images, findings, method, negatives=keep)) for keep in (True, False))
    below = total = 0
    with evaluating(model), torch.no_grad():
        for part in parts(images):
            maps = maps_of(model, part)  # (n, C, h, w)
            below, total = below + int((maps < 0).sum()), total + maps.numel()
    return Negatives(below / total, kept, cut)
