"""A classifier: a network of timm or pretrainedmodels, truncated, and a fresh linear head, one logit a finding.

The networks are their authors' code, tensor for tensor; this file only takes their classifier off and puts
ours on. All randomness comes from `seed`: the trunk, the head and redrawn weights each have their own stream,
so the head is the same whatever the trunk was initialised from, and truncation leaves the weights of what
remains as they were. The global random state is left as it was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chexlib.errors import UserError
from chexlib.models import inits
from chexlib.models.truncate import check_minus, truncate
from chexlib.models.trunks import untrained_trunk
from chexlib.models.zoo import Architecture, architecture

CLASSES = (1, 3)
"""Outputs for each finding: how present it is, or how absent, present and uncertain."""


class Head(nn.Linear):
    """One linear layer from features (N, C) to one logit a finding, (N, T).

    With three classes it has 3T outputs, which training sees as (N, T, 3): absent, present, uncertain (U-MultiClass,
    Irvin et al. 2019, section 4). In evaluation the logit is present's less absent's, whose sigmoid is the softmax over
    these two alone, CheXpert's probability.
    """

    def __init__(self, channels: int, findings: int, classes: int = 1) -> None:
        super().__init__(channels, findings * classes)
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        outputs = super().forward(features)
        if self.classes == 1:
            return outputs  # (N, T)
        outputs = outputs.unflatten(1, (-1, self.classes))  # (N, T, 3)
        return outputs if self.training else outputs[..., 1] - outputs[..., 0]  # (N, T)

    @property
    def directions(self) -> Tensor:
        """(T, C): the weights of each finding's logit, which is linear in the features whatever the classes."""
        if self.classes == 1:
            return self.weight
        weights = self.weight.unflatten(0, (-1, self.classes))  # (T, 3, C)
        return weights[:, 1] - weights[:, 0]


class Classifier(nn.Module):
    """A trunk that makes feature maps, its pooling, and one linear layer.

    `label` is the paper's name for it (`DenseNet121Minus1`), `family` the architecture's, `mean` and `std` the
    three-channel normalisation that the ImageNet checkpoint was trained with (None where the initial weights do not
    come from it), `weights_source` where those came from, `pools_last` whether average pooling and the linear layer are
    all that follows `maps` (what a CAM in closed form needs; True of every truncated network).
    """

    def __init__(
        self, trunk: nn.Module, channels: int, findings: int, row: Architecture, minus: int = 0, classes: int = 1
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = Head(channels, findings, classes)
        self.label, self.family = row.label(minus), row.family
        self.truncated = minus > 0
        self.pools_last = row.pools_last or self.truncated
        self.mean: tuple[float, ...] | None = None
        self.std: tuple[float, ...] | None = None
        self.weights_source: dict[str, Any] | None = None

    def maps(self, x: Tensor) -> Tensor:
        """The last feature maps, as the pooling sees them: (N, 3, H, W) to (N, C, h, w)."""
        return self.trunk.forward_features(x)

    def logits(self, maps: Tensor) -> Tensor:
        """What follows the maps: (N, C, h, w) to (N, T); in training with three classes to (N, T, 3)."""
        if self.truncated:  # what the trunk did after its last maps went with them
            return self.head(F.adaptive_avg_pool2d(maps, 1).flatten(1))
        return self.head(self.trunk.forward_head(maps, pre_logits=True))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to logits (N, T); in training with three classes to (N, T, 3)."""
        maps = self.maps(x)  # (N, C, h, w)  what a CAM sees
        return self.logits(maps)  # (N, T)        one logit a finding


def create_model(
    name: str, findings: int = 14, init: str = "random", minus: int = 0, seed: int = 0, classes: int = 1
) -> Classifier:
    """A chest X-ray classifier, in training mode, in float32, on the CPU.

    `name` is a row of `chexlib.architectures()` or any of timm's convolutional networks, with the tag of its checkpoint
    (`convnext_tiny.fb_in1k`) or without (timm's default one); `findings` the number of logits T; `init` as in
    `chexlib.models.inits`; `minus` the number of final blocks or stages dropped (CheXtransfer, section 3.2); `seed`
    determines every random weight; with `classes=3` the head learns absent, present and uncertain apart (see `Head`).
    Raises `UserError` for an unknown name or init, a network of timm that takes one size of images or makes no maps, a
    `minus` that the architecture does not have, or weights that cannot be reached.
    """
    if classes not in CLASSES:
        raise UserError(f"classes={classes}: a finding has 1 output, or 3 for absent, present and uncertain")
    if not isinstance(findings, int) or findings < 1:
        raise UserError(f"findings={findings}: a model needs at least 1")
    row = architecture(name)
    check_minus(name, minus)
    inits.check(init)
    trunk_seed, head_seed, init_seed = _streams(seed)
    with _forked(trunk_seed):
        network = untrained_trunk(row)
    channels = truncate(network, name, minus) or network.head_hidden_size
    source = inits.initialise(network, row, init, init_seed)
    with _forked(head_seed):
        model = Classifier(network, channels, findings, row, minus, classes)
    model.weights_source = source
    if init in inits.FROM_IMAGENET:
        model.mean, model.std = row.mean, row.std
    return model


def _streams(seed: int) -> list[int]:
    """Three independent seeds from one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**62, (3,), generator=generator, device="cpu").tolist()


@contextmanager
def _forked(seed: int) -> Iterator[None]:
    """The CPU's global random state seeded inside, and as it was afterwards (construction happens on the CPU)."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
