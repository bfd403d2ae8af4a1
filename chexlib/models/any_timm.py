"""A row for any convolutional network of timm that the tables lack: read off timm's config, and off the network.

The network is built on torch's meta device, which knows shapes and computes nothing, so that its size and the images
that it takes are found by trying, in a second or two and without memory. timm is imported when such a row is asked for.

Refused are networks that take one size of images (most transformers: their position embeddings and windows are cut to
it), and those whose last maps are not (N, C, h, w), which truncation, pooling and class activation maps need.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from functools import cache, partial
from typing import Any

from torch import nn

from chexlib.errors import UserError
from chexlib.models.networks import count, feature_info, on_meta, shape_of, shape_of_maps
from chexlib.models.zoo import ARCHITECTURES, FINDINGS, IMAGENET_MEAN, IMAGENET_STD, Architecture, unknown


@cache
def timm_row(name: str) -> Architecture:
    """The row of a timm name, with its checkpoint's tag (`convnext_tiny.fb_in1k`) or without (timm's default tag).

    Raises UserError for a name or a tag that timm does not have, and for a network that is refused.
    """
    config = _config(name)
    size = config.input_size[-1]
    if config.fixed_input_size:
        raise UserError(f"architecture {name!r} takes images of {size} px alone, for its embeddings or windows: "
                        "choose a convolutional network")  # fmt: skip
    row = Architecture(
        name=name,
        paper_name=name,
        family="",
        tag=f"{config.architecture}.{config.tag}" if config.tag else config.architecture,
        top1=float("nan"),
        top1_px=size,
        top1_source="",
        parameters=0,
        parameters_1000=0,
        mean=tuple(config.mean or IMAGENET_MEAN),
        std=tuple(config.std or IMAGENET_STD),
        in_paper=False,
        pools_last=False,
        licence=config.license or "",
        hub=_hub(config),
        note="not in the table",
    )
    network = on_meta(row)
    maps = shape_of_maps(network, size)
    if maps is None or len(maps) != 4 or maps[1] != network.num_features:
        shape = "" if maps is None else f" but {tuple(maps)}"
        raise UserError(f"architecture {name!r}: its last maps are not (N, C, h, w){shape}: "
                        "choose a convolutional network")  # fmt: skip
    if shape_of(partial(network.forward_head, pre_logits=True), *maps) != (2, network.head_hidden_size):
        raise UserError(f"architecture {name!r} has no pooling for a classifier: choose a convolutional network")
    powers = (2**power for power in range(9))  # 1 to 256 px
    multiple = next((m for m in powers if _takes(network, size + m) and _takes(network, size + 3 * m)), size)
    return replace(
        row,
        family=_family(config.architecture, network),
        parameters=count(network) + (network.head_hidden_size + 1) * FINDINGS,
        smallest=_smallest(network, config, multiple),
        multiple=multiple,
    )


def _config(name: str) -> Any:
    """What timm says of a checkpoint; UserError, with the nearest names, where it knows none of this name.

    timm still builds networks by the names that it gave up. They are refused with their present ones, so that one
    network has one name, in tables and in the names of runs.
    """
    import timm

    architecture, dot, _ = str(name).partition(".")
    former = timm.models.get_deprecated_models()
    if architecture in former:
        now = f"is now called {former[architecture]!r}" if former[architecture] else "has no other"
        raise UserError(f"architecture {name!r} is a name that timm gave up: the network {now}")
    tags = timm.list_pretrained(f"{architecture}.*") if dot else []
    if not timm.is_model(architecture) or (dot and name not in tags):
        raise unknown(name, tags or timm.list_models())
    return timm.get_pretrained_cfg(name)


def _hub(config: Any) -> str | None:
    """The checkpoint's repository on the hub; "" where it has none, None where it is the usual one."""
    if not (config.has_weights and config.hf_hub_id):
        return ""
    return None if config.hf_hub_id == f"timm/{config.architecture}.{config.tag}" else config.hf_hub_id


def _takes(network: nn.Module, size: int) -> bool:
    return shape_of_maps(network, size) is not None


def _smallest(network: nn.Module, config: Any, multiple: int) -> int:
    """timm's smallest image where it names one, else one cell of the last maps, or more where the layers need more."""
    stride = max((stage["reduction"] for stage in feature_info(network)), default=32)
    least = config.min_input_size[-1] if config.min_input_size else stride
    sizes = range(-(-least // multiple) * multiple, config.input_size[-1] + 1, multiple)
    if not sizes or _takes(network, sizes[0]):
        return max(least, multiple)
    return sizes[min(bisect_left(sizes, True, key=lambda size: _takes(network, size)), len(sizes) - 1)]


def _family(name: str, network: nn.Module) -> str:
    """The table's family where the name says it (resnet152 is a ResNet), else timm's, else the name's own first word.

    timm's is the network's class (ConvNeXt) or the module that it is written in, where the name has it in it: one class
    is often the code of many designs.
    """
    name = re.sub("^(legacy|test|tf)_", "", name)
    table = {row.family for row in ARCHITECTURES.values()}
    if named := [family for family in table if re.search(f"(^|_){family.lower().replace('-', '_')}", name)]:
        return max(named, key=len)
    for word in (type(network).__name__, type(network).__module__.rpartition(".")[2]):
        if word.lower().replace("_", "") in name.replace("_", ""):
            return word
    words = re.findall("[a-z]{4,}", name)  # darknet of cs3darknet_m
    return words[0] if words else name.partition("_")[0].rstrip("0123456789")  # res2net of res2net50_14w_8s
