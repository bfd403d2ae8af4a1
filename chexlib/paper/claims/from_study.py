"""What a study measures for a statement: the same numbers as the paper's, with intervals (`chexlib.paper.measures`).

Models are named as the paper does. Statements are about the paper's architectures and, unless they say otherwise,
ImageNet weights: a study that did not train these raises `NotRun`, whose text says what it lacks; one that trained some
of them has their number in what it measures. Each function takes a Results first and gives a tuple of `Measured`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from chexlib.models.zoo import ARCHITECTURES
from chexlib.paper import designs, measures
from chexlib.paper.claims.measured import LEVEL_MARGIN, RHO_MARGIN, Measured, NotRun, of_correlation, of_difference
from chexlib.paper.measures import FEWEST, Estimate, rows, stated
from chexlib.paper.wording import INIT_NAMES, listed
from chexlib.stats import percentile_interval, rank_correlations, seeds_interval

FACTS = {"top1": "ImageNet accuracy", "parameters": "size"}
DATASET = "chexpert"
"""Where the papers' own AUCs can be met again."""

FAMILIES = tuple(row.family for row in ARCHITECTURES.values() if row.in_paper)
"""The family of each of the paper's architectures."""


def correlation(results: Any, column: str, inits: tuple[str, ...]) -> tuple[Measured, ...]:
    """Spearman's rho of "top1" or "parameters" with the mean AUC, one an init."""
    found = []
    for init in inits:
        one = measures.correlation(results, column, init)
        if one is None:
            raise NotRun(_too_few(results, init))
        names = rows(results, init, in_paper=True).index
        rho = of_correlation(f"ρ of {FACTS[column]} and AUC ({INIT_NAMES[init]})", one, names)
        found.append(_of_paper(rho, one.n))
    return tuple(found)


def correlation_gap(results: Any, column: str) -> tuple[Measured, ...]:
    """That rho from random weights less that from ImageNet weights, over the architectures trained from both.

    Its interval is as wide as that of a rho: architectures are drawn anew as well as patients and, where all models
    have several, seeds.
    """
    table = _boosts(results).dropna(subset=[column])
    x, auc = table[column].to_numpy(float), results.models["auc"].to_numpy(float)
    places = [*table["random"], *table["pretrained"]]
    replicates = results.over_seeds(measures.weighing(results, places))  # (R, M)
    over = "architectures, patients and seeds"
    if np.isnan(replicates[:, places]).any():
        replicates, over = results.replicates, "architectures and patients"
    random, pretrained = (rank_correlations(x[None], auc[table[side]][None])[0] for side in ("random", "pretrained"))
    drawn = np.random.default_rng(0).integers(len(x), size=(len(replicates), len(x)))  # (R, n) architectures
    redrawn = [
        rank_correlations(x[drawn], np.take_along_axis(replicates[:, table[side]], drawn, axis=1))
        for side in ("random", "pretrained")
    ]
    low, high = map(float, percentile_interval(redrawn[0] - redrawn[1]))
    what = f"ρ of {FACTS[column]} and AUC, random less ImageNet weights"
    found = Measured(what, random - pretrained, low, high, over, RHO_MARGIN, tuple(results.models.index[places]), 2)
    return (_of_paper(found, len(x)),)


def boost_correlation(results: Any) -> tuple[Measured, ...]:
    """Spearman's rho of size with the boost."""
    table, found = _boosts(results), measures.boost_correlation(results)
    return (_of_paper(of_correlation("ρ of size and boost", found, _of_boosts(results, table)), found.n),)


def mean_boost(results: Any) -> tuple[Measured, ...]:
    """The boost averaged over the paper's architectures."""
    table = _boosts(results)
    names = results.models.index
    found = results.difference(list(names[table["pretrained"]]), list(names[table["random"]]))
    mean = of_difference("mean boost", stated(found, "value", len(table)), _of_boosts(results, table))
    return (_of_paper(mean, len(table)),)


def all_boosts(results: Any) -> tuple[Measured, ...]:
    """The boost of each of the paper's architectures that was trained from both inits."""
    table = _boosts(results)
    return tuple(
        _of_paper(of_difference(row.label, stated(row, "boost"), results.models.index[[row.pretrained, row.random]]),
                  len(table))
        for row in table.itertuples()
    )  # fmt: skip


def difference(results: Any, a: str, b: str, init: str = "imagenet") -> tuple[Measured, ...]:
    """AUC of a minus b from one init."""
    names = [_model(results, label, init) for label in (a, b)]
    found = stated(results.difference(*names), "value")
    return (of_difference(f"{a} less {b} ({INIT_NAMES[init]})", found, names),)


def boosts(results: Any, models: tuple[str, ...]) -> tuple[Measured, ...]:
    """The boost of each of some models."""
    found = []
    for label in models:
        names = [_model(results, label, init) for init in ("imagenet", "random")]
        found.append(of_difference(f"boost of {label}", stated(results.difference(*names), "value"), names))
    return tuple(found)


def boost_gap(results: Any, a: str, b: str) -> tuple[Measured, ...]:
    """Boost of a minus boost of b."""
    ai, ar, bi, br = (_model(results, label, init) for label in (a, b) for init in ("imagenet", "random"))
    half = results.difference([ai, br], [ar, bi])
    ends = (2 * getattr(half, name) for name in ("value", "low", "high"))
    found = Estimate(*ends, 4, 2 * half.low_seeds, 2 * half.high_seeds)
    return (of_difference(f"boost of {a} less that of {b}", found, (ai, ar, bi, br)),)


def boost_gaps(results: Any, pairs: tuple[tuple[str, str], ...]) -> tuple[Measured, ...]:
    """The same of each of several pairs."""
    return tuple(gap for a, b in pairs for gap in boost_gap(results, a, b))


def lead(results: Any, model: str, init: str, sign: int = 1) -> tuple[Measured, ...]:
    """A model's AUC minus the best of the paper's others; with `sign` -1 the worst of the others minus the model's."""
    name, models = _model(results, model, init), rows(results, init, in_paper=True).dropna(subset=["auc"])
    if len(models) < FEWEST:
        raise NotRun(_too_few(results, init))
    own, others = models.loc[name, "row"], models.loc[models.index != name, "row"]

    def ahead(auc: np.ndarray) -> np.ndarray:  # (R, M) -> (R,)
        return sign * auc[:, own] - (sign * auc[:, others]).max(axis=1)

    value = ahead(results.models["auc"].to_numpy(float)[None])[0]
    patients = ahead(results.replicates)
    low, high = seeds_interval(patients, ahead(results.over_seeds(measures.weighing(results, models["row"]))))
    found = replace(measures.estimate(value, patients), low_seeds=float(low), high_seeds=float(high))
    what = f"{model} less the best other" if sign > 0 else f"the worst other less {model}"
    return (_of_paper(of_difference(f"{what} ({INIT_NAMES[init]})", found, models.index), len(models)),)


def groups(results: Any, a: tuple[str, ...], b: tuple[str, ...], init: str) -> tuple[Measured, ...]:
    """Mean AUC of the paper's architectures of some families minus that of others."""
    models = rows(results, init, in_paper=True).dropna(subset=["auc"])
    sides = [list(models.index[models["family"].isin(families)]) for families in (a, b)]
    missing = [f for f in (*a, *b) if f not in set(models["family"])]
    if missing:
        raise NotRun(f"no {listed(missing)} with {INIT_NAMES[init]} among the study's runs")
    found = stated(results.difference(*sides), "value")
    gap = of_difference(f"{listed(a)} less {listed(b)} ({INIT_NAMES[init]})", found, sides[0] + sides[1])
    return (_of_paper(gap, len(gap.models), (*a, *b)),)


def family_against_size(results: Any, init: str) -> tuple[Measured, ...]:
    """Mean gap between two families less the mean gap between a family's ends."""
    found = designs.between_and_within(results, init, in_paper=True)
    if found is None:
        raise NotRun(f"fewer than two families with two sizes and {INIT_NAMES[init]} among the study's runs")
    several = tuple({family for family in FAMILIES if FAMILIES.count(family) > 1})
    models = rows(results, init, in_paper=True)
    models = models[models["family"].isin(several)]
    gap = of_difference(f"gap between families less gap within one ({INIT_NAMES[init]})", found[2], models.index)
    return (_of_paper(gap, len(models), several),)


def truncations(results: Any, models: tuple[str, ...]) -> tuple[Measured, ...]:
    """The change of the AUC by each of some truncations, all from ImageNet weights."""
    found = []
    for label in models:
        names = [_model(results, one, "imagenet") for one in (label, label.partition("Minus")[0])]
        found.append(of_difference(f"{label} less its whole", stated(results.difference(*names), "value"), names))
    return tuple(found)


def level(results: Any, model: str, init: str = "imagenet") -> tuple[Measured, ...]:
    """A model's mean AUC, which is the papers' only on CheXpert."""
    if results.dataset != DATASET:
        raise NotRun("an AUC on CheXpert's test set: the study's images are others")
    name = _model(results, model, init)
    row = results.models.loc[name]
    found = of_difference("AUC", stated(row, "auc"), (name,))
    return (replace(found, margin=LEVEL_MARGIN, sign=False),)


def _of_paper(found: Measured, n: int, families: tuple[str, ...] = FAMILIES) -> Measured:
    """The same, as over n of the paper's architectures, those of some families or all."""
    return replace(found, n=n, of=sum(family in families for family in FAMILIES))


def _boosts(results: Any) -> pd.DataFrame:
    """`measures.boosts` of the paper's architectures; NotRun where they are too few for a number over them."""
    table = measures.boosts(results)
    table = table[table["in_paper"].astype(bool)]
    if len(table) < FEWEST:
        raise NotRun(_few_boosts(results))
    return table


def _model(results: Any, label: str, init: str) -> str:
    """The name of a model in `results.models`."""
    name = f"{label} · {init}"
    if name in results.models.index:
        return name
    other = [i for i in INIT_NAMES if i != init and f"{label} · {i}" in results.models.index]
    only = f", only with {listed([INIT_NAMES[i] for i in other])}" if other else ""
    raise NotRun(f"{label} with {INIT_NAMES[init]} is not among the study's runs{only}")


def _too_few(results: Any, init: str) -> str:
    n = len(rows(results, init, in_paper=True))
    return (
        f"{n or 'none'} of the paper's architectures were trained with {INIT_NAMES[init]}: a correlation needs {FEWEST}"
    )


def _few_boosts(results: Any) -> str:
    """Why a number over the paper's architectures has to be left out, and what of others there is."""
    table = measures.boosts(results)
    n = int(table["in_paper"].astype(bool).sum())
    text = f"{n or 'none'} of the paper's architectures were trained from both inits: this needs {FEWEST}"
    others = measures.mean_boost(results) if n == 0 else None
    if others is None:
        return text
    found = of_difference("of the study's others,", others, ())
    return (
        f"{text} ({found.what} {listed(list(table['label']))}, the mean boost is{str(found).removeprefix(found.what)})"
    )


def _of_boosts(results: Any, table: pd.DataFrame) -> list[str]:
    return list(results.models.index[[*table["pretrained"], *table["random"]]])
