"""What a study will take, and which settings it will train in."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from chexlib.cli import main
from chexlib.errors import UserError
from chexlib.runs.spec import SETTINGS, RunSpec
from chexlib.runs.store import RunStore
from chexlib.study import load_study
from chexlib.study import plan as plan_module
from chexlib.study.plan import Plan, plan_study
from chexlib.study.study import resolve_study, shape
from chexlib.training.timing import Speed

SPEED = Speed(100.0, 400.0, 2.0, 500, (0.7, 0.6, 0.5))


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "common: {dataset: phantom, options: {n: 64, n_valid: 24, n_test: 40}, size: 32, epochs: 2, eval_every: 32,\n"
        "         keep: 3}\n"
        "runs:\n- {arch: mobilenet_v3, seed: [0, 1]}\n- {arch: resnet18, precision: fp32}\n"
    )
    return load_study(path)


def known_speeds(monkeypatch, speeds):
    """Speeds by (precision, memory_format, execution), or one for all; and which specs were asked for."""
    asked = []

    def measured(specs, workers, progress):
        specs = list(specs)
        asked.extend(specs)
        of = speeds if callable(speeds) else lambda spec: speeds
        return {spec.to_json(): of(spec) for spec in specs}

    monkeypatch.setattr(plan_module, "measured", measured)
    return asked


def test_a_run_takes_its_start_its_learning_and_its_predictions(study, tmp_path, monkeypatch):
    asked = known_speeds(monkeypatch, SPEED)
    plan = plan_study(study, store=RunStore(tmp_path / "runs"), progress=False)
    # 2 epochs of 64 images; 4 evaluations of 24; an ensemble of 3 over 24 + 40
    assert plan.runs == pytest.approx([2 + 128 / 100 + (4 * 24 + 3 * 64) / 400] * 3)
    assert plan.images == {"train": 64, "val": 24, "test": 40}
    assert plan.cache_bytes == 128 * 32 * 32
    assert plan.store_bytes == 3 * 4 * (2 * 4_219_966 + 11_183_694)
    assert [spec.arch for spec in asked] == ["mobilenet_v3", "resnet18"]  # seeds share a measurement
    assert list(plan.networks["runs"]) == [2, 1]


def test_a_run_on_some_of_the_training_images_is_as_much_shorter(tmp_path, monkeypatch):
    known_speeds(monkeypatch, SPEED)
    path = tmp_path / "few.yaml"
    path.write_text("common: {dataset: phantom, options: {n: 64, n_valid: 24, n_test: 40}, size: 32, arch: resnet18}\n"
                    "runs: [{train_images: [0, 32], epochs: 1, eval_every: 32, keep: 1}]")  # fmt: skip
    plan = plan_study(load_study(path), store=RunStore(tmp_path / "runs"), progress=False)
    assert plan.runs == pytest.approx([2 + 64 / 100 + (2 * 24 + 64) / 400, 2 + 32 / 100 + (24 + 64) / 400])


def test_devices_share_the_runs_and_the_longest_one_bounds_them():
    plan = Plan("made", "cpu", 2, {}, pd.DataFrame(), [10.0, 30.0, 20.0, 20.0], 0, 0)
    assert plan.seconds() == 40
    assert plan.seconds(2) == plan.seconds(16) == 30


def test_tuning_keeps_the_fastest_setting_that_agrees(study, tmp_path, monkeypatch):
    wrong = (0.7, 0.6, 0.45)

    def speed(spec):
        if spec.memory_format == "contiguous":
            return SPEED if spec.precision == "fp32" else replace(SPEED, images_per_second=900.0, losses=wrong)
        if spec.precision == "fp32":
            return replace(SPEED, images_per_second=150.0)
        return UserError("not here") if spec.arch == "resnet18" else replace(SPEED, images_per_second=300.0)

    known_speeds(monkeypatch, speed)
    store = RunStore(tmp_path / "runs")
    plan = plan_study(study, store=store, tune=True, progress=False)
    assert list(plan.networks["precision"]) == ["bf16", "fp32"]
    assert list(plan.networks["memory format"]) == ["channels_last", "channels_last"]
    mobile, other, resnet = resolve_study(study, store=store, progress=False)
    assert mobile.precision == other.precision == "bf16" and resnet.precision == "fp32"
    assert mobile.run_id != study.specs()[0].resolve(mobile.fingerprint).run_id


def test_what_a_study_fixes_is_not_tuned(study, tmp_path, monkeypatch):
    asked = known_speeds(monkeypatch, SPEED)
    plan_study(study, store=RunStore(tmp_path), tune=True, progress=False)
    assert {spec.precision for spec in asked if spec.arch == "resnet18"} == {"fp32"}
    assert {spec.precision for spec in asked if spec.arch == "mobilenet_v3"} == {"fp32", "bf16"}


def test_compiling_is_tried_where_runs_are_long(study, tmp_path, monkeypatch):
    for rate, tried in ((100.0, set()), (0.05, {"mobilenet_v3", "resnet18"})):
        asked = known_speeds(monkeypatch, replace(SPEED, images_per_second=rate))
        plan_study(study, store=RunStore(tmp_path), tune=True, progress=False)
        assert {spec.arch for spec in asked if spec.execution == "compiled"} == tried


def test_losses_agree_within_two_percent_at_each_step():
    assert replace(SPEED, losses=(0.71, 0.59, 0.5, 9.0)).agrees(SPEED)  # of the steps that both took
    assert not replace(SPEED, losses=(0.7, 0.6, 0.515)).agrees(SPEED)
    assert not replace(SPEED, losses=(0.7, float("nan"), 0.5)).agrees(SPEED)


def test_both_inits_and_all_seeds_share_their_settings():
    assert shape(RunSpec(seed=1, init="imagenet")) == shape(RunSpec())
    assert shape(RunSpec(minus=1)) != shape(RunSpec())


def test_the_command_measures_and_says_what_it_found(study, tmp_path, capsys):
    path, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    assert main(["study", "plan", str(path), "--runs", str(runs), "--tune"]) == 0
    said = capsys.readouterr().out
    assert "study tiny: 3 runs on 64 training, 24 validation, 40 test images" in said
    settings = json.loads((runs / "tiny.settings.json").read_text())["settings"]
    assert len(settings) == 2 and all(set(found) == set(SETTINGS) for found in settings.values())
    assert f"{runs}/tiny.settings.json" in said


def test_broken_settings_are_one_line(study, tmp_path):
    (tmp_path / "tiny.settings.json").write_text('{"settings": ')
    with pytest.raises(UserError, match=r"tiny\.settings\.json: not readable: remove it"):
        resolve_study(study, store=RunStore(tmp_path), progress=False)
