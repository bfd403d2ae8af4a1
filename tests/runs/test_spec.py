"""A run is a frozen value, and its hash is its name."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from chexlib.data.labels import POLICIES
from chexlib.errors import UserError
from chexlib.runs.spec import LATER, RunSpec, read_yaml
from chexlib.runs.store import Run


def test_the_defaults_are_the_papers_protocol():
    spec = RunSpec()
    assert (spec.epochs, spec.batch_size, spec.lr, spec.beta1, spec.beta2) == (3, 16, 1e-4, 0.9, 0.999)
    assert (spec.eval_every, spec.eval_unit, spec.keep) == (8192, "images", 10)


def test_the_paper_as_gradient_steps_has_five_checkpoints_and_as_images_more_than_ten():
    per_epoch = 223_414 // 16 * 16
    images = RunSpec().images_between_evaluations(per_epoch)
    steps = RunSpec(eval_unit="steps").images_between_evaluations(per_epoch)
    assert 3 * per_epoch // steps == 5
    assert 3 * per_epoch // images > 10
    assert RunSpec(eval_every=2, eval_unit="epochs").images_between_evaluations(592) == 1184


def test_every_field_is_part_of_the_name():
    other = {"str": "fp", "int": 3, "float": 0.5, "Mapping[str, int | float | str]": {"n": 5}}
    other |= {"Mapping[str, float]": {"flip": 0.5}, "bool": True, "tuple[str, ...]": ("Edema",)}
    changed = {"precision": "bf16", "memory_format": "contiguous", "eval_unit": "steps", "numerics": 10_000}
    changed |= {"dataset": "nih", "policy": "u-zeros", "unmentioned": "unknown", "views": "frontal", "init": "imagenet"}
    changed |= {"aggregate": "mean", "execution": "compiled", "accumulate": 2, "processes": 2}
    changed |= {"targets": {"findings": 1.0, "sex": 0.1}, "loss": "auc"}
    spec = RunSpec(minus=1).resolve("data")  # only a truncated network can have a norm
    names = {spec.run_id}
    for f in fields(RunSpec):
        value = changed.get(f.name, other[f.type])
        value = value if value != getattr(spec, f.name) else 4
        names.add(replace(spec, **{f.name: value}).run_id)
    assert len(names) == len(fields(RunSpec)) + 1


def test_tasks_keep_their_order():
    spec = RunSpec.make({"tasks": ["No Finding", "Edema"]})
    assert spec.tasks == ("No Finding", "Edema") and RunSpec.from_json(spec.to_json()) == spec
    assert spec.resolve("data").run_id != replace(spec, tasks=("Edema", "No Finding")).resolve("data").run_id


def test_the_same_fields_give_the_same_name_in_any_order():
    a = RunSpec.make({"arch": "resnet18", "options": {"n": 1, "seed": 2}}).resolve("data")
    b = RunSpec.make({"options": {"seed": 2, "n": 1}, "arch": "resnet18"}).resolve("data")
    assert a.run_id == b.run_id
    assert a.run_id.startswith("phantom320-resnet18-random-s0-")


def test_published_runs_keep_their_names():
    for path in (Path(__file__).parents[2] / "results").glob("*/*/spec.json"):
        run = Run(path.parent)
        assert run.spec.run_id == run.run_id
        assert set(json.loads(path.read_text())) >= {field.name for field in fields(RunSpec)} - set(LATER)


def test_a_field_that_came_later_is_written_where_it_changes_the_run():
    assert {name: getattr(RunSpec(), name) for name in LATER} == LATER
    spec, fewer = RunSpec().resolve("data"), RunSpec(train_images=500).resolve("data")
    assert "train_images" not in json.loads(spec.to_json()) and json.loads(fewer.to_json())["train_images"] == 500
    assert all(RunSpec.from_json(one.to_json()) == one for one in (spec, fewer))
    assert spec.run_id.startswith("phantom320-densenet121-random-s0-")
    assert fewer.run_id.startswith("phantom320-n500-densenet121-random-s0-")


@pytest.mark.parametrize(
    ("init", "readable"),
    [("transfusion:block2", "transfusion_block2"), ("mean_var:weights", "mean_var_weights"), ("gabor", "gabor")],
)
def test_an_inits_argument_is_in_the_name(init, readable):
    assert RunSpec(init=init).resolve("data").run_id.startswith(f"phantom320-densenet121-{readable}-s0-")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"policy": "u-mixed"}, {"policy": "u-zeros,Atelectasis = u-ones, Edema=u-ones"}),
        ({"policy": "u-ones"}, {"policy": " U-Ones"}),
        ({"targets": {"sex": 0.1, "findings": 1}}, {"targets": {"findings": 1.0, "sex": 0.1, "age": 0}}),
        ({"augment": {"rotation": 10, "flip": 0.5}}, {"augment": {"flip": 0.5, "rotation": 10.0, "crop": 1}}),
    ],
)
def test_two_spellings_of_one_training_have_one_name(one, other):
    assert RunSpec.make(one) == RunSpec.make(other)
    assert RunSpec.make(one).resolve("data").run_id == RunSpec.make(other).resolve("data").run_id


def test_a_teacher_is_the_same_training_under_u_ignore():
    student = RunSpec(policy="u-selftrained", seed=3).resolve("data")
    assert student.teacher == replace(student, policy="u-ignore")
    assert [RunSpec(policy=name).teacher for name in POLICIES if name != "u-selftrained"] == [None] * 5


def test_a_spec_needs_no_torch():
    code = "import sys, chexlib; chexlib.RunSpec(); assert not {'torch', 'torchvision'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_unresolved_spec_has_no_name():
    with pytest.raises(ValueError, match="resolve"):
        _ = RunSpec().run_id


def test_what_is_left_to_the_device_is_settled_before_a_run_is_named():
    with pytest.raises(ValueError, match="resolve"):
        _ = RunSpec(fingerprint="data").run_id
    free, fixed = RunSpec(), RunSpec(precision="fp32", memory_format="channels_last", execution="eager")
    assert free.resolve("data").run_id == fixed.resolve("data").run_id
    assert free.resolve("data", {"precision": "bf16"}).precision == "bf16"
    assert fixed.resolve("data", {"precision": "bf16"}) == fixed.resolve("data")


def test_a_batch_falls_into_equal_parts():
    assert RunSpec(batch_size=16, accumulate=2, processes=4).batch_size == 16
    with pytest.raises(UserError, match="batch_size=16, accumulate=3, processes=1: a batch must fall into equal parts"):
        RunSpec(accumulate=3)


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": 3},
        {"epochs": "3"},
        {"seed": True},
        {"arch": 18},
        {"lr": "fast"},
        {"minus": [1]},
        {"precision": "fp8"},
        {"eval_unit": "minutes"},
        {"batch_size": 0},
        {"seed": -1},
        {"lr": 0},
        {"lr": "nan"},
        {"keep": 0},
        {"dataset": "chexprt"},
        {"policy": "u-one"},
        {"unmentioned": "zero"},
        {"views": "frontl"},
        {"aggregate": "median"},
        {"init": "imagnet"},
        {"augment": 5},
        {"augment": {"rotate": 5}},
        {"augment": {"rotation": 90}},
        {"norm": 1, "minus": 1},
        {"train_images": -1},
        {"lr": "inf"},
        {"lr": 10**400},
        {"beta2": 1.5},
        {"beta2": 1},
        {"beta1": -0.1},
        {"beta1": "nan"},
        {"weight_decay": -1e-4},
        {"weight_decay": "nan"},
        {"targets": {"findings": 1, "sax": 0.1}},
        {"targets": {"findings": 1, "sex": -0.1}},
        {"targets": {"findings": float("nan")}},
        {"targets": {"sex": True}},
        {"targets": {"findings": 0}},
        {"targets": {}},
        {"targets": "sex"},
        {"seed": 2**70},
        {"threads": 100_000},
        {"threads": 0},
        {"epochs": 2**70},
        {"tasks": []},
        {"tasks": "Edema"},
        {"tasks": ["Edema", "Flu"]},
    ],
)
def test_a_value_out_of_range_is_refused(values):
    with pytest.raises(UserError, match=next(iter(values))) as error:
        RunSpec.make(values)
    assert "\n" not in str(error.value)


def test_the_last_value_in_a_range_is_taken():
    spec = RunSpec(seed=2**63 - 1, threads=1024, beta1=0.0, beta2=0.9999999)
    assert RunSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "text", ["{n: 1, n: 2}", "{a: {n: 1, 'n': 2}}", "a: 1\nb: 2\na: 3", "[", "2020-13-45", "9" * 5000, "[" * 5000]
)
def test_text_that_is_no_yaml_or_says_a_thing_twice_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"^here: not readable as YAML: [^\n]+$"):
        read_yaml(text, "here")


def test_a_key_may_stand_in_several_mappings_and_take_from_another():
    text = "base: &b {n: 1, m: 2}\nother: {<<: *b, n: 3}"
    assert read_yaml(text, "here") == {"base": {"n": 1, "m": 2}, "other": {"n": 3, "m": 2}}


def test_a_weights_file_is_named_by_its_content(tmp_path):
    path = tmp_path / "w.safetensors"
    names = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        names.add(RunSpec(init=f"file:{path}").resolve("data").run_id)
    assert len(names) == 2
    with pytest.raises(UserError, match="there is no file"):
        RunSpec(init="file:nowhere").resolve("data")


def test_numbers_are_read_as_people_write_them():
    """YAML takes 1e-4 for text."""
    assert RunSpec.make({"lr": "1e-4", "beta1": 0}) == RunSpec(lr=0.0001, beta1=0.0)
