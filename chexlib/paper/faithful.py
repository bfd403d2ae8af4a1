"""Deletion and insertion curves of one truncated family's maps: whether their bright points are what the network uses.

The areas of two networks differ as their probabilities do, so a map is compared with random cells of its own size on
the same network and images: `gain` is how much smaller the map's deletion area is, or how much larger its insertion
area. Patients are drawn anew for its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.data.labels import FINDINGS
from chexlib.errors import UserError
from chexlib.paper import maps
from chexlib.paper.exhibits import Caption
from chexlib.paper.measures import Estimate, estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import counted, reading, with_intervals

IMAGES = 4
"""Of each finding: every one passes through each network some 40 times."""

STEPS = 10
GAMES = ("deletion", "insertion")
MARGIN = 0.01
"""Gains nearer than this to zero are called none, once the whole interval is inside; our choice."""


@dataclass(frozen=True)
class Faithfulness:
    """K models' mean curves (K, S + 1) on the same images, for each of GAMES, along maps and along random cells."""

    labels: tuple[str, ...]  # (K,)
    init: str
    share: np.ndarray  # (S + 1,)
    along_map: dict[str, np.ndarray]
    at_random: dict[str, np.ndarray]
    gains: dict[str, tuple[Estimate, ...]]
    pairs: int
    patients: int


@skips_missing
def map_faithfulness(
    results: Any, dataset: Any, arch: str | None = None, init: str | None = None, seed: int = 0
) -> Faithfulness | Note:
    """Both curves of each model of a family, on IMAGES frontal test images with each task that can be pointed at.

    The family is Figure 5's unless it is named; a model's first seed stands for it.
    """
    members = maps.family(results, arch, init)
    if members.empty:
        return maps.no_family(results)
    tasks = [task for task in results.all_tasks if task != "No Finding"]
    pairs = [(row, task) for task in tasks for row in maps.positives(dataset, task)[:IMAGES]]
    if not pairs:
        return Note(f"No frontal test image shows {' or '.join(tasks)}, so there is nothing to take away.")
    try:
        found = [_of_model(*next(maps.load(results, model)), dataset, pairs) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    patients = dataset.table["patient"].to_numpy()[[row for row, _ in pairs]]
    counts = stats.resample_counts(len(pairs), patients, seed=seed)  # (R, P)
    gains = {}
    for game, sign in zip(GAMES, (-1, 1), strict=True):
        apart = [sign * (one[game][0].area - one[game][1].area) for one in found]  # K x (P,)
        gains[game] = tuple(estimate(gain.mean(), counts @ gain / counts.sum(axis=1)) for gain in apart)
    along, at_random = (
        {game: np.stack([one[game][k].probability.mean(axis=0) for one in found]) for game in GAMES} for k in (0, 1)
    )
    share = found[0][GAMES[0]][0].share
    labels, init = tuple(members["label"]), members["init"].iloc[0]
    return Faithfulness(labels, init, share, along, at_random, gains, len(pairs), len(set(patients)))


def _of_model(network: Any, prepare: Any, dataset: Any, pairs: list[tuple[int, str]]) -> dict[str, tuple]:
    """(along its maps, along random cells) of each of GAMES."""
    from chexlib.explain import cam, faithfulness

    x = prepare(np.stack([np.asarray(dataset.pixels[row]) for row, _ in pairs]))
    tasks = [task for _, task in pairs]
    names = list(dict.fromkeys(tasks))
    cams = cam.grad_cam(network, x, [FINDINGS.index(name) for name in names])  # (P, T, H, W)
    own = cams[range(len(x)), [names.index(task) for task in tasks]]
    cells = maps.native(network, prepare, dataset)
    orders = (own, faithfulness.random_order(cells, len(x), tuple(x.shape[-2:])))
    return {
        game: tuple(getattr(faithfulness, game)(network, x, order, tasks, cells, STEPS) for order in orders)
        for game in GAMES
    }


def caption(found: Faithfulness) -> Caption:
    """Of the figure of both curves."""
    return Caption(
        "Deletion and insertion",
        f"Mean probability of a finding as points are taken from the image, the brightest of its map first, and as "
        f"they are put back into a blurred one; {_counted(found)}.",
        "Thick lines follow the maps, thin ones random cells of the maps' own size. Points that are equally bright go "
        "in the order of such cells, too. A map is that of a run's best checkpoint.",
        "",
    )


def numbers(found: Faithfulness) -> pd.DataFrame:
    """A row a network, curve and step: share changed, mean probability along the map and along random cells."""
    return pd.DataFrame(
        {"model": label, "init": found.init, "curve": game, "share": share, "map": of_map, "random": at_random}
        for game in GAMES
        for label, *curves in zip(found.labels, found.along_map[game], found.at_random[game], strict=True)
        for share, of_map, at_random in zip(found.share, *curves, strict=True)
    )


@skips_missing
def describe(found: Faithfulness | Note) -> Note:
    """What the deletion and insertion curves say of each network's maps."""
    if isinstance(found, Note):
        return Note("")
    lines = [
        f"- {label}: "
        + "; ".join(
            f"{game} {with_intervals(gain, sign=True)}, {reading(gain, MARGIN)}"
            for game, gain in ((game, found.gains[game][k]) for game in GAMES)
        )
        + "."
        for k, label in enumerate(found.labels)
    ]
    return Note(
        f"On {_counted(found)}, what the map gains over random cells of its own size, in area; above zero it finds "
        "what the network uses:\n\n" + "\n".join(lines)
    )


def _counted(found: Faithfulness) -> str:
    return f"{counted(found.pairs, 'pair')} of an image and a finding ({counted(found.patients, 'patient')})"
