"""Errors that architectures share: by how many a case is misread, as observed and were errors independent."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chexlib.figures.style import INK, RC, Plate, bottom_legend, plate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.scored import scored
from chexlib.paper.shared_errors import shared

TITLES = {1.0: "findings that are present: missed", 0.0: "findings that are absent: called present"}
OBSERVED = "#56B4E9"


@skips_missing
def misread_by(results: Any) -> Plate | Note:
    """Share of cases (a study and a task) misread by 0, 1, ... architectures: bars observed, line if independent."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")  # `scored.about` has said why
    if len(found.names) < 2:
        return Note("One architecture shares its errors with none: no figure.")
    errors = [one for one in (shared(found, label) for label in TITLES) if one.n]
    if not errors:
        return Note("No threshold could be chosen on the validation studies: no figure of errors.")
    with rc_context(RC):
        figure, grid = plate(len(errors), 1, height=0.4 + 2.3 * len(errors), source=results, legend=0.26, sharex=True)
        for axes, one in zip(grid[:, 0], errors, strict=True):
            x = np.arange(len(one.observed))
            axes.bar(x, 100 * one.observed / one.n, width=0.8, color=OBSERVED)
            axes.plot(x, 100 * one.expected / one.n, color=INK, marker="o", markersize=3.5, linewidth=1.4)
            axes.set_title(f"{TITLES[one.label]} ({one.n:,} cases)")
            axes.set(ylabel="% of cases", xlim=(-0.6, len(x) - 0.4))
            axes.grid(axis="x", visible=False)
        last = len(found.names)
        axes.set_xticks(np.unique(np.linspace(0, last, min(last, 5) + 1).round().astype(int)))
        axes.set_xlabel(f"misread by so many of {len(found.names)} architectures")
        bottom_legend(
            figure,
            [
                Patch(color=OBSERVED, label="observed"),
                Line2D([], [], color=INK, marker="o", markersize=3.5, label="if errors were independent"),
            ],
        )
    return figure
