"""The protocol is the paper's, every field that can change numbers is a point of it, and every deviation shows."""

from collections import Counter
from dataclasses import fields, replace

import pytest

from chexlib.data.labels import TASKS
from chexlib.paper import protocol
from chexlib.paper.notes import Missing
from chexlib.paper.points import DEVIATES, FOR_DEVICE, IDENTITY, POINTS, PRINTED, READING, SILENT, Training
from chexlib.paper.results import open_results
from chexlib.runs.spec import RunSpec
from chexlib.study import load_study
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
    "lr": 1e-3,
    "batch_size": 32,
    "accumulate": 2,
    "processes": 2,
    "epochs": 1,
    "eval_every": 100,
    "eval_unit": "epochs",
    "keep": 3,
    "aggregate": "mean",
    "precision": "bf16",
    "memory_format": "contiguous",
    "execution": "compiled",
    "threads": 4,
}
PAPER = RunSpec(dataset="chexpert")


def rows(*runs: Training) -> dict[str, protocol.Held]:
    return {row.point.what: row for row in protocol.held(runs)}


def marked(found: dict, mark: str) -> list[str]:
    return [name for name, row in found.items() if row.mark == mark]


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
    changed = [what for what in before if before[what].text != after[what].text]
    [point] = [point for point in POINTS if name in point.fields]
    assert changed == [point.what]
    free = {"precision", "memory_format", "execution", "threads"}  # any of their values is as good as another
    assert after[point.what].differs == (name not in free)
    assert after[point.what].mark == (DEVIATES if point.paper else SILENT)


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
    assert rows(Training(replace(PAPER, eval_every=every, eval_unit=unit)))["Evaluations"].mark == mark


def test_steps_would_leave_too_few_checkpoints_to_choose_ten_from():
    steps = 3 * 223_414 // 16
    assert steps // 8192 == 5 and 3 * 223_414 // 8192 == 81
    assert "hold five" in next(point.why for point in POINTS if point.what == "Evaluations")


def test_study_paper_deviates_in_nothing_that_a_plan_can_decide():
    plan = load_study("paper")
    found = rows(*(Training(spec, plan.tasks) for spec in plan.specs()))
    assert marked(found, DEVIATES) == [] and not any(row.differs for row in found.values())
    assert marked(found, READING) == ["Normalisation", "Loss", "Evaluations", "Ensemble", "Intervals"]
    assert found["Precision"].text == FOR_DEVICE and found["Computed"].text == f"{FOR_DEVICE}, 1 thread"


def test_study_paper_once_trained_deviates_in_its_machine_alone():
    made = {"device": "NVIDIA H100 80GB HBM3", "packages": {"torch": "2.14.1"}}
    found = rows(*(Training(spec.resolve("cafe"), TASKS, made) for spec in load_study("paper").specs()))
    assert marked(found, DEVIATES) == ["Device", "Software"]


def test_values_that_differ_between_runs_are_counted():
    found = rows(*(Training(replace(PAPER, precision=precision)) for precision in ("fp32", "bf16", "bf16")))
    assert found["Precision"].text == "fp32 (1 run), bf16 (2 runs)"


def test_one_run_that_deviates_marks_the_point():
    assert rows(Training(PAPER), Training(replace(PAPER, epochs=4)))["Epochs"].mark == DEVIATES


def test_a_studys_deviations_are_said_in_a_sentence(made):
    text = protocol.deviations(made)
    assert text.startswith(
        "Study made deviates from the paper's protocol in 2 of the 13 points that the paper states: images (Phantom "
        "radiographs; the paper: CheXpert) and tasks in the mean ("
    )
    assert "Consolidation" not in text  # the task that is too rare
    assert text.endswith("departs from our own choice: size (96 by 96 pixels; ours: 320 by 320 pixels).")
    assert "in none of the 13 points" in protocol.planned("paper")


def test_the_table_has_a_row_a_point_with_its_mark(made):
    [(title, table)] = protocol.table(made).tables.items()
    assert title == "" and len(table) == len(POINTS) - 2  # these runs do not say on what they were trained
    assert table.loc["Epochs"].to_list() == ["3", "3", "as printed"]
    assert table.loc["Size"].to_list() == [
        "not said; our choice: 320 by 320 pixels",
        "96 by 96 pixels",
        "the paper is silent, and we chose otherwise",
    ]
    assert table.loc["Views"].to_list() == ["not said; our choice: all", "all", "the paper is silent"]
    assert table.loc["Evaluations"].iloc[2].startswith("our reading: in gradient steps")
    [title] = protocol.table(made, folded=True).tables
    assert title.endswith("the study deviates in 2 of the 13 points that the paper states")


def test_without_results_nothing_is_shown():
    assert protocol.table(Missing("no runs")) == protocol.deviations(Missing("no runs")) == ""
