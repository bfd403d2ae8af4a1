"""Figure 5: class activation maps of a model and its truncations, drawn, and how well they lie on a known finding.

Columns are truncations with the resolution at which the map was computed; rows are findings. On phantom images,
where the place of a finding is known, its outline is drawn. The maps are made in `chexlib.figures.maps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator

from chexlib.figures.maps import CamGrid, MapScores
from chexlib.figures.style import INIT_TITLES, INITS, INK, RC, Plate, plate, point
from chexlib.paper.notes import Note, says_missing, skips_missing
from chexlib.paper.wording import counted, listed, number, reading, where, with_interval


@says_missing
def figure5(grid: CamGrid | Note, dataset: Any) -> Plate | Note:
    """The image, then its map under each truncation, one row a finding; native resolution over each column."""
    if isinstance(grid, Note):
        return grid
    lines, columns = len(grid.findings), len(grid.labels) + 1
    with rc_context(RC):
        figure, axes = plate(lines, columns, height=0.35 + 1.02 * lines * 6.4 / columns, source=dataset)
        for i, finding in enumerate(grid.findings):
            _image(axes[i, 0], grid.images[i], grid.outlines[i])
            axes[i, 0].set_ylabel(finding, fontsize=10)
            for k in range(len(grid.labels)):
                _image(axes[i, k + 1], grid.images[i], grid.outlines[i])
                heat = grid.maps[i, k]
                axes[i, k + 1].imshow(
                    heat, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * np.sqrt(heat), extent=(0, 1, 1, 0)
                )
                axes[i, k + 1].set_xlabel(f"p = {grid.probabilities[i, k]:.2f}", fontsize=9, labelpad=2)
        axes[0, 0].set_title("image", fontsize=9, loc="center")
        for k, (label, (h, w)) in enumerate(zip(grid.labels, grid.native, strict=True)):
            name = label if "Minus" not in label else "Minus" + label.split("Minus")[1]
            axes[0, k + 1].set_title(f"{name}\n{h} × {w} map", fontsize=9, loc="center")
    return figure


def describe(grid: CamGrid | Note) -> Note:
    """Which models, which resolutions, and what the choice of images does: the sentence under Figure 5."""
    if isinstance(grid, Note):
        return Note("")  # the figure above has said why
    steps = listed([f"{label} {h} by {w}" for label, (h, w) in zip(grid.labels, grid.native, strict=True)])
    outlined = (
        " The white line is where the phantom drew the finding." if any(o is not None for o in grid.outlines) else ""
    )
    return Note(
        f"Cells in each map ({INIT_TITLES.get(grid.init, grid.init)}): {steps}.{outlined} Each row shows the "
        "frontal test image with the finding that "
        f"{grid.labels[0]} is surest of: one image, picked because a model likes it, shows what maps look like "
        "and not how good they are."
    )


@skips_missing
def localisation(scores: MapScores | Note, dataset: Any) -> Plate | Note:
    """Pixel AUROC of each truncation's maps, one row a model, with 95 % intervals; the line is chance."""
    if isinstance(scores, Note):
        return scores
    with rc_context(RC):
        figure, grid = plate(height=1.0 + 0.32 * len(scores.labels), source=dataset)
        axes = grid[0, 0]
        axes.axvline(0.5, color=INK, linewidth=1)
        for y, one in enumerate(scores.scores[::-1]):
            point(axes, one.value, y, one.low, one.high, INITS.get(scores.init, INITS["random"]), vertical=False)
        axes.set_yticks(range(len(scores.labels)), scores.labels[::-1])
        axes.set_ylim(-0.6, len(scores.labels) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("chance that the map is brighter on the finding")
        axes.set_title(INIT_TITLES.get(scores.init, scores.init))
    return figure


def describe_scores(scores: MapScores | Note) -> Note:
    """How each truncation's maps compare with the whole model's, with intervals; empty where there is no figure."""
    if isinstance(scores, Note):
        return Note("")
    lines = [
        f"- {label}: {with_interval(one.value, one.low, one.high)}, a change of "
        f"{with_interval(change.value, change.low, change.high, sign=True)}; {reading(change)}."
        for label, one, change in zip(scores.labels[1:], scores.scores[1:], scores.changes, strict=True)
    ]
    whole = scores.scores[0]
    return Note(
        f"On {counted(scores.images, 'image')} of {counted(scores.patients, 'patient')} "
        f"({listed(list(scores.findings))}), "
        f"{scores.labels[0]} has {with_interval(whole.value, whole.low, whole.high)}. Its truncations:\n\n"
        + "\n".join(lines)
    )


@says_missing
def answer(grid: CamGrid | Note, scores: MapScores | Note, results: Any) -> Note:
    """Answer of notebook 06, in one sentence for the landing page."""
    if not isinstance(grid, CamGrid):
        return Note(str(grid) or f"Study {results.name} has no images at hand to make maps of.")
    (h, w), (h1, w1) = grid.native[0], grid.native[-1]
    moves = (
        f"takes its activation maps from {h} by {w} to {h1} by {w1} cells"
        if (h, w) != (h1, w1)
        else (f"leaves its activation maps at {h} by {w} cells")
    )
    blocks = counted(len(grid.labels) - 1, "block")
    text = f"Dropping {blocks} of {grid.labels[0]} {moves}{where(results)}"
    if not isinstance(scores, MapScores):
        return Note(f"{text}; whether they then lie better on the finding is not measured here.")
    last = scores.changes[-1]
    return Note(
        f"{text}; the chance that a map is brighter on the finding than off it goes from "
        f"{number(scores.scores[0].value)} to "
        f"{number(scores.scores[-1].value)}, a change of "
        f"{with_interval(last.value, last.low, last.high, sign=True)}: {reading(last)}."
    )


def _image(axes: Any, image: np.ndarray, outline: np.ndarray | None) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), interpolation="bilinear")
    if outline is not None:
        axes.contour(outline.astype(float), levels=[0.5], colors="white", linewidths=1.0, extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
