"""Captions of the paper's Figures 1 to 4 and Tables 1 and 2 for the study at hand, made from its numbers.

Each says what is shown, how to read it, and what the intervals say. An interval that holds zero is never read as the
absence of an effect: what it holds stays open, and the caption names the largest that it does not exclude.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from chexlib.paper import designs, figure_data, measures
from chexlib.paper.exhibits import Caption
from chexlib.paper.measures import AUC_MARGIN, FEWEST, Correlation, Estimate, stated
from chexlib.paper.wording import INIT_NAMES, counted, listed, number, reading, where, with_intervals

COMPARE = "Two models are compared by the interval of their difference, not by whether two lines overlap"
MARKS = "Shape and colour of a mark are its family's"


def figure1(results: Any) -> Caption:
    """Of the four questions in one picture; panels that the study has nothing for are named as such."""
    shown = set(figure_data.summary(results)["panel"])
    init = INIT_NAMES[figure_data.summary_init(results)]
    panels = {
        "a": f"ImageNet top-1 accuracy against mean AUC, from {init}, with a straight line through the paper's "
        "architectures and its interval (band)",
        "b": "AUC from random weights, one column a family, its members from the smallest to the largest (marks) and "
        "their mean (bar)",
        "c": "AUC of the same architectures from random and from ImageNet weights, and the means (large marks)",
        "d": f"change of the AUC by truncation, from {INIT_NAMES[figure_data.truncation_init(results)]}, against "
        f"how many times smaller the model becomes; the grey band is ±{AUC_MARGIN:g}",
    }
    here = [f"({panel}) {text}" for panel, text in panels.items() if panel in shown]
    lacking = [f"({panel})" for panel in panels if panel not in shown]
    says = [_says_a, _says_b, _says_c, _says_d]
    said = [f"({panel}) {say(results)}" for panel, say in zip(panels, says, strict=True) if panel in shown]
    return Caption(
        "Figure 1",
        f"The paper's four questions in one picture, {where(results).strip()}.",
        _sentences("; ".join(here))
        + (f" For {listed(lacking)} the study trained too little." if lacking else "")
        + f" {_lines(figure_data.summary(results))} The paper's error bars are one standard deviation instead.",
        _sentences("; ".join(said)),
    )


def figure2(results: Any) -> Caption:
    """Of ImageNet top-1 accuracy against AUC."""
    return _scatter(results, "Figure 2", "top1", "ImageNet top-1 accuracy")


def figure3(results: Any) -> Caption:
    """Of size against AUC."""
    return _scatter(
        results, "Figure 3", "parameters", "number of parameters", " Each step to the right multiplies the size."
    )


def figure4(results: Any) -> Caption:
    """Of size against the pretraining boost."""
    table = figure_data.boosts(results)
    mean, size = measures.mean_boost(results), measures.boost_correlation(results)
    found = [stated(row, "boost") for row in table.itertuples()]
    above, below = sum(one.interval[0] > 0 for one in found), sum(one.interval[1] < 0 for one in found)
    says = f"The mean boost is {with_intervals(mean, sign=True)}: {reading(mean)}."
    if len(table) > 1:
        says += (
            f" Of {len(table)} single boosts the interval lies above zero for {above}, below for {below}, and holds "
            f"zero for {len(table) - above - below}, which leaves those open."
        )
    says += f" {_capital(_rho(size, 'size and boost'))}."
    return Caption(
        "Figure 4",
        f"Pretraining boost of {counted(len(table), 'architecture')}{where(results)} against the number of parameters: "
        "mean AUC from ImageNet weights minus that from random weights, on the same test patients.",
        f"Above the line at zero, pretraining helped. {_marks(table)} {_lines(table)}",
        says,
    )


def table1(results: Any) -> Caption:
    """Of AUC and size of every architecture, beside the paper's."""
    return Caption(
        "Table 1",
        f"Mean AUC{where(results)} (95 % interval over patients) and number of parameters of every whole architecture.",
        "Intervals of two rows may overlap where that of their difference leaves out zero, so rows are not to be "
        "compared by them. The paper's numbers stand beside ours for orientation: they are of CheXpert, and its "
        "parameter counts mix heads of two sizes, where ours have one for the fourteen findings throughout.",
        "",
    )


def table2(results: Any) -> Caption:
    """Of what truncation costs and saves, beside the paper's."""
    table = designs.truncations(results)
    cut = table[table["minus"] > 0]
    verdicts = [stated(row, "change").verdict() for row in cut.itertuples()]
    seeds = sum(stated(row, "change").over_seeds for row in cut.itertuples())
    over = {0: "", len(cut): " over patients and seeds"}.get(seeds, f" (over seeds, too, for {seeds} of them)")
    return Caption(
        "Table 2",
        f"Change of the mean AUC by truncation{where(results)}, in hundredths, with its paired 95 % interval over "
        "patients, and how many times smaller the model becomes.",
        "An asterisk marks an interval over patients that leaves out zero; a row without one is no proof that nothing "
        "changed.",
        f"Of {counted(len(cut), 'truncated model')}, the interval{over} lies within ±{AUC_MARGIN:g} of the whole "
        f"model's AUC for {verdicts.count('same')}, otherwise below it for {verdicts.count('lower')}, above it for "
        f"{verdicts.count('higher')}, and leaves the question open for {verdicts.count('open')}.",
    )


def _scatter(results: Any, title: str, column: str, x: str, axis: str = "") -> Caption:
    table = figure_data.models(results, column)
    counts = [f"{n} from {INIT_NAMES[init]}" for init in figure_data.BOTH_INITS if (n := (table["init"] == init).sum())]
    says = [
        _capital(_rho(measures.correlation(results, column, init), f"{x} and AUC", init)) + "."
        for init in figure_data.BOTH_INITS
        if (table["init"] == init).any()
    ]
    return Caption(
        title,
        f"Mean AUC against {x}{where(results)}, one mark an architecture: {listed(counts)}.",
        f"{_marks(table)} {_lines(table)} {COMPARE}.{axis}",
        " ".join(says),
    )


def _marks(table: pd.DataFrame) -> str:
    inside = table["in_paper"].astype(bool)
    if inside.all():
        return f"{MARKS}."
    if not inside.any():
        return f"{MARKS}; they are hollow because none is among the paper's architectures."
    return (
        f"{MARKS}; full ones are the paper's architectures, which enter the rank correlation, hollow ones are others."
    )


def _lines(table: pd.DataFrame) -> str:
    """What the lines through marks are."""
    if not table["low_seeds"].notna().any():
        return "Lines are 95 % intervals over patients; they leave out what other seeds would have changed."
    some = "" if table["low_seeds"].notna().all() else ", where there are several"
    return f"Lines are 95 % intervals, thick over patients, thin over patients and seeds{some}."


def _rho(found: Correlation | None, what: str, init: str | None = None) -> str:
    """A rank correlation, and what the widest of its intervals lets one say."""
    start = f"from {INIT_NAMES[init]}, " if init else ""
    if found is None:
        return f"{start}fewer than {FEWEST} of the paper's architectures were trained, too few for a rank correlation"
    low, high = found.architectures
    ends = f"95 % interval {number(low, 2)} to {number(high, 2)}, with architectures and patients"
    both = " and seeds" if found.over_seeds else ""
    return (
        f"{start}{what} have Spearman's ρ = {number(found.rho, 2)} over {found.n} architectures ({ends}{both} drawn "
        f"anew): {_settled(found)}"
    )


def _settled(found: Correlation) -> str:
    """What the intervals of a rank correlation settle; never that there is none."""
    low, high = found.architectures
    if low <= 0 <= high:
        strong = number(max(abs(low), abs(high)), 2)
        return f"its sign is not settled, and one as strong as |ρ| = {strong} is not excluded"
    if found.given[0] * found.given[1] <= 0:
        return "the interval over patients alone holds zero, so its sign is not settled"
    return f"{'a positive' if low > 0 else 'a negative'} relationship"


def _says_a(results: Any) -> str:
    return _rho(measures.correlation(results, "top1", figure_data.summary_init(results)), "accuracy and AUC")


def _says_b(results: Any) -> str:
    found = designs.between_and_within(results, "random")
    if found is None:
        return "fewer than two families have two sizes, so family and size cannot be weighed"
    between, within, gap = found
    return (
        f"two families differ by {number(between.value)} on average and the ends of one by {number(within.value)}; the "
        f"first minus the second is {with_intervals(gap, sign=True)}, and {reading(gap)}"
    )


def _says_c(results: Any) -> str:
    mean = measures.mean_boost(results)
    return f"ImageNet weights change the mean AUC by {with_intervals(mean, sign=True)}, and {reading(mean)}"


def _says_d(results: Any) -> str:
    found = figure_data.summary(results)
    cut = found[(found["panel"] == "d") & (found["x"] > 1)]
    verdicts = [_estimate(row).verdict() for row in cut.itertuples()]
    kinds = (("same", f"within ±{AUC_MARGIN:g}"), ("lower", "below"), ("higher", "above"), ("open", "open"))
    counts = [f"{n} {words}" for kind, words in kinds if (n := verdicts.count(kind))]
    return f"of {counted(len(cut), 'truncated model')}, read against the whole model's AUC, {listed(counts)}"


def _estimate(row: Any) -> Estimate:
    return Estimate(row.value, row.low, row.high, 1, row.low_seeds, row.high_seeds)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(text: str) -> str:
    """One full stop at the end, where there is any text."""
    return f"{text.rstrip('.')}." if text else ""
