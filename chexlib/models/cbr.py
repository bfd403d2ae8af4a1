"""Transfusion's own networks (Raghu et al. 2019, section 3): convolution, batch norm, ReLU, four or five times over.

Kernels and channels are those that its Table 1's counts fix to the last digit (`chexlib.paper.claims.counting.cbr`).
Two choices are ours, because no count tells: convolutions keep the size and have no bias, and between layers, not after
the last, lies a maximum pooling of 3 x 3 with stride 2. Average pooling and one linear layer follow, as in all others.
There are no ImageNet weights of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from chexlib.models.zoo import Architecture

if TYPE_CHECKING:
    from torch import nn

LAYERS = {
    "CBR-LargeT": (7, (32, 64, 128, 256, 512)),
    "CBR-LargeW": (7, (64, 128, 256, 512)),
    "CBR-Small": (7, (32, 64, 128, 256)),
    "CBR-Tiny": (5, (32, 64, 128, 256)),
}
"""Kernel size, and channels of each convolution."""


def parameters(label: str, outputs: int) -> int:
    """All of them: convolutions without biases, a norm after each, a linear layer with its bias."""
    kernel, channels = LAYERS[label]
    return (
        kernel**2 * sum(a * b for a, b in pairwise((3, *channels))) + 2 * sum(channels) + (channels[-1] + 1) * outputs
    )


def _row(label: str) -> Architecture:
    name = label.lower().replace("-", "_")
    return Architecture(
        name=name,
        paper_name=label,
        family="CBR",
        tag=name,
        top1=float("nan"),
        top1_px=224,
        parameters=parameters(label, 14),
        parameters_1000=parameters(label, 1000),
        builder="cbr",
        in_paper=False,
        licence="",
        top1_source="",
        hub="",
        note="Transfusion's; there are no ImageNet weights",
    )


ROWS = {row.name: row for row in map(_row, LAYERS)}
"""By name: cbr_larget, cbr_largew, cbr_small, cbr_tiny."""


def trunk(row: Architecture) -> nn.Module:
    """The network without its classifier, behind timm's interface."""
    from torch import nn

    kernel, channels = LAYERS[row.paper_name]

    class Trunk(nn.Module):
        head_hidden_size = channels[-1]

        def __init__(self) -> None:
            super().__init__()
            self.feature_info = [
                {"module": f"layers.{i}", "reduction": 2**i, "num_chs": width} for i, width in enumerate(channels)
            ]
            self.layers = nn.Sequential(
                *(_layer(kernel, a, b, first=i == 0) for i, (a, b) in enumerate(pairwise((3, *channels))))
            )
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward_features(self, x):
            return self.layers(x)  # (N, C, h, w)

        def forward_head(self, maps, pre_logits: bool = True):
            return self.pool(maps).flatten(1)  # (N, C)

    return Trunk()


def _layer(kernel: int, before: int, after: int, first: bool) -> nn.Module:
    from torch import nn

    pooled = () if first else (nn.MaxPool2d(3, stride=2, padding=1),)
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(*pooled, convolution, nn.BatchNorm2d(after), nn.ReLU())
