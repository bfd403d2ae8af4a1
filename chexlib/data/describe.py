"""What a data set or a label file holds: people, views, and how often each finding is present, uncertain, unmentioned.

Counts only, of all rows and of each split, from the labels as they are written; under a policy, also of the targets
that a network would see (chexlib.data.labels.counts).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.dataset import Dataset
from chexlib.data.labels import FINDINGS, counts
from chexlib.data.listing import SPLITS, Listing
from chexlib.data.sources import find_source, read_label_file, read_listing
from chexlib.errors import UserError

VIEWS = {"PA": "PA", "AP": "AP", "": "unknown", "LATERAL": "LATERAL"}
SEXES = {"F": "F", "M": "M", "": "unknown"}
"""What a table holds to what it is counted under."""

QUARTILES = ("min", "lower quartile", "median", "upper quartile", "max")

WORDS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral", "unknown": "view not said"}
SHORT = dict(
    zip(FINDINGS, ("NF", "EC", "Ca", "LO", "LL", "Ed", "Co", "Pn", "At", "Px", "Ef", "PO", "Fr", "SD"), strict=True)
)
DECADES = range(0, 100, 10)
"""Ages are counted by these; the last one has no upper end."""


@dataclass(frozen=True)
class Description:
    """Counts of all rows and of each split; a row is an image, or a study where labels are per study.

    `splits` has a row "all" and one a split that is there: rows, studies, patients; `view PA`, `view AP`, `view
    LATERAL`, `view unknown`; `sex F`, `sex M`, `sex unknown`; `age known`, and of those `age min`, `age lower
    quartile`, `age median`, `age upper quartile`, `age max` in years (NaN where none is known). The other tables are
    indexed by the same names of splits first: `ages` by decade, a column a sex; `findings` by finding, with `labelled`
    (whether the set labels it there at all) and the columns of chexlib.data.labels.counts; `together` by finding, a
    column a finding: rows in which both are present.
    """

    name: str  # a data set's; empty for a label file
    title: str
    per: str  # "image" or "study"
    splits: pd.DataFrame = field(repr=False)
    ages: pd.DataFrame = field(repr=False)
    findings: pd.DataFrame = field(repr=False)
    together: pd.DataFrame = field(repr=False)
    policy: str = ""
    unmentioned: str = "absent"
    notes: tuple[str, ...] = ()  # of the reader: what it put right, and what is wrong

    @property
    def what(self) -> str:
        """What its rows are."""
        return "images" if self.per == "image" else "studies"

    def labelled(self, split: str = "all") -> list[str]:
        """The findings that are labelled there at all."""
        findings = self.findings.loc[split]
        return list(findings.index[findings["labelled"]])

    def to_json(self) -> dict:
        """All of it, for machines; the whole at the top, each split under `splits`."""
        head = {"name": self.name, "title": self.title, "per": self.per}
        if self.policy:
            head |= {"policy": self.policy, "unmentioned": self.unmentioned}
        parts = {split: self._plain(split) for split in self.splits.index}
        return head | parts.pop("all") | {"splits": parts, "notes": list(self.notes)}

    def _plain(self, split: str) -> dict:
        """One split's counts, of Python's own types."""
        row = self.splits.to_dict("index")[split]
        found = {"covered": self.labelled(split)} | {name: int(row[name]) for name in ("rows", "studies", "patients")}
        for key, group in (("views", "view "), ("sex", "sex ")):
            found[key] = {name.removeprefix(group): int(row[name]) for name in row if name.startswith(group)}
        ages = {name: row[f"age {name}"] for name in QUARTILES}
        found["age"] = {"known": int(row["age known"])}
        found["age"] |= {name: None if np.isnan(age) else float(age) for name, age in ages.items()}
        tables = {"ages": self.ages, "findings": self.findings.drop(columns="labelled"), "together": self.together}
        for key, table in tables.items():
            rows = table.loc[split].to_dict("index")
            found[key] = {str(name): {column: int(n) for column, n in row.items()} for name, row in rows.items()}
        return found

    def text(self) -> str:
        """For a terminal of 100 columns: people and views, findings in each split, and which come together."""
        splits, what = [split for split in self.splits.index if split != "all"], self.what
        rows = self.splits["rows"]
        shown = ["all", *splits] if len(splits) > 1 else ["all"]
        people = {split: _people(row, what) for split, row in self.splits.loc[shown].to_dict("index").items()}
        title = f"{self.title}: {rows['all']:,} {what}"
        blocks = ["\n".join([title, *(textwrap.fill(note, 100) for note in self.notes)])]
        people = pd.DataFrame(people)
        blocks.append(people[~people.isin(["-", "0 %"]).all(axis=1)].to_string(col_space=14))
        if self.policy:
            blocks.append(f"Targets under {self.policy}, with findings that are not mentioned as {self.unmentioned}:")
        for split in splits:
            blocks.append(f"{split}, {rows[split]:,} {what}\n{_findings(self.findings.loc[split], rows[split])}")
        names = self.labelled()
        together = _together(self.together.loc["all"].loc[names, names])
        blocks.append(f"Of the {what} with a row's finding, the % that have the column's, too\n{together}")
        return "\n\n".join(blocks)

    def plot(self, path: str | Path) -> None:
        """Draws findings, ages and views of all rows into a .png, .svg or .pdf file.

        Raises UserError where no finding is labelled, and where the file cannot be written.
        """
        from matplotlib.figure import Figure

        path, what = Path(path).expanduser(), self.what
        if not self.labelled():
            raise UserError(f"{self.title}: no finding is labelled, so there is nothing to draw: add a labels.csv")
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UserError(f"{path}: figures are PNG, SVG or PDF: give a name that ends in .png, .svg or .pdf")
        whole = self.splits.loc["all"]
        findings = self.findings.loc["all"].loc[self.labelled()][::-1]
        figure = Figure(figsize=(8, 11), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, height_ratios=(5, 3, 2))
        shares = 100 * findings[["positive", "uncertain", "negative", "unmentioned"]] / whole["rows"]
        shares.plot.barh(
            stacked=True, ax=top, xlabel=f"% of {what}", color=["#0072B2", "#E69F00", "#999999", "#E5E5E5"]
        )
        top.set_title(f"{self.title}: {whole['rows']:,.0f} {what} of {whole['patients']:,.0f} patients")
        self.ages.loc["all"].plot.bar(stacked=True, ax=middle, xlabel="age (by decade)", ylabel=what)
        views = pd.Series({WORDS[view]: whole[f"view {view}"] for view in VIEWS.values()})[::-1]
        (100 * views[views > 0] / whole["rows"]).plot.barh(ax=bottom, ylabel="", xlabel=f"% of {what}", xlim=(0, 100))
        try:
            figure.savefig(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from None


def describe(
    labels: Dataset | Listing,
    policy: str = "",
    unmentioned: str = "absent",
    name: str = "",
    title: str = "",
    notes: tuple[str, ...] = (),
) -> Description:
    """Counts the rows of a data set as it was opened, or of what a reader or a label file lists.

    With a policy the counts have its targets, too. Raises UserError for a policy or a convention that is unknown.
    """
    table, labelled = labels.table, labels.covered
    split = table["split"].to_numpy()
    parts = {"all": split == split} | {side: split == side for side in SPLITS if (split == side).any()}
    splits, ages, findings, together = {}, {}, {}, {}
    for side, here in parts.items():
        rows, raw = table[here], table.loc[here, list(FINDINGS)].to_numpy()
        splits[side] = _split(rows)
        ages[side] = _ages(rows)
        findings[side] = counts(raw, policy or None, unmentioned, labelled[here])
        findings[side].insert(0, "labelled", labelled[here].any(axis=0))
        present = (raw == 1).astype(np.int64)
        together[side] = pd.DataFrame(present.T @ present, index=FINDINGS, columns=FINDINGS).rename_axis("finding")
    splits = pd.DataFrame.from_dict(splits, orient="index").rename_axis("split")
    tables = (pd.concat(found, names=["split"]) for found in (ages, findings, together))
    return Description(name, title, labels.per, splits, *tables, policy, unmentioned, tuple(notes))


def describe_source(
    source: str, root: str | Path | None = None, policy: str = "", unmentioned: str = "absent", **options
) -> Description:
    """Describes a data set by name or folder, or a label file alone; `options` are the data set's reader's.

    Raises UserError where it cannot be read.
    """
    path = Path(source).expanduser()
    if path.is_file():
        listing, name, title = read_label_file(path), "", path.name
    else:
        row, folder = find_source(source, root)
        _, listing = read_listing(row, folder, size=128, **options)
        name, title = row.name, row.title
    notes = (*listing.notes, *(problem.message for problem in listing.problems))
    return describe(listing, policy, unmentioned, name, title, notes)


def _split(table: pd.DataFrame) -> dict[str, float]:
    """A row of Description.splits."""
    found = {"rows": len(table), "studies": table["study"].nunique(), "patients": table["patient"].nunique()}
    for column, words in (("view", VIEWS), ("sex", SEXES)):
        found |= {f"{column} {word}": (table[column] == value).sum() for value, word in words.items()}
    found["age known"] = table["age"].notna().sum()
    ages = table["age"].quantile([0, 0.25, 0.5, 0.75, 1])
    return found | {f"age {name}": age for name, age in zip(QUARTILES, ages)}


def _ages(table: pd.DataFrame) -> pd.DataFrame:
    """(decades, sexes) rows whose age is known."""
    table = table[table["age"].notna()]
    decade = table["age"].clip(0, DECADES[-1]) // 10 * 10
    found = pd.crosstab(decade.astype(int), table["sex"].map(SEXES))
    return found.reindex(index=list(DECADES), columns=list(SEXES.values()), fill_value=0).rename_axis(index="age")


def _people(row: dict, what: str) -> dict[str, str]:
    """What of whom, in words; a share is of the rows where it is known."""
    words = {what: f"{row['rows']:,}"} | ({"studies": f"{row['studies']:,}"} if what == "images" else {})
    words |= {"patients": f"{row['patients']:,}", "women": _percent(row["sex F"], row["sex F"] + row["sex M"])}
    known = row["age known"] > 0
    words["age, median"] = f"{row['age median']:.0f}" if known else "-"
    words["middle half"] = f"{row['age lower quartile']:.0f} to {row['age upper quartile']:.0f}" if known else "-"
    return words | {WORDS[view]: _percent(row[f"view {view}"], row["rows"]) for view in VIEWS.values()}


def _findings(table: pd.DataFrame, rows: int) -> str:
    """A row a finding: counts with shares or, under a policy, counts of labels and of targets."""
    others = list(table.index[~table["labelled"]])
    table = table[table["labelled"]].drop(columns="labelled").rename_axis(index=None)
    table = table.rename(columns=lambda name: name.replace("_", " "))
    targets = "unknown" in table
    shown = table.map(lambda n: f"{n:,}" if targets else f"{n:,} {_percent(n, rows):>5}")
    lines = [shown.to_string(col_space=9 if targets else 15)] if len(table) else []
    if others:
        text = f"Not labelled: {', '.join(others)}"
        lines.append(textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False))
    return "\n".join(lines)


def _together(both: pd.DataFrame) -> str:
    """Shares of the rows with the row's finding that have the column's, too, in %, from counts (F, F) of both."""
    present = np.diag(both)
    shares = pd.DataFrame(
        [[f"{100 * n / k:.0f}" if k else "-" for n in row] for row, k in zip(both.to_numpy(), present)],
        index=[f"{SHORT[name]} {name}" for name in both],
        columns=[SHORT[name] for name in both],
    )
    return shares.to_string(col_space=4)


def _percent(n: int, of: int) -> str:
    return f"{100 * n / of:.0f} %" if of else "-"
