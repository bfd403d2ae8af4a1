"""Whether a map's brightest points are those that the network used: deletion and insertion curves.

Petsiuk et al., "RISE" (BMVC 2018): points are taken from the image, the brightest on the map first, and a faithful map
makes the probability fall fast, so the area under its deletion curve is small; or they are put back into a blurred
image, and the area under its insertion curve is large. Points that are taken away become 0, the normalisation's mean.
No one's drawing is needed. Images with holes are none that a network was trained on, and a fine map and a coarse one
take points away in other shapes, so a curve is to be read beside that of `random_order` with cells of the same size.
Equal points, as where a map is zero, go in the order of random cells of that size, too (`cells`): one by one they would
make noise, which harms a network in a way of its own, and a blank map would seem to have found something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chexlib.explain.cam import columns_of
from chexlib.models.networks import evaluating

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier

STEPS = 20
BLUR = 5 / 224
"""Standard deviation of the blur from which insertion starts, in parts of the image's longer side: the one that the
source names (its kernel of 11 pixels cuts that bell off at 5)."""


@dataclass(frozen=True)
class Curves:
    """Probabilities (N, S + 1) of N images after each of S equal steps, and how much was changed by then (S + 1,)."""

    share: np.ndarray
    probability: np.ndarray

    @property
    def area(self) -> np.ndarray:
        """(N,) area under each curve, by the trapezoid rule, in [0, 1]."""
        return np.trapezoid(self.probability, self.share, axis=1)


def deletion(
    model: Classifier,
    images: Tensor,
    maps: Tensor,
    findings: Sequence[int | str],
    cells: tuple[int, int],
    steps: int = STEPS,
    seed: int = 1,
) -> Curves:
    """Curves of `images` (N, 3, H, W), normalised, from whole to empty, along `maps` (N, H, W).

    `findings` names one column of the logits for each image; `cells` (h, w) is how many cells the maps have, and equal
    points follow each other as such cells drawn from `seed` have it. The model is run in evaluation mode and left as it
    was. Raises `ValueError` for shapes that do not fit.
    """
    return _curves(model, images, torch.zeros_like(images), maps, findings, cells, steps, seed)


def insertion(
    model: Classifier,
    images: Tensor,
    maps: Tensor,
    findings: Sequence[int | str],
    cells: tuple[int, int],
    steps: int = STEPS,
    seed: int = 1,
) -> Curves:
    """As `deletion`, from a blurred image to the whole one, the brightest points of `maps` coming first."""
    return _curves(model, blurred(images), images, maps, findings, cells, steps, seed)


def blurred(images: Tensor, sigma: float = BLUR) -> Tensor:
    """Images (N, C, H, W) after a Gaussian of this standard deviation, in parts of the longer side."""
    reach = max(1, round(3 * sigma * max(images.shape[-2:])))
    x = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    bell = torch.exp(-0.5 * (x / (sigma * max(images.shape[-2:]))) ** 2)
    bell = bell / bell.sum()
    flat = images.flatten(0, 1)[:, None]  # (NC, 1, H, W)
    down, across = (0, 0, reach, reach), (reach, reach, 0, 0)
    for kernel, pad in ((bell[None, None, :, None], down), (bell[None, None, None], across)):
        flat = F.conv2d(F.pad(flat, pad, mode="replicate"), kernel)
    return flat.view_as(images)


def random_order(cells: tuple[int, int], n: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Maps (n, H, W) that know nothing: cells (h, w) of random brightness, stretched as an activation map is."""
    drawn = torch.rand((n, 1, *cells), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(drawn, size=size, mode="bilinear", align_corners=False)[:, 0]


def _curves(
    model: Classifier,
    start: Tensor,
    end: Tensor,
    maps: Tensor,
    findings: Sequence,
    cells: tuple[int, int],
    steps: int,
    seed: int,
) -> Curves:
    """From images `start` to images `end` (N, 3, H, W), a share of 1 / steps at a time, the brightest first."""
    n, _, h, w = start.shape
    if tuple(maps.shape) != (n, h, w) or len(findings) != n or not n:
        given = f"images {tuple(start.shape)}, maps {tuple(maps.shape)}, {len(findings)} findings"
        raise ValueError(f"{given}: one map (H, W) and one finding an image are needed")
    if not 1 <= steps <= h * w:
        raise ValueError(f"steps={steps}: an image of {h} x {w} points can be changed in 1 to {h * w} steps")
    maps, ties = maps.to(start.device), random_order(cells, n, (h, w), seed).to(start.device)  # (N, H, W)
    place = _places(maps.flatten(1), ties.flatten(1)).view(n, 1, h, w)  # (N, 1, H, W): 0 for the point that goes first
    share, found = np.linspace(0, 1, steps + 1), []
    with evaluating(model), torch.no_grad():
        for part in share:
            logits = model(torch.where(place < round(part * h * w), end, start))  # (N, T)
            columns = [columns_of([finding], logits.shape[1])[0] for finding in findings]
            found.append(logits[range(n), columns].float().sigmoid())
    return Curves(share, torch.stack(found, dim=1).cpu().numpy())


def _places(values: Tensor, ties: Tensor) -> Tensor:
    """Each value's place (N, P) in its row's descending order, equal ones in the descending order of `ties` (N, P)."""
    drawn = ties.argsort(dim=1, descending=True, stable=True)
    order = drawn.gather(1, values.gather(1, drawn).argsort(dim=1, descending=True, stable=True))  # the brightest first
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
