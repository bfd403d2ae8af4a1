"""Do truncated networks localise better, and at what cost in AUC? The numbers, for a study and its marked images.

Each truncated family's maps are laid on what is known of the findings' places: the phantom's drawings, NIH's boxes,
CheXlocalize's segmentations. A model's value is its mean over images of each finding, then over findings, so that a
common finding does not outweigh a rare one, as with the AUC. Patients are drawn anew, the same draws for all models,
which pairs their differences; seeds, too, where every model of a difference has several (`chexlib.stats.seeds`).
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
from chexlib.paper.marks import FEWEST, Marks, marked, tuned_on, tuning
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Note, skips_missing

MARGIN = 0.02
"""Mean measures nearer than this are called the same, once the whole interval is inside; our choice."""

BATCH = 32


@dataclass(frozen=True)
class Measure:
    """A measure of `chexlib.explain.localisation`: its column, its name, and what it is the mean of."""

    name: str
    title: str
    means: str


MEASURES = (
    Measure("iou", "IoU", "overlap of the map's bright part with the finding"),
    Measure("hit", "Hit rate", "brightest point on the finding"),
    Measure("pointing", "Pointing game", "brightest point on the finding or just beside it"),
    Measure("energy", "Energy inside", "share of the map's sum that lies on the finding"),
    Measure("auroc", "Pixel AUROC", "chance that a point on the finding is brighter than one off it"),
    Measure("blank", "Blank", "share of maps that are zero everywhere, and score as a point anywhere does"),
)
"""The first, CheXlocalize's, is the one that the answer rests on; the others are shown beside it."""

ALONE = len(MEASURES) - 1
"""All but the first, whose threshold has to be tuned before."""

BASELINES = {
    "usual place": "where the finding lies in other patients",
    "centre": "a bell around the image's centre",
    "anywhere": "the same everywhere",
}
ENDS = ("low", "high", "low_seeds", "high_seeds")


@dataclass(frozen=True)
class MapScores:
    """How well the maps of a study's truncated families lie on findings.

    `table` has one row a model and measure: arch, init, minus, label, family, rows and columns (of the maps before they
    are stretched), measure, value with ENDS (over patients, and over patients and seeds), change (from the whole model,
    paired; NaN for itself) with change_ENDS, above (the value less that of the baseline "centre", paired) with
    above_ENDS, and auc, the change of the mean AUC, with auc_ENDS. `baselines` has baseline, measure, value, low, high.
    `by_finding` has label, init, finding, measure, value, images, for baselines too (init ""). `findings` are those in
    the means.
    """

    table: pd.DataFrame
    baselines: pd.DataFrame
    by_finding: pd.DataFrame
    findings: tuple[str, ...]
    images: int
    patients: int
    tuned: str  # what thresholds were tuned on

    @property
    def families(self) -> list[tuple[str, str]]:
        """(arch, init), in the order of the table."""
        return list(dict.fromkeys(zip(self.table["arch"], self.table["init"], strict=True)))

    def of(self, measure: str, arch: str | None = None, init: str | None = None) -> pd.DataFrame:
        """The table's rows of a measure, of all families or of one."""
        table = self.table[self.table["measure"] == measure]
        for column, wanted in (("arch", arch), ("init", init)):
            table = table if wanted is None else table[table[column] == wanted]
        return table

    def baseline(self, measure: str, name: str) -> Estimate:
        """What a map that does not look at the image scores."""
        found = self.baselines[(self.baselines["measure"] == measure) & (self.baselines["baseline"] == name)].iloc[0]
        return Estimate(found["value"], found["low"], found["high"])


def difference(row: Any, column: str = "change") -> Estimate:
    """What a row of `MapScores.table` has in "change", "above" or "auc"."""
    ends = {end: getattr(row, f"{column}_{end}") for end in ENDS}
    return Estimate(getattr(row, column), **ends)


@skips_missing
def map_scores(
    results: Any, dataset: Any, arch: str | None = None, init: str | None = None, seed: int = 0
) -> MapScores | Note:
    """Scores every truncated family's maps (or those of `arch`, or from `init`) on the findings marked; or a Note.

    All tasks enter that are marked on frontal test images. Thresholds for IoU are tuned for each model and finding on
    validation images where FEWEST of them are marked, else on the other half of the test patients.
    """
    members = maps.families(results, arch, init)
    if members.empty:
        return maps.no_family(results)
    marks = marked(results.all_tasks, dataset)
    if not marks.test.any():
        return Note("Nobody has marked where the findings are in these images, so the maps cannot be scored here.")
    try:
        scored = [_of_seeds(results, model, dataset, marks) for model in members.itertuples()]
    except UserError as error:
        return Note(f"No maps can be made: {error}.")
    members = members.assign(rows=[cells[0] for _, cells in scored], columns=[cells[1] for _, cells in scored])
    return _summed(members, [*(one for one, _ in scored), *_of_baselines(marks)], marks, seed)


def _of_seeds(results: Any, model: Any, dataset: Any, marks: Marks) -> tuple[np.ndarray, tuple[int, int]]:
    """(S, test pairs, measures) of a model's seeds, and the cells of its maps, (h, w)."""
    from chexlib.explain import cam

    findings = [task for task in FINDINGS if task in marks.findings]
    column = np.array([findings.index(task) for task in marks.findings])
    images, image = np.unique(marks.rows, return_inverse=True)
    found = []
    for network, prepare in maps.load(results, model):
        parts = np.empty((len(marks), 0))
        for start in range(0, len(images), BATCH):
            at = np.flatnonzero((image >= start) & (image < start + BATCH))
            x = prepare(np.asarray(dataset.pixels[images[start : start + BATCH]]))
            cams = cam.grad_cam(network, x, [FINDINGS.index(task) for task in findings])  # (n, T, H, W)
            cams = cams.numpy(force=True)
            part = _measured(cams[image[at] - start, column[at]], marks, at)
            parts = parts if parts.shape[1] else np.empty((len(marks), part.shape[1]))
            parts[at] = part
        found.append(_tuned(parts, marks))
    return np.stack(found), maps.native(network, prepare, dataset)


def _of_baselines(marks: Marks) -> list[np.ndarray]:
    """(1, test pairs, measures) of each of BASELINES."""
    from chexlib.explain import localisation

    usual = np.zeros(marks.masks.shape, dtype=np.float32)
    for task in np.unique(marks.findings):
        at = marks.findings == task
        usual[at] = localisation.usual_place(marks.masks[at], marks.patients[at])
    made = (usual, localisation.centre(marks.masks), localisation.anywhere(marks.masks))
    parts = [np.arange(len(marks))[start : start + BATCH] for start in range(0, len(marks), BATCH)]
    return [_tuned(np.concatenate([_measured(each[at], marks, at) for at in parts]), marks)[None] for each in made]


def _measured(cams: np.ndarray, marks: Marks, at: np.ndarray) -> np.ndarray:
    """(n, ALONE + K) of maps (n, H, W) of the pairs `at`: the measures but IoU, then IoU at K thresholds.

    The former are left NaN for pairs that only tune thresholds.
    """
    from chexlib.explain.localisation import energy_inside, hit_rate, iou_curve, pixel_auroc

    masks, test = marks.masks[at], marks.test[at]
    alone = np.full((len(at), ALONE), np.nan)
    if test.any():
        both = cams[test], masks[test]
        near, blank = hit_rate(cams[test], marks.near[at][test]), cams[test].max(axis=(1, 2)) == 0
        alone[test] = np.column_stack([hit_rate(*both), near, energy_inside(*both), pixel_auroc(*both), blank])
    return np.column_stack([alone, iou_curve(cams, masks)])


def _tuned(parts: np.ndarray, marks: Marks) -> np.ndarray:
    """(test pairs, measures) in the order of MEASURES, from what `_measured` gives of all pairs."""
    from chexlib.explain.localisation import THRESHOLDS, best_threshold

    found, curves = np.full(len(marks), np.nan), parts[:, ALONE:]
    for here, elsewhere in tuning(marks):
        threshold = best_threshold(curves[elsewhere]) if elsewhere.any() else 0.5
        found[here] = curves[here, np.searchsorted(THRESHOLDS, threshold)]
    return np.column_stack([found, parts[:, :ALONE]])[marks.test]


def _summed(members: pd.DataFrame, scored: list[np.ndarray], marks: Marks, seed: int) -> MapScores:
    """Means, intervals and paired changes of M models and the baselines after them."""
    test = marks.test
    of_pair, patients = marks.findings[test], marks.patients[test]
    images = {task: int((of_pair == task).sum()) for task in FINDINGS if task in of_pair}
    kept = [task for task, n in images.items() if n >= FEWEST] or list(images)
    counts = stats.resample_counts(len(of_pair), patients, seed=seed)  # (R, P)
    of_models = np.stack([one.mean(axis=0) for one in scored])  # (M, P, measures)
    drawn, per_seed = [], []
    for task in kept:
        at = of_pair == task
        drawn.append(_mean_of(counts[:, at], of_models[:, at]))  # (R, M, measures)
        per_seed.append([one[:, at].mean(axis=1) for one in scored])  # M x (S, measures)
    replicates = np.nanmean(drawn, axis=0)  # a replicate without a finding leaves it out
    per_seed = [np.mean(parts, axis=0) for parts in zip(*per_seed, strict=True)]
    rows, lines, centre = [], [], len(members) + list(BASELINES).index("centre")
    for k, measure in enumerate(MEASURES):
        draws = stats.draw_seeds([one[:, k] for one in per_seed[: len(members)]], len(counts), seed)
        value = np.array([one[:, k].mean() for one in per_seed])
        whole = None
        for m, model in enumerate(members.itertuples()):
            whole = m if model.minus == 0 else whole
            rows.append(
                {name: getattr(model, name) for name in ("arch", "init", "minus", "label", "family", "rows", "columns")}
                | {"measure": measure.name}
                | _estimated(value, replicates[:, :, k], draws, {m: 1.0})
                | _named("change", _estimated(value, replicates[:, :, k], draws, {m: 1.0, whole: -1.0}), m != whole)
                | _named("above", _estimated(value, replicates[:, :, k], draws, {m: 1.0, centre: -1.0}), True)
                | _named("auc", {"value": model.change} | {end: getattr(model, end) for end in ENDS}, True)
            )
        for m, name in enumerate(BASELINES, len(members)):
            found = _estimated(value, replicates[:, :, k], draws, {m: 1.0})
            lines.append({"baseline": name, "measure": measure.name, **{c: found[c] for c in ("value", "low", "high")}})
    names = [(model.label, model.init) for model in members.itertuples()] + [(name, "") for name in BASELINES]
    by_finding = pd.DataFrame(
        {"label": label, "init": init, "finding": task, "measure": measure.name, "images": n,
         "value": of_models[m][of_pair == task, k].mean()}
        for m, (label, init) in enumerate(names)
        for task, n in images.items()
        for k, measure in enumerate(MEASURES)
    )  # fmt: skip
    return MapScores(
        pd.DataFrame(rows),
        pd.DataFrame(lines),
        by_finding,
        tuple(kept),
        len(np.unique(marks.rows[test])),
        len(set(patients)),
        tuned_on(marks),
    )


def _mean_of(counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(R, M, measures): means of scores (M, P, measures) over pairs drawn so often (R, P); NaN where none is drawn."""
    total = counts.sum(axis=1)[:, None, None]  # (R, 1, 1)
    sums = np.einsum("rp,mpk->rmk", counts, scores, optimize=True)
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def _estimated(value: np.ndarray, replicates: np.ndarray, draws: Any, weights: dict[int, float]) -> dict[str, float]:
    """Value and ENDS of a weighted sum of models, and of baselines, which come last and have no seeds.

    value (M + B,), replicates (R, M + B), draws of M models' seeds, weights by place.
    """
    w = np.zeros(len(value))
    for m, weight in weights.items():
        w[m] += weight
    models = len(draws.freedom)
    shifts = draws.shifts(w[:models])  # (R, M)
    patients = replicates @ w
    low, high = stats.percentile_interval(patients)
    low_seeds, high_seeds = stats.seeds_interval(patients, patients + shifts @ w[:models])
    ends = (float(end) for end in (low, high, low_seeds, high_seeds))
    return {"value": float(value @ w), **dict(zip(ENDS, ends, strict=True))}


def _named(column: str, found: dict[str, float], known: bool) -> dict[str, float]:
    """An estimate under a column's name, NaN where it is not known."""
    names = {"value": column, **{end: f"{column}_{end}" for end in ENDS}}
    return {names[key]: value if known else np.nan for key, value in found.items()}
