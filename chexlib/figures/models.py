"""One row a model: all AUCs with their intervals, the sizes of each family, truncations, and learning curves.

Each function gives a figure, or a Note that says why there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from chexlib.figures.style import (
    FAMILIES,
    INIT_TITLES,
    INITS,
    INK,
    RC,
    Plate,
    bottom_legend,
    family_mark,
    interval_handles,
    plate,
    point,
)
from chexlib.paper import designs, measures
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.sentences import truncation


@skips_missing
def auc_by_model(results: Any) -> Plate | Note:
    """Mean AUC of every untruncated architecture, both inits in one row, with 95 % intervals; best at the top.

    Thick lines are over patients, thin ones over patients and seeds, where any model has several.
    """
    models = measures.rows(results).dropna(subset=["auc"])
    if models.empty:
        return Note(f"Study {results.name} has no finished run of a whole architecture: no figure.")
    order = models.groupby("label")["auc"].max().sort_values().index
    handles, seeds = _legend(models)
    with rc_context(RC):
        figure, grid = plate(height=1.0 + 0.27 * len(order), source=results, legend=0.26 * -(-len(handles) // 2))
        axes = grid[0, 0]
        for y, label in enumerate(order):
            here = models[models["label"] == label]
            for model in here.itertuples():
                shift = 0 if len(here) == 1 else {"random": -0.16, "imagenet": 0.16}.get(model.init, 0)
                _across(axes, model, "auc", y + shift, seeds)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(-0.7, len(order) - 0.3)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("mean AUC" if seeds else "mean AUC (95 % interval over patients)")
        bottom_legend(figure, handles, 2)
    return figure


@skips_missing
def families(results: Any, init: str = "random") -> Plate | Note:
    """AUC of each family's members, smallest to largest: one column a family, joined by a line."""
    table = designs.families(results, init)
    if table.empty:
        return Note(f"With {INIT_TITLES[init]}, no family has two sizes in this study: no figure.")
    models = measures.rows(results, init)
    names = sorted(table["family"], key=lambda f: list(FAMILIES).index(f) if f in FAMILIES else 99)
    with rc_context(RC):
        figure, grid = plate(height=3.6, source=results)
        axes, x, centres = grid[0, 0], 0.0, []
        for name in names:
            members = models[models["family"] == name].sort_values("parameters")
            at = x + np.arange(len(members))
            axes.plot(at, members["auc"], color=family_mark(name).colour, linewidth=1.4, alpha=0.6, zorder=1)
            for place, model in zip(at, members.itertuples(), strict=True):
                point(axes, place, model.auc, model.low, model.high, family_mark(name), apart=not model.in_paper)
            centres.append(at.mean())
            x = at[-1] + max(1.6, 3.2 - len(members) / 2)
        axes.set_xticks(centres, [name.replace("EfficientNet", "Efficient\nNet").replace("-", "\n") for name in names])
        axes.tick_params(axis="x", length=0, labelsize=9)
        axes.grid(axis="x", visible=False)
        axes.set(ylabel="mean AUC (95 % over patients)", xlabel="in each family from the smallest to the largest")
        axes.set_title(INIT_TITLES[init])
    return figure


@skips_missing
def truncations(results: Any) -> Plate | Note:
    """Change of the mean AUC by truncation with paired intervals, one row a model; lines as in auc_by_model."""
    table = designs.truncations(results)
    cut = table[table["minus"] > 0]
    if cut.empty:
        return truncation(results)
    handles, seeds = _legend(cut)
    names, places, at = [], {}, 0.0
    for _, members in cut[::-1].drop_duplicates("label").groupby("arch", sort=False):
        for model in members.sort_values("minus", ascending=False).itertuples():
            names.append(f"{model.label} ({model.times:.1f}×)")
            places[model.label] = at
            at += 1
        at += 0.5  # a gap between families
    with rc_context(RC):
        figure, grid = plate(height=1.0 + 0.27 * at, source=results, legend=0.26 * -(-len(handles) // 2))
        axes = grid[0, 0]
        axes.axvline(0, color=INK, linewidth=1)
        axes.axvspan(-measures.AUC_MARGIN, measures.AUC_MARGIN, color="#00000014", linewidth=0)
        for model in cut.itertuples():
            alone = (cut["label"] == model.label).sum() == 1
            shift = 0 if alone else {"random": -0.16, "imagenet": 0.16}.get(model.init, 0)
            _across(axes, model, "change", places[model.label] + shift, seeds)
        axes.set_yticks(list(places.values()), names)
        axes.set_ylim(-0.7, at - 0.8)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(f"AUC minus the whole model's (band: ±{measures.AUC_MARGIN:g})")
        bottom_legend(figure, handles, 2)
    return figure


@skips_missing
def learning_curves(results: Any, archs: list[str] | None = None) -> Plate | Note:
    """Mean validation AUC against epochs, one small panel an untruncated architecture, one line a run (seed)."""
    runs = results.runs[results.runs["minus"] == 0]
    runs = runs if archs is None else runs[runs["arch"].isin(archs)]
    curves = [(run, _curve(results, run)) for run in runs.itertuples()]
    curves = [(run, log) for run, log in curves if len(log)]
    if not curves:
        return Note("The runs at hand carry no log of their training: no learning curves.")
    labels = list(dict.fromkeys(run.label for run, _ in curves))
    columns = min(4, len(labels))
    lines = -(-len(labels) // columns)
    with rc_context(RC):
        figure, grid = plate(
            lines, columns, height=0.7 + 1.25 * lines, source=results, legend=0.26, sharex=True, sharey=True
        )
        panels = dict(zip(labels, grid.flat, strict=False))
        for axes in grid.flat[len(labels) :]:
            axes.set_visible(False)
        for run, log in curves:
            mark = INITS.get(run.init, INITS["random"])
            panels[run.label].plot(
                log["epoch"], log["auc"], color=mark.colour, marker=mark.marker, markersize=3.5, linewidth=1.2
            )
        for label, axes in panels.items():
            axes.set_title(label, fontsize=9, loc="center")
        for axes in list(panels.values())[-columns:]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_tick_params(labelbottom=True)
        figure.supylabel("mean validation AUC", fontsize=11)
        inits = [init for init in INITS if any(run.init == init for run, _ in curves)]
        bottom_legend(figure, [_handle(INITS[i], INIT_TITLES[i]) for i in inits])
    return figure


@skips_missing
def seeds(results: Any) -> Plate | Note:
    """Models trained from several seeds, one row each: every seed's AUC, their mean, and its two intervals."""
    table = results.seed_spread
    if not len(table):
        return Note("Every model was trained once: no figure of seeds.")
    models = results.models.loc[table.index]
    of_model = results.by_seed.set_index("model")["auc"]
    handles, _ = _legend(models)
    each = {"linestyle": "none", "marker": ".", "markersize": 7, "markeredgewidth": 0}
    handles.insert(-2, Line2D([], [], color=INK, label="one seed", **each))
    with rc_context(RC):
        figure, grid = plate(height=1.0 + 0.4 * len(table), source=results, legend=0.26 * -(-len(handles) // 2))
        axes = grid[0, 0]
        for y, model in enumerate(models[::-1].itertuples()):
            _across(axes, model, "auc", y + 0.12, True)
            auc = of_model[[model.Index]]
            axes.plot(auc, [y - 0.22] * len(auc), color=INITS.get(model.init, INITS["random"]).colour, **each)
        axes.set_yticks(range(len(models)), list(models["label"][::-1]))
        axes.set_ylim(-0.7, len(models) - 0.3)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("mean AUC")
        bottom_legend(figure, handles, 2)
    return figure


def _across(axes: Any, model: Any, column: str, y: float, seeds: bool) -> None:
    """One row's estimate with its interval; with both where `seeds`, thick and thin."""
    point(
        axes,
        getattr(model, column),
        y,
        model.low,
        model.high,
        INITS.get(model.init, INITS["random"]),
        vertical=False,
        size=6,
        seeds=(model.low_seeds, model.high_seeds) if seeds else None,
    )


def _legend(table: Any) -> tuple[list[Line2D], bool]:
    """The inits of a table's models and, where any of them has several seeds, what the lines mean; whether any has."""
    seeds = bool(table["low_seeds"].notna().any())
    inits = [_handle(INITS[init], INIT_TITLES[init]) for init in INITS if (table["init"] == init).any()]
    return inits + (interval_handles() if seeds else []), seeds


def _curve(results: Any, run: Any) -> Any:
    """Evaluations of a run with a known AUC: columns epoch, auc."""
    log = results.log(run.run_id)
    if not len(log) or "auc" not in log.columns:
        return log.iloc[:0]
    if "event" in log.columns:
        log = log[log["event"] == "eval"]
    return log.dropna(subset=["auc"])


def _handle(mark: Any, label: str) -> Line2D:
    return Line2D([], [], marker=mark.marker, color=mark.colour, linestyle="none", markersize=7, label=label)
