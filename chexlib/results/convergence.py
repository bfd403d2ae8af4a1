"""How fast networks learn: learning curves of finished runs, images until an AUC, and the mean AUC over training.

All from what training logged, the mean validation AUC at each evaluation. Every curve begins at 0.5: the head on top is
always fresh, and as likely as its negative. Transfusion (Raghu et al. 2019, section 5, Figure 7) counts the steps until
an AUC of 91 %; networks that never get there have no such number, and the area under the curve is one that all have.

Single evaluations jump, and the first that is high enough comes too early: near the top, by one to two of 15 in
simulation. So `images_to` reads the curve that rises and is nearest to the evaluations (isotonic regression, which has
nothing to choose): what a network reached and lost again it has not reached. The mean over training takes the
evaluations as they are.

Intervals are over seeds alone: logs keep no predictions, and the validation patients stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from chexlib.results.estimate import Estimate
from chexlib.results.results import Results
from chexlib.stats import seed_contrast
from chexlib.stats.bootstrap import mean_over_tasks

RUN = ["model", "init", "variant", "seed"]
UNTAUGHT = 0.5
"""AUC before the first image."""


def learning_curves(results: Results) -> pd.DataFrame:
    """One row an evaluation: model, init, variant, seed, images, steps (so far), auc (validation, mean over tasks).

    `variant` is in what a network departs from the study's usual, as in `results.runs`. The tasks are those that chose
    the checkpoints; where `results` was opened with some, these.
    """
    rows = [
        (*run, row["images"], row["images"] // finished.spec.batch_size, _auc(row, results))
        for run, finished in zip(results.runs[RUN].itertuples(index=False), results.finished, strict=True)
        for row in finished.log()
    ]
    return pd.DataFrame(rows, columns=[*RUN, "images", "steps", "auc"]).dropna(subset="auc")


def highest_of_all(curves: pd.DataFrame) -> float:
    """The highest AUC that every run reaches: a target for `images_to` that leaves none out, and is nobody's choice."""
    return min(_rising(curve)[1][-1] for _, curve in curves.groupby(RUN))


def images_to(curves: pd.DataFrame, target: float, of: str = "images") -> pd.Series:
    """Images (or `of="steps"`) until the rising curve reaches a validation AUC, interpolated between evaluations.

    One a run, indexed by model, init, variant and seed; NaN where it never does.
    """

    def first(curve: pd.DataFrame) -> float:
        at, auc = _rising(curve, of)
        if auc[-1] < target:
            return np.nan
        i = int((auc >= target).argmax())
        return at[i - 1] + (at[i] - at[i - 1]) * (target - auc[i - 1]) / (auc[i] - auc[i - 1]) if i else 0.0

    return _each_run(curves, first, f"{of} to an AUC of {target:.3f}")


def mean_auc(curves: pd.DataFrame) -> pd.Series:
    """The mean validation AUC over training, the area under the learning curve; one a run, indexed as `images_to`.

    It is taken over as many images as the shortest training of `curves` had.
    """
    until = curves.groupby(RUN)["images"].max().min()

    def area(curve: pd.DataFrame) -> float:
        at, auc = _from_start(curve, "images")
        inside = at < until
        return np.trapezoid(np.append(auc[inside], np.interp(until, at, auc)), np.append(at[inside], until)) / until

    return _each_run(curves, area, "mean AUC over training")


def contrast(values: pd.Series, weights: Mapping[str, float], **options: object) -> tuple[Estimate, float]:
    """A weighted sum of networks' means over seeds, such as {a: 1, b: -1}, and the two-sided p of its being 0.

    values: one a run (`images_to`, `mean_auc`). Networks from one init, of one variant, share what a seed does to them,
    as in `Results.replicates`, those of weight 0 too (`chexlib.stats.seed_contrast`). Missing where one of the networks
    is, or has a seed without a value; without a verdict where no network has two seeds. Options are fields of Estimate.
    """
    seeds = values.groupby(level="model", sort=False)
    if absent := [model for model in weights if model not in seeds.groups]:
        return Estimate(missing=f"{', '.join(absent)} not among the study's networks", **options), np.nan
    for model in weights:
        its = seeds.get_group(model)
        if never := int(its.isna().sum()):
            why = f"{model}: {never} of {len(its)} seeds have no {values.name}"
            return Estimate(missing=why, **options), np.nan
    known = [(model, its.dropna()) for model, its in seeds if its.notna().any()]
    pools = [its.index.droplevel(["model", "seed"])[0] for _, its in known]
    found = seed_contrast([its for _, its in known], pools, [weights.get(model, 0) for model, _ in known])
    few = "no network was trained from two seeds" if np.isnan(found.p) else ""
    return Estimate(found.value, found.low, found.high, over="seeds", few=few, **options), found.p


def difference(values: pd.Series, a: str, b: str, **options: object) -> Estimate:
    """Network a less network b, of such values (`contrast`)."""
    return contrast(values, {a: 1, b: -1}, **{"signed": True} | options)[0]


def by_network(values: pd.Series) -> pd.DataFrame:
    """One row a network: seeds, never (seeds without a value), value (mean over seeds), low, high (95 %, over seeds).

    The last three are NaN where one of its seeds has no value: a mean over the others would flatter it.
    """
    seeds = values.groupby(level="model", sort=False)
    table = pd.DataFrame({"seeds": seeds.size(), "never": seeds.size() - seeds.count()})
    found = [contrast(values, {model: 1})[0] for model in table.index]
    return table.assign(**{name: [getattr(one, name) for one in found] for name in ("value", "low", "high")})


def _auc(row: Mapping[str, float | None], results: Results) -> float:
    """A logged row's mean AUC; NaN where a class lacked."""
    if not results.chosen:
        return np.nan if row["auc"] is None else row["auc"]
    return float(mean_over_tasks(np.array([row[f"auc:{task}"] for task in results.tasks], dtype=float)))


def _from_start(curve: pd.DataFrame, of: str) -> tuple[np.ndarray, np.ndarray]:
    """(E + 1,) images or steps and AUC of E evaluations, and of the beginning."""
    return np.append(0, curve[of]), np.append(UNTAUGHT, curve["auc"])


def _rising(curve: pd.DataFrame, of: str = "images") -> tuple[np.ndarray, np.ndarray]:
    """The same, with the AUCs that never fall and are nearest to these by least squares."""
    at, auc = _from_start(curve, of)
    return at, isotonic_regression(auc).x


def _each_run(curves: pd.DataFrame, number: Callable[[pd.DataFrame], float], name: str) -> pd.Series:
    found = {run: number(curve) for run, curve in curves.groupby(RUN, sort=False)}
    return pd.Series(found, index=pd.MultiIndex.from_tuples(found, names=RUN), name=name)
