"""CheXpert's observations as radiologists describe them (Fleischner Society glossary, Hansell et al. 2008), drawn on a
scene.

Each drawer takes a scene, a severity in (0, 1] and a generator, changes the scene's air or adds to it, and returns the
region as (size, size) bool: its mask. `deformed` does what must be done before the anatomy is drawn. Findings are drawn
one by one: CheXpert's hierarchy (an Edema is a Lung Opacity) is left to the labels' rates, as in its train.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from chexlib.data.phantom.anatomy import WALL, Body, Scene
from chexlib.data.phantom.drawing import HEIGHTS, bulge, cloud, disc, edge, spot

Generator = np.random.Generator


def deformed(person: Body, severity: Mapping[str, float], rng_of: Callable[[str], Generator]) -> Body:
    """The build with what the findings present (by severity) do to the shape of heart, mediastinum and diaphragm."""
    heart, widening, lift, shift = person.heart, 0.0, [0.0, 0.0], 0.0
    if "Cardiomegaly" in severity:
        heart = 0.53 + 0.13 * severity["Cardiomegaly"]
    if "Enlarged Cardiomediastinum" in severity:
        widening = 0.05 + 0.12 * severity["Enlarged Cardiomediastinum"]
    if "Atelectasis" in severity:
        side = sides(rng_of("Atelectasis"))[0]
        lift[side > 0] = 0.03 + 0.10 * severity["Atelectasis"]
        shift += side * 0.05 * severity["Atelectasis"]
    if "Pneumothorax" in severity:
        side = sides(rng_of("Pneumothorax"))[0]
        shift -= side * 0.10 * max(0.0, severity["Pneumothorax"] - 0.6)
    return replace(person, heart=heart, widening=widening, lift=tuple(lift), shift=shift)


def sides(rng: Generator, both: float = 0.0) -> tuple[int, ...]:
    """-1 (the patient's right), 1 (left) or, with that probability, both; always the generator's first two draws."""
    first, second = (-1 if rng.random() < 0.5 else 1), rng.random()
    return (first, -first) if second < both else (first,)


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
    scene.tissue += added * haze * scene.chest


def region(scene: Scene, haze: np.ndarray, level: float) -> np.ndarray:
    """Where haze is above the level inside the chest; never nothing: the strongest pixels where all is faint."""
    mask = (haze > level) & (scene.chest > 0.5)
    if mask.sum() >= 4:
        return mask
    strength = haze * (scene.chest + 0.01)
    return strength >= np.partition(strength.ravel(), -4)[-4]


def cardiomegaly(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    return scene.heart > 0.5  # deformed() has widened it


def enlarged_cardiomediastinum(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    return (scene.mediastinum > 0.5) & (scene.grid.v > 0.05) & (scene.grid.v < 0.52)


def lung_opacity(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Hazy increase in one zone that leaves the vessels visible."""
    (side,) = sides(rng)
    u, v = place(scene, side, rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.9))
    shape = spot(scene.grid, u, v, 0.16 + 0.14 * severity, tall=rng.uniform(0.8, 1.5))
    shape = shape * (1 + 0.25 * cloud(scene.grid, 1, rng))
    opacify(scene, (0.18 + 0.30 * severity) * np.clip(shape, 0, 1))
    return region(scene, shape, 0.45)


def lung_lesion(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """One to three round nodules, or a mass (more than 3 cm)."""
    mask = np.zeros(scene.air.shape, dtype=bool)
    for _ in range(1 + (rng.random() < 0.3) + (rng.random() < 0.15)):
        u, v = place(scene, sides(rng)[0], rng.uniform(0.25, 0.85), rng.uniform(0.15, 0.85))
        radius = (0.05 + 0.13 * severity) * rng.uniform(0.75, 1.1)
        inside = disc(scene.grid, u, v, radius) + 0.012 * cloud(scene.grid, 2, rng)
        scene.tissue += (0.16 + 0.20 * severity) * bulge(inside / radius) ** 0.6
        mask |= inside > 0
    return mask if mask.any() else region(scene, inside, 1e9)


def edema(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Perihilar haze like a bat's wings, thick indistinct vessels up to the apices, septal lines at the bases."""
    grid = scene.grid
    wings = sum(spot(grid, u, v + 0.06, 0.26 + 0.16 * severity, tall=1.45) for u, v in scene.hila)
    fluffy = np.clip(wings, 0, 1) * (1 + 0.22 * cloud(grid, 2, rng)) * edge(scene.wall - 0.03, 0.2)
    haze = np.clip((0.12 + 0.55 * severity) * fluffy + 0.12 * severity * scene.chest, 0, 0.85)
    scene.tissue += (0.02 + 0.06 * severity) * scene.vessels * scene.lungs
    opacify(scene, haze)
    lines = np.abs(np.mod(grid.v * 26 + 0.4 * cloud(grid, 1, rng), 1) - 0.5)
    kerley = edge(0.16 - lines, 0.2) * edge(0.20 - np.abs(scene.wall - 0.11), 0.1) * edge(grid.v - 0.62, 0.1)
    scene.tissue += (0.01 + 0.06 * severity) * (kerley * scene.lungs)
    return region(scene, fluffy, 0.42)


def consolidation(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """A lobe's air replaced: dense, bounded by a fissure on one side, with air bronchograms."""
    grid, (side,) = scene.grid, sides(rng)
    upper = rng.random() < 0.35
    u, v = place(scene, side, rng.uniform(0.4, 0.65), 0.26 if upper else rng.uniform(0.62, 0.8))
    inside = disc(grid, u, v, 0.32 + 0.16 * severity, tall=1.05)
    inside = inside + 0.010 * cloud(grid, 2, rng) + 0.04 * cloud(grid, 1, rng)
    fissure = (0.47 - grid.v if upper else grid.v - 0.50) + 0.06 * (np.abs(grid.u) - 0.5)
    shape = edge(inside, 0.22) * edge(fissure, 0.035)
    if scene.frontal:
        shape = shape * edge(side * grid.u, 0.1)
    bronchi = np.clip(1.2 * scene.vessels, 0, 1)
    opacify(scene, (0.60 + 0.35 * severity) * shape * (1 - 0.35 * bronchi))
    return region(scene, shape, 0.5)


def pneumonia(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Patchy, fluffy opacities that run together, mostly in one lower zone."""
    (side,) = sides(rng)
    centre = rng.uniform(0.35, 0.7), rng.uniform(0.45, 0.85)
    shape = 0
    for _ in range(3 + int(3 * severity)):
        u, v = place(scene, side, *np.clip(np.array(centre) + rng.normal(0, 0.16, 2), 0.05, 0.95).tolist())
        shape = shape + spot(scene.grid, u, v, rng.uniform(0.05, 0.10) + 0.03 * severity)
    shape = np.clip(shape * (1 + 0.3 * cloud(scene.grid, 2, rng)), 0, 1)
    opacify(scene, (0.35 + 0.4 * severity) * shape)
    return region(scene, shape, 0.4)


def atelectasis(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Plates of collapsed lung across a base, crowded above a raised dome (deformed() lifts it)."""
    grid, (side,) = scene.grid, sides(rng)
    near = edge(side * grid.u - 0.12, 0.1) if scene.frontal else 1
    plates = 0
    for k in range(1 + int(severity * 2.6)):
        u, v = place(scene, side, rng.uniform(0.35, 0.6), 0.84 - 0.13 * k + rng.uniform(-0.03, 0.03))
        tilt = rng.normal(0, 0.22)
        across = grid.v - v - tilt * (grid.u - u) + 0.05 * (grid.u - u) ** 2
        length = rng.uniform(0.22, 0.34) + 0.10 * severity
        plate = edge(0.020 + 0.012 * severity - np.abs(across), 0.022) * edge(length - np.abs(grid.u - u), 0.12)
        plates = plates + plate * near
    plates = np.clip(plates, 0, 1) * scene.chest
    scene.tissue += (0.10 + 0.12 * severity) * plates
    crowding = spot(grid, *place(scene, side, 0.35, 0.95), 0.34, tall=0.6) * near
    opacify(scene, (0.15 + 0.45 * severity) * crowding)
    return region(scene, np.maximum(plates, crowding), 0.5)


def pneumothorax(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """A pleural line along the wall, widest at the apex, and nothing but black beyond it."""
    grid, (side,) = scene.grid, sides(rng)
    width = 0.07 + 0.40 * severity
    depth = width * (1.15 - 0.75 * np.clip(grid.v, 0, 1))
    top = (0.10 + 0.22 * severity) - (grid.v - 0.25 * (np.abs(grid.u) - 0.45) ** 2)
    near = edge(side * grid.u - 0.1, 0.04) if scene.frontal else edge(0.3 - grid.u, 0.1)
    beyond = np.maximum(depth - scene.wall, top)
    gas = edge(beyond, 2.5 * grid.pixel) * near * scene.chest * (1 - scene.mediastinum)
    scene.tissue -= 0.15 * scene.vessels * scene.lungs * gas
    scene.air += 0.10 * gas
    scene.air *= 1 - 0.22 * severity * (1 - gas) * near * scene.lungs  # the lung itself is smaller and denser
    line = edge(1.3 * grid.pixel + 0.004 - np.abs(beyond), 1.6 * grid.pixel) * near * scene.lungs
    scene.tissue += 0.10 * line
    return region(scene, gas, 0.5)


def pleural_effusion(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Fluid in the costophrenic angle, its meniscus up the wall; much of it buries the dome and the heart's border."""
    grid = scene.grid
    wet = 0
    for number, side in enumerate(sides(rng, both=0.45)):
        amount = severity * (1 if number == 0 else rng.uniform(0.3, 0.9))
        near = edge(side * grid.u - 0.05, 0.1) if scene.frontal else edge(grid.u + 0.75 - 1.4 * amount, 0.2)
        level = 1.10 - 0.52 * amount
        climb = (0.12 + 0.20 * amount) * np.exp(-np.maximum(scene.wall, 0) * (1 / (0.14 + 0.22 * amount)))
        wet = np.maximum(wet, edge(grid.v - level + climb, 0.045 + 0.05 * amount) * near)
    fluid = wet * edge(scene.wall + 0.01, 0.03)
    opacify(scene, 0.96 * fluid, added=0.0)
    scene.bone *= 1 - 0.5 * fluid
    scene.tissue += 0.09 * fluid * edge(scene.floor + 0.02 - grid.v, 0.06)
    return region(scene, fluid * scene.chest, 0.5)


def pleural_other(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Pleural thickening: a cap over the apex or a rind along the wall, sometimes with chalky plaques."""
    grid, (side,) = scene.grid, sides(rng)
    near = edge(side * grid.u - 0.1, 0.05) if scene.frontal else 1
    thick = (0.045 + 0.07 * severity) * (1 + 0.35 * cloud(grid, 1, rng))
    if rng.random() < 0.4:
        shape = edge(thick + 0.09 - grid.v + 0.15 * np.abs(np.abs(grid.u) - 0.45), 0.03) * near
    else:
        middle = rng.uniform(0.45, 0.85)
        shape = edge(thick - scene.wall, 0.03) * near * edge(0.28 - np.abs(grid.v - middle), 0.15)
    shape = shape * scene.chest
    opacify(scene, 0.85 * shape, added=0.05 + 0.05 * severity)
    scene.tissue += (0.10 + 0.12 * severity) * shape * np.clip(cloud(grid, 2, rng), 0, 1)
    return region(scene, shape, 0.5)


def fracture(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Broken ribs: a step in the rib's line, a gap, and callus about it."""
    from scipy.ndimage import map_coordinates

    grid, (side,) = scene.grid, sides(rng)
    mask = np.zeros(scene.air.shape, dtype=bool)
    for k in range(1 + int(2.5 * severity)):
        u, v = place(scene, side, rng.uniform(0.72, 0.95), 0.25 + 0.11 * k + rng.uniform(0, 0.3))
        near = spot(grid, u, v, 0.085)
        step = edge((grid.u - u) * side, 0.02) * near * ((0.03 + 0.03 * severity) * grid.height * grid.size / 2)
        rows, columns = np.nonzero(near > 0.02)
        moved = (rows - step[rows, columns], columns)
        scene.bone[rows, columns] = map_coordinates(scene.bone, moved, order=1, mode="nearest")
        gap = edge(0.012 - np.abs(grid.u - u), 0.02) * near
        scene.bone *= 1 - 0.8 * gap
        scene.bone += (0.05 + 0.10 * severity) * spot(grid, u + side * 0.03, v, 0.05)
        mask |= near > 0.35
    return mask


def support_devices(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """One to four devices, more and thicker with severity; the mask is their metal and plastic."""
    drawers, shares = zip(*DEVICES)
    n = 1 + int(severity * 2.99)
    chosen = rng.choice(len(drawers), size=n, replace=False, p=np.array(shares) / np.sum(shares))
    drawn = np.zeros_like(scene.dense)
    for k in sorted(chosen):
        np.maximum(drawn, drawers[k](scene, rng), out=drawn)
    scene.dense = np.maximum(scene.dense, (0.55 + 0.3 * severity) * drawn)
    mask = drawn > 0.35
    return mask if mask.any() else drawn >= drawn.max()


def _curve(scene: Scene, points, radius: float) -> np.ndarray:
    """A smooth line through points (u, v)."""
    points = np.array(points, dtype=float)
    at = np.linspace(0, len(points) - 1, 24)
    at = np.concatenate([at[:1], at[:1], at[:1], at, at[-1:], at[-1:], at[-1:]])  # the ends stay where they are
    u, v = (np.convolve(np.interp(at, np.arange(len(points)), points[:, k]), BEND, mode="valid") for k in (0, 1))
    return scene.grid.line(u, v, radius)


BEND = np.hanning(9)[1:-1] / np.hanning(9).sum()


def _electrodes(scene: Scene, rng: Generator) -> np.ndarray:
    """Electrodes of a monitor and their wires, outside the patient."""
    drawn = np.zeros_like(scene.dense)
    for side in (-1, 1):
        for v in (0.16, 0.80):
            u, v = side * rng.uniform(0.55, 0.8), v + rng.uniform(-0.08, 0.08)
            if v > 0.5:
                end = side * rng.uniform(0.1, 1.2), 1.6
            else:
                end = side * rng.uniform(0.9, 1.4), rng.uniform(0.7, 1.6)
            bend = ((u + end[0]) / 2 + rng.normal(0, 0.15), (v + end[1]) / 2 + rng.normal(0, 0.1))
            drawn = np.maximum(drawn, 0.5 * _curve(scene, [(u, v), bend, end], 0.008))
            drawn = np.maximum(drawn, 0.8 * edge(disc(scene.grid, u, v, 0.036), 0.02))
    return drawn


def _endotracheal_tube(scene: Scene, rng: Generator) -> np.ndarray:
    x = 0.01 if scene.frontal else 0.02
    tip = rng.uniform(0.22, 0.34)
    return 0.85 * _curve(scene, [(x - 0.03, -0.8), (x, -0.3), (x + 0.01, tip)], 0.016)


def _gastric_tube(scene: Scene, rng: Generator) -> np.ndarray:
    path = [(0.1, -0.8), (0.25, 0.3), (0.3, 0.9), (-0.1, 1.25)]
    if scene.frontal:
        path = [(0.04, -0.8), (0.04, 0.2), (0.03, 0.75), (0.10, 1.02), (0.36, 1.16), (0.5, 1.25)]
    return 0.6 * _curve(scene, path, 0.010)


def _central_line(scene: Scene, rng: Generator) -> np.ndarray:
    if not scene.frontal:
        return 0.7 * _curve(scene, [(-0.15, -0.2), (-0.1, 0.2), (-0.12, 0.55)], 0.009)
    side = -1 if rng.random() < 0.7 else 1
    jugular = [(side * 0.28, -0.4), (side * 0.22, 0.02)]
    subclavian = [(side * 1.3, 0.3), (side * 0.8, 0.08), (side * 0.3, 0.10)]
    vein = jugular if rng.random() < 0.5 else subclavian
    return 0.75 * _curve(scene, [*vein, (-0.11, 0.28), (-0.12, rng.uniform(0.48, 0.66))], 0.010)


def _pacemaker(scene: Scene, rng: Generator) -> np.ndarray:
    """A generator below the clavicle, leads through the vein to the right atrium and ventricle."""
    side = 1 if rng.random() < 0.85 else -1
    u, v = (side * 0.72, rng.uniform(0.24, 0.34)) if scene.frontal else (-0.82, 0.22)
    wide = 0.13 if scene.frontal else 0.05
    drawn = edge(disc(scene.grid, u, v, wide, tall=0.95), 0.03)
    path = [(u, v), (-0.3, 0.12), (-0.1, 0.3), (-0.1, 0.65), (-0.45, 0.95)]
    if scene.frontal:
        vein = [(side * 0.45, 0.10), (side * 0.12, 0.14)]
        path = [(u, v - 0.06), *vein, (-0.11, 0.30), (-0.13, 0.66), (0.08, 0.92), (0.34, 0.93)]
    drawn = np.maximum(drawn, 0.85 * _curve(scene, path, 0.009))
    return np.maximum(drawn, 0.85 * _curve(scene, [*path[:-2], (path[-3][0] - 0.08, path[-3][1] + 0.08)], 0.009))


def _sternal_wires(scene: Scene, rng: Generator) -> np.ndarray:
    drawn = np.zeros_like(scene.dense)
    for k in range(5):
        v = 0.22 + 0.13 * k
        if scene.frontal:
            u = rng.normal(0, 0.012)
            loop = [(u - 0.04, v), (u, v - 0.022), (u + 0.04, v), (u, v + 0.022), (u - 0.04, v)]
        else:
            u = -0.68 - 0.06 * k
            loop = [(u - 0.03, v), (u + 0.03, v + 0.02)]
        drawn = np.maximum(drawn, 0.9 * scene.grid.line(*zip(*loop), 0.007))
    return drawn


def _chest_tube(scene: Scene, rng: Generator) -> np.ndarray:
    side = -1 if rng.random() < 0.5 else 1
    if not scene.frontal:
        return 0.6 * _curve(scene, [(0.9, 0.95), (0.5, 0.7), (0.2, 0.3)], 0.018)
    path = [(side * 1.4, 0.98), (side * 0.95, 0.80), (side * 0.7, 0.45), (side * 0.55, 0.15)]
    return 0.65 * _curve(scene, path, 0.018)


DEVICES = (
    # drawer, and how often it is chosen first
    (_electrodes, 0.34),
    (_central_line, 0.26),
    (_endotracheal_tube, 0.14),
    (_gastric_tube, 0.10),
    (_pacemaker, 0.10),
    (_sternal_wires, 0.08),
    (_chest_tube, 0.06),
)

DRAW: dict[str, Callable[[Scene, float, Generator], np.ndarray]] = {
    # in the order in which they are drawn: fluid last, over what it covers; the lines and tubes over all
    "Cardiomegaly": cardiomegaly,
    "Enlarged Cardiomediastinum": enlarged_cardiomediastinum,
    "Edema": edema,
    "Lung Opacity": lung_opacity,
    "Lung Lesion": lung_lesion,
    "Pneumonia": pneumonia,
    "Consolidation": consolidation,
    "Atelectasis": atelectasis,
    "Pneumothorax": pneumothorax,
    "Pleural Other": pleural_other,
    "Pleural Effusion": pleural_effusion,
    "Fracture": fracture,
    "Support Devices": support_devices,
}
"""Every finding but No Finding."""
