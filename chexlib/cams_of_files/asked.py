"""What `chexlib cam` was asked for: a run, findings, image files and a folder, each refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from chexlib.data.images import BadImage, read_grey
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.data.names import finding_of, is_known
from chexlib.errors import UserError, nearest
from chexlib.runs.store import Run, RunStore


def find_run(name: str | Path, store: RunStore) -> Run:
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


def learned(run: Run, names: Sequence[str] = ()) -> list[str]:
    """The findings of these names, each once; all of the paper's six where none is named.

    What a run learned is what any of its images had a label of. Raises UserError for what it did not learn.
    """
    table = run.predictions()
    known = [f for f in FINDINGS if f"y:{f}" in table and table[f"y:{f}"].notna().any()]
    found = []
    for name in names:
        finding = finding_of(name) if is_known(name) else None
        if finding is None:
            raise UserError(f"finding {name!r} is not one that run {run.run_id} learned: {nearest(name, known)}")
        if finding not in known:
            raise UserError(
                f"finding {finding!r} has no label in the data of run {run.run_id}, which learned {', '.join(known)}"
            )
        found.append(finding)
    return list(dict.fromkeys(found)) or [task for task in TASKS if task in known] or known


def read(files: list[Path], size: int) -> np.ndarray:
    """(N, size, size) uint8. Raises UserError for the first file that cannot be read, and says how many others."""
    pixels, bad = [], []
    for file in files:
        try:
            if file.is_dir():
                raise UserError(f"{file}: a folder: name the image files in it")
            if not file.exists():
                raise UserError(f"{file}: no such file")
            pixels.append(read_grey(file, size))
        except BadImage as error:
            bad.append(f"{file}: cannot be decoded ({error.reason}): give PNG, JPEG or DICOM files")
        except UserError as error:
            bad.append(str(error))
    if bad:
        others = f"; {len(bad) - 1} more cannot be read" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{others}; nothing was written")
    return np.stack(pixels)


def overlay_names(files: list[Path], findings: list[str]) -> np.ndarray:
    """(N, T) file names of overlays: the image's and the finding's, numbered where images share one."""
    stems = []
    for file in files:
        stem, n = file.stem, 1
        while stem.casefold() in [other.casefold() for other in stems]:
            stem, n = f"{file.stem}-{n + 1}", n + 1
        stems.append(stem)
    return np.array([[f"{stem}.{f.lower().replace(' ', '-')}.png" for f in findings] for stem in stems], dtype=object)


def check_out(out: Path, names: Iterable[str], files: Sequence[Path], force: bool) -> None:
    """Raises UserError where these names in the folder would be written over other files, or over the images."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file: name a folder with -o")
    there = [name for name in names if (out / name).exists()]
    images = {file.resolve() for file in files}
    for name in there:
        if (out / name).resolve() in images:
            raise UserError(f"{out / name}: is one of the images, and an overlay's name: name another folder with -o")
    if there and not force:
        raise UserError(
            f"{out / there[0]}: is there already: name another folder with -o, or write over it with --force"
        )
