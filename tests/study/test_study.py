"""Studies: axes to runs, refusals, running them."""

import builtins
import contextlib
import errno
import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from chexlib.cli import main
from chexlib.data.dataset import open_for
from chexlib.errors import UserError
from chexlib.models.zoo import ARCHITECTURES
from chexlib.results import open_results
from chexlib.runs.store import RunStore
from chexlib.study import launch, load_study, study_names
from chexlib.study.launch import run_study
from chexlib.study.study import resolve_study


def study_file(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_an_entry_is_the_product_of_its_lists(tmp_path):
    path = study_file(
        tmp_path,
        "common: {size: 64}\nruns:\n  - {arch: [resnet18, resnet34], seed: [0, 1, 2]}\n  - {arch: resnet18, seed: 0}\n",
    )
    specs = load_study(path).specs()
    assert [(spec.arch, spec.seed) for spec in specs] == [(a, s) for a in ("resnet18", "resnet34") for s in (0, 1, 2)]
    assert {spec.size for spec in specs} == {64}


def test_what_tells_networks_apart_is_noted_with_what_is_common(tmp_path):
    text = """
        common: {dataset: phantom, size: 64, norm: true, options: {n: 80}, lr: 1e-3}
        runs:
          - {arch: resnet18, minus: 1, seed: [0, 1], lr: [0.01, 0.001], policy: [u-ones, u-zeros]}
          - {arch: resnet18, minus: 1, options: {n: 8, n_test: 9}, epochs: 30}
          - {arch: resnet34, minus: 1, epochs: 5}
          - {arch: resnet34, minus: 1, init: imagenet, epochs: 6}
        """
    usual = load_study(study_file(tmp_path, text)).usual
    assert usual == {
        "options.n": 80,
        "policy": "u-ones",
        "lr": 0.001,
    }  # in RunSpec's order; n_test and epochs go with n
    with pytest.raises(UserError, match="a batch must fall into equal parts"):
        load_study(study_file(tmp_path, "common: {accumulate: 32}\nruns: [{arch: resnet18, batch_size: 64}]"))


def test_the_projects_studies_can_be_read():
    assert {"demo", "nih", "paper", "smoke"} <= set(study_names())
    for name in study_names():
        assert load_study(name).specs()
    assert [load_study(name).usual for name in ("demo", "nih", "nih_short", "paper", "phantom", "smoke")] == [{}] * 6


def test_phantom_and_nih_have_every_architecture_and_the_lite_family_with_both_inits():
    for name, without in (("phantom", set()), ("nih", {"nasnetamobile"})):  # which takes multiples of 32 pixels
        specs = load_study(name).specs()
        assert {spec.arch for spec in specs} == set(ARCHITECTURES) - without
        for init in ("random", "imagenet"):
            runs = {(spec.arch, spec.minus) for spec in specs if spec.init == init}
            assert {(f"efficientnet_lite{i}", 0) for i in range(3)} <= runs


def test_demo_trains_a_few_of_phantoms_very_runs():
    demo, phantom = (load_study(name).specs() for name in ("demo", "phantom"))
    assert 4 <= len(demo) <= 6 and all(spec in phantom for spec in demo)


def test_both_inits_of_a_network_share_everything_else():
    for name in study_names():
        pairs = {}
        for spec in load_study(name).specs():
            other = json.loads(spec.to_json()) | {"init": ""}
            its = spec.arch, spec.minus, spec.norm, spec.train_images, spec.lr, spec.seed
            pairs.setdefault(its, set()).add(json.dumps(other))
        assert all(len(others) == 1 for others in pairs.values())


def test_a_studys_tasks_are_those_of_its_runs(tmp_path):
    study = load_study(study_file(tmp_path, "tasks: [No Finding, Edema]\nruns: [{seed: [0, 1]}]"))
    assert [spec.tasks for spec in study.specs()] == [("No Finding", "Edema")] * 2


def test_each_run_is_named_by_the_data_that_it_learns_from(phantom_folder, tmp_path):
    """Of which labels, views and sizes each have a fingerprint."""
    path = study_file(
        tmp_path,
        "common: {arch: resnet18, size: 32}\n"
        "runs: [{policy: [u-ones, u-zeros]}, {views: frontal}, {unmentioned: unknown}, {size: 48},\n"
        "       {train_images: 20}]",
    )
    specs = resolve_study(load_study(path), phantom_folder, RunStore(tmp_path / "runs"), progress=False)
    expected = [open_for(spec, phantom_folder, progress=False).fingerprint for spec in specs]
    assert [spec.fingerprint for spec in specs] == expected and len(set(expected)) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: [{arch: resnet19}]", "architecture 'resnet19' is not known; nearest: resnet18"),
        ("runs: [{arch: resnet18, epoch: 3}]", "did you mean 'epochs'"),
        ("runs: [{arch: inception_v3, size: 64}]", "InceptionV3 needs images of at least 75 px"),
        ("runs: [{arch: densenet121, minus: 4}]", "DenseNet121 has 4 dense blocks, so 0 to 3"),
        ("runs: [{arch: densenet121, norm: true}]", "norm=True: DenseNet121 is whole"),
        (
            "runs: [{arch: resnet50, init: [random, transfusion:block5]}]",
            "stage 'block5': ResNet50 has conv1, block1, block2, block3, block4",
        ),
        ("common: {size: 64}", "a study needs `runs`"),
        ("axes: [{arch: resnet18}]\nruns: []", "axes is no part of a study"),
        ("runs: [resnet18]", "each entry of `runs` is a mapping"),
        ("tasks: [Flu]\nruns: []", "task Flu is none of No Finding"),
        ("runs: [", "not readable as YAML"),
        ("common: {epochs: 1, size: 64, epochs: 3}\nruns: [{arch: resnet18}]", "'epochs' stands twice"),
        ("runs: [{arch: resnet18}]\nruns: [{arch: resnet34}]", "'runs' stands twice"),
        ("title: 2020-13-45\nruns: [{arch: resnet18}]", "not readable as YAML"),
        ("5: 1\nx: 2\nruns: []", "5, x is no part of a study"),
        ("runs: [{5: 1}]", "field 5 is unknown"),
        ("runs: [{arch: resnet18, beta2: 1.5}]", "beta2=1.5: must be"),
        ("common: {dataset: chexprt}\nruns: [{arch: resnet18}]", "dataset='chexprt': choose one of phantom"),
        ("runs: [{arch: resnet18, policy: [u-ones, u-one]}]", "policy='u-one': choose one of u-ones"),
        ('runs: [{policy: "u-zeros, Edma=u-ones"}]', "finding='Edma': choose one of No Finding"),
        ("runs: [{init: [random, imagnet]}]", "init='imagnet' is not known"),
        ("runs: [{views: frontl}]", "views='frontl': choose one of all, frontal"),
        ("runs: [{aggregate: median}]", "aggregate='median': choose one of max, mean"),
        ("runs: [{augment: {rotate: 5}}]", "augment: 'rotate' is unknown"),
        ("runs: [{augment: {rotation: 90}}]", "rotation=90: must be from 0 to 45"),
    ],
)
def test_a_study_that_is_wrong_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        load_study(study_file(tmp_path, text))
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_studys_file_is_a_file_and_text(tmp_path):
    path = tmp_path / "mine.yaml"
    text = "title: Größe\nruns: [{arch: resnet18}]"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(text, encoding)
        assert load_study(path).title == "Größe"
    path.write_text(text, "latin-1")
    with pytest.raises(UserError, match="0xf6 in row 1"):
        load_study(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="pipe"):
        load_study(path)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load_study(tmp_path / "folder.yaml")


def test_an_unknown_study_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=f"choose one of {', '.join(study_names())}"):
        load_study("dmeo")


def test_smoke_trains_all_its_runs(smoke_store):
    runs = smoke_store.planned("smoke")
    assert len(runs) == len(load_study("smoke").specs())
    assert all(run.finished for run in runs)
    assert all((run.provenance["weights"] is None) == (run.spec.init == "random") for run in runs)


def test_a_study_of_millions_of_runs_is_refused_before_it_is_made(tmp_path):
    axis = {"arch": ["resnet18"], "seed": list(range(3000)), "epochs": list(range(1, 3001))}
    path = study_file(tmp_path, json.dumps({"runs": [axis, {"arch": "resnet18"}]}))
    with pytest.raises(UserError, match="9,000,001 runs: make several"):
        load_study(path)


def test_a_second_run_trains_nothing(smoke_store, capsys):
    times = [(run.folder / "done.json").stat().st_mtime_ns for run in smoke_store.planned("smoke")]
    assert main(["study", "run", "smoke", "--runs", str(smoke_store.folder)]) == 0
    assert [(run.folder / "done.json").stat().st_mtime_ns for run in smoke_store.planned("smoke")] == times
    assert "8 runs finished" in capsys.readouterr().out


@pytest.fixture
def make_read_only(monkeypatch):
    """Lets nothing in a folder be written, made, moved or removed, as on a disk that is mounted for reading."""

    def make(folder: Path) -> None:
        def guarded(work: Callable, writes: Callable = lambda *_: True) -> Callable:
            def guard(path, *more, **options):
                if str(path).startswith(str(folder)) and writes(*more, *options.values()):
                    raise OSError(errno.EROFS, "Read-only file system", str(path))
                return work(path, *more, **options)

            return guard

        for name in ("mkdir", "unlink", "replace", "rename"):
            monkeypatch.setattr(os, name, guarded(getattr(os, name)))
        opens = guarded(open, lambda mode="r", *_: isinstance(mode, str) and not mode.startswith("r"))
        for module in (builtins, io):
            monkeypatch.setattr(module, "open", opens)

    return make


def test_a_finished_study_is_run_watched_read_and_exported_from_a_read_only_store(
    smoke_store, make_read_only, tmp_path, capsys
):
    from chexlib.training.loop import fit

    make_read_only(smoke_store.folder)
    with pytest.raises(OSError, match="Read-only"):
        (smoke_store.folder / "file").write_text("")
    runs = ["--runs", str(smoke_store.folder)]
    for verb in (["run"], ["status", "--verify"], ["export", "--out", str(tmp_path)]):
        assert main(["study", verb[0], "smoke", *verb[1:], *runs]) == 0, capsys.readouterr().err
    assert len(open_results("smoke", smoke_store.folder).models) == 8
    run = smoke_store.planned("smoke")[0]
    assert fit(run.spec, store=smoke_store, progress=False) == run


@pytest.fixture
def killer():
    """Kills the processes that train a run, once or each time; the others are left alone."""
    threads = []

    def kill(run_id: str, times: int) -> None:
        def watch() -> None:
            left = times
            while left and not over.is_set():
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if any(file.path.endswith(f"{run_id}/.lock") for file in process.open_files()):
                            process.kill()
                            process.wait()
                            left -= 1
                time.sleep(0.02)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()

    over = threading.Event()
    yield kill
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(("times", "failed"), [(1, 0), (99, 1)])
def test_a_process_that_is_killed_costs_no_other_run(times, failed, killer, phantom_folder, tmp_path):
    text = (
        "common: {dataset: phantom, size: 32, epochs: 1, eval_every: 16, keep: 1}\n"
        "runs: [{arch: [mobilenet_v3, mobilenet_v2, resnet18]}]"
    )
    study, store = load_study(study_file(tmp_path, text)), RunStore(tmp_path / "runs")
    runs = [store.run(spec) for spec in resolve_study(study, phantom_folder, store, progress=False)]
    killer(runs[0].run_id, times)
    if failed:
        with pytest.raises(UserError, match=rf"1 of 3 runs failed, the first \({runs[0].run_id}\): its process died"):
            run_study(study, phantom_folder, store, workers=2, progress=False)
    else:
        run_study(study, phantom_folder, store, workers=2, progress=False)
    assert [run.finished for run in runs] == [not failed, True, True]


def test_every_network_is_trained_once_before_any_is_trained_again(tmp_path, monkeypatch):
    """So that a study which is cut short has whole seeds."""
    path = tmp_path / "seeds.yaml"
    path.write_text(
        "common: {dataset: phantom, options: {n: 16, n_valid: 8, n_test: 8}, size: 32}\n"
        "runs: [{arch: [resnet18, mobilenet_v3], seed: [0, 1]}]\n"
    )
    order = []

    def train_all(specs, root, store, workers):
        order.extend((spec.arch, spec.seed) for spec in specs)
        return iter(())

    monkeypatch.setattr(launch, "_train_all", train_all)
    run_study(load_study(path), store=RunStore(tmp_path / "runs"), progress=False)
    assert order == [("resnet18", 0), ("mobilenet_v3", 0), ("resnet18", 1), ("mobilenet_v3", 1)]
