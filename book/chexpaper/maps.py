"""A study's truncated families, those of their weights that are at hand, and its images: what notebook 06 looks at.

Maps are made by `chexlib.explain`, and measured in the notebook; here it is only said which networks and images there
are. torch is imported when a network is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexlib.data.dataset import Dataset, open_for
from chexlib.results import Results
from chexlib.results.native_maps import FILE, with_weights
from chexlib.runs.store import Run

if TYPE_CHECKING:
    from chexlib.models import Classifier
    from chexlib.training.device import Normaliser


def families(results: Results) -> pd.DataFrame:
    """Rows of `results.models` of every truncated family, whole networks first; `whole` names a row's whole network.

    DenseNet121, the paper's example, comes before the others, ImageNet weights before random ones.
    """
    table = results.models
    alike = ["arch", "init", "variant"]  # in which a truncated network and its whole one agree
    whole = table[table["minus"] == 0].reset_index().set_index(alike)["model"]
    its = pd.MultiIndex.from_frame(table[alike])
    table = table.assign(whole=whole.reindex(its).to_numpy()).dropna(subset="whole")
    table = table[table.groupby("whole")["minus"].transform("max") > 0]
    order = pd.DataFrame(
        {
            "other": table["arch"] != "densenet121",
            "arch": table.groupby("arch", sort=False).ngroup(),
            "variant": table["variant"],
            "init": table["init"] != "imagenet",
            "minus": table["minus"],
            "norm": table["norm"],
        }
    )
    return table.loc[order.sort_values(list(order)).index]


def open_images(results: Results, data: str | Path = "") -> Dataset | None:
    """The data set that the study's runs read, from the folder `data`; None where it needs a folder and none is given.

    Raises UserError where the folder cannot be read.
    """
    if not data and results.dataset != "phantom":
        return None
    return open_for(results.finished[0].spec, data or None, progress=False)


def why_none(results: Results, dataset: Dataset | None, networks: pd.DataFrame) -> str:
    """Why there is no map of these networks; empty where each has some."""
    if dataset is None:
        return f"study {results.name} reads {results.dataset}, and no folder of it was given (parameter `data`)"
    if networks.empty:
        return f"study {results.name} holds no truncated network beside its whole one"
    runs = [run for model in networks.index for run in its_runs(results, model)]
    if not all((run.folder / FILE).exists() or with_weights(run) for run in runs):
        return "neither maps nor weights are there: train the study to have them"
    return ""


def loaded(results: Results, models: Iterable[str], most: int = 5) -> dict[str, tuple[Classifier, Normaliser]]:
    """Networks whose weights are on this machine, by label: the best checkpoint of each one's first seed that is.

    With each what normalises its images; on a GPU where there is one. Raises UserError where weights are damaged.
    """
    found: dict[str, tuple] = {}
    for model in models:
        at_hand = next(filter(None, map(with_weights, its_runs(results, model))), None)
        if at_hand is None or len(found) == most:
            continue
        import torch

        from chexlib.training.checkpoints import load_model
        from chexlib.training.device import device_type

        network, prepare = load_model(at_hand)
        network = network.to(device_type(), memory_format=torch.channels_last)  # on a processor faster by a third
        found[title(results.models.loc[model])] = network, partial(prepare, device=device_type())
    return found


def title(row: pd.Series) -> str:
    """A network's name, with its init where that is not random: "EfficientNetLite0Minus2, imagenet"."""
    return row["label"] + (f", {row['init']}" if row["init"] != "random" else "")


def its_runs(results: Results, model: str) -> list[Run]:
    """A network's runs, by seed."""
    runs = results.runs[results.runs["model"] == model].sort_values("seed")
    return [Run(Path(folder)) for folder in runs["folder"]]


def mask(dataset: Dataset, row: int, finding: str) -> np.ndarray | None:
    """Where the finding is marked, (size, size) bool; None where nobody marked it or it covers nothing.

    By the phantom's drawing, a box of NIH's, or CheXlocalize; a mark that is smaller than a point keeps one.
    """
    marked = dataset.mask(row, finding)
    return fit(np.asarray(marked, dtype=bool), dataset.size) if marked is not None and np.any(marked) else None


def fit(marked: np.ndarray, size: int) -> np.ndarray:
    """A mask (h, w) bool at (size, size), by its nearest points; it keeps at least one."""
    rows, columns = (((np.arange(size) + 0.5) * n / size).astype(int) for n in marked.shape)
    fitted = marked[np.ix_(rows, columns)]
    if not fitted.any():
        y, x = (int(at.mean() * size / n) for at, n in zip(np.nonzero(marked), marked.shape, strict=True))
        fitted[y, x] = True
    return fitted
