"""Truncation: which modules go, as data (CheXtransfer, section 3.2 and Table 2).

A truncated network ends after an earlier block; global average pooling and one new linear layer follow. Which
modules go is not in the paper's text; these cut points are those that give its printed sizes: a dense block
and the transition before it (and the final norm), a residual stage, or an inverted-residual stage (and the
1x1 head convolution, with the first one). A module that goes is replaced by the identity, so what remains
keeps its name, its weights and its place.

The paper's networks have their cuts in a table, counted and pinned, and nothing here imports torch until a network is
cut. Any other is cut by one rule, which finds the same cuts in the paper's: timm says which modules end a network's
stages (`feature_info`), and a run on torch's meta device shows which modules have not begun when a stage ends. With
`minus=1` those go that have not begun when the last stage but one ends, and so on; what is not part of making maps
(pooling, a head with its norm) goes, too.

The same look gives stages their names (`stages`, after Transfusion's Figure 7): `conv1` is all that has begun before
the first stage begins, `block2` all up to and including the second stage. So what leads from one stage to the next (a
DenseNet's transition) belongs to the block that it leads into, and what follows the last stage (the head convolution of
an EfficientNet) to none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import count as counter
from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models.zoo import ARCHITECTURES, FINDINGS, LITE, Architecture

if TYPE_CHECKING:
    from torch import Size, nn


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


STAGES = {
    **dict.fromkeys(("DenseNet", "ResNet", "Inception"), 4),
    **dict.fromkeys(("EfficientNet", LITE, "MobileNet", "MNASNet"), 7),
    "NASNet": 0,
}
"""How many stages follow one another in the networks of the table, by family."""


def truncation(row: Architecture) -> Truncation:
    """The cuts of an architecture: the table's, else those that its stages allow (which builds it, on no device)."""
    return TRUNCATIONS.get(row.name) or by_rule(row)


def check_minus(row: Architecture, minus: int, norm: bool = False) -> None:
    """Refuse (`UserError`) a `minus` that the architecture does not have, and a norm behind a whole network."""
    whole, label = isinstance(minus, int) and not isinstance(minus, bool), row.paper_name
    if norm and minus == 0:
        raise UserError(f"norm=True: {label} is whole, and ends as its authors made it: give minus=1 or more")
    if whole and (minus == 0 or 0 < minus <= len(truncation(row).cuts)):
        return
    how = truncation(row)
    if not how.cuts:
        raise UserError(f"minus={minus}: {label} cannot be truncated, it has no stages that simply follow one another")
    raise UserError(f"minus={minus}: {label} has {how.total} {how.blocks}, so 0 to {len(how.cuts)} can be dropped")


def pinned(name: str, minus: int = 0) -> bool:
    """Whether the tables have its number of parameters, so that nothing needs to be built to know it."""
    return name in ARCHITECTURES and (minus == 0 or name in TRUNCATIONS)


def parameters(row: Architecture, minus: int = 0, norm: bool = False) -> int:
    """The number of parameters with a 14-finding head after `minus` cuts; nothing is built where it is `pinned`.

    A norm adds a scale and a shift a channel.
    """
    check_minus(row, minus, norm)
    if not minus:
        return row.parameters
    cut = truncation(row).cuts[minus - 1]
    return cut.parameters + 2 * cut.channels * norm


def truncate(network: nn.Module, row: Architecture, minus: int) -> int:
    """Cut the row's `network` in place and return the channels of its features; `minus` as `check_minus` allows."""
    from torch import nn

    if not minus:
        return network.head_hidden_size
    cuts = truncation(row).cuts[:minus]
    for module in (module for cut in cuts for module in cut.modules):
        network.set_submodule(module, nn.Identity(), strict=True)
    return cuts[-1].channels


def check_stage(row: Architecture, stage: str, minus: int = 0) -> None:
    """Refuse (`UserError`) a stage that is none of the architecture's, or gone after `minus` cuts."""
    names, label = stage_names(row), row.label(minus)
    if not names:
        raise UserError(f"stage {stage!r}: {label} has no stages that simply follow one another")
    kept = names[: len(names) - minus]
    if stage not in kept:
        raise UserError(f"stage {stage!r}: {label} has {', '.join(kept)}")


def stage_names(row: Architecture) -> list[str]:
    """The names of `stages`, in order. A network of the table is not built for them, nor is a Slim one."""
    if row.name not in ARCHITECTURES and not row.channels:
        return list(stages(row))
    blocks = STAGES[row.family]
    return ["conv1", *(f"block{n}" for n in range(1, blocks + 1))] if blocks else []


def stage_number(stage: str) -> int:
    """The place of a stage of this name: 0 for conv1, n for block<n>."""
    return 0 if stage == "conv1" else int(stage.removeprefix("block"))


@cache
def stages(row: Architecture) -> dict[str, tuple[str, ...]]:
    """The stages of a whole network, `conv1`, `block1` ... in order, each with the modules that come after it.

    A network that begins with its first stage (Transfusion's own) has no `conv1`, and one whose stages do not simply
    follow one another has none at all.
    """
    from chexlib.models.networks import on_meta

    if not truncation(row).cuts:
        return {}
    network = on_meta(row)
    first, *ends = (modules for modules, _ in _moments(network, stage_modules(network), row.top1_px))
    stem = {"conv1": first} if any(not lies_in(name, first) for name in network.state_dict()) else {}
    return stem | {f"block{n}": modules for n, modules in enumerate(ends, start=1)}


def lies_in(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a tensor of a state dict belongs to one of these modules."""
    return name.startswith(tuple(f"{module}." for module in modules))


@cache
def by_rule(row: Architecture) -> Truncation:
    """How far a network can be truncated; without cuts where its stages do not simply follow one another."""
    from torch import nn

    from chexlib.models.networks import count, on_meta, shape_of_maps

    network, size = on_meta(row), row.top1_px
    ends = stage_modules(network)
    cuts: list[Cut] = []
    gone: set[str] = set()
    for modules, shape in _moments(network, ends, size)[-2:0:-1]:
        modules = tuple(module for module in modules if module not in gone)
        for module in modules:
            network.set_submodule(module, nn.Identity(), strict=True)
        if len(shape) != 4 or shape_of_maps(network, size) != shape:
            break
        gone |= set(modules)
        cuts.append(Cut(modules, shape[1], count(network) + (shape[1] + 1) * FINDINGS))
    return Truncation("stages", len(ends), tuple(cuts))


def stage_modules(network: nn.Module) -> list[str]:
    """The names of the modules that are, or end, the stages.

    They are the children of a sequence of sequences where timm's list points into one (the seven of an EfficientNet,
    of which timm lists five), otherwise timm's own, from stride 4 on, which leaves out stems.
    """
    from torch import nn

    from chexlib.models.networks import feature_info

    listed = [(stage["module"], stage["reduction"]) for stage in feature_info(network) if stage.get("module")]
    for parent in dict.fromkeys(module.rpartition(".")[0] for module, _ in listed):
        sequence = network.get_submodule(parent)
        kinds = nn.Sequential | nn.Identity  # an identity is what a truncation has left of one
        if isinstance(sequence, nn.Sequential) and all(isinstance(child, kinds) for child in sequence):
            return [f"{parent}.{child}" for child, _ in sequence.named_children()]
    modules = dict(network.named_modules())
    return [module for module, stride in listed if stride >= 4 and module in modules and _chained(network, module)]


def _chained(network: nn.Module, name: str) -> bool:
    """Whether what a module lies in only runs its parts in order: a block's shortcut could not be cut through."""
    from torch import nn

    parts = name.split(".")
    around = [network.get_submodule(".".join(parts[:depth])) for depth in range(1, len(parts))]
    return all(isinstance(module, nn.Sequential | nn.ModuleList) for module in around)


def _moments(network: nn.Module, names: list[str], size: int) -> list[tuple[tuple[str, ...], Size]]:
    """The modules that have not begun when the first of these stages begins, and when each ends, with its maps' shape.

    A module is looked at where it stands beside the stage, or beside a module that the stage lies in. Nothing is given
    where a stage is not run, and no shape of what makes no single tensor.
    """
    from chexlib.models.networks import shape_of_maps

    ticks, begun, ended = counter(), {}, {}

    def begins(module, images) -> None:
        begun.setdefault(module, next(ticks))

    def ends(module, images, maps) -> None:
        ended.setdefault(module, (next(ticks), getattr(maps, "shape", ())))

    stages = [network.get_submodule(name) for name in names]
    hooks = [module.register_forward_pre_hook(begins) for module in network.modules()]
    hooks += [stage.register_forward_hook(ends) for stage in stages]
    shape_of_maps(network, size)
    for hook in hooks:
        hook.remove()

    def after(name: str, tick: int) -> tuple[str, ...]:
        found, parts = [], name.split(".")
        for depth in range(len(parts)):
            for child, module in network.get_submodule(".".join(parts[:depth])).named_children():
                if all(begun.get(part, tick) >= tick for part in module.modules()):
                    found.append(".".join([*parts[:depth], child]))
        return tuple(found)

    if len(ended) < len(stages) or not stages:
        return []
    beginning = (after(names[0], begun[stages[0]]), ())
    return [beginning, *((after(name, ended[stage][0]), ended[stage][1]) for name, stage in zip(names, stages))]
