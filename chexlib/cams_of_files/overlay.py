"""An image with a map laid over it, and a strip below that says what it is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from chexlib.data.images import read_grey

HEAT = "inferno"
STRONGEST = 0.8
"""How opaque a map is where the probability is 1; Figure 5's, too."""

SIDES = (512, 1024)
"""Pixels of an overlay's longer side: at least and at most."""

STRIP, NARROWEST = 56, 512
"""Pixels: height of the strip below, and its least width."""


def laid_over(grey: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """An image (H, W) uint8 under a native map (h, w) in [0, 1], stretched bilinearly: (H, W, 3) uint8.

    Colours and opacity are Figure 5's: HEAT from 0 to 1, the more opaque the brighter.
    """
    import torch
    from matplotlib import colormaps
    from torch.nn.functional import interpolate

    cam = torch.as_tensor(cam, dtype=torch.float32)[None, None]
    heat = interpolate(cam, size=grey.shape, mode="bilinear", align_corners=False)[0, 0].numpy()  # (H, W)
    alpha = (STRONGEST * np.sqrt(heat))[..., None]
    colour = 255 * colormaps[HEAT](heat)[..., :3]  # (H, W, 3)
    return np.rint((1 - alpha) * grey[..., None] + alpha * colour).astype(np.uint8)


def captioned(picture: np.ndarray, above: str, below: str) -> Image.Image:
    """A picture (H, W, 3) on a strip with two lines of text and the scale of its colours."""
    from matplotlib import colormaps, get_data_path

    height, width = picture.shape[0], max(picture.shape[1], NARROWEST)
    sheet = Image.new("RGB", (width, height + STRIP))
    sheet.paste(Image.fromarray(picture), ((width - picture.shape[1]) // 2, 0))
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 14)
    draw = ImageDraw.Draw(sheet)
    draw.text((8, height + 8), above, "white", font)
    draw.text((8, height + 30), below, "white", font)
    bar = np.rint(255 * colormaps[HEAT](np.linspace(0, 1, 64))[None, :, :3]).astype(np.uint8).repeat(12, axis=0)
    sheet.paste(Image.fromarray(bar), (width - 92, height + 11))
    draw.text((width - 104, height + 8), "0", "white", font)
    draw.text((width - 22, height + 8), "1", "white", font)
    return sheet


def picture_of(file: Path) -> np.ndarray:
    """The image (H, W) uint8 in its own proportions, its longer side within SIDES."""
    height, width = _shape(file)
    side = int(np.clip(max(height, width), *SIDES))
    size = (max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width))))
    return np.asarray(Image.fromarray(read_grey(file, side)).resize(size, Image.Resampling.BILINEAR))


def _shape(file: Path) -> tuple[int, int]:
    """Height and width that the file states."""
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except UnidentifiedImageError:
        import pydicom

        header = pydicom.dcmread(file, stop_before_pixels=True)
        return int(header.Rows), int(header.Columns)


def png(image: Image.Image) -> bytes:
    """A PNG file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
