"""Figure 1 of the paper: its four questions in one picture, for the study at hand.

Drawn are the numbers of `chexlib.paper.figure_data.summary`, with 95 % intervals where the paper has one standard
deviation. Pretrained models are shown where the paper shows them, and models from random weights where a study has too
few.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chexlib.figures.scatter import legend_size, log_axis
from chexlib.figures.style import (
    FAINT,
    INIT_TITLES,
    INITS,
    INK,
    PAGE,
    WIDE,
    Mark,
    Plate,
    bottom_legend,
    exhibited,
    family_handles,
    family_mark,
    interval_handles,
    mark_style,
    plate,
    point,
)
from chexlib.paper import captions, figure_data, measures
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import with_interval

BAND = {"color": INK, "alpha": 0.1, "linewidth": 0, "zorder": 1}


@skips_missing
def figure1(results: Any) -> Plate | Note:
    """ImageNet accuracy, families, pretraining and truncation, a panel each; for a phone one above the other."""
    table = figure_data.summary(results)
    if table.empty:
        return Note(f"Study {results.name} trained too little for any panel of Figure 1.")
    inside = results.models.groupby("family")["in_paper"].any()
    apart = set(inside.index[~inside.astype(bool)])
    draw = partial(_draw, results, table, apart)
    return exhibited(f"{results.name}-figure1", draw, captions.figure1(results), table)


def _draw(results: Any, table: pd.DataFrame, apart: set[str], width: float) -> Plate:
    seeds = bool(table["low_seeds"].notna().any())
    handles = family_handles(list(table["family"].dropna().unique()), apart)
    handles += interval_handles() if seeds else []
    columns, legend = legend_size(handles, width)
    shape, height = ((2, 2), 5.4) if width == WIDE else ((4, 1), 10.4)
    with rc_context(PAGE):
        figure, grid = plate(*shape, height, results, legend, width=width)
        for axes, (panel, draw) in zip(grid.flat, PANELS.items(), strict=True):
            here = table[table["panel"] == panel]
            axes.set_title(f"{panel}   {_title(panel, here)}", color=INK)
            if here.empty:
                axes.text(0.5, 0.5, "not in this study", transform=axes.transAxes, ha="center", color=FAINT)
                axes.set(xticks=[], yticks=[])
            else:
                axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
                draw(axes, here, apart, seeds)
        bottom_legend(figure, handles, columns)
    return figure


def _accuracies(axes: Axes, table: pd.DataFrame, apart: set[str], seeds: bool) -> None:
    """Marks, and the straight line with its band."""
    line, models = table[table["model"] == "line"], table[table["model"] != "line"]
    if len(line):
        low, high = _widest(line)
        axes.fill_between(line["x"], low, high, **BAND)
        axes.plot(line["x"], line["value"], color=INK, linewidth=1.2, zorder=2.5)
    for model in models.itertuples():
        _mark(axes, model.x, model, family_mark(model.family), model.family in apart, seeds)
    axes.set(xlabel="ImageNet top-1 (%)", ylabel="mean AUC")


def _families(axes: Axes, table: pd.DataFrame, apart: set[str], seeds: bool) -> None:
    """A column a family: members from the smallest to the largest, and a bar at their mean with its interval."""
    for place, (family, rows) in enumerate(table.groupby("family", sort=False)):
        mean, members = rows[rows["model"] == "mean"].iloc[0], rows[rows["model"] != "mean"]
        low, high = _widest(mean)
        axes.fill_between([place - 0.36, place + 0.36], low, high, **BAND)
        axes.hlines(mean["value"], place - 0.36, place + 0.36, color=INK, linewidth=1.4)
        at = place + 0.5 * (np.arange(len(members)) - (len(members) - 1) / 2) / max(len(members) - 1, 1)
        for x, model in zip(at, members.itertuples(), strict=True):
            axes.plot(x, model.value, **_style(family, apart))
    axes.set(ylabel="mean AUC", xlabel="families, the highest mean first", xticks=[])
    axes.grid(axis="x", visible=False)


def _inits(axes: Axes, table: pd.DataFrame, apart: set[str], seeds: bool) -> None:
    """A thin line an architecture, from one init to the other; the means beside their ends."""
    models = table[table["model"] != "mean"].pivot(index="model", columns="init", values="value")
    axes.plot([0, 1], models[["random", "imagenet"]].T, color=FAINT, linewidth=0.8, alpha=0.7, zorder=1)
    for model in table[table["model"] != "mean"].itertuples():
        axes.plot(float(model.init == "imagenet"), model.value, **_style(model.family, apart, 5))
    means = table[table["model"] == "mean"].set_index("init")
    for x, init in ((-0.22, "random"), (1.22, "imagenet")):
        _mark(axes, x, means.loc[init], Mark(INK, INITS[init].marker), False, seeds, 9)
    axes.set(xlim=(-0.6, 1.6), xticks=[0, 1], ylabel="mean AUC")
    axes.set_xticklabels([INIT_TITLES["random"], INIT_TITLES["imagenet"]])
    axes.grid(axis="x", visible=False)


def _truncations(axes: Axes, table: pd.DataFrame, apart: set[str], seeds: bool) -> None:
    """A line an architecture, from the whole model (the dot) to its deepest truncation."""
    axes.axhspan(-measures.AUC_MARGIN, measures.AUC_MARGIN, **BAND)
    axes.axhline(0, color=INK, linewidth=1)
    whole = (table["x"] == 1).cumsum()
    for _, models in table.groupby(whole):
        axes.plot(
            models["x"], models["value"], color=family_mark(models["family"].iloc[0]).colour, linewidth=1, alpha=0.6
        )
        for model in models[models["x"] > 1].itertuples():
            _mark(axes, model.x, model, family_mark(model.family), model.family in apart, seeds)
    axes.plot(1, 0, marker="o", color=INK, markersize=5)  # all whole models
    log_axis(axes, table["x"])
    axes.set(xlabel="times smaller (log scale)", ylabel="change of mean AUC")


def _title(panel: str, table: pd.DataFrame) -> str:
    """What a panel shows: of which weights, and in c the mean of the paired differences."""
    name = {"a": "ImageNet accuracy", "b": "families", "c": "pretraining", "d": "truncation"}[panel]
    if table.empty:
        return name
    if panel != "c":
        return f"{name}, {INIT_TITLES[table['init'].iloc[0]]}"
    mean = table[table["init"] == "difference"].iloc[0]
    low, high = _widest(mean)
    return f"{name}: {with_interval(mean['value'], float(low), float(high), sign=True)}"


def _mark(axes: Axes, x: float, row: Any, mark: Mark, hollow: bool, seeds: bool, size: float = 7) -> None:
    """The mark of a row's value, with its intervals."""
    both = (row.low_seeds, row.high_seeds) if seeds else None
    point(axes, x, row.value, row.low, row.high, mark, hollow, size=size, seeds=both)


def _style(family: str, apart: set[str], size: float = 6) -> dict[str, Any]:
    """Of a family's mark without intervals."""
    mark = family_mark(family)
    return {"color": mark.colour, "zorder": 3, **mark_style(mark, family in apart, size)}


def _widest(rows: Any) -> tuple[Any, Any]:
    """The ends over patients and seeds, or over patients where these are not known; of a row, or of all rows."""
    over = pd.notna(rows["low_seeds"])
    return np.where(over, rows["low_seeds"], rows["low"]), np.where(over, rows["high_seeds"], rows["high"])


PANELS = {"a": _accuracies, "b": _families, "c": _inits, "d": _truncations}
