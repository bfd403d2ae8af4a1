"""How notebook 06 pairs maps with marked findings, tunes thresholds and resamples, for maps that look where we say."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from chexlib.data.labels import FINDINGS
from chexlib.results.native_maps import map_pairs
from chexlib.stats import wilson

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06_cams.ipynb"
SIDE = 32
LEFT, CORNER = np.zeros((2, SIDE, SIDE), dtype=bool)
LEFT[:, : SIDE // 2], CORNER[: SIDE // 4, : SIDE // 4] = True, True


def run(names: dict, *ids: str) -> dict:
    """These cells of the notebook, executed on what `names` has."""
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, 4).cells}
    for cell in ("imports", *ids):
        exec(compile(cells[cell], cell, "exec"), names)
    return names


def images(mask, rare=0) -> SimpleNamespace:
    """An image a patient: 20 of 40 test images have Edema, `rare` of these Consolidation, too."""
    table = pd.DataFrame(0.0, index=range(40), columns=list(FINDINGS))
    table.loc[:19, "Edema"] = 1
    table.loc[: rare - 1, "Consolidation"] = 1
    names = [f"p{i}" for i in range(40)]
    table = table.assign(split="test", view="AP", patient=names, image=names)
    return SimpleNamespace(
        table=table, size=SIDE, mask=mask, rows=lambda split: np.flatnonzero(table["split"] == split)
    )


def scored(dataset, look, seeds=1, **more) -> dict:
    """The localisation section on a family of two: look(minus, seed, row, finding) gives a map (SIDE, SIDE)."""
    networks = pd.DataFrame({"minus": [0, 1], "label": ["A", "AMinus1"], "init": "random", "family": "ResNet"})
    networks = networks.assign(norm=False, variant="", whole="A").set_axis(["A", "AMinus1"])
    findings = ["Consolidation", "Edema"]
    pairs = map_pairs(dataset, findings)
    each = list(zip(pairs["row"], pairs["finding"], strict=True))

    def native(minus):
        if not pairs["marked"].any():
            return np.zeros((seeds, len(pairs), SIDE, SIDE))
        return np.array([[0.5 * look(minus, seed, *pair) for pair in each] for seed in range(seeds)], dtype=np.float32)

    results = SimpleNamespace(
        models=pd.DataFrame({"auc": [0.8, 0.7]}, index=networks.index),
        replicates=pd.DataFrame({"A": np.full(200, 0.8), "AMinus1": np.full(200, 0.7)}),
        estimate=lambda *given, **options: SimpleNamespace(value=given[0]),
    )
    names = {"results": results, "networks": networks, "dataset": dataset, "replicates": 200, "seed": 0, "margin": 0.01,
             "findings": findings, "pairs": pairs, "native": {"A": native(0), "AMinus1": native(1)}, "study": "made",
             "cells": pd.Series("1 × 1", index=networks.index)}  # fmt: skip
    return run(names | more, "marked", "measures", "scores", "baselines", "resampled", "draws", "of-shares", "changes")


def half(right: bool) -> np.ndarray:
    return ~LEFT if right else LEFT


@pytest.fixture(scope="module")
def halves() -> dict:
    """The whole network looks at the right half, its truncation at the left, where Edema is."""
    return scored(images(lambda row, finding: LEFT), lambda minus, *_: half(not minus), glue=print)


def test_a_network_that_looks_where_the_finding_is_scores_one_and_its_change_is_certain(halves):
    for measure in ("IoU", "hit rate", "energy inside", "pixel AUROC"):
        assert halves["means"].loc[["A", "AMinus1"], measure].tolist() == [0, 1]
        change = halves["changes"][f"{measure}, change"]["AMinus1"]
        assert (change.value, change.high, change.verdict) == (1, 1, "higher")
        assert change.low == 1 or measure == "hit rate"
    assert halves["means"]["blank"].sum() == 0 and halves["changes"]["AUC"]["AMinus1"].value == pytest.approx(-0.1)


def test_none_and_all_of_twenty_patients_have_the_bound_of_wilsons_interval(halves):
    low, high = halves["changes"]["hit rate"]["AMinus1"].low, halves["changes"]["hit rate"]["A"].high
    assert (low, high) == pytest.approx((wilson(20, 20)[0], wilson(0, 20)[1])) and high > 3 / 20
    blank = halves["changes"]["blank, change"]["AMinus1"]
    assert blank.value == 0 and (blank.low, blank.high) == pytest.approx((-high, high)) and blank.verdict == "open"


def test_the_baselines_are_what_they_are_called(halves):
    means = halves["means"]
    assert means.loc["usual place", "IoU"] == 1  # every patient has it in one place
    assert means.loc["anywhere", "IoU"] == means.loc["anywhere", "hit rate"] == 0.5
    assert means.loc["centre", "hit rate"] == 0.5  # of four central points two are on the left


def test_each_map_meets_the_mask_of_its_own_image_and_finding():
    """Masks are a cell each, at a place of their own, and so are the maps: any other pairing scores nothing."""

    def cell(row: int, finding: str) -> np.ndarray:
        place = np.zeros((8, 8), dtype=bool)
        place.flat[(row + 31 * (finding == "Edema")) % 64] = True
        return place.repeat(4, axis=0).repeat(4, axis=1)

    found = scored(images(cell, rare=7), lambda minus, seed, *own: cell(*own))
    assert found["kept"] == ["Consolidation", "Edema"]
    assert (found["means"].loc[["A", "AMinus1"], found["MEASURES"][:4]] == 1).all(axis=None)


def test_a_mean_is_over_findings_and_leaves_out_those_hardly_marked():
    dataset = images(lambda row, finding: {"Edema": LEFT, "Consolidation": CORNER}[finding], rare=4)
    assert scored(dataset, lambda minus, *_: half(not minus))["kept"] == ["Edema"]
    dataset = images(lambda row, finding: {"Edema": LEFT, "Consolidation": CORNER}[finding], rare=6)
    found = scored(dataset, lambda minus, *_: half(not minus))  # 20 images have one, 6 the other: they count alike
    assert found["means"].loc["AMinus1", "energy inside"] == pytest.approx((1 + 1 / 8) / 2)


def test_no_threshold_is_tuned_on_what_it_is_used_on():
    names = scored(images(lambda row, finding: LEFT), lambda minus, *_: half(not minus))
    half_a = names["half"].to_numpy()
    curves = np.zeros((len(half_a), len(names["localisation"].THRESHOLDS)))
    curves[half_a, 3] = 0.9  # these say the fourth threshold, the others the seventh
    curves[~half_a, 3], curves[~half_a, 6] = 0.2, 0.8
    found = names["tuned"](curves, np.zeros((len(half_a), 4)))[:, 0]
    assert 0 < half_a.sum() < len(half_a)
    assert (found[~half_a] == 0.2).all() and (found[half_a] == 0).all()


def test_seeds_widen_what_patients_leave_narrow():
    """Of three seeds two look where the finding is: over patients the value is certain, over seeds it is not."""
    dataset = images(lambda row, finding: LEFT)
    found = scored(dataset, lambda minus, seed, *_: half(seed == 0), seeds=3)
    iou = found["changes"]["IoU"]["A"]
    assert iou.value == pytest.approx(2 / 3) and iou.low < 0.5 and iou.high > 0.8
    assert found["over"] == iou.over == "patients and seeds"


def test_where_nobody_marked_a_finding_nothing_is_estimated():
    found = run(scored(images(lambda row, finding: None), None, missing=""), "table", "by-finding", "answer", "cost")
    assert found["changes"].empty and "nobody has marked" in found["iou_change"].missing
