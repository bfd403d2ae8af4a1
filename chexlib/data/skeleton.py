"""Bones of the chest from the front: ribs, clavicles, shoulders, spine."""

from __future__ import annotations

import numpy as np

from chexlib.data.canvas import HEIGHTS, Grid, edge, window
from chexlib.data.scene import WALL, Scene

SPINE_CURVE = np.sin(4.5 * HEIGHTS).astype(np.float32)
TO_WALL = (1 / np.maximum(WALL, 0.3)).astype(np.float32)


def bones(scene: Scene, across: np.ndarray) -> None:
    """Adds the bones to a frontal scene; `across` (size, size) is the distance from the midline."""
    grid, person = scene.grid, scene.body
    strength = 0.125 * person.bone
    scene.bone += strength * _ribs(scene, across)
    part = grid.part((-1.7, 1.7), (-0.25, 0.75))
    scene.bone[part] += strength * _shoulders(grid, part, across[part], scene.view)
    part = grid.part((-1.3, 1.3), (-0.16, 0.28))
    covered = edge(scene.tissue[part] - np.float32(0.05), 0.1)
    scene.bone[part] += 1.35 * strength * covered * _clavicles(grid, part, across[part], scene.view)
    part = grid.part((-0.3, 0.3), (-0.9, 1.9))
    bend = SPINE_CURVE.take(grid.row[part]) * np.float32(person.wobble)
    away = np.abs(grid.u[part] - bend)
    level = np.mod(grid.v[part] * np.float32(person.rib_count) + np.float32(person.ribs), 1)
    discs = edge(0.13 - np.abs(level - np.float32(0.5)), 0.12)
    scene.bone[part] += strength * edge(0.115 - away, 0.03) * (0.72 - 0.5 * discs + 0.25 * edge(away - 0.085, 0.02))


def _ribs(scene: Scene, across: np.ndarray) -> np.ndarray:
    """Posterior ribs arch down and out from the spine; anterior ribs, fainter, slope down and in, and end in
    cartilage.
    """
    grid, person = scene.grid, scene.body
    out = across * grid.at(TO_WALL)
    np.minimum(out, np.float32(1.2), out=out)
    squared = out * out
    drop = (
        (np.float32(0.10) * squared * squared + np.float32(0.16) * out - np.float32(0.05))
        * out
        * np.float32(person.slope)
    )
    posterior = _band(POSTERIOR, (grid.v - drop) * np.float32(person.rib_count) + np.float32(person.ribs))
    inward = np.maximum(1 - out, 0)
    climb = (np.float32(0.55) - np.float32(0.2) * inward) * inward
    anterior = _band(
        ANTERIOR,
        (grid.v - np.float32(0.21) - climb) * np.float32(person.rib_count * 0.92) + np.float32(person.ribs + 0.3),
    )
    posterior *= np.float32(0.85) * edge(across - np.float32(0.1), 0.06) * grid.at(window(-0.03, 1.22, 0.06, 0.3))
    anterior *= np.float32(0.55) * edge(out - np.float32(0.52), 0.25) * grid.at(window(0.22, 0.95, 0.1, 0.15))
    hoop = 1 + 0.5 * edge(out - 0.9, 0.16)  # more bone along the beam where the rib turns forwards
    return edge(scene.wall + 0.035, 0.04) * hoop * (posterior + anterior)


def _rib(half: float) -> np.ndarray:
    """(1024,) a rib of that half-width across one turn of the phase, whole numbers in its middle: a body with
    brighter margins.
    """
    away = np.abs(np.linspace(0, 1, 1024, endpoint=False))
    away = np.minimum(away, 1 - away)
    return edge(half - away, 0.14) * (np.float32(0.72) + np.float32(0.28) * edge(away - (half - 0.1), 0.08))


POSTERIOR, ANTERIOR = _rib(0.25), _rib(0.28)


def _band(rib: np.ndarray, phase: np.ndarray) -> np.ndarray:
    return rib.take((phase * np.float32(1024)).astype(np.int32) & 1023)


def _clavicles(grid: Grid, part: tuple[slice, slice], across: np.ndarray, view: str) -> np.ndarray:
    higher = 0.045 if view == "AP" else 0.0
    out = np.clip((across - np.float32(0.1)) * np.float32(1 / 1.05), 0, 1)
    middle = np.float32(0.135 - higher) - np.float32(0.19) * out + np.float32(0.022) * np.sin(out * np.float32(6.3))
    thick = np.float32(0.030) + np.float32(0.012) * np.abs(out - np.float32(0.5))
    away = np.abs(grid.v[part] - middle)
    shape = edge(thick - away, 0.02) * edge(across - 0.1, 0.04) * edge(1.16 - across, 0.05)
    return shape * (np.float32(0.8) + np.float32(0.35) * edge(away - thick * np.float32(0.55), 0.015))


def _shoulders(grid: Grid, part: tuple[slice, slice], across: np.ndarray, view: str) -> np.ndarray:
    """Scapulae (over the lungs on AP films, rolled out of them on PA) and the heads of the humeri."""
    v, row = grid.v[part], grid.row[part]
    inner = 0.76 if view == "AP" else 1.02
    border = across - np.float32(inner) - np.float32(0.28) * np.abs(v - np.float32(0.38))
    blade = (
        edge(border, 0.03)
        * edge(1.32 - across, 0.1)
        * edge(v - 0.216 + 0.12 * across, 0.05)
        * window(-0.5, 0.62, 0.05, 0.06).take(row)
    )
    head = edge(
        np.float32(0.15)
        - np.hypot(across - np.float32(1.36), (v - np.float32(0.10)) * np.float32(grid.height / grid.width)),
        0.04,
    )
    shaft = edge(0.085 - np.abs(across - np.float32(1.44)), 0.03) * window(0.12, 0.8, 0.06, 0.2).take(row)
    return 0.42 * blade * (1 + edge(0.035 - np.abs(border - np.float32(0.015)), 0.03)) + 0.9 * np.maximum(
        head, 0.8 * shaft
    )
