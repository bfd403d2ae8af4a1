"""What tells one class activation map from another: how much each feature map counts, pixel by pixel or as a whole.

A weighting takes the derivatives of the logits with respect to the maps, (N, T, C, h, w), and the maps, (N, C, h, w),
and gives weights that `chexlib.explain.cam` multiplies the maps by and sums over channels. Where average pooling and
one linear layer are all that follows the maps, the derivative is the same at every pixel and in every image, and comes
as (1, T, C, 1, 1): the weightings use nothing but means over pixels, so that they need not know. A constant factor of a
whole map is of no account, because a map is divided by its maximum: means stand for sums.

Score-CAM alone needs no derivative but the network itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier

PIXELS = (3, 4)


def paper(gradients: Tensor, maps: Tensor) -> Tensor:
    """CheXtransfer, section 3.3: the mean of the positive derivatives. (N, T, C, 1, 1)."""
    return gradients.relu().mean(dim=PIXELS, keepdim=True)


def grad_cam(gradients: Tensor, maps: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2016, equation 1): the mean of all derivatives. (N, T, C, 1, 1)."""
    return gradients.mean(dim=PIXELS, keepdim=True)


def grad_cam_plus_plus(gradients: Tensor, maps: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, equations 5, 11 and 19): positive derivatives, each times its alpha.

    With the score exp(logit), and derivatives g of the logit, alpha is g^2 / (2 g^2 + g^3 sum(map)): where g is
    positive, 1 / (2 + g sum(map)), which needs no small number added against division by zero. The method supposes maps
    without negative values; elsewhere a sum below zero counts as zero, so that alpha stays positive. (N, T, C, 1, 1).
    """
    positive = gradients.relu()
    total = maps.sum(dim=(2, 3)).relu()[:, None, :, None, None]  # (N, 1, C, 1, 1)
    return (positive / (2 + positive * total)).mean(dim=PIXELS, keepdim=True)


def hirescam(gradients: Tensor, maps: Tensor) -> Tensor:
    """HiResCAM (Draelos and Carin 2020, equation 4): each pixel by its own derivative. (N, T, C, h, w)."""
    return gradients


WEIGHTINGS = {"paper": paper, "grad-cam": grad_cam, "grad-cam++": grad_cam_plus_plus, "hirescam": hirescam}
"""By the name of the method; those that are made of derivatives."""


def score_cam(model: Classifier, images: Tensor, maps: Tensor, columns: list[int], at_once: int) -> Tensor:
    """Score-CAM (Wang et al. 2020, algorithm 1): a map counts by how high the logit is of the image seen through it.

    Weights (N, T, C, 1, 1) of maps (N, C, h, w) of `images` (N, 3, H, W), by `at_once` images a forward pass. Each map
    is upsampled, brought to 0 to 1, and multiplied with the image; weights are the softmax over channels of the logits
    of these C images, 1,024 for DenseNet121 (the baseline's logit cancels; the authors' code leaves the softmax out).
    """
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
