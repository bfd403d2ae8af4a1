"""Networks: those of the rows without their classifier, and ours, such a trunk with a fresh linear head.

Trunks are their authors' code, tensor for tensor: timm's, and Cadene's NASNet-A-Mobile. Transfusion's CBR nets are
written anew. A trunk has timm's `forward_features` (images to maps), `forward_head` (maps to features) and
`head_hidden_size`; `feature_info` where it can be truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chexlib.models.zoo import CBR_LAYERS, Architecture


class Head(nn.Linear):
    """One linear layer from features (N, C) to one logit a finding, (N, T), and E `further` outputs, (N, E).

    With three classes it has 3T outputs, which training sees as (N, T, 3): absent, present, uncertain (U-MultiClass,
    Irvin et al. 2019, section 4). In evaluation the logit is present's less absent's, whose sigmoid is the softmax over
    these two alone, CheXpert's probability.
    """

    def __init__(self, channels: int, findings: int, classes: int = 1, further: int = 0) -> None:
        super().__init__(channels, findings * classes + further)
        self.classes, self.of_findings = classes, findings * classes

    def forward(self, features: Tensor, further: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The findings' logits; with `further` a pair, these and the further outputs."""
        outputs, more = super().forward(features).tensor_split((self.of_findings,), dim=1)  # (N, T or 3T), (N, E)
        if self.classes > 1:
            outputs = outputs.unflatten(1, (-1, self.classes))  # (N, T, 3)
            outputs = outputs if self.training else outputs[..., 1] - outputs[..., 0]  # (N, T)
        return (outputs, more) if further else outputs

    @property
    def directions(self) -> Tensor:
        """(T, C): the weights of each finding's logit, which is linear in the features whatever the classes."""
        if self.classes == 1:
            return self.weight[: self.of_findings]
        weights = self.weight[: self.of_findings].unflatten(0, (-1, self.classes))  # (T, 3, C)
        return weights[:, 1] - weights[:, 0]


class Classifier(nn.Module):
    """A trunk that makes feature maps, its pooling, and one linear layer.

    `label` is the paper's name for it (`DenseNet121Minus1`), `family` the architecture's, `mean` and `std` the
    three-channel normalisation that the ImageNet checkpoint was trained with (None where the initial weights do not
    come from it), `weights_source` where those came from, `pools_last` whether average pooling and the linear layer are
    all that follows `maps` (what a CAM in closed form needs; True of every truncated network). With `norm` a truncated
    network's maps go through a new batch norm and ReLU, as those of a whole DenseNet do.
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: int,
        findings: int,
        row: Architecture,
        minus: int = 0,
        classes: int = 1,
        norm: bool = False,
        further: int = 0,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if norm else nn.Identity()
        self.head = Head(channels, findings, classes, further)
        self.label, self.family = row.label(minus, norm), row.family
        self.truncated = minus > 0
        self.pools_last = row.pools_last or self.truncated
        self.mean: tuple[float, ...] | None = None
        self.std: tuple[float, ...] | None = None
        self.weights_source: dict[str, Any] | None = None

    def maps(self, x: Tensor) -> Tensor:
        """The last feature maps, as the pooling sees them: (N, 3, H, W) to (N, C, h, w)."""
        return self.norm(self.trunk.forward_features(x))

    def logits(self, maps: Tensor, further: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """What follows the maps: (N, C, h, w) to (N, T); in training with three classes to (N, T, 3).

        With `further` a pair: that, and the head's further outputs (N, E).
        """
        if self.truncated:  # what the trunk did after its last maps went with them
            return self.head(F.adaptive_avg_pool2d(maps, 1).flatten(1), further)
        return self.head(self.trunk.forward_head(maps, pre_logits=True), further)

    def forward(self, x: Tensor, further: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) to logits (N, T), as `logits` gives them."""
        maps = self.maps(x)  # (N, C, h, w)  what a CAM sees
        return self.logits(maps, further)  # (N, T)        one logit a finding


class CBR(nn.Module):
    """Transfusion's trunk (Raghu et al. 2019, section 3): convolution, batch norm, ReLU, four or five times over.

    Two choices are ours, because no count tells: convolutions keep the size and have no bias, and between layers, not
    after the last, lies a maximum pooling of 3 x 3 with stride 2.
    """

    def __init__(self, kernel: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.head_hidden_size = channels[-1]
        self.feature_info = [
            {"module": f"layers.{i}", "reduction": 2**i, "num_chs": width} for i, width in enumerate(channels)
        ]
        layers = []
        for before, after in pairwise((3, *channels)):
            pooled = (nn.MaxPool2d(3, stride=2, padding=1),) if layers else ()
            convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
            layers.append(nn.Sequential(*pooled, convolution, nn.BatchNorm2d(after), nn.ReLU()))
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)  # (N, C, h, w)

    def forward_head(self, maps: Tensor, pre_logits: bool = True) -> Tensor:
        return self.pool(maps).flatten(1)  # (N, C)


def _efficientnet_lite0(channels: tuple[int, ...]) -> nn.Module:
    """timm's EfficientNet-Lite0 with these channels of its stages and of its head, which timm's own function fixes."""
    from timm.models.efficientnet import EfficientNet, decode_arch_def

    *widths, features = channels
    kinds = ("ds_r1_k3_s1_e1", "ir_r2_k3_s2_e6", "ir_r2_k5_s2_e6", "ir_r3_k3_s2_e6", "ir_r3_k5_s1_e6",
             "ir_r4_k5_s2_e6", "ir_r1_k3_s1_e6")  # fmt: skip
    stages = decode_arch_def([[f"{kind}_c{width}"] for kind, width in zip(kinds, widths, strict=True)])
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    return EfficientNet(stages, 0, features, fix_stem=True, pad_type="same", act_layer=nn.ReLU6, norm_layer=norm)


def _nasnetamobile() -> nn.Module:
    """Cadene's NASNet-A-Mobile behind timm's interface; its pooling, a fixed 7x7 window, made adaptive."""
    with torch.random.fork_rng(devices=[]):  # importing it draws random numbers
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


def untrained_trunk(row: Architecture) -> nn.Module:
    """The network of a row without its classifier, with the architecture's own random weights."""
    if row.builder == "pretrainedmodels":
        return _nasnetamobile()
    if row.builder == "cbr":
        return CBR(*CBR_LAYERS[row.paper_name])
    if row.builder == "lite0":
        return _efficientnet_lite0(row.channels)
    import timm

    return timm.create_model(row.tag, num_classes=0, **({"channels": row.channels} if row.channels else {}))


def streams(seed: int) -> list[int]:
    """Three independent seeds from one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**62, (3,), generator=generator, device="cpu").tolist()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global random state seeded inside, and as it was afterwards (construction happens on the CPU)."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every submodule's own mode as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def on_meta(row: Architecture) -> nn.Module:
    """The trunk on torch's meta device, which knows shapes and computes nothing; in evaluation mode."""
    with torch.device("meta"):
        return untrained_trunk(row).eval()


def shape_of(forward: Callable[[Tensor], Tensor], *shape: int) -> torch.Size | None:
    """The shape of what a meta network's `forward` makes of a tensor of this shape; None where it takes none such."""
    try:
        with torch.device("meta"), torch.no_grad():
            return forward(torch.empty(shape)).shape
    except Exception:  # each network has its own way to fail
        return None


def shape_of_maps(network: nn.Module, size: int) -> torch.Size | None:
    """The shape of a meta trunk's last maps for two images of `size` pixels; None where it takes no such images."""
    return shape_of(network.forward_features, 2, 3, size, size)


def count(network: nn.Module) -> int:
    """The number of parameters."""
    return sum(weight.numel() for weight in network.parameters())


def feature_info(network: nn.Module) -> list[dict]:
    """timm's list of the maps that a network makes: `module`, `reduction` (the stride so far), `num_chs`."""
    found = getattr(network, "feature_info", [])
    return list(getattr(found, "info", found))
