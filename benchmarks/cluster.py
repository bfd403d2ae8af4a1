"""A study on two workers of a Ray cluster against one: equal runs of one core each, and equal predictions.

Both clusters are real, on this machine: a head that trains nothing, and workers of one core each. They and the
phantoms are there before the clock starts; joining, asking the nodes and starting a process a run are in the time.
"""

import os
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from benchmarks.compare import compare
from chexlib.data.dataset import open_for
from chexlib.runs.store import Run, RunStore
from chexlib.study import load_study
from chexlib.study.launch import run_study

RUNS = 6
COMMON = {"dataset": "phantom", "options": {"n": 512, "n_valid": 64, "n_test": 64}, "size": 64, "arch": "resnet18"}
COMMON |= {"epochs": 2, "eval_every": 512, "keep": 1, "lr": 0.001}


def main() -> None:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHEXLIB_CACHE"] = f"{folder}/cache"
        path = Path(folder) / "scaling.yaml"
        path.write_text(yaml.safe_dump({"common": COMMON, "runs": [{"seed": list(range(RUNS))}]}))
        study = load_study(path)
        open_for(study.specs()[0], progress=False)
        with workers(1) as one, workers(2) as two:
            stores = iter(range(100))

            def on(address: str) -> list[Run]:
                store = RunStore(Path(folder) / str(next(stores)))
                return run_study(study, store=store, ray=address, gpus=0, progress=False)

            compare(
                "two workers",
                lambda: on(two),
                lambda: on(one),
                peer_name="one worker",
                work=f"{RUNS} runs of ResNet18 at 64 px, one core each",
                repeats=1,
                warm=False,
                agree=difference,
            )


@contextmanager
def workers(n: int):
    """The address of a cluster with n workers of one core."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, include_dashboard=False)
        for _ in range(n):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def difference(ours: list[Run], theirs: list[Run]) -> float:
    """The largest difference of two probabilities of one image and finding."""
    tables = [[run.predictions().filter(regex="^p:").to_numpy() for run in runs] for runs in (ours, theirs)]
    return float(np.abs(np.array(tables[0]) - np.array(tables[1])).max())
