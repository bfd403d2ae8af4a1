"""Reading label files, for every data set's reader: what is wrong with them is said in one line.

A table is a CSV as people have it: gzipped or not, in UTF-8 or what its byte-order mark says, with commas or else the
semicolons, tabs or bars that its first line holds (and then with decimal commas, if need be), with empty rows, an index
that pandas wrote, and rows that end in separators; all these are left out. What could only be guessed, such as the
encoding of a file that is not UTF-8, is refused by its name.

A file that cannot be read at all is a UserError. A cell that makes no sense becomes NaN or "", and a Problem that names
the file, the row as an editor numbers it, the column and the value; nothing else is lost.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Remarks
from chexlib.data.names import BLANK, finding_of, is_known, merged, normal
from chexlib.errors import UserError, quoted

VIEW_CODES = {"PA": "PA", "AP": "AP"} | dict.fromkeys(("LATERAL", "L", "LL", "RL"), "LATERAL") | {"FRONTAL": ""}
SEX_CODES = {"M": "M", "F": "F", "MALE": "M", "FEMALE": "F", "UNKNOWN": "", "O": "", "U": ""}
"""What others write, in capitals, to what a table holds."""

A_YEAR = {"Y": 1, "M": 12, "W": 365 / 7, "D": 365}
"""How many of an age's units make a year."""

OLDEST = 120
"""Years; a greater age is a typing error (two people are known who lived longer)."""

ENCODINGS = (
    *((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)
"""By the byte-order mark with which a file begins; UTF-32's begins with UTF-16's."""

NO_TEXT = {
    b"PK\3\4": "an Excel workbook or a ZIP archive: save the table as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the table as CSV",
    b"<!DOCTYPE": "a web page: log in where it is from, and download it again",
    b"<html": "a web page: log in where it is from, and download it again",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with git lfs pull",
}
"""What is found under the name of a label file, by its first bytes, and what to do."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

BLANK_LINES = re.compile(r'(?:[ ,;\t|"]*(?:\r\n|\n|\r))*')
DECIMAL_COMMA = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"


def read_text(path: Path, what: str) -> str:
    """A text file; `what` names the file that was expected.

    Raises UserError where it is missing, no file, or no text.
    """
    kind = "CSV" if ".csv" in path.name.lower() else "text file"
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path}: a pipe or a device: save as a file what comes out of it")
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the folder that holds {what}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable {kind} ({error}): download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}): give a {kind}") from None
    for first, found in NO_TEXT.items():
        if data.startswith(first):
            raise UserError(f"{path}: not a readable {kind} but {found}")
    encoding = next((name for mark, name in ENCODINGS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        byte, row = data[error.start], data.count(b"\n", 0, error.start) + 1
        is_not = f"{encoding.upper()}, but Latin-1, perhaps" if encoding == "utf-8" else encoding.upper()
        why = f"byte {byte:#04x} in row {row} is not {is_not}"
        raise UserError(f"{path}: not a readable {kind} ({why}): save it as UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path}: not a readable {kind} (it holds zeros, as UTF-16 does): save it as UTF-8")
    return text


def read_csv(path: Path, what: str, dtype: type | None = None, notes: list[str] | None = None) -> pd.DataFrame:
    """The rows of a CSV, indexed by their places in it from 0 (the first row behind the header); `what` names the file
    that was expected, and `notes` gets a sentence for each peculiarity.

    Raises UserError where it is missing, not readable, or empty.
    """
    notes, text = [] if notes is None else notes, read_text(path, what)
    above = BLANK_LINES.match(text)[0]
    text = text[len(above) :]
    first = re.sub(r'"[^"]*"', "", re.match(r"[^\r\n]*", text)[0])
    separator = max(SEPARATORS, key=first.count)  # the first of equals: commas
    try:
        try:
            rows = _parsed(text, separator, dtype)
        except (pd.errors.ParserError, pd.errors.ParserWarning):  # rows that are longer than the first, or a lone quote
            rows = _parsed(_cut(path, text, separator), separator, dtype)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(f"{path}: not a readable CSV ({str(error).splitlines()[0]}): download it again") from None
    rows.index += len(above.splitlines())
    rows.columns = _headings(rows)
    rows = _without_index(path, rows, notes)
    if (empty := rows.isna().all(axis=1)).any():
        notes.append(f"{path.name}: empty rows are left out ({empty.sum():,})")
        rows = rows[~empty]
    if separator != ",":
        decimals = _without_decimal_commas(rows)
        notes.append(f"{path.name}: its columns stand between {SEPARATORS[separator]}{decimals}")
    if rows.empty:
        raise UserError(f"{path}: no rows: download it again")
    return rows


def _parsed(text: str, separator: str, dtype: type | None) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        options = {"index_col": False, "low_memory": False, "skip_blank_lines": False, "encoding": "utf-8"}
        return pd.read_csv(io.BytesIO(text.encode()), sep=separator, dtype=dtype, **options)


def _cut(path: Path, text: str, separator: str) -> str:
    """The table without the empty cells by which rows are longer than the first one.

    Raises UserError for a row that holds more, and for a quote that nobody closes.
    """
    reader, cut = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), io.StringIO()
    writer, n = csv.writer(cut, delimiter=separator), None
    try:
        for row in reader:
            n = n or len(row)
            if any(cell.strip() for cell in row[n:]):
                why = f"row {reader.line_num} has {len(row)} cells, where the first row has {n}"
                raise UserError(
                    f"{path}: not a readable CSV ({why}): put into quotes what holds {SEPARATORS[separator]}"
                )
            writer.writerow(row[:n])
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV (row {reader.line_num}: {error}): look for a lone quote") from None
    return cut.getvalue()


def _headings(rows: pd.DataFrame) -> list[str]:
    """Names of columns in their normal form, "" where there is none; of two that are the same the second is name.1."""
    names = normal(pd.Series(rows.columns)).fillna("")
    names = names.mask(names.str.fullmatch(r"Unnamed: \d+(?:\.\d+)?"), "")  # as pandas reads and then writes them
    again = names.groupby(names).cumcount()
    return [f"{name}.{k}" if k and name else name for name, k in zip(names, again)]


def _without_index(path: Path, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The columns that have a name, and those without one that hold more than pandas' index in front of all others."""
    kept, names = [], list(rows.columns)
    for k, name in enumerate(names):
        if not name and (column := rows.iloc[:, k]).notna().any():
            numbers = pd.to_numeric(column, errors="coerce")
            if not kept and (numbers % 1 == 0).sum() == numbers.nunique() == column.notna().sum():
                notes.append(f"{path.name}: column {k + 1}, which has no name, numbers the rows and is left out")
                continue
            names[k] = f"(column {k + 1}, which has no name)"
        if names[k]:
            kept.append(k)
    return rows.set_axis(names, axis=1).iloc[:, kept]


def _without_decimal_commas(rows: pd.DataFrame) -> str:
    """Writes points for decimal commas where a column's numbers have them; returns what to say of it."""
    said = ""
    for name in rows.columns[[dtype.kind not in "iufb" for dtype in rows.dtypes]]:
        numbers = normal(rows[name])
        commas = numbers.dropna().str.fullmatch(DECIMAL_COMMA)
        if commas.any() and (commas | numbers.dropna().str.fullmatch(r"[+-]?\d+")).all():
            rows[name] = numbers.str.replace(",", ".")
            said = ", its decimals behind commas"
    return said


def need(path: Path, rows: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """Raises UserError where one of the columns is missing."""
    missing = [column for column in columns if column not in rows]
    if missing:
        need_header(path, rows)
        raise UserError(f"{path}: column {', '.join(missing)} missing: is this {what}?")


def need_header(path: Path, rows: pd.DataFrame) -> None:
    """Raises UserError where the first row holds numbers, and so no names of columns."""
    numbers = [name for name in rows if re.fullmatch(r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?(?:\.\d+)?", name)]
    if numbers:
        raise UserError(f"{path}: its first row holds {numbers[0]}, and no names of columns: put them above it")


def cells(column: pd.Series, wrong: pd.Series | np.ndarray) -> list[str]:
    """What those of a column's cells hold that are wrong, each with its row as an editor numbers it."""
    said = column[wrong].map(quoted, na_action="ignore").fillna("an empty cell")
    return [f"row {place + 2}: {value}" for place, value in said.items()]


def read_labels(path: Path, rows: pd.DataFrame, columns: tuple[str, ...], remarks: Remarks) -> np.ndarray:
    """The labels in `columns` as (N, len(columns)) float32 of 1, 0, -1 and NaN; a column that is missing is all NaN."""
    labels = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    strange = np.zeros(labels.shape, dtype=bool)
    for k, column in enumerate(columns):
        if column not in rows:
            continue
        raw = rows[column] if rows[column].dtype.kind in "iuf" else normal(rows[column])  # True is no label
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
    read = [codes.get(str(value).strip(BLANK).upper()) for value in values] + [""]
    strange = np.flatnonzero(np.array([code is None for code in read])[numbers])
    cells = [(row, column.name) for row in strange]
    _strange(remarks, kind, path, column.to_frame(), cells, f"one of {', '.join(codes)}")
    return pd.Series(pd.array([code or "" for code in read], dtype="str").take(numbers % len(read)), column.index)


def read_ages(path: Path, column: pd.Series, remarks: Remarks, units: bool = True, oldest: int = OLDEST) -> pd.Series:
    """Ages in years: 58, and with `units` also 058Y, 013M, 002W and 005D; anything else is NaN, with a warning."""
    column = column if column.dtype.kind in "iuf" else normal(column)
    ages = pd.to_numeric(column, errors="coerce").astype(float)
    if units and ages.isna().any():
        parts = column.astype("str").str.upper().str.extract(r"^(\d+)(?:\.0)?([YMWD])$")
        ages = ages.fillna(parts[0].astype(float) / parts[1].map(A_YEAR))
    strange = column.notna() & ~ages.between(0, oldest)
    cells = [(row, column.name) for row in np.flatnonzero(strange)]
    _strange(remarks, "age", path, column.to_frame(), cells, f"an age of 0 to {oldest} years")
    return ages.where(~strange)


def _strange(remarks: Remarks, kind: str, path: Path, rows: pd.DataFrame, cells: list, wanted: str) -> None:
    """Notes cells (row, column) that make no sense."""
    values = [rows[column].iloc[row] for row, column in cells]
    values = [quoted(f"{value:g}" if isinstance(value, float) else value) for value in values]
    items = [f"row {rows.index[row] + 2}, column {column}: {value}" for (row, column), value in zip(cells, values)]
    more = f" ({len(items)} entries are none)" if len(items) > 1 else ""
    remarks.wrong(kind, items, f"{path}, ", f" is not {wanted}{more}")


def read_people(
    path: Path,
    rows: pd.DataFrame,
    remarks: Remarks,
    columns: tuple[str, str, str] = ("view", "sex", "age"),
    views: Mapping[str, str] = VIEW_CODES,
    oldest: int = OLDEST,
) -> dict[str, pd.Series]:
    """The table's columns view, sex and age from a file's columns of these names."""
    view, sex, age = (rows[column] for column in columns)
    return {
        "view": read_codes("view", path, view, views, remarks),
        "sex": read_codes("sex", path, sex, SEX_CODES, remarks),
        "age": read_ages(path, age, remarks, oldest=oldest),
    }


def read_findings(path: Path, rows: pd.DataFrame, remarks: Remarks) -> pd.DataFrame:
    """Columns under any data set's names of findings as CheXpert's (N, 14) float32.

    A name that nobody knows is a Problem: a misspelt finding would count as never mentioned.
    """
    unknown = [name for name in rows if not is_known(name)]
    for first in unknown[:1]:
        name, what = re.sub(r"\.\d+$", "", first), f"column {quoted(first)} is no finding that is known: rename it or"
        what = f"two columns are called {quoted(name)}:" if name != first and name in rows else what
        remarks.wrong("column", unknown, message=f"{path}: {what} take it out")
    if nothing := [name for name in rows if is_known(name) and not finding_of(name)]:
        remarks.notes.append(f"{path.name}: {', '.join(nothing)} left out: no finding of CheXpert's")
    names = tuple(name for name in rows if finding_of(name))
    return pd.DataFrame(merged(names, read_labels(path, rows, names, remarks)), rows.index, FINDINGS)
