"""Figures 1 to 4 as a page has them: names apart, told in grey, drawn for a phone, and their data what is drawn."""

import io
import re
from base64 import b64decode
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import combinations
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from chexlib import figures
from chexlib.errors import UserError
from chexlib.figures import names
from chexlib.figures.plate import FORMATS, PHONE, Plate, compact
from chexlib.figures.style import FAMILIES, NARROW, WIDE, family_mark, mark_style, plate
from tests.fabricated import fabricate

SCATTERS = ("figure2", "figure3", "figure4")
EXHIBITS = ("figure1", *SCATTERS)
PHONE_WIDTH = 328
"""CSS pixels: what the margins of a page leave of a window of 360."""


@cache
def crowded():
    """The paper's sixteen from both inits, all within 0.01 AUC, their intervals six times as long."""
    results, rng = fabricate("paper"), np.random.default_rng(7)
    keep = ((results.models["minus"] == 0) & results.models["in_paper"]).to_numpy()
    models = results.models[keep].copy()
    models["auc"] = 0.85 + rng.uniform(0, 0.01, len(models))
    replicates = models["auc"].to_numpy() + rng.normal(0, 0.015, (400, 1)) + rng.normal(0, 0.003, (400, len(models)))
    models["low"], models["high"] = np.percentile(replicates, [2.5, 97.5], axis=0)
    runs = results.runs[results.runs["model"].isin(models.index)]
    return replace(results, models=models, replicates=replicates, runs=runs)


@cache
def study(kind: str):
    return crowded() if kind == "crowded" else fabricate(kind)


@cache
def figure(name: str, kind: str, width: float = WIDE) -> Plate:
    if width == NARROW:
        return figure(name, kind).exhibit.narrow()
    return getattr(figures, name)(study(kind))


@cache
def page(name: str, kind: str) -> str:
    """A figure's HTML."""
    return figure(name, kind)._repr_html_()


def texts(drawn: Figure) -> list[Text]:
    """All that is written: ticks inside their axis, titles, names, legend, foot."""
    found = [text for legend in drawn.legends for text in legend.get_texts()] + list(drawn.texts)
    for axes in drawn.axes:
        found += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = axis.get_ticklabels()  # none where another panel has them
            found += [text for at, text in zip(axis.get_ticklocs(), labels) if low <= at <= high]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def marks(drawn: Figure) -> list[Bbox]:
    """Where every mark lies, data's and names' alike, with its edge."""
    boxes = []
    for line in (line for axes in drawn.axes for line in axes.lines if line.get_marker() not in ("None", "", None)):
        reach = (line.get_markersize() + line.get_markeredgewidth()) / 2 * drawn.dpi / 72
        for x, y in line.get_transform().transform(line.get_xydata()):
            boxes.append(Bbox([[x - reach, y - reach], [x + reach, y + reach]]))
    return boxes


def intervals(drawn: Figure) -> list[Bbox]:
    """Where every interval lies, with half a line's width at each side."""
    boxes = []
    for axes in drawn.axes:
        for lines in axes.collections:
            for segment in getattr(lines, "get_segments", list)():
                reach = lines.get_linewidth()[0] / 2 * drawn.dpi / 72
                (x0, y0), (x1, y1) = axes.transData.transform(segment)
                boxes.append(Bbox([[x0 - reach, min(y0, y1)], [x1 + reach, max(y0, y1)]]))
    return boxes


def overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 0.01 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.01


@pytest.mark.parametrize(("kind", "width"), [("crowded", WIDE), ("crowded", NARROW), ("seeds", WIDE), ("nih", NARROW)])
@pytest.mark.parametrize("name", EXHIBITS)
def test_no_text_lies_on_another_on_a_mark_or_on_an_interval(name, kind, width):
    drawn = figure(name, kind, width)
    drawn.draw_without_rendering()
    written = [(text.get_text(), text.get_window_extent()) for text in texts(drawn)]
    hits = [(a, b) for (a, box), (b, other) in combinations(written, 2) if overlap(box, other)]
    hits += [(a, "a mark") for a, box in written for other in marks(drawn) if overlap(box, other)]
    hits += [(a, "an interval") for a, box in written for other in intervals(drawn) if overlap(box, other)]
    assert hits == []
    assert len(marks(drawn)) >= 6 and (name == "figure1" or len(intervals(drawn)) >= 3)


def test_the_measures_find_an_overlap_where_there_is_one():
    drawn, [[axes]] = plate()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([0.5], [0.5], **mark_style(FAMILIES["ResNet"], False, 8))
    axes.errorbar([0.5], [0.5], yerr=[[0.2], [0.2]], fmt="none")
    on_mark, on_line = axes.text(0.5, 0.5, "name"), axes.text(0.5, 0.65, "name", ha="center")
    drawn.draw_without_rendering()
    assert overlap(on_mark.get_window_extent(), marks(drawn)[0])
    assert overlap(on_line.get_window_extent(), intervals(drawn)[0])
    assert not overlap(on_line.get_window_extent(), marks(drawn)[0])


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", SCATTERS)
def test_every_architecture_is_named_once_a_panel(name, width):
    written = [text.get_text() for text in figure(name, "crowded", width).texts]
    panels = 1 if name == "figure4" else 2
    assert {written.count(label) for label in crowded().models["label"]} == {panels}


@pytest.mark.parametrize("name", EXHIBITS)
def test_everything_lies_inside_the_picture(name):
    for kind, width in (("seeds", WIDE), ("crowded", NARROW)):
        drawn = figure(name, kind, width)
        drawn.draw_without_rendering()
        for text in texts(drawn):
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= drawn.bbox.width and box.y0 >= 0 and box.y1 <= drawn.bbox.height


@pytest.mark.parametrize("name", EXHIBITS)
def test_letters_are_large_enough_on_a_phone(name):
    drawn = figure(name, "crowded", NARROW)
    assert drawn.get_figwidth() == NARROW
    shown = [text.get_fontsize() / 72 * PHONE_WIDTH / NARROW for text in texts(drawn)]  # CSS pixels
    assert min(shown) >= 9


def test_names_stand_in_the_order_of_their_points_and_no_leaders_cross():
    drawn = figure("figure2", "crowded")
    axes = drawn.axes[0]
    leaders = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(leaders) == 16
    foot, head = (np.array([line[place, 0] for line in leaders]) for place in (0, 2))
    assert (np.diff(head[np.argsort(foot, kind="stable")]) > 0).all()


def test_more_names_than_fit_leave_out_those_in_the_middle():
    drawn, [[axes]] = plate(width=NARROW)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, 80), rng.permutation(80) / 80
    axes.plot(x, y, "o", markersize=2)
    given = [f"Architecture{i}" for i in range(80)]
    named = names.Named(axes, x, y, given, [FAMILIES["ResNet"]] * 80, [False] * 80)
    names.name_points(drawn, [named])
    shown = [text for text in drawn.texts if text.get_text() in given]
    assert 20 < len(shown) < 80
    assert {given[y.argmax()], given[y.argmin()]} <= {text.get_text() for text in shown}
    assert given[int(np.argsort(y)[40])] not in {text.get_text() for text in shown}
    boxes = [text.get_window_extent() for text in shown]
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))


def test_spread_moves_nothing_that_has_room():
    wanted = np.array([10.0, 30.0, 70.0])
    np.testing.assert_allclose(names.spread(wanted, np.full(3, 8.0), 0, 100), wanted)


def test_spread_puts_equal_wishes_side_by_side_around_them():
    np.testing.assert_allclose(names.spread(np.full(3, 50.0), np.array([10.0, 20, 10]), 0, 100), [35, 50, 65])


@pytest.mark.parametrize("seed", range(5))
def test_spread_keeps_sizes_apart_and_inside(seed):
    rng = np.random.default_rng(seed)
    wanted, sizes = np.sort(rng.uniform(0, 100, 12)), rng.uniform(3, 8, 12)
    at = names.spread(wanted, sizes, 0, 100)
    assert (np.diff(at) >= (sizes[:-1] + sizes[1:]) / 2 - 1e-9).all()
    assert at[0] - sizes[0] / 2 >= -1e-9 and at[-1] + sizes[-1] / 2 <= 100 + 1e-9


def silhouette(mark, apart: bool = False) -> np.ndarray:
    """A mark as it is seen in grey, at the size at which figures draw it: darkness in 0 to 1, (h, w)."""
    drawn = Plate(figsize=(0.2, 0.2), dpi=200)
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot([0], [0], color="black", **mark_style(replace(mark, colour="#777777"), apart, 7))
    out = io.BytesIO()
    drawn.savefig(out, format="png")
    return 1 - np.asarray(Image.open(out).convert("L")) / 255


def test_families_are_told_by_shape_alone():
    """All in one grey: what two marks do not share is at least a tenth of what either covers."""
    seen = {family: silhouette(mark) for family, mark in FAMILIES.items()}
    for (a, one), (b, other) in combinations(seen.items(), 2):
        differ = np.abs(one - other).sum() / np.maximum(one, other).sum()
        assert differ > 0.1, (a, b)
    assert np.abs(silhouette(FAMILIES["ResNet"]) - silhouette(FAMILIES["ResNet"], apart=True)).sum() > 50


class Links(HTMLParser):
    """The images, sources and links of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def content(address: str) -> bytes:
    """What a data URI holds."""
    head, _, body = address.partition(",")
    return b64decode(body) if head.endswith(";base64") else unquote(body).encode()


def saved(name: str, kind: str) -> pd.DataFrame:
    """The CSV that a page offers with a figure."""
    [link] = [a for a in Links(page(name, kind)).of("a") if a["download"].endswith(".csv")]
    return pd.read_csv(io.BytesIO(content(link["href"])))


def points(axes) -> np.ndarray:
    """Where data's marks are drawn, and the ends of their intervals, (n, 2)."""
    found = []
    for line in (line for line in axes.lines if line.get_marker() not in ("None", "", None)):
        if line.get_transform() == axes.transData:
            found += list(line.get_xydata())
    for lines in axes.collections:
        for segment in getattr(lines, "get_segments", list)():
            found += list(segment)
    return np.array(found)


def all_among(some: np.ndarray, others: np.ndarray) -> bool:
    """Whether each of (n, 2) is one of (m, 2), but for the digits that a CSV leaves out."""
    return bool(np.isclose(some[:, None], others[None], rtol=1e-5, atol=1e-9).all(axis=2).any(axis=1).all())


@pytest.mark.parametrize(
    ("name", "kind", "x", "scale", "y"),
    [
        ("figure2", "seeds", "top1", 1, "auc"),
        ("figure3", "nih", "parameters", 1e-6, "auc"),
        ("figure4", "seeds", "parameters", 1e-6, "boost"),
    ],
)
def test_the_csv_holds_the_numbers_drawn_and_no_others(name, kind, x, scale, y):
    drawn = figure(name, kind)
    table = saved(name, kind)
    for i, axes in enumerate(drawn.axes):
        here = table if name == "figure4" else table[table["init"] == ("random", "imagenet")[i]]
        ends = [y, "low", "high", "low_seeds", "high_seeds"]
        expected = [(row[x] * scale, row[end]) for _, row in here.iterrows() for end in ends if row[end] == row[end]]
        expected = np.array(expected)
        assert len(expected) and all_among(expected, points(axes)) and all_among(points(axes), expected)


def test_the_csv_of_figure_1_holds_what_its_panels_draw():
    drawn = figure("figure1", "seeds")
    table = saved("figure1", "seeds")
    assert list(table["panel"].unique()) == ["a", "b", "c", "d"]
    for axes, (panel, rows) in zip(drawn.axes, table.groupby("panel"), strict=True):
        values = np.concatenate([np.atleast_1d(line.get_ydata()) for line in axes.lines]).astype(float)
        shown = rows[(rows["init"] != "difference") & ~((panel == "b") & (rows["model"] == "mean"))]
        assert np.isclose(shown["value"].to_numpy()[:, None], values, rtol=1e-5, atol=1e-9).any(axis=1).all(), panel
    whole = study("seeds").models.query("minus == 0 and init == 'random'").groupby("family")["auc"].mean()
    means = table[(table["panel"] == "b") & (table["model"] == "mean")].set_index("family")["value"]
    np.testing.assert_allclose(means, whole[means.index], rtol=1e-5)
    difference = table[table["init"] == "difference"].iloc[0]
    ends = table[(table["panel"] == "c") & (table["model"] == "mean")].set_index("init")["value"]
    assert difference["value"] == pytest.approx(ends["imagenet"] - ends["random"], abs=2e-6)


def test_the_line_of_figure_1_is_that_of_least_squares():
    results = study("seeds")
    table = figure("figure1", "seeds").exhibit.numbers.query("panel == 'a'")
    line, models = (
        table[table["model"] == "line"],
        results.models.query("minus == 0 and init == 'imagenet' and in_paper"),
    )
    slope, start = np.polyfit(models["top1"].astype(float), models["auc"], 1)
    np.testing.assert_allclose(line["value"], start + slope * line["x"].astype(float))
    assert (line["low"] < line["value"]).all() and (line["value"] < line["high"]).all()


@pytest.mark.parametrize("name", EXHIBITS)
def test_a_pages_figure_is_whole_without_a_server(name):
    drawn = figure(name, "seeds")
    html = page(name, "seeds")
    links = Links(html)
    [image], [source] = links.of("img"), links.of("source")
    assert source["media"] == PHONE and not re.search(r"\s", source["srcset"])
    assert len(image["alt"]) > 20 and image["alt"] in str(drawn.exhibit.caption)
    assert {a["download"].rpartition(".")[2] for a in links.of("a")} == {"csv", "svg", "png"}
    addresses = [image["src"], source["srcset"], *(a["href"] for a in links.of("a"))]
    assert all(address.startswith("data:") for address in addresses) and "<script" not in html
    wide, narrow = (ElementTree.fromstring(content(address)) for address in (image["src"], source["srcset"]))
    assert float(wide.get("width").removesuffix("pt")) > 1.8 * float(narrow.get("width").removesuffix("pt"))
    [png] = [content(a["href"]) for a in links.of("a") if a["download"].endswith(".png")]
    assert Image.open(io.BytesIO(png)).width > 1000


@pytest.mark.parametrize("name", EXHIBITS)
def test_drawings_are_small_well_formed_and_need_nothing_from_outside(name):
    links = Links(page(name, "seeds"))
    for svg in (content(links.of("img")[0]["src"]), content(links.of("source")[0]["srcset"])):
        assert len(svg) < 200_000
        root = ElementTree.fromstring(svg)
        used = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
        ids = {node.get("id") for node in root.iter()}
        assert used and all(value.startswith("#") and value[1:] in ids for value in used)
        assert "<text" not in svg.decode()  # letters are shapes: names keep their places without our font


def test_the_same_figure_is_the_same_file():
    for suffix in FORMATS:
        assert figure("figure4", "nih").written(suffix) == figures.figure4(study("nih")).written(suffix)


def test_a_compact_drawing_keeps_its_shapes():
    path = '<path d="M 0.015625 10.123456 \nL -3 4 \nz\n" style="fill: #fff; x: y"/>'
    svg = f'<svg>\n <!-- 2 -->\n <g id="a">\n  {path}\n </g>\n</svg>'
    assert compact(svg) == '<svg><g><path d="M0.015625 10.12L-3 4z" style="fill:#fff;x:y"/></g></svg>'


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")])
def test_figures_are_saved_as_their_names_say(tmp_path, suffix, start):
    path = tmp_path / f"figure{suffix}"
    figure("figure4", "nih").save(path)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["figure.jpg", "figure", "no/such/folder/figure.png"])
def test_what_cannot_be_saved_is_one_clear_line(tmp_path, name):
    with pytest.raises(UserError, match=r"give a name that ends in|choose another place") as error:
        figure("figure4", "nih").save(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_figure_without_a_caption_shows_itself_as_a_bitmap_alone():
    assert figures.auc_by_model(study("nih"))._repr_html_() is None


def test_other_families_keep_their_marks():
    assert family_mark("ConvNeXt") == family_mark("ConvNeXt") and family_mark("ConvNeXt") not in FAMILIES.values()
