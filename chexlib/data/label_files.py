"""Reading label files, for every data set's reader: what is wrong with them is said in one line.

A file that cannot be read at all is a UserError. A cell that makes no sense becomes NaN or "", and a Problem that names
the file, the row as an editor numbers it, the column and the value; nothing else is lost.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Problem
from chexlib.errors import UserError

SHOWN = 100
"""Cells that a Problem lists; it counts all."""

A_YEAR = {"Y": 1, "M": 12, "W": 365 / 7, "D": 365}
"""How many of an age's units make a year."""

VIEW_CODES = {
    "PA": "PA",
    "AP": "AP",
    "LATERAL": "LATERAL",
    "L": "LATERAL",
    "LL": "LATERAL",
    "RL": "LATERAL",
    "FRONTAL": "",
}
SEX_CODES = {"M": "M", "F": "F", "MALE": "M", "FEMALE": "F", "UNKNOWN": "", "O": "", "U": ""}
"""What others write, in capitals, to what a table holds."""


@dataclass(frozen=True)
class LabelFile:
    """A label file alone, N rows, without its images."""

    path: Path
    table: pd.DataFrame = field(repr=False)  # IMAGE_COLUMNS, then FINDINGS; `image` is the study where it is per study
    covered: tuple[str, ...]  # the findings that it labels at all
    per: str  # "image" or "study"
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def read_csv(path: Path, needed: tuple[str, ...], what: str, dtype: type | None = None) -> pd.DataFrame:
    """The rows of a CSV, gzipped or not, that has the columns `needed`; `what` names the file that was expected.

    Raises UserError where it is missing, not readable, without one of the columns, or empty.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            gzipped = "gzip" if path.suffix == ".gz" else None
            rows = pd.read_csv(path, index_col=False, low_memory=False, dtype=dtype, compression=gzipped)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the folder that holds {what}") from None
    except (
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
        EOFError,
        gzip.BadGzipFile,
        zlib.error,
    ) as error:
        raise UserError(f"{path}: not a readable CSV ({str(error).splitlines()[0]}): download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}): give a CSV file") from None
    rows.columns = rows.columns.str.strip()
    need(path, rows, needed, what)
    if rows.empty:
        raise UserError(f"{path}: no rows: download it again")
    return rows


def need(path: Path, rows: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """Raises UserError where one of the columns is missing."""
    missing = [column for column in columns if column not in rows]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} missing: is this {what}?")


def read_labels(path: Path, rows: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, list[Problem]]:
    """The labels in `columns` as (N, len(columns)) float32 of 1, 0, -1 and NaN; a column that is missing is all NaN."""
    labels = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    strange = np.zeros(labels.shape, dtype=bool)
    for k, column in enumerate(columns):
        if column not in rows:
            continue
        raw = rows[column] if rows[column].dtype.kind in "iuf" else rows[column].astype("str")  # True is no label
        values = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        fine = (values == 1) | (values == 0) | (values == -1)
        strange[:, k] = ~fine & raw.notna().to_numpy()
        labels[:, k] = np.where(fine, values, np.nan)
    cells = [(row, columns[k]) for row, k in np.argwhere(strange)[:SHOWN]]
    return labels, _strange_cells("label", path, rows, cells, int(strange.sum()), "a label: 1, 0, -1 or empty", True)


def read_codes(
    kind: str, path: Path, column: pd.Series, codes: Mapping[str, str], fatal: bool = False
) -> tuple[pd.Series, list[Problem]]:
    """A column of few different values as what a table holds; what `codes` has no row of is "", with a Problem."""
    numbers, values = pd.factorize(column)  # NaN is number -1, so the last of `read`
    read = [codes.get(str(value).strip().upper()) for value in values] + [""]
    strange = np.array([code is None for code in read])[numbers]
    read = pd.Series(pd.array([code or "" for code in read], dtype="str").take(numbers % len(read)), column.index)
    return read, _column_problem(kind, path, column, strange, f"one of {', '.join(codes)}", fatal)


def read_ages(path: Path, column: pd.Series, units: bool = True) -> tuple[pd.Series, list[Problem]]:
    """Ages in years: 58, and with `units` also 058Y, 013M, 002W and 005D; anything else is NaN, with a warning."""
    ages = pd.to_numeric(column, errors="coerce").astype(float)
    if units and ages.isna().any():
        parts = column.astype("str").str.extract(r"^(\d+)(?:\.0)?([YMWD])$")
        ages = ages.fillna(parts[0].astype(float) / parts[1].map(A_YEAR))
    strange = column.notna() & ~(ages >= 0)
    return ages.where(~strange), _column_problem("age", path, column, strange, "an age in years")


def _column_problem(
    kind: str, path: Path, column: pd.Series, strange: np.ndarray | pd.Series, wanted: str, fatal: bool = False
) -> list[Problem]:
    cells = [(row, column.name) for row in np.flatnonzero(strange)[:SHOWN]]
    return _strange_cells(kind, path, column.to_frame(), cells, int(strange.sum()), wanted, fatal)


def _strange_cells(
    kind: str, path: Path, rows: pd.DataFrame, cells: list[tuple[int, str]], count: int, wanted: str, fatal: bool
) -> list[Problem]:
    """The Problem of cells that make no sense, if there are any."""
    if not count:
        return []
    values = [rows[column].iloc[row] for row, column in cells]
    values = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    items = tuple(f"row {row + 2}, column {column}: {value!r}" for (row, column), value in zip(cells, values))
    more = f" ({count} entries are none)" if count > 1 else ""
    return [Problem(kind, f"{path}, {items[0]} is not {wanted}{more}", count, fatal, items)]


def covered_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """The findings of a table of which a label is there at all."""
    return tuple(finding for finding in FINDINGS if rows[finding].notna().any())
