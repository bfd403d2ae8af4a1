"""A patient's build, and the chest from the front: what a healthy PA or AP radiograph shows.

A scene adds up tissue, bone and dense things and subtracts air, all (size, size) in thickness that the beam goes
through. `frontal` here and `lateral` in its own file draw the anatomy, chexlib.data.phantom.pathology the findings, and
the film's curve comes last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chexlib.data.phantom.drawing import HEIGHTS, Grid, bulge, cloud, edge, profile, spot, vessels, window

WALL = profile((-0.9, -0.001, 0.0, 0.02, 0.06, 0.12, 0.22, 0.36, 0.52, 0.70, 0.95, 1.25, 1.9),
               (0.30, 0.30, 0.40, 0.52, 0.63, 0.725, 0.82, 0.90, 0.955, 0.99, 1.0, 0.98, 0.95))  # fmt: skip
WALL[HEIGHTS < 0] = -1.0
"""The inner wall of the chest, as distances from the midline (ROWS,); none above the apices."""


@dataclass(frozen=True)
class Body:
    """A patient's build, in half-widths of the chest: the same on every image, and what findings do to its shape."""

    male: bool
    fat: float  # 0 thin to 1 obese
    heart: float  # cardiothoracic ratio, PA
    ribs: float  # phase of the ribs
    rib_count: float  # ribs between apex and dome
    slope: float  # of the ribs, 1 on average
    bone: float  # how dense
    knob: float  # the aortic knob's size
    breast: float  # 0 for men
    dome: tuple[float, float]  # heights of the right and left dome
    trees: tuple[int, int]
    wobble: float  # of the spine: scoliosis, spurs
    lift: tuple[float, float] = (0.0, 0.0)  # of the right and left dome, by volume loss
    widening: float = 0.0  # of the upper mediastinum to each side
    shift: float = 0.0  # of the mediastinum, positive to the patient's left


def body(male: bool, age: int, rng: np.random.Generator) -> Body:
    """Draws the build of a healthy patient of this sex and age (years)."""
    old = np.clip((age - 45) / 45, 0, 1)
    right = float(rng.normal(1.0, 0.03))
    return Body(
        male=male,
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
    """Where things are, and what has been drawn of them so far; arrays are (size, size) float32."""

    grid: Grid
    body: Body
    view: str  # PA, AP or LATERAL
    hila: tuple[tuple[float, float], ...]
    wall: np.ndarray  # distance to the chest wall, positive inside
    floor: np.ndarray  # v of the diaphragm below or above each pixel
    chest: np.ndarray  # 0 to 1: inside the lungs' outline, heart and mediastinum included
    lungs: np.ndarray  # 0 to 1: lung that nothing covers
    heart: np.ndarray  # 0 to 1
    mediastinum: np.ndarray  # 0 to 1
    vessels: np.ndarray  # 0 to 1
    tissue: np.ndarray
    air: np.ndarray  # what the lungs take away
    bone: np.ndarray = field(init=False)
    dense: np.ndarray = field(init=False)  # metal and calcium, drawn over everything

    def __post_init__(self):
        self.bone, self.dense = np.zeros_like(self.air), np.zeros_like(self.air)

    @property
    def frontal(self) -> bool:
        return self.view != "LATERAL"


AP_MAGNIFIES = 1.13  # the heart, which is farther from an AP film
WIDENING = profile((0.0, 0.10, 0.18, 0.42, 0.56), (0.3, 0.6, 1.0, 1.0, 0.0))
FULLNESS = 0.88 + 0.12 * bulge((HEIGHTS + 0.02).astype(np.float32) / 0.5)
BELOW_GREAT_VESSELS = HEIGHTS >= 0.58  # there the heart begins
TRACHEA = profile((0.15, 0.35), (0.01, 0.03))


def frontal(grid: Grid, person: Body, view: str, rng: np.random.Generator) -> Scene:
    """The chest of a patient of this build, from the front."""
    u, v, pixel = grid.u, grid.v, grid.pixel
    across = np.abs(u)
    wall = grid.at(WALL) - across
    floor = _diaphragm(grid, person, view)
    inner = np.maximum(0.43 - across, 0)
    below_top = v - 1.6 * inner * inner  # the lungs' tops are rounded towards the neck
    chest = edge(wall, 3 * pixel) * edge(floor - v, 3.5 * pixel) * edge(below_top, 3 * pixel)
    left, right = _borders(person, view)
    silhouette = np.where(u > person.shift, grid.at(left) - u, u + grid.at(right))  # positive inside
    mediastinum = edge(silhouette, 3.5 * pixel)
    heart = edge(silhouette, 2 * pixel) * edge(floor + 0.07 - v, 0.02) * grid.at(BELOW_GREAT_VESSELS)
    beyond = edge(v - floor, 3.5 * pixel)
    tissue = _skin_to_skin(grid, person, view, across) + 0.13 * beyond * edge(wall + 0.15, 0.2)
    tissue += 0.06 * mediastinum * chest + 0.05 * heart * bulge(silhouette / 0.4)
    air = bulge(wall / 0.55) * chest * (0.57 - 0.50 * mediastinum) * grid.at(FULLNESS)
    air += 0.13 * beyond * edge(floor + 0.06 - v, 0.2) * edge(wall, 0.1) * (1 - mediastinum)  # behind the dome
    lungs = chest * (1 - mediastinum)
    hila = ((-0.24 + person.shift, 0.49), (0.26 + person.shift, 0.46))
    tree = vessels(grid, hila, person.trees)
    scene = Scene(grid, person, view, hila, wall, floor, chest, lungs, heart, mediastinum, tree, tissue, air)
    _airway(scene)
    for hilum in hila:
        scene.tissue += 0.055 * spot(grid, *hilum, 0.085, tall=1.5)
    scene.tissue += 0.16 * tree * lungs
    scene.air *= 1 + 0.03 * cloud(grid, 3, np.random.default_rng(person.trees[0]))
    _bones(scene, across)
    _abdomen(scene, rng)
    if person.breast:
        _breasts(scene)
    return scene


def _diaphragm(grid: Grid, person: Body, view: str) -> np.ndarray:
    """v of the diaphragm over each u: two domes that fall to the costophrenic angles."""
    lifted = 0.07 if view == "AP" else 0.0
    right, left = (dome - lift for dome, lift in zip(person.dome, person.lift))
    smooth = np.convolve(DOMES + np.where(ACROSS < 0, right, left) - lifted, _KERNEL, mode="valid").astype(np.float32)
    return smooth.take(((grid.u + 1.6) * (511 / 3.2)).astype(np.int32), mode="clip")


ACROSS = np.linspace(-1.6, 1.6, 512)[np.clip(np.arange(-12, 524), 0, 511)]
_KERNEL = np.hanning(25) / np.hanning(25).sum()
DOMES = (
    0.20 * (np.clip(np.abs(ACROSS) - 0.45, 0, None) / 0.55).clip(0, 1.2) ** 2.3
    + 0.045 * (np.clip(0.45 - np.abs(ACROSS), 0, None) / 0.45) ** 2
)
"""What the diaphragm falls from its domes to either side of them, at ACROSS."""


def _borders(person: Body, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Left and right border (ROWS,) of mediastinum and heart, as distances from the midline."""
    bedside, knob = view == "AP", person.knob
    ratio = person.heart * (AP_MAGNIFIES if bedside else 1.0)
    left = profile((-0.9, 0.02, 0.16, 0.24, 0.30, 0.35, 0.40, 0.46, 0.53, 0.62, 0.74, 0.85, 0.95, 1.05, 1.2),
                   (0.10, 0.12, 0.13, knob - 0.03, knob + 0.02, knob - 0.01,
                    0.16, 0.20, 0.21, 0.27, 0.43, 0.52, 0.52, 0.46, 0.3))  # fmt: skip
    right = profile((-0.9, 0.02, 0.16, 0.30, 0.42, 0.52, 0.62, 0.72, 0.82, 0.92, 1.05, 1.2),
                    (0.10, 0.12, 0.14, 0.15, 0.15, 0.16, 0.21, 0.26, 0.28, 0.26, 0.20, 0.15))  # fmt: skip
    wider = (person.widening + (0.03 if bedside else 0.0)) * WIDENING
    left = _stretched(left, 1.34 * ratio) + wider + person.shift
    right = _stretched(right, 0.66 * ratio) + wider - person.shift
    return left.astype(np.float32), right.astype(np.float32)


def _stretched(border: np.ndarray, reach: float) -> np.ndarray:
    """The border stretched over the heart so that its furthest point is at `reach`, unchanged above."""
    lower = HEIGHTS >= 0.5
    peak, base = border[lower].max(), border[lower][0]
    blend = np.clip((border - base) / (peak - base), 0, 1)
    return np.where(lower, border + blend * (reach - peak), border).astype(np.float32)


def _skin_to_skin(grid: Grid, person: Body, view: str, across: np.ndarray) -> np.ndarray:
    """Neck, shoulders, trunk, and arms beside it on AP films."""
    fat = 0.16 * person.fat
    shoulder = 0.06 if person.male else 0.0
    outline = profile((-0.9, -0.34, -0.24, -0.16, -0.09, -0.02, 0.08, 0.22, 0.36, 0.52, 0.8, 1.2, 1.9),
                      np.array((0.34, 0.36, 0.42, 0.60, 0.90, 1.20, 1.42, 1.50, 1.38, 1.16, 1.10, 1.12, 1.16))
                      + np.array((0.02, 0.02, 0.05, 0.1, 0.1, 0.1, 0.1, 0.5, 1, 1, 1, 1.2, 1.4)) * fat
                      + np.array((0, 0, 0, 0, 0.5, 1, 1, 1, 0.4, 0, 0, 0, 0)) * shoulder)  # fmt: skip
    inside = grid.at(outline) - across
    tissue = (0.62 + 0.16 * person.fat) * bulge(inside / 0.75)
    if view == "AP":
        arm = 0.19 - np.abs(across - (1.46 + 0.05 * person.fat))
        tissue = np.maximum(tissue, 0.42 * bulge(arm / 0.2) * edge(grid.v - 0.15, 0.3))
    return tissue


def _airway(scene: Scene) -> None:
    """Trachea, carina and main bronchi: dark in the bright mediastinum."""
    part = scene.grid.part((-0.4, 0.4), (-0.6, 0.6))
    u, v, row = scene.grid.u[part], scene.grid.v[part], scene.grid.row[part]
    centre = TRACHEA.take(row) + scene.body.shift
    scene.tissue[part] -= 0.13 * bulge((0.062 - np.abs(u - centre)) / 0.062) * window(-0.42, 0.44, 0.2, 0.04).take(row)
    below = window(0.425, 0.55, 0.02, 0.06).take(row)
    for slope in (-0.85, 1.15):
        branch = np.abs(u - centre - slope * (v - 0.43))
        scene.tissue[part] -= 0.08 * bulge((0.06 - branch) / 0.06) * below


def _abdomen(scene: Scene, rng: np.random.Generator) -> None:
    """The stomach's bubble under the left dome, flat below where the patient stands, and other gas."""
    grid = scene.grid
    at_u, size = rng.uniform(0.38, 0.58), rng.uniform(0.09, 0.2)
    at_v = scene.body.dome[1] + 0.06 + 0.45 * size
    part = grid.part((at_u - 0.3, at_u + 0.3), (at_v - 0.3, at_v + 0.3))
    v = grid.v[part]
    away = np.hypot(grid.u[part] - at_u, (v - at_v) * (grid.aspect / 0.7))
    bubble = edge(size - away, 0.05) * edge(v - scene.floor[part] - 0.02, 0.03)
    if scene.view == "PA":
        bubble *= edge(at_v + 0.25 * size - v, 0.02)
    scene.tissue[part] -= rng.uniform(0.06, 0.2) * bubble
    scene.tissue += 0.03 * cloud(grid, 1, rng) * grid.at(window(1.15, 2.5, 0.3, 0.1))


HANGING = profile((0.35, 0.85), (0.35, 1.0))


def _breasts(scene: Scene) -> None:
    size = scene.body.breast
    middle, radius = 0.58 + 0.06 * size, 0.30 + 0.17 * size
    down = (scene.grid.v - 0.74) * scene.grid.aspect
    out = np.abs(scene.grid.u) - middle
    inside = radius - np.sqrt(out * out + down * down)
    scene.tissue += (0.06 + 0.11 * size) * bulge(inside * (1 / 0.3)) * scene.grid.at(HANGING)


SPINE_CURVE = np.sin(4.5 * HEIGHTS).astype(np.float32)
TO_WALL = (1 / np.maximum(WALL, 0.3)).astype(np.float32)


def _bones(scene: Scene, across: np.ndarray) -> None:
    """Ribs, shoulders, clavicles and spine; `across` (size, size) is the distance from the midline."""
    grid, person = scene.grid, scene.body
    strength = 0.125 * person.bone
    scene.bone += strength * _ribs(scene, across)
    part = grid.part((-1.7, 1.7), (-0.25, 0.75))
    scene.bone[part] += strength * _shoulders(grid, part, across[part], scene.view)
    part = grid.part((-1.3, 1.3), (-0.16, 0.28))
    covered = edge(scene.tissue[part] - 0.05, 0.1)
    scene.bone[part] += 1.35 * strength * covered * _clavicles(grid, part, across[part], scene.view)
    part = grid.part((-0.3, 0.3), (-0.9, 1.9))
    bend = SPINE_CURVE.take(grid.row[part]) * person.wobble
    away = np.abs(grid.u[part] - bend)
    level = np.mod(grid.v[part] * person.rib_count + person.ribs, 1)
    discs = edge(0.13 - np.abs(level - 0.5), 0.12)
    scene.bone[part] += strength * edge(0.115 - away, 0.03) * (0.72 - 0.5 * discs + 0.25 * edge(away - 0.085, 0.02))


def _ribs(scene: Scene, across: np.ndarray) -> np.ndarray:
    """Posterior ribs arch down and out from the spine; anterior ribs, fainter, slope down and in to their cartilage."""
    grid, person = scene.grid, scene.body
    out = across * grid.at(TO_WALL)
    np.minimum(out, 1.2, out=out)
    squared = out * out
    drop = (0.10 * squared * squared + 0.16 * out - 0.05) * out * person.slope
    posterior = _band(POSTERIOR, (grid.v - drop) * person.rib_count + person.ribs)
    inward = np.maximum(1 - out, 0)
    climb = (0.55 - 0.2 * inward) * inward
    anterior = _band(ANTERIOR, (grid.v - 0.21 - climb) * (person.rib_count * 0.92) + (person.ribs + 0.3))
    posterior *= 0.85 * edge(across - 0.1, 0.06) * grid.at(window(-0.03, 1.22, 0.06, 0.3))
    anterior *= 0.55 * edge(out - 0.52, 0.25) * grid.at(window(0.22, 0.95, 0.1, 0.15))
    hoop = 1 + 0.5 * edge(out - 0.9, 0.16)  # more bone along the beam where the rib turns forwards
    return edge(scene.wall + 0.035, 0.04) * hoop * (posterior + anterior)


def _rib(half: float) -> np.ndarray:
    """(1024,) a rib of that half-width over one turn of the phase, 0 in its middle: a body with brighter margins."""
    away = np.abs(np.linspace(0, 1, 1024, endpoint=False))
    away = np.minimum(away, 1 - away)
    return edge(half - away, 0.14) * (0.72 + 0.28 * edge(away - (half - 0.1), 0.08))


POSTERIOR, ANTERIOR = _rib(0.25), _rib(0.28)


def _band(rib: np.ndarray, phase: np.ndarray) -> np.ndarray:
    return rib.take((phase * 1024).astype(np.int32) & 1023)


def _clavicles(grid: Grid, part: tuple[slice, slice], across: np.ndarray, view: str) -> np.ndarray:
    higher = 0.045 if view == "AP" else 0.0
    out = np.clip((across - 0.1) * (1 / 1.05), 0, 1)
    middle = (0.135 - higher) - 0.19 * out + 0.022 * np.sin(out * 6.3)
    thick = 0.030 + 0.012 * np.abs(out - 0.5)
    away = np.abs(grid.v[part] - middle)
    shape = edge(thick - away, 0.02) * edge(across - 0.1, 0.04) * edge(1.16 - across, 0.05)
    return shape * (0.8 + 0.35 * edge(away - thick * 0.55, 0.015))


def _shoulders(grid: Grid, part: tuple[slice, slice], across: np.ndarray, view: str) -> np.ndarray:
    """Scapulae (over the lungs on AP films, rolled out of them on PA) and the heads of the humeri."""
    v, row = grid.v[part], grid.row[part]
    inner = 0.76 if view == "AP" else 1.02
    border = across - inner - 0.28 * np.abs(v - 0.38)
    blade = edge(border, 0.03) * edge(1.32 - across, 0.1) * edge(v - 0.216 + 0.12 * across, 0.05)
    blade = blade * window(-0.5, 0.62, 0.05, 0.06).take(row)
    head = edge(0.15 - np.hypot(across - 1.36, (v - 0.10) * grid.aspect), 0.04)
    shaft = edge(0.085 - np.abs(across - 1.44), 0.03) * window(0.12, 0.8, 0.06, 0.2).take(row)
    return 0.42 * blade * (1 + edge(0.035 - np.abs(border - 0.015), 0.03)) + 0.9 * np.maximum(head, 0.8 * shaft)
