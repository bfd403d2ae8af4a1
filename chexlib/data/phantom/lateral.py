"""The chest from the side: sternum on the left of the patient's frame (u = -1), spine on the right, mirrored for half
the films.

The same scene as `frontal` draws, so that findings are drawn on both; the two lungs lie over each other here.
"""

from __future__ import annotations

import numpy as np

from chexlib.data.phantom.anatomy import Body, Scene
from chexlib.data.phantom.drawing import Grid, bulge, cloud, disc, edge, profile, spot, vessels

LEVELS = (-0.9, -0.02, 0.04, 0.12, 0.25, 0.45, 0.7, 0.95, 1.2, 1.9)
FRONT = profile(LEVELS, (0.3, 0.22, 0.34, 0.50, 0.66, 0.80, 0.90, 0.95, 0.95, 0.9))
BACK = profile(LEVELS, (0.3, 0.42, 0.56, 0.68, 0.80, 0.90, 0.93, 0.90, 0.84, 0.8))
SPINE = profile((-0.9, -0.3, 0.0, 0.3, 0.6, 0.9, 1.2, 1.9), (0.10, 0.20, 0.42, 0.62, 0.70, 0.66, 0.55, 0.40))


def lateral(grid: Grid, person: Body, rng: np.random.Generator) -> Scene:
    """The chest of a patient of this build, from the side."""
    u, v = grid.u, grid.v
    wall = np.minimum(u + grid.at(FRONT), grid.at(BACK) - u)
    floor = _diaphragm(u, person)
    chest = edge(wall, 3 * grid.pixel) * edge(floor - v, 4 * grid.pixel) * edge(v, 0.05)
    inside = _heart(grid, person.heart)
    solid = edge(inside, 0.13)
    upper = bulge((0.34 + person.widening - np.abs(u - 0.05)) / 0.4) * edge(0.34 - v, 0.2)
    heart = edge(inside, 0.03) * edge(floor + 0.05 - v, 0.03)
    mediastinum = np.maximum(solid, upper * chest)
    beyond = edge(v - floor, 0.05)
    tissue = _skin_to_skin(grid, person) + 0.12 * beyond * edge(wall + 0.1, 0.2)
    air = bulge(wall / 0.5) * chest * (0.52 - 0.34 * solid) * (1 - 0.35 * upper)
    lungs = chest * (1 - 0.6 * solid)
    hila = ((0.08, 0.47),)
    tree = 0.8 * vessels(grid, hila, person.trees, spread=0.9)
    scene = Scene(grid, person, "LATERAL", hila, wall, floor, chest, lungs, heart, mediastinum, tree, tissue, air)
    _airway_and_aorta(scene)
    scene.tissue += 0.09 * spot(grid, *hila[0], 0.11, tall=1.3)
    scene.tissue += 0.14 * tree * lungs
    scene.air *= 1 + 0.035 * cloud(grid, 3, np.random.default_rng(person.trees[0]))
    _bones(scene)
    if person.breast:
        breast = disc(grid, -1.05, 0.72, 0.34 + 0.1 * person.breast, tall=1.2)
        scene.tissue += 0.10 * person.breast * bulge(breast / 0.3)
    scene.tissue += 0.02 * cloud(grid, 1, rng) * beyond
    return scene


def _diaphragm(u: np.ndarray, person: Body) -> np.ndarray:
    """v of the diaphragm: highest in front of the middle, deep behind."""
    dome = min(dome - lift for dome, lift in zip(person.dome, person.lift))
    behind, before = np.clip(u + 0.25, 0, 1.4), np.clip(-0.25 - u, 0, 1.4)
    return dome + 0.24 * behind * behind + 0.20 * before * before


def _heart(grid: Grid, ratio: float) -> np.ndarray:
    """Distance to the heart's outline, positive inside: an egg that leans on sternum and diaphragm."""
    size = 0.40 + 1.1 * (ratio - 0.42)
    du, dv = grid.u + (0.50 - 0.45 * (size - 0.40)), (grid.v - 0.84) * grid.aspect
    along, across = 0.70 * du + 0.71 * dv, 0.70 * dv - 0.71 * du
    upper = 1.45 - 0.35 * edge(along, 0.8)  # narrower to the apex, in front and below
    return size - np.sqrt((along / 1.45) ** 2 + (across / upper * 1.35) ** 2)


def _skin_to_skin(grid: Grid, person: Body) -> np.ndarray:
    levels, fat = (-0.9, -0.30, -0.12, 0.0, 0.15, 0.3, 0.6, 1.0, 1.9), 0.14 * person.fat
    front = profile(levels, np.array((0.35, 0.32, 0.55, 0.75, 0.80, 0.86, 1.02, 1.08, 1.1)) + fat)
    back = profile(levels, np.array((0.45, 0.50, 0.75, 0.95, 1.08, 1.14, 1.16, 1.10, 1.05)) + fat)
    inside = np.minimum(grid.u + grid.at(front), grid.at(back) - grid.u)
    tissue = (0.66 + 0.16 * person.fat) * bulge(inside / 0.55)
    shoulders = bulge((0.95 - np.abs(grid.u - 0.1)) / 0.5) * edge(0.10 - grid.v, 0.32)
    return tissue + 0.22 * shoulders


def _airway_and_aorta(scene: Scene) -> None:
    """Trachea, aortic arch and descending aorta."""
    u, v = scene.grid.u, scene.grid.v
    trachea = bulge((0.06 - np.abs(u - 0.22 * (v + 0.1))) / 0.06)
    scene.tissue -= 0.12 * trachea * edge(0.44 - v, 0.05) * edge(v + 0.4, 0.2)
    ring = np.abs(disc(scene.grid, 0.12, 0.36, 0.20)) - 0.07
    scene.tissue += (0.04 + 0.05 * (scene.body.knob - 0.19) / 0.09) * edge(-ring, 0.05) * scene.chest


def _bones(scene: Scene) -> None:
    """The spine's bodies, the sternum, both sides' ribs and the scapulae."""
    grid, person = scene.grid, scene.body
    u, v, strength = grid.u, grid.v, 0.125 * person.bone
    column = 0.125 - np.abs(u - grid.at(SPINE))
    level = np.mod(v * 9.0 + person.ribs - 0.6 * (u - grid.at(SPINE)), 1)
    away = np.abs(level - 0.5)
    bodies = edge(column, 0.03) * edge(0.43 - away, 0.12)
    scene.bone += strength * bodies * (0.55 + 0.45 * edge(np.maximum(0.035 - column, away - 0.36), 0.05))
    sternum = 0.035 - np.abs(u + grid.at(FRONT) + 0.035)
    scene.bone += 0.9 * strength * edge(sternum, 0.03) * edge(v - 0.08, 0.05) * edge(0.75 - v, 0.08)
    for shift in (0.0, 0.37):
        phase = (v - 0.42 * (0.7 - u) - 0.18 * (u - 0.2) ** 2) * 8.2 + (person.ribs + shift)
        distance = np.abs(phase - np.round(phase))
        rib = 0.40 * strength * edge(0.21 - distance, 0.12) * edge(scene.wall + 0.03, 0.05)
        scene.bone += rib * edge(v - 0.02, 0.1) * edge(1.2 - v, 0.2) * edge(u + 0.62, 0.4)
    scapula = 0.5 * strength * edge(0.09 - np.abs(u - 0.72 + 0.25 * v), 0.05)
    scene.bone += scapula * edge(0.42 - v, 0.1) * edge(v + 0.1, 0.1)
