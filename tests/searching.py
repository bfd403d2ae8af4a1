"""Searching everything that would be published for what must not be: ids, rows of labels, scores, photographs."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
from PIL import Image

PATIENT = re.compile(r"patient[_ ]?\d{3,}")
BETWEEN = r"""(?:[\s,;|"'\[\]]|\\n|<[^<>]*>)+"""  # of values in CSV, JSON, a notebook's source and an HTML table
LABEL_ROW = re.compile(rf"(?:(?:-?[01](?:\.0+)?|nan|NaN|null|None){BETWEEN}){{12,}}")
CSV = re.compile(r'href="data:text/csv[^,"]*,([^"]*)"')
STATE = re.compile(r'data-part="state">([^<]*)<')
INLINE = re.compile(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")


def names_a_patient(folder: Path) -> list[str]:
    """Files below the folder whose name or content holds an id of CheXpert's form."""
    return sorted({name for name, text in texts(folder) if PATIENT.search(name) or PATIENT.search(text)})


def holds_label_rows(folder: Path) -> list[str]:
    """Files below the folder with twelve or more labels in a row (a study has 14)."""
    return sorted({name for name, text in texts(folder) if LABEL_ROW.search(text)})


def holds_numbers(folder: Path, numbers: Iterable[float]) -> list[str]:
    """Notebooks below the folder with a column of which more than half are such numbers, to six digits.

    Numbers of four digits or fewer are not looked for: many others are rounded to these.
    """
    wanted = {f"{number:.6g}" for number in np.ravel(list(numbers)) if round(number, 4) != round(number, 6)}
    found = set()
    for name, column in columns(folder):
        told = [f"{number:.6g}" for number in column[~np.isnan(column)]]
        if sum(number in wanted for number in told) > len(told) / 2:
            found.add(name)
    return sorted(found)


def columns(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Columns of numbers that notebooks below the folder bring: in files to be saved, and in the states of widgets."""
    for path in sorted(folder.rglob("*.ipynb")):
        outputs = [o for cell in json.loads(path.read_text())["cells"] for o in cell.get("outputs", ())]
        for html in ("".join(output.get("data", {}).get("text/html", "")) for output in outputs):
            for address in CSV.findall(html):
                table = pd.read_csv(io.StringIO(unquote(unescape(address)))).select_dtypes("number")
                yield from ((path.name, table[name].to_numpy(float)) for name in table)
            for state in STATE.findall(html):
                yield from ((path.name, column) for column in _columns_of_state(json.loads(state)))


def _columns_of_state(value: object) -> Iterator[np.ndarray]:
    """The lists of numbers, and the packed arrays, at any depth."""
    if isinstance(value, dict) and {"shape", "data"} <= set(value):
        yield np.frombuffer(base64.b64decode(value["data"]), "<f4").astype(float)
    elif isinstance(value, dict | list):
        parts = list(value.values() if isinstance(value, dict) else value)
        yield np.array([part for part in parts if isinstance(part, float)])
        for part in parts:
            yield from _columns_of_state(part)


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file's name and its bytes as text; of a Parquet file also its table, which is packed in the file."""
    for path in _files(folder):
        yield str(path.relative_to(folder)), path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield str(path.relative_to(folder)), pd.read_parquet(path).to_csv()


def photographs(folder: Path) -> list[str]:
    """Files below the folder that are, or hold, an image of which more than a tenth is mid-grey: a radiograph is."""
    return sorted({name for name, image in images(folder) if greyness(image) > 0.1})


def greyness(image: bytes) -> float:
    """The share of an image's pixels that are grey and neither near white nor near black."""
    with Image.open(io.BytesIO(image)) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)  # (h, w, 3)
    grey = np.ptp(pixels, axis=2) <= 4
    return float((grey & (pixels[..., 0] > 24) & (pixels[..., 0] < 232)).mean())


def images(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every PNG and JPEG below the folder: files, those in the outputs of notebooks, and those inside pages."""
    for path in _files(folder):
        name = str(path.relative_to(folder))
        if path.suffix in (".png", ".jpg", ".jpeg"):
            yield name, path.read_bytes()
        elif path.suffix == ".ipynb":
            for output in (o for cell in json.loads(path.read_text())["cells"] for o in cell.get("outputs", ())):
                for kind in ("image/png", "image/jpeg"):
                    if kind in output.get("data", {}):
                        yield name, base64.b64decode("".join(output["data"][kind]))
        elif path.suffix in (".html", ".svg"):
            for found in INLINE.findall(path.read_text(errors="replace")):
                yield name, base64.b64decode(found)


def _files(folder: Path) -> list[Path]:
    """Files below the folder but for `_static`, which is the same in every book."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "_static" not in path.parts]
