"""Figures draw what their tables hold, where it belongs, with names that can be read."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from chexlib.models.zoo import ARCHITECTURES
from chexpaper import plots
from chexpaper.display import drawing


@pytest.fixture
def table():
    """The paper's sixteen within 0.01 AUC, from two inits; ResNet18 is hollow."""
    paper = [row for row in ARCHITECTURES.values() if row.in_paper]
    table = pd.DataFrame([(row.label(0), row.family, row.top1) for row in paper], columns=["label", "family", "top1"])
    table = pd.concat([table.assign(init="random"), table.assign(init="imagenet")], ignore_index=True)
    auc = 0.85 + np.random.default_rng(0).uniform(0, 0.01, len(table))
    return table.assign(auc=auc, low=auc - 0.02, high=auc + 0.03, in_paper=table["label"] != "ResNet18")


def dots(axis):
    return [line for line in axis.lines if len(line.get_xdata()) == 1]


def lines(axis):
    return [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_color() != plots.INK]


def test_points_lie_at_their_values_with_their_intervals_and_hollow_outside_the_paper(table):
    figure = plots.scatter(table, "top1", "auc", "Study", panels="init")
    assert len({axis.get_xlim() for axis in figure.axes}) == len({axis.get_ylim() for axis in figure.axes}) == 1
    for axis, (_, its) in zip(figure.axes, table.groupby("init", sort=False), strict=True):
        assert [tuple(line.get_xydata()[0]) for line in dots(axis)] == list(zip(its["top1"], its["auc"], strict=True))
        assert [tuple(line.get_ydata()) for line in lines(axis)] == list(zip(its["low"], its["high"], strict=True))
        assert [line.get_color() for line in lines(axis)] == [plots.FAMILIES[name].colour for name in its["family"]]
        assert [line.get_markerfacecolor() == "white" for line in dots(axis)] == list(~its["in_paper"])


def test_names_stay_readable_among_sixteen_close_points(table):
    figure, again = (plots.scatter(table.iloc[:16], "top1", "auc", "Study") for _ in range(2))
    assert drawing(figure, "svg") == drawing(again, "svg")  # names find the same places
    names = [text for text in figure.axes[0].texts if text.get_text()]
    assert [text.get_text() for text in names] == list(table["label"].iloc[:16])
    assert sum(a.overlaps(b) for a, b in combinations([text.get_window_extent() for text in names], 2)) <= 1


def test_phantoms_are_told_at_the_head_in_bold():
    for caption, weight in (("On phantom images", "bold"), ("On NIH ChestX-ray14", "normal")):
        figure, [[axis]] = plots.sheet(caption)
        figure.draw_without_rendering()
        [head] = [text for text in figure.texts if text.get_text() == caption]
        assert head.get_weight() == weight and head.get_window_extent().y0 >= axis.get_tightbbox().y1


def test_a_row_a_number_from_the_top_in_the_tables_order_and_a_band_of_the_margin():
    table = pd.DataFrame({"value": [0.02, -0.03, 0.0], "low": [0.01, -0.04, np.nan], "high": [0.03, -0.01, np.nan]})
    figure = plots.intervals(table.set_axis(["b", "a", "c"]), "Study", band=0.015)
    [axis] = figure.axes
    assert axis.yaxis_inverted() and [text.get_text() for text in axis.get_yticklabels()] == ["b", "a", "c"]
    assert [tuple(line.get_xydata()[0]) for line in dots(axis)] == [(0.02, 0), (-0.03, 1), (0.0, 2)]
    assert [tuple(line.get_xdata()) for line in lines(axis)] == [(0.01, 0.03), (-0.04, -0.01)]  # none where unknown
    assert [tuple(band.get_bbox().intervalx) for band in axis.patches] == [(-0.015, 0.015)]


def test_a_curve_a_run_and_a_panel_an_architecture():
    table = pd.DataFrame({"x": [1, 2] * 3, "y": range(6), "run": list("aabbcc"), "arch": list("RRRRDD")})
    figure = plots.curves(table.assign(init="random"), "x", "y", "Study", line="run", mark="init", panels="arch")
    drawn = {axis.get_title("left"): [list(line.get_ydata()) for line in axis.lines] for axis in figure.axes}
    assert drawn == {"R": [[0, 1], [2, 3]], "D": [[4, 5]]}


def test_maps_are_drawn_at_their_own_size_over_the_whole_image():
    figure = plots.plate([[np.zeros((32, 48), np.uint8), None]], "Study", maps=[[np.eye(3), None]])
    image, shown = figure.axes[0].get_images()
    assert np.array_equal(shown.get_array(), np.eye(3)) and shown.get_interpolation() == "nearest"
    assert shown.get_extent() == image.get_extent() == [0, 48, 32, 0] and not figure.axes[1].get_images()


def test_every_family_of_the_zoo_has_a_colour_and_a_marker_of_its_own():
    assert {row.family for row in ARCHITECTURES.values()} <= set(plots.FAMILIES)
    assert [len(set(told_by)) for told_by in zip(*plots.FAMILIES.values(), strict=True)] == [len(plots.FAMILIES)] * 2
