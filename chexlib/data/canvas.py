"""The film that a phantom is drawn on: a patient's coordinates at every pixel, soft edges, lines, textures, the film curve.

Everything is plain NumPy on (size, size) float32 arrays that fit a core's cache. Edges are ramps about a pixel wide, so lines
are smooth at every size, and what is drawn at 96 pixels is the same patient as at 256.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ROWS = 1024
V_TOP, V_BOTTOM = -0.9, 1.9
HEIGHTS = np.linspace(V_TOP, V_BOTTOM, ROWS)
_HANN = np.hanning(43) / np.hanning(43).sum()
BANK, TREES = 256, 8


class Grid:
    """Where each pixel is in the patient, in units of the thorax.

    `u` (size, size) runs across: 0 at the midline, 1 at the inner wall of the chest at its widest, negative on the image's left
    (a frontal image's left is the patient's right). `v` runs down: 0 at the lungs' apex, about 1 at the domes of the diaphragm.
    """

    def __init__(self, size: int, *, angle: float, centre: float, apex: float, width: float, height: float, mirrored: bool = False):
        self.size, self.angle, self.centre, self.apex, self.mirrored = size, angle, centre, apex, mirrored
        self.width, self.height = width, height
        line = ((np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1).astype(np.float32)
        x, y = line[None, :] - np.float32(centre), line[:, None]
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        sign = np.float32(-1 if mirrored else 1)
        self.u = (x * (sign * cos / np.float32(width)) + y * (sign * sin / np.float32(width))).astype(np.float32)
        self.v = (y * (cos / np.float32(height)) - x * (sin / np.float32(height)) - np.float32(apex / height)).astype(np.float32)
        self.pixel = 2 / size / width  # of u
        self.row = ((self.v - V_TOP) * (ROWS - 1) / (V_BOTTOM - V_TOP)).clip(0, ROWS - 1).astype(np.intp)

    def at(self, profile: np.ndarray) -> np.ndarray:
        """(ROWS,) values down the patient, at each pixel (size, size)."""
        return profile[self.row]

    def to_pixels(self, u, v) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows, in pixels, of points of the patient."""
        x = np.asarray(u, dtype=float) * (-self.width if self.mirrored else self.width)
        y = np.asarray(v, dtype=float) * self.height + self.apex
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return ((x * cos - y * sin + self.centre + 1) * self.size / 2 - 0.5, (x * sin + y * cos + 1) * self.size / 2 - 0.5)

    def line(self, u, v, radius: float) -> np.ndarray:
        """A line through points of the patient, `radius` in u, as coverage (size, size) in [0, 1]."""
        columns, rows = self.to_pixels(u, v)
        return stroke(self.size, columns, rows, max(radius / self.pixel, 0.45))


def profile(heights, values) -> np.ndarray:
    """(ROWS,) float32: a smooth contour through values at heights v (increasing)."""
    table = np.interp(HEIGHTS, heights, values)
    return np.convolve(np.pad(table, 21, mode="edge"), _HANN, mode="valid").astype(np.float32)


def edge(distance: np.ndarray, width: float) -> np.ndarray:
    """0 where distance is below -width / 2, 1 above width / 2, smooth between."""
    t = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return t * t * (np.float32(3) - np.float32(2) * t)


def bulge(t: np.ndarray) -> np.ndarray:
    """The thickness of a rounded body at a fraction t of its radius from the rim: a quarter circle from 0 to 1."""
    t = np.clip(t, 0, 1)
    return np.sqrt(t * (np.float32(2) - t))


def spot(grid: Grid, u: float, v: float, radius: float, tall: float = 1.0) -> np.ndarray:
    """A round haze: 1 at its centre, 0.6 at the radius (of u); `tall` stretches it downwards."""
    ratio = grid.height / grid.width
    du = (grid.u - np.float32(u)) * np.float32(1 / radius)
    dv = (grid.v - np.float32(v)) * np.float32(ratio / radius / tall)
    return np.exp(np.float32(-0.5) * (du * du + dv * dv))


def disc(grid: Grid, u: float, v: float, radius: float, tall: float = 1.0) -> np.ndarray:
    """Signed distance (in u, positive inside) to an ellipse of that radius across and radius * tall down."""
    ratio = grid.height / grid.width
    du, dv = grid.u - np.float32(u), (grid.v - np.float32(v)) * np.float32(ratio / tall)
    return np.float32(radius) - np.sqrt(du * du + dv * dv)


def stroke(size: int, columns, rows, radius: float) -> np.ndarray:
    """A polyline through points in pixels as coverage (size, size) in [0, 1]."""
    columns, rows = np.atleast_1d(np.asarray(columns, dtype=float)), np.atleast_1d(np.asarray(rows, dtype=float))
    if len(columns) > 1:
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(columns), np.diff(rows)))])
        along = np.linspace(0, length[-1], int(length[-1] / 0.6) + 2)
        columns, rows = np.interp(along, length, columns), np.interp(along, length, rows)
    reach = int(np.ceil(radius + 0.5))
    offsets = np.arange(-reach, reach + 1)
    c = np.floor(columns + 0.5).astype(int)[:, None, None] + offsets[None, None, :]
    r = np.floor(rows + 0.5).astype(int)[:, None, None] + offsets[None, :, None]
    c, r = np.broadcast_arrays(c, r)  # (points, window, window)
    away = np.hypot(c - columns[:, None, None], r - rows[:, None, None])
    cover = np.clip(radius + 0.5 - away, 0, 1).astype(np.float32)
    inside = (cover > 0) & (c >= 0) & (c < size) & (r >= 0) & (r < size)
    canvas = np.zeros(size * size, dtype=np.float32)
    np.maximum.at(canvas, (r * size + c)[inside], cover[inside])
    return canvas.reshape(size, size)


@lru_cache(maxsize=1)
def clouds() -> np.ndarray:
    """(4, BANK, BANK) periodic smooth noise of standard deviation 1, from coarse to fine."""
    rng = np.random.default_rng(20190121)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(BANK), np.fft.fftfreq(BANK))) * BANK
    fields = []
    for peak in (3, 7, 15, 32):
        spectrum = np.fft.fft2(rng.standard_normal((BANK, BANK))) * np.exp(-0.5 * (frequency / peak) ** 2)
        field = np.fft.ifft2(spectrum).real
        fields.append((field - field.mean()) / field.std())
    return np.stack(fields).astype(np.float32)


def cloud(grid: Grid, fineness: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (size, size) that lies still in the patient: rng gives the place in the bank."""
    left, top = rng.integers(0, BANK, 2)
    columns = (grid.u * np.float32(90) + np.float32(left + 4 * BANK)).astype(np.intp) & (BANK - 1)
    rows = (grid.v * np.float32(110) + np.float32(top + 4 * BANK)).astype(np.intp) & (BANK - 1)
    return clouds()[fineness][rows, columns]


@lru_cache(maxsize=1)
def vessel_trees() -> np.ndarray:
    """(TREES, BANK, BANK): vessels that branch from a hilum at the left margin's middle and thin out towards the right."""
    return np.stack([_tree(np.random.default_rng([1967, k])) for k in range(TREES)])


def _tree(rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros((BANK, BANK), dtype=np.float32)
    angles = np.linspace(-1.25, 1.35, 9) + rng.normal(0, 0.08, 9)
    stack = [(8.0, BANK / 2 + 10 * np.sin(a), a, rng.uniform(4.2, 6.2), 0) for a in angles]
    while stack:
        x, y, angle, thickness, generation = stack.pop()
        steps = np.arange(1, rng.integers(7, 14))
        turn = angle + np.cumsum(rng.normal(0, 0.07, len(steps))) + 0.012 * steps * np.sign(angle)
        xs, ys = x + np.cumsum(5.5 * np.cos(turn)), y + np.cumsum(5.5 * np.sin(turn))
        line = stroke(BANK, np.r_[x, xs], np.r_[y, ys], thickness / 2)
        np.maximum(canvas, line * min(1.0, 0.2 + thickness / 5.5), out=canvas)
        if generation < 4 and thickness > 1.1:
            spread = rng.uniform(0.22, 0.5)
            stack += [(xs[-1], ys[-1], turn[-1] + s * spread * rng.uniform(0.5, 1.3), thickness * rng.uniform(0.62, 0.82), generation + 1)
                      for s in (-1, 1)]
    return canvas


def vessels(grid: Grid, side: float, hilum: tuple[float, float], tree: int, spread: float = 0.85) -> np.ndarray:
    """One lung's vessels (size, size), from its hilum (u, v) away from the midline on side -1 or 1."""
    across = (grid.u - np.float32(hilum[0])) * np.float32(side * (BANK - 16) / spread) + np.float32(8)
    down = (grid.v - np.float32(hilum[1])) * np.float32(BANK / 1.5) + np.float32(BANK / 2)
    inside = (across >= 0) & (across < BANK) & (down >= 0) & (down < BANK)
    columns = across.clip(0, BANK - 1).astype(np.intp)
    rows = down.clip(0, BANK - 1).astype(np.intp)
    return vessel_trees()[tree % TREES][rows, columns] * inside


GLYPHS = {
    "L": (((0, 0), (0, 1), (0.6, 1)),),
    "R": (((0, 1), (0, 0), (0.55, 0), (0.6, 0.25), (0.55, 0.5), (0, 0.5)), ((0.25, 0.5), (0.62, 1))),
    "A": (((0, 1), (0.32, 0), (0.64, 1)), ((0.14, 0.65), (0.5, 0.65))),
    "P": (((0, 1), (0, 0), (0.55, 0), (0.6, 0.25), (0.55, 0.5), (0, 0.5)),),
}


def letters(size: int, text: str, left: float, top: float, tall: float) -> np.ndarray:
    """Lead letters (size, size) in [0, 1]; left, top and tall as fractions of the image."""
    canvas = np.zeros((size, size), dtype=np.float32)
    for place, letter in enumerate(text):
        for points in GLYPHS[letter]:
            xy = np.array(points) * tall * size + (np.array([left + place * tall * 0.85, top]) * size)
            np.maximum(canvas, stroke(size, xy[:, 0], xy[:, 1], max(0.4, tall * size * 0.07)), out=canvas)
    return canvas
