"""Names of points that never overlap: side by side in a lane above the axes, a dotted line from each to its point.

Points of one panel often lie so close that no name fits between them without covering an interval. Above the axes there
is nothing to cover. In the lane the names keep the order of their points from left to right, so no two leaders cross,
and each stands as near to its point as the others let it (least squares under the order: isotonic regression). They
stand upright where they do not fit lying. Nothing is random: the same figure has its names in the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from chexlib.figures.style import INK, PAGE, Mark, mark_style

SIZES = (8.5, 8, 7.5, 7, 6.5)
"""Of the names' type, in points: the largest at which they all fit; below the last, some are left out."""

FAN, MARK, BESIDE = 14, 4.6, {0: 7.0, 90: 2.0}
"""Points: height of the strip in which leaders turn, size of the mark that each name wears, and room between two names,
lying and upright."""


@dataclass(frozen=True)
class Named:
    """The points of one panel that have names: where each is, in data, with `top`, the upper end of its interval.

    A name wears its point's mark, small; `apart` marks are hollow.
    """

    axes: Axes
    x: NDArray
    top: NDArray
    names: Sequence[str]
    marks: Sequence[Mark]
    apart: Sequence[bool]


def name_points(figure: Figure, panels: Sequence[Named]) -> None:
    """Writes the names above each panel. The figure's layout is settled by this: nothing may be added after it.

    Where there are more names than fit at the smallest size, points at the highest and the lowest places keep theirs.
    """
    panels = [panel for panel in panels if len(panel.names)]
    figure.draw_without_rendering()  # how wide the panels are
    lanes = [_lane(figure, panel) for panel in panels]
    with rc_context(PAGE):
        for panel, lane in zip(panels, lanes, strict=True):
            height = max(text.get_window_extent().height for text in lane.values()) * 72 / figure.dpi
            title = panel.axes.get_title("left")
            panel.axes.set_title(title, loc="left", pad=FAN + 2 * MARK + height + 8, color=INK)
    figure.draw_without_rendering()  # how high they have become
    figure.set_layout_engine("none")
    for panel, lane in zip(panels, lanes, strict=True):
        _write(figure, panel, lane)


def spread(wanted: NDArray, sizes: NDArray, low: float, high: float) -> NDArray:
    """Centres (n,) of intervals of these sizes (n,), side by side between low and high, near the wanted ones (n,).

    wanted is ascending. The sum of squared moves is the least that the order allows; sizes that add up to more than
    high - low overhang.
    """
    from scipy.optimize import isotonic_regression

    packed = np.concatenate([[0.0], np.cumsum((sizes[:-1] + sizes[1:]) / 2)])  # centres, were there no room between
    first = isotonic_regression(wanted - packed).x
    return packed + np.clip(first, low + sizes[0] / 2, max(high - sizes[-1] / 2 - packed[-1], low + sizes[0] / 2))


def _lane(figure: Figure, panel: Named) -> dict[int, Text]:
    """The names as texts not yet placed, lying where they fit, else upright, by their point's place, in order of x."""
    order = [int(i) for i in np.lexsort((panel.top, panel.x))]
    room = panel.axes.get_window_extent().width
    for rotation, size in [(0, SIZES[0]), *((90, size) for size in SIZES)]:
        lane = {i: _text(figure, panel.names[i], size, rotation) for i in order}
        if _widths(lane, figure).sum() <= room:
            return lane
        for text in lane.values():
            text.remove()
    lane = {i: _text(figure, panel.names[i], SIZES[-1], 90) for i in order}
    fit = int(room // _widths(lane, figure).max())
    by_height = sorted(order, key=lambda i: panel.top[i])
    for i in by_height[fit // 2 : len(order) - (fit - fit // 2)]:
        lane.pop(i).remove()
    return lane


def _text(figure: Figure, name: str, size: float, rotation: int) -> Text:
    """A name, kept out of the layout."""
    text = figure.text(0, 0, name, fontsize=size, rotation=rotation, color=INK, va="bottom", ha="center")
    text.set_in_layout(False)
    return text


def _widths(lane: dict[int, Text], figure: Figure) -> NDArray:
    """Of the texts with the room beside them, in pixels."""
    room = [BESIDE[int(text.get_rotation())] * figure.dpi / 72 for text in lane.values()]
    return np.array([text.get_window_extent().width for text in lane.values()]) + room


def _write(figure: Figure, panel: Named, lane: dict[int, Text]) -> None:
    """Moves the texts to their places, and draws the leaders."""
    axes, point, places = panel.axes, figure.dpi / 72, list(lane)
    box, to_figure = axes.get_window_extent(), figure.transFigure.inverted()
    tips = axes.transData.transform(np.column_stack([panel.x[places], panel.top[places]]))  # (n, 2) pixels
    centres = spread(tips[:, 0], _widths(lane, figure), box.x0, box.x1)
    for (i, text), (x, y), centre in zip(lane.items(), tips, centres, strict=True):
        turn = box.y1 + FAN * point
        path = to_figure.transform([(x, y), (x, box.y1), (centre, turn), (centre, turn + 0.75 * MARK * point)])
        free = {"transform": figure.transFigure, "clip_on": False, "in_layout": False, "color": panel.marks[i].colour}
        axes.plot(*path[:3].T, linewidth=0.8, linestyle=(0, (1, 1.6)), alpha=0.7, zorder=1, **free)
        axes.plot(*path[3:].T, **mark_style(panel.marks[i], panel.apart[i], MARK), **free)
        text.set_position(to_figure.transform((centre, turn + 1.8 * MARK * point)))
