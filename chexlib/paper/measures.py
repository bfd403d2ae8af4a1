"""The numbers that the paper's questions ask for, from a study's `Results`; figures, tables and sentences share them.

Every interval is a percentile interval over test sets in which patients were drawn anew (the paper, section 3.1);
all models share the draws, so every difference is paired. What is drawn anew is patients only, not seeds; a
correlation has a second interval, for which architectures are drawn anew as well. Letters: M models (rows of
`results.models`), R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.runs.predictions import by_study

AUC_MARGIN = 0.01
"""Mean AUCs nearer than this are called the same, once the whole interval is inside; the paper states none."""

FEWEST = 5
"""A rank correlation over fewer architectures than this is not shown."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; `n` says over how many models it was taken."""

    value: float
    low: float
    high: float
    n: int = 1

    def verdict(self, margin: float = AUC_MARGIN) -> str:
        """What the interval allows: "higher", "lower", "same" (whole interval inside the margin) or "open"."""
        if -margin < self.low and self.high < margin:
            return "same"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "open"


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho of a column against the mean AUC, its intervals: patients drawn anew; architectures too."""

    rho: float
    p: float
    n: int
    patients: tuple[float, float]
    architectures: tuple[float, float]


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


def correlation(results: Any, column: str, init: str) -> Correlation | None:
    """Spearman's rho of `column` ("top1" or "parameters") and AUC over the paper's architectures; None if too few."""
    models = rows(results, init, in_paper=True).dropna(subset=[column, "auc"])
    if len(models) < FEWEST:
        return None
    return _spearman(
        models[column].to_numpy(float), models["auc"].to_numpy(float), results.replicates[:, models["row"]]
    )


def boosts(results: Any, minus: int | None = 0) -> pd.DataFrame:
    """One row an architecture that the study trained from both inits: AUC with ImageNet weights minus without, paired.

    Columns: arch, minus, label, family, parameters, top1, in_paper, seeds, boost, low, high, p, and `pretrained` and
    `random`, the two places in `results.replicates`. Empty when nothing was trained from both.
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
                "low": difference.low,
                "high": difference.high,
                "p": difference.p,
                "pretrained": model.row,
                "random": model.row_random,
            }
        )
    columns = [
        "arch",
        "minus",
        "label",
        "family",
        "parameters",
        "top1",
        "in_paper",
        "seeds",
        "boost",
        "low",
        "high",
        "p",
        "pretrained",
        "random",
    ]
    return pd.DataFrame(found, columns=columns)


def mean_boost(results: Any) -> Estimate | None:
    """The boost averaged over the (untruncated) architectures that the study trained from both inits, or None."""
    table = boosts(results)
    if table.empty:
        return None
    replicates = (
        results.replicates[:, table["pretrained"]] - results.replicates[:, table["random"]]
    )  # (R, architectures)
    return estimate(table["boost"].mean(), replicates.mean(axis=1), len(table))


def boost_correlation(results: Any) -> Correlation | None:
    """Spearman's rho of parameters and boost over the paper's architectures; None if fewer than FEWEST."""
    table = boosts(results)
    table = table[table["in_paper"].astype(bool)]
    if len(table) < FEWEST:
        return None
    replicates = results.replicates[:, table["pretrained"]] - results.replicates[:, table["random"]]
    return _spearman(table["parameters"].to_numpy(float), table["boost"].to_numpy(float), replicates)


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
        Estimate(difference.value, difference.low, difference.high, len(models)),
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


def _spearman(x: np.ndarray, y: np.ndarray, replicates: np.ndarray) -> Correlation:
    """Spearman's rho of x (n,) and y (n,), with its intervals from replicates (R, n) of y."""
    found = stats.spearman(x, y)
    return Correlation(
        found.rho,
        found.p,
        found.n,
        stats.spearman_interval(x, replicates, draw_architectures=False),
        stats.spearman_interval(x, replicates, draw_architectures=True),
    )
