"""Initial weights: random, ImageNet's, some of ImageNet's, their scale alone, synthetic filters, or a file's.

An init is a word, or a word and its argument (`transfusion:block2`), and each is a row of INITS. Where ImageNet weights
come from is chexlib.models.weights'. A checkpoint's own classifier is dropped: the head on top is always fresh.

Three are Transfusion's (Raghu et al. 2019, section 5):

- `mean_var` draws each tensor anew from a normal distribution with the mean and variance of the pretrained tensor,
  which keeps its scale and destroys its features. The paper does not say which tensors: here all parameters, and with
  `mean_var:weights` those of convolutions and linear layers, while norms begin at scale 1 and shift 0, as in the public
  re-implementation ChrisMats/feature-reuse. Running statistics of batch norm are no weights: they start afresh.
- `transfusion:<stage>` has ImageNet weights up to and including a stage (chexlib.models.truncate.stages), with their
  running statistics, and the architecture's own random ones above.
- `gabor` has synthetic Gabor filters in the first convolution, and all else random. Which filters, the paper's Appendix
  F.3 says, which we do not follow; the function `gabor` has ours.

The names are checked where no network is built, so importing this needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models import probe
from chexlib.models.truncate import check_stage, stage_number, stages
from chexlib.models.weights import Source, fill, load, load_tensors, source
from chexlib.models.zoo import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Init:
    """One way to begin.

    `fill(network, row, argument, seed)` changes a network, built at random, in place, and says where the weights came
    from; None where they come from no checkpoint. `check(row, argument, minus)` refuses (UserError) an argument that
    the architecture, truncated so, does not take. `pretrained`: images are normalised as the checkpoint's were, also
    where only the scale of its weights is left, so that the comparison is not one of two normalisations.
    """

    fill: Callable[[nn.Module, Architecture, str, int], Source | None]
    pretrained: bool = False
    check: Callable[[Architecture, str, int], object] = lambda row, argument, minus: None


def initialise(network: nn.Module, row: Architecture, init: str, seed: int) -> Source | None:
    """Fill `network` (built at random) in place as `init` says; None where its weights come from no checkpoint."""
    chosen, argument = parse(init)
    found = chosen.fill(network, row, argument, seed)
    return found and {"init": init, **found}


def parse(init: str) -> tuple[Init, str]:
    """The row of an init, and its argument ("" where it takes none). Raises UserError for one that there is not."""
    for spelling, row in INITS.items():
        word, takes, _ = spelling.partition("<")
        if takes and str(init).startswith(word) and init != word:
            return row, init.removeprefix(word)
        if init == spelling:
            return row, ""
    raise UserError(f"init={init!r} is not known; there are {', '.join(INITS)}")


def check(init: str, row: Architecture | None = None, minus: int = 0) -> None:
    """Refuse (`UserError`) an init that there is not, and one that the row's network after `minus` cuts cannot take."""
    chosen, argument = parse(init)
    if row is not None:
        chosen.check(row, argument, minus)


def reach(init: str) -> float:
    """How many stages begin with pretrained weights: 0 where none does, 1 for conv1 alone, infinity for all.

    Weights that have no more of the pretrained ones than their scale are none.
    """
    word, _, stage = init.partition(":")
    return math.inf if word == "imagenet" else 1 + stage_number(stage) if word == "transfusion" else 0


def _random(network: nn.Module, row: Architecture, argument: str, seed: int) -> None:
    """The architecture's own random initialisation: the network as it was built."""


def _imagenet(network: nn.Module, row: Architecture, argument: str, seed: int) -> Source:
    return load(network, row)[1]


def _transfusion(network: nn.Module, row: Architecture, stage: str, seed: int) -> Source:
    return load(network, row, without=stages(row)[stage])[1]


def _mean_var(network: nn.Module, row: Architecture, argument: str, seed: int) -> Source:
    from torch import nn

    return _redraw(network, row, nn.Module, seed)


def _mean_var_weights(network: nn.Module, row: Architecture, argument: str, seed: int) -> Source:
    from torch import nn

    found = _redraw(network, row, (nn.Conv2d, nn.Linear), seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()  # a residual block's last one is built with scale 0
    return found


def _redraw(network: nn.Module, row: Architecture, kinds: type | tuple[type, ...], seed: int) -> Source:
    """Draw the parameters of modules of these kinds with the pretrained ones' moments; all else stays as it was."""
    import torch

    pretrained = deepcopy(network)
    found = load(pretrained, row)[1]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module, trained in zip(network.modules(), pretrained.modules(), strict=True):
            if isinstance(module, kinds):
                for weight, old in zip(
                    module.parameters(recurse=False), trained.parameters(recurse=False), strict=True
                ):
                    noise = torch.randn(weight.shape, generator=generator)
                    weight.copy_(old.mean() + old.std(correction=0) * noise)
    return found


def _gabor(network: nn.Module, row: Architecture, argument: str, seed: int) -> None:
    """Orientations, frequencies and phases each spread evenly over the filters, in three orders drawn from the seed.

    Filters are the same in all channels, as a radiograph is, and have the variance of the weights that were there.
    """
    import torch
    from torch import nn

    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    filters, channels, *size = first.weight.shape
    if channels != 3 or size[0] != size[1] or size[0] < 3:
        raise UserError(f"init=gabor: the first convolution of {row.paper_name} is none of 3 x 3 pixels or more "
                        f"over the 3 channels of an image, but {tuple(first.weight.shape)}")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    orientation, frequency, phase = (torch.randperm(filters, generator=generator) / filters for _ in range(3))
    frequency = 1 / size[0] + (1 / 3 - 1 / size[0]) * frequency
    drawn = gabor(torch.pi * orientation, frequency, 2 * torch.pi * phase, size[0])  # (F, k, k)
    with torch.no_grad():
        first.weight.copy_(first.weight.std(correction=0) * drawn[:, None])  # (F, 3, k, k)


def gabor(orientation: Tensor, frequency: Tensor, phase: Tensor, size: int) -> Tensor:
    """Gabor filters (F, size, size), each of mean 0 and variance 1, from F orientations, frequencies and phases.

    g(x, y) = exp(-(x^2 + y^2) / 2 s^2) (cos(2 pi f (x cos a + y sin a) + p) - c), x to the right and y down from the
    middle, in pixels: a wave of `frequency` f (cycles a pixel) that runs in the direction of `orientation` a (radians,
    0 along x), of `phase` p (radians), in a round window of s = size / 4. c makes the mean 0, so that even brightness
    has no response (a Morlet wavelet).
    """
    import torch

    at = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")  # (k, k) each
    a, f, p = (values[:, None, None] for values in (orientation, frequency, phase))  # (F, 1, 1)
    window = torch.exp(-(x**2 + y**2) / (2 * (size / 4) ** 2))
    wave = torch.cos(2 * math.pi * f * (x * a.cos() + y * a.sin()) + p)  # (F, k, k)
    c = (window * wave).sum(dim=(1, 2), keepdim=True) / window.sum()
    filters = window * (wave - c)
    return filters / filters.square().mean(dim=(1, 2), keepdim=True).sqrt()


def _from_file(network: nn.Module, row: Architecture, argument: str, seed: int) -> Source:
    """A file's state dict, ours (`trunk.*`) or timm's; what a truncated network lacks is left out."""
    path = Path(argument).expanduser()
    if not path.is_file():
        raise UserError(f"init='file:{argument}': there is no file {path}")
    tensors = load_tensors(path)
    probe.check_file(path, tensors)
    ours = {name.removeprefix("trunk."): value for name, value in tensors.items() if name.startswith("trunk.")}
    fill(network, ours or tensors, path.name)
    return {"init": f"file:{path.name}", **source("file", path, row, licence="")}


INITS: dict[str, Init] = {
    "random": Init(_random),
    "imagenet": Init(_imagenet, pretrained=True),
    "mean_var": Init(_mean_var, pretrained=True),
    "mean_var:weights": Init(_mean_var_weights, pretrained=True),
    "transfusion:<stage>": Init(_transfusion, pretrained=True, check=check_stage),
    "gabor": Init(_gabor),
    "file:<path>": Init(_from_file),
}
"""By how they are written; what stands in angle brackets is an argument."""
