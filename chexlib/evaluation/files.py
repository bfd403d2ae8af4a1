"""Reading predictions and labels, of whatever shape they come in: the CheXpert leaderboard's, our runs', anybody's.

A file is a CSV (gzipped or not) or a Parquet table with a row a study or an image: one column names it, further ones
hold a score or a label for each task, in any order. Nothing is guessed that could be wrong in silence: rows are matched
by their names, and what does not match is refused with a few of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.names import finding_of, is_known
from chexlib.data.readers.label_files import read_csv
from chexlib.errors import UserError
from chexlib.runs.store import Run

NAMES = ("study", "path", "image", "image index", "image id", "filename", "file", "id", "name")
"""Columns that can say which study or image a row is, the best first; another column serves if it is the first."""

PATIENTS = ("patient", "patient id", "patientid")
ABOUT = {*PATIENTS, "split", "view", "sex", "age", "frontal/lateral", "ap/pa", "unnamed: 0"}
"""Columns that say whose a row is, and all that are neither a score nor a label."""

PATIENT = re.compile(r"patient\d+")
SHOWN = 3
"""Names that an error lists."""


@dataclass(frozen=True, eq=False)
class Table:
    """A file's rows: `values` has a column a task, indexed by the study or image; `patients` where the file has any."""

    path: Path
    values: pd.DataFrame
    patients: pd.Series | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.values.columns)


def read_truth(path: str | Path) -> Table:
    """Labels of 1, 0 or NaN (unknown). Raises UserError for a file that cannot be read, and for any other label."""
    found = _read(Path(path), "y:", "labels: a column that names the study, and one a finding")
    wrong = found.values.notna() & ~found.values.isin([0, 1])
    if (at := np.argwhere(wrong.to_numpy())).size:
        row, task = found.values.index[at[0, 0]], found.values.columns[at[0, 1]]
        hint = ": decide first what an uncertain label counts as" if found.values.loc[row, task] == -1 else ""
        raise UserError(
            f"{path}: {row}, column {task}: {found.values.loc[row, task]:g} is no label: 1, 0 or empty{hint}"
        )
    return found


def own_truth(path: str | Path) -> Table:
    """The labels that a run's predictions carry. Raises UserError where there are none."""
    path = Path(path)
    if not (path.is_dir() or path.suffix == ".parquet"):
        raise UserError(f"{path}: holds no labels: give them with --truth")
    return read_truth(path)


def read_predictions(path: str | Path) -> Table:
    """Scores on any scale; NaN where the cell is empty. Raises UserError for a file that cannot be read."""
    return _read(Path(path), "p:", "predictions: a column that names the study, and a score a task")


def names_of(paths: Sequence[str | Path]) -> list[str]:
    """A name a file: a run's folder or the file's stem, with the folder before it where two are the same."""
    paths = [Path(path).resolve() for path in paths]
    paths = [path.parent if path.name == "predictions.parquet" else path for path in paths]
    stems = [path.name if path.is_dir() else path.name.split(".")[0] for path in paths]
    names = [
        f"{path.parent.name}/{stem}" if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)
    ]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{min(twice)}: given twice: give each file of predictions once")
    return names


def aligned(table: Table, truth: Table, inner: bool) -> Table:
    """The table's rows in the order of the truth's, images combined where the truth is of studies (by maximum).

    With `inner` rows that only one of the two has are left out, otherwise they are refused with UserError.
    """
    values = table.values
    if not values.index.isin(truth.values.index).any():
        studies = values.index.map(_folder)
        if studies.isin(truth.values.index).any():  # images, and the truth is of their studies
            values = values.groupby(studies).max()
    here, wanted = set(values.index), set(truth.values.index)
    missing, strange = sorted(wanted - here), sorted(here - wanted)
    if not here & wanted:
        raise UserError(
            f"{table.path}: no row is of {truth.path}: it names {strange[0]!r}, and the labels {missing[0]!r}: "
            "give the predictions of these studies"
        )
    if (missing or strange) and not inner:
        parts = [f"lacks {_some(missing)} of {truth.path.name}"] if missing else []
        parts += [f"has {_some(strange)} that {truth.path.name} does not"] if strange else []
        raise UserError(f"{table.path}: {' and '.join(parts)}: --inner compares on what both have")
    kept = [name for name in truth.values.index if name in here]
    return Table(table.path, values.loc[kept])


def _read(path: Path, prefix: str, what: str) -> Table:
    path = path / "predictions.parquet" if path.is_dir() else path  # a run's folder
    rows = _parquet(path) if path.suffix == ".parquet" else read_csv(path, (), f"a file of {what}", dtype=str)
    ours = [column for column in rows if str(column).startswith(prefix)]
    if ours and "split" in rows:  # a run's predictions.parquet
        rows = rows[rows["split"] == "test"]
    plain = {str(column).strip().casefold(): column for column in rows}
    column = _name_column(path, rows, plain, bool(ours))
    names = _filled(path, rows[column])
    columns = ours or [c for c in rows if c != column and str(c).strip().casefold() not in ABOUT]
    if not columns:
        raise UserError(f"{path}: no column beside {column!r}: give a file of {what}")
    values = pd.DataFrame({c: _numbers(path, rows[c], names) for c in columns})
    values.columns = [task_name(str(c).removeprefix(prefix)) for c in columns]
    if twice := sorted({task for task in values.columns if list(values.columns).count(task) > 1}):
        raise UserError(f"{path}: two columns are of {twice[0]}: leave one")
    values.index = names
    whose = next((plain[name] for name in PATIENTS if name in plain), None)
    patients = None if whose is None else _filled(path, rows[whose]).set_axis(names)
    if ours:  # a row an image
        values = values.groupby(level=0).agg(_aggregate(path.parent) if prefix == "p:" else "max")
        patients = None if patients is None else patients.groupby(level=0).first()
    elif twice := sorted(names[names.duplicated()]):
        raise UserError(f"{path}: {_some(list(dict.fromkeys(twice)))} more than once: one row for each is needed")
    return Table(path, values, patients)


def _aggregate(folder: Path) -> str:
    """How a run's images make a study's score: as its spec says; where there is none, by maximum."""
    return Run(folder).spec.aggregate if (folder / "spec.json").is_file() else "max"


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give a file of predictions, or a run's folder") from None
    except (OSError, ValueError):
        raise UserError(f"{path}: not readable as Parquet: write it again") from None


def _filled(path: Path, cells: pd.Series) -> pd.Series:
    """Names of studies or patients; UserError where a cell has none."""
    names = cells.astype("string").str.strip()
    if (empty := np.flatnonzero(names.isna() | (names == ""))).size:
        raise UserError(f"{path}: row {empty[0] + 2}, column {cells.name}: empty: every row needs a name there")
    return names.astype(object)


def _name_column(path: Path, rows: pd.DataFrame, plain: dict[str, str], ours: bool) -> str:
    if ours and "study" not in plain:
        raise UserError(f"{path}: column study missing: is this a run's predictions.parquet?")
    found = next((plain[name] for name in NAMES if name in plain), rows.columns[0])
    if pd.to_numeric(rows[found], errors="coerce").notna().all() and str(found).strip().casefold() not in NAMES:
        raise UserError(f"{path}: no column names the study or image: call it Study, Path or Image")
    return found


def task_name(name: str) -> str:
    """CheXpert's name of a finding, however it is spelt; another task's own."""
    name = name.strip()
    return (finding_of(name) if is_known(name) else None) or name


def _numbers(path: Path, cells: pd.Series, names: pd.Series) -> np.ndarray:
    """(N,) floats, NaN where a cell is empty."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    strange = np.isnan(values) & cells.notna().to_numpy() & (cells.astype(str).str.strip().str.casefold() != "nan")
    if (at := np.flatnonzero(strange)).size:
        raise UserError(f"{path}: {names.iloc[at[0]]}, column {cells.name}: {cells.iloc[at[0]]!r} is not a number")
    return values


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def patients_of(names: Sequence[str]) -> list[str]:
    """Whose each study is, where its name says so as CheXpert's do (patient64741); otherwise the study itself."""
    found: list[Callable] = [PATIENT.search(name) for name in names]
    return [match.group() if match else name for match, name in zip(found, names, strict=True)]


def _some(names: list[str]) -> str:
    """ "3 rows (a, b, c)"; the first few of many."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} row{'s' * (len(names) > 1)} ({', '.join(map(str, names[:SHOWN]))}{more})"
