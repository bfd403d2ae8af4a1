"""How numbers, intervals and lists are put into words; the sentences of `sentences` and `facts` are made of these."""

from __future__ import annotations

from typing import Any

import pandas as pd

from chexlib.paper.measures import AUC_MARGIN, Estimate
from chexlib.paper.notes import Note

INIT_NAMES = {"random": "random weights", "imagenet": "ImageNet weights"}
DATA_NAMES = {"phantom": "phantom images", "nih": "real X-rays (NIH ChestX-ray14)", "chexpert": "CheXpert"}


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number with a true minus sign: −0.012; with `sign`, +0.012 too."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """ "0.812 (0.795 to 0.830)", with true minus signs; the interval is left out where it is NaN."""
    if pd.isna(low):
        return number(value, digits, sign)
    return f"{number(value, digits, sign)} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def with_intervals(found: Estimate, digits: int = 3, sign: bool = False) -> str:
    """ "0.812 (0.795 to 0.830)", or, where seeds were drawn, too, both intervals with their names, that one first."""
    if not found.over_seeds:
        return with_interval(found.value, found.low, found.high, digits, sign)
    both = f"{number(found.low_seeds, digits, sign)} to {number(found.high_seeds, digits, sign)}"
    patients = f"{number(found.low, digits, sign)} to {number(found.high, digits, sign)}"
    return f"{number(found.value, digits, sign)} ({both} over patients and seeds, {patients} over patients alone)"


def p_value(p: float) -> str:
    """ "p = 0.023", or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def p_alone(p: float) -> str:
    """ "0.023", or "< 0.001", for a column that is called p."""
    return p_value(p).removeprefix("p = ").removeprefix("p ")


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    names = [str(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """ "1 run", "1,204 runs"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def reading(found: Estimate, margin: float = AUC_MARGIN) -> str:
    """What an interval of a difference in AUC allows, in words."""
    bound = number(max(abs(end) for end in found.interval))
    which = "interval over both" if found.over_seeds else "interval"
    return {
        "higher": f"the {which} lies above zero",
        "lower": f"the {which} lies below zero",
        "same": f"the whole {which} lies within ±{margin:g}: the same, to that margin",
        "open": f"the {which} includes zero and also differences as large as {bound}, so the question stays open",
    }[found.verdict(margin)]


def where(results: Any) -> str:
    """ "on phantom images", "on real X-rays ...", "on CheXpert", with a space before it."""
    return " on " + DATA_NAMES.get(results.dataset, results.dataset)


def closed(text: str) -> Note:
    """A sentence with single spaces and one full stop."""
    return Note(" ".join(text.split()).rstrip(".") + ".")
