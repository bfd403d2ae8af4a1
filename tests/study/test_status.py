"""What is said of a study's runs, from the files that they leave."""

import json
from dataclasses import replace

import pytest

from chexlib.cli import main
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.study.status import duration, study_status

SPEC = RunSpec(arch="resnet18", epochs=4).resolve("made")


def row(images: int, epoch: float, auc: float | None, seconds: float) -> str:
    return json.dumps({"event": "eval", "images": images, "epoch": epoch, "auc": auc, "seconds": seconds}) + "\n"


@pytest.fixture
def store(tmp_path):
    """Study smoke, of four runs: one finished, one at work, one stopped, one that has not begun."""
    store = RunStore(tmp_path)
    runs = store.plan("smoke", [replace(SPEC, seed=seed).run_id for seed in range(4)])
    for run, epochs in zip(runs[:3], (4, 1, 2), strict=True):
        run.write("spec.json", run_spec(run, runs).to_json())
        run.write(
            "log.jsonl",
            "".join(row(800 * (k + 1), k + 1, [0.6, None, 0.8, 0.7][k], 100.0 * (k + 1)) for k in range(epochs)),
        )
    runs[0].write("done.json", "{}")
    return store


def run_spec(run, runs) -> RunSpec:
    return replace(SPEC, seed=runs.index(run))


def test_each_run_is_finished_running_stopped_or_waiting(store):
    with store.planned("smoke")[1].lock():
        table = study_status("smoke", store)
    assert table["state"].tolist() == ["finished", "running", "stopped", "waiting"]
    assert table["epochs"].tolist() == ["4.0 of 4", "1.0 of 4", "2.0 of 4", ""]
    assert table["val AUC"].tolist() == ["0.800", "0.600", "0.600", ""]
    assert table["images/s"].tolist() == ["8", "8", "8", ""]
    assert table["left"].tolist() == ["", "5 min", "3 min", ""]


def test_the_table_ends_with_a_count(store, capsys):
    assert main(["study", "status", "smoke", "--runs", str(store.folder)]) == 0
    assert f"1 of 4 runs finished, 2 stopped, 1 waiting in {store.folder}\n" in capsys.readouterr().out


def test_a_run_whose_loss_grew_is_told(store, capsys):
    run = store.planned("smoke")[2]
    run.write_log({**json.loads(row(800, k, 0.5, 9.0)), "loss": 10.0**k} for k in (1, 2))
    assert main(["study", "status", "smoke", "--runs", str(store.folder)]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "loss grew" in line]
    assert line.startswith(run.run_id)


def test_watching_ends_when_all_runs_are_finished(store, capsys, monkeypatch):
    def finish(seconds):
        for run in store.planned("smoke"):
            run.write("done.json", "{}")

    monkeypatch.setattr("time.sleep", finish)
    assert main(["study", "status", "smoke", "--watch", "--runs", str(store.folder)]) == 0
    assert "4 of 4 runs finished in" in capsys.readouterr().out.splitlines()[-1]


def test_durations_in_words():
    assert [duration(s) for s in (5, 89, 100, 3599, 7199, 7260)] == [
        "5 s", "89 s", "2 min", "1 h 00 min", "2 h 00 min", "2 h 01 min"
    ]  # fmt: skip
