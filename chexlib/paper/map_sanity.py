"""Sanity checks of one family's maps, after Adebayo et al. (2018): what random weights leave of them, in numbers.

The whole network and its first truncation are made random layer by layer from the top, and their maps compared with
those they had, by the paper's method and by Grad-CAM. Which images are taken does not depend on what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexlib import stats
from chexlib.errors import UserError
from chexlib.paper import maps
from chexlib.paper.exhibits import Caption
from chexlib.paper.measures import Estimate, estimate
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import counted, listed, number, with_interval

METHODS = {"paper": "the paper's method", "grad-cam": "Grad-CAM"}
IMAGES = 12
"""Of as many patients: another image's maps are another patient's."""

NETWORKS = 2
SHUFFLES = 4
"""Random networks: with few cells, one network's maps can be like the trained one's, or unlike them, by chance."""

MARGIN = 0.1
"""A rank correlation whose whole interval is this near to zero is called none; our choice."""


@dataclass(frozen=True)
class Checks:
    """One network and method: mean rank correlations with its trained maps. L layers, from the top.

    Intervals are over patients and over random networks.
    """

    label: str
    method: str
    layers: tuple[str, ...]  # (L,)
    cascading: tuple[Estimate, ...]  # (L,) this layer and all above it random
    independent: tuple[Estimate, ...]  # (L,) this layer alone
    elsewhere: Estimate  # the trained network's map of another image
    change: Estimate  # with all layers random, less that of another image; paired


@dataclass(frozen=True)
class MapSanity:
    """`Checks` of each network by each of METHODS, on the same images."""

    checks: tuple[Checks, ...]
    init: str
    patients: int  # of one image each

    @property
    def labels(self) -> tuple[str, ...]:
        """The networks, the whole one first."""
        return tuple(dict.fromkeys(one.label for one in self.checks))


@skips_missing
def map_sanity(
    results: Any, dataset: Any, arch: str | None = None, init: str | None = None, seed: int = 0
) -> MapSanity | Note:
    """Checks the first networks of a family, Figure 5's unless it is named, on frontal test images; or a Note.

    All tasks enter. A model's first seed stands for it; `seed` draws patients and random networks anew.
    """
    members = maps.family(results, arch, init)[:NETWORKS]
    if members.empty:
        return maps.no_family(results)
    rows = maps.frontal(dataset)
    rows = rows[~dataset.table["patient"].iloc[rows].duplicated().to_numpy()][:IMAGES]
    if len(rows) < 2:
        return Note("There are fewer than two patients with frontal test images, so no maps are compared.")
    counts = stats.resample_counts(len(rows), seed=seed)  # (R, N)
    try:
        checks = tuple(
            one
            for model in members.itertuples()
            for one in _checks(results, model, np.asarray(dataset.pixels[rows]), counts, seed)
        )
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    return MapSanity(checks, members["init"].iloc[0], len(rows))


def _checks(results: Any, model: Any, images: np.ndarray, counts: np.ndarray, seed: int) -> list[Checks]:
    """Of one network, by each of METHODS on the same random networks."""
    from chexlib.explain.sanity import sanity

    network, prepare = next(maps.load(results, model))
    x, tasks = prepare(images), list(results.all_tasks)
    found = [sanity(network, x, tasks, list(METHODS), shuffle) for shuffle in range(SHUFFLES)]
    return [_check(model.label, method, [one[method] for one in found], counts, seed) for method in METHODS]


def _check(label: str, method: str, found: list[Any], counts: np.ndarray, seed: int) -> Checks:
    cascading, independent = (
        np.stack([getattr(one, kind) for one in found], axis=1) for kind in ("cascading", "independent")
    )  # (L, S, N)
    elsewhere = np.stack([one.elsewhere for one in found])  # (S, N)
    return Checks(
        label,
        method,
        found[0].layers,
        tuple(_estimate(values, counts, seed) for values in cascading),
        tuple(_estimate(values, counts, seed) for values in independent),
        _estimate(elsewhere, counts, seed),
        _estimate(cascading[-1] - elsewhere, counts, seed),
    )


def _estimate(values: np.ndarray, counts: np.ndarray, seed: int) -> Estimate:
    """The mean of values (S, N), NaNs left out, over draws of patients (R, N) and of random networks, as of seeds."""
    known = ~np.isnan(values)
    images, networks = known.any(axis=0), known.any(axis=1)
    if not known.any():
        return Estimate(np.nan, np.nan, np.nan)
    of_image = np.where(images, np.nansum(values, axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)  # (N,)
    with np.errstate(invalid="ignore"):  # a resample in which nothing is known is left out
        patients = counts @ of_image / (counts @ images)  # (R,)
    of_network = [np.nanmean(one) for one in values[networks]]  # (S,)
    drawn = stats.draw_seeds([of_network], len(counts), seed).shifts([1.0])[:, 0] if len(of_network) > 1 else 0.0
    return estimate(of_image[images].mean(), patients + drawn)


def caption(found: MapSanity) -> Caption:
    """Of the figure of both checks."""
    return Caption(
        "Random weights",
        f"Rank correlation of {listed(list(found.labels))}'s maps with those they have once layers are made random; "
        f"images of {counted(found.patients, 'patient')}, {counted(SHUFFLES, 'random network')}.",
        "Lines: each layer with all above it, from the last one on. Hollow marks: each layer alone. Bars are 95 % "
        "intervals over patients and random networks, dotted lines the trained maps of another patient's image.",
        "",
    )


def numbers(found: MapSanity) -> pd.DataFrame:
    """A row a network, method and layer: both checks, the first with its interval."""
    return pd.DataFrame(
        {"model": one.label, "init": found.init, "method": one.method, "layer": layer, "cascading": down.value,
         "low": down.low, "high": down.high, "independent": alone.value, "another_image": one.elsewhere.value}
        for one in found.checks
        for layer, down, alone in zip(one.layers, one.cascading, one.independent, strict=True)
    )  # fmt: skip


@skips_missing
def describe(found: MapSanity | Note) -> Note:
    """What is left of each network's maps once all weights are random, and once the last layer alone is."""
    if isinstance(found, Note):
        return Note("")  # the figure's place has said why
    lines = [
        f"- {one.label}, {METHODS[one.method]}: {_of(one.cascading[0])} with the last layer alone random, "
        f"{_of(one.cascading[-1])} with all layers random; another image's map has "
        f"{_of(one.elsewhere)}. {_verdict(one)}"
        for one in found.checks
    ]
    return Note(
        f"Rank correlation with the trained network's maps, on images of {counted(found.patients, 'patient')} and "
        f"{counted(SHUFFLES, 'random network')}, 1 where nothing changes:\n\n" + "\n".join(lines)
    )


def _of(one: Estimate) -> str:
    return with_interval(one.value, one.low, one.high, digits=2)


def _verdict(one: Checks) -> str:
    """What random weights leave of the maps, by its interval, and by what any two images have in common."""
    last = one.cascading[-1]
    if np.isnan(last.value):
        return "These maps cannot be compared: they have too few cells, or are flat."
    if max(abs(last.low), abs(last.high)) <= MARGIN:
        return f"Nothing is left of them: the whole interval lies within ±{MARGIN:g}."
    if last.high < 0:
        return "What is left runs against them."
    if one.change.high < 0:
        return "Less is left of them than any two images have in common."
    if last.low <= 0:
        bound = number(max(abs(last.low), abs(last.high)), 2)
        return f"The interval includes zero and also correlations of {bound}, so the question stays open."
    return "Something is left of them: part of these maps does not come from what was learned."
