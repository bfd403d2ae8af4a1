"""Sanity checks after Adebayo et al. (2018): a map that stays as it is when weights are made random explains nothing.

A layer is made random by shuffling the values within each of its weight tensors: it keeps their distribution, and loses
what was learned. Layers go from the top: cascading, each with all above it, or independently, each alone. After each
step the maps are compared with the trained network's, by Spearman's rank correlation over the points of a map (the
paper's measure); it must fall towards 0. What is compared are maps at their native resolution before the ReLU, signs
and all: ranks do not see the scaling that follows, and a map that the ReLU leaves dark can be compared all the same.
The trained network's map of another image is the mark beside it: as much as all images have in common, where the
findings lie in them and where the borders are.

Batch norms of random layers measure their mean and variance anew on the images given: those of the trained network
belong to other weights, and signals would vanish or burst.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chexlib.errors import UserError
from chexlib.explain.cam import at_once, sums_by_method
from chexlib.stats.bootstrap import mean_over_tasks
from chexlib.stats.correlation import rank_correlations

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier

Layer = tuple[str, ...]
"""Names of modules that are made random together."""


@dataclass(frozen=True)
class Sanity:
    """Rank correlations with the trained network's maps, the mean over findings of each image. L layers, N images.

    NaN where no finding's maps could be compared: of fewer than three points, or flat.
    """

    layers: tuple[str, ...]  # (L,) from the top
    cascading: np.ndarray  # (L, N) with this layer and all above it random
    independent: np.ndarray  # (L, N) with this layer alone random
    elsewhere: np.ndarray  # (N,) the trained network's map of the next image


def sanity(
    model: Classifier,
    images: Tensor,
    findings: Sequence[int | str] | None = None,
    methods: Sequence[str] = ("paper",),
    seed: int = 0,
) -> dict[str, Sanity]:
    """Both checks of a trained model on `images` (N, 3, H, W), N at least 2, by each method; arguments as for `cam`.

    The methods see the same random networks. The model is left as it was: copies are made random. Raises `UserError`
    for a single image, and as `cam` does.
    """
    if len(images) < 2:
        raise UserError("sanity checks compare images: give at least 2")
    trained = _maps(model, images, findings, methods)
    layers = layers_of(model)

    def alike(chosen: Sequence[Layer]) -> dict[str, np.ndarray]:
        """(N,) by method, with these layers random."""
        random = _maps(randomised(model, images, chosen, seed), images, findings, methods)
        return {method: _similarity(trained[method], random[method]) for method in methods}

    independent = [alike([layer]) for layer in layers]
    cascading = [independent[0], *(alike(layers[:depth]) for depth in range(2, len(layers) + 1))]
    return {
        method: Sanity(
            tuple(layer[0] for layer in layers),
            np.stack([one[method] for one in cascading]),
            np.stack([one[method] for one in independent]),
            _similarity(trained[method], trained[method].roll(-1, dims=0)),
        )
        for method in methods
    }


def layers_of(model: Classifier) -> list[Layer]:
    """The head and the trunk's stages, from the top; what has no convolution (a norm) goes with what it follows."""
    prefix, trunk = "trunk", model.trunk
    children = _with_weights(trunk)
    while len(children) == 1 and _with_weights(children[0][1]):  # densenet121 has all it has in `features`
        [(name, trunk)] = children
        prefix, children = f"{prefix}.{name}", _with_weights(trunk)
    layers: list[Layer] = []
    for name, module in children:
        parts = _with_weights(module)
        sequence = isinstance(module, nn.Sequential) and all(isinstance(part, nn.Sequential) for _, part in parts)
        names = [f"{name}.{part}" for part, _ in parts] if sequence and parts else [name]  # an EfficientNet's blocks
        for one in names:
            convolves = any(weight.ndim > 1 for weight in trunk.get_submodule(one).parameters())
            if convolves or not layers:
                layers.append((f"{prefix}.{one}",))
            else:
                layers[-1] = (*layers[-1], f"{prefix}.{one}")
    return [("head",), *layers[::-1]]


def randomised(model: Classifier, images: Tensor, layers: Sequence[Layer], seed: int = 0) -> Classifier:
    """A copy with these layers' weights shuffled: each in the same way, whatever is shuffled beside it."""
    copy = deepcopy(model).eval()
    measured = False
    with torch.no_grad():
        for module in (copy.get_submodule(name) for layer in layers for name in layer):
            generator = torch.Generator().manual_seed(seed)
            for weight in module.parameters():
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
            for norm in (part for part in module.modules() if isinstance(part, _BatchNorm)):
                norm.reset_running_stats()
                norm.momentum, measured = None, True  # the mean over all batches that follow
                norm.train()
        if measured:
            for part in images.split(max(2, at_once(images))):
                copy.maps(part)
    return copy.eval()


def _with_weights(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _maps(
    model: Classifier, images: Tensor, findings: Sequence[int | str] | None, methods: Sequence[str]
) -> dict[str, Tensor]:
    """Weighted sums of the feature maps, (N, T, points), by method."""
    found, _ = sums_by_method(model, images, findings, methods)
    return {method: sums.flatten(2) for method, sums in found.items()}


def _similarity(a: Tensor, b: Tensor) -> np.ndarray:
    """(N,): the mean over findings of the rank correlations of two sets of maps (N, T, points)."""
    each = rank_correlations(*(maps.flatten(0, 1).double().numpy(force=True) for maps in (a, b)))  # (N T,)
    return mean_over_tasks(each.reshape(a.shape[:2]))
