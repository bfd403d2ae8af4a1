"""What tells one class activation map from another: how much each feature map counts, pixel by pixel or as a whole.

A weighting takes the derivatives of the logits with respect to the maps, (N, T, C, h, w), and the maps, (N, C, h, w),
and gives weights that `chexlib.explain.cam` multiplies the maps by and sums over channels. Where average pooling and
one linear layer are all that follows the maps, the derivative is the same at every pixel and in every image, and comes
as (1, T, C, 1, 1): the weightings use nothing but means over pixels, so that they need not know. A constant factor of a
whole map is of no account, because a map is divided by its maximum: means stand for sums.

Score-CAM needs no derivative but the network itself, and is in `chexlib.explain.score_cam`.
"""

from __future__ import annotations

from torch import Tensor

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
