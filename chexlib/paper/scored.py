"""One training of each architecture, with its scores and its thresholds: what errors and groups are told from.

Whole architectures from one init (that with the most; ImageNet weights where two have as many), the first seed of each:
a mean over seeds would be an ensemble, which errs less than one training. Tasks are those of the mean AUC.
Thresholds are chosen on validation studies, a task and an architecture each, and used on test studies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.paper import measures
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import INIT_NAMES, closed, counted, listed, number, where
from chexlib.results.held_out import WITHHELD


@dataclass(frozen=True, eq=False)
class Scored:
    """M architectures, T tasks, S test studies.

    names: (M,). best: the place of that with the highest mean AUC. seeds: for each, the scores (seeds, S, T) of all its
    trainings. y: (S, T) 1, 0 or NaN (unknown). p: (M, S, T) scores of the first training. validation: for each,
    labels (V, T) and scores (V, T). studies: `Results.studies`.
    """

    init: str
    names: tuple[str, ...]
    best: int
    tasks: tuple[str, ...]
    y: np.ndarray
    p: np.ndarray
    patients: np.ndarray
    studies: pd.DataFrame
    seeds: list[np.ndarray] = field(repr=False)
    validation: list[tuple[np.ndarray, np.ndarray]] = field(repr=False)
    n_boot: int = 1000

    def thresholds(self, rule: Any = "youden") -> np.ndarray:
        """(M, T) chosen on validation studies (`stats.choose_threshold`), NaN where they lack a class."""
        found = np.full((len(self.names), len(self.tasks)), np.nan)
        for m, (y, p) in enumerate(self.validation):
            for t in range(len(self.tasks)):
                if {0.0, 1.0} <= set(y[:, t]):
                    found[m, t] = stats.choose_threshold(y[:, t], p[:, t], rule)
        return found

    @cached_property
    def wrong(self) -> np.ndarray:
        """(M, S, T) 1 where a study is called wrongly at Youden's threshold, 0 where rightly, NaN where one lacks."""
        return wrongly_called(self.y, self.p, self.thresholds())

    @cached_property
    def counts(self) -> np.ndarray:
        """(R, S) how often each study is in each replicate, patients drawn: the draws of `bootstrap_auroc`."""
        return stats.resample_counts(len(self.y), self.patients, self.n_boot).astype(np.float32)

    def share(self, hit: np.ndarray, among: np.ndarray) -> Estimate:
        """Share of the studies and tasks `among` (S, T) that are `hit` (S, T), with its interval over patients."""
        hits, n = (hit & among).sum(axis=1), among.sum(axis=1)  # (S,)
        if not n.sum():
            return Estimate(np.nan, np.nan, np.nan, 0)
        drawn = self.counts @ n
        replicates = np.divide(self.counts @ hits, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
        return measures.estimate(hits.sum() / n.sum(), replicates, int(n.sum()))

    def task_means(self, of: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean over tasks of the mean of `of` (M, S, T) over the studies `among` (likewise): (M,), replicates (R, M).

        A task of which a replicate has no study is left out of that mean.
        """
        weights = np.concatenate([np.ones((1, len(self.y)), dtype=np.float32), self.counts])
        models, n, tasks = of.shape
        sums, total = (
            weights @ part.astype(np.float32).transpose(1, 0, 2).reshape(n, -1)
            for part in (np.where(among, of, 0), among)
        )
        each = np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0).reshape(-1, models, tasks)
        there = ~np.isnan(each)
        k = there.sum(axis=2)
        found = np.divide(np.where(there, each, 0).sum(axis=2), k, out=np.full(k.shape, np.nan), where=k > 0)
        return found[0], found[1:]


def wrongly_called(y: np.ndarray, p: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(M, S, T) 1, 0 or NaN from labels (S, T), scores (M, S, T) and thresholds (M, T)."""
    called = (p >= thresholds[:, None, :]).astype(float)
    return np.abs(called - y) + 0 * thresholds[:, None, :]  # NaN where unknown


def scored(results: Any) -> Scored | Note:
    """The architectures of a study, or a Note that says why there are none to tell from."""
    if results.withheld:
        return Note(f"Which studies are misread, and in which groups, is not said: {WITHHELD}.")
    whole = measures.rows(results).dropna(subset=["auc"])
    if whole.empty:
        return Note(
            f"Study {results.name} has no finished run of a whole architecture, so there are no errors to count."
        )
    inits = whole["init"].value_counts(sort=False)
    init = max(inits.index, key=lambda name: (inits[name], name == "imagenet"))
    whole = whole[whole["init"] == init]
    tasks = [results.all_tasks.index(task) for task in results.tasks]
    runs = results.runs
    places = [
        np.flatnonzero((runs["arch"] == m.arch) & (runs["minus"] == 0) & (runs["init"] == init))
        for m in whole.itertuples()
    ]
    scores = results.scores[:, :, tasks]  # (runs, S, T)
    first = [at[0] for at in places]
    return Scored(
        str(init),
        tuple(whole["label"]),
        int(whole["auc"].to_numpy().argmax()),
        tuple(results.tasks),
        results.labels.to_numpy()[:, tasks],
        scores[first],
        results.patients,
        results.studies,
        [scores[at] for at in places],
        [tuple(part[:, tasks] for part in results.validation[place]) for place in first],
    )


@skips_missing
def about(results: Any) -> Note:
    """Which trainings the page tells of, and where their thresholds come from."""
    found = scored(results)
    if isinstance(found, Note):
        return found
    thresholds = found.thresholds()
    lacking = [task for t, task in enumerate(found.tasks) if np.isnan(thresholds[:, t]).any()]
    text = (
        f"This page is about {counted(len(found.names), 'whole architecture')} with "
        f"{INIT_NAMES.get(found.init, found.init)}{where(results)}, one training of each, on "
        f"{counted(len(found.y), 'test study', 'test studies')}. An "
        "architecture calls a finding present where its score reaches a threshold, chosen on "
        f"{counted(len(found.validation[0][0]), 'validation study', 'validation studies')} to have the largest sum of "
        "sensitivity and specificity (Youden's rule). "
    )
    if lacking:
        text += (
            f"The validation studies lack positives or negatives of {listed(lacking)}, so no threshold can be chosen "
            "there. "
        )
    if len(found.names) > 1:
        auc = results.models.loc[f"{found.names[found.best]} · {found.init}", "auc"]
        text += (
            f"Where one architecture stands for all it is {found.names[found.best]}, whose mean AUC is the highest "
            f"({number(auc)}). It was picked on these very studies, which flatters it"
        )
    return closed(text)
