"""What a paper states, as a row: where, in our words, with which numbers, and how each of three judges asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chexlib.paper.claims.criteria import Criterion
from chexlib.paper.claims.judging import Derived
from chexlib.paper.claims.measured import Measured

COUNT = "a count, which no training changes"
DATA = "describes the data, not a result"
PROTOCOL = "says how networks were trained; the page of runs holds the study against it"
CITED = "another paper's result, quoted"
ELSEWHERE = "on images that no study here has"
NOT_PLANNED = "asks for networks or initial weights that no study here has trained"
DRAWING = "says how a figure is drawn"
PICTURE = "read from a picture; no number is printed"

CHEXTRANSFER, IN_DOMAIN, TRANSFUSION = "CheXtransfer", "In-domain Pre-training", "Transfusion"

MEASURED = ("AUC", "difference", "mean boost", "ρ", "percent")
"""Names of those printed numbers that a study's statistic measures, where there is one."""

Check = Callable[[Mapping[str, str]], list[Derived]]


@dataclass(frozen=True)
class Statement:
    """One statement of a paper.

    `says` paraphrases it; `printed` has its numbers by name, as printed, so with their digits; `reading` has those that
    are not printed, but what we read its words as: "larger" as "> 0". `own` and `count` work the same numbers out from
    the paper's other numbers and from counted architectures (None: nothing to work out). `study` measures a study for
    it, or says why none can answer; `criterion` is what the whole interval has to do. `page` is the notebook whose
    figure shows the measurement.
    """

    id: str
    place: str
    says: str
    printed: Mapping[str, str] = field(default_factory=dict)
    own: Check | None = None
    count: Check | None = None
    study: Callable[[Any], tuple[Measured, ...]] | str = COUNT
    criterion: Criterion | None = None
    page: str = ""
    paper: str = CHEXTRANSFER
    reading: Mapping[str, str] = field(default_factory=dict)

    @property
    def statistic(self) -> str:
        """The study's statistic with its arguments, as code would call it; empty where there is none."""
        if isinstance(self.study, str):
            return ""
        if not isinstance(self.study, partial):
            return f"{self.study.__name__}()"
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.study.keywords.items())
        return f"{self.study.func.__name__}({arguments})"

    @property
    def checked(self) -> dict[str, str]:
        """The numbers, printed or read, that are held against others."""
        return {**self.printed, **self.reading}

    @property
    def measured(self) -> str:
        """What is printed of the number that the study's statistic measures; empty where nothing is."""
        return next((text for name, text in self.printed.items() if name in MEASURED), "")

    @property
    def shown(self) -> str:
        """`numbers`, and how words were read as numbers: "(read as difference > 0)"."""
        read = ", ".join(f"{name} {text}" for name, text in self.reading.items())
        return " ".join(part for part in (self.numbers, f"(read as {read})" * bool(read)) if part)

    @property
    def numbers(self) -> str:
        """The printed numbers in a line: "ρ 0.565, p 0.023", "AUC 0.859 (0.846 to 0.871)"."""
        ends = f" ({self.printed['low']} to {self.printed['high']})" if "low" in self.printed else ""
        shown = [f"{name} {text}" for name, text in self.printed.items() if name not in ("low", "high")]
        return ", ".join(shown) + ends
