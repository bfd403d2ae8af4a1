"""The book's few kinds of figure: networks as labelled points, intervals by row, curves, and plates of images.

Each function takes a table and gives a matplotlib Figure, or None where the table has no row. A family has a colour
(Okabe and Ito's, safe for colour-blind readers) and a marker, so that it can be told in grey, too. At the head of
each figure stands which study and which images it shows, so that phantoms are never taken for patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from chexlib.escape import NO_TEX

WIDTH = 6.4
"""Inches, near the width of a page's text."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "grid.color": "#e8e8e8",
    **NO_TEX,
}
INK, FAINT = "#222222", "#8a8a8a"


class Mark(NamedTuple):
    """Colour and marker of a family or an init."""

    colour: str
    marker: str


FAMILIES = {
    "DenseNet": Mark("#0072B2", "o"),
    "ResNet": Mark("#D55E00", "s"),
    "EfficientNet": Mark("#009E73", "^"),
    "Inception": Mark("#CC79A7", "D"),
    "MobileNet": Mark("#E69F00", "v"),
    "MNASNet": Mark("#56B4E9", "P"),
    "NASNet": Mark("#8a8a8a", "X"),
    "EfficientNet-Lite": Mark("#000000", "*"),
}
OTHERS = (Mark("#5c5c5c", "h"), Mark("#332288", "p"), Mark("#882255", "<"), Mark("#999933", ">"), Mark("#8c510a", "8"))
INITS = {
    "random": Mark("#8a8a8a", "o"),
    "imagenet": Mark("#0072B2", "s"),
    "mean_var": Mark("#D55E00", "^"),
    "mean_var:weights": Mark("#E69F00", "v"),
    "gabor": Mark("#009E73", "D"),
}
TITLES = {
    "random": "random weights",
    "imagenet": "ImageNet weights",
    "mean_var": "Mean-Var",
    "mean_var:weights": "Mean-Var of weights alone",
    "gabor": "Gabor filters",
}


def mark_of(name: str) -> Mark:
    """The mark of a family or an init; a family that the table does not name has one of OTHERS, by its letters."""
    return FAMILIES.get(name) or INITS.get(name) or OTHERS[crc32(str(name).encode()) % len(OTHERS)]


def sheet(caption: str, rows: int = 1, columns: int = 1, height: float = 3.6, **options: object):
    """A figure, `height` inches high, and its axes (rows, columns); caption: what stands at its head.

    Options are those of matplotlib's `subplots`.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        phantom = "phantom" in caption.lower()
        weight, colour = ("bold", INK) if phantom else ("normal", FAINT)
        figure.suptitle(caption, x=0.01, ha="left", fontsize=8, weight=weight, color=colour)
    return figure, axes


def scatter(
    table: pd.DataFrame,
    x: str,
    y: str,
    caption: str,
    *,
    panels: str | None = None,
    titles: Mapping[str, str] | None = None,
    log: bool = False,
    zero: bool = False,
    xlabel: str = "",
    ylabel: str = "",
) -> Figure | None:
    """Networks as points with their intervals and names.

    table: a row a point, with columns x, y, low, high, label, family and, where some points are hollow (they enter no
    correlation), in_paper. panels: a column, each of whose values has a panel of its own, with `titles`. log: a
    logarithmic x axis. zero: a line at y = 0.
    """
    table = table.dropna(subset=[x, y])
    if table.empty:
        return None
    shown = [(None, table)] if panels is None else list(table.groupby(panels, sort=False))
    figure, axes = sheet(caption, len(shown), 1, 0.9 + 3.4 * len(shown), sharex=True, sharey=True)
    with rc_context(STYLE):
        for axis, (value, points) in zip(axes.flat, shown, strict=True):
            for row in points.to_dict("records"):
                point(axis, row[x], row[y], row["low"], row["high"], row["family"], row.get("in_paper", True))
            if zero:
                axis.axhline(0, color=INK, linewidth=1)
            axis.set_title((titles or TITLES).get(value, value) if panels else "")
            axis.set_ylabel(ylabel or y)
            axis.margins(x=0.08)
        axes[-1, 0].set_xlabel(xlabel or x)
        if log:
            log_axis(axes[0, 0])
        legend(figure, table["family"])
        figure.draw_without_rendering()
        for axis, (_, points) in zip(axes.flat, shown, strict=True):
            name_points(axis, points[x], points[y], points["label"])
    return figure


def intervals(
    table: pd.DataFrame,
    caption: str,
    *,
    value: str = "value",
    label: str | None = None,
    mark: str | None = None,
    band: float = 0.0,
    zero: bool = False,
    xlabel: str = "",
) -> Figure | None:
    """One row a number with its interval, from the top in the table's order.

    table: with columns `value`, low, high; label: the column of the rows' names (the index when None); mark: the
    column of families or inits that colours them. zero: a line at 0, band: grey from -band to band.
    """
    table = table.dropna(subset=[value])
    if table.empty:
        return None
    figure, [[axis]] = sheet(caption, height=1.1 + 0.26 * len(table))
    names = table.index if label is None else table[label]
    marks = ["" if mark is None else name for name in (table[mark] if mark else names)]
    with rc_context(STYLE):
        for place, (row, kind) in enumerate(zip(table.to_dict("records"), marks, strict=True)):
            point(axis, row[value], place, row["low"], row["high"], kind, vertical=False, size=6)
        if zero or band:
            axis.axvline(0, color=INK, linewidth=1)
        if band:
            axis.axvspan(-band, band, color="#ececec", zorder=0)
        axis.set_yticks(range(len(table)), [str(name) for name in names])
        axis.set_ylim(len(table) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(xlabel or value)
        if mark:
            legend(figure, table[mark])
    return figure


def curves(
    table: pd.DataFrame,
    x: str,
    y: str,
    caption: str,
    *,
    line: str,
    mark: str,
    panels: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
) -> Figure | None:
    """Lines, one each value of column `line`, coloured by column `mark` (families or inits); x against y.

    panels: a column, each of whose values has a small panel of its own, four beside each other.
    """
    table = table.dropna(subset=[x, y])
    if table.empty:
        return None
    shown = [("", table)] if panels is None else list(table.groupby(panels, sort=False))
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    height = 3.6 if panels is None else 1.1 + 1.2 * rows
    figure, axes = sheet(caption, rows, columns, height, sharex=True, sharey=True)
    with rc_context(STYLE):
        for axis, (title, panel) in zip(axes.flat, shown, strict=False):
            for _, its in panel.groupby(line, sort=False):
                axis.plot(its[x], its[y], color=mark_of(its[mark].iloc[0]).colour, linewidth=1.2, alpha=0.8)
            axis.set_title(title, fontsize=8)
        for axis in axes.flat[len(shown) :]:
            axis.set_visible(False)
        axes[-1, 0].set_xlabel(xlabel or x)
        figure.supylabel(ylabel or y, fontsize=10)
        legend(figure, table[mark])
    return figure


def plate(
    images: Sequence[Sequence[np.ndarray | None]],
    caption: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    maps: Sequence[Sequence[np.ndarray | None]] | None = None,
    boxes: Sequence[Sequence[np.ndarray | None]] | None = None,
) -> Figure | None:
    """Images (H, W) in rows and columns with their names; maps (h, w) in [0, 1] over them; boxes (H, W) outlined.

    Maps are drawn at their own size, without smoothing, half transparent.
    """
    if not images or not images[0]:
        return None
    n, m = len(images), len(images[0])
    figure, axes = sheet(caption, n, m, 0.6 + n * (WIDTH - 0.4) / m)
    for i, j in np.ndindex(n, m):
        axis, image = axes[i, j], images[i][j]
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
        if i == 0 and j < len(columns):
            axis.set_title(columns[j], fontsize=8, loc="center")
        if j == 0 and i < len(rows):
            axis.set_ylabel(rows[i], fontsize=8)
        if image is None:
            continue
        extent = (0, image.shape[1], image.shape[0], 0)
        axis.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else None, extent=extent)
        if maps is not None and maps[i][j] is not None:
            axis.imshow(maps[i][j], cmap="inferno", vmin=0, vmax=1, alpha=0.5, extent=extent, interpolation="nearest")
        if boxes is not None and boxes[i][j] is not None:
            axis.contour(boxes[i][j], levels=[0.5], colors="#00e5ff", linewidths=0.8)
    return figure


def point(
    axis: Axes,
    x: float,
    y: float,
    low: float,
    high: float,
    name: str = "",
    full: bool = True,
    vertical: bool = True,
    size: float = 7,
) -> None:
    """One estimate with its interval, in the mark of the family or init `name`; hollow unless `full`."""
    mark = mark_of(name) if name else Mark("#0072B2", "o")
    along, across = ([low, high], [x, x]) if vertical else ([y, y], [low, high])
    if not np.isnan(low):
        axis.plot(across, along, color=mark.colour, linewidth=1.6, alpha=0.5, zorder=2, solid_capstyle="butt")
    size *= 1.4 if mark.marker == "*" else 1.0
    face = mark.colour if full else "white"
    axis.plot([x], [y], mark.marker, markersize=size, markerfacecolor=face, markeredgecolor=mark.colour, zorder=3)


def name_points(axis: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> None:
    """Names beside the points, moved apart until none covers another."""
    texts = [axis.text(*at, s=name, fontsize=7, color=INK) for *at, name in zip(x, y, names, strict=True)]
    arrow = {"arrowstyle": "-", "color": FAINT, "lw": 0.5}
    adjust_text(texts, x=list(x), y=list(y), ax=axis, expand=(1.1, 1.3), iter_lim=2000, arrowprops=arrow)


def legend(figure: Figure, names: pd.Series) -> None:
    """The marks of these families or inits, below the axes."""
    known = [name for name in (*FAMILIES, *INITS) if name in set(names)]
    names = [*known, *(name for name in dict.fromkeys(names) if name not in known)]
    handles = []
    for name in names:
        colour, marker = mark_of(name)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=TITLES.get(name, name)))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8, handletextpad=0.3)


def log_axis(axis: Axes) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
