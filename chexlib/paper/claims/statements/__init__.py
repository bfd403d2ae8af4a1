"""Every quantitative statement of CheXtransfer, and those of the two papers around it that are numbers, as rows.

In the papers' order. Sentences are ours; the numbers are the papers', and where we read words as numbers that is said
(`chexlib.paper.claims.statement`). A number that a paper prints in several places has a row for each: two rows that
name the same statistic are held against each other.
"""

from __future__ import annotations

from chexlib.paper.claims.statement import Statement
from chexlib.paper.claims.statements.experiments import DISCUSSION, SECTION_4_1, SECTION_4_2, SECTION_4_3, SECTION_4_4
from chexlib.paper.claims.statements.methods import METHODS
from chexlib.paper.claims.statements.opening import ABSTRACT, FIGURE1, INTRODUCTION, RELATED_WORK
from chexlib.paper.claims.statements.others import OTHERS
from chexlib.paper.claims.statements.printed_tables import TABLE1, TABLE2

STATEMENTS: tuple[Statement, ...] = (
    *ABSTRACT, *FIGURE1, *INTRODUCTION, *RELATED_WORK, *METHODS, *SECTION_4_1, *SECTION_4_2, *TABLE1, *SECTION_4_3,
    *SECTION_4_4, *TABLE2, *DISCUSSION, *OTHERS,
)  # fmt: skip
BY_ID: dict[str, Statement] = {row.id: row for row in STATEMENTS}

__all__ = ["BY_ID", "STATEMENTS", "Statement"]
