"""What a finding is, and how it says a range."""

from __future__ import annotations

from dataclasses import dataclass

from chexlib.paper.rounding import Span
from chexlib.paper.wording import number


@dataclass(frozen=True)
class Finding:
    """One thing that counting shows: where, what is printed there, what the count gives, and a sentence on both."""

    where: str
    printed: str
    counted: str
    says: str


def between(allowed: Span, digits: int = 3) -> str:
    return f"{number(allowed.low, digits)} to {number(allowed.high, digits)}"
