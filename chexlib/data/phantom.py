"""Phantom chest radiographs, drawn from a seed: the embedded data set, in CheXpert's shape and with
CheXpert's rates.

`render` draws in memory; `write` makes a folder as Stanford ships CheXpert, so that the phantom goes through
the very code that CheXpert does; `read_masks` says where each finding was drawn. Anatomy is in
chexlib.data.anatomy and lateral, the 14 observations in pathology and devices, patients and labels in
population. A patient depends on nothing but the seed and the patient's number, so the first images of a
longer series are the shorter series. No patient of any hospital is in it, and nothing learned here is of use
on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from chexlib.data.anatomy import frontal
from chexlib.data.canvas import Grid, edge, grain, letters
from chexlib.data.labels import FINDINGS
from chexlib.data.lateral import lateral
from chexlib.data.pathology import DRAW, deformation
from chexlib.data.phantom_folder import read_masks, write
from chexlib.data.population import StudyPlan, patient
from chexlib.data.scene import Scene, body
from chexlib.errors import UserError

__all__ = ["VERSION", "Phantom", "read_masks", "render", "write"]

VERSION = "3"
"""Raised when the same seed gives other pixels or labels, so that cached folders are made again."""

SIZES = (32, 1024)
LOG_EXPOSURE = np.linspace(0, 2, 2048)
ANATOMY = ("heart", "chest")


class Masks(Mapping):
    """Name to (n, size, size) bool, kept eight pixels a byte and unpacked when asked for."""

    def __init__(self, names: tuple[str, ...], n: int, size: int):
        self._size, self._bits = size, {name: np.zeros((n, (size * size + 7) // 8), dtype=np.uint8) for name in names}

    def put(self, name: str, row: int, mask: np.ndarray) -> None:
        self._bits[name][row] = np.packbits(mask)

    def of(self, row: int) -> dict[str, np.ndarray]:
        """One image's masks, name to (size, size) bool."""
        return {name: self._unpack(bits[row : row + 1])[0] for name, bits in self._bits.items()}

    def _unpack(self, bits: np.ndarray) -> np.ndarray:
        return np.unpackbits(bits, axis=1, count=self._size**2).reshape(-1, self._size, self._size).view(bool)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._unpack(self._bits[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)


@dataclass(frozen=True)
class Phantom:
    """n drawn radiographs, what is written of them, and where everything is.

    `table` has one row an image: image, study, patient, view (PA, AP, LATERAL), sex, age, then the 14 labels
    (1, 0, -1, NaN). `masks` gives for each finding (n, size, size) bool, empty where it is absent and always
    for No Finding; `anatomy` likewise the heart and the chest within its walls; `truth` (n, 14) what is there
    whatever the labels say, `severity` (n, 14) from 0 to 1.
    """

    images: np.ndarray = field(repr=False)  # (n, size, size) uint8
    table: pd.DataFrame = field(repr=False)
    masks: Mapping[str, np.ndarray] = field(repr=False)
    anatomy: Mapping[str, np.ndarray] = field(repr=False)
    truth: np.ndarray = field(repr=False)
    severity: np.ndarray = field(repr=False)


def render(n: int, size: int = 128, seed: int = 0, expert: bool = False, first_patient: int = 1) -> Phantom:
    """Draws n images of size x size pixels; the same arguments give the same bytes, and a longer series
    begins with a shorter one.

    Labels are what an automatic labeler would write, as in CheXpert's train.csv, or with `expert` the truth
    (and one study a patient, as in its valid and test sets). Patients are numbered from `first_patient`:
    other numbers are other people. Raises UserError for a size or a number that cannot be drawn.
    """
    _check(n, size, seed)
    images, masks, anatomy = (
        np.empty((n, size, size), dtype=np.uint8),
        Masks(FINDINGS, n, size),
        Masks(ANATOMY, n, size),
    )
    rows = []
    for row, (study, view_number) in enumerate(plan(n, seed, expert, first_patient)):
        images[row], found, parts = draw(study, view_number, size, seed)
        for name, mask in found.items():
            masks.put(name, row, mask)
        for name, mask in parts.items():
            anatomy.put(name, row, mask)
        rows.append((study, view_number))
    truth = np.array([study.truth for study, _ in rows])
    severity = np.array([study.severity for study, _ in rows], dtype=np.float32)
    return Phantom(images, table(rows, expert), masks, anatomy, truth, severity)


def plan(n: int, seed: int, expert: bool, first_patient: int) -> Iterator[tuple[StudyPlan, int]]:
    """The first n images as (study, number of the image in it)."""
    number, left = first_patient, n
    while left > 0:
        for study in patient(number, seed, one_study=expert):
            for view_number in range(len(study.views)):
                if left > 0:
                    yield study, view_number
                left -= 1
        number += 1


def table(rows: list[tuple[StudyPlan, int]], expert: bool) -> pd.DataFrame:
    """The table of these images (see Phantom)."""
    records = []
    for study, view_number in rows:
        view = study.views[view_number]
        folder = f"patient{study.patient:05d}/study{study.number}"
        name = f"{folder}/view{view_number + 1}_{'lateral' if view == 'LATERAL' else 'frontal'}.jpg"
        records.append(
            (name, folder, f"patient{study.patient:05d}", view, "M" if study.male else "F", float(study.age))
        )
    labels = np.array([study.truth if expert else study.labels for study, _ in rows], dtype=np.float32).reshape(
        -1, len(FINDINGS)
    )
    frame = pd.DataFrame(records, columns=["image", "study", "patient", "view", "sex", "age"])
    return pd.concat([frame, pd.DataFrame(labels, columns=list(FINDINGS))], axis=1)


def draw(study: StudyPlan, view_number: int, size: int, seed: int, severity: dict[str, float] | None = None):
    """One image (size, size) uint8, its masks by finding (those present) and by part of the anatomy.

    `severity` (0 to 1, by finding) takes the place of what the study's patient has, e.g. for a series from
    mild to severe.
    """
    view, number = study.views[view_number], study.patient
    present = (
        severity
        if severity is not None
        else {f: float(s) for f, s, t in zip(FINDINGS, study.severity, study.truth) if t}
    )
    person = body(study.male, study.age, np.random.default_rng([seed, number, 1]))
    rng = np.random.default_rng([seed, number, 3, study.number, view_number])

    def of_study(finding: str) -> np.random.Generator:  # the same side and place on each of the study's images
        return np.random.default_rng([seed, number, 2, study.number, FINDINGS.index(finding)])

    change = deformation(present, {f: of_study(f) for f in present if f in ("Atelectasis", "Pneumothorax")})
    grid = position(size, view, person.fat, rng)
    scene = lateral(grid, person, change, rng) if view == "LATERAL" else frontal(grid, person, view, change, rng)
    masks = {f: drawer(scene, present[f], of_study(f)) for f, drawer in DRAW.items() if f in present}
    return expose(scene, rng), masks, {"heart": scene.heart > 0.5, "chest": scene.chest > 0.5}


def position(size: int, view: str, fat: float, rng: np.random.Generator) -> Grid:
    """How the patient stands or lies before the film: AP films are turned more, taken closer and in less breath."""
    bedside = view == "AP"
    zoom = (1.05 if bedside else 1.0) * (1 - 0.06 * fat) * np.exp(rng.normal(0, 0.035))
    shape = {"AP": (0.76, 1.14, -0.60), "PA": (0.76, 1.30, -0.70), "LATERAL": (0.70, 1.28, -0.68)}[view]
    return Grid(
        size,
        angle=rng.normal(0, 0.04 if bedside else 0.018),
        centre=rng.normal(0, 0.045 if bedside else 0.02),
        apex=shape[2] + rng.normal(0, 0.05),
        width=shape[0] * zoom,
        height=shape[1] * zoom * np.exp(rng.normal(0, 0.02)),
        mirrored=view == "LATERAL" and rng.random() < 0.5,
    )


def expose(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The film (size, size) uint8: exposure, the film's curve, quantum noise, lead letters, collimation."""
    size, bedside = scene.grid.size, scene.view == "AP"
    beam = np.maximum(scene.tissue - scene.air, 0.0) + scene.bone
    beam *= np.float32(np.exp(rng.normal(0.03 if bedside else 0, 0.10)))
    scatter = rng.uniform(0.0, 0.10) if bedside else 0.0
    curve = np.tanh(1.22 * LOG_EXPOSURE + scatter * np.clip(LOG_EXPOSURE / 0.3, 0, 1)) ** np.exp(rng.normal(0.05, 0.12))
    beam *= np.float32(len(curve) / LOG_EXPOSURE[-1])
    film = curve.astype(np.float32).take(beam.astype(np.intp), mode="clip")
    film += (np.float32(0.97) - film) * scene.dense
    film = (
        np.float32(0.03)
        + np.float32(0.93) * film
        + grain(size, rng) * (np.float32(0.016 if bedside else 0.011) * (np.float32(1.25) - film))
    )
    if rng.random() < 0.8:
        film = np.maximum(film, np.float32(0.95) * _marker(scene, size, rng))
    _collimate(film, rng)
    return np.clip(film * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)


def _marker(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """L at the patient's left or R at the right, and AP on many films from the bedside."""
    side = "L" if rng.random() < 0.55 else "R"
    left = rng.uniform(0.88, 0.92) if side == "L" else rng.uniform(0.03, 0.07)
    top = rng.uniform(0.04, 0.14)
    marker = letters(size, side, left, top, 0.05)
    if scene.view == "AP" and rng.random() < 0.5:
        marker = np.maximum(marker, letters(size, "AP", left - (0.02 if side == "L" else 0), top + 0.075, 0.03))
    return marker


def _collimate(film: np.ndarray, rng: np.random.Generator) -> None:
    """Darkens what lies outside the shutters; most films show none."""
    size = len(film)
    shutters = np.where(rng.random(4) < 0.14, rng.uniform(0.01, 0.06, 4), -1.0)
    tilt = rng.normal(0, 0.01)
    if shutters.max() < 0:
        return
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = line[None, :] + np.float32(tilt) * line[:, None], line[:, None] - np.float32(tilt) * line[None, :]
    for place, shutter in zip((x, 1 - x, y, 1 - y), shutters.astype(np.float32)):
        if shutter > 0:
            film *= np.float32(0.04) + np.float32(0.96) * edge(place - shutter, 1.5 / size)


def _check(n: int, size: int, seed: int) -> None:
    if n < 1:
        raise UserError(f"n={n}: a phantom has at least one image")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size={size}: the phantom is drawn at {SIZES[0]} to {SIZES[1]} pixels")
    if seed < 0:
        raise UserError(f"seed={seed}: seeds are 0 or more")
