"""What a study's results say, from runs that are made up here (no network is trained)."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from chexlib.data.labels import TASKS
from chexlib.errors import UserError
from chexlib.results import open_results
from chexlib.results import results as module
from chexlib.stats import auroc, bca_interval, bootstrap_auroc, resample_counts
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
    assert len(r.runs) == 8 and r.planned == 8
    row = r.runs[r.runs["minus"] == 1].iloc[0]
    assert tuple(row[["label", "family", "parameters", "in_paper"]]) == ("ResNet18Minus1", "ResNet", 2786382, True)
    assert np.isnan(row["top1"])  # ImageNet's accuracy is the whole network's
    assert r.runs.iloc[0]["top1"] == 69.752
    assert (r.name, r.dataset, r.shareable, r.withheld) == ("made", "phantom", True, False)


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
    assert list(r.task_auc.columns) == list(TASKS) and list(r.task_auc.index) == list(r.models.index)


def test_a_truncated_network_with_a_norm_is_a_network_of_its_own(study, store):
    cut = next(run.spec for run in store.planned("made") if run.spec.minus == 1)
    other = write_run(store, replace(cut, norm=True))
    store.plan("made", [*(run.run_id for run in store.planned("made")), other.run_id])
    r = open_results(study, store.folder)
    models = r.models.set_index("label")[["parameters", "norm", "seeds"]]
    assert tuple(models.loc["ResNet18Minus1"]) == (2_786_382, False, 3)
    assert tuple(models.loc["ResNet18Minus1+norm"]) == (2_786_894, True, 1)  # 256 channels


def test_what_thresholds_are_chosen_on_is_validations(study, store):
    r, table = open_results(study, store.folder), first_run(store).predictions().query("split == 'val'")
    labels, scores = r.validation[0]
    studies = table.groupby("study", sort=True)
    assert len(r.validation) == 8 and len(labels) == table["study"].nunique() < r.n_studies
    np.testing.assert_array_equal(labels, studies[[f"y:{task}" for task in TASKS]].max())
    np.testing.assert_array_equal(scores, studies[[f"p:{task}" for task in TASKS]].max())


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
    np.testing.assert_allclose(r.patient_replicates.iloc[:, 0], expected[:, :3].mean(axis=1))
    np.testing.assert_allclose(r.patient_replicates.iloc[:, 3], expected[:, 7])
    np.testing.assert_allclose(r.models["low"], np.quantile(r.replicates, 0.025, axis=0))


def test_rare_tasks_are_kept_out_of_the_mean_and_listed(study, store):
    r = open_results(study, store.folder)
    assert r.tasks == tuple(task for task in TASKS if task != "Consolidation")
    assert r.rare.to_dict("index") == {"Consolidation": {"positives": 4, "negatives": 186}}
    assert r.task_auc["Consolidation"].notna().all()  # shown apart
    np.testing.assert_allclose(r.models["auc"], r.task_auc[list(r.tasks)].mean(axis=1))


@pytest.mark.parametrize(("least", "rare"), [(4, 0), (5, 1)])
def test_a_task_is_rare_below_the_limit_and_not_at_it(study, store, monkeypatch, least, rare):
    monkeypatch.setattr(module, "FEW", least)
    assert len(open_results(study, store.folder).rare) == rare  # Consolidation has four positive studies


def test_where_every_task_is_rare_the_mean_is_over_all_and_the_caption_says_so(study, store, monkeypatch):
    monkeypatch.setattr(module, "FEW", 1000)
    r = open_results(study, store.folder)
    assert r.tasks == TASKS and len(r.rare) == 6
    assert "every task is rare" in r.caption
    assert r.models["auc"].notna().all() and "6 tasks" in r.few()
    assert (r.models["low"] < r.models["auc"]).all() and (r.models["auc"] < r.models["high"]).all()


def test_tasks_that_are_asked_for_are_the_mean_even_where_rare(study, store):
    whole = open_results(study, store.folder)
    for tasks in (["Consolidation"], ["Edema", "No Finding"]):
        r = open_results(study, store.folder, tasks)
        np.testing.assert_allclose(r.models["auc"], whole.task_auc[tasks].mean(axis=1))
        assert r.tasks == tuple(tasks)
    with pytest.raises(UserError, match="tasks: Oedema is none of study made's: did you mean 'Edema'"):
        open_results(study, store.folder, ["Oedema"])


def test_a_rare_task_has_bca_intervals_over_patients_and_seeds_and_no_verdict(study, store):
    r = open_results(study, store.folder, ["Consolidation"])
    a, b = "EfficientNetLite0 · imagenet", "ResNet18Minus1 · random"
    apart = r.models["auc"][a] - r.models["auc"][b], r.replicates[a] - r.replicates[b]
    found, table = r.estimate(*apart), r.intervals(r.models["auc"], r.replicates)
    assert found and found.verdict == "missing" and set(table["verdict"]) == {"missing"}
    assert "positive" in found.few and "Consolidation" in found.few and found.few in r.summary.to_string()
    assert found.over == r.over == "patients and seeds"
    counts = resample_counts(r.n_studies, r.patients)[:, np.unique(r.patients, return_index=True)[1]]  # (R, patients)
    np.testing.assert_allclose((found.low, found.high), bca_interval(*apart, counts))
    ends = np.array(bca_interval(r.models["auc"], r.replicates, counts))
    assert ends.max() > 1  # a seed of so few studies can carry further than an AUC goes
    np.testing.assert_allclose(r.models[["low", "high"]].T, ends.clip(0, 1))


def test_only_numbers_of_a_rare_task_lack_a_verdict(study, store):
    r = open_results(study, store.folder)
    one, t = r.models.index[0], r.all_tasks.index("Consolidation")
    assert r.few() == r.few(["Edema"]) == "" != r.few(["Edema", "Consolidation"])
    assert not r.estimate(r.models["auc"][one], r.replicates[one]).few
    rare = r.estimate(r.task_auc.loc[one, "Consolidation"], r.task_replicates[:, 0, t], ["Consolidation"])
    assert rare.verdict == "missing" and rare.low < rare.value < rare.high


def test_the_rarer_class_is_named(study, tmp_path):
    def turned(spec):
        table = predictions(spec)
        return table.assign(**{"y:Consolidation": 1 - table["y:Consolidation"]})

    r = open_results(study, make_store(tmp_path / "turned", study, turned).folder)
    assert "negative test" in r.few(["Consolidation"])


def test_margin_replicates_and_seed_reach_the_estimates(study, store):
    r = open_results(study, store.folder, margin=0.5, replicates=50, seed=7)
    assert r.replicates.shape == (50, 4)
    a, b = list(r.models.index[:2])
    apart = r.estimate(r.models["auc"][a] - r.models["auc"][b], r.replicates[a] - r.replicates[b])
    assert apart.verdict == "same" and apart.over == r.over
    assert not np.allclose(r.replicates, open_results(study, store.folder, replicates=50).replicates)
    again = open_results(study, store.folder, replicates=50, seed=7)
    np.testing.assert_array_equal(r.replicates, again.replicates)


def test_differences_are_paired(study, store):
    r = open_results(study, store.folder)
    a, b = "EfficientNetLite0 · imagenet", "EfficientNetLite0 · random"
    apart = r.patient_replicates[a] - r.patient_replicates[b]
    assert apart.std() < np.hypot(r.patient_replicates[a].std(), r.patient_replicates[b].std())
    table = r.intervals(r.models["auc"] - r.models["auc"][b], r.replicates.sub(r.replicates[b], axis=0))
    assert tuple(table.loc[b, ["value", "low", "high"]]) == (0, 0, 0) and table.loc[b, "verdict"] == "same"
    assert table.loc[a, "verdict"] == "higher"  # the made-up networks differ much


def test_seeds_are_drawn_for_networks_with_one_seed_too(study, store):
    r = open_results(study, store.folder)
    assert r.over == "patients and seeds"
    wider = r.replicates.std() > r.patient_replicates.std()
    assert wider.all()
    extra = r.replicates.var() - r.patient_replicates.var()
    assert extra.iloc[2] == pytest.approx(3 * extra.iloc[0], rel=0.5)  # one seed varies three times as much as three


def test_where_every_network_has_one_seed_patients_alone_are_drawn(study, tmp_path):
    plan = yaml.safe_load(study.read_text())
    plan["runs"][0]["seed"] = 0
    study.write_text(yaml.safe_dump(plan))
    r = open_results(study, make_store(tmp_path / "once", study).folder)
    assert r.over == "patients" and set(r.models["seeds"]) == {1}
    pd.testing.assert_frame_equal(r.replicates, r.patient_replicates)


def test_where_seeds_agree_they_add_nothing(study, tmp_path):
    store = make_store(tmp_path / "alike", study, lambda spec: predictions(replace(spec, seed=0)))
    r = open_results(study, store.folder)
    np.testing.assert_allclose(r.replicates, r.patient_replicates, atol=1e-12)


def test_each_init_has_the_seeds_spread_of_its_own_networks(study, tmp_path):
    """Here seeds change what is trained from random weights, and nothing of what is pretrained."""
    runs = [{"arch": "efficientnet_lite0", "init": ["imagenet", "random"], "seed": [0, 1, 2]}]
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | {"runs": runs}))
    store = make_store(
        tmp_path / "both", study, lambda spec: predictions(replace(spec, seed=spec.seed * (spec.init == "random")))
    )
    results = [open_results(study, store.folder, seed=seed) for seed in (0, 1)]
    shifts = [r.replicates - r.patient_replicates for r in results]
    for shift in shifts:
        np.testing.assert_allclose(shift["EfficientNetLite0 · imagenet"], 0, atol=1e-12)
        assert shift["EfficientNetLite0 · random"].std() > 0.001
    assert not np.allclose(*(shift["EfficientNetLite0 · random"] for shift in shifts))  # drawn by the seed


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
    assert r.caption.endswith("7 of 8 runs")
    assert r.models["seeds"].iloc[0] == 2


def test_published_runs_are_found_by_the_word_results(study, store, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    store.folder.rename(tmp_path / "results" / "made")
    assert len(open_results(study, "results").runs) == 8
    with pytest.raises(UserError, match="no finished runs in runs/"):
        open_results(study, "")


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


RECIPES = {
    "common": {"size": 96, "lr": 0.001},
    "runs": [
        {"arch": "efficientnet_lite0", "init": ["random", "imagenet"], "lr": [0.001, 0.01], "seed": [0, 1]},
        {"arch": "resnet18", "minus": 1, "lr": 0.01},
        {"arch": "resnet18", "epochs": 5},
    ],
}


def varied(folder, content=RECIPES, table=None):
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(content))
    return path, make_store(folder / "varied", path, table)


def test_names_say_in_what_a_network_departs_from_what_is_common_and_columns_hold_all_of_it(tmp_path):
    study, store = varied(tmp_path)
    models = open_results(study, store.folder).models
    lite = ["EfficientNetLite0", "EfficientNetLite0, lr 0.01"]
    labels = [*lite, *lite, "ResNet18Minus1, lr 0.01", "ResNet18"]
    assert list(models["label"]) == labels and "epochs" not in models  # which tells no two networks apart
    assert list(models.index) == [f"{label} · {init}" for label, init in zip(labels, models["init"], strict=True)]
    assert list(models["lr"]) == [0.001, 0.01, 0.001, 0.01, 0.01, 0.001] and list(models["seeds"]) == [2] * 4 + [1] * 2
    assert list(models["variant"]) == ["", "lr 0.01", "", "lr 0.01", "lr 0.01", ""]
    assert list(models["in_paper"]) == [False] * 5 + [True]  # a variant does not count as the paper's


def test_names_do_not_hang_on_what_is_finished(tmp_path):
    study, store = varied(tmp_path)
    for run in store.planned("made"):
        if run.spec.lr == 0.001:
            (run.folder / "done.json").unlink()
    assert set(open_results(study, store.folder).models["variant"]) == {"lr 0.01"}


def test_what_goes_with_a_field_that_is_said_is_not_said_too(tmp_path):
    few = {"options": {"n": 200}, "epochs": 9}
    study, store = varied(tmp_path, {"runs": [{"arch": "resnet18", "size": 96, **one} for one in ({}, few)]})
    models = open_results(study, store.folder).models
    assert list(models["label"]) == ["ResNet18", "ResNet18, options.n 200"] and "epochs" not in models
    assert list(models["options.n"].fillna(0)) == [0, 200]


def test_seeds_are_averaged_within_a_variant_and_its_spread_is_its_own(tmp_path):
    """Here seeds change what is trained at the higher rate alone."""
    study, store = varied(
        tmp_path, table=lambda spec: predictions(replace(spec, seed=5 + spec.seed if spec.lr == 0.01 else 0))
    )
    r = open_results(study, store.folder)
    steady, unsteady = "EfficientNetLite0 · random", "EfficientNetLite0, lr 0.01 · random"
    np.testing.assert_allclose(r.models["auc"], r.runs.groupby("model")["auc"].mean()[r.models.index])
    shift = r.replicates - r.patient_replicates
    np.testing.assert_allclose(shift[steady], 0, atol=1e-12)
    assert shift[unsteady].std() > 0.001 and r.spreads[unsteady] is r.spreads["ResNet18Minus1, lr 0.01 · random"]


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(study, store):
    other = replace(first_run(store).spec, lr=0.5)
    write_run(store, other)
    store.plan("made", [run.run_id for run in store.planned("made")] + [other.run_id])
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
    with pytest.raises(UserError, match=r"predictions\.parquet: not what was written"):
        _ = open_results(study, store.folder).models


def test_opening_results_brings_no_torch():
    code = "import sys, chexlib.results; from chexlib.study import load_study; load_study('transfusion'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
