"""Comparisons between designs: sizes within a family, families with each other, and truncated models with whole ones.

Intervals are as in `chexlib.paper.measures`: patients drawn anew, the same draws for all models, which pairs them; and
a second one that draws seeds as well, NaN where a model has one.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from chexlib.paper.measures import INTERVALS, Estimate, estimate, intervals, rows, weighing
from chexlib.stats import seeds_interval


def families(results: Any, init: str, in_paper: bool | None = None) -> pd.DataFrame:
    """One row a family with two or more sizes: its largest minus its smallest architecture, paired.

    Columns: family, n, smallest, largest (labels), times (parameters of the largest over the smallest), auc (family
    mean), difference, low, high, low_seeds, high_seeds, p (over patients).
    """
    found = []
    for family, members in rows(results, init, in_paper=in_paper).groupby("family"):
        if len(members) < 2:
            continue
        small, large = members["parameters"].idxmin(), members["parameters"].idxmax()
        difference = results.difference(large, small)
        found.append(
            {
                "family": family,
                "n": len(members),
                "smallest": members.loc[small, "label"],
                "largest": members.loc[large, "label"],
                "times": members.loc[large, "parameters"] / members.loc[small, "parameters"],
                "auc": members["auc"].mean(),
                "difference": difference.value,
                **intervals(difference),
            }
        )
    columns = ["family", "n", "smallest", "largest", "times", "auc", "difference", *INTERVALS]
    return pd.DataFrame(found, columns=columns)


def between_and_within(
    results: Any, init: str, in_paper: bool | None = None
) -> tuple[Estimate, Estimate, Estimate] | None:
    """Mean gap between two families, mean gap between a family's largest and smallest, and first minus second.

    Over the families of `families`; gaps are absolute. None with fewer than two such families. Noise (patients, seeds)
    widens both gaps, so only their difference, paired, says which is larger.
    """
    names = list(families(results, init, in_paper)["family"])
    if len(names) < 2:
        return None
    models = rows(results, init, in_paper=in_paper)
    models = models[models["family"].isin(names)]
    both = results.over_seeds(weighing(results, models["row"]))  # (R, M)
    value = _gaps(models, names, models["auc"].to_numpy(float)[None])[:, 0]  # (3,)
    replicates = _gaps(models, names, results.replicates[:, models["row"]])  # (3, R)
    low, high = seeds_interval(replicates.T, _gaps(models, names, both[:, models["row"]]).T)  # (3,) each
    between, within, gap = (
        replace(estimate(value[k], replicates[k], len(names)), low_seeds=low[k], high_seeds=high[k]) for k in range(3)
    )
    return between, within, gap


def truncations(results: Any) -> pd.DataFrame:
    """One row a truncated model: its AUC minus the whole architecture's from the same init, paired, and Times-Smaller.

    Columns: arch, init, minus, label, family, parameters, seeds, times, change, low, high, low_seeds, high_seeds, p
    (over patients); whole models are in it with minus 0, times 1, change 0 and NaN intervals, as in the paper's
    Table 2. Empty when the study truncates nothing.
    """
    models = rows(results, minus=None)
    found = []
    for (arch, init), members in models.groupby(["arch", "init"], sort=False):
        whole = members[members["minus"] == 0]
        if whole.empty or len(members) < 2:
            continue
        base = whole.index[0]
        for name, model in members.sort_values("minus").iterrows():
            row = {
                "arch": arch,
                "init": init,
                "minus": int(model["minus"]),
                "label": model["label"],
                "family": model["family"],
                "parameters": model["parameters"],
                "seeds": model["seeds"],
                "times": whole["parameters"].iloc[0] / model["parameters"],
                "change": 0.0,
            }
            if name != base:
                difference = results.difference(name, base)
                row |= {"change": difference.value, **intervals(difference)}
            found.append(row)
    columns = ["arch", "init", "minus", "label", "family", "parameters", "seeds", "times", "change", *INTERVALS]
    return pd.DataFrame(found, columns=columns)


def _gaps(models: pd.DataFrame, names: list[str], auc: np.ndarray) -> np.ndarray:
    """(3, R): mean absolute gap between family means, between a family's ends, the difference; auc (R, models)."""
    family, size = models["family"].to_numpy(), models["parameters"].to_numpy(float)
    means, ends = [], []
    for name in names:
        at = np.flatnonzero(family == name)
        means.append(auc[:, at].mean(axis=1))
        ends.append(np.abs(auc[:, at[size[at].argmax()]] - auc[:, at[size[at].argmin()]]))
    between = np.mean([np.abs(a - b) for a, b in combinations(means, 2)], axis=0)
    within = np.mean(ends, axis=0)
    return np.stack([between, within, between - within])
