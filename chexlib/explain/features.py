"""What a network makes of images, stage by stage: its feature maps, read as they pass.

Stages have the names that inits have for them (`transfusion:block2`): `conv1` is what enters the first stage, `block1`,
`block2` ... what the stages make. A network that begins with its first stage, as Transfusion's own do, has no `conv1`.
Every network has `maps`, what its pooling sees, be it the last stage's or what a further convolution makes of that.

Maps are copied when they are read: a ReLU that works in place would change them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chexlib.errors import UserError
from chexlib.explain.cam import maps_of, parts
from chexlib.models.networks import evaluating
from chexlib.models.truncate import stage_modules

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier


def stage_features(model: Classifier, images: Tensor, stages: Sequence[str] | None = None) -> dict[str, Tensor]:
    """The feature maps of each stage, by name, from the first to `maps`: (N, C, h, w), copies.

    `images` (N, 3, H, W) are normalised as the model takes them; `stages` are the names wanted (all, where None). Early
    maps are large, so give a batch of images and ask for what is needed. The model is run in evaluation mode and left
    as it was. Raises `UserError` for a stage that the model does not have, and for images that it does not take.
    """
    ends = _ends(model)
    known = [*(["conv1"] if _has_stem(model, ends) else []), *ends, "maps"]
    if missing := [name for name in stages or () if name not in known]:
        raise UserError(f"stage {missing[0]!r}: {model.label} has {', '.join(known)}")
    found: dict[str, list[Tensor]] = {name: [] for name in known if stages is None or name in stages}
    hooks = [module.register_forward_hook(_keeps(found[name])) for name, module in ends.items() if name in found]
    if "conv1" in found:
        hooks.append(ends["block1"].register_forward_pre_hook(_keeps(found["conv1"])))
    try:
        with evaluating(model), torch.no_grad():
            for part in parts(images):
                maps = maps_of(model, part)
                if "maps" in found:
                    found["maps"].append(maps.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(maps) for name, maps in found.items()}


def _ends(model: Classifier) -> dict[str, nn.Module]:
    """The modules that are, or end, the stages that the model has left, as `block1`, `block2` ... in order."""
    modules = [model.trunk.get_submodule(name) for name in stage_modules(model.trunk)]
    left = [module for module in modules if not isinstance(module, nn.Identity)]  # what truncation leaves of a stage
    return {f"block{n}": module for n, module in enumerate(left, start=1)}


def _has_stem(model: Classifier, ends: dict[str, nn.Module]) -> bool:
    """Whether there are weights before the first stage."""
    first = next(model.trunk.parameters())
    return bool(ends) and all(weight is not first for weight in ends["block1"].parameters())


def _keeps(found: list[Tensor]) -> Callable[..., None]:
    """A hook that keeps a copy of what a module makes, or, before it runs, of what enters it."""

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | None = None) -> None:
        found.append((inputs[0] if output is None else output).clone())

    return keep
