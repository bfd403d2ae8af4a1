"""A study on a real cluster of two nodes on this machine: Ray's processes are real ones, and so is their death."""

import contextlib
import importlib.util
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from chexlib.cli import main
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.study import cluster as clusters
from chexlib.study import load_study
from chexlib.study.launch import run_study
from tests.command_line import parsed

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed: extra cluster")
PROJECT = Path(__file__).parents[2]
SMOKE = yaml.safe_load((PROJECT / "notebooks" / "studies" / "smoke.yaml").read_text())["common"]
RECIPES = PROJECT / "book" / "cluster"
SECONDS = 300  # until a test that waits has failed
NODE = {"num_cpus": 2, "num_gpus": 1}  # the GPU is none, but Ray shares it out


@pytest.fixture(scope="module")
def cluster(cache, tmp_path_factory):
    """A head that trains one run at a time, and one further node that trains two; the processes end with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex())
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            yield cluster
        finally:
            left = [one for node in cluster.list_all_nodes() for one in processes_of(node)]
            with contextlib.suppress(Exception):
                cluster.shutdown()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=10)


def processes_of(node) -> list[psutil.Process]:
    """All processes of a node of Ray that are alive; those that this process has beside them are none."""
    found = []
    for started in (info.process.pid for infos in node.all_processes.values() for info in infos):
        with contextlib.suppress(psutil.Error):
            found += [psutil.Process(started), *psutil.Process(started).children(recursive=True)]
    return found


@pytest.fixture
def second(cluster):
    """The second node's first process, the parent of those that train there."""
    node = next(iter(cluster.worker_nodes), None) or cluster.add_node(**NODE)
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def study_file(folder: Path, *runs: dict, **common) -> Path:
    """A study like smoke, with other runs."""
    path = folder / "some.yaml"
    path.write_text(yaml.safe_dump({"common": SMOKE | common, "runs": list(runs)}))
    return path


def command(study: Path, store: Path, *options: str) -> subprocess.Popen:
    """What users type, in a process of its own."""
    line = [sys.executable, "-m", "chexlib.cli", "study", "run", str(study), "--runs", str(store), *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen) -> tuple[int, str]:
    """Its exit code, and what it said beside its progress bars."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    said = [line.strip() for line in re.split(r"[\r\n]", out + err)]
    return process.returncode, "\n".join(line for line in said if line and "%|" not in line)


def until(true, process: subprocess.Popen):
    """Waits for something to be true while the command is at work, and returns it."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := true():
            return found
        time.sleep(0.1)  # looking is not free
    pytest.fail(f"it never was, and the command said {outcome(process)}")


def at_work(node: psutil.Process, store: Path) -> list[Path]:
    """The folders of the runs that the node's processes hold."""
    held = []
    for process in node.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            held += [Path(file.path).parent for file in process.open_files() if file.path.endswith("/.lock")]
    return [folder for folder in held if folder.parent == store]


def test_runs_share_a_gpu_and_one_that_fails_stops_no_other(cluster, second, tmp_path):
    store = tmp_path / "runs"
    study = study_file(
        tmp_path,
        {"arch": "resnet18", "batch_size": 128},  # more than there are images
        {"arch": ["resnet18", "mobilenet_v3"]},
    )
    process = command(study, store, "--ray", cluster.address, "--gpus", "0.5")
    until(lambda: len(at_work(second, store)) == 2, process)
    code, said = outcome(process)
    wrong, *good = RunStore(store).planned("some")
    reason = "96 training images are fewer than batch_size=128"
    assert code == 2
    assert re.fullmatch(
        rf"{wrong.run_id}: .*{reason}\n"
        rf"chexlib: study some: 1 of 3 runs failed, the first \({wrong.run_id}\): .*{reason}",
        said,
    )
    assert [run.finished for run in (wrong, *good)] == [False, True, True]


def test_the_runs_of_a_node_that_dies_go_on_elsewhere_to_the_same_predictions(cluster, second, smoke_store, tmp_path):
    store = tmp_path / "runs"
    study = study_file(tmp_path, {"arch": ["resnet18", "mobilenet_v3", "efficientnet_lite0"]})
    process = command(study, store, "--ray", cluster.address, "--gpus", "0")

    def begun() -> Path | None:
        """A run of this node that has left a checkpoint; the node stands still from then on."""
        for run in at_work(second, store):
            if any(run.glob("checkpoints/resume*.safetensors")):
                everything = [*second.children(recursive=True), second]
                for one in everything:
                    one.suspend()
                if not (run / "done.json").exists():
                    return run
                for one in everything:
                    one.resume()

    run = until(begun, process)
    for one in [*second.children(recursive=True), second]:
        one.kill()
    for dead in list(cluster.worker_nodes):
        cluster.remove_node(dead, allow_graceful=False)
    code, said = outcome(process)
    told = rf"study {study}: 3 runs finished in {store}\nnode \S+ is gone: its runs go on elsewhere"
    assert code == 0 and re.fullmatch(told, said)
    assert Run(run).provenance["resumed"] == 1  # not from its beginning
    for run in RunStore(store).planned("some"):
        alone = smoke_store.run(run.spec)
        pd.testing.assert_frame_equal(run.predictions(), alone.predictions(), check_exact=True)


@pytest.fixture
def short_path():
    """Ray's sockets lie below it, and their names must not be long."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_one_machine_is_a_cluster_that_leaves_nothing_behind(short_path, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(short_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    study, store = study_file(tmp_path, {"arch": "mobilenet_v3"}), tmp_path / "runs"
    process = command(study, store, "--ray", "local")
    family = psutil.Process(process.pid)
    until(lambda: list(store.glob("*/.lock")), process)
    family = family.children(recursive=True)
    assert outcome(process) == (0, f"study {study}: 1 runs finished in {store}")
    assert os.listdir(short_path) == ["ray"] and not (tmp_path / "home").exists()
    assert psutil.wait_procs(family, timeout=30)[1] == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", 'no Ray cluster answers there: start one with "ray start --head" there'),
        ("127.0.0.1", "give HOST:PORT of a cluster's head"),
    ],
)
def test_an_address_where_no_cluster_is_is_refused_in_one_line(address, message, tmp_path, capsys):
    began = time.monotonic()
    assert main(["study", "run", "smoke", "--runs", str(tmp_path), "--ray", address]) == 2
    said = capsys.readouterr().err
    assert said.startswith("chexlib: --ray ") and message in said and said.count("\n") == 1
    assert time.monotonic() - began < 20


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed here: pip install \"chexlib\[cluster\]\""):
        run_study(load_study("smoke"), store=RunStore(tmp_path), ray="local", progress=False)


@pytest.mark.parametrize("gpus", [-0.5, 1.5, float("nan")])
def test_a_run_asks_for_a_gpu_or_a_part_of_it(gpus, tmp_path):
    with pytest.raises(UserError, match="give a run 0 to 1 GPU"):
        run_study(load_study("smoke"), store=RunStore(tmp_path), ray="local", gpus=gpus, progress=False)


@pytest.mark.parametrize(
    ("fields", "gpus", "asked"),
    [
        ({"threads": 4}, 0, (4, 0)),
        ({"threads": 2}, 0.25, (2, 0.25)),
        ({"threads": 2, "processes": 2}, 1, (4, 2)),
        ({"processes": 4}, 0.25, (4, 4)),  # each of its processes has a GPU to itself
        ({"processes": 2}, 0, (2, 0)),
    ],
)
def test_a_run_asks_for_its_threads_and_processes(fields, gpus, asked):
    assert tuple(clusters._asked(RunSpec.make(fields), gpus).values()) == asked


def test_a_node_says_what_is_wrong_with_it(tmp_path):
    here = clusters.versions()
    assert clusters.trouble(here, str(tmp_path), __file__) == ""
    assert clusters.trouble(here | {"timm": "0.1"}, None).endswith("started 0.1: install one environment on all")
    assert clusters.trouble(here, f"{tmp_path}/no").startswith(f"has no {tmp_path}/no: --data must lie on storage")
    assert clusters.trouble(here, None, f"{tmp_path}/no").startswith(f"does not see {tmp_path}: the run store")


def test_a_node_that_has_joined_late_is_asked_before_it_trains(tmp_path):
    spec = RunSpec.make(SMOKE | {"arch": "resnet18"}).resolve("not the fingerprint of these images")
    said = clusters.train_here(
        spec.to_json(), None, str(tmp_path), clusters.versions() | {"torch": "1.0"}, str(tmp_path)
    )
    assert re.match(r"node \S+ has torch \S+, where the study was started 1\.0", said)
    said = clusters.train_here(spec.to_json(), None, str(tmp_path), clusters.versions(), "/not/there")
    assert "has other data than the study was planned with" in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [["--gpus", "0.5"], ["--ray", "local", "--workers", "2"]])
def test_options_that_do_not_go_together_are_refused(options, tmp_path, capsys):
    assert main(["study", "run", "smoke", "--runs", str(tmp_path), *options]) == 2
    assert options[-2] in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_the_slurm_script_is_bash_and_gives_its_options_to_the_study():
    script = RECIPES / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""
    assert 'chexlib study run "$@" --ray "$address"' in script.read_text()


def test_the_kubernetes_file_has_the_fields_of_a_rayjob():
    claim, job = yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    assert (claim["kind"], job["apiVersion"], job["kind"]) == ("PersistentVolumeClaim", "ray.io/v1", "RayJob")
    assert set(job["spec"]) <= {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "rayClusterSpec"}
    line = shlex.split(job["spec"]["entrypoint"])
    assert parsed(line[1:]).params["ray"] == "auto"
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    [workers] = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):  # all see the same folders of the claim
        assert {"rayStartParams", "template"} <= set(group)
        pod = group["template"]["spec"]
        [container], [volume] = pod["containers"], pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]
        assert {env["name"] for env in container["env"]} == {"CHEXLIB_RUNS", "CHEXLIB_CACHE", "CHEXLIB_WEIGHTS"}
        assert all(env["value"].startswith("/shared/") for env in container["env"])
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
