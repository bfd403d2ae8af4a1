"""Class activation maps of a study's truncated networks on its test images: what Figure 5 is drawn from.

The maps are the paper's (section 3.3): positive gradients as weights, ReLU, scaled by the predicted probability. The
images are frontal ones, as in the paper's figure. torch is imported when maps are made, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexlib.data.labels import FINDINGS
from chexlib.errors import UserError
from chexlib.paper import designs
from chexlib.paper.notes import Note, skips_missing

PAPER_ROWS = ("Atelectasis", "Edema")
TRIED = 48
"""Test images with a finding of which Figure 5 shows the one that the model is surest of."""


@dataclass(frozen=True)
class CamGrid:
    """Maps of one family on one image a finding: what Figure 5 draws. K models, F findings."""

    labels: tuple[str, ...]  # (K,) columns
    init: str
    findings: tuple[str, ...]  # (F,) rows
    images: np.ndarray  # (F, H, W) uint8
    maps: np.ndarray  # (F, K, H, W) in [0, 1]
    native: tuple[tuple[int, int], ...]  # (K,) resolution of the maps before upsampling
    probabilities: np.ndarray  # (F, K)
    outlines: tuple[np.ndarray | None, ...]  # (F,) where the finding is, if known


@skips_missing
def cam_grid(
    results: Any,
    dataset: Any,
    arch: str | None = None,
    init: str | None = None,
    findings: tuple[str, ...] = PAPER_ROWS,
    private: bool = False,
) -> CamGrid | Note:
    """Runs a truncated family on one test image a finding; DenseNet121 before others, ImageNet weights before random.

    The image is the frontal test image with the finding that the whole model is surest of: a choice that flatters, made
    the same way each time. A Note where the study truncates nothing, or the images may not be shown (`private=True`
    overrides that, for your own screen), or weights are gone.
    """
    if not (dataset.shareable or private):
        return Note(
            f"The terms of {dataset.source.title} do not let images be shown, so no Figure 5 is drawn; on your own "
            "screen, `cam_grid(results, dataset, private=True)` makes it."
        )
    members = family(results, arch, init)
    if members.empty:
        return Note(
            f"Study {results.name} holds no truncated model beside its whole one, so there is no family to compare."
        )
    try:
        loaded = [load(results, model)[0] for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    chosen = {f: row for f in findings if (row := _surest(dataset, loaded[0], f)) is not None}
    if not chosen:
        return Note(f"No frontal test image shows {' or '.join(findings)}, so there is nothing to map.")
    return _grid(dataset, members, loaded, chosen)


def families(results: Any, arch: str | None = None, init: str | None = None) -> pd.DataFrame:
    """Rows of `designs.truncations` of every truncated family (of this arch or init), whole models first.

    DenseNet121, the paper's example, comes before the others, ImageNet weights before random ones.
    """
    table = designs.truncations(results)
    table = table[((table["arch"] == arch) | (arch is None)) & ((table["init"] == init) | (init is None))]
    order = pd.DataFrame(
        {
            "other": table["arch"] != "densenet121",
            "arch": table.groupby("arch", sort=False).ngroup(),
            "init": table["init"] != "imagenet",
            "minus": table["minus"],
        }
    )
    return table.loc[order.sort_values(list(order)).index]


def family(results: Any, arch: str | None = None, init: str | None = None) -> pd.DataFrame:
    """Rows of the first of `families`, or none."""
    table = families(results, arch, init)
    first = table[["arch", "init"]].head(1)
    return table.merge(first, on=["arch", "init"])


def load(results: Any, model: Any) -> list[tuple]:
    """(network, prepare) of each seed of a model, a row with arch, init and minus. Raises UserError without weights."""
    import torch

    from chexlib.runs.store import Run
    from chexlib.training.checkpoints import load_model

    runs = results.runs
    at = runs[(runs["arch"] == model.arch) & (runs["init"] == model.init) & (runs["minus"] == model.minus)]
    loaded = [load_model(Run(Path(folder))) for folder in at.sort_values("seed")["folder"]]
    fastest = torch.channels_last  # on a processor by a third
    return [(network.to(memory_format=fastest), prepare) for network, prepare in loaded]


def native(network: Any, prepare: Any, dataset: Any) -> tuple[int, int]:
    """How many cells a network's maps of the data set's images have, (h, w), before they are stretched."""
    import torch

    with torch.inference_mode():
        return tuple(network.maps(prepare(np.asarray(dataset.pixels[[0]]))).shape[-2:])


def positives(dataset: Any, finding: str, split: str = "test") -> np.ndarray:
    """Rows of the frontal images of a split with the finding."""
    table, rows = dataset.table, dataset.rows(split)
    frontal = table["view"] != "LATERAL"  # CheXpert's test set does not tell AP from PA
    return rows[((table[finding] == 1) & frontal).to_numpy()[rows]]


def outline(dataset: Any, row: int, finding: str) -> np.ndarray | None:
    """Where the finding is, (h, w) bool, or None where nobody marked it or it covers nothing."""
    mask = dataset.mask(row, finding)
    return None if mask is None or not np.any(mask) else np.asarray(mask, dtype=bool)


def _surest(dataset: Any, loaded: tuple, finding: str) -> int | None:
    """The frontal test image with the finding to which the model gives the highest logit."""
    import torch

    rows = positives(dataset, finding)[:TRIED]
    if not len(rows):
        return None
    network, prepare = loaded
    with torch.inference_mode():
        logits = network(prepare(np.asarray(dataset.pixels[rows])))
    return int(rows[int(logits[:, FINDINGS.index(finding)].argmax())])


def _grid(dataset: Any, members: pd.DataFrame, loaded: list[tuple], chosen: dict[str, int]) -> CamGrid:
    import torch

    from chexlib.explain.cam import grad_cam

    findings, rows = tuple(chosen), tuple(chosen.values())
    images = np.stack([np.asarray(dataset.pixels[row]) for row in rows])  # (F, H, W)
    maps, cells, probabilities = [], [], []
    for network, prepare in loaded:
        x = prepare(images)
        cams = np.asarray(grad_cam(network, x))  # (F, T, H, W)
        with torch.inference_mode():
            p = torch.sigmoid(network(x)).numpy()
        cells.append(native(network, prepare, dataset))
        columns = [FINDINGS.index(f) for f in findings]
        maps.append(cams[range(len(rows)), columns])
        probabilities.append(p[range(len(rows)), columns])
    outlines = tuple(outline(dataset, row, f) for f, row in chosen.items())
    return CamGrid(
        tuple(members["label"]),
        members["init"].iloc[0],
        findings,
        images,
        np.stack(maps, axis=1),
        tuple(cells),
        np.stack(probabilities, axis=1),
        outlines,
    )
