"""What files of predictions are worth against a file of labels, whoever made either: `chexlib evaluate`.

A file is a CSV (gzipped or not) or a Parquet table with a row a study or an image: one column names it, further ones
hold a score or a label for each task, in any order; or it is a run's folder. Nothing is guessed that could be wrong in
silence: rows are matched by their names, and what does not match is refused with a few of them. The bootstrap draws
patients, the same draws for all models (`chexlib.stats.bootstrap`), so that a difference is paired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.names import finding_of
from chexlib.data.readers.label_files import read_csv
from chexlib.errors import UserError
from chexlib.runs.store import Run
from chexlib.stats import BootstrapAreas, Difference, bootstrap_auprc, bootstrap_auroc, holm
from chexlib.stats.intervals import FEW

NAMES = ("study", "path", "image", "image index", "image id", "filename", "file", "id", "name")
"""Columns that can say which study or image a row is, the best first; another column serves if it is the first."""

PATIENTS = ("patient", "patient id", "patientid")
ABOUT = {*PATIENTS, "split", "view", "sex", "age", "frontal/lateral", "ap/pa", "unnamed: 0"}
"""Columns that say whose a row is, and all that are neither a score nor a label."""

SCORES = "predictions: a column that names the study, and a score a task"
MEAN, SHOWN = "mean", 3  # the row of means over tasks; names that an error lists
MOST = 100_000  # draws: more would take hours, and change no third digit


@dataclass(frozen=True, eq=False)
class Evaluation:
    """M models on T tasks of N studies; `notes` say what was left out, a sentence each."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    truth: str
    n: int
    patients: int
    counts: pd.DataFrame  # positives, negatives, indexed by task
    areas: BootstrapAreas  # AUROC
    precision: BootstrapAreas  # AUPRC
    interval: str  # "percentile" or "bca": that of means and differences, and of tasks unless a class of theirs is rare
    notes: tuple[str, ...] = ()

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a model and task, "mean" first; 95 % intervals, of AUPRC as auprc_low and auprc_high.

        Columns model, task, auroc, low, high, auprc, auprc_low, auprc_high, positives, negatives, dropped: how many
        draws lack a class of the task, and are left out of it.
        """
        rows = pd.MultiIndex.from_product([self.models, [MEAN, *self.tasks]], names=["model", "task"])
        columns = ["auroc", "low", "high", "auprc", "auprc_low", "auprc_high"]
        values = [part.ravel() for found in (self.areas, self.precision) for part in self._with_ends(found)]
        table = pd.DataFrame(dict(zip(columns, values, strict=True)), rows).reset_index()
        return table.join(self.counts.assign(dropped=self.areas.dropped).astype("Int64"), on="task")

    def _with_ends(self, found: BootstrapAreas) -> list[np.ndarray]:
        """Areas and the low and high ends of their intervals, (M, 1 + T) each, the mean first."""
        low, high = found.interval(method=self.interval)
        if (rare := (self.counts.min(axis=1) < FEW).to_numpy()).any():
            corrected = found.interval(method="bca")
            low, high = np.where(rare, corrected[0], low), np.where(rare, corrected[1], high)
        means = found.mean, *found.mean_interval(method=self.interval)
        return [np.column_stack(pair) for pair in zip(means, (found.area, low, high), strict=True)]

    @cached_property
    def differences(self) -> Difference:
        """Of mean AUROCs, each (M, M), the row's model minus the column's."""
        return self.areas.differences(method=self.interval)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair: a, b, difference (mean AUROC of a minus b's), low, high (95 %), p, p_holm.

        p is the bootstrap's, two-sided; p_holm is adjusted for the number of pairs (Holm 1979).
        """
        a, b = np.triu_indices(len(self.models), 1)
        models, found = np.array(self.models, dtype=object), self.differences
        pairs = {"a": models[a], "b": models[b], "difference": found.value[a, b], "low": found.low[a, b]}
        return pd.DataFrame(pairs | {"high": found.high[a, b], "p": found.p[a, b], "p_holm": holm(found.p[a, b])})

    @property
    def ranked(self) -> list[str]:
        """The models, best mean AUROC first."""
        return [self.models[m] for m in np.argsort(-self.areas.mean, kind="stable")]

    def text(self, width: int = 100) -> str:
        """The tables and the matrix of differences, for a terminal of that width."""
        of = "" if self.patients == self.n else f" of {self.patients:,} patients"
        draws = f"{len(self.areas.replicates):,} draws of {'patients' if of else 'studies'}"
        parts = [
            f"{_counted(len(self.models), 'model')} on {self.n:,} studies{of}, labels: {self.truth}",
            f"AUROC, and 95 % interval over {draws}:",
            self._table_text("auroc", "", width),
            "AUPRC (average precision; a score that says nothing reaches the share of positives):",
            self._table_text("auprc", "auprc_", width),
        ]
        if len(self.models) > 1:
            pairs = _counted(len(self.pairs), "pair")
            parts += [
                "Mean AUROC of the row minus the column's (* p < 0.05 after Holm's adjustment for "
                f"{pairs}, = equal in every draw; --json has the intervals):",
                self._matrix_text(width),
            ]
        if dropped := [f"{t} {n}" for t, n in zip(self.tasks, self.areas.dropped, strict=True) if n]:
            parts.append(f"Draws without a positive or a negative study, left out of that task: {', '.join(dropped)}.")
        return "\n\n".join([*parts, *self.notes])

    def to_json(self) -> dict:
        """What `--json` prints; numbers as they were computed, None where there is none."""
        models: dict[str, dict] = {name: {MEAN: {}, "tasks": {}} for name in self.models}
        for row in _records(self.table):
            of, task = models[row.pop("model")], row.pop("task")
            if task == MEAN:
                of[MEAN] = {name: row[name] for name in row if name not in (*self.counts, "dropped")}
            else:
                of["tasks"][task] = row
        facts = {"studies": self.n, "patients": self.patients, "tasks": list(self.tasks), "interval": self.interval}
        return {"models": models, "pairs": _records(self.pairs)} | facts | {"notes": list(self.notes)}

    def plot(self, path: str | Path) -> None:
        """Draws AUROCs with their intervals, a panel a task; UserError for a file that cannot be written."""
        path, wide = Path(path).expanduser(), self.table.pivot(index="model", columns="task").loc[self.ranked]
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UserError(f"{path}: figures are PNG, SVG or PDF: give a name that ends in .png, .svg or .pdf")
        areas = wide["auroc"][[MEAN, *self.tasks] if len(self.tasks) > 1 else list(self.tasks)]
        ends = [(areas[task] - wide["low"][task], wide["high"][task] - areas[task]) for task in areas]
        layout, size = (-1, min(3, areas.shape[1])), (9, 2 + 2 * -(-areas.shape[1] // 3))
        panels = areas.plot(
            subplots=True, layout=layout, figsize=size, sharey=True, legend=False, yerr=np.array(ends), marker="o",
            linestyle="", xticks=range(len(areas)), rot=90, title=list(areas), ylabel="AUROC",
        )  # fmt: skip
        try:
            panels[0, 0].figure.savefig(path, bbox_inches="tight")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from None

    def _table_text(self, name: str, prefix: str, width: int) -> str:
        ends = zip(*(self.table[column] for column in (name, f"{prefix}low", f"{prefix}high")), strict=True)
        cells = self.table.assign(cell=[f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in ends])
        wide = cells.pivot(index="model", columns="task", values="cell")
        return _block(wide.loc[self.ranked, [MEAN, *self.tasks]].rename_axis(index=None, columns=None), width)

    def _matrix_text(self, width: int) -> str:
        found, order = self.differences, [self.models.index(name) for name in self.ranked]
        equal = (found.value == 0) & (found.low == 0) & (found.high == 0)
        stars = np.full(found.value.shape, "", dtype=object)
        a, b = np.triu_indices(len(order), 1)
        stars[a, b] = stars[b, a] = np.where(self.pairs["p_holm"] < 0.05, "*", "")

        def cell(i: int, j: int) -> str:
            return "" if i == j else "=" if equal[i, j] else f"{found.value[i, j]:+.3f}{stars[i, j]}"

        names = [f"{place} {name}" for place, name in enumerate(self.ranked, 1)]
        matrix = pd.DataFrame([[cell(i, j) for j in order] for i in order], names, range(1, len(order) + 1))
        return _block(matrix, width)


def evaluate(
    predictions: Sequence[str | Path],
    truth: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    inner: bool = False,
    n_boot: int = 1000,
    interval: str = "percentile",
) -> Evaluation:
    """Scores files of predictions against a file of labels.

    predictions: CSV or Parquet files, or folders of runs. truth: labels; those in the first file of predictions where
    None (a run's has them). tasks: those to be scored; all that every file has and that have both classes, where None.
    inner: score on the studies that all files have, where one lacks some. interval: "percentile" or "bca"; BCa
    whatever it says for tasks with fewer than FEW studies of a class. Raises UserError for what cannot be scored.
    """
    if not predictions:
        raise UserError("no predictions: give at least one file")
    if not 1 <= n_boot <= MOST:
        raise UserError(f"{n_boot:,} draws: give a number from 1 to {MOST:,}, e.g. 1000")
    if interval not in ("percentile", "bca"):
        raise UserError(f"interval {interval!r} is unknown: give percentile or bca")
    tasks = list(dict.fromkeys(map(_task_name, tasks or ())))
    names = _names_of(predictions)
    if truth is None and not (Path(predictions[0]).is_dir() or Path(predictions[0]).suffix == ".parquet"):
        raise UserError(f"{predictions[0]}: holds no labels: give them with --truth")
    labels = _truth(predictions[0] if truth is None else truth)
    tables = [_aligned(_read(path, "p:", SCORES), labels, inner) for path in predictions]
    common = [name for name in labels.values.index if all(name in table.values.index for table in tables)]
    if not common:
        raise UserError(f"{tables[0].path}: has no study in common with all others: nothing can be compared")
    wanted, notes = _tasks(labels, tables, tasks, common)
    if len(common) < len(labels.values):
        notes.append(f"Scored on {len(common)} of {len(labels.values)} studies, those that all files have.")
    y = labels.values.loc[common, wanted]
    counts = pd.DataFrame({"positives": (y == 1).sum(), "negatives": (y == 0).sum()})
    rare = [f"{task} ({n})" for task, n in counts.min(axis=1).items() if n < FEW]
    if rare:
        notes.append(f"BCa intervals and no verdict, as a class has fewer than {FEW} studies: {', '.join(rare)}.")
    patients = _patients_of(common) if labels.patients is None else labels.patients.loc[common].to_numpy()
    drawn = (y.to_numpy(float), np.stack([_scores(table, y) for table in tables]), np.asarray(patients), n_boot)
    jackknife = bool(rare) or interval == "bca"
    areas, precision = (boot(*drawn, jackknife=jackknife) for boot in (bootstrap_auroc, bootstrap_auprc))
    models, whose = tuple(names), len(set(patients))
    return Evaluation(
        models, tuple(wanted), str(labels.path), len(common), whose, counts, areas, precision, interval, tuple(notes)
    )


def _tasks(
    labels: Table, tables: Sequence[Table], asked: Sequence[str], common: list[str]
) -> tuple[list[str], list[str]]:
    """The tasks to score, in the order of the labels' columns or as asked; and notes on what is left out."""
    y = labels.values.loc[common]
    for task in asked:
        for table, of in ((labels, "labels"), *((table, "scores") for table in tables)):
            if task not in table.values:
                raise UserError(f"{table.path}: has no {of} of {task!r}: it has {', '.join(table.values)}")
    shared = list(asked or (task for task in labels.values if all(task in table.values for table in tables)))
    if not shared:
        raise UserError(
            f"{tables[0].path}: no task is in all files: it scores {', '.join(tables[0].values)}; "
            f"{labels.path} labels {', '.join(labels.values)}"
        )
    single = [task for task in shared if y[task].dropna().nunique() < 2]
    if single and (asked or len(single) == len(shared)):
        value = y[single[0]].dropna().unique()
        what = "no known label" if not len(value) else f"only {'positives' if value[0] else 'negatives'}"
        raise UserError(f"{labels.path}: {single[0]} has {what} in these studies: an AUROC needs both classes")
    notes = [f"Left out, as the labels have one class only: {', '.join(single)}."] if single else []
    only = sorted({task for table in tables for task in table.values} - set(shared))
    if only and not asked:
        notes.append(f"Left out, as not every file has them: {', '.join(only)}.")
    return [task for task in shared if task not in single], notes


def _scores(table: Table, y: pd.DataFrame) -> np.ndarray:
    """(N, T); UserError where a score is missing although the label is known."""
    p = table.values.loc[y.index, list(y.columns)]
    if (at := np.argwhere((p.isna() & y.notna()).to_numpy())).size:
        row, task = y.index[at[0, 0]], y.columns[at[0, 1]]
        raise UserError(
            f"{table.path}: {row}, column {task}: no score ({len(at)} in all): a model must score every study"
        )
    return p.to_numpy(float)


@dataclass(frozen=True, eq=False)
class Table:
    """A file's rows: `values` has a column a task, indexed by the study or image; `patients` where the file has any."""

    path: Path
    values: pd.DataFrame
    patients: pd.Series | None = None


def _truth(path: str | Path) -> Table:
    """Labels of 1, 0 or NaN (unknown). Raises UserError for a file that cannot be read, and for any other label."""
    found = _read(path, "y:", "labels: a column that names the study, and one a finding")
    wrong = found.values.notna() & ~found.values.isin([0, 1])
    if (at := np.argwhere(wrong.to_numpy())).size:
        row, task, value = found.values.index[at[0, 0]], found.values.columns[at[0, 1]], found.values.iat[*at[0]]
        hint = ": decide first what an uncertain label counts as" if value == -1 else ""
        raise UserError(f"{path}: {row}, column {task}: {value:g} is no label: 1, 0 or empty{hint}")
    return found


def _names_of(paths: Sequence[str | Path]) -> list[str]:
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


def _aligned(table: Table, truth: Table, inner: bool) -> Table:
    """The table's rows in the order of the truth's, images combined where the truth is of studies (by maximum).

    With `inner` rows that only one of the two has are left out, otherwise they are refused with UserError.
    """
    values = table.values
    if not values.index.isin(truth.values.index).any():
        studies = values.index.map(lambda name: name.rpartition("/")[0])
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
    return Table(table.path, values.loc[[name for name in truth.values.index if name in here]])


def _read(path: str | Path, prefix: str, what: str) -> Table:
    """Numbers, NaN where a cell is empty. Raises UserError for a file that cannot be read."""
    path = Path(path)
    path = path / "predictions.parquet" if path.is_dir() else path  # a run's folder
    rows = _parquet(path) if path.suffix == ".parquet" else read_csv(path, f"a file of {what}", dtype=str)
    ours = [column for column in rows if str(column).startswith(prefix)]
    if ours and "split" in rows:  # a run's predictions.parquet
        rows = rows[rows["split"] == "test"]
    plain = {str(column).strip().casefold(): column for column in rows}
    column = _name_column(path, rows, plain, bool(ours))
    names = _filled(path, rows[column])
    columns = ours or [c for key, c in plain.items() if c != column and key not in ABOUT]
    if not columns:
        raise UserError(f"{path}: no column beside {column!r}: give a file of {what}")
    values = pd.DataFrame({c: _numbers(path, rows[c], names) for c in columns})
    values.columns = [_task_name(str(c).removeprefix(prefix)) for c in columns]
    if not values.columns.is_unique:
        raise UserError(f"{path}: two columns are of {min(values.columns[values.columns.duplicated()])}: leave one")
    values.index = names
    whose = next((plain[name] for name in PATIENTS if name in plain), None)
    patients = None if whose is None else _filled(path, rows[whose]).set_axis(names)
    if ours:  # a row an image; scores of a study as the run's spec says
        of_a_run = prefix == "p:" and (path.parent / "spec.json").is_file()
        values = values.groupby(level=0).agg(Run(path.parent).spec.aggregate if of_a_run else "max")
        patients = None if patients is None else patients.groupby(level=0).first()
    elif twice := sorted(set(names[names.duplicated()])):
        raise UserError(f"{path}: {_some(twice)} more than once: one row for each is needed")
    return Table(path, values, patients)


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


def _task_name(name: str) -> str:
    """CheXpert's name of a finding, however it is spelt; another task's own."""
    name = name.strip()
    return finding_of(name) or name


def _numbers(path: Path, cells: pd.Series, names: pd.Series) -> np.ndarray:
    """(N,) floats, NaN where a cell is empty."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    strange = np.isnan(values) & cells.notna().to_numpy() & (cells.astype(str).str.strip().str.casefold() != "nan")
    if (at := np.flatnonzero(strange)).size:
        raise UserError(f"{path}: {names.iloc[at[0]]}, column {cells.name}: {cells.iloc[at[0]]!r} is not a number")
    return values


def _patients_of(names: Iterable[str]) -> list[str]:
    """Whose each study is, where its name says so as CheXpert's do (patient64741); otherwise the study itself."""
    matches = ((name, re.search(r"patient\d+", name)) for name in names)
    return [match.group() if match else name for name, match in matches]


def _some(names: list[str]) -> str:
    """ "3 rows (a, b, c)"; the first few of many."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} row{'s' * (len(names) > 1)} ({', '.join(map(str, names[:SHOWN]))}{more})"


def _block(table: pd.DataFrame, width: int) -> str:
    """A table whose columns go on below where the line is full."""
    lines = table.to_string(line_width=width).splitlines()
    return "\n".join(line.rstrip(" \\") for line in lines)


def _records(table: pd.DataFrame) -> list[dict]:
    """Rows as dicts of plain values, None where there is none."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
