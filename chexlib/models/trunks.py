"""The networks without their classifiers, as their authors wrote them: timm's, Cadene's NASNet-A-Mobile, and
Transfusion's CBR nets, written anew.

A trunk has timm's `forward_features` (images to maps), `forward_head` (maps to features) and `head_hidden_size`.
"""

from __future__ import annotations

from torch import Tensor, nn

from chexlib.models import cbr
from chexlib.models.zoo import Architecture


def untrained_trunk(row: Architecture) -> nn.Module:
    """The network of a row, with the architecture's own random weights."""
    if row.builder == "pretrainedmodels":
        return _nasnetamobile()
    if row.builder == "cbr":
        return cbr.trunk(row)
    import timm

    return timm.create_model(row.tag, num_classes=0)


def _nasnetamobile() -> nn.Module:
    """Cadene's NASNet-A-Mobile behind timm's interface; its pooling, a fixed 7x7 window, made adaptive."""
    from pretrainedmodels.models.nasnet_mobile import NASNetAMobile

    class Trunk(NASNetAMobile):
        head_hidden_size = 1056

        def __init__(self) -> None:
            super().__init__(num_classes=1)
            self.last_linear = nn.Identity()
            self.relu = nn.ReLU()
            self.avg_pool = nn.AdaptiveAvgPool2d(1)

        def forward_features(self, x: Tensor) -> Tensor:
            return self.relu(self.features(x))  # (N, 1056, h, w)

        def forward_head(self, maps: Tensor, pre_logits: bool = True) -> Tensor:
            return self.dropout(self.avg_pool(maps).flatten(1))  # (N, 1056)

    return Trunk()
