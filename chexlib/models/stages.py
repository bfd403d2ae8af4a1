"""Truncation by one rule, for every network of timm that the paper did not truncate.

timm says which modules end a network's stages (`feature_info`). A run on torch's meta device shows which modules have
not begun when a stage ends: with `minus=1` those go that have not begun when the last stage but one ends, and so on.
What is not part of making maps (pooling, a head with its norm) goes, too. In the networks that the paper truncated,
the rule gives the paper's cuts.

Stages are the children of a sequence of sequences where timm's list points into one (the seven of an EfficientNet, of
which timm lists five), otherwise timm's own, from stride 4 on, which leaves out stems.
"""

from __future__ import annotations

from functools import cache
from itertools import count as counter

import torch
from torch import nn

from chexlib.models.timm_rows import FINDINGS, count, feature_info, on_meta, shape_of_maps
from chexlib.models.truncate import Cut, Truncation
from chexlib.models.zoo import architecture

STEM = 4  # pixels: maps of a smaller stride are a stem's


@cache
def by_rule(name: str) -> Truncation:
    """How far a network can be truncated; without cuts where its stages do not simply follow one another."""
    row = architecture(name)
    network, size = on_meta(row), row.top1_px
    stages = _stages(network)
    cuts: list[Cut] = []
    gone: set[str] = set()
    for modules, shape in _endings(network, stages, size)[-2::-1]:
        modules = tuple(module for module in modules if module not in gone)
        for module in modules:
            network.set_submodule(module, nn.Identity(), strict=True)
        if len(shape) != 4 or shape_of_maps(network, size) != shape:
            break
        gone |= set(modules)
        cuts.append(Cut(modules, shape[1], count(network) + (shape[1] + 1) * FINDINGS))
    return Truncation("stages", len(stages), tuple(cuts))


def _stages(network: nn.Module) -> list[str]:
    """The names of the modules that are, or end, the stages."""
    listed = [(stage["module"], stage["reduction"]) for stage in feature_info(network) if stage.get("module")]
    for parent in dict.fromkeys(module.rpartition(".")[0] for module, _ in listed):
        sequence = network.get_submodule(parent)
        if isinstance(sequence, nn.Sequential) and all(isinstance(child, nn.Sequential) for child in sequence):
            return [f"{parent}.{child}" for child, _ in sequence.named_children()]
    modules = dict(network.named_modules())
    return [module for module, stride in listed if stride >= STEM and module in modules and _chained(network, module)]


def _chained(network: nn.Module, name: str) -> bool:
    """Whether what a module lies in only runs its parts in order: a block's shortcut could not be cut through."""
    parts = name.split(".")
    around = [network.get_submodule(".".join(parts[:depth])) for depth in range(1, len(parts))]
    return all(isinstance(module, nn.Sequential | nn.ModuleList) for module in around)


def _endings(network: nn.Module, stages: list[str], size: int) -> list[tuple[tuple[str, ...], torch.Size]]:
    """For each stage, the modules that have not begun when it ends, and the shape of its maps (empty if it has none).

    A module is looked at where it stands beside the stage, or beside a module that the stage lies in.
    """
    ticks, begun, ended = counter(), {}, {}

    def begins(module, images) -> None:
        begun.setdefault(module, next(ticks))

    def ends(module, images, maps) -> None:
        ended.setdefault(module, (next(ticks), getattr(maps, "shape", ())))

    hooks = [module.register_forward_pre_hook(begins) for module in network.modules()]
    hooks += [network.get_submodule(name).register_forward_hook(ends) for name in stages]
    shape_of_maps(network, size)
    for hook in hooks:
        hook.remove()

    def after(name: str) -> tuple[str, ...]:
        end, found, parts = ended[network.get_submodule(name)][0], [], name.split(".")
        for depth, own in enumerate(parts):
            for child, module in network.get_submodule(".".join(parts[:depth])).named_children():
                if child != own and all(begun.get(part, end) >= end for part in module.modules()):
                    found.append(".".join([*parts[:depth], child]))
        return tuple(found)

    if len(ended) < len(stages):
        return []
    return [(after(name), ended[network.get_submodule(name)][1]) for name in stages]
