"""Errors that architectures share: studies that all of them misread, where they disagree, where they are surely wrong.

Were errors independent, a study would be misread by all as often as the product of their error rates says; the number
that misread it would have a Poisson binomial distribution. What is observed beyond that is shared. Disagreement and
certainty are told on ranks, which do not depend on how an architecture is calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.scored import Scored, scored
from chexlib.paper.shown import Tables
from chexlib.paper.wording import closed, counted, number, with_interval
from chexlib.stats.delong import structural_components

TOP = 10
"""Studies in a table."""

KINDS = {1.0: "missed", 0.0: "wrongly called"}
"""What an error is called by the label of its study."""


@dataclass(frozen=True, eq=False)
class Shared:
    """Errors of M architectures on the cases (studies and tasks) of one label, 1 or 0.

    observed, expected: (M + 1,) cases misread by 0 to M architectures, as they are and were errors independent.
    by_all: the share misread by all. also: of the cases that one misreads, the share that another misreads, and
    also_expected, that share were they independent.
    """

    label: float
    observed: np.ndarray
    expected: np.ndarray
    by_all: Estimate
    also: float
    also_expected: float

    @property
    def n(self) -> int:
        """Cases."""
        return int(self.observed.sum())


@dataclass(frozen=True)
class Disagreement:
    """Variance of a study's rank among all (in percent of all studies), by what it is owed to.

    study: what all trainings agree on. architecture: between architectures, beyond seeds. seed: between trainings of
    one architecture; NaN where none was trained several times, and then in `architecture`.
    """

    study: float
    architecture: float
    seed: float

    @property
    def total(self) -> float:
        return float(np.nansum([self.study, self.architecture, self.seed]))


def shared(found: Scored, label: float) -> Shared:
    """Errors on cases of a label. Cases without a threshold, or of unknown label, are left out."""
    models = len(found.names)
    cases = (found.y == label) & ~np.isnan(found.wrong).any(axis=0)  # (S, T)
    wrong = np.where(cases, np.nan_to_num(found.wrong), 0.0)  # (M, S, T)
    many = wrong.sum(axis=0)[cases].astype(int)
    expected, both, both_expected = np.zeros(models + 1), 0.0, 0.0
    for t in range(len(found.tasks)):
        n = cases[:, t].sum()
        rates = wrong[:, :, t].sum(axis=1) / max(n, 1)  # (M,)
        expected += n * poisson_binomial(rates)
        both_expected += n * (rates.sum() ** 2 - (rates**2).sum())
    both = float((many * (many - 1)).sum())
    one = many.sum() * (models - 1)
    return Shared(
        label,
        np.bincount(many, minlength=models + 1),
        expected,
        found.share(wrong.sum(axis=0) == models, cases),
        both / one if one else np.nan,
        both_expected / one if one else np.nan,
    )


def poisson_binomial(rates: np.ndarray) -> np.ndarray:
    """(M + 1,) chance that 0 to M of independent events happen, whose rates are (M,)."""
    chance = np.ones(1)
    for rate in rates:
        chance = np.convolve(chance, [1 - rate, rate])
    return chance


def disagreement(found: Scored) -> Disagreement:
    """Components of variance of ranks, trainings nested in architectures (unbalanced one-way analysis of variance)."""
    seeds = np.array([len(one) for one in found.seeds])
    ranks = [_percent(one) for one in found.seeds]  # (seeds, S, T) each
    means = np.stack([one.mean(axis=0) for one in ranks])  # (M, S, T)
    freedom = (seeds - 1).sum()
    seed = sum(((one - one.mean(axis=0)) ** 2).sum(axis=0) for one in ranks).mean() / freedom if freedom else np.nan
    total = np.concatenate(ranks).var(axis=(0, 1)).mean()
    if len(seeds) < 2:
        return Disagreement(float(total - np.nan_to_num(seed)), 0.0, float(seed))
    grand = np.average(means, axis=0, weights=seeds)
    between = (seeds[:, None, None] * (means - grand) ** 2).sum(axis=0).mean() / (len(seeds) - 1)
    each = (seeds.sum() - (seeds**2).sum() / seeds.sum()) / (len(seeds) - 1)
    architecture = max(0.0, (between - np.nan_to_num(seed)) / each)
    return Disagreement(float(total - architecture - np.nan_to_num(seed)), float(architecture), float(seed))


def cases(found: Scored) -> pd.DataFrame:
    """One row a study and task of known label: study, task, label, wrong (how many architectures misread it), spread
    (standard deviation of its rank between architectures, percent), p (mean score), and beyond: the share of studies of
    the other label that it should lie beyond and does not, mean over architectures (its part in the area above the
    ROC curve: 1 is surely wrong)."""
    spread, parts = _percent(found.p).std(axis=0, ddof=1) if len(found.p) > 1 else 0 * found.y, []
    for t, task in enumerate(found.tasks):
        for label in (1.0, 0.0):
            rows = np.flatnonzero(found.y[:, t] == label)
            other = np.flatnonzero(found.y[:, t] == 1 - label)
            if not len(rows) or not len(other):
                continue
            sides = (rows, other) if label else (other, rows)
            right = structural_components(*(found.p[:, side, t] for side in sides))[0 if label else 1]  # (M, rows)
            parts.append(
                pd.DataFrame(
                    {
                        "study": found.studies["study"].to_numpy()[rows],
                        "task": task,
                        "label": label,
                        "wrong": found.wrong[:, rows, t].sum(axis=0),
                        "spread": spread[rows, t],
                        "p": found.p[:, rows, t].mean(axis=0),
                        "beyond": 1 - right.mean(axis=0),
                    }
                )
            )
    columns = ["study", "task", "label", "wrong", "spread", "p", "beyond"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


@skips_missing
def shared_sentence(results: Any) -> Note:
    """How many findings all architectures miss, how many they would were errors independent; and false alarms."""
    found = scored(results)
    if isinstance(found, Note):
        return Note("")  # `scored.about` has said why
    if len(found.names) < 2:
        return Note("One architecture shares its errors with none.")
    said = [_shared_words(shared(found, label), found) for label in KINDS]
    return Note("\n\n".join(said))


@skips_missing
def disagreement_sentence(results: Any) -> Note:
    """What a study's rank is owed to: the study, the architecture, the seed."""
    found = scored(results)
    if isinstance(found, Note) or len(found.names) < 2:
        return Note("")
    parts = disagreement(found)
    text = (
        "Sort the test studies by an architecture's score. Of the variance of a study's place, "
        f"{parts.study / parts.total:.0%} is what all trainings agree on and {parts.architecture / parts.total:.0%} "
        "lies between architectures"
    )
    if np.isnan(parts.seed):
        text += ", which holds what lies between two trainings of one: each was trained once"
    else:
        several = sum(len(one) > 1 for one in found.seeds)
        text += (
            f", while {parts.seed / parts.total:.0%} lies between trainings of one architecture (from the "
            f"{several} that were trained several times, and taken for the others, too): two seeds place a study "
            f"{number(np.sqrt(2 * parts.seed), 0)} percentiles apart (root mean square), two architectures "
            f"{number(np.sqrt(2 * (parts.seed + parts.architecture)), 0)}"
        )
    return closed(text)


@skips_missing
def table(results: Any, by: str = "beyond", most: int = TOP) -> Tables | Note:
    """The cases that are most surely wrong (by "beyond"), or those on which architectures disagree most ("spread").

    With the studies' ids, so none where the terms of the data set keep those or the labels back.
    """
    found = scored(results)
    if isinstance(found, Note):
        return Note("")
    if not results.shareable:
        return Note("The data set's terms let neither ids nor labels of single studies be shown: no list of studies.")
    if by == "spread" and len(found.names) < 2:
        return Note("")
    top = cases(found).sort_values([by, "study"], ascending=[False, True]).head(most)
    wrong = [f"{n:.0f} of {len(found.names)}" if n == n else "–" for n in top["wrong"]]
    shown = {
        "Task": top["task"],
        "Label": top["label"].map({1.0: "present", 0.0: "absent"}),
        "Misread by": wrong,
        "Mean score": top["p"].map("{:.2f}".format),
        "Other label ranked beyond it": top["beyond"].map("{:.0%}".format),
        "Spread of its place": top["spread"].map("{:.0f}".format),
    }
    return Tables(
        {"": pd.DataFrame(shown).set_index(pd.Index(top["study"])).rename_axis(None).rename_axis(columns="Study")}
    )


@skips_missing
def answer(results: Any) -> Note:
    """Answer of notebook 14, in one sentence."""
    found = scored(results)
    if isinstance(found, Note):
        return found
    if len(found.names) < 2:
        return Note(f"Study {results.name} has one architecture, which shares its errors with none.")
    return Note(_shared_words(shared(found, 1.0), found))


def _shared_words(errors: Shared, found: Scored) -> str:
    models = len(found.names)
    what = "present finding" if errors.label else "absent finding"
    if not errors.n:
        return f"No {what} of the test studies has a threshold to be called by."
    verb = KINDS[errors.label]
    share = with_interval(*(100 * end for end in (errors.by_all.value, errors.by_all.low, errors.by_all.high)), 1)
    by_none = errors.observed[0] / errors.n
    text = (
        f"Of {counted(errors.n, what)}, all {models} architectures {'miss' if errors.label else 'wrongly call'} "
        f"{errors.observed[-1]:,}, or {share} %; if errors were independent it would be "
        f"{_few(errors.expected[-1])}. {by_none:.0%} are {verb} by none ({errors.expected[0] / errors.n:.0%} if "
        "independent)."
    )
    if not np.isnan(errors.also):
        text += (
            f" What one architecture gets wrong another gets wrong, too, in {errors.also:.0%} of cases "
            f"({errors.also_expected:.0%} if independent)."
        )
    return text


def _few(n: float) -> str:
    return number(n, 1) if n >= 0.05 else "less than 0.1"


def _percent(p: np.ndarray) -> np.ndarray:
    """Ranks among the S studies in percent, 0 to 100. (..., S, T)."""
    n = p.shape[-2]
    return 100 * (rankdata(p, axis=-2) - 0.5) / max(n, 1)
