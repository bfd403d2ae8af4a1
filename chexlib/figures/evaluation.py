"""The plot of `chexlib evaluate`: every model's mean AUROC and each task's, with 95 % intervals; best mean on top."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator

from chexlib.evaluation.compare import MEAN, Evaluation
from chexlib.figures.style import INITS, INK, RC, Plate, plate, point

COLUMNS = 3


def evaluation(found: Evaluation) -> Plate:
    """One panel for the mean and one a task, a row a model in each, with one scale of AUROC for all."""
    panels = [MEAN, *found.tasks] if len(found.tasks) > 1 else list(found.tasks)
    columns, lines = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    order = found.ranked[::-1]
    table = found.table.set_index(["task", "model"])
    with rc_context(RC):
        figure, grid = plate(lines, columns, height=lines * (0.7 + 0.24 * len(order)), sharex=True, sharey=True)
        for axes, task in zip(grid.flat, panels, strict=False):
            for y, model in enumerate(order):
                row = table.loc[(task, model)]
                point(axes, row.auroc, y, row.low, row.high, INITS["imagenet"], vertical=False, size=6)
            axes.set_title(task, fontsize=10, color=INK, weight="bold" if task == MEAN else "normal")
            axes.set_yticks(range(len(order)), order)
            axes.set_ylim(-0.7, len(order) - 0.3)
            axes.grid(axis="y", visible=False)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.xaxis.set_tick_params(labelbottom=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("AUROC, 95 % interval over patients", fontsize=11)
        low, high = np.nanmin(found.table["low"]), np.nanmax(found.table["high"])
        grid[0, 0].set_xlim(low - 0.02, min(1.005, high + 0.02))
    return figure
