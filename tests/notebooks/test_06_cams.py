"""How notebook 06 pairs maps with marked findings, tunes thresholds and resamples, for maps that look where we say."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from chexlib.data.labels import FINDINGS
from chexpaper import maps

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06_cams.ipynb"
SIDE = 32
LEFT, CORNER = np.zeros((2, SIDE, SIDE), dtype=bool)
LEFT[:, : SIDE // 2], CORNER[: SIDE // 4, : SIDE // 4] = True, True


def run(names: dict, *ids: str) -> dict:
    """These cells of the notebook, executed on what `names` has."""
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, 4).cells}
    for cell in ("imports", *ids):
        keep = dict(names)
        exec(compile(cells[cell], cell, "exec"), names)
        names |= {name: keep[name] for name in ("cam", "sums", "maps") if name in keep}
    return names


def images(mask, n_val=0, rare=0) -> SimpleNamespace:
    """An image a patient: 20 of 40 test images and all validation images have Edema, `rare` Consolidation, too.

    Every pixel of an image is its row's number.
    """
    n = 40 + n_val
    table = pd.DataFrame(0.0, index=range(n), columns=list(FINDINGS))
    table.loc[: n_val + 19, "Edema"] = 1
    table.loc[n_val : n_val + rare - 1, "Consolidation"] = 1
    table = table.assign(split=["val"] * n_val + ["test"] * 40, view="AP", patient=[f"p{i}" for i in range(n)])
    return SimpleNamespace(
        table=table,
        size=SIDE,
        pixels=np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None], (n, SIDE, SIDE)),
        mask=mask,
        rows=lambda split: np.flatnonzero(table["split"] == split),
    )


def scored(dataset, look, seeds=1, **more) -> dict:
    """The localisation section on a family of two: look(minus, seed, row, finding) gives a map (SIDE, SIDE)."""
    networks = pd.DataFrame({"minus": [0, 1], "label": ["A", "AMinus1"], "init": "random", "family": "ResNet"})
    networks.index, networks["whole"] = ["A", "AMinus1"], "A"

    def load(results, model):
        return (((len(model) > 1, seed), lambda x: torch.as_tensor(np.array(x))) for seed in range(seeds))

    def cam(network, x, findings):
        return torch.as_tensor(np.array([[look(*network, int(i[0, 0]), f) for f in findings] for i in x]) * 0.5)

    results = SimpleNamespace(
        models=pd.DataFrame({"auc": [0.8, 0.7]}, index=networks.index),
        replicates=pd.DataFrame({"A": np.full(200, 0.8), "AMinus1": np.full(200, 0.7)}),
        estimate=lambda *given, **options: SimpleNamespace(value=given[0]),
    )
    seen = {name: getattr(maps, name) for name in ("frontal", "mask", "first_of_each")}
    names = {"results": results, "networks": networks, "dataset": dataset, "replicates": 200, "seed": 0, "margin": 0.01,
             "findings": ["Consolidation", "Edema"], "cam": cam, "maps": SimpleNamespace(load=load, **seen),
             "sums": lambda network, x, findings: (torch.zeros(1, 1, 3, 3), None), "study": "made"}  # fmt: skip
    return run(names | more, "marked", "measures", "scores", "baselines", "resampled", "draws", "changes")


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
        assert (change.value, change.low, change.high, change.verdict) == (1, 1, 1, "higher")
    assert halves["means"]["blank"].sum() == 0 and halves["changes"]["AUC"]["AMinus1"].value == pytest.approx(-0.1)


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

    found = scored(images(cell, rare=7, n_val=6), lambda minus, seed, *own: cell(*own))
    assert found["kept"] == ["Consolidation", "Edema"]
    assert (found["means"].loc[["A", "AMinus1"], found["MEASURES"][:4]] == 1).all(axis=None)


def test_a_mean_is_over_findings_and_leaves_out_those_hardly_marked():
    dataset = images(lambda row, finding: {"Edema": LEFT, "Consolidation": CORNER}[finding], rare=4)
    assert scored(dataset, lambda minus, *_: half(not minus))["kept"] == ["Edema"]
    dataset = images(lambda row, finding: {"Edema": LEFT, "Consolidation": CORNER}[finding], rare=6)
    found = scored(dataset, lambda minus, *_: half(not minus))  # 20 images have one, 6 the other: they count alike
    assert found["means"].loc["AMinus1", "energy inside"] == pytest.approx((1 + 1 / 8) / 2)


@pytest.mark.parametrize("n_val", [0, 12])
def test_no_threshold_is_tuned_on_what_it_is_used_on(n_val):
    names = scored(images(lambda row, finding: LEFT, n_val=n_val), lambda minus, *_: half(not minus))
    pairs, parts = names["pairs"], np.zeros((len(names["pairs"]), 4 + len(names["localisation"].THRESHOLDS)))
    tune = pairs["fold"] == (0 if n_val else 1)
    parts[tune, 4 + 3] = 0.9  # these say the fourth threshold, the others the seventh
    parts[~tune, 4 + 3], parts[~tune, 4 + 6] = 0.2, 0.8
    found = names["tuned"](parts)[:, 0]
    assert (found[pairs["fold"] == 2] == 0.2).all()
    assert (found[pairs["fold"] == 1] == (0.2 if n_val else 0)).all()


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
