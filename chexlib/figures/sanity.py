"""Sanity checks of maps, drawn: how like the trained network's they stay as its layers are made random from the top.

The numbers are made in `chexlib.paper.map_sanity`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chexlib.figures.scatter import legend_size
from chexlib.figures.style import INK, PAGE, WIDE, Plate, bottom_legend, exhibited, plate
from chexlib.paper import map_sanity
from chexlib.paper.map_sanity import METHODS, Checks, MapSanity
from chexlib.paper.notes import Note, skips_missing

COLOURS = {"paper": "#0072B2", "grad-cam": "#D55E00"}
MARKERS = {"paper": "o", "grad-cam": "s"}


@skips_missing
def sanity(found: MapSanity | Note, dataset: Any) -> Plate | Note:
    """Rank correlation with the trained maps: lines as layers become random in turn, hollow marks each alone.

    Bars are 95 % intervals over patients and random networks; dotted lines another image's maps.
    """
    if isinstance(found, Note):
        return found
    numbers, draw = map_sanity.numbers(found), partial(_draw, found, dataset)
    return exhibited(f"{dataset.name}-sanity", draw, map_sanity.caption(found), numbers)


def _draw(found: MapSanity, dataset: Any, width: float) -> Plate:
    handles = [
        Line2D([], [], color=COLOURS[method], marker=MARKERS[method], label=name) for method, name in METHODS.items()
    ]
    handles.append(
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="none", label="one layer alone")
    )
    handles.append(Line2D([], [], color=INK, linestyle="dotted", label="another image"))
    across, legend = legend_size(handles, width)
    rows, columns = (1, len(found.labels)) if width == WIDE else (len(found.labels), 1)
    with rc_context(PAGE):
        figure, grid = plate(rows, columns, 0.4 + 2.6 * rows, dataset, legend, width=width, sharey=True)
        for axes, label in zip(grid.flat, found.labels, strict=True):
            for one in (one for one in found.checks if one.label == label):
                _lines(axes, one)
            axes.axhline(0, color=INK, linewidth=1)
            axes.set_title(label)
            axes.set_ylim(None, 1.05)
            axes.set_xlabel("layers random, from the top")
        for axes in grid[:, 0]:
            axes.set_ylabel("rank correlation")
        bottom_legend(figure, handles, across)
    return figure


def _lines(axes: Axes, one: Checks) -> None:
    colour, marker = COLOURS[one.method], MARKERS[one.method]
    shift = 0.12 * (1 if one.method == "paper" else -1)
    at = np.arange(len(one.layers) + 1)
    values = np.array([[1, 1, 1]] + [[e.low, e.value, e.high] for e in one.cascading])  # (L + 1, 3)
    axes.vlines(at - shift, values[:, 0], values[:, 2], color=colour, linewidth=1.1, alpha=0.45)
    axes.plot(at - shift, values[:, 1], color=colour, marker=marker, markersize=5, linewidth=1.6, zorder=3)
    alone = [e.value for e in one.independent]
    axes.plot(at[1:] - shift, alone, color=colour, marker=marker, markersize=5, markerfacecolor="white",
              linestyle="none", alpha=0.8, zorder=2)  # fmt: skip
    axes.axhline(one.elsewhere.value, color=colour, linewidth=1.2, linestyle="dotted")
