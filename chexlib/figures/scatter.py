"""Figures 2, 3 and 4 of the paper: ImageNet accuracy, size, and the pretraining boost, for the study at hand.

Full marks are the paper's architectures, which enter the rank correlations; hollow marks are others, shown beside them.
Vertical lines are 95 % intervals over patients; in Figure 4 thin ones, where there are any, are over patients and
seeds. Each function gives a figure, or a Note that says why there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from chexlib.figures.style import (
    INIT_TITLES,
    INK,
    RC,
    Plate,
    bottom_legend,
    family_handles,
    family_legend,
    family_mark,
    interval_handles,
    plate,
    point,
)
from chexlib.paper import measures
from chexlib.paper.measures import Correlation
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import number, p_value


@skips_missing
def figure2(results: Any) -> Plate | Note:
    """ImageNet top-1 accuracy against mean AUC, without pretraining (left) and with (right)."""
    return _two_inits(results, "top1", "ImageNet top-1 (%)", 1.0)


@skips_missing
def figure3(results: Any) -> Plate | Note:
    """Parameters (log scale) against mean AUC, without pretraining (left) and with (right)."""
    return _two_inits(results, "parameters", "parameters (M, log scale)", 1e-6, log=True)


@skips_missing
def figure4(results: Any) -> Plate | Note:
    """Parameters (log scale) against the pretraining boost, with paired intervals."""
    table = measures.boosts(results)
    if table.empty:
        return Note("No Figure 4 here: nothing was trained from both inits.")
    rho = measures.boost_correlation(results)
    shown = sorted(set(table["family"]))
    seeds = bool(table["low_seeds"].notna().any())
    handles = (family_handles(shown, _apart(table)) if len(shown) > 1 else []) + (interval_handles() if seeds else [])
    columns = 2 if seeds else 3
    with rc_context(RC):
        figure, grid = plate(height=3.5, source=results, legend=0.24 * -(-len(handles) // columns))
        axes = grid[0, 0]
        axes.axhline(0, color=INK, linewidth=1)
        for model in table.itertuples():
            point(
                axes,
                model.parameters / 1e6,
                model.boost,
                model.low,
                model.high,
                family_mark(model.family),
                apart=not model.in_paper,
                seeds=(model.low_seeds, model.high_seeds) if seeds else None,
            )
        _log_axis(axes, table["parameters"] / 1e6)
        axes.set(xlabel="parameters (millions, log scale)", ylabel="AUC with ImageNet weights\nminus without")
        axes.set_title(_rho_title(rho) or _mean_title(results), color=INK)
        if len(table) <= 4:
            _name_all(axes, table["parameters"] / 1e6, table["boost"], table["label"])
        if handles:
            bottom_legend(figure, handles, columns)
    return figure


def _two_inits(results: Any, column: str, xlabel: str, scale: float, log: bool = False) -> Plate | Note:
    """One panel an init, with one scale of AUC for both."""
    models = measures.rows(results).dropna(subset=[column, "auc"])
    if len(models) < 2:
        return Note(f"Study {results.name} trained {len(models)} whole architecture(s) so far: no figure.")
    shown = sorted(set(models["family"]))
    with rc_context(RC):
        figure, grid = plate(
            1, 2, height=3.5, source=results, legend=0.24 * -(-len(shown) // 3), sharex=True, sharey=True
        )
        for axes, init in zip(grid[0], ("random", "imagenet"), strict=True):
            here = models[models["init"] == init]
            rho = measures.correlation(results, column, init)
            for model in here.itertuples():
                point(
                    axes,
                    getattr(model, column) * scale,
                    model.auc,
                    model.low,
                    model.high,
                    family_mark(model.family),
                    apart=not model.in_paper,
                    size=7,
                )
            axes.set_title(f"{INIT_TITLES[init]}\n{_rho_title(rho) or _few(here)}", color=INK)
            axes.set_xlabel(xlabel)
            _name_ends(axes, here, column, scale)
        if log:
            _log_axis(grid[0, 0], models[column] * scale)
        grid[0, 0].set_ylabel("mean AUC (95 % over patients)")
        grid[0, 0].margins(x=0.14, y=0.1)
        family_legend(figure, shown, _apart(models))
    return figure


def _name_ends(axes: Axes, models: Any, column: str, scale: float) -> None:
    """Names of the best and the worst model of a panel, above and below their intervals: two labels cannot collide."""
    if len(models) < 2:
        return
    middle = (models[column].max() + models[column].min()) / 2
    for at, edge, offset, va in (
        (models["auc"].idxmax(), "high", 3, "bottom"),
        (models["auc"].idxmin(), "low", -3, "top"),
    ):
        model = models.loc[at]
        y = model["auc"] if np.isnan(model[edge]) else model[edge]
        axes.annotate(
            model["label"],
            (model[column] * scale, y),
            (0, offset),
            textcoords="offset points",
            va=va,
            ha="right" if model[column] > middle else "left",
            fontsize=9,
            color=INK,
        )


def _name_all(axes: Axes, x: Any, y: Any, labels: Any) -> None:
    """Names beside up to four points, which are so few that they find room."""
    axes.margins(x=0.3)
    for a, b, label in zip(x, y, labels, strict=True):
        axes.annotate(label, (a, b), (7, 5), textcoords="offset points", fontsize=9, color=INK)


def _log_axis(axes: Axes, x: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, 20, 50."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    span = max(x) / min(x)
    axes.set_xlim(min(x) / span**0.1 / 1.1, max(x) * span**0.1 * 1.1)
    every = (1, 2, 5) if span < 60 else (1, 10)
    ticks = [m * 10.0**e for e in range(-3, 4) for m in (every if span > 3 else (1, 2, 3, 4, 5, 6, 8))]
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _rho_title(found: Correlation | None) -> str:
    return "" if found is None else f"Spearman ρ = {number(found.rho, 2)} ({p_value(found.p)})"


def _mean_title(results: Any) -> str:
    found = measures.mean_boost(results)
    low, high = found.interval
    over = ", patients and seeds" if found.over_seeds else ""
    return f"mean boost {number(found.value, sign=True)} ({number(low, 3)} to {number(high, 3)}{over})"


def _few(models: Any) -> str:
    return "not trained in this study" if models.empty else f"{len(models)} models: no correlation"


def _apart(models: Any) -> set[str]:
    """Families of which no member is in the paper."""
    inside = models.groupby("family")["in_paper"].any()
    return set(inside.index[~inside.astype(bool)])
