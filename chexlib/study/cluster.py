"""Runs a study on a Ray cluster: each run is a task that asks for its cores and its GPUs, on whatever node has them.

Ray takes up again what a dead node leaves, on another one; fit goes on from the last checkpoint, as the run store lies
on storage that every node shares. Ray is imported only once somebody asks for a cluster.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

import chexlib
from chexlib.data.dataset import open_for
from chexlib.errors import UserError
from chexlib.machine import cores
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.study.one import train_one
from chexlib.study.study import safe_settings

RETRIES = 5
"""How often a run is taken up again after its process or its node has died; then it has failed."""

FOLDERS = ("CHEXLIB_CACHE", "CHEXLIB_RUNS", "CHEXLIB_WEIGHTS", "HF_HOME")
PASSED_ON = ("OMP_NUM_THREADS", "HF_HUB_OFFLINE")
"""The variables of this process that every run gets: folders, which become absolute, and others."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
JOIN = """import ray, sys
try: ray.init(sys.argv[1], log_to_driver=False, logging_level="FATAL")
except Exception as error: sys.exit((str(error) or type(error).__name__).strip().splitlines()[0])"""
SHARED = "must lie on storage that every node sees at the same path"
PATIENCE = 60  # seconds until a cluster or a node that says nothing is refused


@contextmanager
def connect(
    address: str, gpus: float | None, specs: list[RunSpec], root: str | Path | None, store: RunStore
) -> Iterator[tuple[dict[str, str], Callable]]:
    """Joins a cluster for as long as the context lasts; leaving it ends the runs that are still at work.

    `address` is HOST:PORT of the cluster's head, `auto` (the cluster that runs on this machine), ray://HOST:PORT, or
    `local` (one of this machine alone, for the while); `gpus` what a run asks for, by default 1 where there are GPUs,
    else 0. Yields the settings of a node that will train, and a function that trains specs: it takes them, `root`
    and `store`, and yields (run_id, error or "") as runs end. Raises UserError where Ray is missing, nobody answers,
    no node is large enough for a run, or a node lacks chexlib, has other versions, or sees no data or no store.
    """
    if gpus is not None and not 0 <= gpus <= 1:
        raise UserError(f"--gpus {gpus:g}: give a run 0 to 1 GPU; several GPUs for one run are its field `processes`")
    ray = _joined(address, gpus)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # Ray prints there, at length
            alive = [node for node in ray.nodes() if node["Alive"]]
            share = float(any(node["Resources"].get("GPU") for node in alive)) if gpus is None else gpus
            for spec in specs:
                _refuse_too_large(address, _asked(spec, share), alive)
            yield _ask_nodes(address, share, alive, root, store), partial(_train_all, share=share)
    finally:
        ray.shutdown()


def _joined(address: str, gpus: float | None):
    """The module ray, connected."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)  # before the import, which reads them
    try:
        import ray
    except ImportError:
        raise UserError(f'--ray {address}: Ray is not installed here: pip install "chexlib[cluster]"') from None
    folders = {name: _absolute(os.environ[name]) for name in FOLDERS if os.environ.get(name)}
    variables = folders | {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    if gpus == 0:
        variables["CUDA_VISIBLE_DEVICES"] = ""  # or a run would take a GPU that it did not ask for
    options = {"runtime_env": {"env_vars": variables}, "log_to_driver": False, "logging_level": "FATAL"}
    if address == "local":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # or Ray would leave one in the home folder
        options |= {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": 2**27}  # nothing is in it
    else:
        _knock(address)
    try:
        ray.init(address, **options)
    except Exception as error:  # of many kinds
        raise UserError(f"--ray {address}: {_first_line(error)}") from None
    return ray


def _knock(address: str) -> None:
    """Refuses an address that cannot be joined. Where nobody answers, Ray would try for minutes, and talk of it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto" and not (host and port.isdigit()):
        raise UserError(f"--ray {address!r}: give HOST:PORT of a cluster's head, e.g. 10.0.0.1:6379, auto or local")
    start = (
        f'start one with "ray start --head" there, and "ray start --address {host or "HOST"}:{port or 6379}" elsewhere'
    )
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), timeout=5).close()
        tried = subprocess.run([sys.executable, "-c", JOIN, address], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, OverflowError, subprocess.TimeoutExpired):
        raise UserError(f"--ray {address}: no Ray cluster answers there: {start}") from None
    if "Unauthenticated" in tried.stderr:
        start = "it asks for its token: export RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH where it is not in ~/.ray"
        raise UserError(f"--ray {address}: {start}")
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or ["Ray crashed"]
        raise UserError(f"--ray {address}: {lines[-1]}: {start}, and give this command on one of these nodes")


def _asked(spec: RunSpec, share: float) -> dict[str, float]:
    """What a run asks of its node."""
    several = spec.processes > 1 and share > 0
    return {"num_cpus": spec.threads * spec.processes, "num_gpus": spec.processes if several else share}


def _refuse_too_large(address: str, asked: dict[str, float], alive: list[dict]) -> None:
    cpus, gpus = asked["num_cpus"], asked["num_gpus"]
    there = [node["Resources"] for node in alive]
    if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in there):
        raise UserError(
            f"--ray {address}: no node has what a run asks for, cores: {cpus}, GPUs: {gpus:g}: "
            "lower --gpus, or threads or processes in the study"
        )


def _ask_nodes(address: str, share: float, alive: list[dict], root, store: RunStore) -> dict[str, str]:
    """Makes sure that every node can train, and returns the settings of one of those that will."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    ask = ray.remote(num_cpus=0, max_retries=0)(trouble)
    store.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=store.folder.absolute(), prefix=".seen-by-nodes-") as file:
        question = versions(), _absolute(root), file.name
        places = [On(node["NodeID"], soft=False) for node in alive]
        answers = [ask.options(scheduling_strategy=place).remote(*question) for place in places]
        for node, answer in zip(alive, answers, strict=True):
            try:
                wrong = ray.get(answer, timeout=PATIENCE)
            except RayError:
                wrong = "does not find chexlib or what it needs, or does not answer: install one environment on all"
            if wrong:
                raise UserError(f"--ray {address}: node {node['NodeManagerAddress']} {wrong}")
    settings = ray.remote(num_cpus=0, num_gpus=share)(safe_settings).remote()
    if share and not ray.wait([settings], timeout=PATIENCE)[0]:
        print(f"--ray {address}: all GPUs are at work: waiting for one", file=sys.stderr)
    return ray.get(settings)


def _train_all(specs: list[RunSpec], root: str | Path | None, store: RunStore, share: float):
    """Yields (run_id, error or "") as runs end; each asks for its cores and for `share` of a GPU."""
    import ray
    from ray.exceptions import RayError

    train = ray.remote(max_calls=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(train_here)  # a process a run
    same = _absolute(root), _absolute(store.folder), versions(), os.getcwd()
    tasks = [train.options(name=spec.run_id, **_asked(spec, share)) for spec in specs]
    runs = {task.remote(spec.to_json(), *same): spec.run_id for task, spec in zip(tasks, specs, strict=True)}
    waiting, before = list(runs), {}
    while waiting:
        done, waiting = ray.wait(waiting, timeout=5)
        alive = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        for node in before.keys() - alive.keys():
            tqdm.write(f"node {before[node]} is gone: its runs go on elsewhere", file=sys.stderr)
        before = alive
        for run in done:
            try:
                yield runs[run], ray.get(run)
            except RayError as error:
                yield runs[run], _reason(error)


def versions() -> dict[str, str]:
    """What nodes must have in common for a study's numbers to be of one kind."""
    return {"chexlib": chexlib.__version__} | {name: version(name) for name in ("torch", "timm", "numpy")}


def trouble(expected: dict[str, str], root: str | None, seen: str = "") -> str:
    """What is wrong with this node, or nothing: other versions than expected, no data, no sight of the file `seen`."""
    for name, here in versions().items():
        if here != expected[name]:
            return f"has {name} {here}, where the study was started {expected[name]}: install one environment on all"
    if root and not Path(root).exists():
        return f"has no {root}: --data {SHARED}"
    if seen and not Path(seen).exists():
        return f"does not see {Path(seen).parent}: the run store (--runs or CHEXLIB_RUNS) {SHARED}"
    return ""


def train_here(spec_json: str, root: str | None, folder: str, expected: dict[str, str], where: str) -> str:
    """Trains a resolved spec into the store `folder`, with `where` as working folder; returns what was wrong, or ""."""
    name = f"node {socket.gethostname()}"
    if wrong := trouble(expected, root):  # it has joined after the others were asked
        return f"{name} {wrong}"
    with suppress(OSError):
        os.chdir(where)  # which an init's file may be relative to
    spec = RunSpec.from_json(spec_json)
    try:
        if open_for(spec, root, progress=False).fingerprint != spec.fingerprint:
            return f"{name} has other data than the study was planned with: --data {SHARED}"
    except UserError as error:
        return f"{name}: {error}"
    return train_one(spec_json, root, Path(folder))


def _reason(error: Exception) -> str:
    """One line of what Ray wraps in pages."""
    from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {_first_line(error.cause)}"
    if isinstance(error, NodeDiedError | WorkerCrashedError):
        return f"its node or its process died {RETRIES + 1} times: out of memory?"
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _absolute(path: str | Path | None) -> str | None:
    return path and str(Path(path).expanduser().absolute())
