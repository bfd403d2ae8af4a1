"""A run's class activation maps of a user's own image files, laid over them: `chexlib cam`.

Files are read as a data set's are (chexlib.data.images), stretched to the run's size and normalised as in training.
Probabilities and maps are means over the run's kept checkpoints, because the run's own predictions and scores are
theirs; each checkpoint's map is scaled by its own probability first. Everything is read and computed before anything is
written. Nothing here is fit for clinical use, and everything that is written says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.cams_of_files.asked import check_out, find_run, learned, overlay_names, read
from chexlib.cams_of_files.overlay import captioned, laid_over, picture_of, png
from chexlib.data.sources import SOURCES
from chexlib.errors import UserError, nearest
from chexlib.models import architecture
from chexlib.runs.store import Run, RunStore, write_atomically

NOT_FOR_PATIENTS = (
    "Not for clinical use. These maps come from a research program: they show what a network weighed, and not where a "
    "disease is."
)
ELSEWHERE = "free some space or name another folder with -o"
CSV, NOTE = "cams.csv", "README.txt"

BATCH = 16


@dataclass(frozen=True, eq=False)
class CamsOfFiles:
    """What was written: `table` is cams.csv, a row an image and finding; `note` is README.txt's text."""

    out: Path
    table: pd.DataFrame
    note: str

    def text(self) -> str:
        """A line an overlay, then where they are, then the note."""
        lines = [
            f"{row.file}  {row.finding}  p = {row.probability:.3f}  {row.overlay}" for row in self.table.itertuples()
        ]
        return "\n".join([*lines, f"wrote {len(lines)} overlays, {CSV} and {NOTE} to {self.out}", "", self.note])


def cams_of_files(
    files: Sequence[str | Path],
    run: str | Path,
    out: str | Path,
    findings: Sequence[str] = (),
    method: str = "paper",
    store: RunStore | None = None,
    force: bool = False,
    progress: bool = True,
) -> CamsOfFiles:
    """Writes an overlay (PNG) an image and finding, cams.csv and README.txt into the folder `out`.

    files: PNG, JPEG, DICOM or whatever else Pillow reads. run: a run's folder, or its run_id in the store. findings:
    any spelling of CheXpert's names; by default those of the paper's six that the run learned. method: a row of
    chexlib.explain.cam.METHODS. A file that is there already is written over only with `force`. Raises UserError, and
    writes nothing, for a run, a finding, a method or an image that cannot be used.
    """
    from chexlib.explain.cam import METHODS

    run = find_run(run, store or RunStore.open())
    findings = learned(run, findings)
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown: {nearest(method, METHODS)}")
    files = [Path(file).expanduser() for file in dict.fromkeys(map(str, files))]
    pixels = read(files, run.spec.size)
    pictures = [picture_of(file) for file in files]
    names = overlay_names(files, findings)
    out = Path(out).expanduser()
    check_out(out, [CSV, NOTE, *names.ravel()], files, force)
    maps, p = _maps(run, pixels, findings, method, progress)  # (N, T, h, w) and (N, T)
    rows = []
    for n, (file, grey) in enumerate(zip(files, pictures, strict=True)):
        for t, finding in enumerate(findings):
            words = (
                f"{finding}: probability {p[n, t]:.2f}",
                f"{run_label(run)}, map {_grid(maps)}; not for clinical use",
            )
            _write(out / names[n, t], png(captioned(laid_over(grey, maps[n, t]), *words)))
            rows.append((str(file), finding, round(float(p[n, t]), 6), *maps.shape[2:], names[n, t]))
    columns = ["file", "finding", "probability", "map_height", "map_width", "overlay"]
    table, note = pd.DataFrame(rows, columns=columns), _note(run, method, _grid(maps))
    _write(out / NOTE, f"{note}\n")
    _write(out / CSV, table.to_csv(index=False))  # last: it lists only what is there
    return CamsOfFiles(out, table, note)


def _maps(
    run: Run, pixels: np.ndarray, findings: list[str], method: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
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
            load_weights(run, model, images)
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


def run_label(run: Run) -> str:
    """The network's name, as the paper writes it."""
    return architecture(run.spec.arch).label(run.spec.minus)


def _grid(maps: np.ndarray) -> str:
    return f"{maps.shape[2]} x {maps.shape[3]}"


def _note(run: Run, method: str, grid: str) -> str:
    spec, members = run.spec, run.provenance["ensemble"]
    source = SOURCES[spec.dataset].title if spec.dataset in SOURCES else spec.dataset
    several = (
        f"means over the run's {len(members)} kept checkpoints" if len(members) > 1 else "its one kept checkpoint's"
    )
    drawn = (
        " It learned from drawn images: what it says of a real X-ray means nothing."
        if spec.dataset == "phantom"
        else ""
    )
    return (
        f"{NOT_FOR_PATIENTS}\n"
        f"Run {run.run_id}: {run_label(run)}, trained on {source}.{drawn}\n"
        f"Probabilities and maps are {several}, as its own predictions are; maps of {grid} by method {method!r}, each "
        "times its probability.\n"
        f"Images were stretched to {spec.size} x {spec.size} px for the network; overlays have their own proportions."
    )


def _write(path: Path, content: bytes | str) -> None:
    write_atomically(path, content, ELSEWHERE)
