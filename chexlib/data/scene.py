"""A patient's build, and a scene: the parts of a radiograph while it is drawn.

A scene adds up tissue, bone and dense things and subtracts air, all (size, size) in the film's units. Anatomy
fills it (chexlib.data.anatomy, lateral), findings change it (pathology, devices), and the film curve comes
last (phantom).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chexlib.data.canvas import HEIGHTS, Grid, profile

WALL = profile((-0.9, -0.001, 0.0, 0.02, 0.06, 0.12, 0.22, 0.36, 0.52, 0.70, 0.95, 1.25, 1.9),
               (0.30, 0.30, 0.40, 0.52, 0.63, 0.725, 0.82, 0.90, 0.955, 0.99, 1.0, 0.98, 0.95))  # fmt: skip
WALL[HEIGHTS < 0] = -1.0
"""The inner wall of the chest, as distances from the midline (ROWS,); none above the apices."""


@dataclass(frozen=True)
class Body:
    """A patient's build, the same on every image; lengths in half-widths of the chest."""

    male: bool
    age: int
    fat: float  # 0 thin to 1 obese
    heart: float  # cardiothoracic ratio of the normal heart, PA
    ribs: float  # phase of the ribs
    rib_count: float  # ribs between apex and dome
    slope: float  # of the ribs, 1 on average
    bone: float  # how dense
    knob: float  # the aortic knob's size
    breast: float  # 0 for men
    dome: tuple[float, float]  # heights of the right and left dome
    trees: tuple[int, int]
    wobble: float  # of the spine: scoliosis, spurs


def body(male: bool, age: int, rng: np.random.Generator) -> Body:
    """Draws a build for a patient of this sex and age (years)."""
    old = np.clip((age - 45) / 45, 0, 1)
    right = float(rng.normal(1.0, 0.03))
    return Body(
        male=male,
        age=age,
        fat=float(rng.beta(2, 2.6)),
        heart=float(np.clip(rng.normal(0.425 + 0.02 * old, 0.022), 0.37, 0.47)),
        ribs=float(rng.uniform(-0.5, 0.5)),
        rib_count=float(rng.uniform(8.6, 9.8)),
        slope=float(rng.uniform(0.75, 1.3)),
        bone=float(np.clip((1.12 if male else 0.95) - 0.38 * old + rng.normal(0, 0.08), 0.5, 1.3)),
        knob=float(0.19 + 0.09 * old + rng.normal(0, 0.012)),
        breast=0.0 if male else float(rng.uniform(0.45, 1.0)),
        dome=(right, right + 0.045 + float(rng.normal(0, 0.012))),
        trees=(int(rng.integers(100)), int(rng.integers(100))),
        wobble=float(rng.normal(0, 0.012 + 0.03 * old)),
    )


@dataclass
class Scene:
    """What has been drawn so far, and where things are; arrays are (size, size) float32."""

    grid: Grid
    body: Body
    view: str  # PA, AP or LATERAL
    tissue: np.ndarray
    air: np.ndarray  # what the lungs take away
    bone: np.ndarray
    chest: np.ndarray  # 0 to 1: inside the lungs' outline, heart and mediastinum included
    lungs: np.ndarray  # 0 to 1: lung that nothing covers
    wall: np.ndarray  # distance to the chest wall, positive inside
    floor: np.ndarray  # v of the diaphragm below or above each pixel
    heart: np.ndarray  # 0 to 1
    mediastinum: np.ndarray  # 0 to 1
    vessels: np.ndarray
    hila: tuple[tuple[float, float], ...]
    dense: np.ndarray  # metal and calcium, drawn over everything

    @property
    def frontal(self) -> bool:
        return self.view != "LATERAL"


@dataclass(frozen=True)
class Deformation:
    """What findings do to the anatomy before it is drawn."""

    heart: float = 0.0  # cardiothoracic ratio; 0 leaves the patient's own
    mediastinum: float = 0.0  # widening of the upper mediastinum to each side
    lift: tuple[float, float] = (0.0, 0.0)  # of the right and left dome, by volume loss
    shift: float = 0.0  # of the mediastinum, positive to the patient's left


def place(scene: Scene, side: int, out: float, down: float) -> tuple[float, float]:
    """A point (u, v) of a lung: `out` from mediastinum (0) to wall (1), `down` from apex (0) to base (1)."""
    v = 0.08 + 0.88 * down
    if not scene.frontal:
        return -0.62 + 1.25 * out, v
    wall = float(np.interp(v, HEIGHTS, WALL))
    inner = 0.20 + 0.12 * down
    return side * (inner + (wall - inner) * out), v


def opacify(scene: Scene, haze: np.ndarray, added: float = 0.02) -> None:
    """Replaces air by fluid or cells where haze (size, size) is, 0 to 1."""
    scene.air *= 1 - haze
    scene.tissue += np.float32(added) * haze * scene.chest


def region(scene: Scene, haze: np.ndarray, level: float, within: np.ndarray | None = None) -> np.ndarray:
    """Where haze is above the level inside the chest; never nothing: the strongest pixels where all is faint."""
    within = scene.chest if within is None else within
    mask = (haze > level) & (within > 0.5)
    if mask.sum() >= 4:
        return mask
    strength = haze * (within + np.float32(0.01))
    return strength >= np.partition(strength.ravel(), -4)[-4]
