"""Augmentation: random changes of training images, off by default as in the paper. A row of AUGMENTATIONS each.

`augment={rotation: 10, flip: 0.5}` in a run's spec. The transforms are torchvision's, on the device, each image with
its own draw from torch's global generator, which training seeds. Each row says what its change can do to the meaning
of a chest X-ray: a network then learns that the change does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chexlib.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Augmentation:
    """One random change; `transform(v2, value, size)` makes it for images of size x size pixels."""

    name: str
    number: str  # what its number means
    off: float  # the number that changes nothing
    lowest: float
    highest: float
    transform: Callable
    caveat: str


AUGMENTATIONS = {
    row.name: row
    for row in (  # geometry first: the corners that a rotation brings in then change with the image's own background
        Augmentation(
            "rotation",
            "turned by at most so many degrees, either way",
            0.0,
            0.0,
            45.0,
            lambda v2, value, size: v2.RandomRotation(value, interpolation=v2.InterpolationMode.BILINEAR, fill=None),
            "beyond about 15 degrees no patient is positioned like this; corners turn black",
        ),
        Augmentation(
            "crop",
            "a square of at least this part of the area, enlarged to the whole",
            1.0,
            0.3,
            1.0,
            lambda v2, value, size: v2.RandomResizedCrop(size, scale=(value, 1.0), ratio=(1.0, 1.0)),
            "can cut off the apices or the costophrenic angles, where pneumothorax and effusion show, and the heart's "
            "size relative to the chest",
        ),
        Augmentation(
            "jitter",
            "brightness and contrast times 1 plus or minus at most this",
            0.0,
            0.0,
            0.8,
            lambda v2, value, size: v2.ColorJitter(brightness=value, contrast=value),
            "brightness is how opacity shows: strong changes hide it or look like it, and clip",
        ),
        Augmentation(
            "flip",
            "the probability of a mirror image",
            0.0,
            0.0,
            1.0,
            lambda v2, value, size: v2.RandomHorizontalFlip(value),
            "moves the heart to the right, as in dextrocardia, and mirrors the side markers L and R",
        ),
    )
}


def check_augment(augment: Mapping[str, float]) -> dict[str, float]:
    """The augmentations that change something, in the table's order and as floats, so that equal ones look equal.

    Raises UserError for a name that the table lacks and for a number out of its range.
    """
    for name, value in augment.items():
        if name not in AUGMENTATIONS:
            raise UserError(f"augment: {name!r} is unknown: choose of {', '.join(AUGMENTATIONS)}")
        row = AUGMENTATIONS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not row.lowest <= value <= row.highest:
            raise UserError(f"augment: {name}={value!r}: must be from {row.lowest:g} to {row.highest:g}, {row.number}")
    return {name: float(augment[name]) for name, row in AUGMENTATIONS.items() if augment.get(name, row.off) != row.off}


def augmenter(augment: Mapping[str, float], size: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What changes images (N, 1, size, size) float32 in [0, 1] and leaves them in [0, 1]; None where nothing does."""
    if not augment:
        return None
    import torch
    from torchvision.transforms import v2

    change = v2.Compose([AUGMENTATIONS[name].transform(v2, value, size) for name, value in augment.items()])
    return lambda images: torch.stack([change(image) for image in images])  # each image its own draw
