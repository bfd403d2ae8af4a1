"""Finished runs that nobody trained: a study of eight, with invented predictions of a CheXpert-shaped test set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from chexlib.data.labels import FINDINGS
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore, predictions_table
from chexlib.study import load_study

RUNS = [
    {"arch": ["resnet18"], "minus": [0, 1], "init": "random", "seed": [0, 1, 2]},
    {"arch": "efficientnet_lite0", "init": ["random", "imagenet"]},
]
SKILL = {"resnet18": 0.8, "efficientnet_lite0": 1.2}


def study_file(folder: Path, dataset: str = "phantom") -> Path:
    """Study `made`, eight runs: ResNet18 and its first truncation with three seeds, a Lite with two inits."""
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({"title": "Made up", "common": {"dataset": dataset, "size": 96}, "runs": RUNS}))
    return path


def make_store(folder: Path, study: Path, table: Callable[[RunSpec], pd.DataFrame] | None = None) -> RunStore:
    """A run store in which every run of the study is finished; `table` gives a run's predictions."""
    store, plan = RunStore(folder), load_study(study)
    specs = [spec.resolve("cafe") for spec in plan.specs()]
    store.plan(plan.name, [spec.run_id for spec in specs])
    for spec in specs:
        write_run(store, spec, (table or predictions)(spec))
    return store


def write_run(store: RunStore, spec: RunSpec, table: pd.DataFrame | None = None, change: Callable | None = None) -> Run:
    """One finished run, with its predictions changed where a test wants them so."""
    run = store.run(spec)
    table = predictions(spec) if table is None else table
    run.write("spec.json", spec.to_json())
    log = [{"event": "eval", "images": 100 * i, "epoch": i, "auc": 0.6, "seconds": 9.0 * i} for i in (1, 2)]
    run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    run.write("provenance.json", "{}")
    (change(table) if change else table).to_parquet(run.folder / "predictions.parquet")
    run.finish()
    return run


def predictions(spec: RunSpec) -> pd.DataFrame:
    """300 images of 200 studies of 150 patients; 10 studies are for validation; Consolidation has 4 positive ones."""
    rng = np.random.default_rng(0)
    study = np.sort(np.concatenate([np.arange(200), rng.integers(200, size=100)]))
    of_study = (rng.random((200, len(FINDINGS))) < 0.35).astype(float)
    of_study[:, FINDINGS.index("Consolidation")] = np.isin(np.arange(200), [20, 30, 40, 50])
    y = of_study[study]
    known = np.ones_like(y)
    known[np.isin(study, [60, 61]), FINDINGS.index("Edema")] = 0
    patients = [f"patient{64741 + s % 150}" for s in study]
    studies = [f"test/{patient}/study{1 + s // 150}" for patient, s in zip(patients, study, strict=True)]
    ids = pd.DataFrame(
        {
            "split": np.where(study < 10, "val", "test"),
            "image": [f"{name}/view{i}_frontal.jpg" for i, name in enumerate(studies)],
            "study": studies,
            "patient": patients,
            "view": "PA",
            "sex": "F",
            "age": 50.0,
        }
    )
    return predictions_table(ids, FINDINGS, y, known, scores(spec, y))


def scores(spec: RunSpec, y: np.ndarray) -> np.ndarray:
    """Probabilities for labels y (N, T) from the spec's made-up skill."""
    seed = [*spec.arch.encode(), spec.minus, spec.seed, *spec.init.encode()]
    skill = SKILL.get(spec.arch, 1) / (1 + spec.minus) + (spec.init == "imagenet")
    return 1 / (1 + np.exp(-(skill * y + np.random.default_rng(seed).normal(size=y.shape))))
