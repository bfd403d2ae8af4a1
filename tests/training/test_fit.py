"""One run from spec to predictions: what it learns from, and what it leaves behind."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chexlib.cli import main
from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.errors import UserError
from chexlib.models import architecture
from chexlib.models.truncate import parameters
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.stats import auroc
from chexlib.training import checkpoints, loop
from chexlib.training.device import processor
from chexlib.training.loop import fit

SPEC = RunSpec(arch="mobilenet_v3", size=32, epochs=2, batch_size=16, lr=1e-3, eval_every=32, keep=2)


@pytest.fixture(scope="module")
def trained(phantom_folder, tmp_path_factory):
    return fit(SPEC, phantom_folder, RunStore(tmp_path_factory.mktemp("runs")), progress=False)


def test_a_run_leaves_what_the_design_says(trained):
    names = {path.name for path in trained.folder.iterdir()} - {".lock", "tensorboard"}
    assert names == {"spec.json", "log.jsonl", "checkpoints", "predictions.parquet", "provenance.json", "done.json"}
    assert [row["images"] for row in trained.log()] == [32, 64, 96, 128]
    assert len(list(trained.checkpoints.iterdir())) == 2
    assert trained.spec.run_id == trained.run_id


def test_the_ensembles_scores_are_logged_for_each_task(trained):
    """As they follow from the predictions, a study's score being its images' maximum."""
    table, scores = trained.predictions(), {row["split"]: row for row in trained.log("ensemble")}
    assert set(scores) == {"val", "test"}
    for split, found in scores.items():
        here = table[table["split"] == split].groupby("study").max(numeric_only=True)
        aucs = auroc(*(here[[f"{column}:{task}" for task in TASKS]].to_numpy() for column in "yp"))
        assert [found[f"auc:{task}"] for task in TASKS] == [None if np.isnan(auc) else auc for auc in aucs]
        assert found["auc"] == pytest.approx(np.nanmean(aucs))


def test_tensorboard_shows_what_was_logged(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained.folder / "tensorboard")).Reload()
    for name in ("loss", "auc", "images_per_second", "auc:Edema"):
        shown = {event.step: event.value for event in events.Scalars(name)}
        assert shown == pytest.approx({row["images"]: row[name] for row in trained.log()})


def test_provenance_says_what_was_trained(trained):
    facts = trained.provenance
    assert facts["model"] == {"label": "MobileNetV3", "family": "MobileNet", "parameters": 4_219_966}
    assert (facts["processes"], facts["resumed"]) == (1, 0)
    assert facts["processor"] == processor()
    assert 100 < facts["peak_memory_mb"] == trained.log()[-1]["memory_mb"]


def test_the_processor_is_named_with_what_keeps_it_from_its_instructions(monkeypatch):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    facts = processor()
    assert facts["limits"] == "ONEDNN_MAX_CPU_ISA=AVX2" and facts["torch"] == torch.backends.cpu.get_cpu_capability()
    assert all(facts[name] for name in ("model", "instructions", "blas"))
    cpuinfo = Path("/proc/cpuinfo")
    known = cpuinfo.read_text().split() if cpuinfo.exists() else [platform.machine()]
    assert set(facts["instructions"].split()) <= {*known, platform.machine()}


def test_predictions_are_of_val_and_test_with_the_data_sets_labels(trained, phantom_folder):
    table = trained.predictions()
    assert set(table["split"]) == {"val", "test"}
    truth = pd.read_csv(phantom_folder / "groundtruth.csv")
    test = table[table["split"] == "test"].groupby("study")[[f"y:{finding}" for finding in FINDINGS]].first()
    assert len(test) == len(truth)
    np.testing.assert_array_equal(test.sum(), truth[list(FINDINGS)].sum())
    assert table[[f"p:{finding}" for finding in FINDINGS]].to_numpy().std() > 0


def test_a_random_network_is_normalised_by_the_training_set(trained, phantom_folder):
    dataset = open_dataset("phantom", phantom_folder, size=32, progress=False)
    pixels = dataset.pixels[dataset.rows("train")] / 255
    assert dataset.mean_std() == pytest.approx((pixels.mean(), pixels.std()))
    assert trained.provenance["normalisation"] == {
        "mean": [pytest.approx(pixels.mean())],
        "std": [pytest.approx(pixels.std())],
    }


def test_a_finished_run_is_reused(trained, phantom_folder, monkeypatch):
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("trained again"))
    assert fit(SPEC, phantom_folder, RunStore(trained.folder.parent), progress=False) == trained


def test_a_training_that_ends_with_a_loss_that_grew_says_so(trained, phantom_folder, tmp_path, capsys):
    copy = RunStore(tmp_path).run(trained.spec)
    shutil.copytree(trained.folder, copy.folder)
    copy.write_log({**row, "loss": 10.0 ** row["epoch"]} for row in trained.log())
    copy.finish()
    fit(SPEC, phantom_folder, RunStore(trained.folder.parent), progress=False)
    assert not capsys.readouterr().err
    fit(SPEC, phantom_folder, RunStore(tmp_path), progress=False)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"chexlib: {trained.run_id}: the training loss grew")


def test_augmentation_changes_training_and_leaves_validation_and_test_alone(trained, phantom_folder, tmp_path):
    augment = {"rotation": 10, "crop": 0.8, "jitter": 0.2, "flip": 0.5}
    run = fit(replace(SPEC, epochs=1, keep=1, augment=augment), phantom_folder, RunStore(tmp_path), progress=False)
    assert run.run_id != trained.run_id and run.log()[0]["loss"] != trained.log()[0]["loss"]
    dataset = open_dataset("phantom", phantom_folder, size=32, progress=False)
    model, prepare = checkpoints.load_model(run)
    assert not model.training
    for split in ("val", "test"):
        with torch.inference_mode():
            p = model(prepare(dataset.pixels[dataset.rows(split)])).sigmoid()
        table = run.predictions().query("split == @split")
        np.testing.assert_allclose(table[[f"p:{finding}" for finding in FINDINGS]], p, atol=2e-6)


def test_validation_aggregates_studies_as_the_spec_says(trained, phantom_folder, tmp_path):
    """The same training, so only the validation AUC differs, where a study has several views."""
    mean = fit(replace(SPEC, aggregate="mean"), phantom_folder, RunStore(tmp_path), progress=False)
    assert [row["loss"] for row in mean.log()] == [row["loss"] for row in trained.log()]
    assert [row["auc"] for row in mean.log()] != [row["auc"] for row in trained.log()]


def test_the_best_checkpoints_enter_the_ensemble():
    log = [{"images": i, "auc": auc} for i, auc in ((1, 0.7), (2, None), (3, 0.9), (4, 0.8), (5, 0.7))]
    assert checkpoints.ensemble_members(log, 1) == [3]
    assert checkpoints.ensemble_members(log, 3) == [3, 4, 5]
    assert checkpoints.ensemble_members(log, 9) == [1, 2, 3, 4, 5]


def test_published_runs_say_that_they_hold_no_weights(trained, tmp_path):
    published = type(trained)(tmp_path / trained.run_id)
    for name in ("spec.json", "log.jsonl", "provenance.json"):
        published.write(name, (trained.folder / name).read_bytes())
    with pytest.raises(UserError, match="published results hold no weights"):
        checkpoints.load_model(published)


def test_damaged_weights_are_named(trained, tmp_path):
    copy = RunStore(tmp_path).run(trained.spec)
    shutil.copytree(trained.folder, copy.folder)
    for path in copy.checkpoints.glob(checkpoints.WEIGHTS):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # one bit of a tensor
    with pytest.raises(UserError, match=r"images0.*\.safetensors: not what was written"):
        checkpoints.load_model(copy)
    (copy.folder / "done.json").unlink()  # with it the files' hashes; the tensors have one of their own
    with pytest.raises(UserError, match=r"images0.*\.safetensors: is damaged"):
        checkpoints.load_model(copy)


def test_a_task_of_which_nothing_is_known_is_named(phantom_folder, tmp_path):
    labels = pd.read_csv(phantom_folder / "train.csv")
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    labels.assign(Edema=-1.0).to_csv(folder / "train.csv", index=False)
    spec = replace(SPEC, policy="u-zeros, Edema=u-ignore")
    with pytest.raises(UserError, match=r"Edema is unknown in all 64 training images under policy .*Edema=u-ignore"):
        fit(spec, folder, RunStore(tmp_path / "runs"), progress=False)


def test_too_few_images_for_a_batch(phantom_folder, tmp_path):
    spec = RunSpec.make(json.loads(SPEC.to_json()) | {"batch_size": 512})
    with pytest.raises(UserError, match="64 training images are fewer than batch_size=512"):
        fit(spec, phantom_folder, RunStore(tmp_path), progress=False)


def test_one_process_may_train_in_both_precisions_and_the_global_random_state_has_no_say(
    trained, phantom_folder, tmp_path
):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    bf16, fp32 = (
        fit(replace(SPEC, precision=precision), phantom_folder, RunStore(tmp_path), progress=False).predictions()
        for precision in ("bf16", "fp32")
    )
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(fp32, trained.predictions(), check_exact=True)
    assert not fp32.equals(bf16)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fresh_processes_give_the_same_digits_whatever_the_order_of_hashes(precision, phantom_folder, tmp_path):
    fields = ["arch=mnasnet", "minus=3", "size=32", "epochs=1", "batch_size=16", "eval_every=32", "keep=2"]
    fields += ["augment={rotation: 10, crop: 0.8, jitter: 0.2, flip: 0.5}", f"precision={precision}"]
    command = [sys.executable, "-m", "chexlib.cli", "train", *fields, "--data", str(phantom_folder), "--runs"]
    seeds = ("1", "2")
    both = [subprocess.Popen([*command, tmp_path / seed], env=os.environ | {"PYTHONHASHSEED": seed}) for seed in seeds]
    assert [process.wait() for process in both] == [0, 0]
    first, second = (Run(next((tmp_path / seed).glob("phantom*"))) for seed in seeds)
    pd.testing.assert_frame_equal(first.predictions(), second.predictions(), check_exact=True)
    assert [row["loss"] for row in first.log()] == [row["loss"] for row in second.log()]


def test_an_image_too_small_for_the_network_is_refused_before_anything_is_opened(tmp_path):
    with pytest.raises(UserError, match="InceptionV3 needs images of at least 75 px"):
        fit(replace(SPEC, arch="inception_v3"), tmp_path / "nowhere", RunStore(tmp_path), progress=False)


FIELDS = ["--arch", "test_convnext", "--size", "32", "--batch-size", "8", "--eval-every", "32", "--keep", "1"]


@pytest.mark.parametrize("minus", [0, 1])
def test_a_network_of_timm_is_trained_from_the_command_line(minus, phantom_folder, tmp_path, capsys):
    fields = [*FIELDS, "--epochs", "1", "--minus", str(minus), "--augment", "rotation=5", "--augment", "crop=0.9"]
    assert main(["train", *fields, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 0
    run = Run(Path(capsys.readouterr().out.split()[-1]))
    assert run.finished and len(run.predictions()) == 72  # 24 of validation, 48 of the test
    spec, label = json.loads((run.folder / "spec.json").read_text()), "test_convnext" + "Minus1" * minus
    assert (spec["arch"], spec["minus"], spec["augment"]) == ("test_convnext", minus, {"rotation": 5, "crop": 0.9})
    count = parameters(architecture("test_convnext"), minus)
    assert run.provenance["model"] == {"label": label, "family": "ConvNeXt", "parameters": count}
    model, _ = checkpoints.load_model(run)
    assert model.label == label and model.pools_last == bool(minus)
