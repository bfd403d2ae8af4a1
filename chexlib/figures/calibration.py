"""Reliability diagrams: how often a finding is present among studies of about the same score."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.lines import Line2D

from chexlib.figures.style import FAINT, RC, Plate, bottom_legend, plate
from chexlib.paper.calibration import reliability as of_task
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.scored import scored

BEST, ALL = "#0072B2", "#E69F00"


@skips_missing
def reliability(results: Any) -> Plate | Note:
    """One panel a task: the best architecture's scores with 95 % intervals, and those of all architectures together."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")  # `scored.about` has said why
    columns = min(2, len(found.tasks))
    lines = -(-len(found.tasks) // columns)
    with rc_context(RC):
        figure, grid = plate(lines, columns, height=0.5 + 2.6 * lines, source=results, legend=0.52)
        for axes in grid.flat[len(found.tasks) :]:
            axes.set_visible(False)
        for t, (axes, task) in enumerate(zip(grid.flat, found.tasks, strict=False)):
            best, everyone = of_task(found, t)
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="dotted")
            if len(found.names) > 1:
                axes.plot(everyone.predicted, everyone.observed, color=ALL, linewidth=1.6, marker="s", markersize=3.5)
            ends = np.maximum([best.observed - best.low, best.high - best.observed], 0)
            axes.errorbar(
                best.predicted, best.observed, ends, color=BEST, marker="o", markersize=5, linewidth=1.4, elinewidth=1
            )
            axes.set_title(task)
            last = np.ceil(10 * max(best.predicted.max(), best.high.max(), everyone.predicted.max() + 0.01)) / 10
            axes.set(xlim=(0, last), ylim=(0, last))
            axes.locator_params(nbins=5)
        for axes in grid[-1]:
            axes.set_xlabel("mean score")
        for axes in grid[:, 0]:
            axes.set_ylabel("share present")
        name = f"{found.names[found.best]} (95 %, studies taken as independent)"
        handles = [Line2D([], [], color=BEST, marker="o", label=name)]
        if len(found.names) > 1:
            label = f"all {len(found.names)} architectures' scores together"
            handles.append(Line2D([], [], color=ALL, marker="s", markersize=3.5, label=label))
        bottom_legend(figure, handles, 1)
    return figure
