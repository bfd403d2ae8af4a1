"""What a page gets of a number, a table and a figure: its text, its data to be saved, and nothing from elsewhere."""

import re
from base64 import b64decode
from html import escape
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from myst_nb.core.variables import format_plain_text

from chexlib.results import Estimate
from chexpaper import plots
from chexpaper.display import csv, drawing, glue, show

NUMBERS = pd.DataFrame({"auc": [1 / 3, np.nan], "n": [3, 4]}, pd.Index(["ResNet18", "a, b"], name="model"))
CSV = 'model,auc,n\nResNet18,0.333333,3\n"a, b",,4\n'
ODD = 'A<b> & "C"'
TEXTS = {
    "0.50": "0.50",
    16: "16",
    np.float64(0.25): "0.25",
    Estimate(0.016, 0.01, 0.022, signed=True): "+0.016 (0.010 to 0.022)",
    Estimate(0.12): "0.120",
}


def contents(html: str) -> list[bytes]:
    """What the page's addresses hold, the image first; that all of them hold it themselves is a fact of its own."""
    found = [address.partition(",") for address in re.findall(r'\b(?:src|srcset|href)="([^"]*)"', html)]
    assert all(head.startswith("data:") for head, _, _ in found)
    return [b64decode(body) if head.endswith("base64") else unquote(body).encode() for head, _, body in found]


def drawn(names=("ResNet18", "B0")):
    table = pd.DataFrame({"value": [0.1, 0.2], "low": 0.0, "high": 0.3}, list(names))
    return plots.intervals(table, "Study demo on phantom images")


@pytest.mark.parametrize(("value", "text"), TEXTS.items(), ids=repr)
def test_a_sentence_gets_the_text_of_what_is_glued(value, text):
    InteractiveShell.instance()
    with capture_output() as captured:
        glue("boost", value)
    output = captured.outputs[0]
    assert output.metadata["scrapbook"]["name"] == "boost"
    assert format_plain_text(output.data["application/papermill.record/text/plain"], "") == text


def test_nothing_is_shown_as_one_line():
    for nothing in (None, NUMBERS.iloc[:0]):
        html = show(nothing, "A caption.", NUMBERS, "nothing")._repr_html_()
        assert re.findall(r"<(\w+)", html) == ["p"] and "A caption" not in html and "\n" not in html


def test_a_csv_has_six_digits_its_named_index_first_and_nothing_where_nothing_is_known():
    assert csv(NUMBERS) == CSV and csv(NUMBERS.rename_axis(None)) == "auc,n\n0.333333,3\n,4\n"


def test_a_drawing_is_saved_as_svg_beside_its_numbers_and_a_photograph_as_jpeg():
    html = show(drawn(), "Shares. Of all.", NUMBERS, "figure2")._repr_html_()
    svg = drawing(drawn(), "svg").replace(b'"', b"'")
    assert re.findall(r'download="([^"]*)"', html) == ["figure2.csv", "figure2.svg"] and 'alt="Shares"' in html
    assert contents(html) == [svg, CSV.encode(), svg]
    html = show(plots.plate([[np.zeros((8, 8), np.uint8)]], "Study"), "Caption.", None, "plate")._repr_html_()
    assert 'download="plate.jpg"' in html and {image[:3] for image in contents(html)} == {b"\xff\xd8\xff"}


def test_names_are_text_and_never_tags():
    html = show(NUMBERS.rename(index={"ResNet18": ODD}), ODD, NUMBERS, ODD)._repr_html_()
    html += show(drawn((ODD, "B0")), ODD)._repr_html_()
    assert "<b>" not in html and html.count("A&lt;b&gt; &amp; ") == 5
    assert f'download="{escape(ODD)}.csv"' in html and f'alt="{escape(ODD)}"' in html


def test_the_same_figure_is_the_same_file_and_needs_nothing_from_outside():
    figure = drawn((ODD, "B0"))
    assert drawing(figure, "svg") == drawing(figure, "svg") == drawing(drawn((ODD, "B0")), "svg")
    nodes = list(ElementTree.fromstring(drawing(figure, "svg")).iter())
    used = [value for node in nodes for name, value in node.attrib.items() if name.endswith("href")]
    assert used and set(used) <= {f"#{node.get('id')}" for node in nodes}
    assert not any(node.tag.endswith("}text") for node in nodes)  # letters are shapes: no reader lacks our font
