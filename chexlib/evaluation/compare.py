"""AUROCs of several models on the same studies, with intervals and every paired difference.

The bootstrap draws patients, the same draws for all models (`chexlib.stats.bootstrap`), so that a difference is paired;
its interval is far narrower than the models' own would suggest, for the same patients are hard for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.errors import UserError
from chexlib.evaluation import files
from chexlib.stats import BootstrapAreas, bootstrap_auroc, holm

MEAN = "mean"
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
    bootstrap: BootstrapAreas
    notes: tuple[str, ...] = ()

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a model and task, "mean" first: model, task, auroc, low, high (95 %), positives, negatives, dropped.

        dropped: how many draws lack a class of the task, and are left out of it.
        """
        found = self.bootstrap
        values = np.column_stack([found.mean, found.area])  # (M, 1 + T)
        low, high = (
            np.column_stack(ends) for ends in zip(found.mean_interval(), found.interval(), strict=True)
        )  # (M, 1 + T) each
        rows = pd.MultiIndex.from_product([self.models, [MEAN, *self.tasks]], names=["model", "task"])
        table = pd.DataFrame({"auroc": values.ravel(), "low": low.ravel(), "high": high.ravel()}, rows).reset_index()
        facts = self.counts.assign(dropped=found.dropped)
        return table.join(facts.astype("Int64"), on="task")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair: a, b, difference (mean AUROC of a minus b's), low, high (95 %), p, p_holm.

        p is the bootstrap's, two-sided; p_holm is adjusted for the number of pairs (Holm 1979).
        """
        found = self.bootstrap.differences()
        a, b = np.triu_indices(len(self.models), 1)
        return pd.DataFrame(
            {
                "a": np.array(self.models, dtype=object)[a],
                "b": np.array(self.models, dtype=object)[b],
                "difference": found.value[a, b],
                "low": found.low[a, b],
                "high": found.high[a, b],
                "p": found.p[a, b],
                "p_holm": holm(found.p[a, b]),
            }
        )

    @property
    def ranked(self) -> list[str]:
        """The models, best mean first."""
        return [self.models[m] for m in np.argsort(-self.bootstrap.mean, kind="stable")]

    def text(self, width: int = 100) -> str:
        """The table and the matrix of differences, for a terminal of that width."""
        of = "" if self.patients == self.n else f" of {self.patients:,} patients"
        draws = len(self.bootstrap.replicates)
        parts = [
            f"{_counted(len(self.models), 'model')} on {self.n:,} studies{of}, labels: {self.truth}",
            f"AUROC, and 95 % interval over {draws:,} draws of {'patients' if of else 'studies'}:",
            self._table_text(width),
        ]
        if len(self.models) > 1:
            pairs = _counted(len(self.pairs), "pair")
            parts += [
                "Mean AUROC of the row minus the column's (* p < 0.05 after Holm's adjustment for "
                f"{pairs}, = equal in every draw; --json has the intervals):",
                self._matrix_text(width),
            ]
        if (dropped := self.table.dropna().query("dropped > 0")[["task", "dropped"]].drop_duplicates()).size:
            listed = ", ".join(f"{row.task} {row.dropped}" for row in dropped.itertuples())
            parts.append(f"Draws without a positive or a negative study, left out of that task: {listed}.")
        return "\n\n".join([*parts, *self.notes])

    def to_json(self) -> dict:
        """What `--json` prints; numbers as they were computed, None where there is none."""
        models: dict[str, dict] = {name: {"mean": {}, "tasks": {}} for name in self.models}
        for row in self.table.itertuples():
            values = {name: _plain(getattr(row, name)) for name in ("auroc", "low", "high")}
            if row.task == MEAN:
                models[row.model]["mean"] = values
            else:
                counts = {name: int(getattr(row, name)) for name in ("positives", "negatives", "dropped")}
                models[row.model]["tasks"][row.task] = values | counts
        pairs = [{name: _plain(value) for name, value in row.items()} for row in self.pairs.to_dict("records")]
        facts = {"studies": self.n, "patients": self.patients, "tasks": list(self.tasks), "notes": list(self.notes)}
        return {"models": models, "pairs": pairs} | facts

    def _table_text(self, width: int) -> str:
        cells = [f"{row.auroc:.3f} ({row.low:.3f} to {row.high:.3f})" for row in self.table.itertuples()]
        wide = self.table.assign(cell=cells).pivot(index="model", columns="task", values="cell")
        wide = wide.loc[self.ranked, [MEAN, *self.tasks]].rename_axis(index=None, columns=None)
        return _block(wide, width)

    def _matrix_text(self, width: int) -> str:
        ranked = self.ranked
        names = [f"{place} {name}" for place, name in enumerate(ranked, 1)]
        places = [str(place) for place in range(1, len(ranked) + 1)]
        matrix = pd.DataFrame("", index=names, columns=places)
        known = self.pairs.set_index(["a", "b"])
        for i, j in combinations(range(len(ranked)), 2):
            a, b, sign = ranked[i], ranked[j], 1
            if (a, b) not in known.index:
                a, b, sign = b, a, -1
            pair = known.loc[(a, b)]
            same = pair["difference"] == pair["low"] == pair["high"] == 0
            for row, column, value in ((i, j, sign), (j, i, -sign)):
                text = "=" if same else f"{value * pair['difference']:+.3f}{'*' if pair['p_holm'] < 0.05 else ''}"
                matrix.iloc[row, column] = text
        return _block(matrix, width)


def evaluate(
    predictions: Sequence[str | Path],
    truth: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    inner: bool = False,
    n_boot: int = 1000,
) -> Evaluation:
    """Scores files of predictions against a file of labels.

    predictions: CSV or Parquet files, or folders of runs. truth: labels; those in the first file of predictions where
    None (a run's has them). tasks: those to be scored; all that every file has and that have both classes, where None.
    inner: score on the studies that all files have, where one lacks some. Raises UserError for what cannot be scored.
    """
    if not predictions:
        raise UserError("no predictions: give at least one file")
    if not 1 <= n_boot <= MOST:
        raise UserError(f"{n_boot:,} draws: give a number from 1 to {MOST:,}, e.g. 1000")
    tasks = list(dict.fromkeys(map(files.task_name, tasks or ())))
    names = files.names_of(predictions)
    labels = files.own_truth(predictions[0]) if truth is None else files.read_truth(truth)
    tables = [files.aligned(files.read_predictions(path), labels, inner) for path in predictions]
    common = [name for name in labels.values.index if all(name in table.values.index for table in tables)]
    if not common:
        raise UserError(f"{tables[0].path}: has no study in common with all others: nothing can be compared")
    wanted, notes = _tasks(labels, tables, tasks, common)
    y = labels.values.loc[common, wanted]
    scores = np.stack([_scores(table, y) for table in tables])  # (M, N, T)
    patients = files.patients_of(common) if labels.patients is None else labels.patients.loc[common].to_numpy()
    counts = pd.DataFrame({"positives": (y == 1).sum(), "negatives": (y == 0).sum()})
    if len(common) < len(labels.values):
        notes.append(f"Scored on {len(common)} of {len(labels.values)} studies, those that all files have.")
    return Evaluation(
        tuple(names),
        tuple(wanted),
        str(labels.path),
        len(common),
        len(set(patients)),
        counts,
        bootstrap_auroc(y.to_numpy(float), scores, groups=np.asarray(patients), n_boot=n_boot),
        tuple(notes),
    )


def _tasks(
    labels: files.Table, tables: Sequence[files.Table], asked: Sequence[str], common: list[str]
) -> tuple[list[str], list[str]]:
    """The tasks to score, in the order of the labels' columns or as asked; and notes on what is left out."""
    y = labels.values.loc[common]
    for task in asked:
        if task not in labels.tasks:
            raise UserError(f"{labels.path}: has no labels of {task!r}: it has {', '.join(labels.tasks)}")
        for table in tables:
            if task not in table.tasks:
                raise UserError(f"{table.path}: has no scores of {task!r}: it has {', '.join(table.tasks)}")
    shared = list(asked or (task for task in labels.tasks if all(task in table.tasks for table in tables)))
    if not shared:
        first = tables[0]
        raise UserError(
            f"{first.path}: no task is in all files: it scores {', '.join(first.tasks)}; "
            f"{labels.path} labels {', '.join(labels.tasks)}"
        )
    single = [task for task in shared if y[task].dropna().nunique() < 2]
    if single and (asked or len(single) == len(shared)):
        value = y[single[0]].dropna().unique()
        what = "no known label" if not len(value) else f"only {'positives' if value[0] else 'negatives'}"
        raise UserError(f"{labels.path}: {single[0]} has {what} in these studies: an AUROC needs both classes")
    notes = [f"Left out, as the labels have one class only: {', '.join(single)}."] if single else []
    only = sorted({task for table in tables for task in table.tasks} - set(shared))
    if only and not asked:
        notes.append(f"Left out, as not every file has them: {', '.join(only)}.")
    return [task for task in shared if task not in single], notes


def _scores(table: files.Table, y: pd.DataFrame) -> np.ndarray:
    """(N, T); UserError where a score is missing although the label is known."""
    p = table.values.loc[y.index, list(y.columns)]
    if (at := np.argwhere((p.isna() & y.notna()).to_numpy())).size:
        row, task = y.index[at[0, 0]], y.columns[at[0, 1]]
        raise UserError(
            f"{table.path}: {row}, column {task}: no score ({len(at)} in all): a model must score every study"
        )
    return p.to_numpy(float)


def _block(table: pd.DataFrame, width: int) -> str:
    """A table whose columns go on below where the line is full."""
    lines = table.to_string(line_width=width).splitlines()
    return "\n".join(line.rstrip(" \\") for line in lines)


def _plain(value: float | str) -> float | str | None:
    return value if isinstance(value, str) else None if np.isnan(value) else float(value)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
