"""How architectures do by sex, age group and view of the test studies, and how far two groups lie apart.

A group of fewer than ten positive or negative studies has too few for a task, and is compared with others only over
tasks that all of them have enough for: means over different tasks would not compare. All groups share the draws of
patients, so that a difference is right whether a patient is in one group (sex) or can be in two (age, view).
Measures are means over tasks, and then over architectures, or the best architecture's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.paper.measures import Estimate, estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.results import RARE
from chexlib.paper.scored import Scored, scored
from chexlib.paper.shown import Tables
from chexlib.paper.wording import closed, counted, listed, number, p_alone, with_interval

AGES = (("under 40", 0, 40), ("40 to 59", 40, 60), ("60 and over", 60, np.inf))
"""Age groups in years: name, first, first beyond; our choice."""

SEXES = {"F": "women", "M": "men"}
VIEWS = {"AP": "AP", "PA": "PA", "LATERAL": "lateral only"}

MEASURES = ("auc", "sensitivity", "specificity", "brier", "gap")
"""gap: mean score minus share of positives."""


@dataclass(frozen=True, eq=False)
class Group:
    """One group's measures over `tasks`, the same for all groups of its attribute; without tasks it has too few.

    values: by name of MEASURES, (M,) for architectures. replicates: the same, (R, M).
    """

    attribute: str
    name: str
    studies: int
    patients: int
    tasks: tuple[str, ...]
    values: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]

    @property
    def enough(self) -> bool:
        return bool(self.tasks)

    def mean(self, measure: str) -> Estimate:
        """Mean over architectures."""
        return estimate(self.values[measure].mean(), self.replicates[measure].mean(axis=1), len(self.tasks))

    def of(self, model: int, measure: str) -> Estimate:
        """One architecture's."""
        return estimate(self.values[measure][model], self.replicates[measure][:, model], len(self.tasks))


@dataclass(frozen=True, eq=False)
class Gap:
    """Group a minus group b in a measure, mean over architectures."""

    a: Group
    b: Group
    measure: str
    difference: stats.Difference


def membership(studies: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Attribute and group to which of the studies (S,) are in it; attributes that are not known have no group."""
    age = studies["age"].to_numpy(float)
    found = {
        "sex": {name: (studies["sex"] == sex).to_numpy() for sex, name in SEXES.items()},
        "age": {name: (age >= first) & (age < beyond) for name, first, beyond in AGES},
        "view": {name: (studies["view"] == view).to_numpy() for view, name in VIEWS.items()},
    }
    return {
        attribute: there
        for attribute, groups in found.items()
        if (there := {name: members for name, members in groups.items() if members.any()})
    }


def groups(found: Scored) -> list[Group]:
    """Every group of every attribute that is known, in order."""
    return [
        _group(found, attribute, name, there[name], tasks[name])
        for attribute, there in membership(found.studies).items()
        for tasks in [comparable(found.y, there)]
        for name in there
    ]


def comparable(y: np.ndarray, members: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """For each group of one attribute the tasks over which it is compared: those that all of them have enough for.

    Where no task is common to all, the group with the fewest is left out (an empty list), until one is.
    """
    enough = {}
    for name, here in members.items():
        counts = [(y[here] == label).sum(axis=0) for label in (1, 0)]
        enough[name] = set(np.flatnonzero(np.minimum(*counts) >= RARE))
    kept = [name for name in members if enough[name]]
    while kept and not (common := set.intersection(*(enough[name] for name in kept))):
        kept.remove(min(kept, key=lambda name: len(enough[name])))
    return {name: sorted(int(t) for t in common) if name in kept else [] for name in members}


def gaps(found: list[Group], measure: str = "auc") -> list[Gap]:
    """Differences of all pairs of groups of an attribute that have enough."""
    out = []
    for a, b in combinations([group for group in found if group.enough], 2):
        if a.attribute == b.attribute:
            value = a.values[measure].mean() - b.values[measure].mean()
            replicates = (a.replicates[measure] - b.replicates[measure]).mean(axis=1)
            out.append(Gap(a, b, measure, stats.paired_difference(value, replicates)))
    return out


@skips_missing
def table(results: Any) -> Tables | Note:
    """One row a group: how many, and the measures, mean over architectures."""
    found = _found(results)
    if isinstance(found, Note):
        return found
    several = len(scored(results).names) > 1
    rows = {
        group.name.capitalize() if group.name[0].islower() else group.name: {
            "Studies": f"{group.studies:,}",
            **(
                {
                    title: _percent(group.mean(measure))
                    if measure in SHARES
                    else _estimate(group.mean(measure), measure == "gap")
                    for measure, title in TITLES.items()
                }
                if group.enough
                else dict.fromkeys(TITLES.values(), "too few")
            ),
        }
        for group in found
    }
    what = "Mean over architectures" if several else "The one architecture"
    return Tables({f"{what}, 95 % over patients": pd.DataFrame(rows).T.rename_axis(columns="Group")})


@skips_missing
def gap_table(results: Any) -> Tables | Note:
    """One row a pair of groups: differences of AUC, sensitivity and specificity, and p of the first, adjusted."""
    found = _found(results)
    if isinstance(found, Note):
        return found
    of_auc = gaps(found)
    if not of_auc:
        return Note("No two groups have enough positive and negative studies to be compared.")
    adjusted = stats.holm([gap.difference.p for gap in of_auc])
    shares = zip(gaps(found, "sensitivity"), gaps(found, "specificity"), strict=True)
    rows = {
        f"{gap.a.name} minus {gap.b.name}": {
            "AUC": _difference(gap),
            "Sensitivity (points)": _difference(sensitivity, 100, 0),
            "Specificity (points)": _difference(specificity, 100, 0),
            "p (AUC)": p_alone(gap.difference.p),
            "p, Holm": p_alone(p),
            "Over": listed(gap.a.tasks),
        }
        for gap, p, (sensitivity, specificity) in zip(of_auc, adjusted, shares, strict=True)
    }
    return Tables({"": pd.DataFrame(rows).T.rename_axis(columns="Groups")})


@skips_missing
def sentence(results: Any) -> Note:
    """How many of the differences between groups are more than chance, and which groups have too few."""
    found = _found(results)
    if isinstance(found, Note):
        return found
    of_auc = gaps(found)
    few = [group.name for group in found if not group.enough]
    text = ""
    if of_auc:
        adjusted = stats.holm([gap.difference.p for gap in of_auc])
        text = (
            f"Of {counted(len(of_auc), 'pair')} of groups, {sum(adjusted < 0.05)} differ in mean AUC after Holm's "
            "adjustment. "
        )
        largest = max(of_auc, key=lambda gap: abs(gap.difference.value))
        at = largest.difference
        text += (
            f"The largest difference is {largest.a.name} minus {largest.b.name}, "
            f"{with_interval(at.value, at.low, at.high, sign=True)}. "
        )
        widths = [gap.difference.high - gap.difference.low for gap in of_auc]
        text += (
            f"Intervals of a difference are {number(min(widths), 2)} to {number(max(widths), 2)} wide, so gaps that "
            "matter may go unseen. "
            if min(widths) > 0.05
            else ""
        )
    else:
        text = "No two groups can be compared. "
    if few:
        text += f"Too few positive or negative studies (under {RARE} for every task that others have): {listed(few)}. "
    text += (
        "Groups differ in which findings they have and how often, so a gap is not by itself owed to the architecture; "
        "and a Brier score is lower where findings are rarer, whoever reads"
    )
    return closed(text)


TITLES = {
    "auc": "AUC",
    "sensitivity": "Sensitivity (%)",
    "specificity": "Specificity (%)",
    "brier": "Brier score",
    "gap": "Mean score minus share of positives",
}
SHARES = ("sensitivity", "specificity")


def _found(results: Any) -> list[Group] | Note:
    """The groups, or an empty Note: `scored.about` or the figure has said why there are none."""
    found = scored(results)
    return Note("") if isinstance(found, Note) else groups(found) or Note("")


def _group(found: Scored, attribute: str, name: str, here: np.ndarray, tasks: list[int]) -> Group:
    counted_as = (attribute, name, int(here.sum()), len(set(found.patients[here])))
    if not tasks:
        return Group(*counted_as, (), {}, {})
    y = np.where(here[:, None], found.y[:, tasks], np.nan)  # studies of others count as unknown: the same draws for all
    p = found.p[:, :, tasks]
    boot = stats.bootstrap_auroc(y, p, groups=found.patients, n_boot=found.n_boot)
    values, replicates = {"auc": boot.mean}, {"auc": boot.mean_replicates}
    known, called = ~np.isnan(y), np.nan_to_num(1 - found.wrong[:, :, tasks])  # called: rightly
    has = ~np.isnan(found.wrong[:, :, tasks]).all(axis=1)[:, None, :]  # (M, 1, T) thresholds
    for measure, of, among in (
        ("sensitivity", called, (y == 1) & has),
        ("specificity", called, (y == 0) & has),
        ("brier", np.where(known, p - y, 0) ** 2, known),
        ("gap", np.where(known, p - y, 0), known),
    ):
        values[measure], replicates[measure] = found.task_means(of, np.broadcast_to(among, p.shape))
    return Group(*counted_as, tuple(found.tasks[t] for t in tasks), values, replicates)


def _estimate(found: Estimate, sign: bool = False) -> str:
    return with_interval(found.value, found.low, found.high, 2, sign)


def _percent(found: Estimate) -> str:
    return with_interval(100 * found.value, 100 * found.low, 100 * found.high, 0)


def _difference(gap: Gap, times: int = 1, digits: int = 3) -> str:
    at = gap.difference
    return with_interval(times * at.value, times * at.low, times * at.high, digits, sign=True)
