"""Whether scores are probabilities, and what thresholds chosen on validation studies do on test studies.

Intervals are over patients; of a share, they are never narrower than Wilson's, since resampling sees no chance at all
in a share of 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.paper.measures import Estimate, estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.scored import Scored, scored
from chexlib.paper.shown import Tables
from chexlib.paper.wording import closed, counted, number, with_interval

ASKED = 0.9
"""The sensitivity asked for on validation studies, beside Youden's rule."""

BINS = 40
"""Rows that a class of a reliability diagram holds, at least; at most 10 classes."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """brier, gap: (M,) each architecture's mean over tasks; gap is mean score minus share of positives.

    of_best, gap_of_best: those of the best architecture, gap_of_tasks: (T,) its gap by task. nothing: the Brier score
    of always saying the share of positives among these studies.
    """

    brier: np.ndarray
    gap: np.ndarray
    of_best: Estimate
    gap_of_best: Estimate
    gap_of_tasks: np.ndarray
    nothing: float


def calibration(found: Scored) -> Calibration:
    """Brier scores and gaps of the architectures, over the tasks of which some label is known."""
    y, best = found.y, found.p[found.best]
    brier = np.array([np.nanmean(stats.brier(y, p)) for p in found.p])
    known = ~np.isnan(y)
    gap = np.array([_task_mean(np.where(known, p - y, 0.0), known) for p in found.p])
    rate = np.where(known, y, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    replicates = [found.task_means(of[None], known[None])[1][:, 0] for of in ((best - y) ** 2, best - y)]  # (R,) each
    return Calibration(
        brier,
        gap,
        estimate(brier[found.best], replicates[0]),
        estimate(gap[found.best], replicates[1]),
        np.divide(
            np.where(known, best - y, 0.0).sum(axis=0),
            known.sum(axis=0),
            out=np.full(y.shape[1], np.nan),
            where=known.any(axis=0),
        ),
        float((rate * (1 - rate))[known.any(axis=0)].mean()),
    )


def reliability(found: Scored, task: int) -> tuple[stats.Reliability, stats.Reliability]:
    """Of one task: the best architecture's, and that of all architectures' scores together."""
    y = found.y[:, task]
    bins = int(np.clip((~np.isnan(y)).sum() // BINS, 2, 10))
    everyone = np.tile(y, len(found.p))
    return stats.reliability(y, found.p[found.best, :, task], bins), stats.reliability(
        everyone, found.p[:, :, task].ravel(), 10
    )


def operating_points(found: Scored, rule: Any = "youden") -> pd.DataFrame:
    """One row a task: of the best architecture threshold, sensitivity and specificity as Estimates; and the median
    sensitivity and specificity over architectures (median_sensitivity, median_specificity). Indexed by task; tasks
    without thresholds are left out."""
    thresholds = found.thresholds(rule)
    rows = {}
    for t, task in enumerate(found.tasks):
        if np.isnan(thresholds[:, t]).any():
            continue
        y = found.y[:, t]
        called = found.p[:, :, t] >= thresholds[:, t, None]  # (M, S)
        point = stats.operating_point(y, found.p[found.best, :, t], thresholds[found.best, t])
        rows[task] = {
            "threshold": thresholds[found.best, t],
            "sensitivity": _wider(
                found.share(called[found.best][:, None], (y == 1)[:, None]),
                point.sensitivity_low,
                point.sensitivity_high,
            ),
            "specificity": _wider(
                found.share(~called[found.best][:, None], (y == 0)[:, None]),
                point.specificity_low,
                point.specificity_high,
            ),
            "median_sensitivity": float(np.median(called[:, y == 1].mean(axis=1))) if (y == 1).any() else np.nan,
            "median_specificity": float(np.median(1 - called[:, y == 0].mean(axis=1))) if (y == 0).any() else np.nan,
        }
    return pd.DataFrame(rows).T


@skips_missing
def sentence(results: Any) -> Note:
    """Brier score and gap of the best architecture and of all, beside that of always saying the share of positives."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")
    of = calibration(found)
    name, low, high = found.names[found.best], of.gap_of_best.low, of.gap_of_best.high
    lean = "too high" if low > 0 else "too low" if high < 0 else "not told apart from it"
    of_tasks = of.gap_of_tasks[~np.isnan(of.gap_of_tasks)]
    if len(of_tasks) > 1:
        lean += f" (by task from {number(of_tasks.min(), sign=True)} to {number(of_tasks.max(), sign=True)})"
    text = (
        f"{name}'s Brier score (mean squared error of a probability; 0 is best) is "
        f"{with_interval(of.of_best.value, of.of_best.low, of.of_best.high)}, where always saying the test "
        f"studies' own share of positives would have {number(of.nothing)}. Its scores lie "
        f"{with_interval(of.gap_of_best.value, low, high, sign=True)} from the share of positives on average: {lean}. "
    )
    if len(found.names) > 1:
        worse = int((of.brier > of.nothing).sum())
        text += (
            f"Over the {len(found.names)} architectures the Brier score goes from {number(of.brier.min())} to "
            f"{number(of.brier.max())} (worse than saying the share of positives: {worse} of them) and the gap from "
            f"{number(of.gap.min(), sign=True)} to {number(of.gap.max(), sign=True)}. "
        )
    text += "An AUC does not change when scores are stretched, so it sees none of this"
    return closed(text)


@skips_missing
def operating_table(results: Any) -> Tables | Note:
    """Sensitivity and specificity on test studies, at Youden's threshold and at that of sensitivity ASKED."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")
    youden, asked = operating_points(found), operating_points(found, ("sensitivity", ASKED))
    if youden.empty:
        return Note("The validation studies lack positives or negatives of every task: no threshold can be chosen.")
    shown = {
        "Sensitivity": youden["sensitivity"].map(_percent),
        "Specificity": youden["specificity"].map(_percent),
        f"Sensitivity, {ASKED:.0%} asked for": asked["sensitivity"].map(_percent),
        "Specificity then": asked["specificity"].map(_percent),
    }
    if len(found.names) > 1:
        middle = "Median of architectures"
        shown[middle] = [
            f"{100 * row.median_sensitivity:.0f} and {100 * row.median_specificity:.0f}" for row in youden.itertuples()
        ]
    table = pd.DataFrame(shown).rename_axis(columns="%")
    return Tables({f"{found.names[found.best]}, thresholds from validation studies": table})


@skips_missing
def operating_sentence(results: Any) -> Note:
    """How well a sensitivity that validation studies promise is kept on test studies."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")
    y, thresholds = found.y, found.thresholds(("sensitivity", ASKED))
    kept = [
        (found.p[m, y[:, t] == 1, t] >= thresholds[m, t]).mean()
        for m in range(len(found.names))
        for t in range(len(found.tasks))
        if not np.isnan(thresholds[m, t]) and (y[:, t] == 1).any()
    ]
    if not kept:
        return Note("")
    low, middle, high = np.quantile(kept, [0.1, 0.5, 0.9])
    return closed(
        f"A threshold that reaches {ASKED:.0%} sensitivity on validation studies reaches {middle:.0%} on test studies "
        f"in the median of {counted(len(kept), 'architecture and task', 'architectures and tasks')}, and from "
        f"{low:.0%} to {high:.0%} in the middle eight tenths of them"
    )


def _task_mean(values: np.ndarray, known: np.ndarray) -> float:
    n = known.sum(axis=0)
    return float((values.sum(axis=0)[n > 0] / n[n > 0]).mean())


def _wider(found: Estimate, low: Any, high: Any) -> Estimate:
    return Estimate(found.value, float(np.fmin(found.low, low)), float(np.fmax(found.high, high)), found.n)


def _percent(found: Estimate) -> str:
    if np.isnan(found.value):
        return "–"
    return f"{100 * found.value:.0f} ({100 * found.low:.0f} to {100 * found.high:.0f})"
