"""A run's class activation maps of a user's own image files, laid over them: `chexlib cam`.

Files are read as a data set's are (chexlib.data.images), stretched to the run's size and normalised as in training.
Probabilities and maps are means over the run's kept checkpoints, because the run's own predictions and scores are
theirs; each checkpoint's map is scaled by its own probability first. Everything is read and computed before anything is
written. Nothing here is fit for clinical use, and everything that is written says so.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import chain, count
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from chexlib.data.images import BadImage, Picture, read_grey, read_picture
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.data.names import finding_of
from chexlib.data.sources import SOURCES
from chexlib.errors import UserError, nearest
from chexlib.escape import csv
from chexlib.models import architecture
from chexlib.runs.store import Run, RunStore, write_atomically

NOT_FOR_PATIENTS = (
    "Not for clinical use. These maps come from a research program: they show what a network weighed, and not where a "
    "disease is."
)
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

    files: PNG, JPEG, DICOM or whatever else Pillow reads. run: a run's folder, or its run_id in the store. findings:
    any spelling of CheXpert's names; by default those of the paper's six that the run learned. method: a row of
    chexlib.explain.cam.METHODS. A file that is there already is written over only with `force`. Raises UserError, and
    writes nothing, for a run, a finding, a method or an image that cannot be used.
    """
    run = _find_run(run, store or RunStore.open())
    findings = _learned(run, findings)
    files, out = [Path(file).expanduser() for file in dict.fromkeys(map(str, files))], Path(out).expanduser()
    bits = run.spec.options.get("bits")
    images = _read(files, run.spec.size, bits)
    names = _overlay_names(files, findings)
    _check_out(out, [CSV, NOTE, *names.ravel()], files, force)
    pictures = [_in_proportion(file, image, bits) for file, image in zip(files, images, strict=True)]
    pixels = np.stack([image.pixels for image in images])  # (N, size, size)
    maps, p = _maps(run, pixels, findings, method, progress)  # (N, T, h, w) and (N, T)
    label = architecture(run.spec.arch).label(run.spec.minus, run.spec.norm)
    grid, rows = f"{maps.shape[2]} x {maps.shape[3]}", []
    for n, t in np.ndindex(p.shape):
        words = f"{findings[t]}: probability {p[n, t]:.2f}", f"{label}, map {grid}; not for clinical use"
        png = io.BytesIO()
        captioned(laid_over(pictures[n], maps[n, t]), *words).save(png, "PNG")
        write_atomically(out / names[n, t], png.getvalue(), ELSEWHERE)
        rows.append((str(files[n]), findings[t], round(float(p[n, t]), 6), *maps.shape[2:], names[n, t]))
    columns = ["file", "finding", "probability", "map_height", "map_width", "overlay"]
    table, note = pd.DataFrame(rows, columns=columns), _note(run, label, method, grid)
    write_atomically(out / NOTE, f"{note}\n", ELSEWHERE)
    write_atomically(out / CSV, csv(table, index=False), ELSEWHERE)  # last: it lists only what is there
    return table


def _find_run(name: str | Path, store: RunStore) -> Run:
    """The finished run in a folder, or of that run_id in the store. Raises UserError where there is none."""
    folder = Path(name).expanduser()
    run = Run((folder if (folder / "spec.json").is_file() else store.folder / name).resolve())
    if not (run.folder / "spec.json").is_file():
        inside = folder if folder.is_dir() else store.folder
        known = sorted(path.parent.name for path in inside.glob("*/spec.json"))
        if not known:
            raise UserError(f"{name}: no run, and {inside} holds none: give a run's folder, or --runs and its name")
        near = get_close_matches(Path(name).name, known, n=3)
        raise UserError(f"{name}: no run; {inside} holds {len(known)}, among them {', '.join(near or known[:3])}")
    if not run.finished:
        raise UserError(f"{run.folder}: its training is not finished: train the run on, then give this command again")
    return run


def _learned(run: Run, names: Sequence[str] = ()) -> list[str]:
    """The findings of these names, each once; all of the paper's six where none is named.

    What a run learned is what any of its images had a label of. Raises UserError for what it did not learn.
    """
    table = run.predictions()
    known = [f for f in FINDINGS if f"y:{f}" in table and table[f"y:{f}"].notna().any()]
    found = {name: finding_of(name) for name in names}
    for name, finding in found.items():
        if finding not in known:
            raise UserError(f"finding {name!r} is not one that run {run.run_id} learned: {nearest(name, known)}")
    return list(dict.fromkeys(found.values())) or [task for task in TASKS if task in known] or known


def _read(files: list[Path], size: int, bits: int | None) -> list[Picture]:
    """The images as the run's data set reads its own. Raises UserError for the first that cannot be read."""
    images = []
    for file in files:
        if not file.is_file():
            why = "a folder: name the image files in it" if file.is_dir() else "no such file"
            raise UserError(f"{file}: {why}; nothing was written")
        try:
            images.append(read_picture(file, size, bits))
        except BadImage as error:
            why = f"cannot be decoded ({error.reason}): give PNG, JPEG or DICOM files"
            raise UserError(f"{file}: {why}; nothing was written") from None
    return images


def _overlay_names(files: list[Path], findings: list[str]) -> np.ndarray:
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


def _note(run: Run, label: str, method: str, grid: str) -> str:
    """README.txt: what the maps are of, and what they are not for."""
    spec, members = run.spec, len(run.provenance["ensemble"])
    source = SOURCES[spec.dataset].title if spec.dataset in SOURCES else spec.dataset
    drawn = " It learned from drawn images: what it says of a real X-ray means nothing."
    means = f"means over the run's {members} kept checkpoints" if members > 1 else "its one kept checkpoint's"
    lines = (
        NOT_FOR_PATIENTS,
        f"Run {run.run_id}: {label}, trained on {source}.{drawn if spec.dataset == 'phantom' else ''}",
        f"Probabilities and maps are {means}, as its own predictions are; maps of {grid} by method {method!r}, each "
        "times its probability.",
        f"Images were stretched to {spec.size} x {spec.size} px for the network; overlays have their own proportions.",
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
