"""What is said of maps: captions of Figure 5 and of the localisation figure, and the sentences of notebook 06.

All of it is made from numbers. Two networks are called the same only where a whole interval lies inside the margin.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from chexlib.paper.exhibits import Caption, Printed, printed
from chexlib.paper.localised import BASELINES, MARGIN, MEASURES, MapScores, difference
from chexlib.paper.maps import TRIED, CamGrid
from chexlib.paper.measures import AUC_MARGIN, Estimate
from chexlib.paper.notes import Note, says_missing, skips_missing
from chexlib.paper.wording import INIT_NAMES, counted, listed, number, where, with_intervals

FIRST = MEASURES[0]
VERDICTS = ("higher", "same", "lower", "open")


def figure5(grid: CamGrid) -> Caption:
    """Of Figure 5: what is shown, at which resolution, and what the choice of images does."""
    steps = listed([f"{label} {h} × {w}" for label, (h, w) in zip(grid.labels, grid.native, strict=True)])
    outlined = "The white line is the finding's outline as it was marked. " if _any(grid.outlines) else ""
    whole = grid.labels[0]
    return Caption(
        "Figure 5",
        f"Class activation maps of {listed(list(grid.findings))} by {whole} and its truncations, from "
        f"{INIT_NAMES.get(grid.init, grid.init)}, on the same images.",
        f"Cells of each map before it was stretched over the image: {steps}. The brightest place has the predicted "
        f"probability, which stands with each map. {outlined}Each image is the one that {whole} is surest of, among "
        f"the first {TRIED} frontal test images with the finding. A map is that of a run's best checkpoint.",
        "One image, picked because a model likes it, shows what maps look like and not how good they are. "
        f"{_looks(grid)}",
    )


def methods(grid: CamGrid) -> Caption:
    """Of the figure of all methods on the same images."""
    alike = [
        f"{a} and {b}"
        for (i, a), (k, b) in combinations(enumerate(grid.labels), 2)
        if np.allclose(grid.maps[:, i], grid.maps[:, k], atol=1e-5)
    ]
    same = f" {listed(alike)} give the same maps here." if alike else ""
    h, w = grid.native[0]
    return Caption(
        "Methods",
        f"The same images by {counted(len(grid.labels), 'method')}, all of {grid.network} from "
        f"{INIT_NAMES.get(grid.init, grid.init)}.",
        f"Only the weights of its feature maps differ. Each map has {h} × {w} cells and is scaled by the same "
        f"probability.{same}",
        "",
    )


def localisation(scores: MapScores) -> Caption:
    """Of the figure of IoU against the change of the AUC."""
    blind = "; ".join(f"{name}, {means}" for name, means in BASELINES.items())
    return Caption(
        "Localisation and AUC",
        f"{FIRST.title} of the maps of {_families(scores)} against the change of the mean AUC, a panel for each "
        f"network and its initial weights; {_counted(scores)}.",
        f"The number in a mark is how many blocks were dropped. Lines are 95 % intervals{_over(scores)}; the vertical "
        f"band is ±{AUC_MARGIN:g} AUC. {FIRST.title} is the {FIRST.means}, the part being bright that reaches a share "
        f"of the map's maximum; the share was tuned for each network and finding on {scores.tuned}. Maps are those of "
        "a run's best checkpoint, AUCs those of its predictions, for which several are averaged. Horizontal lines are "
        f"maps that do not look at the image at all: {blind}.",
        _verdict(scores),
    )


@skips_missing
def table(scores: MapScores | Note) -> Printed | Note:
    """Every measure of every network, and whether it changes from the whole network."""
    if isinstance(scores, Note):
        return Note("")
    rows = []
    for model in scores.of(FIRST.name).itertuples():
        auc = difference(model, "auc")
        row = {"Cells": f"{model.rows} × {model.columns}", "AUC": number(auc.value, sign=True) if model.minus else "–"}
        row["AUC"] += _arrow(auc)
        for measure in MEASURES:
            one = next(scores.of(measure.name, model.arch, model.init).query(f"minus == {model.minus}").itertuples())
            row[measure.title] = number(one.value, 2) + _arrow(difference(one))
        rows.append(pd.Series(row, name=_row_name(model.label, model.init)))
    for name in BASELINES:
        found = {measure.title: number(scores.baseline(measure.name, name).value, 2) for measure in MEASURES}
        rows.append(pd.Series({"Cells": "–", "AUC": "–"} | found, name=name))
    return printed(pd.DataFrame(rows), _table(scores), _numbers(scores), "localisation")


@skips_missing
def by_finding(scores: MapScores | Note) -> Printed | Note:
    """The first measure of each finding apart."""
    if isinstance(scores, Note):
        return Note("")
    found = scores.by_finding[scores.by_finding["measure"] == FIRST.name]
    counts = found.drop_duplicates("finding").set_index("finding")["images"]
    models = list(dict.fromkeys(zip(found["label"], found["init"], strict=True)))  # truncations below their whole
    wide = found.pivot_table(index=["label", "init"], columns="finding", values="value", sort=False).loc[models]
    wide.index = [_row_name(*model) for model in wide.index]
    wide = wide.rename(columns={finding: f"{finding} ({n})" for finding, n in counts.items()})
    caption = Caption(
        f"{FIRST.title} by finding",
        f"{FIRST.title} of each finding apart, with the number of test images on which it is marked.",
        "A mean over findings hides how much they differ: what fills the chest is hard to miss, what is small is not.",
        "",
    )
    return printed(wide.map(number).rename_axis(index=None, columns=None), caption, found, "localisation-by-finding")


@says_missing
def answer(grid: CamGrid | Note, scores: MapScores | Note, results: Any) -> Note:
    """Answer of notebook 06, in a sentence or two for the landing page."""
    if not isinstance(scores, MapScores):
        return _resolution(grid, results)
    models = scores.of(FIRST.name)
    cut = models[models["minus"] > 0]
    return Note(
        f"{_tally(cut)}{where(results)}; {_cost(cut)}. Such numbers need a yardstick, a bell around the image's "
        f"centre, which looks at nothing ({FIRST.title} {number(scores.baseline(FIRST.name, 'centre').value)}): "
        f"{_against_centre(models)}."
    )


def _resolution(grid: CamGrid | Note, results: Any) -> Note:
    """All that can be said where nobody has marked the findings."""
    if not isinstance(grid, CamGrid):
        return Note(str(grid) or f"Study {results.name} has no images at hand to make maps of.")
    (h, w), (h1, w1) = grid.native[0], grid.native[-1]
    moves = (
        f"takes its activation maps from {h} by {w} to {h1} by {w1} cells"
        if (h, w) != (h1, w1)
        else f"leaves its activation maps at {h} by {w} cells"
    )
    blocks = counted(int(grid.labels[-1].rpartition("Minus")[2]), "block")
    return Note(
        f"Dropping {blocks} of {grid.labels[0]} {moves}{where(results)}; whether they then lie better on the finding "
        "is not measured here, since nobody has marked it."
    )


def _verdict(scores: MapScores) -> str:
    """What the intervals allow, over all truncated networks, and of the first family by name."""
    models = scores.of(FIRST.name)
    cut = models[models["minus"] > 0]
    arch, init = scores.families[0]
    family = scores.of(FIRST.name, arch, init)
    changes = [
        (row.label, *(with_intervals(difference(row, column), sign=True) for column in ("change", "auc")))
        for row in family[family["minus"] > 0].itertuples()
    ]
    named = [f"{label} {change} at {auc} AUC" for label, change, auc in changes]
    return (
        f"{_tally(cut)}; {_cost(cut)}. From {family['label'].iloc[0]}'s {number(family['value'].iloc[0])}: "
        f"{'; '.join(named)}. Against a bell around the image's centre: {_against_centre(models)}."
    )


def _against_centre(models: pd.DataFrame) -> str:
    """How many networks' maps overlap more than the baseline, how many less, and of how many that stays open."""
    ends = [difference(row, "above").interval for row in models.itertuples()]
    more, less = sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)
    kinds = (("more", more), ("less", less), ("either", len(ends) - more - less))
    words = [f"{n} may overlap more or less" if kind == "either" else f"{n} overlap{'s' * (n == 1)} {kind}"
             for kind, n in kinds if n]  # fmt: skip
    return f"of {counted(len(ends), 'network')}, {listed(words)}"


def _tally(cut: pd.DataFrame) -> str:
    """How many truncated networks localise better, the same, worse."""
    verdicts = [difference(row).verdict(MARGIN) for row in cut.itertuples()]
    words = {"higher": "more", "same": f"the same (the whole interval within ±{MARGIN:g})", "lower": "less",
             "open": "an amount that its interval leaves open"}  # fmt: skip
    counts = [f"{words[kind]} for {n}" for kind in VERDICTS if (n := verdicts.count(kind))]
    return (
        f"Of {counted(len(cut), 'truncated network')}, compared with the whole one, maps overlap the findings "
        f"{listed(counts)}"
    )


def _cost(cut: pd.DataFrame) -> str:
    """What those that localise better pay in AUC."""
    better = [row for row in cut.itertuples() if difference(row).verdict(MARGIN) == "higher"]
    if not better:
        return "none is shown to localise better, and so what that would cost is not asked"
    verdicts = [difference(row, "auc").verdict() for row in better]
    words = {"higher": ("gains AUC", "gain AUC"), "lower": ("loses AUC", "lose AUC"),
             "same": (f"keeps it to ±{AUC_MARGIN:g}", f"keep it to ±{AUC_MARGIN:g}"),
             "open": ("leaves that open", "leave that open")}  # fmt: skip
    counts = [f"{n} {words[kind][n > 1]}" for kind in VERDICTS if (n := verdicts.count(kind))]
    many = len(better) > 1
    return f"of {counted(len(better), 'network')} that {'localise' if many else 'localises'} better, {listed(counts)}"


def _table(scores: MapScores) -> Caption:
    meant = "; ".join(f"{measure.title}: {measure.means}" for measure in MEASURES)
    return Caption(
        "Localisation, every measure",
        f"Means over {counted(len(scores.findings), 'finding')} ({listed(list(scores.findings))}); {_counted(scores)}.",
        f"An arrow says that the paired 95 % interval of the change from the whole network lies above or below zero; "
        f"the file has all intervals. {meant}. The last rows are maps that do not look at the image.",
        "",
    )


def _numbers(scores: MapScores) -> pd.DataFrame:
    """The table and its baselines, as a file."""
    return pd.concat([scores.table, scores.baselines.rename(columns={"baseline": "label"})], ignore_index=True)


def _looks(grid: CamGrid) -> str:
    (h, w), (h1, w1) = grid.native[0], grid.native[-1]
    return (
        f"What is certain is the grain: {grid.labels[-1]} has {number(h1 * w1 / (h * w), 0)} times as many cells as "
        f"{grid.labels[0]}."
        if (h, w) != (h1, w1)
        else ""
    )


def _counted(scores: MapScores) -> str:
    return f"{counted(scores.images, 'frontal test image')} of {counted(scores.patients, 'patient')}"


def _families(scores: MapScores) -> str:
    return counted(len(dict.fromkeys(arch for arch, _ in scores.families)), "truncated family", "truncated families")


def _over(scores: MapScores) -> str:
    return (
        " over patients, thin ones over seeds as well" if scores.table["low_seeds"].notna().any() else " over patients"
    )


def _row_name(label: str, init: str) -> str:
    """A network's, with its initial weights; a truncation's, which stands below its whole network's; a baseline's."""
    _, cut, minus = label.partition("Minus")
    return f"– Minus{minus}" if cut else f"{label}, {init}" if init else label


def _arrow(change: Estimate) -> str:
    """Which way a change goes whose whole interval lies on one side of zero."""
    low, high = change.interval
    return " ↑" if low > 0 else " ↓" if high < 0 else ""


def _any(outlines: Iterable) -> bool:
    return any(outline is not None for outline in outlines)
