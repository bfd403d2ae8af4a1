"""How alike a study's networks are inside, stage by stage: each run's end with its start, and runs with each other.

Transfusion (Raghu et al. 2019, section 4) compares what networks compute from the same images: before training and
after it, from two random starts, from random and from pretrained weights. A study that says `compare_features: true`
has this in `<study>.similarity.csv` beside its published runs, a row a comparison, stage and measure: weights are not
published.

Starts are made again from the spec; an end is the best checkpoint. Runs are compared, starts with starts and ends with
ends, that differ in the seed alone, both from random weights, or in the init alone, from random and ImageNet weights.
Every comparison has three measures:

- `cka`, of averages over positions;
- `cca`, of POSITIONS of each image; not where these are fewer than EXAMPLES a channel, of which it would say little;
- `filters`, of a run with itself alone: the mean cosine of the first convolution's filters with what they began as,
  and in place of an interval the middle 95 % of filters. Filters that nothing joins have 0 on average.

torch is imported when features are compared, not when the table is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from chexlib.data.dataset import Dataset
from chexlib.errors import UserError
from chexlib.results.native_maps import with_weights
from chexlib.runs.store import Run, RunStore

if TYPE_CHECKING:
    from torch import nn

COMPARED = ("run", "at", "other", "other_at")
COLUMNS = (*COMPARED, "stage", "measure", "value", "low", "high", "null", "images", "needed")
START, END = "start", "end"
IMAGES, POSITIONS, EXAMPLES, BATCH = 600, 16, 10, 64
"""The most test images that are compared; positions of each; examples a channel for CCA; images at a time."""

Comparison = tuple[Run, str, Run, str]
"""A run, whether at its start or end, another run or the same, and when."""


def similarity_file(folder: Path, study: str) -> Path:
    return folder / f"{study}.similarity.csv"


def read_similarities(folder: Path, study: str) -> pd.DataFrame:
    """The table (COLUMNS) beside a folder's runs; empty where there is none. Raises UserError for a damaged one."""
    path = similarity_file(folder, study)
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    try:
        if path.name in RunStore(folder).damaged(study):
            raise ValueError("not what was written")
        return pd.read_csv(path)[list(COLUMNS)]
    except (ValueError, KeyError):
        raise UserError(f"{path}: not readable as similarities: export the study again") from None


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Each run with itself, and all pairs that tell something."""
    pairs = [pair for pair in combinations(runs, 2) if _tells(*pair)]
    return [(run, START, run, END) for run in runs] + [(a, at, b, at) for a, b in pairs for at in (START, END)]


def _tells(a: Run, b: Run) -> bool:
    """Whether two runs on all images differ in nothing but random weights' seed, or random and ImageNet weights."""
    seeds, inits = {a.spec.seed, b.spec.seed}, {a.spec.init, b.spec.init}
    alike = replace(a.spec, seed=0, init="random") == replace(b.spec, seed=0, init="random")
    return alike and not a.spec.train_images and (
        inits == {"random"} or (inits == {"random", "imagenet"} and len(seeds) == 1)
    )  # fmt: skip


def compare_runs(runs: Sequence[Run], dataset: Dataset, known: pd.DataFrame, progress: bool = True) -> pd.DataFrame:
    """The table (COLUMNS) of these runs: what `known` has of them, and all comparisons of those with weights here."""
    with_them = [weighty for weighty in map(with_weights, runs) if weighty]
    names = {run.run_id for run in runs}
    tables = [known[known["run"].isin(names) & known["other"].isin(names)]]
    done = set(tables[0][list(COMPARED)].itertuples(index=False, name=None))
    todo = [one for one in comparisons(with_them) if _names(one) not in done]
    for one in tqdm(todo, "comparing features", unit="pair", disable=not progress, leave=False):
        rows = pd.DataFrame(_compare(one, dataset))
        tables.append(rows.assign(**dict(zip(COMPARED, _names(one), strict=True))))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)[list(COLUMNS)]


def _names(comparison: Comparison) -> tuple[str, str, str, str]:
    run, at, other, other_at = comparison
    return run.run_id, at, other.run_id, other_at


def _compare(comparison: Comparison, dataset: Dataset) -> list[dict]:
    """A row a stage and measure, of the first IMAGES test images in an order that is drawn once for all."""
    from chexlib.explain.features import stage_features
    from chexlib.explain.similarity import Pair
    from chexlib.training.checkpoints import load_model, load_start
    from chexlib.training.device import device_type

    run, at, other, other_at = comparison
    device = device_type()
    x, of_x = (load_start if at == START else load_model)(run)
    y, of_y = (load_start if other_at == START else load_model)(other)
    x, y = x.to(device), y.to(device)
    test = np.random.default_rng(0).permutation(dataset.rows("test"))[:IMAGES]
    pairs: dict[tuple[str, str], Pair] = {}
    for rows in np.split(test, range(BATCH, len(test), BATCH)):
        pixels, patients = dataset.pixels[rows], list(dataset.table["patient"].iloc[rows])
        first, second = stage_features(x, of_x(pixels, device)), stage_features(y, of_y(pixels, device))
        for stage in [name for name in first if name != "maps"] or ["maps"]:
            channels, *size = first[stage].shape[1:]
            examples = len(test) * min(POSITIONS, int(np.prod(size)))
            measures = {"cka": None, "cca": POSITIONS} if examples >= EXAMPLES * channels else {"cka": None}
            for measure, positions in measures.items():
                pair = pairs.setdefault((stage, measure), Pair(positions))
                pair.add(first[stage], second[stage], patients)
    found = [
        {"stage": stage, "measure": measure}
        | {name: getattr(said, name) for name in ("value", "low", "high", "null", "images", "needed")}
        for (stage, measure), pair in pairs.items()
        for said in [pair.similarity(measure)]
    ]
    return [*found, _filters(x, y)] if run.run_id == other.run_id else found


def _filters(start: nn.Module, end: nn.Module) -> dict:
    """How much of the first convolution's filters (F, C, k, k) is left: their cosines with what they began as."""
    from torch import nn
    from torch.nn.functional import cosine_similarity

    first = (next(m for m in network.modules() if isinstance(m, nn.Conv2d)) for network in (start, end))
    cosines = cosine_similarity(*(conv.weight.flatten(1).double() for conv in first)).numpy(force=True)  # (F,)
    low, high = np.percentile(cosines, [2.5, 97.5])
    return {"stage": "conv1", "measure": "filters", "value": cosines.mean(), "low": low, "high": high, "null": 0.0,
            "images": 0, "needed": 0}  # fmt: skip
