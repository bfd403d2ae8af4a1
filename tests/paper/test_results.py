"""What a study's results say, from runs that are made up here (no network is trained)."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from chexlib.data.labels import TASKS
from chexlib.errors import UserError
from chexlib.paper import results as module
from chexlib.paper.results import open_results
from chexlib.stats import auroc, bootstrap_auroc, draw_seeds
from tests.made_runs import make_store, predictions, study_file, write_run


@pytest.fixture
def study(tmp_path):
    return study_file(tmp_path)


@pytest.fixture
def store(tmp_path, study):
    return make_store(tmp_path / "runs", study)


def first_run(store, arch="resnet18"):
    return next(run for run in store.planned("made") if run.spec.arch == arch)


def test_every_finished_run_is_a_row(study, store):
    r = open_results(study, store.folder)
    assert list(r.runs.columns) == [
        "run_id",
        "arch",
        "minus",
        "init",
        "seed",
        "label",
        "family",
        "parameters",
        "top1",
        "in_paper",
        "folder",
    ]
    assert len(r.runs) == 8 and r.missing == ()
    row = r.runs[r.runs["minus"] == 1].iloc[0]
    assert tuple(row[["label", "family", "parameters", "in_paper"]]) == ("ResNet18Minus1", "ResNet", 2786382, True)
    assert np.isnan(row["top1"])  # ImageNet's accuracy is the whole network's
    assert r.runs.iloc[0]["top1"] == 69.752
    assert (r.name, r.title, r.dataset, r.is_demo, r.shareable) == ("made", "Made up", "phantom", True, True)


def test_models_are_indexed_by_label_and_init_with_seeds_averaged(study, store):
    r = open_results(study, store.folder)
    assert list(r.models.index) == [
        "ResNet18 · random",
        "ResNet18Minus1 · random",
        "EfficientNetLite0 · random",
        "EfficientNetLite0 · imagenet",
    ]
    assert list(r.models["seeds"]) == [3, 3, 1, 1]
    kept = [r.all_tasks.index(task) for task in r.tasks]
    by_hand = [auroc(r.labels.to_numpy()[:, kept], scores[:, kept]).mean() for scores in r.scores]
    np.testing.assert_allclose(r.models["auc"], [np.mean(by_hand[:3]), np.mean(by_hand[3:6]), *by_hand[6:]])
    assert (r.models["low"] < r.models["auc"]).all() and (r.models["auc"] < r.models["high"]).all()
    assert r.replicates.shape == (1000, 4)
    np.testing.assert_allclose(r.replicates.mean(axis=0), r.models["auc"], atol=0.01)
    assert {f"auc:{task}" for task in TASKS} <= set(r.models.columns)


def test_test_studies_are_scored_by_their_highest_image(study, store):
    r = open_results(study, store.folder)
    table = first_run(store).predictions().query("split == 'test'")
    assert r.n_studies == table["study"].nunique() == 190
    assert r.n_patients == table["patient"].nunique()
    highest = table.groupby("study")["p:Edema"].max().to_numpy()
    np.testing.assert_allclose(r.scores[0, :, r.all_tasks.index("Edema")], highest)
    assert r.labels["Edema"].isna().sum() == 2


def test_test_studies_are_scored_by_the_mean_where_the_spec_says_so(study, tmp_path):
    study.write_text(study.read_text().replace("dataset:", "aggregate: mean\n  dataset:"))
    store = make_store(tmp_path / "means", study)
    r = open_results(study, store.folder)
    means = first_run(store).predictions().query("split == 'test'").groupby("study")["p:Edema"].mean().to_numpy()
    np.testing.assert_allclose(r.scores[0, :, r.all_tasks.index("Edema")], means, rtol=1e-6)
    assert r.labels["Edema"].isin([0, 1]).sum() == 188 and r.labels["Edema"].isna().sum() == 2


def test_the_bootstrap_draws_patients_and_averages_seeds(study, store):
    r = open_results(study, store.folder)
    kept = [r.all_tasks.index(task) for task in r.tasks]
    assert r.n_patients < r.n_studies  # some patients have several studies
    expected = bootstrap_auroc(r.labels.to_numpy(), r.scores, groups=r.patients).select(kept).mean_replicates
    np.testing.assert_allclose(r.replicates[:, 0], expected[:, :3].mean(axis=1))
    np.testing.assert_allclose(r.replicates[:, 3], expected[:, 7])
    np.testing.assert_allclose(r.models["low"], np.quantile(r.replicates, 0.025, axis=0))


def test_rare_tasks_are_kept_out_of_the_mean_and_listed(study, store):
    r = open_results(study, store.folder)
    assert r.tasks == tuple(task for task in TASKS if task != "Consolidation")
    assert r.rare.to_dict("index") == {"Consolidation": {"positives": 4, "negatives": 186}}
    assert r.models["auc:Consolidation"].notna().all()  # shown apart
    np.testing.assert_allclose(r.models["auc"], r.models[[f"auc:{task}" for task in r.tasks]].mean(axis=1))
    apart = r.by_task.query("rare")
    assert list(apart["task"]) == ["Consolidation"] * 4
    assert (apart["low"] < apart["auc"]).all() and (apart["auc"] < apart["high"]).all()


def test_where_every_task_is_rare_the_mean_is_over_all_and_the_caption_says_so(study, store, monkeypatch):
    monkeypatch.setattr(module, "RARE", 1000)
    r = open_results(study, store.folder)
    assert r.tasks == TASKS and len(r.rare) == 6
    assert "every task is rare" in r.caption
    assert r.models["auc"].notna().all()


def test_difference_is_paired(study, store):
    r = open_results(study, store.folder)
    d = r.difference("EfficientNetLite0 · imagenet", "EfficientNetLite0 · random")
    a, b = r.models.loc[["EfficientNetLite0 · imagenet", "EfficientNetLite0 · random"], "auc"]
    assert d.value == pytest.approx(a - b)
    assert d.low < d.value < d.high and d.p < 0.05  # the made-up networks differ much
    itself = r.difference("ResNet18 · random", "ResNet18 · random")
    assert (itself.value, itself.low, itself.high, itself.p) == (0, 0, 0, 1)
    both = r.difference(["ResNet18 · random", "ResNet18Minus1 · random"], "EfficientNetLite0 · random")
    assert both.value == pytest.approx(r.models["auc"].iloc[:2].mean() - r.models["auc"].iloc[2])
    with pytest.raises(ValueError, match="'ResNet19' is not in study made: choose from ResNet18 · random"):
        r.difference("ResNet19", "ResNet18 · random")


def test_seed_spread_is_of_models_with_several_seeds(study, store):
    r = open_results(study, store.folder)
    assert list(r.seed_spread.index) == ["ResNet18 · random", "ResNet18Minus1 · random"]
    row = r.seed_spread.iloc[0]
    assert row["min"] < r.models["auc"].iloc[0] < row["max"]
    assert row["seeds"] == 3 and 0 < row["sd"] < row["max"] - row["min"]


def test_every_seed_of_a_model_with_several_is_a_row(study, store):
    r = open_results(study, store.folder)
    assert list(r.by_seed["seed"]) == [0, 1, 2] * 2 and set(r.by_seed["model"]) == set(r.seed_spread.index)
    groups = r.by_seed.groupby("model", sort=False)["auc"]
    np.testing.assert_allclose(groups.mean(), r.models["auc"].iloc[:2])
    np.testing.assert_allclose(groups.max(), r.seed_spread["max"])


def test_models_with_several_seeds_have_a_wider_interval_and_others_none(study, store):
    models = open_results(study, store.folder).models
    several, once = models.iloc[:2], models.iloc[2:]
    assert (several["low_seeds"] < several["low"]).all() and (several["high"] < several["high_seeds"]).all()
    assert once[["low_seeds", "high_seeds"]].isna().all(axis=None) and once[["low", "high"]].notna().all(axis=None)


def test_the_wider_interval_of_a_difference_draws_the_seeds_of_both(study, store):
    r = open_results(study, store.folder)
    d = r.difference("ResNet18 · random", "ResNet18Minus1 · random")
    values = [r.by_seed.loc[r.by_seed["model"] == model, "auc"] for model in r.seed_spread.index]
    shifts = draw_seeds(values).shifts([1, -1])  # (R, 2)
    replicates = r.replicates[:, 0] + shifts[:, 0] - r.replicates[:, 1] - shifts[:, 1]
    assert (d.low_seeds, d.high_seeds) == pytest.approx(np.quantile(replicates, [0.025, 0.975]))
    assert d.low_seeds < d.low and d.high < d.high_seeds


def test_a_difference_from_a_model_with_one_seed_has_no_wider_interval(study, store):
    r = open_results(study, store.folder)
    d = r.difference("ResNet18 · random", "EfficientNetLite0 · random")
    assert np.isnan([d.low_seeds, d.high_seeds]).all() and d.low < d.high
    itself = r.difference("ResNet18 · random", "ResNet18 · random")
    assert (itself.low_seeds, itself.high_seeds) == (0, 0)


def test_where_seeds_agree_the_two_intervals_do(study, tmp_path):
    store = make_store(tmp_path / "alike", study, lambda spec: predictions(replace(spec, seed=0)))
    r = open_results(study, store.folder)
    np.testing.assert_allclose(r.models["low_seeds"].iloc[:2], r.models["low"].iloc[:2])
    d = r.difference("ResNet18 · random", "ResNet18Minus1 · random")
    assert (d.low_seeds, d.high_seeds) == pytest.approx((d.low, d.high))


def test_logs(study, store):
    r = open_results(study, store.folder)
    assert list(r.log(r.runs["run_id"][0])["images"]) == [100, 200]
    with pytest.raises(ValueError, match="run 'nope' is not in study made"):
        r.log("nope")


def test_the_caption_says_phantom_and_how_much_is_there(study, store):
    assert open_results(study, store.folder).caption == "Study made on phantom images (not patients), 8 runs"
    gone = first_run(store)
    (gone.folder / "done.json").unlink()
    r = open_results(study, store.folder)
    assert r.caption.endswith("7 of 8 runs") and r.missing == (gone.run_id,)
    assert r.models["seeds"].iloc[0] == 2


def test_published_runs_are_found_by_the_word_results(study, store, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    store.folder.rename(tmp_path / "results" / "made")
    assert len(open_results(study, "results").runs) == 8
    with pytest.raises(UserError, match="no finished runs in runs/"):
        open_results(study)


def test_no_finished_runs_says_what_to_run(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        open_results(study, tmp_path / "runs")
    assert str(error.value) == 'study made has no finished runs in runs/: run "chexlib study run made" first'


def test_runs_tested_on_other_images_are_refused(study, store):
    write_run(store, first_run(store).spec, change=lambda table: table.iloc[:-1])
    with pytest.raises(UserError, match="was tested on other images than"):
        _ = open_results(study, store.folder).models


def test_runs_tested_on_other_labels_are_refused(study, store):
    write_run(store, first_run(store).spec, change=lambda table: table.assign(**{"y:Edema": 1 - table["y:Edema"]}))
    with pytest.raises(UserError, match="was tested on other labels than"):
        _ = open_results(study, store.folder).models


def test_the_order_of_images_does_not_matter(study, store):
    before = open_results(study, store.folder).models["auc"]
    write_run(store, first_run(store).spec, change=lambda table: table.sample(frac=1, random_state=0))
    pd.testing.assert_series_equal(open_results(study, store.folder).models["auc"], before)


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(study, store):
    other = replace(first_run(store).spec, lr=0.5)
    write_run(store, other)
    store.plan("made", [run.spec for run in store.planned("made")] + [other])
    with pytest.raises(UserError, match=r"are both ResNet18 · random but differ in lr"):
        _ = open_results(study, store.folder).models


@pytest.mark.parametrize(("change", "says"), [
    (lambda table: table.assign(**{"p:Edema": np.nan}), "predictions of Edema are NaN"),
    (lambda table: table.drop(columns="p:Edema"), "lacks the columns p:Edema"),
    (lambda table: table[table["split"] == "val"], "no row has split test"),
])  # fmt: skip
def test_broken_predictions_are_named(study, store, change, says):
    run = write_run(store, first_run(store).spec, change=change)
    with pytest.raises(UserError, match=says) as error:
        _ = open_results(study, store.folder).models
    assert str(run.folder) in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_file_is_named(study, store):
    path = first_run(store).folder / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"predictions\.parquet: not readable"):
        _ = open_results(study, store.folder).models


def test_opening_results_brings_no_torch():
    code = "import sys, chexlib.paper.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
