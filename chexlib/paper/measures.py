"""The numbers that the paper's questions ask for, from a study's `Results`; figures, tables and sentences share them.

Every interval is a percentile interval over test sets in which patients were drawn anew (the paper, section 3.1);
all models share the draws, so every difference is paired. Where all models behind a number were trained from several
seeds, a second interval draws seeds anew as well (`chexlib.stats.seeds`), and verdicts rest on that; where one was
trained once it is NaN. A correlation has a third, for which architectures are drawn anew, too. Letters: M models (rows
of `results.models`), R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.runs.store import by_study

AUC_MARGIN = 0.01
"""Mean AUCs nearer than this are called the same, once the whole interval is inside; the paper states none."""

FEWEST = 5
"""A rank correlation over fewer architectures than this is not shown."""

INTERVALS = ("low", "high", "low_seeds", "high_seeds", "p")
"""What a table says of a difference beside its value; `p` is over patients."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over patients, and that over patients and seeds (NaN where a model has one seed).

    `n` says over how many models it was taken.
    """

    value: float
    low: float
    high: float
    n: int = 1
    low_seeds: float = np.nan
    high_seeds: float = np.nan

    @property
    def over_seeds(self) -> bool:
        """Whether there is an interval over patients and seeds."""
        return not np.isnan(self.low_seeds)

    @property
    def interval(self) -> tuple[float, float]:
        """What verdicts rest on: the interval over patients and seeds where there is one, over patients otherwise."""
        return (self.low_seeds, self.high_seeds) if self.over_seeds else (self.low, self.high)

    def verdict(self, margin: float = AUC_MARGIN) -> str:
        """What `interval` allows: "higher", "lower", "same" (whole interval inside the margin) or "open"."""
        low, high = self.interval
        if -margin < low and high < margin:
            return "same"
        if low > 0:
            return "higher"
        return "lower" if high < 0 else "open"


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho of a column against the mean AUC, and its intervals.

    patients: these drawn anew; seeds: patients and seeds (NaN where a model has one seed); architectures: these drawn
    anew as well as what the widest of the other two draws.
    """

    rho: float
    p: float
    n: int
    patients: tuple[float, float]
    architectures: tuple[float, float]
    seeds: tuple[float, float] = (np.nan, np.nan)

    @property
    def over_seeds(self) -> bool:
        """Whether there is an interval over patients and seeds."""
        return not np.isnan(self.seeds[0])

    @property
    def given(self) -> tuple[float, float]:
        """The interval for the architectures at hand: over patients and seeds where there is one, or patients."""
        return self.seeds if self.over_seeds else self.patients


def rows(results: Any, init: str | None = None, minus: int | None = 0, in_paper: bool | None = None) -> pd.DataFrame:
    """The rows of `results.models` that match, with a column `row`: the place in `results.replicates`."""
    models = results.models.assign(row=np.arange(len(results.models)))
    keep = np.ones(len(models), dtype=bool)
    if init is not None:
        keep &= (models["init"] == init).to_numpy()
    if minus is not None:
        keep &= (models["minus"] == minus).to_numpy()
    if in_paper is not None:
        keep &= (models["in_paper"].astype(bool) == in_paper).to_numpy()
    return models[keep]


def estimate(value: float, replicates: np.ndarray, n: int = 1) -> Estimate:
    """A value with the percentile interval of its replicates (R,); NaNs (a class missing) are left out."""
    low, high = np.nanpercentile(replicates, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high), n)


def intervals(difference: Any) -> dict[str, float]:
    """The INTERVALS of a `chexlib.stats.Difference`."""
    return {name: getattr(difference, name) for name in INTERVALS}


def stated(row: Any, column: str, n: int = 1) -> Estimate:
    """The Estimate that a Difference, or a row of `results.models` or of a table of differences, has in `column`."""
    return Estimate(getattr(row, column), row.low, row.high, n, row.low_seeds, row.high_seeds)


def weighing(results: Any, places: Any) -> np.ndarray:
    """Equal weights (M,) on the models at these places of `results.replicates`, for `results.over_seeds`."""
    weights = np.zeros(len(results.models))
    weights[np.asarray(places, dtype=int)] = 1
    return weights


def correlation(results: Any, column: str, init: str) -> Correlation | None:
    """Spearman's rho of `column` ("top1" or "parameters") and AUC over the paper's architectures; None if too few."""
    models = rows(results, init, in_paper=True).dropna(subset=[column, "auc"])
    if len(models) < FEWEST:
        return None
    both = results.over_seeds(weighing(results, models["row"]))  # (R, M)
    return _spearman(
        models[column].to_numpy(float),
        models["auc"].to_numpy(float),
        results.replicates[:, models["row"]],
        both[:, models["row"]],
    )


def boosts(results: Any, minus: int | None = 0) -> pd.DataFrame:
    """One row an architecture that the study trained from both inits: AUC with ImageNet weights minus without, paired.

    Columns: arch, minus, label, family, parameters, top1, in_paper, seeds (the fewer of the two), boost, low, high,
    low_seeds, high_seeds, p (over patients), and `pretrained` and `random`, the two places in `results.replicates`.
    Empty when nothing was trained from both.
    """
    keys = ["arch", "minus"]
    both = (
        rows(results, "imagenet", minus)
        .reset_index(names="a")
        .merge(
            rows(results, "random", minus).reset_index(names="b")[[*keys, "b", "row", "seeds"]],
            on=keys,
            suffixes=("", "_random"),
        )
    )
    found = []
    for model in both.itertuples():
        difference = results.difference(model.a, model.b)
        found.append(
            {
                "arch": model.arch,
                "minus": model.minus,
                "label": model.label,
                "family": model.family,
                "parameters": model.parameters,
                "top1": model.top1,
                "in_paper": bool(model.in_paper),
                "seeds": min(model.seeds, model.seeds_random),
                "boost": difference.value,
                **intervals(difference),
                "pretrained": model.row,
                "random": model.row_random,
            }
        )
    facts = [*keys, "label", "family", "parameters", "top1", "in_paper", "seeds"]
    return pd.DataFrame(found, columns=[*facts, "boost", *INTERVALS, "pretrained", "random"])


def mean_boost(results: Any) -> Estimate | None:
    """The boost averaged over the (untruncated) architectures that the study trained from both inits, or None."""
    table = boosts(results)
    if table.empty:
        return None
    names = results.models.index
    difference = results.difference(list(names[table["pretrained"]]), list(names[table["random"]]))
    return stated(difference, "value", len(table))


def boost_correlation(results: Any) -> Correlation | None:
    """Spearman's rho of parameters and boost over the paper's architectures; None if fewer than FEWEST."""
    table = boosts(results)
    table = table[table["in_paper"].astype(bool)]
    if len(table) < FEWEST:
        return None
    pretrained, random = table["pretrained"], table["random"]
    both = results.over_seeds(weighing(results, [*pretrained, *random]))  # (R, M)
    return _spearman(
        table["parameters"].to_numpy(float),
        table["boost"].to_numpy(float),
        results.replicates[:, pretrained] - results.replicates[:, random],
        both[:, pretrained] - both[:, random],
    )


def extremes(results: Any, init: str) -> tuple[str, str, Estimate] | None:
    """The best and the worst untruncated model (names) of an init, and the paired difference of their AUCs.

    The two were picked on the same patients on which they are compared, which widens the difference: the paper's
    comparison (section 4.1) has the same bias.
    """
    models = rows(results, init).dropna(subset=["auc"])
    if len(models) < 2:
        return None
    best, worst = models["auc"].idxmax(), models["auc"].idxmin()
    difference = results.difference(best, worst)
    return (
        str(models.loc[best, "label"]),
        str(models.loc[worst, "label"]),
        stated(difference, "value", len(models)),
    )


def view_alone(results: Any) -> Estimate | None:
    """Mean AUC of predicting, for every image, how often the task is positive in validation images of the same view.

    Over the same test studies and tasks as the models, patients drawn anew: what can be had by telling views apart
    and nothing else. None where the test images are of one view.
    """
    table = results.finished[0].predictions()
    seen, table = table[table["split"] == "val"], table[table["split"] == "test"].copy()
    if table["view"].nunique() < 2:
        return None
    for task in results.tasks:
        rates = seen.groupby("view")[f"y:{task}"].mean()
        table[f"p:{task}"] = table["view"].map(rates).astype(float).fillna(seen[f"y:{task}"].mean())
    y, p, patients = by_study(table, results.tasks, results.finished[0].spec.aggregate)
    found = stats.bootstrap_auroc(y, p[None], groups=patients)
    return estimate(found.mean[0], found.mean_replicates[:, 0], len(results.tasks))


def positive_by_view(results: Any, task: str) -> dict[str, float]:
    """Share of test images of each view with the task positive."""
    table = results.finished[0].predictions()
    table = table[(table["split"] == "test") & (table["view"] != "")]
    return table.groupby("view")[f"y:{task}"].mean().to_dict()


def _spearman(x: np.ndarray, y: np.ndarray, replicates: np.ndarray, both: np.ndarray) -> Correlation:
    """Spearman's rho of x (n,) and y (n,), with its intervals from replicates (R, n) of y over patients, and over both.

    A model with one seed makes a column of `both` NaN, and with it every rho of these replicates.
    """
    found = stats.spearman(x, y)
    seeds = stats.spearman_interval(x, both)
    return Correlation(
        found.rho,
        found.p,
        found.n,
        stats.spearman_interval(x, replicates),
        stats.spearman_interval(x, replicates if np.isnan(seeds[0]) else both, draw_architectures=True),
        seeds,
    )
