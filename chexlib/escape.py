"""Tables and texts as other programs take them: JSON, and what would be obeyed, as markup, as TeX, as a formula.

Such texts are names of studies and files. HTML is escaped by the standard library's `html.escape`, beside the tags that
it stands between.
"""

from __future__ import annotations

import re

import pandas as pd

NO_MATHJAX = "tex2jax_ignore mathjax_ignore"
"""Classes of HTML that MathJax leaves alone, whatever dollars are in it: in pages, and in JupyterLab."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets compute."""

NO_TEX = {"text.parse_math": False}
"""matplotlib's setting by which a text with two dollars is no formula."""


def csv(table: pd.DataFrame, **options: object) -> str:
    """The table as CSV; options are those of `to_csv`. A text that a spreadsheet would compute is behind an apostrophe.

    Numbers stay as they are, those that are texts among them.
    """
    texts = [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    columns = [table.iloc[:, n].map(_cell) if text else table.iloc[:, n] for n, text in enumerate(texts)]
    shown = pd.concat(columns, axis=1) if columns else table.copy()
    shown = shown.set_axis(table.index.map(_cell)).set_axis(table.columns.map(_cell), axis=1)
    return shown.rename_axis(index=[_cell(name) for name in table.index.names]).to_csv(**options)


def records(table: pd.DataFrame) -> list[dict]:
    """A table's rows for JSON: numbers as they were computed, None where there is none."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def markdown(text: str) -> str:
    """The text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#$|~&!])", r"\\\1", text)


def _cell(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return f"'{value}"
