"""Class activation maps of a study's truncated networks on its test images: what Figure 5 is drawn from.

The maps are the paper's (section 3.3): positive gradients as weights, ReLU, scaled by the predicted probability. The
images are frontal ones, as in the paper's figure. torch is imported when maps are made, not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
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
    """Maps on one image a finding, by a family's networks or by all methods: what Figure 5 draws. F findings."""

    labels: tuple[str, ...]  # (K,) columns: networks or methods
    network: str  # the whole network, or the one whose maps are made by all methods
    init: str
    findings: tuple[str, ...]  # (F,)
    rows: tuple[int, ...]  # (F,) of the data set
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
        return no_family(results)
    try:
        loaded = [next(load(results, model)) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    chosen = {f: row for f in findings if (row := _surest(dataset, loaded[0], f)) is not None}
    if not chosen:
        return Note(f"No frontal test image shows {' or '.join(findings)}, so there is nothing to map.")
    columns = [(label, *one, "paper") for label, one in zip(members["label"], loaded, strict=True)]
    return _grid(dataset, columns, members["init"].iloc[0], chosen)


def method_grid(results: Any, dataset: Any, grid: CamGrid | Note) -> CamGrid | Note:
    """The images of `grid`, from `cam_grid`, under its first truncation, by each of `chexlib.explain.cam.METHODS`."""
    from chexlib.explain.cam import METHODS

    if isinstance(grid, Note):
        return Note("")  # Figure 5's place has said why
    table = families(results, init=grid.init)
    model = next(table[table["label"] == grid.labels[1]].itertuples())
    loaded = next(load(results, model))
    columns = [(method, *loaded, method) for method in METHODS]
    return _grid(dataset, columns, grid.init, dict(zip(grid.findings, grid.rows, strict=True)), model.label)


def no_family(results: Any) -> Note:
    """Why a study has no `family`."""
    return Note(
        f"Study {results.name} holds no truncated model beside its whole one, so there is no family to compare."
    )


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


def load(results: Any, model: Any) -> Iterator[tuple]:
    """(network, prepare) of each seed of a model (a row with arch, init, minus): its best checkpoint, on a GPU if any.

    Raises UserError where a seed's weights are gone.
    """
    import torch

    from chexlib.runs.store import Run
    from chexlib.training.checkpoints import load_model
    from chexlib.training.device import device_type

    runs = results.runs
    at = runs[(runs["arch"] == model.arch) & (runs["init"] == model.init) & (runs["minus"] == model.minus)]
    for folder in at.sort_values("seed")["folder"]:
        network, prepare = load_model(Run(Path(folder)))
        network = network.to(device_type(), memory_format=torch.channels_last)  # on a processor faster by a third
        yield network, partial(prepare, device=device_type())


def native(network: Any, prepare: Any, dataset: Any) -> tuple[int, int]:
    """How many cells a network's maps of the data set's images have, (h, w), before they are stretched."""
    import torch

    with torch.inference_mode():
        return tuple(network.maps(prepare(np.asarray(dataset.pixels[[0]]))).shape[-2:])


def frontal(dataset: Any, split: str = "test") -> np.ndarray:
    """Rows of the frontal images of a split; CheXpert's test set does not tell AP from PA."""
    rows = dataset.rows(split)
    return rows[(dataset.table["view"] != "LATERAL").to_numpy()[rows]]


def positives(dataset: Any, finding: str, split: str = "test") -> np.ndarray:
    """Those of them with the finding."""
    rows = frontal(dataset, split)
    return rows[(dataset.table[finding] == 1).to_numpy()[rows]]


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


def _grid(
    dataset: Any, columns: list[tuple[str, Any, Any, str]], init: str, chosen: dict[str, int], network: str = ""
) -> CamGrid:
    """A column for each (label, network, prepare, method)."""
    import torch

    from chexlib.explain.cam import cam

    findings, rows = tuple(chosen), tuple(chosen.values())
    images = np.stack([np.asarray(dataset.pixels[row]) for row in rows])  # (F, H, W)
    at = [FINDINGS.index(f) for f in findings]
    maps, cells, probabilities = [], [], []
    for _, model, prepare, method in columns:
        x = prepare(images)
        cams = cam(model, x, at, method).numpy(force=True)  # (F, F, H, W)
        with torch.inference_mode():
            p = torch.sigmoid(model(x)).numpy(force=True)  # (F, T)
        maps.append(cams[range(len(rows)), range(len(rows))])
        cells.append(native(model, prepare, dataset))
        probabilities.append(p[range(len(rows)), at])
    return CamGrid(
        tuple(label for label, *_ in columns),
        network or columns[0][0],
        init,
        findings,
        rows,
        images,
        np.stack(maps, axis=1),
        tuple(cells),
        np.stack(probabilities, axis=1),
        tuple(outline(dataset, row, f) for f, row in chosen.items()),
    )
