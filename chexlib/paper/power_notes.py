"""What could have been seen, in sentences and a table: detectable differences, and what "no relationship" can mean.

The numbers are those of `chexlib.paper.power` and `chexlib.paper.attenuation`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chexlib.paper import attenuation, measures
from chexlib.paper import power as numbers
from chexlib.paper.attenuation import Attenuation
from chexlib.paper.claims.statements import BY_ID
from chexlib.paper.measures import FEWEST
from chexlib.paper.notes import Note, says_missing, skips_missing
from chexlib.paper.power import ASSUMED, POWER, TRUNCATED, Pairs
from chexlib.paper.shown import Tables
from chexlib.paper.wording import INIT_NAMES, closed, counted, listed, number, where

INITS = ("random", "imagenet")
PRINTED_RHO = {"random": "4.1-rho-random", "imagenet": "4.1-rho-imagenet"}


@skips_missing
def differences(results: Any) -> Note:
    """For each init of the study: the errors of differences, what they could have found, and how many were found."""
    said = []
    for init in INITS:
        found = numbers.pairs(results, init)
        if found is None:
            continue
        error, least = np.median(found.error), np.median(found.least)
        text = (
            f"With {INIT_NAMES[init]}, {counted(len(found.auc), 'whole architecture')} make "
            f"{counted(len(found.observed), 'pair')}. Over patients a difference of two mean AUCs has a standard error "
            f"of {number(error)} in the median, so the least difference that this test set finds with "
            f"{POWER:.0%} power is {number(least)} (from {number(found.least.min())} to {number(found.least.max())} by "
            f"pair); {_of(_reach(found, found.least), found, 'is as large as its own', 'are as large as their own')}. "
        )
        if not np.isnan(found.seed_sd):
            reach = _of(_reach(found, found.least_seeds), found, "reaches it", "reach it")
            text += (
                f"That holds for the networks as they were trained. One training lies {number(found.seed_sd)} from the "
                "mean of its seeds (standard deviation, pooled over the models trained several times, and taken for "
                "the others, too); with that added the least detectable difference is "
                f"{number(np.median(found.least_seeds))}, and {reach}. "
            )
        else:
            text += "How far two trainings of one network lie apart is not known here, and would add to it. "
        text += f"The best and the worst lie {number(found.spread)} apart."
        said.append(text)
    if not said:
        return Note(f"Study {results.name} has no two whole architectures from the same weights: no pair to compare.")
    return Note("\n\n".join(said))


@skips_missing
def formula(results: Any) -> Note:
    """The standard error that counts alone foretell, beside that of the replicates."""
    auc = float(results.models["auc"].median())
    if np.isnan(auc):
        return Note("No AUC could be computed, so there is no standard error to foretell.")
    foretold, measured = numbers.formula(results, auc), float(np.median(np.nanstd(results.replicates, axis=0, ddof=1)))
    return Note(
        f"A check that needs no network: from the numbers of positive and negative test studies, Hanley and McNeil's "
        f"formula foretells a standard error of {number(foretold)} for one mean AUC of {number(auc, 2)}, if the tasks' "
        f"errors are independent; the replicates have {number(measured)} in the median. The formula takes scores to be "
        "exponentially distributed, and tasks that share patients are not quite independent, so no more than rough "
        "agreement is to be expected."
    )


def paper_differences(results: Any = None) -> Note:
    """What Table 1's printed intervals allow: how wide they are, what cancels in a difference, what could be seen."""
    found, errors = {r: numbers.paper_pairs(r) for r in ASSUMED}, numbers.paper_errors()
    of_truncated = sorted(map(numbers.implied_r, TRUNCATED))
    spread = found[0.0].spread
    text = (
        f"Table 1's intervals come from CheXpert's {numbers.STUDIES} test studies. They say that a mean AUC has a "
        f"standard error of {number(np.median(errors), 4)}, while its "
        f"{len(errors)} AUCs span {number(spread)} in all. How much of the error cancels in a difference depends on "
        "how the errors of two models correlate over patients. Were they independent, a difference would have to be "
        f"{number(np.median(found[0.0].least))} to be found with {POWER:.0%} power; "
        + listed([f"{number(np.median(found[r].least))} with a correlation of {number(r, 1)}" for r in ASSUMED[1:]])
        + ". The difference of the best and the worst architecture without pretraining is printed with an interval of "
        f"its own, which implies a correlation of {number(implied(), 2)}; two differences of a network and its own "
        "truncation, which err more alike, imply "
        + listed([number(r, 2) for r in of_truncated])
        + " if the truncated model's interval, which is not printed, is as wide as the whole one's. "
    )
    measured = _measured(results)
    if measured is not None:
        text += f"Between the architectures of this study the median is {number(measured, 2)}. "
    text += (
        f"Below about {number(numbers.least_r(), 2)} it is not likely to be: patients alone would then be expected to "
        f"spread the {len(errors)} AUCs more than they are spread."
    )
    return closed(text)


def paper_table(results: Any = None) -> Tables:
    """One row a correlation r of two models' errors: what CheXpert's test set could show of Table 1's 16 models."""
    cases = {number(r, 2): r for r in ASSUMED} | {f"{number(implied(), 2)} (implied by a printed interval)": implied()}
    measured = _measured(results)
    if measured is not None and 0 <= measured < 1:
        cases[f"{number(measured, 2)} (measured in this study)"] = measured
    found = {name: (numbers.paper_pairs(r), attenuation.of_paper(r)) for name, r in sorted(cases.items(), key=_by_r)}
    shown = {
        name: {
            "Standard error of a difference": number(np.median(one.error), 4),
            "Least detectable difference": number(np.median(one.least), 4),
            f"Pairs of Table 1 that differ by as much, of {len(one.observed)}": f"{_reach(one, one.least)}",
            "True SD that Table 1 leaves": number(one.true_sd, 4),
            "Weakest ρ that is found": _weakest(seen),
        }
        for name, (one, seen) in found.items()
    }
    return Tables({"": pd.DataFrame(shown).T.rename_axis(columns="Correlation of errors")})


@skips_missing
def relationship(results: Any) -> Note:
    """How weak a rank correlation the study's architectures could have shown, and what its own is compatible with."""
    said = []
    for init in INITS:
        seen = attenuation.of_study(results, init)
        if seen is not None:
            came = _compatible(seen, rho_of_study(results, init))
            said.append(f"With {INIT_NAMES[init]}{where(results)}, {_power_of(seen)}{came}")
    if not said:
        return Note(
            f"Study {results.name} trained fewer than {FEWEST} of the paper's architectures from the same weights, so "
            "it shows no rank correlation, strong or weak."
        )
    return Note("\n\n".join(said))


def paper_relationship() -> Note:
    """What the paper's "no relationship" can mean: the true rho that its printed ones are compatible with."""
    r, most = implied(), max(map(numbers.implied_r, TRUNCATED))
    seen, kinder = attenuation.of_paper(r), attenuation.of_paper(most)
    ideal = attenuation.noiseless(seen.n)
    rho = {init: printed_rho(init) for init in PRINTED_RHO}
    low, high = seen.compatible(rho["imagenet"])
    at_most = kinder.compatible(rho["imagenet"])
    alone = ideal.compatible(rho["random"])
    return closed(
        f"The paper finds no relationship of ImageNet accuracy and AUC: Spearman's ρ = {number(rho['imagenet'], 3)} "
        f"with ImageNet weights and {number(rho['random'], 3)} without. {seen.n} architectures whose true AUCs were "
        f"known would find a true ρ of {number(ideal.least, 2)} with {POWER:.0%} power, and nothing much weaker. "
        "With ImageNet weights noise is added: where errors correlate by "
        f"{number(r, 2)}, as a printed interval implies for two architectures, {_weakest_words(seen)}, and the "
        f"printed ρ is compatible with a true one from {number(low, 2)} to {number(high, 2)}; even at "
        f"{number(most, 2)}, as for a network and its truncation, from {number(at_most[0], 2)} to "
        f"{number(at_most[1], 2)}. Without pretraining the AUCs are spread more widely, so noise matters less there; "
        f"the number of architectures alone leaves {number(alone[0], 2)} to {number(alone[1], 2)}. So "
        '"no relationship" can mean that a strong one, in either direction, was not excluded; it is no '
        "evidence that there is none"
    )


@says_missing
def answer(results: Any) -> Note:
    """Answer of notebook 13, in a sentence or two."""
    init = next((init for init in INITS if numbers.pairs(results, init) is not None), None)
    if init is None:
        return Note(f"Study {results.name} has no two whole architectures from the same weights: no pair to compare.")
    found, seen = numbers.pairs(results, init), attenuation.of_study(results, init)
    both = not np.isnan(found.seed_sd)
    least = np.median(found.least_seeds if both else found.least)
    text = (
        f"Of {counted(len(found.observed), 'pair')} of architectures{where(results)}, "
        f"{_reach(found, found.least_seeds if both else found.least)} differ by as much as their test set"
        f"{' and seeds' if both else ''} could show ({number(least)} in the median)"
    )
    if seen is not None:
        text += f"; for a rank correlation over {seen.n} architectures, {_weakest_words(seen)}"
    return closed(text)


def implied() -> float:
    """The r of two architectures that a printed interval implies."""
    return numbers.implied_r()


def printed_rho(init: str) -> float:
    """The paper's rho of ImageNet accuracy and AUC."""
    return float(BY_ID[PRINTED_RHO[init]].printed["ρ"])


def rho_of_study(results: Any, init: str) -> float | None:
    """A study's rho of ImageNet accuracy and AUC, None where there is none."""
    found = measures.correlation(results, "top1", init)
    return None if found is None or np.isnan(found.rho) else found.rho


def _reach(found: Pairs, least: np.ndarray) -> int:
    """How many observed differences are at least what could be detected."""
    return int((found.observed >= np.where(least > 0, least, np.inf)).sum())


def _of(n: int, found: Pairs, one: str, many: str) -> str:
    if len(found.observed) == 1:
        return (
            f"the observed difference {one if n else one.replace('is', 'is not').replace('reaches', 'does not reach')}"
        )
    return f"{n:,} of the {len(found.observed):,} observed differences {one if n == 1 else many}"


def _measured(results: Any) -> float | None:
    """r of the study at hand, from the init with more architectures; None where it has no pair, or no results."""
    if results is None or not hasattr(results, "replicates"):
        return None
    found = [one for one in (numbers.pairs(results, init) for init in INITS) if one is not None]
    r = max(found, key=lambda one: len(one.auc)).r if found else np.nan
    return None if np.isnan(r) else r


def _by_r(case: tuple[str, float]) -> float:
    return case[1]


def _weakest(seen: Attenuation) -> str:
    return "none" if np.isnan(seen.least) else number(seen.least, 2)


def _weakest_words(seen: Attenuation) -> str:
    if np.isnan(seen.least):
        return f"no true ρ, not even 1, would be found with {POWER:.0%} power"
    return f"the weakest true ρ that would be found with {POWER:.0%} power is {number(seen.least, 2)}"


def _power_of(seen: Attenuation) -> str:
    ideal = attenuation.noiseless(seen.n)
    half = int(np.argmin(np.abs(seen.true - 0.5)))
    return (
        f"a rank correlation is over {seen.n} of the paper's architectures. Noise of {number(seen.pairs.noise)} (a "
        f"standard deviation) lies over true differences of {number(seen.pairs.true_sd)}, so that a true ρ of "
        f"{number(seen.true[half], 1)} comes out as {number(seen.mean[half], 2)} on average, and anywhere from "
        f"{number(seen.low[half], 2)} to {number(seen.high[half], 2)}; {_weakest_words(seen)} (without any noise: "
        f"{number(ideal.least, 2)})."
    )


def _compatible(seen: Attenuation, rho: float | None) -> str:
    if rho is None:
        return ""
    low, high = seen.compatible(rho)
    return (
        f" The ρ of ImageNet accuracy and AUC that came out, {number(rho, 2)}, is compatible with a true one from "
        f"{number(low, 2)} to {number(high, 2)}."
    )
