"""AUC, sensitivity and specificity by sex, age group and view of the test studies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chexlib.figures.style import FAINT, INK, RC, Mark, Plate, bottom_legend, plate, point
from chexlib.paper.groups import Group, groups
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.scored import scored

MEAN, BEST = Mark(INK, "o"), Mark("#0072B2", "D")
SENSITIVITY, SPECIFICITY = Mark("#D55E00", "^"), Mark("#009E73", "s")


@skips_missing
def by_group(results: Any) -> Plate | Note:
    """One row a group. Left the mean AUC, of all architectures and of the best; right sensitivity and specificity.

    Lines are 95 % over patients. Groups with too few studies of a label say so.
    """
    found = scored(results)
    if isinstance(found, Note):
        return Note("")  # `scored.about` has said why
    rows = groups(found)
    if not rows:
        return Note("Neither sex nor age nor view of the test studies is known: no groups to compare.")
    if not any(group.enough for group in rows):
        return Note("No group of the test studies has enough positive and negative ones: no figure of groups.")
    places = _places(rows)
    several = len(found.names) > 1
    with rc_context(RC):
        figure, grid = plate(
            1, 2, height=1.1 + 0.5 * len(rows), source=results, legend=0.52, sharey=True, width_ratios=(1, 1)
        )
        left, right = grid[0]
        for group, y in zip(rows, places, strict=True):
            if not group.enough:
                for axes in (left, right):
                    axes.text(0.5, y, "too few", transform=axes.get_yaxis_transform(), ha="center", va="center",
                              fontsize=9.5, color=FAINT)  # fmt: skip
                continue
            _mark(left, group.mean("auc"), y - 0.14 * several, MEAN)
            if several:
                _mark(left, group.of(found.best, "auc"), y + 0.14, BEST, apart=True)
            _mark(right, group.mean("sensitivity"), y - 0.14, SENSITIVITY)
            _mark(right, group.mean("specificity"), y + 0.14, SPECIFICITY)
        left.set_yticks(places, [f"{group.name} ({group.studies:,})" for group in rows])
        left.set_ylim(max(places) + 0.6, min(places) - 0.6)
        left.set_xlabel("mean AUC")
        right.set_xlabel("share called rightly")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
        name = found.names[found.best]
        handles = [_handle(MEAN, "mean over architectures" if several else name)]
        handles += [_handle(BEST, name, apart=True)] if several else []
        handles += [_handle(SENSITIVITY, "sensitivity"), _handle(SPECIFICITY, "specificity")]
        bottom_legend(figure, handles, 2)
    return figure


def _places(rows: list[Group]) -> list[float]:
    """Heights of the rows, with a gap between attributes."""
    breaks = np.cumsum([0, *(a.attribute != b.attribute for a, b in pairwise(rows))])
    return list(np.arange(len(rows)) + 0.5 * breaks)


def _mark(axes: Axes, found: Estimate, y: float, mark: Mark, apart: bool = False) -> None:
    if not np.isnan(found.value):
        point(axes, found.value, y, found.low, found.high, mark, apart=apart, vertical=False, size=6)


def _handle(mark: Mark, label: str, apart: bool = False) -> Line2D:
    face = "white" if apart else mark.colour
    return Line2D([], [], marker=mark.marker, color=mark.colour, markerfacecolor=face, linestyle="none", label=label)
