"""Sex, age, view and position, beside the findings and alone: from labels to predictions, on drawn images."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from chexlib.cam_files import write_cams
from chexlib.cli import main
from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS
from chexlib.data.targets import TARGETS, further_labels
from chexlib.errors import UserError
from chexlib.models import create_model
from chexlib.results import open_results
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.stats import auroc
from chexlib.study import load_study
from chexlib.training import checkpoints
from chexlib.training.loop import fit
from chexlib.training.losses import Objective, labels_to_learn, masked_cross_entropy
from chexlib.training.predict import predict_with

SPEC = RunSpec(arch="cbr_tiny", minus=3, size=32, epochs=2, batch_size=16, lr=0.03, eval_every=32, keep=2)
AUXILIARY = replace(SPEC, targets={"findings": 1, "sex": 0.5, "age": 0.25, "view": 2, "position": 0.1})
ALONE = replace(SPEC, targets={"sex": 1, "age": 0.1, "view": 1})


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return open_dataset("phantom", phantom_folder, size=32, progress=False)


@pytest.fixture(scope="module")
def alone(phantom_folder, store):
    return fit(ALONE, phantom_folder, store, progress=False)


@pytest.fixture(scope="module")
def auxiliary(phantom_folder, store):
    return fit(AUXILIARY, phantom_folder, store, progress=False)


def test_labels_come_from_the_table_and_are_unknown_where_it_is_silent():
    table = pd.DataFrame(
        {"sex": ["F", "M", ""], "age": [61.0, np.nan, 30.0], "view": ["AP", "LATERAL", ""]},
    )
    expected = [[1, 61, 0, 1], [0, np.nan, 1, np.nan], [np.nan, 30, 0, np.nan]]  # sex, age, view, position
    np.testing.assert_array_equal(further_labels(table, TARGETS), expected)


def test_a_loss_is_the_weighted_sum_of_means_over_what_is_known():
    generator = torch.Generator().manual_seed(0)
    logits, more = torch.randn(6, 14, generator=generator), torch.randn(6, 4, generator=generator)
    y, known = torch.rand(6, 18, generator=generator).round(), torch.rand(6, 18, generator=generator).round()
    y[:, 15], known[:, 17] = 20 + 60 * torch.rand(6, generator=generator), 0  # ages; no position is known
    objective, k = Objective(AUXILIARY), known.bool()
    found = objective((logits, more), y, known, objective.totals(known.numpy()))
    sex, age, view = (more[k[:, 14 + e], e] for e in range(3))
    ages = (y[k[:, 15], 15] - 50) / 10
    apart = (age - ages).abs()
    smooth = torch.where(apart < 1, apart**2 / 2, apart - 0.5).mean()
    expected = masked_cross_entropy(logits, y[:, :14], known[:, :14]) + 0.25 * smooth
    expected += 0.5 * F.binary_cross_entropy_with_logits(sex, y[k[:, 14], 14])
    expected += 2 * F.binary_cross_entropy_with_logits(view, y[k[:, 16], 16])
    torch.testing.assert_close(found, expected)


def test_what_is_unknown_moves_no_output():
    more = torch.zeros(4, 4, requires_grad=True)
    known = torch.ones(4, 18)
    known[0, 14] = known[1, 15] = known[:, 17] = 0
    objective = Objective(AUXILIARY)
    y = torch.full((4, 18), 1.0)
    objective((torch.zeros(4, 14), more), y, known, objective.totals(known.numpy())).backward()
    assert torch.equal(more.grad == 0, known[:, 14:] == 0)


def test_findings_alone_are_learned_as_before_there_were_others(dataset, store):
    labels, known = labels_to_learn(store.run(SPEC.resolve("data")), SPEC, dataset)
    assert labels.dtype == known.dtype == np.float32
    np.testing.assert_array_equal(labels, dataset.labels)
    np.testing.assert_array_equal(known, dataset.known)
    assert json.loads(SPEC.to_json()).keys().isdisjoint({"targets", "weight_decay"})


@pytest.mark.parametrize("classes", [1, 3])
def test_further_outputs_stand_behind_the_findings_which_a_network_goes_on_giving(classes):
    model = create_model("cbr_tiny", classes=classes, further=2).eval()
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, more = model(x, further=True)
        features = model.maps(x).mean(dim=(2, 3))
        outputs = F.linear(features, model.head.weight, model.head.bias)  # (3, 14 or 42, and 2)
    assert outputs.shape == (3, 14 * classes + 2)
    torch.testing.assert_close(more, outputs[:, -2:])
    of_findings = outputs[:, :14] if classes == 1 else outputs[:, 1:42:3] - outputs[:, 0:42:3]
    torch.testing.assert_close(logits, of_findings)
    assert torch.equal(model(x), logits) and model.head.directions.shape == (14, features.shape[1])


def test_predictions_have_columns_of_what_is_learned(alone, auxiliary, dataset):
    table = auxiliary.predictions()
    assert [name for name in table if name.startswith("p:")][14:] == ["p:sex", "p:age", "p:view", "p:position"]
    assert set(table.loc[table["y:sex"] == 1, "sex"]) == {"F"} and set(table.loc[table["y:sex"] == 0, "sex"]) == {"M"}
    np.testing.assert_array_equal(table["y:age"], table["age"])
    assert table.loc[table["view"] == "LATERAL", "y:position"].isna().all()
    assert [name for name in alone.predictions() if name.startswith("p:")] == ["p:sex", "p:age", "p:view"]


def test_a_run_without_findings_is_scored_over_images_and_chooses_by_its_mean_auc(alone):
    for row in alone.log("ensemble"):
        table = alone.predictions().query(f"split == '{row['split']}'")
        if row["split"] == "test":  # its labels, as CheXpert's, say neither sex nor age
            assert row["auc:sex"] is None is row["mae:age"] and row["auc"] == row["auc:view"]
            continue
        of = {name: auroc(*(table[[f"{kind}:{name}"]].to_numpy(float) for kind in "yp"))[0] for name in ("sex", "view")}
        assert {name: row[f"auc:{name}"] for name in of} == pytest.approx(of)
        assert row["auc"] == pytest.approx(np.mean(list(of.values())))
        assert row["mae:age"] == pytest.approx(np.abs(table["p:age"] - table["age"]).mean())
    assert not any(name.startswith("auc:") and name[4:] in FINDINGS for name in alone.log()[0])
    best = sorted(alone.log(), key=lambda row: row["auc"])[-2:]
    assert alone.provenance["ensemble"] == sorted(row["images"] for row in best)


def test_findings_choose_the_checkpoints_of_a_run_that_learns_them():
    log = [{"images": i, "auc": auc, "auc:sex": 1 - auc} for i, auc in ((1, 0.6), (2, 0.9), (3, 0.7))]
    assert checkpoints.ensemble_members(log, 2) == [2, 3]


def test_a_run_of_ages_alone_chooses_by_its_error():
    log = [{"images": i, "auc": None, "mae:age": error} for i, error in ((1, 9.0), (2, 12.0), (3, 8.0), (4, 11.0))]
    assert checkpoints.ensemble_members(log, 2) == [1, 3]


def test_an_easy_target_is_learned(phantom_folder, store):
    """Lateral images look like no frontal one."""
    spec = replace(SPEC, arch="resnet18", lr=1e-3, epochs=6, eval_every=96, targets={"view": 1, "age": 0.1})
    run = fit(spec, phantom_folder, store, progress=False)
    assert run.log()[-1]["auc:view"] > 0.9 and run.log()[-1]["loss"] < run.log()[0]["loss"]


@pytest.mark.parametrize("policy", ["u-ignore", "u-multiclass", "u-selftrained"])
def test_policies_of_uncertain_findings_and_further_targets_go_together(policy, phantom_folder, store):
    spec = replace(SPEC, policy=policy, targets={"findings": 1, "sex": 0.1})
    run = fit(spec, phantom_folder, store, progress=False)
    table = run.predictions()
    assert np.isfinite(table[["p:sex", *(f"p:{finding}" for finding in FINDINGS)]].to_numpy()).all()


def test_a_run_without_findings_asks_no_teacher():
    assert replace(ALONE, policy="u-selftrained").teacher is None


def test_results_are_of_the_runs_that_learned_findings(alone, auxiliary, store, tmp_path):
    study = tmp_path / "mixed.yaml"
    study.write_text(f"common: {{dataset: phantom, arch: {SPEC.arch}}}\nruns: [{{init: random}}]\n")
    store.plan("mixed", [alone.run_id, auxiliary.run_id])
    results = open_results(study, store.folder, replicates=10)
    assert [run.run_id for run in results.finished] == [auxiliary.run_id] and results.planned == 1
    store.plan("mixed", [alone.run_id])
    with pytest.raises(UserError, match="learned no findings"):
        open_results(study, store.folder)


def test_maps_and_predictions_of_findings_are_refused_where_none_were_learned(alone, phantom_folder, dataset, tmp_path):
    with pytest.raises(UserError, match="learned sex, age, view and no findings"):
        write_cams([phantom_folder / dataset.table["image"].iloc[0]], alone.folder, tmp_path / "maps")
    with pytest.raises(UserError, match="and no findings"):
        predict_with(alone, dataset.pixels, np.arange(2))


def without(folder, phantom_folder, **columns):
    """The phantom, whose training labels have these columns."""
    shutil.copytree(phantom_folder, folder)
    pd.read_csv(folder / "train.csv").assign(**columns).to_csv(folder / "train.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("target", "columns", "how"),
    [
        ("sex", {"Sex": "Unknown"}, "sex is unknown in all 64 training images: leave it out of targets"),
        ("sex", {"Sex": "Female"}, "sex is the same (1: female, not male) in all 64 training images"),
    ],
)
def test_a_target_that_training_images_do_not_tell_is_one_line(target, columns, how, phantom_folder, tmp_path):
    folder = without(tmp_path / "data", phantom_folder, **columns)
    with pytest.raises(UserError) as error:
        fit(replace(SPEC, targets={target: 1}), folder, RunStore(tmp_path / "runs"), progress=False)
    assert how in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("given", [["targets={view: 1, sex: 0.5}"], ["--targets", "sex=0.5", "--targets", "view=1"]])
def test_targets_are_given_on_the_command_line(given, phantom_folder, tmp_path, capsys):
    fields = ["arch=cbr_tiny", "minus=3", "size=32", "epochs=1", "batch_size=16", "eval_every=32", "keep=1"]
    assert main(["train", *fields, *given, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 0
    run = Run(next(tmp_path.glob("phantom32-sex_view-cbr_tiny-*")))
    assert run.finished and run.spec.targets == {"sex": 0.5, "view": 1}


def test_targets_are_an_axis_of_a_study(tmp_path):
    path = tmp_path / "easy.yaml"
    path.write_text("runs: [{arch: resnet18, targets: [{findings: 1}, {findings: 1, sex: 0.1}, {view: 1}]}]\n")
    study = load_study(path)
    assert [spec.targets for spec in study.specs()] == [{"findings": 1}, {"findings": 1, "sex": 0.1}, {"view": 1}]
    assert study.usual["targets.findings"] == 1 and study.usual["targets.sex"] is None
