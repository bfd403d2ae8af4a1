"""CheXpert's observations as radiologists describe them (Fleischner Society glossary, Hansell et al. 2008),
drawn on a scene.

Each drawer takes a scene, a severity in (0, 1] and a generator, changes the scene's air or adds to it, and
returns the region as (size, size) bool: its mask. `deformation` is what must be known before the anatomy is
drawn. Findings are drawn one by one: CheXpert's hierarchy (an Edema is a Lung Opacity) is left to the labels'
rates, as in its train.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from chexlib.data.canvas import bulge, cloud, disc, edge, spot
from chexlib.data.devices import support_devices
from chexlib.data.scene import Deformation, Scene, opacify, place, region

Generator = np.random.Generator


def deformation(severity: Mapping[str, float], rng: Mapping[str, Generator]) -> Deformation:
    """What the findings present (by severity) do to the shape of heart, mediastinum and diaphragm."""
    heart = mediastinum = shift = 0.0
    lift = [0.0, 0.0]
    if "Cardiomegaly" in severity:
        heart = 0.53 + 0.13 * severity["Cardiomegaly"]
    if "Enlarged Cardiomediastinum" in severity:
        mediastinum = 0.05 + 0.12 * severity["Enlarged Cardiomediastinum"]
    if "Atelectasis" in severity:
        side = sides(rng["Atelectasis"])[0]
        lift[side > 0] = 0.03 + 0.10 * severity["Atelectasis"]
        shift += side * 0.05 * severity["Atelectasis"]
    if "Pneumothorax" in severity:
        side = sides(rng["Pneumothorax"])[0]
        shift -= side * 0.10 * max(0.0, severity["Pneumothorax"] - 0.6)
    return Deformation(heart, mediastinum, (lift[0], lift[1]), shift)


def sides(rng: Generator, both: float = 0.0) -> tuple[int, ...]:
    """-1 (the patient's right), 1 (left) or, with that probability, both; always the generator's first two draws."""
    first, second = (-1 if rng.random() < 0.5 else 1), rng.random()
    return (first, -first) if second < both else (first,)


def cardiomegaly(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    return scene.heart > 0.5  # deformation() has widened it


def enlarged_cardiomediastinum(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    return (scene.mediastinum > 0.5) & (scene.grid.v > 0.05) & (scene.grid.v < 0.52)


def lung_opacity(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Hazy increase in one zone that leaves the vessels visible."""
    (side,) = sides(rng)
    u, v = place(scene, side, rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.9))
    shape = spot(scene.grid, u, v, 0.16 + 0.14 * severity, tall=rng.uniform(0.8, 1.5)) * (
        1 + 0.25 * cloud(scene.grid, 1, rng)
    )
    haze = (0.18 + 0.30 * severity) * np.clip(shape, 0, 1)
    opacify(scene, haze)
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
    """Perihilar haze in the shape of a bat's wings, thick indistinct vessels also in the upper lobes, septal
    lines at the bases.
    """
    grid = scene.grid
    wings = sum(spot(grid, u, v + 0.06, 0.26 + 0.16 * severity, tall=1.45) for u, v in scene.hila)
    fluffy = np.clip(wings, 0, 1) * (1 + 0.22 * cloud(grid, 2, rng)) * edge(scene.wall - 0.03, 0.2)
    haze = np.clip((0.12 + 0.55 * severity) * fluffy + 0.12 * severity * scene.chest, 0, 0.85)
    scene.tissue += (0.02 + 0.06 * severity) * scene.vessels * scene.lungs
    opacify(scene, haze)
    lines = np.abs(np.mod(grid.v * np.float32(26) + 0.4 * cloud(grid, 1, rng), 1) - np.float32(0.5))
    kerley = (
        edge(0.16 - lines, 0.2) * edge(0.20 - np.abs(scene.wall - 0.11), 0.1) * edge(grid.v - 0.62, 0.1) * scene.lungs
    )
    scene.tissue += (0.01 + 0.06 * severity) * kerley
    return region(scene, fluffy, 0.42)


def consolidation(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """A lobe's air replaced: dense, bounded by a fissure on one side, with air bronchograms."""
    grid, (side,) = scene.grid, sides(rng)
    upper = rng.random() < 0.35
    u, v = place(scene, side, rng.uniform(0.4, 0.65), 0.26 if upper else rng.uniform(0.62, 0.8))
    inside = (
        disc(grid, u, v, 0.32 + 0.16 * severity, tall=1.05) + 0.010 * cloud(grid, 2, rng) + 0.04 * cloud(grid, 1, rng)
    )
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
        u, v = place(scene, side, *np.clip(np.array(centre) + rng.normal(0, 0.16, 2), 0.05, 0.95))
        shape = shape + spot(scene.grid, u, v, rng.uniform(0.05, 0.10) + 0.03 * severity)
    shape = np.clip(shape * (1 + 0.3 * cloud(scene.grid, 2, rng)), 0, 1)
    opacify(scene, (0.35 + 0.4 * severity) * shape)
    return region(scene, shape, 0.4)


def atelectasis(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """Plates of collapsed lung across a base, crowded above a raised dome (deformation() lifts it)."""
    grid, (side,) = scene.grid, sides(rng)
    near = edge(side * grid.u - 0.12, 0.1) if scene.frontal else 1
    plates = 0
    for k in range(1 + int(severity * 2.6)):
        u, v = place(scene, side, rng.uniform(0.35, 0.6), 0.84 - 0.13 * k + rng.uniform(-0.03, 0.03))
        tilt = rng.normal(0, 0.22)
        across = (
            grid.v - np.float32(v) - np.float32(tilt) * (grid.u - np.float32(u)) + 0.05 * (grid.u - np.float32(u)) ** 2
        )
        length = rng.uniform(0.22, 0.34) + 0.10 * severity
        plates = (
            plates
            + edge(0.020 + 0.012 * severity - np.abs(across), 0.022) * edge(length - np.abs(grid.u - u), 0.12) * near
        )
    plates = np.clip(plates, 0, 1) * scene.chest
    scene.tissue += (0.10 + 0.12 * severity) * plates
    crowding = spot(grid, *place(scene, side, 0.35, 0.95), 0.34, tall=0.6) * near
    opacify(scene, (0.15 + 0.45 * severity) * crowding)
    return region(scene, np.maximum(plates, crowding), 0.5)


def pneumothorax(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """A pleural line along the wall, widest at the apex, and nothing but black beyond it."""
    grid, (side,) = scene.grid, sides(rng)
    width = 0.07 + 0.40 * severity
    depth = np.float32(width) * (np.float32(1.15) - np.float32(0.75) * np.clip(grid.v, 0, 1))
    top = np.float32(0.10 + 0.22 * severity) - (grid.v - 0.25 * (np.abs(grid.u) - 0.45) ** 2)
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
    """Fluid in the costophrenic angle with a meniscus that climbs the wall; large ones bury the dome and the
    heart's border.
    """
    grid = scene.grid
    wet = 0
    for number, side in enumerate(sides(rng, both=0.45)):
        amount = severity * (1 if number == 0 else rng.uniform(0.3, 0.9))
        near = edge(side * grid.u - 0.05, 0.1) if scene.frontal else edge(grid.u + 0.75 - 1.4 * amount, 0.2)
        level = np.float32(1.10 - 0.52 * amount)
        climb = np.float32(0.12 + 0.20 * amount) * np.exp(
            -np.maximum(scene.wall, 0) * np.float32(1 / (0.14 + 0.22 * amount))
        )
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
    thick = np.float32(0.045 + 0.07 * severity) * (1 + 0.35 * cloud(grid, 1, rng))
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
        step = (
            edge((grid.u - np.float32(u)) * side, 0.02)
            * near
            * np.float32((0.03 + 0.03 * severity) * grid.height * grid.size / 2)
        )
        rows, columns = np.nonzero(near > 0.02)
        scene.bone[rows, columns] = map_coordinates(
            scene.bone, (rows - step[rows, columns], columns), order=1, mode="nearest"
        )
        gap = edge(0.012 - np.abs(grid.u - np.float32(u)), 0.02) * near
        scene.bone *= 1 - 0.8 * gap
        scene.bone += (0.05 + 0.10 * severity) * spot(grid, u + side * 0.03, v, 0.05)
        mask |= near > 0.35
    return mask


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
