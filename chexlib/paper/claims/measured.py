"""What a study measured for a statement: a number and the interval that a verdict rests on, and what counts as none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.special import ndtri

from chexlib.paper.measures import AUC_MARGIN, Correlation, Estimate
from chexlib.paper.wording import number

RHO_MARGIN = 0.3
"""No relationship is a rank correlation whose whole interval lies nearer to zero: it would explain less than a tenth
(0.3 squared) of the variance of the ranks. The papers state no margin. Whether an interval can be inside is decided by
the number of architectures, not by that of patients: with AUCs free of noise and a rho of 0 it reaches 0.50 to both
sides with 16 (`reach`), and 0.3 takes 44 (`FOR_NO_RELATION`)."""

LEVEL_MARGIN = 0.02
"""An AUC counts as the printed one where its whole interval lies this near to it: the paper's own 95 % intervals reach
up to 0.018 to one side, so a narrower margin would ask for more than it knows itself."""


def reach(n: int) -> float:
    """How far the 95 % interval of a rank correlation of 0 over n architectures reaches, by Fisher's transformation."""
    return float(np.tanh(ndtri(0.975) / np.sqrt(n - 3)))


FOR_NO_RELATION = next(n for n in count(4) if reach(n) < RHO_MARGIN)
"""The fewest architectures over which RHO_MARGIN can be met at all."""


class NotRun(Exception):
    """A study lacks what a statement is about; its text says what."""


@dataclass(frozen=True)
class Measured:
    """A study's number for a statement, with the interval that its verdict rests on, and what that is over.

    `margin` is what counts as nothing for this kind of number; `models` are names of `results.models`. A number about
    the paper's architectures, all or those of some families, was taken over `n` of these `of`. `limit` says what size
    it takes to be inside the margin, where that is not the test set's.
    """

    what: str
    value: float
    low: float
    high: float
    over: str
    margin: float
    models: tuple[str, ...] = ()
    digits: int = 3
    sign: bool = True
    n: int = 0
    of: int = 0
    limit: str = ""

    @property
    def scope(self) -> str:
        """How many of the paper's architectures it is over: "5 of the paper's 16"."""
        return f"{self.n} of the paper's {self.of}" if self.n < self.of else f"all {self.n} of the paper's"

    def __str__(self) -> str:
        value, low, high = (number(n, self.digits, self.sign) for n in (self.value, self.low, self.high))
        what = f"{self.what}, {self.scope}," if self.of else self.what
        return f"{what} {value} ({low} to {high} over {self.over})"


def of_difference(what: str, found: Estimate, models: Iterable[str]) -> Measured:
    """A difference of AUCs as measured."""
    over = "patients and seeds" if found.over_seeds else "patients alone"
    return Measured(what, found.value, *found.interval, over, AUC_MARGIN, tuple(models))


def of_correlation(what: str, found: Correlation, models: Iterable[str]) -> Measured:
    """A rank correlation with its widest interval: architectures drawn anew as well as patients.

    Drawing patients counts the noise of the AUCs twice, as `chexlib.stats.correlation` tells: it leans toward 0.
    """
    over = "architectures, patients and seeds" if found.over_seeds else "architectures and patients"
    limit = (
        f"the size that matters is that of {found.n} architectures: with AUCs free of noise a ρ of 0 would be known to "
        f"±{reach(found.n):.2f}, and ±{RHO_MARGIN:g} takes {FOR_NO_RELATION}"
    )
    return Measured(what, found.rho, *found.architectures, over, RHO_MARGIN, tuple(models), digits=2, limit=limit)
