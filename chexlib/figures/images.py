"""A sheet of a data set's images, where its terms allow that; the figures of its counts are in `data`."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context

from chexlib.data.labels import FINDINGS
from chexlib.figures.style import RC, Plate, plate
from chexlib.paper.notes import Note, skips_missing


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
