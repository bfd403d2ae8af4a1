"""Runs on disk: whole files or none, one process a run, and what a study consists of."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore, by_study, predictions_table, write_atomically

SPECS = [RunSpec(seed=seed).resolve("data") for seed in range(3)]


def test_a_planned_study_is_read_back_in_its_order(tmp_path):
    store = RunStore(tmp_path)
    planned = store.plan("s", [spec.run_id for spec in reversed(SPECS)])
    assert store.planned("s") == planned
    assert [run.run_id for run in planned] == [spec.run_id for spec in reversed(SPECS)]
    assert store.planned("other") == []


@pytest.mark.parametrize("wrong", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_an_interruption_leave_the_old_file(wrong, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fails(_):
        raise wrong

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises((UserError, KeyboardInterrupt), match=r"No space left on device|^$"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_of_one_number_write_one_file_at_once(tmp_path, monkeypatch):
    """As in containers that share a store: the first process of each has the number 1."""
    path, sync = tmp_path / "file", os.fsync

    def other_writes(descriptor):
        monkeypatch.setattr(os, "fsync", sync)
        write_atomically(path, "theirs")

    monkeypatch.setattr(os, "fsync", other_writes)
    write_atomically(path, "ours")
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_is_on_the_disk_before_the_next_file_is_written(tmp_path, monkeypatch):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino) or sync(descriptor))
    write_atomically(tmp_path / "done.json", "{}")
    assert synced == [(tmp_path / "done.json").stat().st_ino, tmp_path.stat().st_ino]


def test_a_store_in_no_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file" / "runs")
    for work in (lambda: store.plan("s", []), lambda: store.run(SPECS[0]).lock().__enter__()):
        with pytest.raises(UserError, match="choose another folder with CHEXLIB_RUNS"):
            work()


def _hold(folder, held, ended):
    with RunStore(folder).run(SPECS[0]).lock():
        held.set()
        ended.wait()


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the first run, and the event that ends it."""
    context = multiprocessing.get_context("spawn")
    held, ended = context.Event(), context.Event()
    owner = context.Process(target=_hold, args=(tmp_path, held, ended))
    owner.start()
    assert held.wait(30)
    yield owner, ended
    owner.kill()
    owner.join()


def test_a_lock_refuses_a_second_process_and_dies_with_its_owner(holder, tmp_path):
    owner, _ = holder
    run = RunStore(tmp_path).run(SPECS[0])
    with pytest.raises(UserError, match="another process is training this run"), run.lock():
        pass
    (run.folder / f".spec.json.{owner.pid}").write_text("half")
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with run.lock():
        assert [path.name for path in run.folder.iterdir()] == [".lock"]


def test_a_lock_is_waited_for_where_that_is_asked(holder, tmp_path):
    _, ended = holder
    threading.Timer(0.3, ended.set).start()
    with RunStore(tmp_path).run(SPECS[0]).lock(wait=True):
        assert ended.is_set()


READ = {
    "spec.json": lambda run: run.spec,
    "provenance.json": lambda run: run.provenance,
    "log.jsonl": lambda run: run.log(),
    "predictions.parquet": lambda run: run.predictions(),
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("content", [b"", b"null", b'{"event": "eval"}\n{"eve', b"PAR1\x80\xff" * 99], ids=range(4))
@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_one_line_that_says_what_to_do(name, content, finished, tmp_path):
    run = RunStore(tmp_path).run(SPECS[0])
    run.write(name, content)
    if finished:
        run.write("done.json", "{}")  # as older code left it, without hashes
    with pytest.raises(UserError) as error:
        READ[name](run)
    todo = f"remove {run.folder} and train it again" if finished else "train the run on, which writes it anew"
    assert str(error.value).startswith(f"{run.folder / name}: not ") and str(error.value).endswith(todo)
    assert "\n" not in str(error.value)


def finished_run(folder):
    run = RunStore(folder).run(SPECS[0])
    run.write("spec.json", SPECS[0].to_json())
    run.write("provenance.json", '{"seed": 1}')
    run.write("log.jsonl", '{"event": "eval", "auc": 0.75}\n')
    columns = {"split": ["test"] * 50, "p:Edema": np.linspace(0, 1, 50, dtype=np.float32)}
    pd.DataFrame(columns).to_parquet(run.folder / "predictions.parquet")
    run.write("checkpoints/images000000008.safetensors", bytes(range(99)))
    (run.folder / "tensorboard").mkdir()
    run.finish(finished="today")
    return run


def test_every_flipped_bit_and_cut_of_a_finished_run_is_refused(tmp_path):
    run = finished_run(tmp_path)
    assert run.damaged() == [] and run.done["finished"] == "today"
    assert set(run.hashes) == {*READ, "checkpoints/images000000008.safetensors"}
    for name in run.hashes:
        path, content = run.folder / name, (run.folder / name).read_bytes()
        for at in np.random.default_rng(0).integers(8 * len(content), size=25):
            flipped = bytearray(content)
            flipped[at // 8] ^= 1 << at % 8
            path.write_bytes(flipped)
            assert run.damaged() == [name]
            with pytest.raises(UserError, match="not what was written"):
                READ.get(name, lambda run, name=name: run.read(name))(run)
        path.write_bytes(content[:-1])
        assert run.damaged() == [name]
        path.unlink()
        assert run.damaged() == [name]
        path.write_bytes(content)
        assert run.damaged() == [] and run.read(name) == content


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": 1}', '{"sha256": {"spec.jsom": "ab"}}'])
def test_a_damaged_done_json_is_refused_with_what_it_stands_for(content, tmp_path):
    run = finished_run(tmp_path)
    run.write("done.json", content)
    with pytest.raises(UserError, match=r"remove .* and train it again"):
        _ = run.spec


def test_a_run_that_has_not_begun_has_no_log_and_no_predictions(tmp_path):
    run = RunStore(tmp_path).run(SPECS[0])
    assert run.log() == run.log("ensemble") == []
    with pytest.raises(UserError, match="has the run been trained"):
        run.predictions()


@pytest.mark.parametrize(
    ("losses", "grew"),
    [
        ([0.6, 0.5, 0.4, 0.3], False),
        ([0.3, 0.28, 0.29, 0.3], False),  # that of guessing, where most labels are 0
        ([0.3, 0.28, 0.5, 0.6], True),
        ([0.2, 9.0, 0.2, 0.2], False),  # it has come back
        ([4e6, 9e5, 9e3, 80.0], True),  # it has shrunk, and is far from a guess
    ],
)
def test_a_loss_that_grew_is_told_and_no_other(losses, grew, tmp_path):
    run = RunStore(tmp_path).run(SPECS[0])
    run.write("spec.json", SPECS[0].to_json())
    run.write_log({"event": "eval", "epoch": n / 2, "loss": loss} for n, loss in enumerate(losses, start=1))
    assert bool(run.diverged()) == grew
    if grew:
        assert run.run_id in run.diverged() and "0.0001" in run.diverged()


@pytest.mark.parametrize("content", ["", "[]", '{"study": "s", "ru'])
def test_a_damaged_plan_is_told(content, tmp_path):
    (tmp_path / "s.study.json").write_text(content)
    with pytest.raises(UserError, match=r"s\.study\.json: damaged: the same chexlib study run writes it anew"):
        RunStore(tmp_path).planned("s")


@pytest.mark.parametrize(("aggregate", "first"), [("max", [0.6, 0.3]), ("mean", [0.4, 0.2])])
def test_a_study_scores_the_maximum_of_its_views_or_their_mean(aggregate, first):
    ids = pd.DataFrame(
        {
            "split": "test",
            "image": list("abc"),
            "study": ["p/1", "p/1", "q/1"],
            "patient": list("ppq"),
            "view": "",
            "sex": "",
            "age": 1.0,
        }
    )
    y = np.array([[1, 0], [1, 0], [0, 0]])
    known = np.array([[1, 0], [1, 0], [1, 1]])
    p = np.array([[0.2, 0.3], [0.6, 0.1], [0.5, 0.4]])
    table = predictions_table(ids, ("Edema", "Fracture"), y, known, p)
    studies, scores, patients = by_study(table, ("Edema", "Fracture"), aggregate)
    np.testing.assert_array_equal(studies, [[1, np.nan], [0, 0]])
    np.testing.assert_allclose(scores, [first, [0.5, 0.4]], rtol=1e-6)
    assert list(patients) == ["p", "q"]
