"""Class activation maps: the paper's (CheXtransfer, section 3.3), and four methods of others.

A finding's map is the weighted sum of the last feature maps; then ReLU, divided by its own maximum, times the predicted
probability (so that confident predictions are brighter), upsampled to the image. A method is only its weights:
the paper's are the spatial means of the positive partial derivatives of the finding's logit (all methods:
`chexlib.explain.weightings`).

Where average pooling and one linear layer are all that follows the maps, the derivative of logit t is W[t, c]
/ (h w) at every pixel of map c, so one forward pass serves all findings (W is the difference of present's and
absent's weights where the head has three classes), and HiResCAM is Grad-CAM. Elsewhere autograd goes back from all
logits at once, never into the trunk: to the maps' means over pixels where these are all that the logits see
(MobileNetV3 pools before its last convolution), else to the maps. There are no hooks: `model.maps` gives the maps.

Negative values of the maps are kept: where no ReLU ends the network (a truncated DenseNet, MNASNet or EfficientNet)
pooling averages them with the rest, so a pixel with a positive weight and a negative value speaks against the finding,
as it does in the logit. `negatives` shows what cutting them off would change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chexlib.data.labels import FINDINGS
from chexlib.errors import UserError, nearest
from chexlib.explain.weightings import WEIGHTINGS, score_cam
from chexlib.models.networks import evaluating

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier

METHODS = {**WEIGHTINGS, "score-cam": score_cam}
"""A method's name to its weighting."""

PIXELS = {"cpu": 2**19, "cuda": 2**23}
"""Of the images that go through the network at once: on a processor, ten of 224 px stay near its cache."""

GRADIENTS = 2**24
"""Derivatives that are held at once where there is no closed form (64 MiB in single precision)."""


def grad_cam(model: Classifier, images: Tensor, findings: Sequence[int] | None = None, upsample: bool = True) -> Tensor:
    """The paper's class activation maps: `cam` with method "paper"."""
    return cam(model, images, findings, upsample=upsample)


def cam(
    model: Classifier,
    images: Tensor,
    findings: Sequence[int | str] | None = None,
    method: str = "paper",
    upsample: bool = True,
) -> Tensor:
    """Class activation maps (N, T, H, W) in [0, 1] of `images` (N, 3, H, W), normalised as the model takes them.

    `findings` are the columns of the logits wanted, in that order, or CheXpert's names of them (all, where None);
    `method` is one of METHODS. A map's maximum is the predicted probability, or 0 where nothing speaks for the finding
    (upsampling can lower it a little). `upsample=False` gives the native resolution (N, T, h, w). The model is run in
    evaluation mode and left as it was, whether or not gradients are off (`torch.inference_mode`); it is one of
    `create_model`, or any module with `maps` and `logits`. Raises `UserError` for images of another shape, a finding
    that the model does not have, a method that nobody knows, or a network whose maps are not images.
    """
    maps, logits = sums(model, images, findings, method)  # (N, T, h, w) and (N, T)
    maps = scaled(maps, logits)
    if upsample:
        maps = F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)  # (N, T, H, W)
    return maps


def scaled(maps: Tensor, logits: Tensor) -> Tensor:
    """Weighted sums (N, T, h, w) cut off below zero, divided by their maxima, times the probabilities."""
    maps = maps.relu()
    peak = maps.amax(dim=(2, 3), keepdim=True)  # (N, T, 1, 1)
    return torch.where(peak > 0, maps / peak, 0.0) * logits.sigmoid()[:, :, None, None]


def negatives(
    model: Classifier, images: Tensor, findings: Sequence[int | str] | None = None, method: str = "paper"
) -> tuple[float, Tensor, Tensor]:
    """Share of the last feature maps' values that are below zero, and the maps with them kept and with them cut off.

    Grad-CAM was made for maps that end in a ReLU. Maps are native, (N, T, h, w); arguments as those of `cam`.
    """
    kept, cut = (scaled(*sums(model, images, findings, method, negatives=keep)) for keep in (True, False))
    with evaluating(model), torch.no_grad():
        below = [(maps_of(model, part) < 0).double().mean(dim=(1, 2, 3)) for part in parts(images)]
    return float(torch.cat(below).mean()), kept, cut


def sums(
    model: Classifier,
    images: Tensor,
    findings: Sequence[int | str] | None = None,
    method: str = "paper",
    negatives: bool = True,
) -> tuple[Tensor, Tensor]:
    """Weighted sums of the feature maps (N, T, h, w), signs and all, and the logits (N, T); as `cam` otherwise.

    Without `negatives` the maps are cut off below zero before they are weighted and summed.
    """
    found, logits = sums_by_method(model, images, findings, (method,), negatives)
    return found[method], logits


def sums_by_method(
    model: Classifier,
    images: Tensor,
    findings: Sequence[int | str] | None,
    methods: Sequence[str],
    negatives: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """As `sums`, by several methods at once: the images go through the network once."""
    for method in methods:
        _check(model, images, method)
    found, of_logits = {method: [] for method in methods}, []
    with evaluating(model), torch.inference_mode(False), torch.no_grad():
        model, images = _recordable(model), images.clone() if images.is_inference() else images
        for part in parts(images):
            maps = maps_of(model, part)  # (n, C, h, w)
            logits = model.logits(maps)  # (n, all findings)
            columns = columns_of(findings, logits.shape[1])
            of_logits.append(logits[:, columns].float())
            summed = maps if negatives else maps.relu()
            for method in methods:
                found[method].append(_sums(model, part, maps, logits, summed, columns, method))
    return {method: torch.cat(sums) for method, sums in found.items()}, torch.cat(of_logits)


def _sums(
    model: Classifier, images: Tensor, maps: Tensor, logits: Tensor, summed: Tensor, columns: list[int], method: str
) -> Tensor:
    """(n, T, h, w): `summed`, the maps or their positive parts, weighted by what the derivatives at the maps say."""
    if method == "score-cam":
        return _weighted(score_cam(model, images, maps, columns, at_once(images)), summed)
    weigh = METHODS[method]
    if getattr(model, "pools_last", False):
        gradients = model.head.directions[columns].float() / maps[0, 0].numel()  # (T, C)
        return _weighted(weigh(gradients[None, :, :, None, None], summed.float()), summed)
    means = maps.mean(dim=(2, 3), keepdim=True)  # (n, C, 1, 1)
    if _sees_means(model, means, logits):
        gradients = _gradients(model, means, columns) / maps[0, 0].numel()  # (n, T, C, 1, 1)
        return _weighted(weigh(gradients, summed.float()), summed)
    most = max(1, GRADIENTS // (len(columns) * maps[0].numel()))  # images whose derivatives are held at once
    pairs = zip(maps.split(most), summed.split(most), strict=True)
    return torch.cat([_weighted(weigh(_gradients(model, at, columns), part.float()), part) for at, part in pairs])


def _recordable(model: nn.Module) -> nn.Module:
    """The model, or a copy where any of its tensors was made in inference mode, which autograd does not take."""
    tensors = chain(model.parameters(), model.buffers())
    return deepcopy(model) if any(tensor.is_inference() for tensor in tensors) else model


def _sees_means(model: Classifier, means: Tensor, logits: Tensor) -> bool:
    """Whether means over pixels give the logits: to 1e-4 of what the maps make of each finding's logit."""
    made = (logits - model.logits(torch.zeros_like(means))).abs().amax(dim=0)  # (all findings,)
    return bool(((model.logits(means) - logits).abs() <= 1e-4 * made).all())


def _weighted(weights: Tensor, maps: Tensor) -> Tensor:
    """(N or 1, T, C, h or 1, w or 1) and (N, C, h, w) to (N, T, h, w), in single precision."""
    with torch.autocast(maps.device.type, enabled=False):
        return torch.einsum("ntcij,ncij->ntij", weights.float(), maps.float())


def _gradients(model: Classifier, maps: Tensor, columns: list[int]) -> Tensor:
    """The derivatives (n, T, C, h, w) of each finding's logit at the maps, by one batched backward pass."""
    with torch.enable_grad():
        leaf = maps.detach().requires_grad_()
        logits = model.logits(leaf)  # (n, all findings)
        each = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)[columns]  # (T, all findings)
        each = each[:, None].expand(-1, len(logits), -1)  # (T, n, all findings)
        [gradients] = torch.autograd.grad(logits, leaf, each, is_grads_batched=True)  # (T, n, C, h, w)
    return gradients.transpose(0, 1).float()


def parts(images: Tensor) -> Iterator[Tensor]:
    """The images (N, 3, H, W) in as many parts as go through the network one after another."""
    for part in images.split(at_once(images)):
        # on a processor convolutions are a quarter to a third faster so, whatever the weights' layout
        yield part.contiguous(memory_format=torch.channels_last) if part.device.type == "cpu" else part


def at_once(images: Tensor) -> int:
    """How many images of this size go through the network at once."""
    return max(1, PIXELS.get(images.device.type, PIXELS["cuda"]) // images[0, 0].numel())


def _check(model: nn.Module, images: Tensor, method: str) -> None:
    if method not in METHODS:
        raise UserError(f"method={method!r}: there is no such map; {nearest(method, METHODS)}")
    if not (hasattr(model, "maps") and hasattr(model, "logits")):
        raise UserError(f"{type(model).__name__} has no maps() and logits(): give a model of chexlib.create_model")
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise UserError(f"images have shape {tuple(images.shape)}; cam takes (N, 3, H, W), N at least 1")
    if not images.is_floating_point():
        raise UserError(f"images are {images.dtype}; cam takes floats, normalised as the model takes them")


def maps_of(model: nn.Module, images: Tensor) -> Tensor:
    """The last feature maps (n, C, h, w); UserError where the network takes no such images or has no maps."""
    name = getattr(model, "label", type(model).__name__)
    try:
        maps = model.maps(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # each network has its own way to fail
        h, w = images.shape[-2:]
        raise UserError(f"{name} makes no maps of images of {h} x {w} px: {str(error).splitlines()[0]}") from error
    if maps.ndim != 4:
        raise UserError(f"{name} gives features of shape {tuple(maps.shape)}, not maps (N, C, h, w)")
    return maps


def columns_of(findings: Sequence[int | str] | None, total: int) -> list[int]:
    """The columns of the logits that are meant: numbers below `total`, or names where the findings are CheXpert's 14.

    Raises UserError for one that the model does not have, with the nearest name, and for none at all.
    """
    if isinstance(findings, str):
        findings = [findings]
    columns = list(range(total)) if findings is None else [_column(one, total) for one in findings]
    wrong = [t for t in columns if not 0 <= t < total]
    if wrong or not columns:
        raise UserError(f"findings={columns}: the model has {total} findings, 0 to {total - 1}")
    return columns


def _column(finding: int | str, total: int) -> int:
    if not isinstance(finding, str):
        return int(finding)
    if total != len(FINDINGS):
        raise UserError(f"finding {finding!r}: the model's {total} findings have no names; give 0 to {total - 1}")
    if finding not in FINDINGS:
        raise UserError(f"finding {finding!r} is not one of the model's; {nearest(finding, FINDINGS)}")
    return FINDINGS.index(finding)
