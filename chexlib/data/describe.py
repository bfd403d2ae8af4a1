"""What a data set or a label file holds: people, views, and how often each finding is present, uncertain, unmentioned.

Counts only, of all rows and of each split, from the labels as they are written; under a policy, also of the targets
that a network would see (chexlib.data.labels.counts).
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS, counts
from chexlib.data.listing import SPLITS, Listing
from chexlib.data.sources import find_source, read_label_file, read_listing

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


def describe_source(
    source: str, root: str | Path | None = None, policy: str = "", unmentioned: str = "absent", **options
) -> dict:
    """Describes a data set by name or folder, or a label file alone; `options` are the data set's reader's.

    Raises UserError where it cannot be read.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return describe(read_label_file(path), policy, unmentioned, title=path.name)
    row, folder = find_source(source, root)
    _, listing = read_listing(row, folder, size=128, **options)
    return describe(listing, policy, unmentioned, row.name, row.title)


def describe(listing: Listing, policy: str = "", unmentioned: str = "absent", name: str = "", title: str = "") -> dict:
    """Counts the rows that a reader or a label file lists, as plain numbers: of all, and under `splits` of each split.

    A row is an image or, where labels are per study, a study (`per`). Each part has `covered` (the findings that are
    labelled at all); `rows`, `studies`, `patients`; `views`; `sex`; `age` in years (`known`, min, quartiles, max: None
    where none is known); `ages` by decade and sex; `findings`, with the columns of chexlib.data.labels.counts; and
    `together`, by finding and finding: rows in which both are present. `notes` are the reader's: what it put right, and
    what is wrong. Raises UserError for a policy or a convention that is unknown.
    """

    def part(here: np.ndarray) -> dict:
        return _part(listing.table[here], listing.covered[here], policy, unmentioned)

    split = listing.table["split"].to_numpy()
    head = {"name": name, "title": title, "per": listing.per}
    if policy:
        head |= {"policy": policy, "unmentioned": unmentioned}
    splits = {side: part(split == side) for side in SPLITS if (split == side).any()}
    notes = [*listing.notes, *(problem.message for problem in listing.problems)]
    return head | part(np.full(len(split), True)) | {"splits": splits, "notes": notes}


def _part(table: pd.DataFrame, covered: np.ndarray, policy: str, unmentioned: str) -> dict:
    """The counts of some rows."""
    raw, age = table[list(FINDINGS)].to_numpy(), table["age"]
    known = table[age.notna()]
    ages = pd.crosstab((known["age"].clip(0, DECADES[-1]) // 10 * 10).astype(int), known["sex"].map(SEXES))
    ages = ages.reindex(index=list(DECADES), columns=list(SEXES.values()), fill_value=0).rename(index=str)
    present = (raw == 1).astype(np.int64)
    quartiles = age.quantile([0, 0.25, 0.5, 0.75, 1]) if len(known) else [None] * 5
    return {
        "covered": [finding for finding, labelled in zip(FINDINGS, covered.any(axis=0)) if labelled],
        "rows": len(table),
        "studies": table["study"].nunique(),
        "patients": table["patient"].nunique(),
        "views": {word: int((table["view"] == view).sum()) for view, word in VIEWS.items()},
        "sex": {word: int((table["sex"] == sex).sum()) for sex, word in SEXES.items()},
        "age": {"known": len(known)} | dict(zip(QUARTILES, quartiles)),
        "ages": ages.to_dict("index"),
        "findings": counts(raw, policy or None, unmentioned, covered).to_dict("index"),
        "together": pd.DataFrame(present.T @ present, FINDINGS, FINDINGS).to_dict("index"),
    }


def text(described: dict) -> str:
    """For a terminal of 100 columns: people and views, findings in each split, and which come together."""
    what, splits = "images" if described["per"] == "image" else "studies", described["splits"]
    title = f"{described['title']}: {described['rows']:,} {what}"
    blocks = ["\n".join([title, *(textwrap.fill(note, 100) for note in described["notes"])])]
    parts = {"all": described} | (splits if len(splits) > 1 else {})
    people = pd.DataFrame({split: _people(part, what) for split, part in parts.items()})
    blocks.append(people[~people.isin(["-", "0 %"]).all(axis=1)].to_string(col_space=14))
    if "policy" in described:
        unmentioned = f"findings that are not mentioned as {described['unmentioned']}"
        blocks.append(f"Targets under {described['policy']}, with {unmentioned}:")
    for split, part in splits.items():
        blocks.append(f"{split}, {part['rows']:,} {what}\n{_findings(part)}")
    if described["covered"]:
        blocks.append(f"Of the {what} with a row's finding, the % that have the column's, too\n{_together(described)}")
    return "\n\n".join(blocks)


def _people(part: dict, what: str) -> dict[str, str]:
    """What of whom, in words; a share is of the rows where it is known."""
    words = {what: f"{part['rows']:,}"} | ({"studies": f"{part['studies']:,}"} if what == "images" else {})
    sex, age = part["sex"], part["age"]
    words |= {"patients": f"{part['patients']:,}", "women": _percent(sex["F"], sex["F"] + sex["M"])}
    words["age, median"] = f"{age['median']:.0f}" if age["known"] else "-"
    words["middle half"] = f"{age['lower quartile']:.0f} to {age['upper quartile']:.0f}" if age["known"] else "-"
    return words | {WORDS[view]: _percent(n, part["rows"]) for view, n in part["views"].items()}


def _findings(part: dict) -> str:
    """A row a finding: counts with shares or, under a policy, counts of labels and of targets."""
    table = pd.DataFrame.from_dict(part["findings"], orient="index").loc[part["covered"]]
    table = table.rename(columns=lambda name: name.replace("_", " "))
    targets = "unknown" in table
    shown = table.map(lambda n: f"{n:,}" if targets else f"{n:,} {_percent(n, part['rows']):>5}")
    lines = [shown.to_string(col_space=9 if targets else 15)] if len(table) else []
    if others := [finding for finding in FINDINGS if finding not in part["covered"]]:
        words = f"Not labelled: {', '.join(others)}"
        lines.append(textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False))
    return "\n".join(lines)


def _together(part: dict) -> str:
    """Shares of the rows with the row's finding that have the column's, too, in %."""
    names = part["covered"]
    both = pd.DataFrame.from_dict(part["together"], orient="index").loc[names, names]
    shares = (100 * both).div(np.diag(both), axis=0).map(lambda share: "-" if np.isnan(share) else f"{share:.0f}")
    shares = shares.rename(index=lambda name: f"{SHORT[name]} {name}", columns=SHORT)
    return shares.to_string(col_space=4)


def _percent(n: int, of: int) -> str:
    return f"{100 * n / of:.0f} %" if of else "-"
