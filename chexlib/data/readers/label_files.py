"""Reading label files, for every data set's reader: what is wrong with them is said in one line.

A file that cannot be read at all is a UserError. A cell that makes no sense becomes NaN or "", and a Problem that names
the file, the row as an editor numbers it, the column and the value; nothing else is lost.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Remarks
from chexlib.data.names import finding_of, is_known, merged
from chexlib.errors import UserError

VIEW_CODES = {"PA": "PA", "AP": "AP"} | dict.fromkeys(("LATERAL", "L", "LL", "RL"), "LATERAL") | {"FRONTAL": ""}
SEX_CODES = {"M": "M", "F": "F", "MALE": "M", "FEMALE": "F", "UNKNOWN": "", "O": "", "U": ""}
"""What others write, in capitals, to what a table holds."""

A_YEAR = {"Y": 1, "M": 12, "W": 365 / 7, "D": 365}
"""How many of an age's units make a year."""

NO_CSV = (
    *(pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning),  # a warning of rows that are too long
    *(UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error),
)


def read_csv(path: Path, what: str, dtype: type | None = None) -> pd.DataFrame:
    """The rows of a CSV, gzipped or not; `what` names the file that was expected.

    Raises UserError where it is missing, not readable, or empty.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            gzipped = "gzip" if path.suffix == ".gz" else None
            rows = pd.read_csv(path, index_col=False, low_memory=False, dtype=dtype, compression=gzipped)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the folder that holds {what}") from None
    except NO_CSV as error:
        raise UserError(f"{path}: not a readable CSV ({str(error).splitlines()[0]}): download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}): give a CSV file") from None
    rows.columns = rows.columns.str.strip()
    if rows.empty:
        raise UserError(f"{path}: no rows: download it again")
    return rows


def need(path: Path, rows: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """Raises UserError where one of the columns is missing."""
    missing = [column for column in columns if column not in rows]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} missing: is this {what}?")


def read_labels(path: Path, rows: pd.DataFrame, columns: tuple[str, ...], remarks: Remarks) -> np.ndarray:
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
    cells = [(row, columns[k]) for row, k in np.argwhere(strange)]
    _strange(remarks, "label", path, rows, cells, "a label: 1, 0, -1 or empty")
    return labels


def read_codes(kind: str, path: Path, column: pd.Series, codes: Mapping[str, str], remarks: Remarks) -> pd.Series:
    """A column of few different values as what a table holds; what `codes` has no row of is "", with a Problem."""
    numbers, values = pd.factorize(column)  # NaN is number -1, so the last of `read`
    read = [codes.get(str(value).strip().upper()) for value in values] + [""]
    strange = np.flatnonzero(np.array([code is None for code in read])[numbers])
    cells = [(row, column.name) for row in strange]
    _strange(remarks, kind, path, column.to_frame(), cells, f"one of {', '.join(codes)}")
    return pd.Series(pd.array([code or "" for code in read], dtype="str").take(numbers % len(read)), column.index)


def read_ages(path: Path, column: pd.Series, remarks: Remarks, units: bool = True) -> pd.Series:
    """Ages in years: 58, and with `units` also 058Y, 013M, 002W and 005D; anything else is NaN, with a warning."""
    ages = pd.to_numeric(column, errors="coerce").astype(float)
    if units and ages.isna().any():
        parts = column.astype("str").str.extract(r"^(\d+)(?:\.0)?([YMWD])$")
        ages = ages.fillna(parts[0].astype(float) / parts[1].map(A_YEAR))
    strange = column.notna() & ~(ages >= 0)
    cells = [(row, column.name) for row in np.flatnonzero(strange)]
    _strange(remarks, "age", path, column.to_frame(), cells, "an age in years")
    return ages.where(~strange)


def _strange(remarks: Remarks, kind: str, path: Path, rows: pd.DataFrame, cells: list, wanted: str) -> None:
    """Notes cells (row, column) that make no sense."""
    values = [rows[column].iloc[row] for row, column in cells]
    values = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    items = [f"row {row + 2}, column {column}: {value!r}" for (row, column), value in zip(cells, values)]
    more = f" ({len(items)} entries are none)" if len(items) > 1 else ""
    remarks.wrong(kind, items, f"{path}, ", f" is not {wanted}{more}")


def read_people(
    path: Path,
    rows: pd.DataFrame,
    remarks: Remarks,
    columns: tuple[str, str, str] = ("view", "sex", "age"),
    views: Mapping[str, str] = VIEW_CODES,
) -> dict[str, pd.Series]:
    """The table's columns view, sex and age from a file's columns of these names."""
    view, sex, age = (rows[column] for column in columns)
    return {
        "view": read_codes("view", path, view, views, remarks),
        "sex": read_codes("sex", path, sex, SEX_CODES, remarks),
        "age": read_ages(path, age, remarks),
    }


def read_findings(path: Path, rows: pd.DataFrame, remarks: Remarks) -> pd.DataFrame:
    """Columns under any data set's names of findings as CheXpert's (N, 14) float32.

    A name that nobody knows is a Problem: a misspelt finding would count as never mentioned.
    """
    unknown = [name for name in rows if not is_known(name)]
    for first in unknown[:1]:
        message = f"{path}: column {first!r} is no finding that is known: rename it or take it out"
        remarks.wrong("column", unknown, message=message)
    if nothing := [name for name in rows if is_known(name) and not finding_of(name)]:
        remarks.notes.append(f"{path.name}: {', '.join(nothing)} left out: no finding of CheXpert's")
    names = tuple(name for name in rows if finding_of(name))
    return pd.DataFrame(merged(names, read_labels(path, rows, names, remarks)), rows.index, FINDINGS)
