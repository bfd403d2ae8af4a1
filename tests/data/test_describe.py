"""`data describe` counts what the files say, all rows and each split, and what a policy makes of them."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from chexlib.cli import main
from chexlib.data.describe import describe, text
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Listing

LABELS = ("positive", "negative", "uncertain", "unmentioned")
TARGETS = ("target_1", "target_0", "unknown")


def described(capsys, *arguments):
    """What the command prints with --json."""
    assert main(["data", "describe", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def parts(shown):
    return [shown, *shown["splits"].values()]


@pytest.fixture
def four():
    """Four images of two patients: in train Edema is 1, -1 and not mentioned, in test 0."""
    table = pd.DataFrame({"split": ["train"] * 3 + ["test"], "image": list("abcd"), "study": ["s1", "s1", "s2", "s3"],
                          "patient": ["p1", "p1", "p1", "p2"], "view": ["PA", "LATERAL", "AP", ""],
                          "sex": ["F", "F", "F", ""], "age": [61.0, 61.0, 62.0, np.nan]})  # fmt: skip
    raw = pd.DataFrame(np.nan, index=table.index, columns=list(FINDINGS), dtype=np.float32)
    raw["Edema"], raw["Fracture"] = [1, -1, np.nan, 0], [1, 1, 0, 0]
    return pd.concat([table, raw], axis=1)


def test_four_rows_are_counted(four):
    labelled = np.array([np.isin(FINDINGS, ["Edema", "Fracture"])] * 3 + [np.isin(FINDINGS, ["Edema"])])
    shown = describe(Listing(four, labelled, None))
    assert (shown["rows"], shown["studies"], shown["patients"]) == (4, 3, 2)
    assert shown["views"] == {"PA": 1, "AP": 1, "unknown": 1, "LATERAL": 1}
    assert shown["sex"] == {"F": 3, "M": 0, "unknown": 1}
    assert shown["age"]["known"] == 3 and shown["age"]["median"] == 61 and shown["ages"]["60"]["F"] == 3
    assert shown["findings"]["Edema"] == dict(zip(LABELS, (1, 1, 1, 1)))
    assert shown["together"]["Edema"]["Fracture"] == 1 and shown["together"]["Fracture"]["Fracture"] == 2
    assert shown["splits"]["train"]["covered"] == ["Edema", "Fracture"] and shown["splits"]["test"]["covered"] == [
        "Edema"
    ]


def test_a_set_without_any_label_is_described_without_tables_of_findings(four):
    shown = text(describe(Listing(four, np.zeros((4, len(FINDINGS)), dtype=bool), None)))
    assert "patients" in shown and "Empty DataFrame" not in shown and "Edema" in shown.partition("Not labelled")[2]


@pytest.mark.parametrize(
    ("policy", "unmentioned", "expected"),
    [
        ("u-ones", "absent", (2, 2, 0)),
        ("u-zeros", "absent", (1, 3, 0)),
        ("u-ignore", "absent", (1, 2, 1)),
        ("u-ones", "unknown", (2, 1, 1)),
        ("u-zeros, Edema=u-ones", "absent", (2, 2, 0)),
    ],
)
def test_a_policy_adds_the_targets_of_the_same_rows(four, policy, unmentioned, expected):
    labelled = np.tile(np.isin(FINDINGS, ["Edema"]), (4, 1))
    shown = describe(Listing(four, labelled, None), policy, unmentioned)
    assert tuple(shown["findings"]["Edema"][name] for name in TARGETS) == expected
    assert tuple(shown["findings"]["Fracture"][name] for name in TARGETS) == (0, 0, 4)  # not labelled: unknown


def test_every_finding_is_counted_once_a_row_and_splits_sum_to_the_whole(phantom_folder, capsys):
    shown = described(capsys, "phantom", "--data", phantom_folder, "--policy", "u-mixed")
    assert list(shown["splits"]) == ["train", "val", "test"]
    for part in parts(shown):
        for counts in part["findings"].values():
            assert sum(counts[name] for name in LABELS) == sum(counts[name] for name in TARGETS) == part["rows"]
        assert sum(part["views"].values()) == sum(part["sex"].values()) == part["rows"]
    for finding in FINDINGS:
        for name in (*LABELS, *TARGETS):
            splits = sum(part["findings"][finding][name] for part in shown["splits"].values())
            assert splits == shown["findings"][finding][name]


def test_the_text_fits_100_columns_and_names_every_finding(phantom_folder, capsys):
    for policy in ([], ["--policy", "u-mixed"]):
        assert main(["data", "describe", "phantom", "--data", str(phantom_folder), *policy]) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 100
        assert all(finding in shown for finding in FINDINGS) and ("target 1" in shown) == bool(policy)


@pytest.mark.parametrize("arguments", [["--policy", "u-onse"], ["--data", "/nowhere"]])
def test_what_cannot_be_described_is_one_line(phantom_folder, capsys, arguments):
    assert main(["data", "describe", "phantom", "--data", str(phantom_folder), *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_real_train_csv_has_the_published_counts(train_csv, capsys):
    shown = described(capsys, train_csv, "--policy", "u-mixed")
    assert (shown["rows"], shown["studies"], shown["patients"], shown["per"]) == (223_414, 187_641, 64_540, "image")
    assert (shown["views"]["AP"], shown["views"]["PA"]) == (161_590, 29_420)
    counts = shown["findings"]["Atelectasis"]
    assert [counts[name] for name in (*LABELS, *TARGETS)] == [33_376, 1_328, 33_739, 154_971, 67_115, 156_299, 0]
    assert shown["findings"]["Consolidation"]["target_1"] == 14_783  # zeros, but for Edema and Atelectasis
    assert shown["findings"]["No Finding"]["target_0"] == 201_033


def test_a_file_with_labels_per_study_is_counted_by_study(phantom_folder, capsys):
    shown = described(capsys, phantom_folder / "groundtruth.csv")
    rows = pd.read_csv(phantom_folder / "groundtruth.csv")
    assert shown["per"] == "study" and shown["rows"] == shown["studies"] == len(rows)
    assert shown["findings"]["Edema"]["positive"] == int((rows["Edema"] == 1).sum())


def test_a_reader_that_has_seen_enough_gets_no_traceback(phantom_folder):
    command = f"{sys.executable} -m chexlib.cli data describe phantom --data {phantom_folder} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("Phantom radiographs") and done.stderr == ""
