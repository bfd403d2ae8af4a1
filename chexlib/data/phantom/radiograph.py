"""One phantom radiograph: a patient who stands or lies before the film, drawn, and exposed."""

from __future__ import annotations

import numpy as np

from chexlib.data.labels import FINDINGS
from chexlib.data.phantom.anatomy import Scene, body, frontal
from chexlib.data.phantom.drawing import Grid, edge, grain, letters
from chexlib.data.phantom.lateral import lateral
from chexlib.data.phantom.pathology import DRAW, deformed
from chexlib.data.phantom.population import Study

LOG_EXPOSURE = np.linspace(0, 2, 2048)


def draw(study: Study, view_number: int, size: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], Scene]:
    """One image (size, size) uint8, its masks (size, size) bool by finding (those present), and the scene on it."""
    view, number = study.views[view_number], study.patient
    present = {f: float(s) for f, s, t in zip(FINDINGS, study.severity, study.truth) if t}

    def of_study(finding: str) -> np.random.Generator:  # the same side and place on each of the study's images
        return np.random.default_rng([seed, number, 2, study.number, FINDINGS.index(finding)])

    person = body(study.male, study.age, np.random.default_rng([seed, number, 1]))
    person = deformed(person, present, of_study)
    rng = np.random.default_rng([seed, number, 3, study.number, view_number])
    grid = position(size, view, person.fat, rng)
    scene = lateral(grid, person, rng) if view == "LATERAL" else frontal(grid, person, view, rng)
    masks = {f: drawer(scene, present[f], of_study(f)) for f, drawer in DRAW.items() if f in present}
    return expose(scene, rng), masks, scene


def position(size: int, view: str, fat: float, rng: np.random.Generator) -> Grid:
    """How the patient stands or lies before the film: AP films are turned more, taken closer and in less breath."""
    bedside = view == "AP"
    zoom = (1.05 if bedside else 1.0) * (1 - 0.06 * fat) * np.exp(rng.normal(0, 0.035))
    width, height, apex = {"AP": (0.76, 1.14, -0.60), "PA": (0.76, 1.30, -0.70), "LATERAL": (0.70, 1.28, -0.68)}[view]
    return Grid(
        size,
        angle=rng.normal(0, 0.04 if bedside else 0.018),
        centre=rng.normal(0, 0.045 if bedside else 0.02),
        apex=apex + rng.normal(0, 0.05),
        width=width * zoom,
        height=height * zoom * np.exp(rng.normal(0, 0.02)),
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
    film += (0.97 - film) * scene.dense
    film = 0.03 + 0.93 * film + grain(size, rng) * ((0.016 if bedside else 0.011) * (1.25 - film))
    if rng.random() < 0.8:
        film = np.maximum(film, 0.95 * _marker(scene, size, rng))
    _collimate(film, rng)
    return np.clip(film * 255 + 0.5, 0, 255).astype(np.uint8)


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
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = line[None, :] + tilt * line[:, None], line[:, None] - tilt * line[None, :]
    for place, shutter in zip((x, 1 - x, y, 1 - y), shutters.astype(np.float32)):
        if shutter > 0:
            film *= 0.04 + 0.96 * edge(place - shutter, 1.5 / size)
