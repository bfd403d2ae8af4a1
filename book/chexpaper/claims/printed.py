"""What the papers print in their tables, as data beside this file, and arithmetic that carries rounding through.

A printed number stands for every value that would have been printed so: "0.859" is anything from 0.8585 to 0.8595, ends
included, since how a tie is rounded is not known. What is worked out from printed numbers is a `Span`, too, and agrees
with a printed one where the two meet. CheXtransfer's parameters mix two heads, and its MNASNet is NASNet-A-Mobile's
count (notebook 07); Transfusion's Table 2 has lost the names of its ten rows in the text that it is taken from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import pandas as pd

SLACK = 1e-9
"""What binary fractions add to ends that are equal in decimals."""


@cache
def texts(name: str) -> pd.DataFrame:
    """A table as printed, all texts, so with their digits: "table1", "table2", "transfusion1", "transfusion2"."""
    return pd.read_csv(Path(__file__).with_name(f"{name}.csv"), dtype=str, index_col=0)


def table1() -> pd.DataFrame:
    """CheXtransfer's Table 1 as numbers, by model: auc, low, high (95 %; ImageNet weights), parameters (millions)."""
    return texts("table1").astype(float)


def table2() -> pd.DataFrame:
    """CheXtransfer's Table 2, by model: change (of the AUC, percent), times (smaller), significant (its asterisk)."""
    return (
        texts("table2").astype({"change": float, "times": float}).assign(significant=lambda t: t.significant == "yes")
    )


@dataclass(frozen=True)
class Span:
    """All values from `low` to `high`, ends included."""

    low: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __neg__(self) -> Span:
        return Span(-self.high, -self.low)

    def __sub__(self, other: Span) -> Span:
        return self + -other

    def __mul__(self, other: Span) -> Span:
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Span(min(ends), max(ends))

    def __truediv__(self, other: Span) -> Span:
        """Over a span of positive numbers."""
        return self * Span(1 / other.high, 1 / other.low)

    def __and__(self, other: Span) -> Span:
        """What both allow; `low` above `high` where they do not meet."""
        return Span(max(self.low, other.low), min(self.high, other.high))

    def meets(self, other: Span) -> bool:
        """Whether there is a value in both."""
        both = self & other
        return both.low <= both.high + SLACK

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.meets(exactly(value))


def span(printed: str) -> Span:
    """What a printed number stands for: "0.859", "−0.45", "2.62e-4"; also "1 to 2", and "> 0.006" or "< 40".

    A bound is taken as it stands, not as rounded, and is itself left out: nothing above 0 is "< 0.00".
    """
    if printed[0] in "<>":
        bound, apart = middle(printed), 2 * SLACK  # further than what counts as equal
        return Span(bound + apart, math.inf) if printed[0] == ">" else Span(-math.inf, bound - apart)
    if " to " in printed:
        first, last = (span(end) for end in printed.split(" to "))
        return Span(first.low, last.high)
    number = _decimal(printed)
    half = Decimal((0, (5,), int(number.as_tuple().exponent) - 1))  # half a unit of the last digit
    return Span(float(number - half), float(number + half))


def middle(printed: str) -> float:
    """A printed number as it stands; the bound of "> 0.006" and "< 40"."""
    return float(_decimal(printed))


def exactly(value: float) -> Span:
    """One value that is known."""
    return Span(float(value), float(value))


def mean(spans: Iterable[Span]) -> Span:
    """The mean of numbers that are known to a span each."""
    spans = list(spans)
    return Span(sum(one.low for one in spans) / len(spans), sum(one.high for one in spans) / len(spans))


def _decimal(printed: str) -> Decimal:
    return Decimal(re.sub("[ ,x×%<>]", "", printed.replace("−", "-")))
