"""A figure that shows itself in a notebook and in a page, and that is written as a bitmap or as a drawing.

A figure in the paper's form is an exhibit, too: a page shows it as a vector drawing, laid out once for a screen and
once for a phone, with its caption, and with its data to be saved.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from chexlib.errors import UserError
from chexlib.paper.exhibits import Caption, File, csv, framed, uri

PHONE = "(max-width: 40rem)"
"""Of the window, in CSS: where the layout for a phone is shown."""

FORMATS = {
    ".png": {},
    ".svg": {"svg.fonttype": "path", "svg.hashsalt": "chexlib"},  # letters as shapes: no reader lacks the font
    ".pdf": {"pdf.fonttype": 42},
}
"""What a figure can be written as, and matplotlib's settings for it."""

UNDATED = {".png": {}, ".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None}}
"""The same figure is the same file, whenever it is written."""


@dataclass(frozen=True)
class Exhibit:
    """What a figure in the paper's form has beside it: its files' stem, caption, data, and a phone's layout.

    `bitmap` is for figures of images: a page shows JPEGs in place of drawings, and offers a PNG with all its colours.
    """

    stem: str
    caption: Caption
    numbers: pd.DataFrame
    narrow: Callable[[], Plate]
    bitmap: bool = False


def compact(svg: str) -> str:
    """matplotlib's SVG at half its size: no metadata, no names of groups, few blanks, hundredths of a point."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<!DOCTYPE[^>]*>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("DejaVuSans-", "g")
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"\s*([A-Za-z])\s*", r"\1", path[0]), svg)
    svg = re.sub(r'(?<= style=")[^"]*', lambda style: re.sub(r"\s*([;:])\s*", r"\1", style[0]), svg)
    svg = re.sub(r"([1-9]\d*\.\d\d)\d+", r"\1", svg)
    return re.sub(r">\s+<", "><", svg)


def few_colours(png: BytesIO) -> bytes:
    """A PNG of 256 colours, which are enough for a drawing: a third of the bytes."""
    out = BytesIO()
    with Image.open(png) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, format="png", optimize=True)
    return out.getvalue()


class Plate(Figure):
    """A matplotlib Figure that shows itself wherever a notebook displays it: as PNG, an exhibit as HTML, too."""

    exhibit: Exhibit | None = None

    def _repr_png_(self) -> bytes:
        return self.written(".png")

    def _repr_html_(self) -> str | None:
        if self.exhibit is None:
            return None  # a notebook then takes the PNG
        stem, caption = self.exhibit.stem, self.exhibit.caption
        kind = ".jpg" if self.exhibit.bitmap else ".svg"
        wide, narrow = (_shown(figure, kind) for figure in (self, self.exhibit.narrow()))
        picture = (
            f'<picture><source media="{PHONE}" srcset="{uri("narrow" + kind, narrow)}">'
            f'<img src="{uri("wide" + kind, wide)}" alt="{escape(caption.shown)}"></picture>'
        )
        files = [File("the numbers (CSV)", f"{stem}.csv", csv(self.exhibit.numbers))]
        files += [] if self.exhibit.bitmap else [File("SVG", f"{stem}.svg", wide)]
        files.append(File("PNG", f"{stem}.png", self.written(".png")))
        return framed(picture, caption, files)

    def written(self, suffix: str) -> bytes:
        """The figure as the content of a file with this suffix, one of FORMATS."""
        out = BytesIO()
        with rc_context(FORMATS[suffix]):
            self.savefig(out, format=suffix[1:], bbox_inches="tight", metadata=UNDATED[suffix])
        if suffix == ".svg":
            return compact(out.getvalue().decode()).encode()
        drawing = self.exhibit is not None and not self.exhibit.bitmap
        return few_colours(out) if suffix == ".png" and drawing else out.getvalue()

    def save(self, path: str | Path) -> None:
        """Writes a PNG, an SVG or a PDF, as the name says. Raises UserError where it cannot, or for another name."""
        path = Path(path).expanduser()
        if path.suffix.lower() not in FORMATS:
            raise UserError(
                f"{path}: figures are written as PNG, SVG or PDF: give a name that ends in .png, .svg or .pdf"
            )
        try:
            path.write_bytes(self.written(path.suffix.lower()))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from None


def _shown(figure: Plate, kind: str) -> str | bytes:
    """A figure as a page shows it, an SVG or a JPEG of a quarter of the PNG's bytes."""
    if kind == ".svg":
        return figure.written(kind).decode()
    out = BytesIO()
    with Image.open(BytesIO(figure.written(".png"))) as image:
        image.convert("RGB").save(out, format="jpeg", quality=90, subsampling=0, optimize=True)
    return out.getvalue()
