"""The protocol is the paper's, every field that can change numbers is a point of it, and every deviation shows."""

from collections import Counter
from dataclasses import fields, replace

import pandas as pd
import pytest

from chexlib.data.labels import TASKS
from chexlib.results import open_results
from chexlib.runs.spec import RunSpec
from chexlib.study import load_study
from chexpaper import protocol
from chexpaper.protocol import (
    CHOSE_OTHERWISE,
    DEVIATES,
    FOR_DEVICE,
    IDENTITY,
    POINTS,
    PRINTED,
    READING,
    SILENT,
    Training,
)
from tests.made_runs import make_store, study_file

OTHER = {
    "dataset": "nih",
    "size": 96,
    "views": "frontal",
    "augment": {"rotation": 10},
    "policy": "u-zeros",
    "unmentioned": "unknown",
    "beta1": 0.8,
    "beta2": 0.99,
    "targets": {"findings": 1.0, "sex": 0.1},
    "loss": "auc",
    "weight_decay": 1e-4,
    "lr": 1e-3,
    "batch_size": 32,
    "accumulate": 2,
    "processes": 2,
    "epochs": 1,
    "eval_every": 100,
    "eval_unit": "epochs",
    "keep": 3,
    "aggregate": "mean",
    "tasks": ("Edema",),
    "norm": True,
    "precision": "bf16",
    "memory_format": "contiguous",
    "execution": "compiled",
    "threads": 4,
}
PAPER = RunSpec(dataset="chexpert", minus=1)


def rows(*runs: Training) -> pd.DataFrame:
    return protocol.table(runs)


def marked(found: pd.DataFrame, mark: str) -> list[str]:
    return list(found.index[found["mark"] == mark])


@pytest.fixture
def made(tmp_path):
    study = study_file(tmp_path)
    return open_results(study, make_store(tmp_path / "runs", study).folder)


def test_every_field_of_a_spec_is_in_one_point_or_names_the_run():
    listed = Counter([*IDENTITY, *(name for point in POINTS for name in point.fields)])
    assert set(listed) == {field.name for field in fields(RunSpec)}
    assert set(listed.values()) == {1}


def test_every_field_of_a_point_is_tried_here():
    assert set(OTHER) == {name for point in POINTS for name in point.fields}


@pytest.mark.parametrize("name", OTHER)
def test_another_value_of_a_field_shows_in_its_point_and_nowhere_else(name):
    before, after = rows(Training(PAPER)), rows(Training(replace(PAPER, **{name: OTHER[name]})))
    changed = list(before.index[before["study"] != after["study"]])
    [point] = [point for point in POINTS if name in point.fields]
    assert changed == [point.what] + ["Optimiser"] * (name == "loss")  # the AUC margin loss has its own
    free = {"precision", "memory_format", "execution", "threads"}  # any of their values is as good as another
    silent = SILENT if name in free else CHOSE_OTHERWISE
    assert after.loc[point.what, "mark"] == (DEVIATES if point.paper else silent)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("Optimiser", "Adam, β₁ = 0.9, β₂ = 0.999"),
        ("Learning rate", "0.0001"),
        ("Images in a batch", "16"),
        ("Epochs", "3"),
        ("Evaluations", "every 8,192 gradient steps"),
        ("Checkpoints", "the ten of best mean validation AUC over the six tasks"),
        ("Device", "up to four Nvidia GTX 1080"),
        ("Software", "PyTorch 1.4.0"),
    ],
)
def test_the_paper_is_transcribed(what, said):
    assert next(point.paper for point in POINTS if point.what == what) == said


@pytest.mark.parametrize(
    ("every", "unit", "mark"),
    [(8192, "steps", PRINTED), (8192, "images", READING), (1, "epochs", DEVIATES), (4096, "images", DEVIATES)],
)
def test_evaluations_can_be_read_in_two_ways(every, unit, mark):
    assert rows(Training(replace(PAPER, eval_every=every, eval_unit=unit))).loc["Evaluations", "mark"] == mark


def test_steps_would_leave_too_few_checkpoints_to_choose_ten_from():
    steps = 3 * 223_414 // 16
    assert steps // 8192 == 5 and 3 * 223_414 // 8192 == 81
    assert "hold five" in next(point.why for point in POINTS if point.what == "Evaluations")


def test_study_paper_deviates_in_nothing_that_a_plan_can_decide():
    plan = load_study("paper")
    found = rows(*(Training(spec, plan.tasks) for spec in plan.specs()))
    assert marked(found, DEVIATES) == [] and marked(found, CHOSE_OTHERWISE) == []
    assert marked(found, READING) == ["Normalisation", "Loss", "Evaluations", "Ensemble", "Intervals"]
    assert found.loc["Precision", "study"] == FOR_DEVICE and found.loc["Computed", "study"] == f"{FOR_DEVICE}, 1 thread"


def test_study_paper_once_trained_deviates_in_its_machine_alone():
    made = {"device": "NVIDIA H100 80GB HBM3", "packages": {"torch": "2.14.1"}}
    found = rows(*(Training(spec.resolve("cafe"), TASKS, made) for spec in load_study("paper").specs()))
    assert marked(found, DEVIATES) == ["Device", "Software"]


def test_values_that_differ_between_runs_are_counted():
    found = rows(*(Training(replace(PAPER, precision=precision)) for precision in ("fp32", "bf16", "bf16")))
    assert found.loc["Precision", "study"] == "fp32 (1 runs), bf16 (2 runs)"


def test_one_run_that_deviates_marks_the_point():
    assert rows(Training(PAPER), Training(replace(PAPER, epochs=4))).loc["Epochs", "mark"] == DEVIATES


def test_the_table_has_a_row_a_point_with_its_mark(made):
    table = protocol.table(protocol.of_results(made))
    assert len(table) == len(POINTS) - 2  # these runs do not say on what they were trained
    assert table.loc["Epochs"].to_list() == ["3", "3", PRINTED, ""]
    assert table.loc["Size", "study"] == "96 by 96 pixels" and table.loc["Size", "mark"] == CHOSE_OTHERWISE
    assert table.loc["Views", "mark"] == SILENT
    assert table.loc["Evaluations", "mark"] == READING and table.loc["Evaluations", "why"]
    assert "Consolidation" not in table.loc["Tasks in the mean", "study"]  # the task that is too rare
