"""Figures 2, 3 and 4 of the paper: ImageNet accuracy, size, and the pretraining boost, for the study at hand.

Full marks are the paper's architectures, which enter the rank correlations; hollow marks are others, shown beside them.
Thick lines are 95 % intervals over patients, thin ones, where there are any, over patients and seeds. Each function
gives an exhibit (`chexlib.figures.plate`), or a Note that says why there is none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from chexlib.figures.names import Named, name_points
from chexlib.figures.style import (
    INIT_TITLES,
    INK,
    PAGE,
    WIDE,
    Plate,
    bottom_legend,
    exhibited,
    family_handles,
    family_mark,
    interval_handles,
    plate,
    point,
)
from chexlib.paper import captions, figure_data, measures
from chexlib.paper.measures import Correlation
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import number


@skips_missing
def figure2(results: Any) -> Plate | Note:
    """ImageNet top-1 accuracy against mean AUC, without pretraining and with; for a phone one above the other."""
    return _two_inits(results, "top1", "figure2", captions.figure2)


@skips_missing
def figure3(results: Any) -> Plate | Note:
    """Parameters (log scale) against mean AUC, without pretraining and with; for a phone one above the other."""
    return _two_inits(results, "parameters", "figure3", captions.figure3)


@skips_missing
def figure4(results: Any) -> Plate | Note:
    """Parameters (log scale) against the pretraining boost, with paired intervals."""
    table = figure_data.boosts(results)
    if table.empty:
        return Note("No Figure 4 here: nothing was trained from both inits.")
    draw = partial(_draw_boosts, results, table)
    return exhibited(f"{results.name}-figure4", draw, captions.figure4(results), table)


def legend_size(handles: list, width: float) -> tuple[int, float]:
    """The most columns of a legend that fit a figure of this width, and how high it then is, in inches."""
    for columns in range(len(handles), 1, -1):
        of_column = np.array_split([30 + 5 * len(handle.get_label()) for handle in handles], columns)  # points
        if sum(max(lengths) for lengths in of_column) <= 72 * width:
            break
    else:
        columns = 1
    return columns, 0.08 + 0.17 * -(-len(handles) // columns)


def log_axis(axes: Axes, x: pd.Series) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, 20, 50."""
    axes.set_xscale("log")
    span = max(x) / min(x)
    axes.set_xlim(min(x) / span**0.1 / 1.1, max(x) * span**0.1 * 1.1)
    every = (1, 2, 5) if span < 60 else (1,)
    ticks = [m * 10.0**e for e in range(-3, 4) for m in (every if span > 3 else (1, 2, 3, 4, 5, 6, 8))]
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def rho_title(found: Correlation | None) -> str:
    """Spearman's rho with its widest interval; empty where there is none."""
    if found is None:
        return ""
    low, high = found.architectures
    return f"Spearman ρ = {number(found.rho, 2)} ({number(low, 2)} to {number(high, 2)})"


def _two_inits(results: Any, column: str, name: str, caption: Any) -> Plate | Note:
    table = figure_data.models(results, column)
    if len(table) < 2:
        return Note(f"Study {results.name} trained {len(table)} whole architecture(s) so far: no figure.")
    return exhibited(f"{results.name}-{name}", partial(_draw_inits, results, table, column), caption(results), table)


def _draw_inits(results: Any, table: pd.DataFrame, column: str, width: float) -> Plate:
    """One panel an init, with one scale of AUC for both."""
    handles, seeds = _handles(table)
    columns, legend = legend_size(handles, width)
    label, scale = ("ImageNet top-1 (%)", 1) if column == "top1" else ("parameters (millions, log scale)", 1e-6)
    shape, height = ((1, 2), 4.4) if width == WIDE else ((2, 1), 8.2)
    with rc_context(PAGE):
        figure, grid = plate(*shape, height, results, legend, width=width, sharex=True, sharey=True)
        panels = []
        for axes, init in zip(grid.flat, figure_data.BOTH_INITS, strict=True):
            here = table[table["init"] == init]
            title = rho_title(measures.correlation(results, column, init)) or _few(here)
            axes.set_title(f"{INIT_TITLES[init]}\n{title}", color=INK)
            axes.margins(x=0.08, y=0.06)
            panels.append(_marks(axes, here, here[column] * scale, "auc", seeds))
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.set_xlabel(label)
        for axes in grid[:, 0]:
            axes.set_ylabel("mean AUC")
        if column == "parameters":
            log_axis(grid[0, 0], table[column] * scale)
        bottom_legend(figure, handles, columns)
        name_points(figure, panels)
    return figure


def _draw_boosts(results: Any, table: pd.DataFrame, width: float) -> Plate:
    handles, seeds = _handles(table)
    columns, legend = legend_size(handles, width)
    with rc_context(PAGE):
        figure, [[axes]] = plate(1, 1, 4.3 if width == WIDE else 4.4, results, legend, width=width)
        axes.axhline(0, color=INK, linewidth=1)
        panel = _marks(axes, table, table["parameters"] / 1e6, "boost", seeds)
        log_axis(axes, table["parameters"] / 1e6)
        axes.set(xlabel="parameters (millions, log scale)", ylabel="AUC with ImageNet weights\nminus without")
        axes.set_title(_mean_title(results), color=INK)
        bottom_legend(figure, handles, columns)
        name_points(figure, [panel])
    return figure


def _marks(axes: Axes, table: pd.DataFrame, x: pd.Series, y: str, seeds: bool) -> Named:
    """A row's mark with its intervals, at x; what is needed to name the marks."""
    for place, model in zip(x, table.itertuples(), strict=True):
        point(
            axes,
            place,
            getattr(model, y),
            model.low,
            model.high,
            family_mark(model.family),
            apart=not model.in_paper,
            size=7,
            seeds=(model.low_seeds, model.high_seeds) if seeds else None,
        )
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    top = table[[y, "high", "high_seeds"]].max(axis=1)
    marks = [family_mark(family) for family in table["family"]]
    apart = list(~table["in_paper"].astype(bool))
    return Named(axes, x.to_numpy(float), top.to_numpy(float), list(table["model"]), marks, apart)


def _handles(table: pd.DataFrame) -> tuple[list, bool]:
    """The legend of a table's families and intervals, and whether any model has one over seeds."""
    inside = table.groupby("family")["in_paper"].any().astype(bool)
    families = family_handles(list(inside.index), set(inside.index[~inside]))
    seeds = bool(table["low_seeds"].notna().any())
    return families + (interval_handles() if seeds else []), seeds


def _mean_title(results: Any) -> str:
    found = measures.mean_boost(results)
    low, high = found.interval
    rho = rho_title(measures.boost_correlation(results))
    return f"mean boost {number(found.value, sign=True)} ({number(low, 3)} to {number(high, 3)})" + (
        f"\n{rho}" if rho else ""
    )


def _few(models: pd.DataFrame) -> str:
    return "not trained in this study" if models.empty else f"{len(models)} models: no correlation"
