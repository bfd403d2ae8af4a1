"""Texts of others are shown as they are, and never obeyed: by a page, a notebook, TeX, or a spreadsheet."""

import io
import re
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from chexlib.cli import main
from chexlib.escape import csv, markdown
from chexlib.results import Estimate, open_results
from chexpaper import plots
from chexpaper.display import drawing, show
from chexpaper.widgets import Explorer
from chexpaper.widgets.page import page_html
from tests.made_runs import make_store, study_file

ODD = "<b onclick='x'>$\\frac$ [a](b) *c* `d` &lt; \"q\" <script> --> \\(e\\)"
"""A name that is a tag, a formula that TeX cannot read, a link, code, an entity, and the end of a comment."""


class Tags(HTMLParser):
    """The tags and the text of a page, the text that MathJax would look at apart."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.open, self.text, self.typeset = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in ("img", "br"):
            self.open.append("mathjax_ignore" in (dict(attributes).get("class") or ""))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)
        if not any(self.open):
            self.typeset.append(data)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    path = study_file(folder).rename(folder / f"{ODD.replace('/', '')}.yaml")
    return open_results(path, make_store(folder / "runs", path).folder, replicates=20)


def test_a_page_shows_the_name_of_a_study_and_obeys_nothing_in_it(results):
    table = pd.DataFrame({ODD: [ODD]}, index=pd.Index([ODD], name=ODD))
    row = {"value": 1.0, "low": 0.5, "high": 1.5}
    figure = plots.intervals(pd.DataFrame([row], index=[ODD]), results.caption, xlabel=ODD)
    for what, where in ((table, ODD), (figure, ODD), (None, ODD)):
        page = Tags(show(what, f"{results.caption}. {ODD}", table, ODD, f"{where} lacks it")._repr_html_())
        assert not {"b", "script"} & page.tags and ODD in "".join(page.text)
        assert not page.typeset
    page = Tags(Explorer(results)._repr_mimebundle_()[0]["text/html"])
    assert "b" not in page.tags and not page.typeset
    assert Tags(page_html("", "", {"caption": ODD})).tags == {"div", "noscript", "p", "style", "script"}
    assert b"<script" not in drawing(figure, "svg") and drawing(figure, "png")


@pytest.mark.parametrize("estimate", [
    Estimate(missing=ODD), Estimate(0.1, 0.0, 0.2, few=ODD), Estimate(0.1, 0.0, 0.2, over=ODD)
])  # fmt: skip
def test_a_notebook_shows_the_name_of_a_study_and_obeys_nothing_in_it(estimate):
    html = MarkdownIt("commonmark", {"html": True}).render(estimate._repr_markdown_())
    assert Tags(html).tags <= {"p", "strong", "em"}
    assert ODD in unescape(re.sub(r"</?(p|strong|em)>", "", html))
    assert re.findall(r"(?<!\\\\)\\$", markdown(ODD)) == []


def test_a_spreadsheet_computes_no_text_and_gets_every_number():
    texts = ["=1+1", "+1+1", "-1+1", "@x", "\t=1", "-0.5", "+3", "a=b", "", "-inf"]
    table = pd.DataFrame({"=x": texts, "n": [-1.5, *range(9)]}, index=pd.Index(texts, name="-name"))
    shown = pd.read_csv(io.StringIO(csv(table)), dtype=str, keep_default_na=False)
    assert list(shown) == ["'-name", "'=x", "n"]
    assert list(shown["'=x"]) == list(shown["'-name"]) == [f"'{text}" for text in texts[:5]] + texts[5:]
    assert shown["n"].astype(float).tolist() == table["n"].tolist()
    assert table["=x"].tolist() == texts


def test_every_csv_that_is_written_keeps_formulas_from_spreadsheets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [f"s{n}" for n in range(40)]
    pd.DataFrame({"Study": names, "Edema": [0, 1] * 20}).to_csv("truth.csv", index=False)
    pd.DataFrame({"Study": names, "Edema": [0.1, 0.2] * 20}).to_csv("=1+1.csv", index=False)
    command = ["evaluate", "=1+1.csv", "--truth", "truth.csv", "--draws", "20", "--csv"]
    assert main([*command, "--plot", "a.svg"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert set(table["model"]) == {"'=1+1"}
    (tmp_path / "=1+1.csv").rename(tmp_path / "$\\frac$.csv")
    assert main(["evaluate", "$\\frac$.csv", *command[2:], "--plot", "b.svg"]) == 0
