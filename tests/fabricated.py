"""Results made of invented numbers, shaped as `open_results` gives them: what figures and tables are tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from chexlib.data.labels import TASKS
from chexlib.models.zoo import ARCHITECTURES
from chexlib.stats import draw_seeds, paired_difference, seeds_interval

TRUNCATED = {
    "densenet121": [4281742, 1304718, 348174],
    "mnasnet": [2087414, 474614, 265206, 46966],
    "resnet18": [2786382, 684878, 158414],
    "efficientnet_b0": [2880858, 853390],
    "efficientnet_lite0": [2244318, 699630],
}
RARE = pd.DataFrame(
    {"positives": [4, 7], "negatives": [196, 193]},
    index=pd.Index(["Cardiomegaly", "Consolidation"], name="task"),
)
LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@dataclass
class FabricatedResults:
    """The parts of `chexlib.paper.results.Results` that are read by figures, tables and sentences."""

    name: str
    dataset: str
    models: pd.DataFrame
    replicates: np.ndarray
    runs: pd.DataFrame
    seed_spread: pd.DataFrame
    rare: pd.DataFrame
    all_tasks: tuple[str, ...] = TASKS
    title: str = "Invented"
    n_studies: int = 200
    n_patients: int = 150

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task in self.all_tasks if task not in self.rare.index)

    @property
    def by_task(self) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {
                    "model": name,
                    "task": task,
                    "rare": task in self.rare.index,
                    "auc": row[f"auc:{task}"],
                    "low": row[f"auc:{task}"] - 0.1,
                    "high": row[f"auc:{task}"] + 0.1,
                }
                for name, row in self.models.iterrows()
                for task in self.all_tasks
            ]
        )

    @property
    def is_demo(self) -> bool:
        return self.dataset == "phantom"

    @property
    def shareable(self) -> bool:
        return self.dataset != "chexpert"

    @property
    def caption(self) -> str:
        return (
            "Study demo: phantom images (not patients), " if self.is_demo else f"{self.dataset}, "
        ) + f"{len(self.runs)} runs"

    @property
    def by_seed(self) -> pd.DataFrame:
        return self.runs[self.runs["model"].isin(self.seed_spread.index)][["model", "seed", "auc"]]

    @cached_property
    def draws(self):
        values = [self.runs.loc[self.runs["model"] == model, "auc"] for model in self.models.index]
        return draw_seeds(values, len(self.replicates))

    def over_seeds(self, weights: np.ndarray) -> np.ndarray:
        return self.replicates + self.draws.shifts(weights)

    def difference(self, a: str | list[str], b: str | list[str]):
        names = self.models.index
        weights = names.isin([a] if isinstance(a, str) else a) / 1.0
        weights /= weights.sum()
        other = names.isin([b] if isinstance(b, str) else b) / 1.0
        weights -= other / other.sum()
        found = paired_difference(weights @ self.models["auc"], self.replicates @ weights)
        low, high = seeds_interval(self.replicates @ weights, self.over_seeds(weights) @ weights)
        return replace(found, low_seeds=float(low), high_seeds=float(high))

    def log(self, run_id: str) -> pd.DataFrame:
        run = self.runs.set_index("run_id").loc[run_id]
        epochs = np.arange(1, 6)
        return pd.DataFrame(
            {"event": "eval", "epoch": epochs, "images": 600 * epochs, "auc": run["auc"] - 0.2 / epochs}
        )


def fabricate(kind: str = "demo", seed: int = 0) -> FabricatedResults:
    """Results like study demo's (ImageNet weights for Lite), nih's (Lite in three seeds), paper's or smoke's.

    Kind "seeds" is like the paper's with three seeds of every model.
    """
    rng = np.random.default_rng(seed)
    found = []
    for name, minus, init, seeds in _plan(kind):
        row = ARCHITECTURES[name]
        parameters = TRUNCATED[name][minus - 1] if minus else row.parameters
        auc = (
            0.68
            + 0.02 * np.log10(parameters / 1e6)
            + 0.05 * (init == "imagenet")
            - 0.03 * (minus > 1)
            + rng.normal(0, 0.02)
        )
        for s in range(seeds):
            found.append(
                {
                    "arch": name,
                    "minus": minus,
                    "init": init,
                    "seed": s,
                    "label": row.label(minus),
                    "family": row.family,
                    "parameters": parameters,
                    "top1": row.top1,
                    "in_paper": row.in_paper,
                    "auc": auc + rng.normal(0, 0.006),
                    "run_id": f"{name}-{minus}-{init}-{s}",
                    "folder": "",
                }
            )
    runs = pd.DataFrame(found)
    runs["model"] = runs["label"] + " · " + runs["init"]
    models = runs.groupby("model", sort=False).agg(
        label=("label", "first"),
        arch=("arch", "first"),
        minus=("minus", "first"),
        init=("init", "first"),
        seeds=("seed", "size"),
        family=("family", "first"),
        parameters=("parameters", "first"),
        top1=("top1", "first"),
        in_paper=("in_paper", "first"),
        auc=("auc", "mean"),
    )
    replicates = models["auc"].to_numpy() + rng.normal(0, 0.02, (400, 1)) + rng.normal(0, 0.008, (400, len(models)))
    models["low"], models["high"] = np.percentile(replicates, [2.5, 97.5], axis=0)
    for task in TASKS:
        models[f"auc:{task}"] = models["auc"] + rng.normal(0, 0.03, len(models))
    many = runs.groupby("model", sort=False)["auc"].agg(["min", "max", "std", "size"])
    spread = many[many["size"] > 1].rename(columns={"std": "sd", "size": "seeds"})[["seeds", "min", "max", "sd"]]
    results = FabricatedResults(
        kind,
        {"nih": "nih", "paper": "chexpert", "seeds": "chexpert"}.get(kind, "phantom"),
        models,
        replicates,
        runs,
        spread,
        rare=RARE if kind == "nih" else RARE.iloc[:0],
    )
    alone = [seeds_interval(replicates @ one, results.over_seeds(one) @ one) for one in np.eye(len(models))]
    models["low_seeds"], models["high_seeds"] = np.transpose(alone)
    return results


def _plan(kind: str) -> list[tuple[str, int, str, int]]:
    """(architecture, minus, init, seeds) of every model of the study."""
    if kind == "smoke":
        return [("resnet18", 0, "random", 1), ("efficientnet_lite0", 0, "random", 1)]
    plan = []
    for name in ARCHITECTURES:
        pretrained = kind in ("paper", "seeds") or name in LITE
        seeds = 3 if kind == "seeds" or (kind == "nih" and name in LITE) else 1
        for init in ("random", "imagenet") if pretrained else ("random",):
            cuts = range(len(TRUNCATED.get(name, [])) + 1)
            plan += [(name, minus, init, seeds) for minus in cuts]
    return plan
