"""What negative values in the last feature maps do to the class activation maps of a truncated family, in one Note."""

from __future__ import annotations

from typing import Any

import numpy as np

from chexlib.errors import UserError
from chexlib.paper import maps
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import counted, number

IMAGES = 32


@skips_missing
def about(results: Any, dataset: Any, arch: str | None = None, init: str | None = None) -> Note:
    """One line a network: how many values are negative, and what keeping them changes in the paper's maps.

    On the first frontal test images, whatever is in them, for all tasks; a model's first seed stands for it.
    """
    members = maps.family(results, arch, init)
    if members.empty:
        return maps.no_family(results)
    rows = maps.frontal(dataset)[:IMAGES]
    try:
        lines = [_line(results, model, np.asarray(dataset.pixels[rows])) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    return Note(
        "Where no ReLU ends a network, its feature maps have negative values. They are kept here, because pooling "
        "averages them with the rest; the alternative is to cut them off at zero before the sum. On "
        f"{counted(len(rows), 'image')} and {counted(len(results.all_tasks), 'task')}, by the paper's method:\n\n"
        + "\n".join(lines)
    )


def _line(results: Any, model: Any, images: np.ndarray) -> str:
    from chexlib.explain.cam import negatives
    from chexlib.stats import rank_correlations

    network, prepare = next(maps.load(results, model))
    share, *both = negatives(network, prepare(images), list(results.all_tasks))
    if share == 0:
        return f"- {model.label}: no value is negative, so both are the same."
    kept, cut = (one.flatten(2).flatten(0, 1).numpy(force=True) for one in both)  # (N T, points)
    lit = (kept.max(axis=1) > 0) & (cut.max(axis=1) > 0)
    dark = [np.mean(one.max(axis=1) == 0) for one in (kept, cut)]
    line = f"- {model.label}: {share:.0%} of the values are negative; "
    line += f"{dark[0]:.0%} of the maps are dark with them, {dark[1]:.0%} without."
    rho = rank_correlations(kept, cut)
    if not np.isnan(rho).all():
        line += f" Mean rank correlation of the two {number(float(np.nanmean(rho)), 2)},"
        same = (kept.argmax(axis=1) == cut.argmax(axis=1))[lit].mean()
        line += f" brightest at the same point in {same:.0%} of the maps that are dark in neither."
    return line
