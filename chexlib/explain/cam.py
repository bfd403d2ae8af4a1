"""Class activation maps the paper's way (CheXtransfer, section 3.3, after Grad-CAM, Selvaraju et al. 2016).

A finding's map is the sum of the last feature maps, each weighted by the spatial mean of the positive partial
derivatives of the finding's logit with respect to it; then ReLU, divided by its own maximum, times the
predicted probability (so that confident predictions are brighter), upsampled to the image. Grad-CAM's
published weights are the mean of all derivatives; the paper's, of the positive ones.

Where average pooling and one linear layer are all that follows the maps, the derivative of logit t is W[t, c]
/ (h w) at every pixel of map c, so one forward pass serves all findings (W is the difference of present's and
absent's weights where the head has three classes). Elsewhere (MobileNetV3) autograd
goes back from the logits to the maps, never into the trunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chexlib.errors import UserError

if TYPE_CHECKING:
    from chexlib.models import Classifier


def grad_cam(model: Classifier, images: Tensor, findings: Sequence[int] | None = None, upsample: bool = True) -> Tensor:
    """Class activation maps (N, T, H, W) in [0, 1] of `images` (N, 3, H, W), normalised as the model takes them.

    `findings` are the columns of the logits wanted, in that order (all, where None). A map's maximum is the
    predicted probability, or 0 where nothing speaks for the finding (upsampling can lower it a little).
    `upsample=False` gives the native resolution (N, T, h, w). The model is run in evaluation mode and left as
    it was. Raises `UserError` for images of another shape, a finding that the model does not have, or a
    network whose maps are not images.
    """
    if images.ndim != 4:
        raise UserError(f"images have shape {tuple(images.shape)}; grad_cam takes (N, 3, H, W)")
    with _evaluating(model), torch.no_grad():
        maps = model.maps(images)  # (N, C, h, w)
        if maps.ndim != 4:
            raise UserError(f"{model.label} gives features of shape {tuple(maps.shape)}, not maps (N, C, h, w)")
        logits = model.logits(maps)  # (N, all findings)
        columns = _columns(findings, logits.shape[1])
        weights = _closed_form(model, maps, columns) if model.pools_last else _autograd(model, maps, columns)
    cam = torch.einsum("ntc,nchw->nthw", weights.float(), maps.float()).relu()
    peak = cam.amax(dim=(2, 3), keepdim=True)  # (N, T, 1, 1)
    cam = torch.where(peak > 0, cam / peak, 0.0)
    cam = cam * logits[:, columns].float().sigmoid()[:, :, None, None]
    if upsample:
        cam = F.interpolate(cam, size=images.shape[-2:], mode="bilinear", align_corners=False)  # (N, T, H, W)
    return cam


def _closed_form(model: Classifier, maps: Tensor, columns: list[int]) -> Tensor:
    """Weights (N, T, C): the derivative of logit t with respect to any pixel of map c is W[t, c] / (h w)."""
    n, _, h, w = maps.shape
    return (model.head.directions[columns].relu() / (h * w)).expand(n, -1, -1)


def _autograd(model: Classifier, maps: Tensor, columns: list[int]) -> Tensor:
    """Weights (N, T, C) by one backward pass a finding, from the logits to the maps."""
    with torch.enable_grad():
        leaf = maps.detach().requires_grad_()
        logits = model.logits(leaf)
        gradients = (torch.autograd.grad(logits[:, t].sum(), leaf, retain_graph=True)[0] for t in columns)
        return torch.stack([gradient.relu().mean(dim=(2, 3)) for gradient in gradients], dim=1)


def _columns(findings: Sequence[int] | None, total: int) -> list[int]:
    columns = list(range(total)) if findings is None else [int(t) for t in findings]
    wrong = [t for t in columns if not 0 <= t < total]
    if wrong or not columns:
        raise UserError(f"findings={columns}: the model has {total} findings, 0 to {total - 1}")
    return columns


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every submodule's own mode as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
