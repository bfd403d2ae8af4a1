"""What the tables count: parameters counted again, and the papers' numbers worked out from one another.

A finding is a function that computes it and gives a `Finding`: what is printed, what the count gives, a sentence. The
sentences say what numbers are consistent with, never why they were printed. None of this touches an AUC.
"""

from __future__ import annotations

from collections.abc import Callable

from chexlib.paper.audit.counts import heads, networks, numerators, recounted
from chexlib.paper.audit.finding import Finding
from chexlib.paper.audit.sizes import (
    efficiency,
    headline,
    mixed_heads,
    mnasnet,
    mnasnet_times,
    resnet18_times,
    third_largest,
    times_larger,
    transfusion_counts,
)
from chexlib.paper.audit.text import (
    average_boost,
    checkpoints,
    data_set,
    family_gaps,
    mobilenet_gap,
    rank_steps,
    rho_with_size,
    searched,
    table2_percent,
    transfusion_cardiomegaly,
)

FINDINGS: tuple[Callable[[], Finding], ...] = (
    mixed_heads,
    mnasnet,
    mnasnet_times,
    resnet18_times,
    headline,
    checkpoints,
    average_boost,
    family_gaps,
    mobilenet_gap,
    times_larger,
    efficiency,
    third_largest,
    rho_with_size,
    rank_steps,
    table2_percent,
    searched,
    data_set,
    transfusion_counts,
    transfusion_cardiomegaly,
)
"""Every finding, in the order of the chapter."""

__all__ = [
    "FINDINGS",
    "Finding",
    "average_boost",
    "checkpoints",
    "data_set",
    "efficiency",
    "family_gaps",
    "headline",
    "heads",
    "mixed_heads",
    "mnasnet",
    "mnasnet_times",
    "mobilenet_gap",
    "networks",
    "numerators",
    "rank_steps",
    "recounted",
    "resnet18_times",
    "rho_with_size",
    "searched",
    "table2_percent",
    "third_largest",
    "times_larger",
    "transfusion_cardiomegaly",
    "transfusion_counts",
]
