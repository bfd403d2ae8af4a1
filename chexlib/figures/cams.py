"""Figure 5: class activation maps of a network and its truncations on the same images.

For a screen columns are networks and rows are findings, for a phone the other way round; with each map stands the
resolution at which it was computed. Where the place of a finding is known, its outline is drawn. The maps are made in
`chexlib.paper.maps`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from chexlib.cam_files import HEAT, STRONGEST
from chexlib.figures.style import PAGE, WIDE, Plate, exhibited, plate
from chexlib.paper import map_notes
from chexlib.paper.exhibits import Caption
from chexlib.paper.maps import CamGrid
from chexlib.paper.notes import Note, says_missing, skips_missing


@says_missing
def figure5(grid: CamGrid | Note, dataset: Any) -> Plate | Note:
    """Each image, then its map under each network; native resolution beside each network's name."""
    return grid if isinstance(grid, Note) else _shown(grid, dataset, "figure5", map_notes.figure5(grid))


@skips_missing
def methods(grid: CamGrid | Note, dataset: Any) -> Plate | Note:
    """Each image, then its map by each method."""
    return grid if isinstance(grid, Note) else _shown(grid, dataset, "methods", map_notes.methods(grid), "method")


def _shown(grid: CamGrid, dataset: Any, name: str, caption: Caption, columns: str = "model") -> Plate:
    draw, table = partial(_draw, grid, dataset), numbers(grid).rename(columns={"model": columns})
    return exhibited(f"{dataset.name}-{name}", draw, caption, table, bitmap=True)


def numbers(grid: CamGrid) -> pd.DataFrame:
    """A row a map: finding, model, rows and columns of its cells, predicted probability."""
    return pd.DataFrame(
        {"finding": finding, "model": label, "init": grid.init, "rows": h, "columns": w, "probability": p}
        for finding, row in zip(grid.findings, grid.probabilities, strict=True)
        for label, (h, w), p in zip(grid.labels, grid.native, row, strict=True)
    )


def _draw(grid: CamGrid, dataset: Any, width: float) -> Plate:
    findings, models = len(grid.findings), len(grid.labels) + 1
    across = width == WIDE
    rows, columns = (findings, models) if across else (models, findings)
    cell = (width - 0.3) / columns if across else min(1.5, (width - 0.9) / columns)
    with rc_context(PAGE):
        figure, axes = plate(rows, columns, 0.5 + rows * (cell + 0.22), dataset, width=width)
        axes = axes if across else axes.T  # (findings, models + 1)
        names = ["image", *(_name(*both) for both in zip(grid.labels, grid.native, strict=True))]
        for i in range(findings):
            for k in range(models):
                _image(axes[i, k], grid.images[i], grid.outlines[i])
                if k:
                    _heat(axes[i, k], grid.maps[i, k - 1])
                    axes[i, k].set_xlabel(f"p = {grid.probabilities[i, k - 1]:.2f}", fontsize=8.5, labelpad=2)
        for place, finding in zip(axes[:, 0], grid.findings, strict=True):
            place.set_ylabel(finding) if across else place.set_title(finding, loc="center")
        for place, name in zip(axes[0], names, strict=True):
            place.set_title(name, loc="center") if across else place.set_ylabel(name)
    return figure


def _name(label: str, native: tuple[int, int]) -> str:
    short = "Minus" + label.split("Minus")[1] if "Minus" in label else label
    return f"{short}\n{native[0]} × {native[1]} map"


def _heat(axes: Axes, heat: np.ndarray) -> None:
    alpha = STRONGEST * np.sqrt(heat)
    axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=alpha, extent=(0, 1, 1, 0), interpolation="bilinear")


def _image(axes: Axes, image: np.ndarray, outline: np.ndarray | None) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), interpolation="bilinear")
    if outline is not None:
        h, w = outline.shape
        x, y = (np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h
        drawn = axes.contour(x, y, outline.astype(float), levels=[0.5], colors="white", linewidths=1.1)
        drawn.set_path_effects([withStroke(linewidth=2.2, foreground="#000000a0")])  # to be seen on bright places
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
