"""Do truncated networks localise better, and at what cost in AUC? One panel a family; and their faithfulness curves.

The numbers are made in `chexlib.paper.localised` and `chexlib.paper.faithful`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from chexlib.figures.scatter import legend_size
from chexlib.figures.style import (
    BOTH,
    INIT_TITLES,
    INK,
    NARROW,
    PAGE,
    PATIENTS,
    WIDE,
    Mark,
    Plate,
    bottom_legend,
    exhibited,
    family_mark,
    interval_handles,
    plate,
)
from chexlib.paper import faithful, map_notes
from chexlib.paper.faithful import GAMES, Faithfulness
from chexlib.paper.localised import BASELINES, MEASURES, MapScores, difference
from chexlib.paper.measures import AUC_MARGIN, Estimate, stated
from chexlib.paper.notes import Note, skips_missing

LINES = {"usual place": (0, (1, 1.5)), "centre": (0, (5, 2)), "anywhere": "-"}
"""How the baselines are drawn."""

DEPTHS = ("#000000", "#0072B2", "#009E73", "#E69F00", "#CC79A7")
DASHES = ("-", (0, (6, 2)), (0, (3, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1, 1.2)))
"""Colours and dashes of a family's networks, the whole one first."""


@skips_missing
def localisation(scores: MapScores | Note, dataset: Any) -> Plate | Note:
    """IoU at tuned thresholds against the change of the mean AUC, with intervals of both, a panel a family."""
    if isinstance(scores, Note):
        return scores
    numbers, draw = scores.of(MEASURES[0].name), partial(_draw, scores, dataset)
    return exhibited(f"{dataset.name}-localisation", draw, map_notes.localisation(scores), numbers)


@skips_missing
def faithfulness(found: Faithfulness | Note, dataset: Any) -> Plate | Note:
    """Mean probability as the brightest points are taken away, and as they are put back; thin lines at random."""
    if isinstance(found, Note):
        return found
    numbers, draw = faithful.numbers(found), partial(_curves, found, dataset)
    return exhibited(f"{dataset.name}-faithfulness", draw, faithful.caption(found), numbers)


def _curves(found: Faithfulness, dataset: Any, width: float) -> Plate:
    styles = [
        {"color": DEPTHS[k % len(DEPTHS)], "linestyle": DASHES[k % len(DASHES)]} for k in range(len(found.labels))
    ]
    handles = [Line2D([], [], linewidth=2, label=one, **style) for one, style in zip(found.labels, styles, strict=True)]
    handles.append(Line2D([], [], color=INK, linewidth=0.9, label="random cells"))
    across, legend = legend_size(handles, width)
    rows, columns = (1, len(GAMES)) if width == WIDE else (len(GAMES), 1)
    with rc_context(PAGE):
        figure, grid = plate(rows, columns, 0.4 + 2.5 * rows, dataset, legend, width=width, sharey=True)
        for axes, game, done in zip(grid.flat, GAMES, ("taken away", "put back"), strict=True):
            for k, style in enumerate(styles):
                axes.plot(found.share, found.along_map[game][k], linewidth=2, **style)
                axes.plot(found.share, found.at_random[game][k], linewidth=0.9, alpha=0.7, **style)
            axes.set_title(game, color=INK)
            axes.set_xlabel(f"share of the image {done}")
        for axes in grid[:, 0]:
            axes.set_ylabel("mean probability")
        bottom_legend(figure, handles, across)
    return figure


def _draw(scores: MapScores, dataset: Any, width: float) -> Plate:
    families, seeds = scores.families, bool(scores.table["low_seeds"].notna().any())
    columns = min(3 if width == WIDE else 2, len(families))
    rows = -(-len(families) // columns)
    handles = [Line2D([], [], color=INK, linewidth=1.1, linestyle=LINES[name], label=name) for name in BASELINES]
    handles += interval_handles() if seeds else []
    across, legend = legend_size(handles, width)
    with rc_context(PAGE):
        height = 0.4 + rows * (2.5 if width == WIDE else 2.3)
        figure, grid = plate(rows, columns, height, dataset, legend, width=width, sharex=True, sharey=True)
        for axes, (arch, init) in zip(grid.flat, families):
            _family(axes, scores, scores.of(MEASURES[0].name, arch, init), seeds)
            axes.set_title(f"{scores.of(MEASURES[0].name, arch, init)['label'].iloc[0]}\n{INIT_TITLES.get(init, init)}")
        for axes in grid.flat[len(families) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel(MEASURES[0].title)
        for axes in grid.flat[max(0, len(families) - columns) : len(families)]:
            axes.set_xlabel("change of mean AUC")
            axes.xaxis.set_tick_params(labelbottom=True)
        grid[0, 0].margins(x=0.12, y=0.1)
        grid[0, 0].xaxis.set_major_locator(MaxNLocator(3 if width == NARROW else 4, steps=[1, 2, 5, 10]))
        bottom_legend(figure, handles, across)
    return figure


def _family(axes: Axes, scores: MapScores, models: pd.DataFrame, seeds: bool) -> None:
    """A line from the whole network to its deepest truncation, with a numbered mark at each."""
    for name, style in LINES.items():
        axes.axhline(scores.baseline(MEASURES[0].name, name).value, color=INK, linewidth=1, linestyle=style, zorder=1)
    axes.axvspan(-AUC_MARGIN, AUC_MARGIN, color=INK, alpha=0.1, linewidth=0, zorder=1)
    mark = family_mark(models["family"].iloc[0])
    axes.plot(models["auc"], models["value"], color=mark.colour, linewidth=1, alpha=0.6, zorder=1.5)
    for model in models.itertuples():
        _cross(axes, difference(model, "auc"), stated(model, "value"), mark, seeds)
        axes.plot(model.auc, model.value, marker="o", markersize=9, markerfacecolor="white",
                  markeredgecolor=mark.colour, markeredgewidth=1.3, zorder=3 + model.minus / 10)  # fmt: skip
        axes.annotate(str(model.minus), (model.auc, model.value), ha="center", va="center_baseline", fontsize=7.5,
                      color=INK, zorder=3.05 + model.minus / 10)  # fmt: skip


def _cross(axes: Axes, x: Estimate, y: Estimate, mark: Mark, seeds: bool) -> None:
    """Both intervals of a point: over patients, and where there are any over patients and seeds as thin lines."""
    wide = PATIENTS if seeds else 1.3
    for low, high, width, alpha in (("low", "high", wide, 0.45), ("low_seeds", "high_seeds", BOTH, 0.9)):
        style = {"color": mark.colour, "linewidth": width, "alpha": alpha, "zorder": 2}
        axes.hlines(y.value, getattr(x, low), getattr(x, high), **style)
        axes.vlines(x.value, getattr(y, low), getattr(y, high), **style)
