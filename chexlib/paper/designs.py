"""Comparisons between designs: sizes within a family, families with each other, and truncated models with whole ones.

Intervals are as in `chexlib.paper.measures`: patients drawn anew, the same draws for all models, which pairs them.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from chexlib.paper.measures import Estimate, estimate, rows


def families(results: Any, init: str) -> pd.DataFrame:
    """One row a family with two or more sizes: its largest minus its smallest architecture, paired.

    Columns: family, n, smallest, largest (labels), times (parameters of the largest over the smallest), auc (family
    mean), difference, low, high, p.
    """
    found = []
    for family, members in rows(results, init).groupby("family"):
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
                "low": difference.low,
                "high": difference.high,
                "p": difference.p,
            }
        )
    columns = ["family", "n", "smallest", "largest", "times", "auc", "difference", "low", "high", "p"]
    return pd.DataFrame(found, columns=columns)


def between_and_within(results: Any, init: str) -> tuple[Estimate, Estimate, Estimate] | None:
    """Mean gap between two families, mean gap between a family's largest and smallest, and first minus second.

    Over the families of `families`; gaps are absolute. None with fewer than two such families. Noise (patients, seeds)
    widens both gaps, so only their difference, paired, says which is larger.
    """
    names = list(families(results, init)["family"])
    if len(names) < 2:
        return None
    models = rows(results, init)
    value = _gaps(models, names, models["auc"].to_numpy(float)[None])[:, 0]  # (2,)
    replicates = _gaps(models, names, results.replicates[:, models["row"]])  # (2, R)
    between, within = (estimate(v, r, len(names)) for v, r in zip(value, replicates, strict=True))
    return between, within, estimate(value[0] - value[1], replicates[0] - replicates[1], len(names))


def truncations(results: Any) -> pd.DataFrame:
    """One row a truncated model: its AUC minus the whole architecture's from the same init, paired, and Times-Smaller.

    Columns: arch, init, minus, label, family, parameters, times, seeds, change, low, high, p; whole models are in it
    with minus 0, times 1, change 0 and a NaN interval, as in the paper's Table 2.
    Empty when the study truncates nothing.
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
                "low": np.nan,
                "high": np.nan,
                "p": np.nan,
            }
            if name != base:
                difference = results.difference(name, base)
                row |= {
                    "change": difference.value,
                    "low": difference.low,
                    "high": difference.high,
                    "p": difference.p,
                }
            found.append(row)
    columns = [
        "arch",
        "init",
        "minus",
        "label",
        "family",
        "parameters",
        "seeds",
        "times",
        "change",
        "low",
        "high",
        "p",
    ]
    return pd.DataFrame(found, columns=columns)


def _gaps(models: pd.DataFrame, names: list[str], auc: np.ndarray) -> np.ndarray:
    """(2, R): mean absolute gap between family means, and between a family's ends; auc (R, models)."""
    family, size = models["family"].to_numpy(), models["parameters"].to_numpy(float)
    means, ends = [], []
    for name in names:
        at = np.flatnonzero(family == name)
        means.append(auc[:, at].mean(axis=1))
        ends.append(np.abs(auc[:, at[size[at].argmax()]] - auc[:, at[size[at].argmin()]]))
    between = np.mean([np.abs(a - b) for a, b in combinations(means, 2)], axis=0)
    return np.stack([between, np.mean(ends, axis=0)])
