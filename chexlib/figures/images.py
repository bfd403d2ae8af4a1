"""Figures of a data set: how often each finding is present, and a sheet of its images where its terms allow that."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.patches import Patch

from chexlib.data.labels import FINDINGS, TASKS
from chexlib.figures.style import RC, Plate, plate
from chexlib.paper import images
from chexlib.paper.notes import Note, skips_missing

KINDS = (("present", "#0072B2", ""), ("uncertain", "#E69F00", "///"), ("absent", "#bdbdbd", ""))


@skips_missing
def prevalence(dataset: Any, split: str = "train") -> Plate | Note:
    """Share of a split's images in which each finding is present, uncertain or absent; the rest is unmentioned."""
    table = images.labels(dataset, split)[::-1]
    with rc_context(RC):
        figure, grid = plate(height=4.6, source=dataset, legend=0.26)
        axes, left = grid[0, 0], np.zeros(len(table))
        for kind, colour, hatch in KINDS:
            axes.barh(
                range(len(table)),
                100 * table[kind],
                left=left,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                height=0.72,
            )
            left += 100 * table[kind].to_numpy()
        axes.set_yticks(range(len(table)), [name + (" •" if name in TASKS else "") for name in table.index])
        axes.set(xlabel=f"% of {images.SPLITS.get(split, split)} images (• one of the six tasks)", xlim=(0, 100))
        axes.grid(axis="y", visible=False)
        handles = [Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=kind) for kind, colour, hatch in KINDS]
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=3,
            frameon=False,
            bbox_to_anchor=(0.5, 0.24 / figure.get_figheight()),
        )
    return figure


@skips_missing
def contact_sheet(dataset: Any, n: int = 12, seed: int = 0) -> Plate | Note:
    """n training images drawn at random, each with its view and findings; a Note where the terms forbid it."""
    if not dataset.shareable:
        return Note(
            f"The terms of {dataset.source.title} do not let images or their labels be shown, so no contact sheet "
            "is made."
        )
    rows = dataset.rows("train")
    rows = np.random.default_rng(seed).choice(rows, size=min(n, len(rows)), replace=False)
    columns = 4
    lines = -(-len(rows) // columns)
    with rc_context(RC):
        figure, grid = plate(lines, columns, height=2.05 * lines, source=dataset)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, row in zip(grid.flat, rows, strict=False):
            axes.imshow(dataset.pixels[row], cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
            axes.set_title(_words(dataset.table.iloc[row]), fontsize=8, loc="left", pad=2, linespacing=1.05)
    return figure


SHORT = {
    "Enlarged Cardiomediastinum": "Wide mediastinum",
    "Pleural Effusion": "Effusion",
    "Support Devices": "Devices",
    "Lung Opacity": "Opacity",
    "Lung Lesion": "Lesion",
}


def _words(row: Any) -> str:
    """View and up to two findings, in two lines: "AP" over "Edema, Effusion +1"."""
    present = [SHORT.get(name, name) for name in FINDINGS if row[name] == 1]
    more = f" +{len(present) - 1}" if len(present) > 1 else ""
    view = row["view"].title() if row["view"] == "LATERAL" else row["view"]
    return f"{view or 'view unknown'}\n{present[0] + more if present else 'nothing labelled'}"
