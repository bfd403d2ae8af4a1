"""Plain sentences made from numbers and intervals: what the notebooks say, and what the landing page quotes.

No number is typed into a notebook: each sentence here is built from `chexlib.paper.measures`. A sentence claims no more
than its interval allows: "the same" needs the whole interval inside a margin that it states, and an interval that
includes zero is called open, whatever its p-value. Where models have several seeds that is the interval over patients
and seeds, and stands first.
"""

from __future__ import annotations

from typing import Any

from chexlib.paper import designs, measures
from chexlib.paper.measures import AUC_MARGIN, Correlation, stated
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import INIT_NAMES, closed, counted, listed, number, p_value, reading, where, with_intervals


def correlation(found: Correlation | None, x: str, y: str, init: str | None = None) -> Note:
    """One sentence on a rank correlation, or on why none is shown."""
    start = f"With {INIT_NAMES.get(init, init)}" if init else "Here"
    if found is None:
        return Note(
            f"{start}, fewer than {measures.FEWEST} of the paper's architectures were trained in this study, "
            "so no rank correlation is given."
        )
    patients, both, archs = (
        f"{number(low, 2)} to {number(high, 2)}" for low, high in (found.patients, found.seeds, found.architectures)
    )
    drawn = (
        f"{both} when patients and seeds are drawn anew, {patients} when patients alone are"
        if found.over_seeds
        else f"{patients} when patients are drawn anew"
    )
    text = (
        f"{start}, {x} and {y} have Spearman's ρ = {number(found.rho, 2)} ({p_value(found.p)}, {found.n} "
        "architectures; "
        f"95 % interval {drawn}, {archs} when architectures are drawn anew as well). "
    )
    low, high = found.architectures
    if low <= 0 <= high:
        strong = max(abs(low), abs(high))
        return Note(
            text + f"The sign is not settled, and a relationship as strong as |ρ| = {number(strong, 2)} is not "
            "excluded: this is no evidence that there is none."
        )
    return Note(
        text + f"The relationship is {'positive' if low > 0 else 'negative'}, with architectures drawn anew or not."
        if found.given[0] * found.given[1] > 0
        else text + "The intervals disagree about the sign, so it is not settled."
    )


@skips_missing
def correlation_of(results: Any, column: str, init: str) -> Note:
    """What the rank correlation of "top1" or "parameters" with AUC allows, from one init."""
    return correlation(
        measures.correlation(results, column, init),
        {"top1": "ImageNet top-1 accuracy"}.get(column, "size"),
        "AUC",
        init,
    )


@skips_missing
def imagenet(results: Any) -> Note:
    """Answer of notebook 02: does a better ImageNet architecture read chest X-rays better?"""
    said = []
    for init in ("random", "imagenet"):
        found = measures.correlation(results, "top1", init)
        if found is not None:
            low, high = found.architectures
            settled = low > 0 or high < 0
            over = " over architectures, patients and seeds" if found.over_seeds else ""
            said.append(
                f"with {INIT_NAMES[init]}, Spearman's ρ = {number(found.rho, 2)} over {found.n} architectures "
                f"({number(low, 2)} to {number(high, 2)}{over}): "
                + (
                    (("a positive" if low > 0 else "a negative") + " relationship")
                    if settled
                    else "neither a relationship nor its absence is established"
                )
            )
    if not said:
        return Note(
            f"Study {results.name} trained fewer than {measures.FEWEST} of the paper's architectures, too few to "
            "relate "
            "ImageNet accuracy to AUC."
        )
    return closed("ImageNet accuracy against AUC " + where(results) + ": " + "; ".join(said))


@skips_missing
def extremes(results: Any, init: str = "random") -> Note:
    """The best against the worst architecture, as section 4.1 compares them."""
    found = measures.extremes(results, init)
    if found is None:
        return Note(f"With {INIT_NAMES[init]}, this study has no two architectures to compare.")
    best, worst, gap = found
    return Note(
        f"With {INIT_NAMES[init]}, the highest AUC is {best}'s and the lowest {worst}'s: a difference of "
        f"{with_intervals(gap)}. Of {gap.n} models these two were picked on the very patients "
        "on which they are compared, so the difference is, if anything, too wide."
    )


@skips_missing
def sizes(results: Any) -> Note:
    """What Figure 3 says, one sentence an init."""
    return Note("\n\n".join(correlation_of(results, "parameters", init) for init in ("random", "imagenet")))


@skips_missing
def families(results: Any, init: str = "random") -> Note:
    """What the families say within themselves, one sentence each."""
    table = designs.families(results, init)
    if table.empty:
        return Note("")  # the figure above has said why
    lines = [
        f"- {row.family}: {row.largest} minus {row.smallest} ({number(row.times, 1)} times as many parameters), "
        f"{with_intervals(stated(row, 'difference'), sign=True)}; {reading(stated(row, 'difference'))}."
        for row in table.itertuples()
    ]
    return Note(
        f"With {INIT_NAMES[init]}, the largest architecture of each family minus its smallest:\n\n" + "\n".join(lines)
    )


@skips_missing
def family(results: Any, init: str = "random") -> Note:
    """Answer of notebook 04: does the family matter more than the size within it?"""
    found = designs.between_and_within(results, init)
    if found is None:
        return Note(
            f"Study {results.name} has fewer than two families with two sizes, so family and size cannot be weighed."
        )
    between, within, gap = found
    more = {
        "higher": "families differ more than sizes within them",
        "lower": "sizes within a family differ more"
        + ("" if gap.over_seeds else ", which single seeds alone could do"),
        "same": f"the two gaps are the same, to ±{AUC_MARGIN:g}",
        "open": "which matters more stays open",
    }[gap.verdict()]
    return closed(
        f"Two families differ by {with_intervals(between)} in mean AUC, the largest and "
        f"the smallest of one family by {with_intervals(within)} "
        f"{where(results)} ({between.n} families, {INIT_NAMES[init]}); the first minus the second is "
        f"{with_intervals(gap, sign=True)}: {more}"
    )


@skips_missing
def boost(results: Any) -> Note:
    """Answer of notebook 03: do ImageNet weights help?"""
    found = measures.mean_boost(results)
    if found is None:
        return Note(
            f"Study {results.name} trained no architecture from both inits, so it says nothing about the boost."
        )
    table = measures.boosts(results)
    names = listed(list(table["label"])) if len(table) <= 4 else f"{len(table)} architectures"
    return closed(
        "Starting from ImageNet weights changes the mean AUC by "
        f"{with_intervals(found, sign=True)} "
        f"{where(results)}, {'averaged over' if len(table) > 1 else 'for'} {names}: {reading(found)}"
    )


@skips_missing
def boost_counts(results: Any) -> Note:
    """How many single boosts have an interval above, below, and across zero."""
    table = measures.boosts(results)
    if len(table) < 2:
        return Note("")  # `boost` has said it all
    found = [stated(row, "boost") for row in table.itertuples()]
    above, below = sum(one.interval[0] > 0 for one in found), sum(one.interval[1] < 0 for one in found)
    seeds = sum(one.over_seeds for one in found)
    over = (
        "" if not seeds else " over patients and seeds" if seeds == len(found) else f" (over seeds, too, for {seeds})"
    )
    return Note(
        f"Of {counted(len(table), 'architecture')} trained from both inits, the interval of the boost{over} lies above "
        f"zero for {above}, below for {below}, and across it for {len(table) - above - below}. "
        "Each interval is taken alone; with many of them, one in twenty strays on nothing but chance."
    )


@skips_missing
def boost_by_size(results: Any) -> Note:
    """What the rank correlation of size with boost allows."""
    found = measures.boost_correlation(results)
    if found is None:
        return Note(
            f"Fewer than {measures.FEWEST} of the paper's architectures were trained from both inits, so no rank "
            "correlation of size and boost is given."
        )
    return correlation(found, "size", "boost")


@skips_missing
def truncation(results: Any, init: str | None = None) -> Note:
    """Answer of notebook 05: how small can a model be made by dropping its last blocks?"""
    table = designs.truncations(results)
    cut = table[table["minus"] > 0]
    init = init or ("imagenet" if (cut["init"] == "imagenet").any() else "random")
    cut = cut[cut["init"] == init]
    if cut.empty:
        return Note(f"Study {results.name} holds no truncated model beside its whole one.")
    first = cut[cut["minus"] == 1]
    found = [stated(row, "change") for row in first.itertuples()]
    if len(found) == 1:
        [row] = first.itertuples()
        return closed(
            f"Dropping the last block makes {row.label.removesuffix('Minus1')} {number(row.times, 1)} times "
            "smaller and changes "
            f"its mean AUC by {with_intervals(found[0], sign=True)}{where(results)} "
            f"({INIT_NAMES[init]}): {reading(found[0])}"
        )
    verdicts = [one.verdict() for one in found]
    times = f"{number(first['times'].min(), 1)} to {number(first['times'].max(), 1)}"
    says = [
        f"{verdicts.count(kind)} {words}"
        for kind, words in (
            ("same", f"the same to ±{AUC_MARGIN:g}"),
            ("lower", "lower"),
            ("higher", "higher"),
            ("open", "open"),
        )
        if kind in verdicts
    ]
    over = " over patients and seeds" if all(one.over_seeds for one in found) else ""
    change = f"{number(first['change'].min(), sign=True)} to {number(first['change'].max(), sign=True)}"
    return closed(
        f"Dropping the last block makes {len(first)} models {times} times smaller and changes their mean AUCs by "
        f"{change}"
        f"{where(results)} ({INIT_NAMES[init]}); read with their intervals{over}: {listed(says)}"
    )


@skips_missing
def truncation_list(results: Any) -> Note:
    """What each truncation's interval allows, one line each, by init."""
    table = designs.truncations(results)
    cut = table[table["minus"] > 0]
    if cut.empty:
        return Note("")  # the figure above has said why
    lines = [
        f"- {row.label} ({INIT_NAMES.get(row.init, row.init)}, {number(row.times, 1)} times smaller): "
        f"{with_intervals(stated(row, 'change'), sign=True)}; {reading(stated(row, 'change'))}."
        for row in cut.itertuples()
    ]
    return Note("\n".join(lines))
