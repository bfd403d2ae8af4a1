"""How a page shows a figure, a table and a number: with its caption, with its data to be saved, and said once.

A notebook makes the figure or the table and hands it to `show`; nothing here computes, and nothing here writes prose.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from html import escape
from io import BytesIO
from urllib.parse import quote

import myst_nb
import pandas as pd
from IPython.display import Markdown, display
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from chexlib import escape as plain

KINDS = {"csv": "text/csv;charset=utf-8", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg"}
SAFE = "/:;=,()+@!$*?~-_.'"
"""Characters that an address in an attribute's double quotes can have."""

IN_BOOK = "CHEXPAPER_BOOK"
"""Set where notebooks are executed for the book, whose sentences show what is glued; elsewhere the cell shows it."""


def glue(name: str, value: object) -> None:
    """Keeps a value for the book's sentences (`{glue:text}`); in JupyterLab the cell shows it.

    What is glued is its text, without quotes: an Estimate as "+0.016 (0.010 to 0.022)", or "0.120" with its last digit.
    """
    myst_nb.glue(name, str(value), display=False)
    if IN_BOOK not in os.environ:
        display(Markdown(plain.markdown(value)) if isinstance(value, str) else value)


def show(
    what: Figure | pd.DataFrame | None,
    caption: str,
    numbers: pd.DataFrame | None = None,
    name: str = "",
    why: str = "the study has no such networks",
) -> Shown:
    """A figure or a table with its caption; below it, links save the numbers (CSV) and the drawing.

    name: of the files, without a suffix. None, or a table without rows, is shown as a line that says `why` there is
    nothing.
    """
    return Shown(what, caption, numbers, name, why)


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """What `show` gives; a notebook displays it as HTML, or, where that cannot be, as PNG or text."""

    what: Figure | pd.DataFrame | None
    caption: str
    numbers: pd.DataFrame | None
    name: str
    why: str

    @property
    def empty(self) -> bool:
        return self.what is None or (isinstance(self.what, pd.DataFrame) and self.what.empty)

    def __repr__(self) -> str:
        return f"Nothing to show: {self.why}." if self.empty else self.caption

    def _repr_html_(self) -> str:
        if self.empty:
            return f'<p class="nothing {plain.NO_MATHJAX}">{escape(repr(self))}</p>'
        files = [] if self.numbers is None else [_link("numbers (CSV)", f"{self.name}.csv", csv(self.numbers))]
        if isinstance(self.what, pd.DataFrame):
            with pd.option_context("display.max_colwidth", None):  # no text is cut short
                table = self.what.to_html(border=0, classes="paper", na_rep="–", escape=True)
            inside = f'<div class="scrolls">{table}</div>'
        else:
            kind = "jpg" if has_images(self.what) else "svg"
            drawn = drawing(self.what, kind)
            alt = escape(self.caption.partition(". ")[0])
            inside = f'<img src="{_address(kind, drawn)}" alt="{alt}">'
            files += [_link(kind.upper() if kind == "svg" else "JPEG", f"{self.name}.{kind}", drawn)]
        saved = f'\n<p class="files">Save: {" · ".join(files)}</p>' if files else ""
        return (
            f'<figure class="chexlib-figure {plain.NO_MATHJAX}">\n{inside}\n<figcaption>\n'
            f"<p>{escape(self.caption)}</p>{saved}\n</figcaption>\n</figure>"
        )

    def _repr_png_(self) -> bytes | None:
        return drawing(self.what, "png") if isinstance(self.what, Figure) else None


def has_images(figure: Figure) -> bool:
    """Whether a figure holds images, so that a bitmap says more than a drawing."""
    return any(axes.get_images() for axes in figure.axes)


def drawing(figure: Figure, kind: str) -> bytes:
    """The figure as the content of a "svg", "png" or "jpg" file; the same figure is the same file, whenever written."""
    out = BytesIO()
    if kind == "svg":
        with rc_context({"svg.fonttype": "path", "svg.hashsalt": "chexlib"}):  # letters as shapes: no reader lacks them
            figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        return _compact(out.getvalue().decode()).encode()
    figure.savefig(out, format="png", bbox_inches="tight", metadata={"Software": None}, dpi=150)
    if kind == "png":
        return out.getvalue()
    jpeg = BytesIO()
    with Image.open(out) as image:
        image.convert("RGB").save(jpeg, format="jpeg", quality=90, subsampling=0, optimize=True)
    return jpeg.getvalue()


def csv(numbers: pd.DataFrame) -> str:
    """The numbers with six digits; what is not known is left empty. An index with a name is the first column."""
    return plain.csv(numbers, index=numbers.index.name is not None, float_format="%.6g")


def _compact(svg: str) -> str:
    """matplotlib's SVG at half its size: no metadata, no names of groups, few blanks, hundredths of a point."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<!DOCTYPE[^>]*>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("DejaVuSans-", "g")
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"\s*([A-Za-z])\s*", r"\1", path[0]), svg)
    svg = re.sub(r"([1-9]\d*\.\d\d)\d+", r"\1", svg)
    return re.sub(r">\s+<", "><", svg)


def _address(kind: str, content: bytes | str) -> str:
    """The content as an address, without quotes, ampersands and blanks."""
    if kind in ("png", "jpg"):
        return f"data:{KINDS[kind]};base64,{base64.b64encode(content).decode()}"
    text = content.decode() if isinstance(content, bytes) else content
    if kind == "svg":
        text = text.replace('"', "'")  # SVG is as good with either, and this one needs no escape
    return f"data:{KINDS[kind]},{quote(text, safe=SAFE)}"


def _link(word: str, name: str, content: bytes | str) -> str:
    """A link that saves the content under this name."""
    address = _address(name.rpartition(".")[2], content)
    return f'<a download="{escape(name)}" href="{address}">{escape(word)}</a>'
