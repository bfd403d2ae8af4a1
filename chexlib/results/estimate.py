"""`Estimate`: a number, its interval, what was drawn anew to get it, and THE verdict; or the reason why there is none.

Figures, tables, the ledger of claims and the landing page share this one rule, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexlib.escape import markdown
from chexlib.stats import bca_interval, percentile_interval, verdict

AUC_MARGIN = 0.01
"""Mean AUCs nearer than this are called the same, once the whole interval is inside; the paper states none."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval `low` to `high`.

    over: what was drawn anew ("patients", "patients and seeds" ...). missing: why there is no value; empty where there
    is one. few: why a value has no verdict, as it rests on too few rows of a class (`chexlib.stats.FEW`); empty where
    it may have one. margin: within it a difference counts as none. signed: printed with its sign, as differences are.
    """

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    over: str = "patients"
    missing: str = ""
    few: str = ""
    margin: float = AUC_MARGIN
    signed: bool = False
    digits: int = 3

    @classmethod
    def of(
        cls, value: float, replicates: ArrayLike, drawn: NDArray | None = None, few: str = "", **options: object
    ) -> Estimate:
        """The value with the percentile interval of its replicates (R,), NaN ones left out; options are fields.

        Where rows are `few` the interval is BCa, for which `drawn` (R, G) says how often each replicate drew each of G
        patients; None where that is kept back, so that the bias alone is corrected. A value that is NaN is missing.
        """
        if np.isnan(value):
            return cls(missing=few or "these studies give it no value", **options)
        low, high = bca_interval(value, replicates, drawn) if few else percentile_interval(replicates)
        return cls(float(value), float(low), float(high), few=few, **options)

    def __bool__(self) -> bool:
        """Whether there is a value."""
        return not self.missing

    @property
    def verdict(self) -> str:
        """What the interval allows of a difference: "higher", "lower", "same" (in the margin), "open" or "missing"."""
        return "missing" if self.missing or self.few else verdict(self.low, self.high, self.margin)

    @property
    def reading(self) -> str:
        """The verdict in two or three words, or why there is none."""
        if self.few:
            return f"no verdict: {self.few}"
        return {"same": f"the same, to ±{self.margin:g}", "missing": "no verdict"}.get(self.verdict, self.verdict)

    def __str__(self) -> str:
        if self.missing:
            return f"not estimated ({self.missing})"
        return interval_text(self.value, self.low, self.high, self.digits, self.signed)

    __repr__ = __str__  # what a notebook prints, and what the book glues into a sentence

    def _repr_markdown_(self) -> str:
        if self.missing:
            return markdown(str(self))
        value, _, ends = str(self).partition(" ")
        reading = f": *{markdown(self.reading)}*" if self.signed or self.few else ""
        return f"**{value}** {ends}, 95 % over {markdown(self.over)}{reading}"


def number(value: float, digits: int = 3, signed: bool = False) -> str:
    """A number with a true minus sign: −0.012; with `signed`, +0.012 too; an en dash for NaN."""
    if np.isnan(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval_text(value: float, low: float, high: float, digits: int = 3, signed: bool = False) -> str:
    """ "+0.016 (0.010 to 0.022)"; the interval is left out where it is NaN."""
    text = number(value, digits, signed)
    return text if np.isnan(low) else f"{text} ({number(low, digits)} to {number(high, digits)})"
