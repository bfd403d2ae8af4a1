"""What an export holds and what it keeps back, from runs that are made up here."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from chexlib.cli import main
from chexlib.data.hashes import HASHED
from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.results import export, held_out, open_results
from chexlib.results.export import FILES, export_study
from chexlib.results.held_out import HeldOut
from chexlib.runs.manifest import find_hashes, manifest_file, write_hashes
from chexlib.runs.store import Run, RunStore
from chexlib.stats import auroc, bca_interval, resample_counts
from chexlib.study import load_study
from tests.made_runs import make_store, predictions, study_file, write_run
from tests.searching import names_a_patient


@pytest.fixture
def study(tmp_path):
    """Eight runs on a data set whose terms keep everything back."""
    return study_file(tmp_path, "chexpert")


@pytest.fixture
def store(tmp_path, study):
    return make_store(tmp_path / "runs", study)


def exported(study, store, name="out"):
    return RunStore(export_study(load_study(study), study.parent / name, store, progress=False))


def test_shareable_runs_are_copied_byte_for_byte(tmp_path):
    study = study_file(tmp_path, "nih")
    store = make_store(tmp_path / "runs", study)
    out = exported(study, store)
    assert sorted(path.name for path in out.folder.glob("*")) == sorted(path.name for path in store.folder.glob("*"))
    for run in store.planned("made"):
        for name in FILES:
            assert (out.folder / run.run_id / name).read_bytes() == (run.folder / name).read_bytes()
        copy = Run(out.folder / run.run_id)
        assert {path.name for path in copy.folder.iterdir()} == {*FILES, "done.json"}
        assert (copy.hashes, copy.damaged()) == (run.hashes, [])
    assert (out.folder / "made.study.json").read_bytes() == (store.folder / "made.study.json").read_bytes()


def test_no_id_and_no_label_of_a_set_that_may_not_be_shared_is_in_its_export(study, store):
    out = exported(study, store)
    assert names_a_patient(store.folder)  # what is looked for can be found
    assert names_a_patient(out.folder) == []
    assert len(out.planned("made")) == 8
    for run in out.planned("made"):
        table = run.predictions()
        assert list(table) == ["split", "image", "study", "patient"]  # no score: see test_closed_sets.py
        assert table["split"].value_counts().to_dict() == predictions(run.spec)["split"].value_counts().to_dict()
        assert {path.name for path in run.folder.iterdir()} == {*FILES, "done.json"} and run.damaged() == []
        kept_back = Run(store.folder / run.run_id).hashes["predictions.parquet"]
        assert kept_back not in (run.folder / "done.json").read_text()  # it would tell whoever guesses the labels


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_run_is_neither_shown_nor_exported_nor_verified(study, store, capsys, cut):
    status = ["study", "status", str(study), "--verify", "--runs", str(store.folder)]
    assert main(status) == 0
    assert "8 finished runs are as they were written" in capsys.readouterr().out
    path = store.planned("made")[5].folder / "predictions.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content[:-9] if cut else content)
    for command in (status, ["study", "export", *status[2:3], *status[4:], "--out", str(study.parent / "out")]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert str(path) in said and said.count("\n") == 1
    for work in (lambda: exported(study, store), lambda: open_results(study, store.folder).models):
        with pytest.raises(UserError, match="not what was written"):
            work()


def test_a_flipped_bit_of_published_replicates_is_refused(study, store, capsys):
    out = exported(study, store)
    path = held_out.replicates_file(out.folder, "made")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not what was written"):
        _ = open_results(study, out.folder).models
    assert main(["study", "status", str(study), "--verify", "--runs", str(out.folder)]) == 2
    assert str(path) in capsys.readouterr().err


def test_hashed_rows_still_pair_between_runs_and_belong_to_their_patients(study, store):
    before = [run.predictions() for run in store.planned("made")[:2]]
    after = [run.predictions() for run in exported(study, store).planned("made")[:2]]
    assert after[0].equals(after[1]) and after[0]["image"].is_unique
    for name in ("study", "patient"):
        sizes = [sorted(table.groupby(name).size()) for table in (before[0], after[0])]
        assert sizes[0] == sizes[1]


def test_hashes_are_no_function_of_the_id_and_give_the_order_of_rows(study, store):
    first, second = (exported(study, store, name).planned("made")[0].predictions() for name in ("one", "two"))
    for table in (first, second):
        assert table["image"].str.fullmatch("[0-9a-f]{16}").all() and table["image"].is_monotonic_increasing
    for name in ("image", "study", "patient"):
        assert not set(first[name]) & set(second[name])  # another export, another key


@pytest.mark.parametrize("rates", [[0.0001], [0.0001, 0.01]])
def test_results_of_an_export_are_those_of_the_runs(study, tmp_path, rates):
    study.write_text(study.read_text().replace("  seed:", f"  lr: {rates}\n  seed:"))
    store = make_store(tmp_path / "runs", study)
    ours, theirs = open_results(study, store.folder), open_results(study, exported(study, store).folder)
    assert theirs.withheld and not ours.withheld
    for name in ("models", "task_auc", "replicates", "rare"):
        pd.testing.assert_frame_equal(getattr(theirs, name), getattr(ours, name))
    assert list(theirs.rare.index) == ["Consolidation"]
    assert (theirs.n_studies, theirs.n_patients, theirs.caption) == (190, 150, ours.caption)
    for name in ("labels", "scores", "patients"):
        with pytest.raises(UserError, match="terms keep labels or ids back"):
            getattr(theirs, name)


def test_a_rare_task_of_an_export_has_an_interval_and_no_verdict(study, store):
    ours = open_results(study, store.folder, ["Consolidation"])
    theirs = open_results(study, exported(study, store).folder, ["Consolidation"])
    assert theirs.withheld and theirs.few() == ours.few() != ""
    ends = ["low", "high"]  # the acceleration cannot be known there: the bias alone is corrected
    corrected = np.transpose(bca_interval(ours.models["auc"], ours.replicates, None))
    np.testing.assert_allclose(theirs.models[ends], corrected.clip(0, 1), atol=1e-5)


def influence(replicates, counts):
    """How much each drawn row moves the replicates (R, runs), by ridge regression on its counts (R, N): (N,)."""
    x, y = counts - 1.0, replicates - replicates.mean(axis=0)
    return np.abs(x.T @ np.linalg.solve(x @ x.T + 50 * np.eye(len(x)), y)).mean(axis=1)


def test_replicates_do_not_tell_who_is_positive():
    """Whoever knows the draws can regress replicates on them, and rare positives stand out: so nobody knows them."""
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 1)) < 0.1).astype(float)
    scores = labels + rng.normal(size=(20, 300, 1))
    patients = np.array([f"patient{64741 + i}" for i in range(300)])
    told = []
    for closed in (False, True):
        replicates = HeldOut(("Edema",), labels, scores, patients, closed).bootstrap(300).replicates[:, :, 0]
        told.append(auroc(labels[:, 0], influence(replicates, resample_counts(300, patients, 300, seed=0))))
    known, unknown = told
    assert known > 0.85 and 0.35 < unknown < 0.65


def test_only_sets_that_keep_something_back_have_draws_of_their_own(study, store, monkeypatch):
    ours = open_results(study, store.folder).replicates
    again = open_results(study, store.folder).replicates
    monkeypatch.setitem(SOURCES, "chexpert", replace(SOURCES["chexpert"], shareable=True))
    public = open_results(study, store.folder).replicates
    assert ours.equals(again) and np.isclose(ours, public).mean() < 0.01


@pytest.mark.parametrize("at", ["a run", "the replicates", "the plan"])
def test_an_export_that_was_cut_short_looks_unfinished_and_can_be_repeated(study, store, monkeypatch, at):
    whole = exported(study, store)
    place, name, fatal = {
        "a run": (Run, "write", lambda run, name, content: name == "predictions.parquet"),
        "the replicates": (export, "publish_replicates", lambda *_: True),
        "the plan": (RunStore, "plan", lambda store, study, specs, *files: specs),
    }[at]
    whole_work = getattr(place, name)

    def killed(*arguments):
        if fatal(*arguments):
            raise KeyboardInterrupt
        return whole_work(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(place, name, killed)
        with pytest.raises(KeyboardInterrupt):
            exported(study, store)
    with pytest.raises(UserError, match="no finished runs"):
        open_results(study, whole.folder)
    if at == "a run":
        assert sum((path / "done.json").exists() for path in whole.folder.iterdir() if path.is_dir()) == 7
    (whole.folder / store.planned("made")[0].run_id / ".spec.json.123").touch()  # as a process that is killed leaves it
    (whole.folder / ".made.replicates.parquet.123").touch()
    (whole.folder / ".cafe.hashes.parquet.123").touch()
    assert len(open_results(study, exported(study, store).folder).models) == 4
    assert not list(whole.folder.rglob(".*"))


def manifest() -> pd.DataFrame:
    """Two images of each of 50 patients, with hashes."""
    rows = [(split, f"patient{64741 + i}/view{k}.jpg", f"patient{64741 + i}", f"{2 * i + k + 1:0144x}")
            for i, split in enumerate(["train"] * 30 + ["val"] * 10 + ["test"] * 10) for k in (0, 1)]  # fmt: skip
    return pd.DataFrame(rows, columns=list(HASHED))


@pytest.mark.parametrize("dataset", ["nih", "chexpert"])
def test_the_manifest_is_published_and_of_a_closed_set_without_hashes_or_ids(tmp_path, dataset):
    study = study_file(tmp_path, dataset)
    store = make_store(tmp_path / "runs", study)
    write_hashes(manifest_file(store.folder, "cafe"), manifest())
    out = exported(study, store)
    table = pd.read_parquet(manifest_file(out.folder, "cafe"))
    assert table["split"].value_counts().to_dict() == {"train": 60, "val": 20, "test": 20}
    assert table["patient"].nunique() == 50
    if dataset == "nih":
        assert table.equals(manifest()) and len(find_hashes(out.folder)) == 100
    else:
        assert (table["hash"] == "").all() and names_a_patient(out.folder) == []
        with pytest.raises(UserError, match="terms keep them back"):
            find_hashes(out.folder)


def test_a_run_store_is_not_exported_onto_itself(study, store):
    with pytest.raises(UserError, match="is the run store itself: export to another folder"):
        exported(study, store, "runs")
    assert "y:Edema" in store.planned("made")[0].predictions()


def test_no_run_of_an_older_export_stays_behind(study, store):
    out = exported(study, store)
    left, *kept = [run.run_id for run in store.planned("made")]
    store.plan("made", kept)
    with pytest.raises(UserError, match=f"{left}: left by an older export"):
        exported(study, store)
    assert len(open_results(study, out.folder).runs) == 8  # nothing was touched
    out.plan("another", [left])
    assert len(open_results(study, exported(study, store).folder).runs) == 7


def test_a_study_without_finished_runs_is_not_exported(study, tmp_path):
    with pytest.raises(UserError, match="study made has no finished runs"):
        exported(study, RunStore(tmp_path / "none"))
    assert not (tmp_path / "out").exists()


def test_places_on_this_machine_are_not_exported(study, store):
    run = store.planned("made")[0]
    spec = replace(run.spec, init="file:/home/me/own.safetensors", weights="ab", options={"csv": "/home/me/l.csv"})
    write_run(store, spec)
    store.plan("made", [spec.run_id])
    [published_run] = exported(study, store).planned("made")
    assert published_run.spec == replace(spec, init="file:own.safetensors", options={"csv": "l.csv"})
    assert published_run.run_id == published_run.spec.run_id
    files = [path for path in published_run.folder.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if re.search("home.me", str(path)) or b"/home/me" in path.read_bytes()]


def test_replicates_of_a_hundred_runs_stay_below_two_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 6)) < 0.2).astype(float)
    tested = HeldOut(tuple("abcdef"), labels, labels + rng.normal(size=(100, 300, 6)), np.arange(300))
    held_out.publish_replicates(tmp_path, "big", [f"run{i}" for i in range(100)], tested)
    assert held_out.replicates_file(tmp_path, "big").stat().st_size < 2e6


@pytest.mark.parametrize(("damage", "says"), [
    (lambda path: path.write_bytes(path.read_bytes()[:999]), "not readable as a study's replicates"),
    (lambda path: pd.read_parquet(path).to_parquet(path), "not readable as a study's replicates"),
])  # fmt: skip
def test_a_broken_file_of_replicates_is_named(study, store, damage, says):
    out = exported(study, store)
    damage(held_out.replicates_file(out.folder, "made"))
    out.plan("made", [run.run_id for run in out.planned("made")])  # as older code wrote it, without a hash
    with pytest.raises(UserError, match=says) as error:
        _ = open_results(study, out.folder).models
    assert "made.replicates.parquet" in str(error.value) and "\n" not in str(error.value)


def test_a_run_or_a_task_that_was_not_exported_is_named(study, store):
    out = exported(study, store)
    late = write_run(out, replace(out.planned("made")[0].spec, seed=7))
    out.plan("made", [run.run_id for run in out.planned("made")] + [late.run_id])
    with pytest.raises(UserError, match=f"lacks {late.run_id}: export the study again"):
        _ = open_results(study, out.folder).models
    study.write_text("tasks: [Edema, Fracture]\n" + study.read_text())
    with pytest.raises(UserError, match=f"lacks {late.run_id}, Fracture"):
        _ = open_results(study, out.folder).models


def test_some_of_the_exported_tasks_and_runs_can_be_read(study, store):
    out = exported(study, store)
    whole = open_results(study, out.folder)
    out.plan("made", [run.run_id for run in out.planned("made")[::-1][:2]])
    study.write_text("tasks: [No Finding, Edema]\n" + study.read_text())
    part = open_results(study, out.folder)
    assert part.tasks == ("No Finding", "Edema") and len(part.models) == 2
    pd.testing.assert_frame_equal(part.task_auc, whole.task_auc.loc[part.task_auc.index, list(part.tasks)])


def test_an_export_can_be_exported_again(study, store):
    first = exported(study, store)
    second = exported(study, first, "again")
    pd.testing.assert_frame_equal(*(open_results(study, out.folder).models for out in (first, second)))
