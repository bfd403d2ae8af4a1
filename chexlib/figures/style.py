"""How every figure looks: size, type, family colours and markers, and the line that says which images it shows.

Figures are `Plate`s: matplotlib Figures made without pyplot (no global state), which show themselves in a notebook.
They are drawn 6.4 inches wide with large type, so that they stay legible when a phone shows them at 360 pixels. A
family has a colour (Okabe and Ito's, safe for colour-blind readers) and a marker, so it can be told in grey too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chexlib.figures.plate import Exhibit, Plate
from chexlib.paper.exhibits import Caption

WIDTH, WIDE, NARROW = 6.4, 7.4, 3.75
"""Inches: of a figure with one layout, and of an exhibit's two, which a screen and a phone show at about true size."""

RC = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "font.family": "DejaVu Sans",
}

PAGE = RC | {
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
}
"""RC for exhibits, which are shown at about true size."""

INK, FAINT = "#222222", "#8a8a8a"


@dataclass(frozen=True)
class Mark:
    """Colour and marker of a family."""

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
OTHERS = (
    Mark("#5c5c5c", "h"),
    Mark("#332288", "p"),
    Mark("#882255", "<"),
    Mark("#999933", ">"),
    Mark("#8c510a", "8"),
)
"""Marks of families that the table does not name, the same in every figure; two families can share one."""

SCALE = {"*": 1.35, "P": 1.2, "^": 1.15, "v": 1.15}
"""What makes markers look equally large."""

PATIENTS, BOTH = 3.4, 1.0
"""Widths of the lines over patients and over patients and seeds, where a figure shows both intervals."""

INITS = {"random": Mark("#8a8a8a", "o"), "imagenet": Mark("#0072B2", "s")}
INIT_TITLES = {"random": "random weights", "imagenet": "ImageNet weights"}


def exhibited(
    stem: str, draw: Callable[[float], Plate], caption: Caption, numbers: pd.DataFrame, bitmap: bool = False
) -> Plate:
    """What `draw` makes at a screen's width, as an exhibit that has what it makes at a phone's."""
    figure = draw(WIDE)
    figure.exhibit = Exhibit(stem, caption, numbers, partial(draw, NARROW), bitmap)
    return figure


def plate(
    rows: int = 1,
    columns: int = 1,
    height: float = 3.6,
    source: Any = None,
    legend: float = 0.0,
    width: float = WIDTH,
    **options: Any,
) -> tuple[Plate, np.ndarray]:
    """A figure and its axes (rows, columns), in inches; `source` signs it, `legend` inches are kept free below.

    `source` is a Results, a Dataset or a Description: what `signature` makes of it is written at the foot, so that a
    figure of phantom images says so on its face wherever it is pasted.
    """
    words = "" if source is None else fill(signature(source), int(12 * width))
    legend += 0.15 * words.count("\n")
    with rc_context(RC if width == WIDTH else PAGE):
        figure = Plate(figsize=(width, height + legend), dpi=150, layout="constrained")
        foot = (0.28 + legend) / (height + legend)
        figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot), w_pad=0.05, h_pad=0.05)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        if source is not None:
            figure.text(
                0.01,
                0.02 / (height + legend) * 2,
                words,
                ha="left",
                va="bottom",
                fontsize=9,
                color=INK if is_phantom(source) else FAINT,
                weight="bold" if is_phantom(source) else "normal",
            )
    return figure, axes


def is_phantom(source: Any) -> bool:
    """Whether a Results, a Dataset or a Description is of drawn images."""
    return (source.dataset if hasattr(source, "runs") else source.name) == "phantom"


def signature(source: Any) -> str:
    """The line at a figure's foot; for phantom images it has the word "phantom"."""
    if hasattr(source, "caption"):
        text = source.caption
        return text if "phantom" in text.lower() or not is_phantom(source) else f"{text}: phantom images, not patients"
    return (
        {
            "phantom": "Phantom images, drawn by a program: not patients",
            "nih": "NIH ChestX-ray14, NIH Clinical Center",
        }.get(source.name)
        or getattr(source, "title", None)
        or source.source.title
    )


def family_mark(family: str) -> Mark:
    """Colour and marker of a family; one that the table does not name has one of OTHERS, by its letters."""
    return FAMILIES.get(family) or OTHERS[crc32(family.encode()) % len(OTHERS)]


def point(
    axes: Axes,
    x: float,
    y: float,
    low: float,
    high: float,
    mark: Mark,
    apart: bool = False,
    vertical: bool = True,
    size: float = 8,
    seeds: tuple[float, float] | None = None,
) -> None:
    """One estimate with its interval; `apart` (hollow) marks models that enter no correlation.

    `seeds` is the interval over patients and seeds, NaN where a model has one: a thin line beyond a thick one.
    """
    span = y if vertical else x
    for (start, end), width, alpha in (
        ((low, high), 1.1 if seeds is None else PATIENTS, 0.45),
        (seeds or (np.nan, np.nan), BOTH, 0.9),
    ):
        if not np.isnan(start):
            ends = np.maximum([[span - start], [end - span]], 0)
            axes.errorbar(
                [x],
                [y],
                **({"yerr": ends} if vertical else {"xerr": ends}),
                fmt="none",
                ecolor=mark.colour,
                elinewidth=width,
                alpha=alpha,
                capsize=0,
                zorder=2,
            )
    axes.plot([x], [y], color=mark.colour, zorder=3, **mark_style(mark, apart, size))


def mark_style(mark: Mark, apart: bool, size: float) -> dict[str, Any]:
    """How matplotlib draws a mark of this size in points, filled in its family's colour, or hollow where `apart`."""
    return {
        "marker": mark.marker,
        "markersize": size * SCALE.get(mark.marker, 1),
        "markerfacecolor": "white" if apart else mark.colour,
        "markeredgecolor": mark.colour if apart else "white",
        "markeredgewidth": (1.4 if apart else 0.8) * min(1, size / 7),
        "linestyle": "none",
    }


def family_legend(figure: Figure, families: list[str], apart: set[str] = frozenset(), columns: int = 3) -> None:
    """The families' marks, below the axes and above the foot."""
    bottom_legend(figure, family_handles(families, apart), columns)


def family_handles(families: list[str], apart: set[str] = frozenset()) -> list[Line2D]:
    """The families' marks with their names, in the order of the table; `apart` are hollow."""
    handles = []
    for family in sorted(set(families), key=lambda f: (list(FAMILIES).index(f) if f in FAMILIES else 99, f)):
        mark, hollow = family_mark(family), family in apart
        handles.append(
            Line2D(
                [],
                [],
                marker=mark.marker,
                linestyle="none",
                markersize=8 * SCALE.get(mark.marker, 1),
                color=mark.colour,
                markerfacecolor="white" if hollow else mark.colour,
                label=family,
                markeredgecolor=mark.colour,
                markeredgewidth=1.4 if hollow else 0.8,
            )
        )
    return handles


def interval_handles() -> list[Line2D]:
    """What thick and thin lines mean, for the legend of a figure in which any model has several seeds."""
    return [
        Line2D([], [], color=INK, alpha=0.45, linewidth=PATIENTS, label="95 % over patients"),
        Line2D([], [], color=INK, alpha=0.9, linewidth=BOTH, label="95 % over patients and seeds"),
    ]


def bottom_legend(figure: Figure, handles: list[Line2D], columns: int = 3) -> None:
    """A legend without a frame, above the foot."""
    lines = figure.texts[0].get_text().count("\n") if figure.texts else 0
    with rc_context(RC if figure.get_figwidth() == WIDTH else PAGE):
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=columns,
            frameon=False,
            handletextpad=0.5,
            bbox_to_anchor=(0.5, (0.24 + 0.15 * lines) / figure.get_figheight()),
            columnspacing=1.4,
            labelspacing=0.35,
        )
