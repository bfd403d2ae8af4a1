"""The boosts of all architectures together: one mean with its parts, p values adjusted for their number, equivalence.

`measures.mean_boost` averages the architectures at hand; `mean` takes them as drawn from more, and says how far
another's boost may lie from the mean (`stats.mean_effect`). Where all were trained several times, p and equivalence are
over patients and seeds, else over patients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.paper import measures
from chexlib.paper.measures import AUC_MARGIN
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.shown import Tables
from chexlib.paper.wording import closed, counted, number, p_alone, where, with_interval


def mean(results: Any) -> stats.MeanEffect | None:
    """The mean boost over whole architectures trained from both inits, and its parts; None with fewer than two."""
    table = measures.boosts(results)
    if len(table) < 2:
        return None
    replicates = results.replicates[:, table["pretrained"]] - results.replicates[:, table["random"]]  # (R, K)
    patients = np.cov(replicates[~np.isnan(replicates).any(axis=1)].T)
    of_mean = results.seed_spread["sd"] ** 2 / results.seed_spread["seeds"]  # variance of a model's mean over its seeds
    names = results.models.index
    seeds = sum(of_mean.reindex(names[table[init]]).to_numpy(float) for init in ("pretrained", "random"))
    return stats.mean_effect(table["boost"], patients, seeds)


def boosts(results: Any, margin: float = AUC_MARGIN) -> pd.DataFrame:
    """`measures.boosts` with p, holm, benjamini_hochberg, and equivalent, p_equivalent within the margin.

    over_seeds: whether these are over patients and seeds, which they are if every boost's models have several.
    """
    table = measures.boosts(results)
    over_seeds = bool(len(table)) and bool(table["low_seeds"].notna().all())
    found = []
    for row in table.itertuples():
        weights = np.zeros(len(results.models))
        weights[row.pretrained], weights[row.random] = 1, -1
        # seeds are drawn for a 95 % interval, which is somewhat wide for the 90 % one of the equivalence test
        replicates = (results.over_seeds(weights) if over_seeds else results.replicates) @ weights
        found.append((stats.paired_difference(row.boost, replicates).p, stats.equivalence(replicates, margin)))
    table["p"] = [p for p, _ in found]
    table["p_equivalent"] = [same.p for _, same in found]
    table["equivalent"] = [same.equivalent for _, same in found]
    table["holm"], table["benjamini_hochberg"] = stats.holm(table["p"]), stats.benjamini_hochberg(table["p"])
    return table.assign(over_seeds=over_seeds)


@skips_missing
def mean_sentence(results: Any) -> Note:
    """The mean boost, and what of its error is owed to patients, to seeds and to the choice of architectures."""
    found = mean(results)
    if found is None:
        return Note(
            f"Study {results.name} trained fewer than two architectures from both inits: there is no mean boost to "
            "take apart."
        )
    seeds = (
        "that of seeds is not known, as some models were trained once, and is in the last part"
        if np.isnan(found.se_seeds)
        else f"{number(found.se_seeds)} from seeds"
    )
    tau = (
        f"true boosts are estimated to spread by {number(found.tau)} between architectures (standard deviation), and "
        f"another architecture's is foretold to lie between {number(found.low_another, sign=True)} and "
        f"{number(found.high_another, sign=True)} (95 %)"
    )
    return closed(
        f"As one estimate over {counted(found.k, 'architecture')}{where(results)}, the mean boost of ImageNet weights "
        f"is {with_interval(found.value, found.low, found.high, sign=True)}. Its standard error of {number(found.se)} "
        f"is made of {number(found.se_patients)} from the patients of the test set, {seeds}, and "
        f"{number(found.se_between)} from which architectures were tried; {tau}"
    )


@skips_missing
def boost_table(results: Any, margin: float = AUC_MARGIN) -> Tables | Note:
    """One row an architecture: its boost, p as it is and adjusted, and whether it is none within the margin."""
    table = boosts(results, margin)
    if table.empty:
        return Note("")  # the sentence above has said why
    low, high = ("low_seeds", "high_seeds") if table["over_seeds"].all() else ("low", "high")
    drawn = "patients and seeds" if table["over_seeds"].all() else "patients"
    shown = {
        f"Boost (95 % over {drawn})": [
            with_interval(row["boost"], row[low], row[high], sign=True) for _, row in table.iterrows()
        ],
        "p": table["p"].map(p_alone),
        "p, Holm": table["holm"].map(p_alone),
        "p, Benjamini-Hochberg": table["benjamini_hochberg"].map(p_alone),
        f"p, equivalence within ±{margin:g}": table["p_equivalent"].map(p_alone),
        f"None, to ±{margin:g}": np.where(table["equivalent"], "yes", "not shown"),
    }
    return Tables(
        {"": pd.DataFrame(shown).set_index(pd.Index(table["label"])).rename_axis(None).rename_axis(columns="")}
    )


@skips_missing
def boost_sentence(results: Any, margin: float = AUC_MARGIN) -> Note:
    """How many boosts stand after adjustment, and how many are none within the margin."""
    table = boosts(results, margin)
    if len(table) < 2:
        return Note("")  # one p needs no adjustment
    level = 0.05
    return closed(
        f"Of {counted(len(table), 'boost')}, {(table['p'] < level).sum()} have p below {level:g} taken alone, "
        f"{(table['holm'] < level).sum()} after Holm's adjustment (which bounds the chance of a single false one) and "
        f"{(table['benjamini_hochberg'] < level).sum()} after Benjamini and Hochberg's (which bounds the share of "
        f"false ones); {table['equivalent'].sum()} are shown to be no boost, to ±{margin:g}, by two one-sided tests. A "
        "boost that is in neither group is open"
    )
