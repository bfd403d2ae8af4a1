"""The numbers that the paper's Figures 1 to 4 show, for the study at hand: what is drawn, and what is saved as CSV.

One row a mark or a point of a line. `low, high` is the 95 % interval over patients, `low_seeds, high_seeds` that over
patients and seeds, NaN where a model has one seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.paper import designs, measures
from chexlib.paper.measures import FEWEST, weighing

BOTH_INITS = ("random", "imagenet")
ENDS = ["low", "high", "low_seeds", "high_seeds"]
PANEL = ["panel", "model", "family", "init", "x", "value", *ENDS]
GRID = 21
"""Points of a fitted line."""


def models(results: Any, column: str) -> pd.DataFrame:
    """Figures 2 and 3: whole architectures from either init, with `column` ("top1" in percent, or "parameters").

    Columns: model, family, init, in_paper, seeds, `column`, auc, and ENDS.
    """
    found = measures.rows(results).dropna(subset=[column, "auc"])
    found = found[found["init"].isin(BOTH_INITS)].rename(columns={"label": "model"})
    return found[["model", "family", "init", "in_paper", "seeds", column, "auc", *ENDS]].reset_index(drop=True)


def boosts(results: Any) -> pd.DataFrame:
    """Figure 4: model, family, in_paper, seeds, parameters, boost (AUC with ImageNet weights minus without), ENDS."""
    found = measures.boosts(results).rename(columns={"label": "model"})
    return found[["model", "family", "in_paper", "seeds", "parameters", "boost", *ENDS]]


def summary(results: Any) -> pd.DataFrame:
    """Figure 1, columns PANEL: x against value, for panels a to d; a panel that the study has nothing for has no row.

    a: ImageNet top-1 (percent) against AUC, and points of the straight line through the paper's architectures (model
    "line"). b: a family's members (x: parameters) and their mean (model "mean"), from random weights. c: architectures
    trained from both inits, their mean, and the mean of their paired differences (init "difference"). d: times smaller
    against the change of the AUC by truncation, whole models at 1 and 0.
    """
    parts = [_accuracies(results), _families(results), _inits(results), _truncations(results)]
    parts = [part.assign(panel=panel) for panel, part in zip("abcd", parts, strict=True)]
    return pd.concat([part.reindex(columns=PANEL) for part in parts if len(part)] or [pd.DataFrame(columns=PANEL)])


def summary_init(results: Any) -> str:
    """Whose AUC Figure 1a shows: "imagenet", as in the paper, where a study has enough of the paper's architectures."""
    pretrained = measures.rows(results, "imagenet", in_paper=True).dropna(subset=["top1", "auc"])
    return "imagenet" if len(pretrained) >= FEWEST else "random"


def truncation_init(results: Any) -> str:
    """Whose truncations Figure 1d shows: "imagenet", as in the paper, where a study has any."""
    found = designs.truncations(results)
    return "imagenet" if (found.loc[found["minus"] > 0, "init"] == "imagenet").any() else "random"


def _accuracies(results: Any) -> pd.DataFrame:
    init = summary_init(results)
    found = measures.rows(results, init).dropna(subset=["top1", "auc"])
    if len(found) < 2:
        return found.iloc[:0]
    found = found.rename(columns={"label": "model", "top1": "x", "auc": "value"})
    return pd.concat([found, _line(results, found[found["in_paper"].astype(bool)]).assign(init=init)])


def _line(results: Any, models: pd.DataFrame) -> pd.DataFrame:
    """The straight line of least squares through the models, at GRID places, each with its intervals; or no row."""
    if len(models) < FEWEST:
        return models.iloc[:0]
    x = models["x"].to_numpy(float)
    grid = np.linspace(x.min(), x.max(), GRID)
    design = np.column_stack([np.ones_like(x), x - x.mean()])  # (n, 2)
    hat = np.column_stack([np.ones(GRID), grid - x.mean()]) @ np.linalg.pinv(design)  # (GRID, n): values -> line
    weights = np.zeros((GRID, len(results.models)))
    weights[:, models["row"]] = hat
    return _weighed(results, weights).assign(model="line", x=grid)


def _families(results: Any) -> pd.DataFrame:
    found = measures.rows(results, "random").dropna(subset=["auc"])
    found = found.rename(columns={"label": "model", "parameters": "x", "auc": "value"})
    parts = []
    for family, members in found.groupby("family", sort=False):
        mean = _weighed(results, weighing(results, members["row"])[None] / len(members))
        mean = mean.assign(model="mean", family=family, init="random", x=members["x"].mean())
        parts.append(pd.concat([mean, members.sort_values("x")]))
    parts.sort(key=lambda part: -part["value"].iloc[0])
    return pd.concat(parts) if len(parts) > 1 else found.iloc[:0]


def _inits(results: Any) -> pd.DataFrame:
    pairs = measures.boosts(results)
    if pairs.empty:
        return pairs
    parts = []
    for init, places in (("random", pairs["random"]), ("imagenet", pairs["pretrained"])):
        mean = _weighed(results, weighing(results, places)[None] / len(pairs)).assign(model="mean", init=init)
        found = results.models.iloc[places].rename(columns={"label": "model", "auc": "value"})
        parts += [mean, found]
    mean = measures.mean_boost(results)
    ends = {name: getattr(mean, name) for name in ENDS}
    parts.append(pd.DataFrame([{"model": "mean", "init": "difference", "value": mean.value, **ends}]))
    return pd.concat(parts)


def _truncations(results: Any) -> pd.DataFrame:
    found = designs.truncations(results)
    found = found[found["init"] == truncation_init(results)]
    return found.rename(columns={"label": "model", "times": "x", "change": "value"})


def _weighed(results: Any, weights: np.ndarray) -> pd.DataFrame:
    """Sums of the models' AUCs times weights (K, M), with their intervals; a row each."""
    auc, rows = results.models["auc"].to_numpy(float), []
    for one in weights:
        low, high = stats.percentile_interval(results.replicates @ one)
        both = results.over_seeds(one)
        kept = one != 0  # a model of no weight may be NaN there
        low_seeds, high_seeds = stats.seeds_interval(results.replicates @ one, both[:, kept] @ one[kept])
        ends = dict(zip(ENDS, map(float, (low, high, low_seeds, high_seeds)), strict=True))
        rows.append({"value": float(auc[kept] @ one[kept]), **ends})
    return pd.DataFrame(rows)
