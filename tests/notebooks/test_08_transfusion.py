"""Notebook 08: gains and their sizes of data, what is compared inside, the factorial, and what a poor study shows."""

import numpy as np
import pandas as pd
import pytest

from chexlib.results import Results

LITES = ["efficientnet_lite0", "efficientnet_lite1"]
FACTORIAL = [
    {"arch": LITES, "init": ["random", "imagenet"], "train_images": [0, 200], "lr": [0.001, 0.0001], "seed": [0, 1]}
]
DEPTHS = [{"arch": LITES[0], "init": ["random", "transfusion:conv1", "transfusion:block2", "imagenet", "gabor"]}]
POOR = [{"arch": "resnet18", "init": "random"}]


def test_a_gain_is_the_paired_difference_on_as_many_images(execute):
    names = execute("08_transfusion", FACTORIAL)
    results, gains = names["results"], names["gains"]
    assert gains["name"].tolist() == [
        f"EfficientNetLite{n}, {images}" for n in (0, 1) for images in ("200 images", "all images")
    ]
    a, b = (f"EfficientNetLite0, train_images 200 · {init}" for init in ("imagenet", "random"))
    assert gains["value"][0] == results.models["auc"][a] - results.models["auc"][b]
    low, high = np.percentile(results.replicates[a] - results.replicates[b], [2.5, 97.5])
    assert (gains["low"][0], gains["high"][0]) == pytest.approx((low, high))
    assert names["gain"].value == pytest.approx(gains["value"][[1, 3]].mean())  # on all images, by the usual recipe


def test_all_combinations_share_out_the_variance_and_one_that_lacks_leaves_none(execute):
    shares = execute("08_transfusion", FACTORIAL)["shares"]
    assert shares.value.sum() == pytest.approx(1) and {"arch", "init", "train_images", "lr", "seeds"} <= set(
        shares.value.index
    )
    poor = [{**FACTORIAL[0], "lr": 0.001}, {**FACTORIAL[0], "lr": 0.0001, "arch": LITES[0]}]
    names = execute("08_transfusion", poor)
    assert names["shares"] is None and len(names["seeds"]) == 12


def alike(results):
    """What a comparison of every run's start and end might have said."""
    rows = []
    for run in results.runs.itertuples():
        its = {"model": run.model, "label": run.label, "init": run.init, "seed": run.seed}
        for stage, value in (("conv1", 0.9), ("block1", 0.6), ("block2", 0.2)):
            one = {"stage": stage, "measure": "cka", "value": value, "low": 0, "high": 1, "null": 0, "enough": True}
            rows.append({**its, "at": "start", **{f"other_{k}": v for k, v in its.items()}, "other_at": "end", **one})
    return pd.DataFrame(rows)


def test_the_slider_has_the_depths_in_order_with_curves_and_what_is_kept(execute, monkeypatch):
    monkeypatch.setattr(Results, "similarity", property(alike))
    names = execute("08_transfusion", DEPTHS)
    state = names["widget"].state
    assert [depth["name"] for depth in state["depths"]] == [
        "no pretrained weights",
        "pretrained up to conv1",
        "pretrained up to block2",
        "all stages pretrained",
    ]
    assert state["stages"] == ["conv1", "block1", "block2"] and state["depths"][1]["kept"] == [0.9, 0.6, 0.2]
    assert state["depths"][0] | {"kept": 0, "name": 0} == {
        "name": 0,
        "images": [100, 200],
        "auc": [0.6, 0.6],
        "kept": 0,
    }
    order = names["speed"]["init"].tolist()
    assert order == ["random", "gabor", "transfusion:conv1", "transfusion:block2", "imagenet"]
    assert names["kept"].query("init == 'random' and stage == 'conv1'")["value"].item() == 0.9


def test_a_study_without_these_networks_shows_the_page_with_what_is_missing(execute):
    names = execute("08_transfusion", POOR)
    assert names["gain"].missing and names["shares"] is None and names["figure"] is None
    assert (names["judged"]["Transfusion"].query("measurement != ''")["verdict"] == "not run").all()
