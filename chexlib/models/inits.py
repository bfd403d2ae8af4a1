"""Initial weights: random, ImageNet's, their scale alone (`mean_var`), or a file's.

One row an init. Where ImageNet weights come from is chexlib.models.weights'. A checkpoint's own classifier is
dropped: the head on top is always fresh.

`mean_var` is Transfusion's (Raghu et al. 2019, section 5): each tensor of weights redrawn from a normal
distribution with the mean and variance that the pretrained tensor has, which keeps its scale and destroys its
features. Running statistics of batch normalisation are no weights: they start afresh.

The names are checked where no network is built, so importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models.weights import Source, fill, load, load_tensors, source
from chexlib.models.zoo import Architecture

if TYPE_CHECKING:
    from torch import nn


def initialise(network: nn.Module, row: Architecture, init: str, seed: int) -> Source | None:
    """Fill `network` (built at random) in place as `init` says; None where its weights come from no checkpoint."""
    if init.startswith(FILE):
        return _from_file(network, row, init, seed)
    return INITS[init](network, row, init, seed)


def check(init: str) -> None:
    """Refuse (`UserError`) an init that there is not."""
    if init not in INITS and not (isinstance(init, str) and init.startswith(FILE) and init != FILE):
        raise UserError(f"init={init!r} is not known; there are {', '.join(INITS)} and file:<path.safetensors>")


def _random(network: nn.Module, row: Architecture, init: str, seed: int) -> None:
    """The architecture's own random initialisation: the network as it was built."""


def _imagenet(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    return {"init": init, **load(network, row)[1]}


def _mean_var(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    import torch

    fresh = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = _imagenet(network, row, init, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            mean, std = weight.mean(), weight.std(correction=0)
            weight.copy_(mean + std * torch.randn(weight.shape, generator=generator))
        for name, buffer in network.named_buffers():
            buffer.copy_(fresh[name])
    return found


def _from_file(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    """A state dict in safetensors, ours (`trunk.*`) or timm's; what a truncated network lacks is left out."""
    path = Path(init.removeprefix(FILE)).expanduser()
    if not path.is_file():
        raise UserError(f"init={init!r}: there is no file {path}")
    tensors = load_tensors(path)
    ours = {name.removeprefix("trunk."): value for name, value in tensors.items() if name.startswith("trunk.")}
    fill(network, ours or tensors, path.name)
    return {"init": FILE + path.name, **source("file", path, row, licence="")}


FILE = "file:"
FROM_IMAGENET = ("imagenet", "mean_var")  # images are normalised as the checkpoint's were
INITS: dict[str, Callable[[nn.Module, Architecture, str, int], Source | None]] = {
    "random": _random,
    "imagenet": _imagenet,
    "mean_var": _mean_var,
}
