"""What a study measures for a statement: named measurements, each of a few lines.

A measurement takes `Results` and the words that follow its name in statements.yaml, and gives one `Measured` or
several. Networks are named as the paper does ("ResNet18Minus1"). A statistic is a function of the networks' AUCs, a
column each, computed in `results.models` and in the same way in each of `results.replicates`; for a rank correlation
whole families of architectures are drawn anew as well. What the study lacks is an `Estimate` that says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from chexlib.models.zoo import ARCHITECTURES
from chexlib.results import Estimate, Results
from chexlib.stats import (
    FEWEST_ARCHITECTURES,
    FEWEST_FAMILIES,
    draw_families,
    less_noise,
    paired_difference,
    rank_correlations,
    smallest_difference,
    squared_gaps,
)

FAMILIES = [row.family for row in ARCHITECTURES.values() if row.in_paper]
"""The family of each of the paper's sixteen architectures."""
ALL = len(FAMILIES)
"""A number over all of them is not taken over fewer than FEWEST_ARCHITECTURES."""
ENDS = (("ResNet101", "ResNet18"), ("DenseNet201", "DenseNet121"), ("EfficientNetB3", "EfficientNetB0"))
"""The largest and the smallest of the families that section 4.1 compares."""


@dataclass(frozen=True)
class Measured:
    """One number of a study: of what, the Estimate, and the networks (rows of `results.models`) behind it.

    It was taken over `n` of the `of` architectures that the statement is about. p: two-sided bootstrap p of its being
    0; NaN where that is no question, or where it cannot be told.
    """

    what: str
    estimate: Estimate
    networks: tuple[str, ...] = ()
    n: int = 0
    of: int = 0
    p: float = np.nan

    def __str__(self) -> str:
        few = f" ({self.n} of {self.of} architectures)" if self.n < self.of else ""
        return f"{self.what}{few} {self.estimate}"


def level(results: Results, label: str, init: str = "imagenet") -> list[Measured]:
    """A network's mean AUC, which is the paper's only on CheXpert."""
    if results.dataset != "chexpert":
        return missing(f"AUC of {label}", "an AUC on CheXpert's test set: the study's images are others")
    name = f"{label} · {init}"
    return measured(results, f"AUC of {label}", [name], lambda auc: auc[name], signed=False)


def difference(results: Results, a: str, b: str, init: str) -> list[Measured]:
    """AUC of a minus AUC of b."""
    return mean_difference(results, f"{a} less {b} ({init})", [f"{a} · {init}"], [f"{b} · {init}"])


def truncations(results: Results, *labels: str) -> list[Measured]:
    """The change of the AUC by each truncation, from ImageNet weights."""
    return [one for label in labels for one in difference(results, label, label.partition("Minus")[0], "imagenet")]


def ends(results: Results, init: str) -> list[Measured]:
    """AUC of the largest of a family minus the smallest's, for each family that section 4.1 compares."""
    return [one for a, b in ENDS for one in difference(results, a, b, init)]


def ends_against_imagenet(results: Results, init: str) -> list[Measured]:
    """The same less the largest's lead over the smallest in ImageNet accuracy, as a fraction."""
    top1 = {row.paper_name: row.top1 / 100 for row in ARCHITECTURES.values()}
    return [
        one
        for a, b in ENDS
        for one in mean_difference(results, f"{a} less {b} ({init}) less its lead on ImageNet", [f"{a} · {init}"],
                         [f"{b} · {init}"], less=top1[a] - top1[b])
    ]  # fmt: skip


def boosts(results: Results, *labels: str) -> list[Measured]:
    """The boost of each: AUC with ImageNet weights minus without."""
    return [
        one for a in labels for one in mean_difference(results, f"boost of {a}", [f"{a} · imagenet"], [f"{a} · random"])
    ]  # fmt: skip


def boost_gap(results: Results, a: str, b: str) -> list[Measured]:
    """Boost of a minus boost of b."""
    ai, ar, bi, br = (f"{label} · {init}" for label in (a, b) for init in ("imagenet", "random"))
    what = f"boost of {a} less that of {b}"
    return measured(results, what, [ai, ar, bi, br], lambda auc: auc[ai] - auc[ar] - auc[bi] + auc[br])


def boost_gaps(results: Results) -> list[Measured]:
    """Boost of the largest of a family minus boost of its smallest."""
    return [one for a, b in ENDS for one in boost_gap(results, a, b)]


def mean_boost(results: Results) -> list[Measured]:
    """The boost averaged over the paper's architectures that were trained from both inits."""
    pretrained, random = _paired(results)
    return mean_difference(results, "mean boost", pretrained, random, ALL)


def all_boosts(results: Results) -> list[Measured]:
    """The boost of each of them."""
    label = results.models["label"]
    pairs = zip(*_paired(results), strict=True)
    found = [one for a, b in pairs for one in mean_difference(results, f"boost of {label[a]}", [a], [b])]
    if len(found) < FEWEST_ARCHITECTURES:
        return mean_boost(results)  # says what is missing
    return [replace(one, n=len(found), of=ALL) for one in found]


def correlation(results: Results, fact: str, *inits: str) -> list[Measured]:
    """Spearman's rho of "top1" or "parameters" with the mean AUC; one an init."""
    return [
        one
        for init in inits
        for one in _rho(results, f"ρ of {fact} and AUC ({init})", fact, [_whole(results, init)], lambda rho, y: rho(y))
    ]


def correlation_gap(results: Results, fact: str) -> list[Measured]:
    """Rho of a fact with the AUC from random weights minus that from ImageNet weights, over the same architectures."""
    what = f"ρ of {fact} and AUC (random) less that (imagenet)"
    return _rho(results, what, fact, _paired(results), lambda rho, pretrained, random: rho(random) - rho(pretrained))


def boost_correlation(results: Results) -> list[Measured]:
    """Spearman's rho of parameters with the boost."""
    return _rho(results, "ρ of parameters and boost", "parameters", _paired(results), lambda rho, a, b: rho(a - b))


def lead(results: Results, label: str, init: str, end: str) -> list[Measured]:
    """How far a network is ahead of the best of the others ("best"), or behind the worst of them ("worst").

    Its difference to each rival is judged, not to whichever comes first in a draw. It has no margin: a best that is
    tied for best is one still.
    """
    name, sign = f"{label} · {init}", {"best": 1, "worst": -1}[end]
    others = [other for other in _whole(results, init) if other != name]

    def statistic(auc: pd.DataFrame) -> np.ndarray:
        return sign * (auc[[name]].to_numpy() - auc[others].to_numpy())  # (R, rivals)

    what = f"{label} against the {end} other ({init})"
    return measured(results, what, [name, *others], statistic, ALL, judged=_by_rivals, margin=0)


def families(results: Results, a: str, b: str, init: str) -> list[Measured]:
    """Mean AUC of some families ("DenseNet+ResNet") minus that of others."""
    first, second = _of_families(results, a, init), _of_families(results, b, init)
    of = sum(map(FAMILIES.count, f"{a}+{b}".split("+")))
    return mean_difference(results, f"{a} less {b} ({init})", first, second, of)


def families_at_size(results: Results, a: str, b: str, init: str) -> list[Measured]:
    """The same at equal size: the families' coefficient in a least-squares fit that has log parameters beside it."""
    first, second = _of_families(results, a, init), _of_families(results, b, init)
    names = [*first, *second]
    size = np.log(results.models["parameters"].reindex(names).to_numpy(float))
    design = np.column_stack([np.isin(names, first), size, np.ones(len(names))]).astype(float)  # (n, 3)
    of = sum(map(FAMILIES.count, f"{a}+{b}".split("+")))

    def statistic(auc: pd.DataFrame) -> np.ndarray:
        return auc[names].to_numpy() @ np.linalg.pinv(design)[0]

    return measured(results, f"{a} less {b} at equal size ({init})", names, statistic, of)


def family_against_size(results: Results, init: str) -> list[Measured]:
    """Mean squared gap between two families' means less that between a family's ends, in squared hundredths of AUC.

    Without what noise adds to each. Over the families with two sizes; it has no margin.
    """
    names = list(chain(*_groups(results, init, 2)))
    family, size = (results.models[fact].reindex(names) for fact in ("family", "parameters"))
    if family.nunique() < 2:
        return missing("gap between families", f"fewer than two families with two sizes from {init} weights")

    def statistic(auc: pd.DataFrame) -> np.ndarray:
        between, within = squared_gaps(100 * auc[names].to_numpy(), family, size)
        return between - within

    what = f"squared gap between families less that within, in hundredths of AUC ({init})"
    several = sum(FAMILIES.count(one) for one in set(FAMILIES) if FAMILIES.count(one) > 1)
    return measured(results, what, names, statistic, several, judged=_by_draws_of_squares, margin=0, digits=1)


def size_within_families(results: Results, init: str) -> list[Measured]:
    """Rho of size and AUC over all architectures less its mean over families of three or more sizes."""
    names, groups, size = _whole(results, init), _groups(results, init, 3), results.models["parameters"]
    if not groups:
        return missing("ρ within families", f"no family with three sizes from {init} weights")
    first = [names.index(group[0]) for group in groups]

    def statistic(auc: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        within = np.stack([rank_correlations(size[group], auc[group].to_numpy()) for group in groups], axis=1)
        drawn = times[:, first]  # how often each family is
        with np.errstate(invalid="ignore"):  # NaN where none is drawn
            mean = (drawn * within).sum(axis=1) / drawn.sum(axis=1)
        return rank_correlations(size[names], auc[names].to_numpy(), times) - mean

    return over_families(results, f"ρ over all less ρ within families ({init})", [names], statistic)


CHEXTRANSFER = (
    level, difference, truncations, ends, ends_against_imagenet, boosts, boost_gap, boost_gaps, mean_boost, all_boosts,
    correlation, correlation_gap, boost_correlation, lead, families, families_at_size, family_against_size,
    size_within_families,
)  # fmt: skip
"""What its statements ask for, and those of the other papers that speak of single networks, too."""


def measured(
    results: Results,
    what: str,
    networks: Sequence[str],
    statistic: Callable,
    of: int = 0,
    less: float = 0,
    judged: Callable | None = None,
    task: str = "",
    **options: object,
) -> list[Measured]:
    """A statistic of AUCs (R, M) -> (R,), less a number that is known; missing where a network is, or most are.

    of: how many of the paper's architectures it is about, where it is not about these networks alone. judged: gives
    the Estimate and its p, where it is not `_by_draws`. task: whose AUCs, where not their mean over tasks. Options are
    those of `Estimate.of`.
    """
    if absent := [name for name in networks if name not in results.models.index]:
        return missing(what, f"{', '.join(absent)} not among the study's networks")
    n = results.models.loc[list(networks), "label"].nunique()
    if of == ALL and n < FEWEST_ARCHITECTURES:
        at_hand = f"{n or 'none'} of the paper's architectures at hand"
        return missing(what, f"{what}: {at_hand}, {FEWEST_ARCHITECTURES} needed")
    if task and task not in results.all_tasks:
        return missing(what, f"{task} is none of the study's tasks")
    once, again = results.models[["auc"]].T, results.replicates  # (1, M) and (R, M)
    if task:
        once, options = results.task_auc[[task]].T, {"tasks": [task]} | options
        again = pd.DataFrame(results.task_replicates[:, :, results.all_tasks.index(task)], columns=once.columns)
    value, draws = (np.asarray(statistic(auc)) - less for auc in (once, again))
    estimate, p = (judged or _by_draws)(results, value[0], draws, **{"signed": True} | options)
    told = estimate.signed and not estimate.few
    return [Measured(what, estimate, tuple(networks), n, of or n, p if told else np.nan)]


def _by_draws(results: Results, value: float, draws: np.ndarray, **options: object) -> tuple[Estimate, float]:
    return results.estimate(value, draws, **options), paired_difference(value, draws).p


def _by_draws_of_squares(results: Results, value: float, draws: np.ndarray, **options) -> tuple[Estimate, float]:
    return _by_draws(results, *less_noise(value, draws), **options)


def _by_rivals(results: Results, values: np.ndarray, draws: np.ndarray, **options) -> tuple[Estimate, float]:
    """Of differences to J rivals (J,) and their draws (R, J): the smallest."""
    found = smallest_difference(values, draws)
    estimate = results.estimate(found.value, draws.min(axis=1), **options)
    return replace(estimate, low=found.low, high=found.high), found.p


def mean_difference(
    results: Results, what: str, first: list[str], second: list[str], of: int = 0, less: float = 0, **options: object
) -> list[Measured]:
    """Mean AUC of some networks minus that of others."""

    def statistic(auc: pd.DataFrame) -> pd.Series:
        return auc[first].mean(axis=1) - auc[second].mean(axis=1)

    return measured(results, what, [*first, *second], statistic, of, less, **options)


def _rho(results: Results, what: str, fact: str, sides: Sequence[list[str]], combine: Callable) -> list[Measured]:
    """What `combine` makes of Spearman's rho with a fact and the AUCs (R, n) of n architectures, from one init or two.

    combine: takes a function that gives the rho of values (R, n) with the fact, and the AUCs of each side.
    """
    facts = results.models[fact].reindex(sides[0]).to_numpy(float)

    def statistic(auc: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        return combine(lambda y: rank_correlations(facts, y, times), *(auc[side].to_numpy() for side in sides))

    return over_families(results, what, sides, statistic)


def over_families(
    results: Results, what: str, sides: Sequence[list[str]], statistic: Callable, of: int = ALL
) -> list[Measured]:
    """A statistic of AUCs and of how often each of n architectures counts, (R, n): once, or as families are drawn."""
    family = results.models["family"].reindex(sides[0])
    if family.nunique() < FEWEST_FAMILIES:
        return missing(what, f"{what}: families at hand {family.nunique()}, needed {FEWEST_FAMILIES}")

    def drawn(auc: pd.DataFrame) -> np.ndarray:
        once = np.ones((1, len(family)))
        return statistic(auc, once if len(auc) == 1 else draw_families(family, len(auc), results.seed))

    over = "families and patients" if results.over == "patients" else f"families, {results.over}"
    return measured(results, what, list(chain(*sides)), drawn, of, digits=2, over=over)


def missing(what: str, why: str) -> list[Measured]:
    return [Measured(what, Estimate(missing=why))]


def _whole(results: Results, init: str) -> list[str]:
    """The paper's architectures, whole, from an init: names of networks."""
    models = results.models
    return list(models.index[(models["init"] == init) & (models["minus"] == 0) & models["in_paper"].astype(bool)])


def _paired(results: Results) -> tuple[list[str], list[str]]:
    """The paper's architectures that were trained from both inits: pretrained, random."""
    label = results.models["label"]
    pretrained, random = ({label[name]: name for name in _whole(results, init)} for init in ("imagenet", "random"))
    both = [one for one in pretrained if one in random]
    return [pretrained[one] for one in both], [random[one] for one in both]


def _of_families(results: Results, families: str, init: str) -> list[str]:
    """The networks of some families; a family that the study lacks stands for itself, and is then missing."""
    family = results.models["family"][_whole(results, init)]
    return [name for one in families.split("+") for name in (list(family.index[family == one]) or [f"{one} · {init}"])]


def _groups(results: Results, init: str, sizes: int) -> list[list[str]]:
    """The networks of each family with so many sizes, from the smallest."""
    models = results.models.loc[_whole(results, init)].sort_values("parameters")
    return [list(its.index) for _, its in models.groupby("family") if len(its) >= sizes]
