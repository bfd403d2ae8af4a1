"""What a data set or a label file holds: people, views, and how often each finding is present, uncertain, unmentioned.

Counts only, of all rows and of each split, from the labels as they are written; under a policy, also of the targets
that a network would see (chexlib.data.labels.counts).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.label_files import LabelFile
from chexlib.data.labels import FINDINGS, counts
from chexlib.data.listing import Listing
from chexlib.data.sources import find_source, read_label_file, read_listing
from chexlib.data.splits import SPLITS

VIEWS = {"PA": "PA", "AP": "AP", "": "unknown", "LATERAL": "LATERAL"}
SEXES = {"F": "F", "M": "M", "": "unknown"}
"""What a table holds to what it is counted under."""

WORDS = {"F": "women", "PA": "PA", "AP": "AP", "LATERAL": "lateral", "unknown": "view not said"}
SHORT = dict(
    zip(FINDINGS, ("NF", "EC", "Ca", "LO", "LL", "Ed", "Co", "Pn", "At", "Px", "Ef", "PO", "Fr", "SD"), strict=True)
)
DECADES = range(0, 100, 10)
"""Ages are counted by these; the last one has no upper end."""


@dataclass(frozen=True)
class Summary:
    """Counts of some rows; a row is an image, or a study where labels are per study."""

    covered: tuple[str, ...]  # findings that are labelled at all
    rows: int
    studies: int
    patients: int
    views: dict[str, int]
    sex: dict[str, int]
    age: dict[str, float | None]  # known, and of those: min, lower quartile, median, upper quartile, max
    ages: pd.DataFrame = field(repr=False)  # (decades, sexes) rows
    findings: pd.DataFrame = field(repr=False)  # chexlib.data.labels.counts
    together: pd.DataFrame = field(repr=False)  # (14, 14) rows in which both findings are present


@dataclass(frozen=True)
class Description:
    """All rows, and each split's; `name` is a data set's, empty for a label file."""

    name: str
    title: str
    per: str  # "image" or "study"
    whole: Summary
    splits: dict[str, Summary]
    policy: str = ""
    unmentioned: str = "absent"
    notes: tuple[str, ...] = ()  # of the reader: what it put right, and what is wrong

    def to_json(self) -> dict:
        """All of it, for machines; the whole at the top, each split under `splits`."""
        head = {"name": self.name, "title": self.title, "per": self.per}
        if self.policy:
            head |= {"policy": self.policy, "unmentioned": self.unmentioned}
        splits = {split: _plain(summary) for split, summary in self.splits.items()}
        return head | _plain(self.whole) | {"splits": splits, "notes": list(self.notes)}

    def text(self) -> str:
        """For a terminal of 100 columns: people and views, findings in each split, and which come together."""
        what = "images" if self.per == "image" else "studies"
        parts = {"all": self.whole} | (self.splits if len(self.splits) > 1 else {})
        blocks = [
            "\n".join(
                [f"{self.title}: {self.whole.rows:,} {what}", *(textwrap.fill(note, 100) for note in self.notes)]
            ),
            _columns({name: _people(summary, what) for name, summary in parts.items()}),
        ]
        if self.policy:
            blocks.append(f"Targets under {self.policy}, with findings that are not mentioned as {self.unmentioned}:")
        for split, summary in self.splits.items():
            blocks.append(f"{split}, {summary.rows:,} {what}\n{_findings(summary)}")
        blocks.append(f"Of the {what} with a row's finding, the % that have the column's, too\n{_together(self.whole)}")
        return "\n\n".join(blocks)


def describe(
    table: pd.DataFrame,
    covered: Mapping[str, tuple[str, ...]] | tuple[str, ...],
    policy: str = "",
    unmentioned: str = "absent",
    per: str = "image",
    name: str = "",
    title: str = "",
    notes: tuple[str, ...] = (),
) -> Description:
    """Counts the rows of a Listing's or a LabelFile's table; `covered` as either has it.

    With a policy the counts have its targets, too. Raises UserError for a policy or a convention that is unknown.
    """
    names = sorted(table["split"].unique(), key=SPLITS.index)
    if not isinstance(covered, Mapping):
        covered = dict.fromkeys(names, covered)
    labelled = {split: np.isin(FINDINGS, covered[split]) for split in names}
    entries = np.stack([labelled[split] for split in table["split"]])  # (N, 14)
    chosen = (policy or None, unmentioned)
    splits = {}
    for split in names:
        here = (table["split"] == split).to_numpy()
        splits[split] = _summary(table[here], entries[here], *chosen)
    whole = _summary(table, entries, *chosen)
    return Description(name, title, per, whole, splits, policy, unmentioned, tuple(notes))


def describe_source(
    source: str, root: str | Path | None = None, policy: str = "", unmentioned: str = "absent", **options
) -> Description:
    """Describes a data set by name or folder, or a label file alone; `options` are the data set's reader's.

    Raises UserError where it cannot be read.
    """
    chosen = {"policy": policy, "unmentioned": unmentioned}
    if Path(source).expanduser().is_file():
        file = read_label_file(Path(source).expanduser())
        return describe(file.table, file.covered, **chosen, per=file.per, title=file.path.name, notes=_said(file))
    row, folder = find_source(source, root)
    _, listing = read_listing(row, folder, size=128, **options)
    return describe(listing.table, listing.covered, **chosen, name=row.name, title=row.title, notes=_said(listing))


def _said(read: LabelFile | Listing) -> tuple[str, ...]:
    """What the reader put right, and what it found wrong."""
    return (*read.notes, *(problem.message for problem in read.problems))


def _summary(table: pd.DataFrame, entries: np.ndarray, policy: str | None, unmentioned: str) -> Summary:
    raw = table[list(FINDINGS)].to_numpy()
    present = (raw == 1).astype(np.int64)
    return Summary(
        covered=tuple(finding for finding, any_row in zip(FINDINGS, entries.any(axis=0), strict=True) if any_row),
        rows=len(table),
        studies=table["study"].nunique(),
        patients=table["patient"].nunique(),
        views=_shares(table["view"], VIEWS),
        sex=_shares(table["sex"], SEXES),
        age=_age(table["age"].dropna()),
        ages=_ages(table),
        findings=counts(raw, policy, unmentioned, entries),
        together=pd.DataFrame(present.T @ present, index=FINDINGS, columns=FINDINGS),
    )


def _shares(column: pd.Series, words: Mapping[str, str]) -> dict[str, int]:
    return {word: int((column == value).sum()) for value, word in words.items()}


def _age(known: pd.Series) -> dict[str, float | None]:
    names = ("min", "lower quartile", "median", "upper quartile", "max")
    values = known.quantile([0, 0.25, 0.5, 0.75, 1]) if len(known) else [None] * len(names)
    return {"known": len(known)} | {
        name: None if value is None else float(value) for name, value in zip(names, values, strict=True)
    }


def _ages(table: pd.DataFrame) -> pd.DataFrame:
    """(decades, sexes) rows whose age is known."""
    table = table[table["age"].notna()]
    decade = table["age"].clip(0, DECADES[-1]) // 10 * 10
    found = pd.crosstab(decade.astype(int), table["sex"].map(SEXES))
    return found.reindex(index=list(DECADES), columns=list(SEXES.values()), fill_value=0).rename_axis(index="age")


def _plain(summary: Summary) -> dict:
    """A Summary of Python's own types."""
    tables = {
        name: {str(key): {str(column): int(value) for column, value in row.items()} for key, row in rows.iterrows()}
        for name, rows in (("ages", summary.ages), ("findings", summary.findings), ("together", summary.together))
    }
    plain = ("rows", "studies", "patients", "views", "sex", "age")
    return {"covered": list(summary.covered)} | {name: getattr(summary, name) for name in plain} | tables


def _people(summary: Summary, what: str) -> dict[str, str]:
    """What of whom, in words; a share is of the rows where it is known."""
    known = summary.sex["F"] + summary.sex["M"]
    age = {name: value for name, value in summary.age.items() if value is not None}
    words = {what: f"{summary.rows:,}"}
    if what == "images":
        words["studies"] = f"{summary.studies:,}"
    words |= {"patients": f"{summary.patients:,}", "women": _percent(summary.sex["F"], known)}
    words["age, median"] = f"{age['median']:.0f}" if "median" in age else "-"
    words["middle half"] = f"{age['lower quartile']:.0f} to {age['upper quartile']:.0f}" if "median" in age else "-"
    return words | {WORDS[view]: _percent(n, summary.rows) for view, n in summary.views.items()}


def _columns(columns: dict[str, dict[str, str]]) -> str:
    """Columns of texts under their names, to the right; rows that say nothing are left out."""
    table = pd.DataFrame(columns)
    return table[~table.isin(["-", "0 %"]).all(axis=1)].to_string(col_space=14)


def _findings(summary: Summary) -> str:
    """A row a finding: counts with shares or, under a policy, counts of labels and of targets."""
    table = summary.findings.loc[list(summary.covered)].rename_axis(index=None)
    table = table.rename(columns=lambda name: name.replace("_", " "))
    targets = "unknown" in table
    shown = table.map(lambda n: f"{n:,}" if targets else f"{n:,} {_percent(n, summary.rows):>5}")
    lines = [shown.to_string(col_space=9 if targets else 15)] if len(table) else []
    others = [finding for finding in FINDINGS if finding not in summary.covered]
    if others:
        lines.append(_wrapped(f"Not labelled: {', '.join(others)}"))
    return "\n".join(lines)


def _together(summary: Summary) -> str:
    """Shares of the rows that have both of two findings, in %; findings that are labelled only."""
    names = list(summary.covered)
    both = summary.together.loc[names, names]
    present = pd.Series(np.diag(both), index=names)
    shares = both.apply(lambda row: [f"{100 * n / present[row.name]:.0f}" if present[row.name] else "-" for n in row],
                        axis=1, result_type="expand")  # fmt: skip
    shares.columns = [SHORT[name] for name in names]
    shares.index = [f"{SHORT[name]} {name}" for name in names]
    return shares.to_string(col_space=4)


def _wrapped(text: str) -> str:
    """Lines of at most 100 columns; a path is never cut."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _percent(n: int, of: int) -> str:
    return f"{100 * n / of:.0f} %" if of else "-"
