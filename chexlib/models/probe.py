"""Whether weights still mean what they meant: a network's logits of two fixed images, kept beside its weights.

One goes into the network as it is, the other is a picture that is first stretched and normalised as the run's images
are. Where the first one's logits are others, the network is not the one that the weights are of (a library changed it);
where only the second's are, the way to it changed. Both are drawn by whole numbers, alike on every machine. The network
computes in single precision, in evaluation mode, whatever a run trained in, and nothing of it changes.

What this leaves out: how files are decoded (a data set's fingerprint has it), and a change that moves no logit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chexlib.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from chexlib.models.networks import Classifier

PICTURE = (360, 432)
"""Height and width of the picture, whatever the run's size."""

TOLERANCE = 1e-3
"""Times a network's greatest logit, and 1 at least: what processors may differ by. On a dozen networks, two of them
trained, a processor kept from AVX, two threads, other batches and memory formats made 5e-6 at most. Between a processor
and a GPU nobody measured it; a logit that is 1e-3 off moves a probability by 0.00025."""


def picture() -> np.ndarray:
    """(360, 432) uint8: slow and fast waves in three directions, from black to white."""
    return _waves(*PICTURE, slow=211, fast=7)


def image(size: int) -> Tensor:
    """(1, 3, size, size) float32, about as large as normalised images are, and another in each channel."""
    import torch

    channels = np.stack([_waves(size, size, slow, fast) for slow, fast in ((97, 5), (61, 11), (139, 8))])
    return torch.from_numpy(channels.astype(np.float32)[None] / 64 - 2)


def _waves(height: int, width: int, slow: int, fast: int) -> np.ndarray:
    """(height, width) uint8, the mean of three triangle waves; `slow` and `fast` are periods in pixels."""
    y, x = np.indices((height, width))
    waves = [abs(at % period * 510 // period - 255) for at, period in ((y, slow), (2 * x + y, slow + 30), (x, fast))]
    return (sum(waves) // 3).astype(np.uint8)


def logits(model: Classifier, images: Tensor) -> Tensor:
    """Logits and further outputs (N, T + E), on the CPU, of images (N, 3, H, W): in evaluation mode and in fp32."""
    import torch

    from chexlib.models.networks import evaluating

    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad(), torch.autocast(device.type, enabled=False), _no_tf32():
        return torch.cat(model.logits(model.maps(images.to(device)), further=True), dim=1).float().cpu()


@contextmanager
def _no_tf32() -> Iterator[None]:
    import torch

    libraries = torch.backends.cudnn, torch.backends.cuda.matmul
    allowed = [library.allow_tf32 for library in libraries]
    try:
        for library in libraries:
            library.allow_tf32 = False
        yield
    finally:
        for library, before in zip(libraries, allowed, strict=True):
            library.allow_tf32 = before


def written(model: Classifier, network: Mapping, size: int, prepared: Tensor) -> str:
    """What is kept beside weights, as text: their logits of both images, and what makes such a network.

    `network` are create_model's arguments, `prepared` (1, 3, size, size) is the picture, prepared as the run's images.
    """
    import torch

    found = logits(model, torch.cat((image(size), prepared)))
    return json.dumps({"network": dict(network), "size": size, "logits": found.tolist()}, sort_keys=True)


def check(text: str, model: Classifier, where: str | Path, prepared: Tensor | None = None) -> None:
    """Refuse (UserError, one line) weights in a network, or, with `prepared`, images, that give other logits."""
    import torch

    kept = json.loads(text)
    images = [image(kept["size"])] + ([] if prepared is None else [prepared])
    expected = torch.tensor(kept["logits"])[: len(images)]  # (1 or 2, T)
    found = logits(model, torch.cat(images))
    near = TOLERANCE * expected.abs().nan_to_num(0, 0, 0).amax(dim=1, keepdim=True).clamp(min=1)  # (1 or 2, 1)
    gap = (found - expected).abs().nan_to_num(torch.inf) / near
    gap[(found == expected) | (found.isnan() & expected.isnan())] = 0
    for row, what in enumerate(("the network computes otherwise", "images are prepared otherwise")):
        if row < len(images) and (gap[row] > 1).any():
            t = int(gap[row].argmax())
            raise UserError(f"{where}: {what} than when these weights were written (logit {t + 1} of the probe image: "
                            f"expected {expected[row, t]:.4g}, got {found[row, t]:.4g}): take the versions of packages "
                            "that the run's provenance.json names, or train the run again")  # fmt: skip


def check_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse (UserError) a file whose own network, built here from its tensors, gives other logits than it did there.

    A file that has no such logits is taken as it is.
    """
    from safetensors import safe_open

    from chexlib.models.build import create_model
    from chexlib.models.weights import fill

    if path.suffix != ".safetensors":
        return
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("probe")
    if text:
        model = create_model(**json.loads(text)["network"])
        fill(model, tensors, path.name)
        check(text, model, path)
