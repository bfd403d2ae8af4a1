"""Support devices: electrodes, tubes, central lines, pacemakers, sternal wires; thin, bright, and where they
belong.
"""

from __future__ import annotations

import numpy as np

from chexlib.data.canvas import disc, edge
from chexlib.data.scene import Scene

Generator = np.random.Generator


def support_devices(scene: Scene, severity: float, rng: Generator) -> np.ndarray:
    """One to four devices, more and thicker with severity; the mask is their metal and plastic."""
    kinds = list(DEVICES)
    weights = np.array([share for _, share in DEVICES.values()])
    chosen = rng.choice(len(kinds), size=1 + int(severity * 2.99), replace=False, p=weights / weights.sum())
    drawn = np.zeros_like(scene.dense)
    for k in sorted(chosen):
        np.maximum(drawn, DEVICES[kinds[k]][0](scene, rng), out=drawn)
    scene.dense = np.maximum(scene.dense, np.float32(0.55 + 0.3 * severity) * drawn)
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
            end = (
                (side * rng.uniform(0.1, 1.2), 1.6)
                if v > 0.5
                else (side * rng.uniform(0.9, 1.4), rng.uniform(0.7, 1.6))
            )
            bend = ((u + end[0]) / 2 + rng.normal(0, 0.15), (v + end[1]) / 2 + rng.normal(0, 0.1))
            drawn = np.maximum(drawn, 0.5 * _curve(scene, [(u, v), bend, end], 0.008))
            drawn = np.maximum(drawn, 0.8 * edge(disc(scene.grid, u, v, 0.036), 0.02))
    return drawn


def _endotracheal(scene: Scene, rng: Generator) -> np.ndarray:
    x = 0.01 if scene.frontal else 0.02
    tip = rng.uniform(0.22, 0.34)
    return 0.85 * _curve(scene, [(x - 0.03, -0.8), (x, -0.3), (x + 0.01, tip)], 0.016)


def _gastric(scene: Scene, rng: Generator) -> np.ndarray:
    if not scene.frontal:
        return 0.6 * _curve(scene, [(0.1, -0.8), (0.25, 0.3), (0.3, 0.9), (-0.1, 1.25)], 0.010)
    return 0.6 * _curve(
        scene, [(0.04, -0.8), (0.04, 0.2), (0.03, 0.75), (0.10, 1.02), (0.36, 1.16), (0.5, 1.25)], 0.010
    )


def _central_line(scene: Scene, rng: Generator) -> np.ndarray:
    if not scene.frontal:
        return 0.7 * _curve(scene, [(-0.15, -0.2), (-0.1, 0.2), (-0.12, 0.55)], 0.009)
    side = -1 if rng.random() < 0.7 else 1
    start = (
        [(side * 0.28, -0.4), (side * 0.22, 0.02)]
        if rng.random() < 0.5
        else [(side * 1.3, 0.3), (side * 0.8, 0.08), (side * 0.3, 0.10)]
    )
    return 0.75 * _curve(scene, [*start, (-0.11, 0.28), (-0.12, rng.uniform(0.48, 0.66))], 0.010)


def _pacemaker(scene: Scene, rng: Generator) -> np.ndarray:
    """A generator below the clavicle, leads through the vein to the right atrium and ventricle."""
    side = 1 if rng.random() < 0.85 else -1
    u, v = (side * 0.72, rng.uniform(0.24, 0.34)) if scene.frontal else (-0.82, 0.22)
    wide = 0.13 if scene.frontal else 0.05
    drawn = edge(disc(scene.grid, u, v, wide, tall=0.95), 0.03)
    path = [
        (u, v - 0.06),
        (side * 0.45, 0.10),
        (side * 0.12, 0.14),
        (-0.11, 0.30),
        (-0.13, 0.66),
        (0.08, 0.92),
        (0.34, 0.93),
    ]
    if not scene.frontal:
        path = [(u, v), (-0.3, 0.12), (-0.1, 0.3), (-0.1, 0.65), (-0.45, 0.95)]
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
    return 0.65 * _curve(
        scene, [(side * 1.4, 0.98), (side * 0.95, 0.80), (side * 0.7, 0.45), (side * 0.55, 0.15)], 0.018
    )


DEVICES = {
    # drawer, and how often it is chosen first
    "electrodes": (_electrodes, 0.34),
    "central line": (_central_line, 0.26),
    "endotracheal tube": (_endotracheal, 0.14),
    "gastric tube": (_gastric, 0.10),
    "pacemaker": (_pacemaker, 0.10),
    "sternal wires": (_sternal_wires, 0.08),
    "chest tube": (_chest_tube, 0.06),
}
