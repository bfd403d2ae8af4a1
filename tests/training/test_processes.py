"""One run by two processes (on a CPU, by gloo; on GPUs the same code by NCCL)."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.training import processes
from chexlib.training.loop import fit

SPEC = RunSpec(arch="test_convnext", size=32, epochs=2, batch_size=16, lr=1e-3, eval_every=32, keep=2)


def probabilities(run):
    return run.predictions().filter(like="p:").to_numpy()


def test_two_processes_share_each_batch_and_learn_what_one_does(phantom_folder, tmp_path):
    """Of a network without batch norm, so that only the order of sums differs; killed in the middle, they go on."""
    spec, store = replace(SPEC, processes=2), RunStore(tmp_path)
    one = fit(SPEC, phantom_folder, store, progress=False)
    fields = [f"{name}={value}" for name, value in json.loads(spec.to_json()).items() if value not in ({}, "")]
    command = [sys.executable, "-m", "chexlib.cli", "train", *fields, "--data", str(phantom_folder)]
    killed = subprocess.Popen([*command, "--runs", str(tmp_path)], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("*/checkpoints/resume*")) and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    killed.wait()

    two = fit(spec, phantom_folder, store, progress=False)
    assert one.run_id != two.run_id and two.provenance["processes"] == 2 and two.provenance["resumed"] == 1
    np.testing.assert_allclose(probabilities(two), probabilities(one), atol=1e-5)
    assert [row["loss"] for row in two.log()] == pytest.approx([row["loss"] for row in one.log()], rel=1e-5)


def test_what_is_wrong_in_a_process_is_said_by_the_first():
    from chexlib.data.packed import check_size

    with pytest.raises(UserError, match="size=-1"):
        processes.run(check_size, 2, -1)


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setattr(processes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="processes=2: this machine has 1 GPUs"):
        processes.run(print, 2)


def test_memory_that_does_not_suffice_is_one_line(phantom_folder, tmp_path):
    """For real: the process may address six gigabytes, of which torch takes four before it begins."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

    fields = ["arch=densenet201", "size=448", "batch_size=64", "epochs=1", "precision=fp32"]
    command = [sys.executable, "-m", "chexlib.cli", "train", *fields, "--data", str(phantom_folder)]
    found = subprocess.run([*command, "--runs", str(tmp_path)], preexec_fn=limit, capture_output=True, text=True)
    assert found.returncode == 2
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("chexlib: densenet201: 64 images of 448 px at once do not fit into memory: accumulate=2")
