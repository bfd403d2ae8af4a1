"""What Figure 5 is drawn from: class activation maps of a truncated family, and how well they lie on findings.

The maps are the paper's (section 3.3): positive gradients as weights, ReLU, scaled by the predicted probability. On
phantom images the place of a finding is known, so `map_scores` counts what the paper shows by example: per image, the
chance that a point inside the finding is brighter on its map than a point outside (a pixel AUROC; 0.5 is chance).
torch is imported when maps are made, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.data.labels import FINDINGS
from chexlib.errors import UserError
from chexlib.paper import designs, measures
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Note, skips_missing

PAPER_ROWS = ("Atelectasis", "Edema")
MOST = 48
"""Test images tried or scored per finding."""


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


@dataclass(frozen=True)
class MapScores:
    """Pixel AUROC of each model's maps, averaged over images, with intervals over patients. K models."""

    labels: tuple[str, ...]
    init: str
    scores: tuple[Estimate, ...]  # (K,)
    changes: tuple[Estimate, ...]  # (K - 1,) each truncation minus the whole model, paired
    findings: tuple[str, ...]
    images: int
    patients: int


@skips_missing
def cam_grid(
    results: Any,
    dataset: Any,
    arch: str | None = None,
    init: str | None = None,
    findings: tuple[str, ...] = PAPER_ROWS,
    private: bool = False,
) -> CamGrid | Note:
    """Runs a truncated family on one test image a finding; ImageNet weights before random, DenseNet121 before others.

    The image is the frontal test image with the finding that the whole model is surest of: a choice that flatters, made
    the same way each time. A Note where the study truncates nothing, or the images may not be shown (`private=True`
    overrides that, for your own screen), or weights are gone.
    """
    if not (dataset.shareable or private):
        return Note(
            f"The terms of {dataset.source.title} do not let images be shown, so no Figure 5 is drawn; on your "
            "own screen, "
            "`cam_grid(results, dataset, private=True)` makes it."
        )
    members = _family(results, arch, init)
    if members.empty:
        return Note(
            f"Study {results.name} holds no truncated model beside its whole one, so there is no family to compare."
        )
    try:
        loaded = [_load(results, model) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    chosen = {f: row for f in findings if (row := _surest(dataset, loaded[0], f)) is not None}
    if not chosen:
        return Note(f"No frontal test image shows {' or '.join(findings)}, so there is nothing to map.")
    return _compute(dataset, members, loaded, chosen)


@skips_missing
def map_scores(
    results: Any, dataset: Any, arch: str | None = None, init: str | None = None, seed: int = 0
) -> MapScores | Note:
    """Scores a truncated family's maps against where the phantom drew the findings; a Note where no place is known.

    Every task that has masks enters, with at most MOST frontal test images that show it; patients are drawn anew.
    """
    if dataset.name != "phantom":
        return Note("Nobody has drawn where the findings are in these images, so the maps cannot be scored here.")
    members = _family(results, arch, init)
    if members.empty:
        return Note(
            f"Study {results.name} holds no truncated model beside its whole one, so there is nothing to compare."
        )
    pairs = [
        (row, task, mask)
        for task in results.all_tasks
        for row in _positives(dataset, task)
        if (mask := _outline(dataset, row, task)) is not None
    ]
    try:
        loaded = [_load(results, model) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    if not pairs:
        return Note("No frontal test image shows a finding whose place is known.")
    scores = np.stack([_score(model, dataset, pairs) for model in loaded])  # (K, pairs)
    patients = dataset.table["patient"].to_numpy()[[row for row, _, _ in pairs]]
    counts = stats.resample_counts(len(pairs), patients, seed=seed)  # (R, pairs)
    replicates = counts @ scores.T / counts.sum(axis=1, keepdims=True)  # (R, K)
    means = scores.mean(axis=1)
    return MapScores(
        tuple(members["label"]),
        members["init"].iloc[0],
        tuple(measures.estimate(means[k], replicates[:, k]) for k in range(len(means))),
        tuple(
            measures.estimate(means[k] - means[0], replicates[:, k] - replicates[:, 0]) for k in range(1, len(means))
        ),
        tuple(dict.fromkeys(task for _, task, _ in pairs)),
        len(pairs),
        len(set(patients)),
    )


def pixel_auroc(cam: np.ndarray, mask: np.ndarray) -> float:
    """Chance that a point of a map (H, W) inside the mask (H, W, bool) is brighter than one outside (tie: half)."""
    return float(stats.auroc(mask.reshape(-1, 1).astype(float), cam.reshape(-1, 1))[0])


def _family(results: Any, arch: str | None, init: str | None) -> pd.DataFrame:
    """Rows of `results.models` of one truncated family from one init, whole model first."""
    table = designs.truncations(results)
    if table.empty:
        return table
    choice = table.drop_duplicates(["arch", "init"])
    choice = choice[(choice["arch"] == arch) | (arch is None)]
    choice = choice[(choice["init"] == init) | (init is None)]
    if choice.empty:
        return table.iloc[:0]
    order = sorted(choice.itertuples(), key=lambda c: (c.init != "imagenet", c.arch != "densenet121"))
    return table[(table["arch"] == order[0].arch) & (table["init"] == order[0].init)].sort_values("minus")


def _load(results: Any, model: Any) -> tuple:
    """(network, prepare) of a model's first seed."""
    from chexlib.runs.store import Run
    from chexlib.training.checkpoints import load_model

    runs = results.runs
    at = runs[(runs["arch"] == model.arch) & (runs["init"] == model.init) & (runs["minus"] == model.minus)].sort_values(
        "seed"
    )
    return load_model(Run(Path(at["folder"].iloc[0])))


def _positives(dataset: Any, finding: str) -> np.ndarray:
    """Rows of at most MOST frontal test images with the finding."""
    table, rows = dataset.table, dataset.rows("test")
    frontal = table["view"] != "LATERAL"  # as in the paper's figure; CheXpert's test set does not tell AP from PA
    return rows[((table[finding] == 1) & frontal).to_numpy()[rows]][:MOST]


def _surest(dataset: Any, loaded: tuple, finding: str) -> int | None:
    """The frontal test image with the finding to which the model gives the highest logit."""
    import torch

    rows = _positives(dataset, finding)
    if not len(rows):
        return None
    network, prepare = loaded
    with torch.inference_mode():
        logits = network(prepare(np.asarray(dataset.pixels[rows])))
    return int(rows[int(logits[:, FINDINGS.index(finding)].argmax())])


def _compute(dataset: Any, members: pd.DataFrame, loaded: list[tuple], chosen: dict[str, int]) -> CamGrid:
    import torch

    from chexlib.explain.cam import grad_cam

    findings, rows = tuple(chosen), tuple(chosen.values())
    images = np.stack([np.asarray(dataset.pixels[row]) for row in rows])  # (F, H, W)
    maps, native, probabilities = [], [], []
    for network, prepare in loaded:
        x = prepare(images)
        cams = np.asarray(grad_cam(network, x))  # (F, T, H, W)
        with torch.inference_mode():
            native.append(tuple(network.maps(x[:1]).shape[-2:]))
            p = torch.sigmoid(network(x)).numpy()
        columns = [FINDINGS.index(f) for f in findings]
        maps.append(cams[range(len(rows)), columns])
        probabilities.append(p[range(len(rows)), columns])
    outlines = tuple(_outline(dataset, row, f) for f, row in chosen.items())
    return CamGrid(
        tuple(members["label"]),
        members["init"].iloc[0],
        findings,
        images,
        np.stack(maps, axis=1),
        tuple(native),
        np.stack(probabilities, axis=1),
        outlines,
    )


def _score(loaded: tuple, dataset: Any, pairs: list[tuple]) -> np.ndarray:
    """(pairs,) pixel AUROC of one model's maps."""
    from chexlib.explain.cam import grad_cam

    network, prepare = loaded
    found = np.empty(len(pairs))
    for finding in dict.fromkeys(task for _, task, _ in pairs):
        at = [i for i, (_, task, _) in enumerate(pairs) if task == finding]
        pixels = np.stack([np.asarray(dataset.pixels[pairs[i][0]]) for i in at])
        cams = grad_cam(network, prepare(pixels), [FINDINGS.index(finding)]).numpy()[:, 0]  # (n, H, W)
        found[at] = [pixel_auroc(cam, _fit(pairs[i][2], cam.shape)) for i, cam in zip(at, cams, strict=True)]
    return found


def _fit(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at the size of the map (nearest neighbour); it keeps at least one point."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, mask.shape, strict=True))
    fitted = mask[np.ix_(rows, columns)]
    if not fitted.any():
        y, x = (int(at.mean() * n / m) for at, n, m in zip(np.nonzero(mask), shape, mask.shape, strict=True))
        fitted[y, x] = True
    return fitted


def _outline(dataset: Any, row: int, finding: str) -> np.ndarray | None:
    """Where the finding is, (h, w) bool, or None where nobody marked it or it covers nothing."""
    mask = dataset.mask(row, finding)
    return None if mask is None or not np.any(mask) else np.asarray(mask, dtype=bool)
