"""The runs of a study, one by one: a table, and a card for each with its curves and what made it.

Plain HTML and SVG, in the colours of the page around it: no script, no style of its own that a page would need, and
light enough for hundreds of evaluations of dozens of runs. All cards share their axes, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from chexlib.data.labels import TASKS
from chexlib.paper.notes import skips_missing
from chexlib.paper.runs import Told, told
from chexlib.paper.wording import number

LEFT, RIGHT, TOP, BOTTOM, WIDE, HIGH = 70, 580, 44, 244, 600, 290
"""Where the axes of a curve lie in its picture, and the picture's size: whole units, half a pixel on a phone."""


@dataclass(frozen=True)
class Page:
    """HTML that a notebook shows; `text` is for where there is none."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Axes:
    """What the ends of a picture's axes stand for."""

    epochs: float
    low: float
    high: float

    def points(self, epochs: np.ndarray, values: np.ndarray) -> list[tuple[int, int]]:
        """Where known values lie: x to the right, y down, whole units."""
        known = np.isfinite(values)
        x = LEFT + (RIGHT - LEFT) * epochs[known] / self.epochs
        y = BOTTOM - (BOTTOM - TOP) * (values[known] - self.low) / (self.high - self.low)
        return list(zip(x.round().astype(int).tolist(), y.round().astype(int).tolist(), strict=True))


@skips_missing
def run_table(results: Any) -> Page:
    """One row a run, its name leading to its card: how good it was, and what it took."""
    found = told(results)
    table = pd.DataFrame([run.row for run in found])
    table = table.loc[:, (table != "").any()]
    shown = table.map(escape)
    shown["Model"] = [
        f'<a href="#{escape(run.run_id)}">{name}</a>' for run, name in zip(found, shown["Model"], strict=True)
    ]
    shown = shown.set_index("Model").rename_axis(index=None, columns="Model")
    return Page(shown.to_html(border=0, escape=False, classes="runs"), table.to_string(index=False))


@skips_missing
def run_cards(results: Any) -> Page:
    """A card for each run, folded: its title, its curves, and all that is known of it; its id is the run's name."""
    found = told(results)
    axes = _shared_axes(found)
    cards = "\n".join(_card(run, axes) for run in found)
    text = "\n\n".join("\n".join([run.title, *(f"  {k}: {v}" for k, v in run.facts.items())]) for run in found)
    return Page(f'<div class="chexlib-runs">\n{cards}\n</div>', text)


def _shared_axes(found: list[Told]) -> dict[str, Axes]:
    """Of the pictures of loss and of AUC, from tenth to tenth."""
    epochs = float(max((run.epochs.max() for run in found if len(run.epochs)), default=1))
    values = {
        "loss": np.concatenate([[0.0], *(run.loss for run in found)]),
        "auc": np.concatenate([[0.5], *(auc for run in found for auc in run.auc.values())]),
    }
    ends = {name: (np.floor(10 * np.nanmin(v)), np.ceil(10 * np.nanmax(v))) for name, v in values.items()}
    return {name: Axes(epochs, low / 10, max(high, low + 1) / 10) for name, (low, high) in ends.items()}


def _card(run: Told, axes: Mapping[str, Axes]) -> str:
    facts = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in run.facts.items())
    return (
        f'<details class="run-card" id="{escape(run.run_id)}">\n<summary>{escape(run.title)}'
        f" <span>AUC {escape(run.facts['Test AUC'])}</span></summary>\n"
        f'<div class="curves">{_curves(run, axes)}</div>\n<dl>\n{facts}\n</dl>\n</details>'
    )


def _curves(run: Told, axes: Mapping[str, Axes]) -> str:
    """Loss, and validation AUC: the mean, ringed where its checkpoint is in the ensemble, before the faint tasks."""
    pictures = []
    if np.isfinite(run.loss).any():
        pictures.append(_picture("training loss", run.loss, axes["loss"], _line(run, run.loss, axes["loss"])))
    mean = run.auc["mean"]
    if np.isfinite(mean).any():
        lines = [_line(run, auc, axes["auc"], name) for name, auc in run.auc.items() if np.isfinite(auc).any()]
        rings = axes["auc"].points(run.epochs[run.chosen], mean[run.chosen])
        lines += [f'<circle cx="{x}" cy="{y}" r="7" stroke-width="3"/>' for x, y in rings]
        pictures.append(_picture("validation AUC", mean, axes["auc"], "".join(lines)))
    return "".join(pictures)


def _line(run: Told, values: np.ndarray, axes: Axes, name: str = "") -> str:
    """A line through the known values, a task's thin and faint; one alone is drawn twice: its round ends make a dot."""
    points = [f"{x},{y}" for x, y in axes.points(run.epochs, values)]
    points = points * 2 if len(points) == 1 else points
    look = 'stroke-width="2" stroke-opacity=".35"' if name in TASKS else 'stroke-width="4"'
    title = f"<title>{escape(name)} {_span(values)}</title>" if name else ""
    return f'<polyline points="{" ".join(points)}" {look}>{title}</polyline>'


def _picture(title: str, values: np.ndarray, axes: Axes, inside: str) -> str:
    """Axes with their ends written on them, and the lines; a dashed line lies where chance is, were it an AUC."""
    words = [
        (0, 22, "start", title),
        (LEFT - 8, TOP + 12, "end", f"{axes.high:.1f}"),
        (LEFT - 8, BOTTOM, "end", f"{axes.low:.1f}"),
        (LEFT, HIGH - 14, "middle", "0"),
        ((LEFT + RIGHT) // 2, HIGH - 14, "middle", "epoch"),
        (RIGHT, HIGH - 14, "end", f"{axes.epochs:g}"),
    ]
    texts = "".join(f'<text x="{x}" y="{y}" text-anchor="{at}">{escape(word)}</text>' for x, y, at, word in words)
    frame = f'<path d="M{LEFT},{TOP}V{BOTTOM}H{RIGHT}" stroke-opacity=".5"/>'
    if title.endswith("AUC") and axes.low < 0.5 < axes.high:
        [(_, y)] = axes.points(np.zeros(1), np.array([0.5]))
        frame += f'<path d="M{LEFT},{y}H{RIGHT}" stroke-opacity=".4" stroke-dasharray="6 8"/>'
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(title)} {_span(values)}" font-size="24" '
        f'fill="currentColor">{texts}<g fill="none" stroke="currentColor" stroke-linecap="round" '
        f'stroke-linejoin="round">{frame}{inside}</g></svg>\n'
    )


def _span(values: np.ndarray) -> str:
    """From the first known value to the last."""
    known = values[np.isfinite(values)]
    return f"from {number(known[0])} to {number(known[-1])}"
