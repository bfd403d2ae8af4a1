"""Truncation: which modules go, as data (CheXtransfer, section 3.2 and Table 2).

A truncated network ends after an earlier block; global average pooling and one new linear layer follow. Which
modules go is not in the paper's text; these cut points are those that give its printed sizes: a dense block
and the transition before it (and the final norm), a residual stage, or an inverted-residual stage (and the
1x1 head convolution, with the first one). A module that goes is replaced by the identity, so what remains
keeps its name, its weights and its place.

The paper's networks have their cuts in a table, counted and pinned, and nothing here imports torch until a network is
cut. Any other is cut by the rule of `chexlib.models.stages`, which finds the same cuts in the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models.zoo import ARCHITECTURES, architecture

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cut:
    """One more block dropped: the modules that go, the channels of the maps that remain, and the whole model's
    parameters with a 14-finding head after this cut."""

    modules: tuple[str, ...]
    channels: int
    parameters: int


@dataclass(frozen=True)
class Truncation:
    """How far an architecture can be truncated: what its blocks are called, how many it has, the cuts in order."""

    blocks: str
    total: int
    cuts: tuple[Cut, ...]


_HEAD = ("conv_head", "bn2")
TRUNCATIONS: dict[str, Truncation] = {
    "densenet121": Truncation("dense blocks", 4, (
        Cut(("features.transition3", "features.denseblock4", "features.norm5"), 1024, 4281742),
        Cut(("features.transition2", "features.denseblock3"), 512, 1304718),
        Cut(("features.transition1", "features.denseblock2"), 256, 348174))),
    "mnasnet": Truncation("stages", 7, (
        Cut(("blocks.6", *_HEAD), 192, 2087414),
        Cut(("blocks.5",), 96, 474614),
        Cut(("blocks.4",), 80, 265206),
        Cut(("blocks.3",), 40, 46966))),
    "resnet18": Truncation("residual stages", 4, (
        Cut(("layer4",), 256, 2786382),
        Cut(("layer3",), 128, 684878),
        Cut(("layer2",), 64, 158414))),
    "efficientnet_b0": Truncation("stages", 7, (
        Cut(("blocks.6", *_HEAD), 192, 2880858),
        Cut(("blocks.5",), 112, 853390))),
    "efficientnet_lite0": Truncation("stages", 7, (
        Cut(("blocks.6", *_HEAD), 192, 2356110),
        Cut(("blocks.5",), 112, 702350))),
}  # fmt: skip


def truncation(name: str) -> Truncation:
    """The cuts of an architecture: the table's, else those that its stages allow (which builds it, on no device)."""
    if name in TRUNCATIONS:
        return TRUNCATIONS[name]
    from chexlib.models.stages import by_rule

    return by_rule(name)


def depth(name: str) -> int:
    """The largest `minus` of an architecture; 0 for those that cannot be truncated."""
    return len(truncation(name).cuts)


def check_minus(name: str, minus: int) -> None:
    """Refuse (`UserError`) a `minus` that architecture `name` does not have."""
    whole = isinstance(minus, int) and not isinstance(minus, bool)
    if whole and (minus == 0 or 0 < minus <= depth(name)):
        return
    label, how = architecture(name).paper_name, truncation(name)
    if not how.cuts:
        raise UserError(f"minus={minus}: {label} cannot be truncated, it has no stages that simply follow one another")
    raise UserError(f"minus={minus}: {label} has {how.total} {how.blocks}, so 0 to {depth(name)} can be dropped")


def pinned(name: str, minus: int = 0) -> bool:
    """Whether the tables have its number of parameters, so that nothing needs to be built to know it."""
    return name in ARCHITECTURES and (minus == 0 or name in TRUNCATIONS)


def parameters(name: str, minus: int = 0) -> int:
    """The number of parameters with a 14-finding head after `minus` cuts; nothing is built where it is `pinned`."""
    check_minus(name, minus)
    return truncation(name).cuts[minus - 1].parameters if minus else architecture(name).parameters


def truncate(network: nn.Module, name: str, minus: int) -> int | None:
    """Cut `network` in place and return the channels of its last maps (None when nothing was cut)."""
    from torch import nn

    check_minus(name, minus)
    if not minus:
        return None
    cuts = truncation(name).cuts[:minus]
    for module in (module for cut in cuts for module in cut.modules):
        network.set_submodule(module, nn.Identity(), strict=True)
    return cuts[-1].channels
