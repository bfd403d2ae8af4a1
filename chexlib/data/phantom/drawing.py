"""What a phantom is drawn with: a patient's coordinates at every pixel, soft edges, lines, textures, letters.

Everything is plain NumPy on (size, size) float32 arrays that fit a core's cache; numbers beside them are Python's
floats, which leave float32 as it is. Edges are ramps about a pixel wide, so lines are smooth at every size, and what is
drawn at 96 pixels is the same patient as at 256.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

ROWS = 1024
V_TOP, V_BOTTOM = -0.9, 1.9
HEIGHTS = np.linspace(V_TOP, V_BOTTOM, ROWS)
_HANN = np.hanning(43) / np.hanning(43).sum()
_BEYOND = np.clip(V_TOP + np.arange(-21, ROWS + 21) * (V_BOTTOM - V_TOP) / (ROWS - 1), V_TOP, V_BOTTOM)
BANK, TREES, GRAIN = 256, 8, 1 << 21


class Grid:
    """Where each pixel is in the patient, in units of the thorax.

    `u` (size, size) runs across: 0 at the midline, 1 at the inner wall of the chest at its widest, negative on the
    image's left (a frontal image's left is the patient's right). `v` runs down: 0 at the lungs' apex, about 1 at the
    domes of the diaphragm.
    """

    def __init__(
        self, size: int, *, angle: float, centre: float, apex: float, width: float, height: float, mirrored: bool
    ):
        self.size, self.centre, self.apex = size, centre, apex
        self.width, self.height, self.mirrored = float(width), float(height), mirrored
        line = ((np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1).astype(np.float32)
        x, y = line[None, :] - np.float32(centre), line[:, None]
        self.cos, self.sin = math.cos(angle), math.sin(angle)
        cos, sin = np.float32(self.cos), np.float32(self.sin)
        sign = np.float32(-1 if mirrored else 1)
        self.u = (x * (sign * cos / np.float32(width)) + y * (sign * sin / np.float32(width))).astype(np.float32)
        down = y * (cos / np.float32(height)) - x * (sin / np.float32(height)) - np.float32(apex / height)
        self.v = down.astype(np.float32)
        self.pixel = 2 / size / self.width  # of u
        self.aspect = self.height / self.width  # of a step in v to one in u
        self.row = ((self.v - V_TOP) * (ROWS - 1) / (V_BOTTOM - V_TOP)).clip(0, ROWS - 1).astype(np.intp)
        self.cloud_column = (self.u * 90 + 4 * BANK).astype(np.intp)
        self.cloud_row = (self.v * 110 + 4 * BANK).astype(np.intp)

    def at(self, profile: np.ndarray) -> np.ndarray:
        """(ROWS,) values down the patient, at each pixel (size, size)."""
        return profile.take(self.row)

    def to_pixels(self, u, v) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows, in pixels from the film's edge, of points of the patient."""
        x = np.asarray(u, dtype=float) * (-self.width if self.mirrored else self.width)
        y = np.asarray(v, dtype=float) * self.height + self.apex
        columns = (x * self.cos - y * self.sin + self.centre + 1) * self.size / 2
        return columns, (x * self.sin + y * self.cos + 1) * self.size / 2

    def part(self, u: tuple[float, float], v: tuple[float, float]) -> tuple[slice, slice]:
        """The rows and columns of the film that hold this piece of the patient, so that small things cost little."""
        columns, rows = self.to_pixels(np.repeat(u, 2), np.tile(v, 2))  # of its corners
        return tuple(slice(max(0, int(at.min() - 1)), max(1, int(at.max()) + 2)) for at in (rows, columns))

    def line(self, u, v, radius: float) -> np.ndarray:
        """A line through points of the patient, `radius` in u, as coverage (size, size) in [0, 1]."""
        columns, rows = self.to_pixels(u, v)
        return stroke(self.size, columns - 0.5, rows - 0.5, max(radius / self.pixel, 0.45))


def profile(heights, values) -> np.ndarray:
    """(ROWS,) float32: a smooth contour through values at heights v (increasing)."""
    table = np.interp(_BEYOND, heights, values)
    return np.convolve(table, _HANN, mode="valid").astype(np.float32)


def edge(distance: np.ndarray, width: float) -> np.ndarray:
    """0 where distance is below -width / 2, 1 above width / 2, smooth between."""
    t = np.multiply(distance, 1 / width, dtype=np.float32)
    t += 0.5
    np.maximum(t, 0, out=t)
    np.minimum(t, 1, out=t)
    smooth = t * -2
    smooth += 3
    smooth *= t
    smooth *= t
    return smooth


@lru_cache(maxsize=64)
def window(top: float, bottom: float, soft_top: float, soft_bottom: float) -> np.ndarray:
    """(ROWS,) float32: 1 from height `top` to `bottom`, with edges of these widths (see `edge`)."""
    table = edge(HEIGHTS - top, soft_top) * edge(bottom - HEIGHTS, soft_bottom)
    table.flags.writeable = False  # it is shared
    return table


def bulge(t: np.ndarray) -> np.ndarray:
    """The thickness of a rounded body at a fraction t of its radius from the rim: a quarter circle from 0 to 1."""
    t = np.maximum(t, 0)
    np.minimum(t, 1, out=t)
    t *= 2 - t
    return np.sqrt(t, out=t)


def spot(grid: Grid, u: float, v: float, radius: float, tall: float = 1.0) -> np.ndarray:
    """A round haze: 1 at its centre, 0.6 at the radius (of u); `tall` stretches it downwards."""
    reach, fall = 3.3 * radius, 3.3 * radius * tall / grid.aspect
    part = grid.part((u - reach, u + reach), (v - fall, v + fall))
    du = (grid.u[part] - u) * (1 / radius)
    dv = (grid.v[part] - v) * (grid.aspect / radius / tall)
    haze = np.zeros_like(grid.u)
    haze[part] = np.exp(-0.5 * (du * du + dv * dv))
    return haze


def disc(grid: Grid, u: float, v: float, radius: float, tall: float = 1.0) -> np.ndarray:
    """Signed distance (in u, positive inside) to an ellipse of that radius across and radius * tall down."""
    du, dv = grid.u - u, (grid.v - v) * (grid.aspect / tall)
    return radius - np.sqrt(du * du + dv * dv)


def stroke(size: int, columns, rows, radius: float) -> np.ndarray:
    """A polyline through points in pixels as coverage (size, size) in [0, 1]."""
    columns, rows = np.atleast_1d(np.asarray(columns, dtype=float)), np.atleast_1d(np.asarray(rows, dtype=float))
    if len(columns) > 1:
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(columns), np.diff(rows)))])
        along = np.linspace(0, length[-1], int(length[-1] / 0.9) + 2)
        columns, rows = np.interp(along, length, columns), np.interp(along, length, rows)
    reach = int(np.ceil(radius + 0.5))
    offset = np.arange(-reach, reach + 1)
    nearest_c, nearest_r = np.rint(columns).astype(np.intp), np.rint(rows).astype(np.intp)
    inside = (nearest_c >= reach) & (nearest_c < size - reach) & (nearest_r >= reach) & (nearest_r < size - reach)
    columns, rows, nearest_c, nearest_r = columns[inside], rows[inside], nearest_c[inside], nearest_r[inside]
    across = (nearest_c - columns)[:, None] + offset  # (points, window)
    down = (nearest_r - rows)[:, None] + offset
    cover = radius + 0.5 - np.sqrt((down * down)[:, :, None] + (across * across)[:, None, :]).astype(np.float32)
    place = ((nearest_r[:, None] + offset) * size)[:, :, None] + (nearest_c[:, None] + offset)[:, None, :]
    canvas = np.zeros(size * size, dtype=np.float32)
    np.maximum.at(canvas, place.ravel(), np.minimum(cover, 1).ravel())
    return canvas.reshape(size, size)


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """A long strip of white noise of standard deviation 1."""
    return np.random.default_rng(1895).standard_normal(GRAIN, dtype=np.float32)


def grain(size: int, rng: np.random.Generator) -> np.ndarray:
    """White noise (size, size): a piece of one strip, from where rng says; new numbers would take ten times as long."""
    start = int(rng.integers(0, GRAIN - size * size))
    return _grain()[start : start + size * size].reshape(size, size)


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
    left, top = (int(shift) for shift in rng.integers(0, BANK, 2))
    place = ((grid.cloud_row + top) & (BANK - 1)) * BANK
    place += (grid.cloud_column + left) & (BANK - 1)
    return clouds()[fineness].take(place)


@lru_cache(maxsize=1)
def vessel_trees() -> np.ndarray:
    """(TREES, BANK, BANK): vessels that branch from a hilum at the left margin's middle and thin out to the right."""
    return np.stack([_tree(np.random.default_rng([1967, k])) for k in range(TREES)])


def _tree(rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros((BANK, BANK), dtype=np.float32)
    angles = np.linspace(-1.25, 1.35, 8) + rng.normal(0, 0.12, 8)
    stack = [(4.0, BANK / 2 + 14 * np.sin(a), a, rng.uniform(5.0, 8.5), 0) for a in angles]
    while stack:
        x, y, angle, thickness, generation = stack.pop()
        steps = np.arange(1, rng.integers(5, 11))
        turn = angle + np.cumsum(rng.normal(0, 0.13, len(steps))) + 0.02 * steps * np.sign(angle)
        xs, ys = x + np.cumsum(5.0 * np.cos(turn)), y + np.cumsum(5.0 * np.sin(turn))
        line = stroke(BANK, np.r_[x, xs], np.r_[y, ys], thickness / 2)
        np.maximum(canvas, line * min(1.0, 0.05 + thickness / 7), out=canvas)
        if generation < 5 and thickness > 1.2:
            spread = rng.uniform(0.25, 0.6)
            for turned in (-spread, spread):
                start = turn[-1] + turned * rng.uniform(0.4, 1.4)
                stack.append((xs[-1], ys[-1], start, thickness * rng.uniform(0.58, 0.80), generation + 1))
    blurred = (canvas + np.roll(canvas, 1, 0) + np.roll(canvas, -1, 0)) / 3
    return (blurred + np.roll(blurred, 1, 1) + np.roll(blurred, -1, 1)) / 3


def vessels(grid: Grid, hila: tuple, trees: tuple[int, int], spread: float = 0.85) -> np.ndarray:
    """Both lungs' vessels (size, size), each from its hilum (u, v): hila[0] to negative u, the last one to positive."""
    (right, right_v), (left, left_v) = hila[0], hila[-1]
    is_left = grid.u > (left + right) / 2
    across = np.where(is_left, grid.u - left, right - grid.u) * ((BANK - 16) / spread) + 16
    middle = np.float32([BANK / 2 - hilum_v * BANK / 1.5 for hilum_v in (right_v, left_v)])
    down = grid.v * (BANK / 1.5) + np.where(is_left, middle[1], middle[0])
    inside = (across >= 0) & (across < BANK) & (down >= 0) & (down < BANK)
    place = np.where(inside, down, 0).astype(np.intp) * BANK
    place += np.where(inside, across, 0).astype(np.intp)
    place += np.where(is_left, trees[1] % TREES, trees[0] % TREES) * (BANK * BANK)
    return vessel_trees().take(place) * inside


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
