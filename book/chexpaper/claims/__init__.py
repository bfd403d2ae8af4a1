"""The papers' statements as data, and what becomes of each: against print, against counts, and against a study.

`statements.yaml` has an entry a statement; `ledger` loads and judges them, by `checks` with the numbers that the papers
print (`printed`) or that counted networks have, and by `measurements` of a study's results.
"""

from chexpaper.claims.ledger import (
    CRITERIA,
    Judged,
    Statement,
    frame,
    judge,
    ledger,
    load,
    measurements,
    records,
    tally,
    text,
)

__all__ = [
    "CRITERIA",
    "Judged",
    "Statement",
    "frame",
    "judge",
    "ledger",
    "load",
    "measurements",
    "records",
    "tally",
    "text",
]
