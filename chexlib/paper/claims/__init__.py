"""The papers' statements as rows, and what becomes of each: held against print, against counts, and against a study.

A row (`statement`, `statements`) names what each of three judges computes for it: `own_tables` from what the paper
prints elsewhere, `recounts` from architectures counted again, `from_study` from a study's results (`measured`).
`criteria` and `judging` make a verdict of it, `judged` the ledger.
"""

from chexlib.paper.claims.judged import (
    JUDGES,
    Judged,
    consistency,
    criterion_of,
    frame,
    ledger,
    printed,
    records,
    section_of,
    summary,
    tally,
    text,
)

__all__ = [
    "JUDGES",
    "Judged",
    "consistency",
    "criterion_of",
    "frame",
    "ledger",
    "printed",
    "records",
    "section_of",
    "summary",
    "tally",
    "text",
]
