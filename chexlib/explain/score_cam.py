"""Score-CAM (Wang et al. 2020): a feature map counts by how high the logit is of the image seen through it.

Each of the C maps is upsampled to the image, brought to 0 to 1, and multiplied with the image; the weights are the
softmax over channels of the logits of these C images (Wang's Algorithm 1; the baseline's logit, which it subtracts from
all of them, cancels; the authors' code leaves the softmax over channels out). All findings come from the same C forward
passes an image: 1,024 for DenseNet121.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier


def score_cam(model: Classifier, images: Tensor, maps: Tensor, columns: list[int], at_once: int) -> Tensor:
    """Weights (N, T, C, 1, 1) of maps (N, C, h, w) of `images` (N, 3, H, W), by `at_once` images a forward pass."""
    per_image = [
        torch.cat([_logits(model, image, part, columns) for part in channels.split(at_once)])  # (C, T)
        for image, channels in zip(images, maps, strict=True)
    ]
    return torch.stack(per_image).softmax(dim=1).transpose(1, 2)[..., None, None]


def _logits(model: Classifier, image: Tensor, channels: Tensor, columns: list[int]) -> Tensor:
    """Logits (n, T) of an image (3, H, W) seen through each map (n, h, w); through a flat one nothing is seen."""
    masks = F.interpolate(channels[:, None], image.shape[-2:], mode="bilinear", align_corners=False)  # (n, 1, H, W)
    low, high = (extreme[:, :, None, None] for extreme in masks.flatten(2).aminmax(dim=2))
    masks = torch.where(high > low, (masks - low) / (high - low), 0.0)
    return model.logits(model.maps(image * masks))[:, columns].float()
