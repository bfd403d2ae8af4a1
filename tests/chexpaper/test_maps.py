"""Which networks and images maps are made of, and where findings are marked on them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import chexlib
from chexlib.models import create_model
from chexlib.results import open_results
from chexlib.training.checkpoints import save_weights
from chexpaper import maps
from tests.made_runs import make_store

RUNS = [
    {"arch": "resnet18", "minus": [0, 1], "init": "random", "seed": [0, 1, 2]},
    {"arch": "efficientnet_lite0", "init": ["random", "imagenet"]},
    {"arch": "densenet121", "minus": [1, 0], "init": ["random", "imagenet"]},
]


@pytest.fixture
def made(tmp_path):
    """Results of made-up runs, with ResNet18 and its first truncation three times each."""
    (tmp_path / "made.yaml").write_text(yaml.safe_dump({"common": {"dataset": "phantom", "size": 48}, "runs": RUNS}))
    store = make_store(tmp_path / "runs", tmp_path / "made.yaml")
    return open_results(str(tmp_path / "made.yaml"), store.folder, replicates=20)


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return chexlib.open_dataset("phantom", phantom_folder, size=48, progress=False)


def test_families_are_whole_networks_with_what_is_cut_from_them_and_densenet121_comes_first(made):
    found = maps.families(made)
    dense = [f"DenseNet121{cut} · {init}" for init in ("imagenet", "random") for cut in ("", "Minus1")]
    assert list(found.index) == [
        *dense,
        "ResNet18 · random",
        "ResNet18Minus1 · random",
    ]  # no Lite alone
    assert list(found["whole"]) == [dense[0]] * 2 + [dense[2]] * 2 + ["ResNet18 · random"] * 2


def test_a_truncated_variant_belongs_to_the_whole_network_of_its_own_kind(tmp_path):
    runs = [{"arch": "resnet18", "minus": [0, 1], "lr": [0.01, 0.0001]}, {"arch": "resnet34", "minus": 1, "lr": 0.01}]
    (tmp_path / "made.yaml").write_text(yaml.safe_dump({"common": {"size": 48}, "runs": runs}))
    store = make_store(tmp_path / "runs", tmp_path / "made.yaml")
    found = maps.families(open_results(str(tmp_path / "made.yaml"), store.folder, replicates=20))
    for rate, its in zip(("", ", lr 0.01"), (found[:2], found[2:]), strict=True):
        assert list(its.index) == [f"ResNet18{rate} · random", f"ResNet18Minus1{rate} · random"]
        assert set(its["whole"]) == {f"ResNet18{rate} · random"}


def test_why_there_is_no_map_and_which_networks_can_be_looked_into(made, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("CHEXLIB_RUNS", str(tmp_path / "none"))
    networks = maps.families(made).query("arch == 'resnet18'")
    assert "no folder" in maps.why_none(made, None, networks)
    assert "no truncated network" in maps.why_none(made, dataset, networks.iloc[:0])
    assert "neither maps nor weights" in maps.why_none(made, dataset, networks)
    assert maps.loaded(made, networks.index) == {}
    for run in made.finished:
        run.write("provenance.json", json.dumps({"normalisation": {"mean": [0.5], "std": [0.25]}}))
        if run.spec.arch == "resnet18" and run.spec.seed:
            save_weights(run, create_model("resnet18", minus=run.spec.minus, seed=run.spec.seed), 200)
        elif run.spec.arch == "resnet18":
            run.write("maps.npz", b"")
        run.finish()
    assert maps.why_none(made, dataset, networks) == ""
    loaded = maps.loaded(made, networks.index)
    assert list(loaded) == ["ResNet18", "ResNet18Minus1"]  # seed 0 has no weights: seed 1 stands for them
    expected = create_model("resnet18", minus=1, seed=1).head.weight
    assert (loaded["ResNet18Minus1"][0].head.weight.cpu() == expected).all()
    assert list(maps.loaded(made, networks.index, most=1)) == ["ResNet18"]


def test_a_mask_keeps_its_place_at_another_size_and_never_vanishes():
    below = np.zeros((100, 100), dtype=bool)
    below[50:, :] = True
    assert (maps.fit(below, 10) == (np.arange(10)[:, None] >= 5)).all()
    point = np.zeros((100, 100), dtype=bool)
    point[91, 12] = True
    assert np.argwhere(maps.fit(point, 10)).tolist() == [[9, 1]]
    assert maps.mask(SimpleNamespace(size=10, mask=lambda *_: point & False), 0, "Edema") is None
