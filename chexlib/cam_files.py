"""A run's class activation maps of a user's own image files, laid over them: `chexlib cam`.

How files are read, and what is said of images that look otherwise than the run's own, is chexlib.own_images. Maps, as
probabilities, are means over the run's kept checkpoints; each checkpoint's map is scaled by its own probability first.
Everything is read and computed before anything is written. Nothing here is fit for clinical use, and everything that is
written says so.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from chexlib.data.images import Picture, read_grey
from chexlib.errors import UserError
from chexlib.escape import csv
from chexlib.models import architecture
from chexlib.own_images import OwnImages, about, learned, read
from chexlib.runs.store import Run, RunStore, write_atomically

ELSEWHERE = "free some space or name another folder with -o"
CSV, NOTE = "cams.csv", "README.txt"
BATCH = 16

HEAT = "inferno"
STRONGEST = 0.8  # how opaque a map is where the probability is 1
SIDES = (512, 1024)  # pixels of an overlay's longer side: at least and at most
STRIP, NARROWEST = 56, 512  # pixels: height of the strip below, and its least width


def write_cams(
    files: Sequence[str | Path],
    run: str | Path,
    out: str | Path,
    findings: Sequence[str] = (),
    method: str = "paper",
    store: RunStore | None = None,
    force: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Writes an overlay (PNG) an image and finding, cams.csv (also returned) and README.txt into the folder `out`.

    files, run, findings: as `chexlib.own_images.predict_files` takes them. method: a row of
    chexlib.explain.cam.METHODS. Column `looks` says what each image looks like. A file that is there already is written
    over only with `force`. Raises UserError, and writes nothing, for a run, a finding, a method or an image that cannot
    be used.
    """
    run = (store or RunStore.open()).find(run)
    findings = learned(run, findings)
    images, out = read(files, run), Path(out).expanduser()
    files, bits = images.files, run.spec.options.get("bits")
    names = _overlay_names(files, findings)
    _check_out(out, [CSV, NOTE, *names.ravel()], files, force)
    pictures = [_in_proportion(file, image, bits) for file, image in zip(files, images.pictures, strict=True)]
    maps, p = _maps(run, images.pixels, findings, method, progress)  # (N, T, h, w) and (N, T)
    label = architecture(run.spec.arch).label(run.spec.minus, run.spec.norm)
    grid, rows = f"{maps.shape[2]} x {maps.shape[3]}", []
    for n, t in np.ndindex(p.shape):
        words = f"{findings[t]}: probability {p[n, t]:.2f}", f"{label}, map {grid}; not for clinical use"
        png = io.BytesIO()
        captioned(laid_over(pictures[n], maps[n, t]), *words).save(png, "PNG")
        write_atomically(out / names[n, t], png.getvalue(), ELSEWHERE)
        row = str(files[n]), findings[t], round(float(p[n, t]), 6), *maps.shape[2:], names[n, t], images.looks[n]
        rows.append(row)
    columns = ["file", "finding", "probability", "map_height", "map_width", "overlay", "looks"]
    table, note = pd.DataFrame(rows, columns=columns), _note(run, images, grid, method)
    write_atomically(out / NOTE, f"{note}\n", ELSEWHERE)
    write_atomically(out / CSV, csv(table, index=False), ELSEWHERE)  # last: it lists only what is there
    return table


def _overlay_names(files: Sequence[Path], findings: list[str]) -> np.ndarray:
    """(N, T) file names of overlays: the image's and the finding's, numbered where images share one."""
    stems = []
    for file in files:
        numbered = chain([file.stem], (f"{file.stem}-{n}" for n in count(2)))
        taken = {stem.casefold() for stem in stems}
        stems.append(next(stem for stem in numbered if stem.casefold() not in taken))
    return np.array([[f"{stem}.{f.lower().replace(' ', '-')}.png" for f in findings] for stem in stems], dtype=object)


def _check_out(out: Path, names: Sequence[str], files: Sequence[Path], force: bool) -> None:
    """Raises UserError where these names in the folder would be written over other files, or over the images."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file: name a folder with -o")
    there, images = [out / name for name in names if (out / name).exists()], {file.resolve() for file in files}
    for path in there:
        if path.resolve() in images:
            raise UserError(f"{path}: is one of the images, and an overlay's name: name another folder with -o")
    if there and not force:
        raise UserError(f"{there[0]}: is there already: name another folder with -o, or write over it with --force")


def _maps(run: Run, pixels: np.ndarray, findings: list[str], method: str, progress: bool) -> tuple[np.ndarray, ...]:
    """Native maps (N, T, h, w) and probabilities (N, T), means over the run's kept checkpoints, computed as it was."""
    from tqdm import tqdm

    from chexlib.explain.cam import scaled, sums
    from chexlib.training.checkpoints import load_model, load_weights
    from chexlib.training.device import laid_out, start

    model, prepare = load_model(run)
    accelerator, members = start(run.spec), run.provenance["ensemble"]
    model = laid_out(model, run.spec).to(accelerator.device)
    maps, p = 0.0, 0.0
    with tqdm(total=len(members) * len(pixels), desc="maps", unit="image", disable=not progress, leave=False) as bar:
        for images in members:
            load_weights(run, model, images, prepare)
            parts = []
            for first in range(0, len(pixels), BATCH):
                batch = prepare(pixels[first : first + BATCH], accelerator.device)  # (n, 3, H, W)
                with accelerator.autocast():
                    found, logits = sums(model, batch, findings, method)
                parts.append((scaled(found, logits).cpu().numpy(), logits.sigmoid().cpu().numpy()))
                bar.update(len(batch))
            its_maps, its_p = (np.concatenate(part) for part in zip(*parts, strict=True))
            maps, p = maps + its_maps / len(members), p + its_p / len(members)
    return maps, p


def _note(run: Run, images: OwnImages, grid: str, method: str) -> str:
    """README.txt: what the images look like, what the maps are of, and what they are not for."""
    lines = (
        *images.warnings,
        *about(run),
        f"Maps show what the network weighed, and not where a disease is: {grid} by method {method!r}, each times its "
        "probability, their means as those of probabilities. Overlays have the images' own proportions.",
    )
    return "\n".join(lines)


def laid_over(grey: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """An image (H, W) uint8 under a native map (h, w) in [0, 1], stretched, opaque where bright: (H, W, 3) uint8."""
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
    bar = np.rint(255 * colormaps[HEAT](np.linspace(0, 1, 64))[None, :, :3]).astype(np.uint8).repeat(12, axis=0)
    sheet.paste(Image.fromarray(bar), (width - 92, height + 11))
    for x, y, words in ((8, 8, above), (8, 30, below), (width - 104, 8, "0"), (width - 22, 8, "1")):
        draw.text((x, height + y), words, "white", font)
    return sheet


def _in_proportion(file: Path, image: Picture, bits: int | None) -> np.ndarray:
    """The image (H, W) uint8 in its own proportions, its longer side within SIDES."""
    longer = max(image.width, image.height)
    side = int(np.clip(longer, *SIDES))
    size = (max(1, round(image.width * side / longer)), max(1, round(image.height * side / longer)))
    return np.asarray(Image.fromarray(read_grey(file, side, bits)).resize(size, Image.Resampling.BILINEAR))
