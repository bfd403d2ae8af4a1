"""What becomes of a training set's labels: under each uncertainty policy, for either reading of "not mentioned".

Tables for notebook 01. They take a Dataset or a label file's Listing, and hold counts only.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from chexlib.data.augment import AUGMENTATIONS
from chexlib.data.labels import FINDINGS, POLICIES, TASKS, UNMENTIONED, counts
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.shown import Tables
from chexlib.paper.wording import counted

WRITTEN = {"positive": "present", "uncertain": "uncertain", "negative": "absent", "unmentioned": "not mentioned"}
NAMES = {
    "u-ones": "U-Ones",
    "u-zeros": "U-Zeros",
    "u-ignore": "U-Ignore",
    "u-multiclass": "U-MultiClass",
    "u-selftrained": "U-SelfTrained",
    "u-mixed": "U-Mixed",
}


@skips_missing
def tasks(labels: Any) -> Tables | Note:
    """The six tasks' counts: as they are written, then how many count as present and as absent under each policy.

    Under u-ignore, u-multiclass and u-selftrained an uncertain label is neither.
    """
    rows = [task for task in TASKS if task in _training(labels)[1]]
    written = _counts(labels).loc[rows]
    if not _in_doubt(written):
        return Note("No label of this set is uncertain or missing: every policy gives the labels as they are written.")
    tables = {"As written": written.rename(columns=WRITTEN)[list(WRITTEN.values())]}
    for title, target, reading in (
        ("Counted as present", "target_1", "absent"),
        ("Counted as absent, where not mentioned is absent", "target_0", "absent"),
        ("Counted as absent, where not mentioned is unknown", "target_0", "unknown"),
    ):
        columns = {_name(policy): _counts(labels, policy, reading).loc[rows, target] for policy in POLICIES}
        tables[title] = pd.DataFrame(columns)
    return Tables({title: _texts(table) for title, table in tables.items()})


@skips_missing
def findings(labels: Any) -> Tables:
    """All labelled findings: as they are written, then a table a policy, for either "not mentioned"; folded away."""
    rows = list(_training(labels)[1])
    written = _counts(labels).loc[rows]
    tables = {"All findings as they are written": written.rename(columns=WRITTEN)[list(WRITTEN.values())]}
    for policy, row in POLICIES.items() if _in_doubt(written) else ():
        blocks = {}
        for reading in UNMENTIONED:
            table = _counts(labels, policy, reading).loc[rows, ["target_1", "target_0", "unknown"]]
            blocks[f"Not mentioned is {reading}"] = table.set_axis(["present", "absent", "unknown"], axis=1)
        tables[f"{_name(policy)}: {row.meaning}"] = pd.concat(blocks, axis=1)
    return Tables({title: _texts(table) for title, table in tables.items()}, folded=True)


@skips_missing
def no_finding(labels: Any) -> Note:
    """Why No Finding keeps its negatives, in this training set's numbers."""
    task = "No Finding"
    if task not in _training(labels)[1]:
        return Note(f"{task} is not labelled here.")
    written = _counts(labels).loc[task]
    if not written["unmentioned"]:
        return Note(f"{task} is written as present or absent on every image here, so no policy changes it.")
    known = _counts(labels, "u-ignore", "unknown").loc[task]
    still = known["target_0"] - written["negative"]
    return Note(
        f"{task} keeps its negatives under every policy. It is written as absent {_times(written['negative'])}: the "
        "labeler writes it as present where it finds nothing else, Support Devices aside, and leaves it empty "
        "otherwise. Where *not mentioned* is absent, its "
        f"{counted(written['unmentioned'], 'empty label')} are negatives. Where it is unknown, {still:,} of them still "
        "are, because another finding is present or uncertain on the same image; only the other "
        f"{known['unknown']:,} are left out."
    )


def augmentations() -> Tables:
    """The options for changing training images, with what each can do to their meaning; for display."""
    rows = {
        row.name: {"Its number": f"{row.number} ({row.lowest:g} to {row.highest:g})", "Caveat": row.caveat}
        for row in AUGMENTATIONS.values()
    }
    return Tables({"": pd.DataFrame.from_dict(rows, orient="index")})


def _training(labels: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The training rows of a Dataset or a label file's Listing, and the findings that they label."""
    here = (labels.table["split"] == "train").to_numpy()
    names = tuple(finding for finding, known in zip(FINDINGS, labels.covered[here].any(axis=0)) if known)
    return labels.table[here], names


def _counts(labels: Any, policy: str | None = None, reading: str = "absent") -> pd.DataFrame:
    table, covered = _training(labels)
    return counts(table[list(FINDINGS)].to_numpy(), policy, reading, covered)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    return table.map("{:,}".format).rename_axis(index=None)


def _name(policy: str) -> str:
    return NAMES.get(policy, policy).replace("-", "\u2011")  # a hyphen at which no table's head is broken


def _in_doubt(written: pd.DataFrame) -> bool:
    """Whether a policy can change anything."""
    return bool(written[["uncertain", "unmentioned"]].to_numpy().any())


def _times(n: int) -> str:
    return {0: "nowhere", 1: "once"}.get(n, f"{n:,} times")
