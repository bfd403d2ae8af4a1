"""What a page shows with a figure or a table of the paper: its caption, and its data as a file.

All of it is inside the page: the files are data URIs, which a browser saves with no server and no script. They hold
numbers per model, never an image's label or score, so that any data set's terms allow them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import pandas as pd


@dataclass(frozen=True)
class Caption:
    """What is shown, how to read it, and what the intervals say, in plain sentences; `title` is "Figure 2"."""

    title: str
    shown: str
    read: str
    says: str

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.title}.", self.shown, self.read, self.says) if part)

    @property
    def html(self) -> str:
        """With the title in bold, and what the intervals say in a paragraph of its own."""
        first = escape(" ".join(part for part in (self.shown, self.read) if part))
        says = f"\n<p>{escape(self.says)}</p>" if self.says else ""
        return f"<p><strong>{escape(self.title)}.</strong> {first}</p>{says}"


@dataclass(frozen=True)
class File:
    """Something to be saved from a page: the word that is clicked, the file's name, and what is in it."""

    word: str
    name: str
    content: str | bytes

    @property
    def html(self) -> str:
        """A link that saves the file."""
        return f'<a download="{escape(self.name)}" href="{uri(self.name, self.content)}">{escape(self.word)}</a>'


KINDS = {"csv": "text/csv;charset=utf-8", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg"}


SAFE = "/:;=,()+@!$*?~-_.'"
"""Characters that an address in an attribute's double quotes, or in a srcset, can have."""


def uri(name: str, content: str | bytes) -> str:
    """The content as an address, without quotes, ampersands and blanks; its kind is what the name ends in."""
    kind = KINDS[name.rpartition(".")[2]]
    if isinstance(content, bytes):
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"
    if kind.startswith("image"):
        content = content.replace('"', "'")  # SVG is as good with either, and this one needs no escape
    return f"data:{kind},{quote(content, safe=SAFE)}"


def csv(numbers: pd.DataFrame) -> str:
    """The numbers with six digits; what is not known is left empty."""
    return numbers.to_csv(index=False, float_format="%.6g")


def framed(inside: str, caption: Caption, files: list[File]) -> str:
    """A <figure> of a picture or a table, its caption and its files."""
    links = " · ".join(file.html for file in files)
    return (
        f'<figure class="chexlib-figure">\n{inside}\n<figcaption>\n{caption.html}\n'
        f'<p class="files">Save: {links}</p>\n</figcaption>\n</figure>'
    )


class Printed(pd.DataFrame):
    """A table of texts in the paper's form, which shows itself with its caption and with its numbers as CSV.

    What is taken from it (a row, a column, a copy) is a plain DataFrame. `stem` is the file's name before the dot.
    """

    _metadata = ("caption", "numbers", "stem")  # pandas: attributes, not columns

    def _repr_html_(self) -> str:
        table = self.to_html(border=0, classes="paper")
        data = File("the numbers (CSV)", f"{self.stem}.csv", csv(self.numbers))
        return framed(f'<div class="scrolls">{table}</div>', self.caption, [data])


def printed(table: pd.DataFrame, caption: Caption, numbers: pd.DataFrame, stem: str) -> Printed:
    """A table of texts with its caption, and the numbers behind it."""
    shown = Printed(table)
    shown.caption, shown.numbers, shown.stem = caption, numbers, stem
    return shown
