"""What files of predictions are worth against a file of labels, whoever made either: `chexlib evaluate`.

A file is a CSV (gzipped or not) or a Parquet table with a row a study or an image: one column names it, further ones
hold a score or a label for each task, in any order; or it is a run's folder. Nothing is guessed that could be wrong in
silence: rows are matched by their names, whatever folders stand before them, and what does not match is refused with a
few of them. Images are combined where the other file is of studies: scores by their maximum, labels where they agree.
The bootstrap draws patients, the same draws for all models (`chexlib.stats.bootstrap`), so that a difference is paired.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.names import alike, finding_of, image_paths, normal
from chexlib.data.readers.label_files import need_header, read_csv
from chexlib.errors import UserError, quoted
from chexlib.escape import NO_TEX, records
from chexlib.runs.store import Run
from chexlib.stats import BootstrapAreas, bootstrap_auprc, bootstrap_auroc, holm
from chexlib.stats.intervals import FEW

NAMES = ("study", "path", "image", "image index", "image id", "filename", "file", "id", "name")
"""Columns that can say which study or image a row is, the best first; another column serves if it is the first."""

PATIENTS = ("patient", "patient id", "patientid")
CHEXPERTS = re.compile(r"patient[^/]+/study[^/]+(?:/[^/]+)?$")
"""How its studies' and images' names end."""

ABOUT = {*PATIENTS, "split", "view", "sex", "age", "frontal/lateral", "ap/pa"}
"""Columns that say whose a row is, and all that are neither a score nor a label."""

MEAN, SHOWN = "mean", 3  # the row of means over tasks; names that an error lists
COLUMNS = ["auroc", "low", "high", "auprc", "auprc_low", "auprc_high"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Models on tasks of `n` studies; `notes` say what was left out, a sentence each.

    `table` has a row a model and task, "mean" first: model, task, auroc, low, high, auprc, auprc_low, auprc_high (95 %
    intervals), positives, negatives, dropped (how many draws lack a class of the task, and are left out of it).
    `pairs` has a row a pair: a, b, difference (mean AUROC of a minus b's), low, high (95 %), p (the bootstrap's,
    two-sided) and p_holm, adjusted for the number of pairs (Holm 1979). `interval`, "percentile" or "bca", is that of
    means and differences, and of tasks unless a class of theirs is rare.
    """

    tasks: tuple[str, ...]
    truth: str
    n: int
    patients: int
    n_boot: int
    interval: str
    table: pd.DataFrame
    pairs: pd.DataFrame
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Both tables, for a terminal; in each task the models in the order of their mean AUROC, the best first."""
        of = "" if self.patients == self.n else f" of {self.patients:,} patients"
        draws = f"{self.n_boot:,} draws of {'patients' if of else 'studies'}"
        areas = self.table.set_index(["task", "model"])
        best = areas.loc[MEAN].sort_values("auroc", ascending=False, kind="stable").index
        areas = areas.loc[list(product([MEAN, *self.tasks], best))]
        cells = {"AUROC": _with_interval(areas, *COLUMNS[:3]), "AUPRC": _with_interval(areas, *COLUMNS[3:])}
        parts = [
            f"{self.n:,} studies{of}, labels: {self.truth}",
            f"AUROC and AUPRC, each with its 95 % interval over {draws}\n"
            "(AUPRC is average precision: a score that says nothing reaches the share of positives):",
            pd.DataFrame(cells, areas.index).to_string(),
        ]
        if len(self.pairs):
            cells = _with_interval(self.pairs, "difference", "low", "high", sign="+")
            pairs = self.pairs.assign(difference=cells).drop(columns=["low", "high"])
            parts += [
                "Mean AUROC of a minus b's (p_holm: adjusted for the number of pairs by Holm's method):",
                pairs.to_string(index=False, float_format="{:.3f}".format),
            ]
        return "\n\n".join([*parts, *self.notes])

    def to_json(self) -> dict:
        """What `--json` prints; numbers as they were computed, None where there is none."""
        tables = {"scores": records(self.table), "pairs": records(self.pairs)}
        facts = {"studies": self.n, "patients": self.patients, "draws": self.n_boot, "interval": self.interval}
        return tables | facts | {"notes": list(self.notes)}

    def plot(self, path: str | Path) -> None:
        """Draws AUROCs with their intervals, a panel a task; UserError for a file that cannot be written."""
        from matplotlib import rc_context

        path = Path(path).expanduser()
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UserError(f"{path}: figures are PNG, SVG or PDF: give a name that ends in .png, .svg or .pdf")
        wide = self.table.pivot(index="model", columns="task").sort_values(("auroc", MEAN), ascending=False)
        areas, low, high = (wide[name][[MEAN, *self.tasks]] for name in COLUMNS[:3])
        rows = -(-areas.shape[1] // 3)
        with rc_context(NO_TEX):
            panels = areas.plot(
                subplots=True, layout=(rows, 3), figsize=(9, 2 + 2 * rows), sharey=True, legend=False,
                yerr=np.stack([areas - low, high - areas]).transpose(2, 0, 1), marker="o", linestyle="",
                xticks=range(len(areas)), rot=90, title=list(areas), ylabel="AUROC",
            )  # fmt: skip
            try:
                panels[0, 0].figure.savefig(path, bbox_inches="tight")
            except OSError as error:
                raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from None


def _with_interval(table: pd.DataFrame, value: str, low: str, high: str, sign: str = "") -> list[str]:
    """As 0.927 (0.912 to 0.938)."""
    shown = f"{{:{sign}.3f}} ({{:{sign}.3f}} to {{:{sign}.3f}})"
    return [shown.format(*row) for row in table[[value, low, high]].to_numpy()]


def evaluate(
    predictions: Sequence[str | Path],
    truth: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    inner: bool = False,
    n_boot: int = 1000,
    interval: str = "percentile",
) -> Evaluation:
    """Scores files of predictions against a file of labels.

    predictions: CSV or Parquet files, or folders of runs; at least one. truth: labels; those in the first file of
    predictions where None (a run's has them). tasks: those to be scored; all that every file has and that have both
    classes, where None. inner: score on the studies that all files have, where one lacks some. interval: "percentile"
    or "bca"; BCa whatever it says for tasks with fewer than FEW studies of a class. Raises UserError for what cannot be
    scored.
    """
    files = [_file(path) for path in predictions]
    models = _models(files)
    if truth is None and files[0].suffix != ".parquet":
        raise UserError(f"{files[0]}: holds no labels: give them with --truth")
    truth, said = _file(truth or files[0]), list[str]()
    labels, whose = _labels(truth, said)
    scores = [_scores(file, said) for file in files]
    if any(_of_studies(values.index, labels.index) for values in scores):
        labels, whose = _by_study(truth, labels, whose)
    scores = [_matched(file, values, truth, labels, inner) for file, values in zip(files, scores, strict=True)]
    common = labels.index[np.all([labels.index.isin(table.index) for table in scores], axis=0)]
    if not len(common):
        raise UserError(f"{files[0]}: has no study in common with all others: nothing can be compared")
    y, notes = _chosen(truth, labels.loc[common], files, scores, list(dict.fromkeys(map(_task_name, tasks or ()))))
    if len(common) < len(labels):
        notes.append(f"Scored on {len(common)} of {len(labels)} studies, those that all files have.")
    counts = pd.DataFrame({"positives": (y == 1).sum(), "negatives": (y == 0).sum()})
    rare = counts.min(axis=1) < FEW
    if rare.any():
        few = ", ".join(f"{task} ({n})" for task, n in counts.min(axis=1)[rare].items())
        notes.append(f"BCa intervals and no verdict, as a class has fewer than {FEW} studies: {few}.")
    p = np.stack([_complete(file, table, y) for file, table in zip(files, scores, strict=True)])  # (M, N, T)
    patients, bca = whose[common].to_numpy(), bool(rare.any()) or interval == "bca"
    auroc, auprc = (
        boot(y.to_numpy(float), p, patients, n_boot, bca=bca) for boot in (bootstrap_auroc, bootstrap_auprc)
    )
    if dropped := [f"{task} {n}" for task, n in zip(y, auroc.dropped, strict=True) if n]:
        notes.append(f"Draws without a positive or a negative study, left out of that task: {', '.join(dropped)}.")
    rows = pd.MultiIndex.from_product([models, [MEAN, *y]], names=["model", "task"])
    values = [*_with_ends(auroc, rare, interval), *_with_ends(auprc, rare, interval)]
    table = pd.DataFrame({name: part.ravel() for name, part in zip(COLUMNS, values, strict=True)}, rows).reset_index()
    table = table.join(counts.assign(dropped=auroc.dropped).astype("Int64"), on="task")
    return Evaluation(
        tuple(y), str(truth), len(y), len(set(patients)), n_boot, interval,
        table, _pairs(models, auroc, interval), tuple(dict.fromkeys([*said, *notes])),
    )  # fmt: skip


def _with_ends(found: BootstrapAreas, rare: pd.Series, method: str) -> list[np.ndarray]:
    """Areas and the low and high ends of their intervals, (M, 1 + T) each, the mean first."""
    low, high = found.interval(method=method)
    if rare.any():
        corrected = found.interval(method="bca")
        low, high = np.where(rare, corrected[0], low), np.where(rare, corrected[1], high)
    means = found.mean, *found.mean_interval(method=method)
    return [np.column_stack(pair) for pair in zip(means, (found.area, low, high), strict=True)]


def _pairs(models: list[str], areas: BootstrapAreas, method: str) -> pd.DataFrame:
    """Evaluation.pairs."""
    found, (a, b) = areas.differences(method=method), np.triu_indices(len(models), 1)
    names = np.array(models, dtype=object)
    pairs = {"a": names[a], "b": names[b], "difference": found.value[a, b], "low": found.low[a, b]}
    return pd.DataFrame(pairs | {"high": found.high[a, b], "p": found.p[a, b], "p_holm": holm(found.p[a, b])})


def _file(path: str | Path) -> Path:
    """A table's file: that of its predictions for a run's folder."""
    path = Path(path)
    return path / "predictions.parquet" if path.is_dir() else path


def _models(files: Sequence[Path]) -> list[str]:
    """A name a file: a run's folder or the file's stem, with the folder before it where two are the same."""
    paths = [file.resolve() for file in files]
    paths = [path.parent if path.name == "predictions.parquet" else path for path in paths]
    stems = [path.name if path.is_dir() else path.name.split(".")[0] for path in paths]
    named = zip(paths, stems, strict=True)
    names = [f"{path.parent.name}/{stem}" if stems.count(stem) > 1 else stem for path, stem in named]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{min(twice)}: given twice: give each file of predictions once")
    return names


def _chosen(
    truth: Path, labels: pd.DataFrame, files: list[Path], scores: list[pd.DataFrame], asked: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Labels of the tasks to score, in their columns' order or as asked; and notes on what is left out."""
    kinds = ["labels", *["scores"] * len(files)]
    for file, table, what in zip([truth, *files], [labels, *scores], kinds, strict=True):
        if lacking := [task for task in asked if task not in table]:
            raise UserError(f"{file}: has no {what} of {lacking[0]!r}: it has {', '.join(table)}")
    shared = asked or [task for task in labels if all(task in table for table in scores)]
    if not shared:
        raise UserError(
            f"{files[0]}: no task is in all files: it scores {', '.join(scores[0])}; {truth} labels {', '.join(labels)}"
        )
    single = [task for task in shared if labels[task].nunique() < 2]
    if single and (asked or len(single) == len(shared)):
        value = labels[single[0]].dropna().unique()
        what = "no known label" if not len(value) else f"only {'positives' if value[0] else 'negatives'}"
        raise UserError(f"{truth}: {single[0]} has {what} in these studies: an AUROC needs both classes")
    notes = [f"Left out, as the labels have one class only: {', '.join(single)}."] if single else []
    only = sorted({task for table in scores for task in table} - set(shared))
    if only and not asked:
        notes.append(f"Left out, as not every file has them: {', '.join(only)}.")
    return labels[[task for task in shared if task not in single]], notes


def _tails(name: str) -> list[str]:
    """A name without its first folder, its first two, and so on."""
    parts = name.split("/")
    return ["/".join(parts[first:]) for first in range(1, len(parts))]


def _folders(names: pd.Index) -> pd.Index:
    """Of images the studies, if their names say them."""
    return names.map(lambda name: name.rpartition("/")[0])


def _named_as(names: pd.Index, wanted: pd.Index) -> pd.Index:
    """Names as `wanted` has them, where one is the other with folders before it, or both are of the same
    patient64741/study1; as they are where that would make one of two."""
    if names.isin(wanted).all():
        return names

    def short(name: str) -> str:
        study = CHEXPERTS.search(name)
        return study[0] if study else name

    whole = dict(zip(wanted.map(short), wanted)) if wanted.map(short).is_unique else {}
    whole |= dict(zip(wanted, wanted))
    times = Counter(tail for name in wanted for tail in _tails(name))
    ends = {tail: name for name in wanted for tail in _tails(name) if times[tail] == 1}
    renamed = {}
    for name in names.unique():
        ways = (whole.get(name), whole.get(short(name)), ends.get(name), *map(whole.get, _tails(name)))
        renamed[name] = next(filter(None, ways), name)
    return names.map(renamed) if len(set(renamed.values())) == len(renamed) else names


def _of_studies(names: pd.Index, wanted: pd.Index) -> bool:
    """Whether names are of studies, and `wanted` of their images."""
    as_images = (_named_as(one, wanted).isin(wanted).any() for one in (names, _folders(names)))
    return not any(as_images) and _named_as(names, _folders(wanted).unique()).isin(_folders(wanted)).any()


def _by_study(truth: Path, labels: pd.DataFrame, whose: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
    """Labels of images as those of their studies; UserError where two images of one differ."""
    studies = labels.groupby(_folders(labels.index))
    differ = (studies.nunique(dropna=False) > 1).any(axis=1)
    if differ.any():
        first = differ.index[differ][0]
        raise UserError(f"{truth}: the images of {first} have different labels, and scores are of studies: give theirs")
    return studies.first(), whose.groupby(_folders(whose.index)).first()


def _matched(file: Path, values: pd.DataFrame, truth: Path, labels: pd.DataFrame, inner: bool) -> pd.DataFrame:
    """The file's rows that the labels have, images combined where the labels are of studies (by maximum).

    Unless `inner`, rows that only one of the two has are refused with UserError.
    """
    names = _named_as(values.index, labels.index)
    if not names.isin(labels.index).any():
        studies = _named_as(_folders(names), labels.index)
        names = studies if studies.isin(labels.index).any() else names
    values = values.groupby(names).max()
    missing, strange = labels.index.difference(values.index), values.index.difference(labels.index)
    nearly = alike(pd.Series([*missing, *strange]))
    hint = f": case or zeros alone tell {' and '.join(nearly[0])} apart" if nearly else ""
    if len(strange) == len(values):
        raise UserError(
            f"{file}: no row is of {truth}: it names {quoted(strange[0])}, and the labels {quoted(missing[0])}{hint}: "
            "give the predictions of these studies"
        )
    if len(missing) + len(strange) and not inner:
        parts = [f"lacks {_some(missing)} of {truth.name}"] if len(missing) else []
        parts += [f"has {_some(strange)} that {truth.name} does not"] if len(strange) else []
        raise UserError(f"{file}: {' and '.join(parts)}{hint}: --inner compares on what both have")
    return values[values.index.isin(labels.index)]


def _complete(file: Path, values: pd.DataFrame, y: pd.DataFrame) -> np.ndarray:
    """(N, T) in the order of the labels; UserError where a score is missing although the label is known."""
    p = values.loc[y.index, y.columns]
    missing = p.isna() & y.notna()
    _refuse(file, p, missing, f"no score ({missing.to_numpy().sum()} in all): a model must score every study")
    return p.to_numpy(float)


def _labels(file: Path, notes: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Labels of 1, 0 or NaN (unknown), and whose each study is. Raises UserError for any other label.

    A patient is told by a column, or by a study's name as CheXpert's are (patient64741); otherwise a study is its own.
    """
    rows, names, values = _read(file, "y:", "labels: a column that names the study, and one a finding", notes)
    wrong = values.notna() & ~values.isin([0, 1])
    _refuse(file, values, wrong, "{} is no label: 1, 0 or empty: decide first what an uncertain label counts as")
    by_name = {str(column).strip().casefold(): column for column in rows}
    column = next((by_name[name] for name in PATIENTS if name in by_name), None)
    if column is not None:
        return values, _filled(file, rows[column], normal).groupby(names).first()
    names = values.index.to_series()
    return values, names.str.extract(r"(patient\d+)", expand=False).fillna(names)


def _scores(file: Path, notes: list[str]) -> pd.DataFrame:
    """Scores of a column a task; of a run's images their studies', combined as the run's spec says."""
    return _read(file, "p:", "predictions: a column that names the study, and a score a task", notes)[2]


def _read(file: Path, prefix: str, what: str, notes: list[str]) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    """A file's rows as they are, the names of what they are of, and by these their numbers, NaN where a cell is empty.

    `prefix` is that of the columns in question in a run's predictions. Raises UserError for what cannot be read.
    """
    rows = _parquet(file) if file.suffix == ".parquet" else read_csv(file, f"a file of {what}", str, notes)
    ours = [column for column in rows if str(column).startswith(prefix)]
    if ours and "split" in rows:  # a run's predictions.parquet
        rows = rows[rows["split"] == "test"]
    if rows.empty:
        raise UserError(f"{file}: no rows{' of split test' if ours else ''}: give a file of {what}")
    by_name = {str(column).strip().casefold(): column for column in rows}
    names = _filled(file, rows[_name_column(file, rows, by_name)], image_paths)
    columns = ours or [column for key, column in by_name.items() if column != names.name and key not in ABOUT]
    if not columns:
        raise UserError(f"{file}: no column beside {quoted(names.name)}: give a file of {what}")
    cells = rows[columns].set_axis(names)
    values = cells.apply(pd.to_numeric, errors="coerce").astype(float)
    _refuse(file, cells, values.isna() & cells.notna(), "{} is not a number")
    values.columns = [_task_name(str(column).removeprefix(prefix)) for column in columns]
    if not values.columns.is_unique:
        raise UserError(f"{file}: two columns are of {min(values.columns[values.columns.duplicated()])}: leave one")
    if ours:  # a row an image; scores of a study as the run's spec says
        of_a_run = prefix == "p:" and (file.parent / "spec.json").is_file()
        values = values.groupby(level=0).agg(Run(file.parent).spec.aggregate if of_a_run else "max")
    elif not names.is_unique:
        twice = _some(names[names.duplicated()].drop_duplicates().sort_values())
        raise UserError(f"{file}: {twice} more than once: one row for each is needed")
    return rows, names, values


def _parquet(file: Path) -> pd.DataFrame:
    run = Run(file.parent)
    if run.finished and file.name == "predictions.parquet":
        return run.predictions()
    try:
        return pd.read_parquet(file).reset_index(drop=True)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file: give a file of predictions, or a run's folder") from None
    except (OSError, ValueError):
        raise UserError(f"{file}: not readable as Parquet: write it again") from None


def _name_column(file: Path, rows: pd.DataFrame, by_name: dict[str, str]) -> str:
    """The column that names the study or image of a row."""
    if found := next((by_name[name] for name in NAMES if name in by_name), None):
        return found
    need_header(file, rows)
    if pd.to_numeric(rows.iloc[:, 0], errors="coerce").notna().all():
        raise UserError(f"{file}: no column names the study or image: call it Study, Path or Image")
    return rows.columns[0]


def _filled(file: Path, cells: pd.Series, form: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Names of studies or patients in their normal form; UserError where a cell has none."""
    names = form(cells)
    for place in names.index[names.isna()][:1]:
        raise UserError(f"{file}: row {place + 2}, column {cells.name}: empty: every row needs a name there")
    return names.astype(object)


def _refuse(file: Path, table: pd.DataFrame, wrong: pd.DataFrame, why: str) -> None:
    """Raises UserError for the first of the cells that are wrong, if any; `why` is formatted with what it holds."""
    if (at := np.argwhere(wrong.to_numpy())).size:
        row, column = at[0]
        place, value = f"{table.index[row]}, column {table.columns[column]}", table.iat[row, column]
        raise UserError(f"{file}: {place}: {why.format(f'{value:g}' if isinstance(value, float) else quoted(value))}")


def _task_name(name: str) -> str:
    """CheXpert's name of a finding, however it is spelt; another task's own."""
    name = name.strip()
    return finding_of(name) or name


def _some(names: Iterable[str]) -> str:
    """ "3 rows (a, b, c)"; the first few of many."""
    names = list(map(str, names))
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} row{'s' * (len(names) > 1)} ({', '.join(names[:SHOWN])}{more})"
