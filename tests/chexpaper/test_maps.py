"""Which networks and images maps are made of, and where findings are marked on them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import chexlib
from chexlib.data.labels import TASKS
from chexlib.errors import UserError
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


def test_why_there_is_no_map_and_weights_by_seed(made, dataset):
    networks = maps.families(made).query("arch == 'resnet18'")
    assert "no folder" in maps.why_none(made, None, networks)
    assert "no truncated network" in maps.why_none(made, dataset, networks.iloc[:0])
    assert "weights are not there" in maps.why_none(made, dataset, networks)
    for run in made.finished:
        run.write("provenance.json", json.dumps({"normalisation": {"mean": [0.5], "std": [0.25]}}))
    with pytest.raises(UserError, match="hold no weights"):
        next(maps.load(made, networks.index[0]))
    for run in made.finished:
        if run.spec.arch == "resnet18":
            save_weights(run, create_model("resnet18", minus=run.spec.minus, seed=run.spec.seed), 200)
    assert maps.why_none(made, dataset, networks) == ""
    loaded = [network for network, _ in maps.load(made, "ResNet18Minus1 · random")]
    expected = [create_model("resnet18", minus=1, seed=seed).head.weight for seed in range(3)]
    assert all((network.head.weight.cpu() == own).all() for network, own in zip(loaded, expected, strict=True))


def test_images_are_frontal_test_images_and_each_task_that_is_shown_has_one(dataset):
    table = dataset.table.iloc[maps.first_of_each(dataset, TASKS)]
    assert set(table["split"]) == {"test"} and "LATERAL" not in set(table["view"])
    test = dataset.table.query("split == 'test' and view != 'LATERAL'")
    assert all((table[task] == 1).any() for task in TASKS if (test[task] == 1).any())


def test_a_mask_keeps_its_place_at_another_size_and_never_vanishes():
    below = np.zeros((100, 100), dtype=bool)
    below[50:, :] = True
    assert (maps.fit(below, 10) == (np.arange(10)[:, None] >= 5)).all()
    point = np.zeros((100, 100), dtype=bool)
    point[91, 12] = True
    assert np.argwhere(maps.fit(point, 10)).tolist() == [[9, 1]]
    assert maps.mask(SimpleNamespace(size=10, mask=lambda *_: point & False), 0, "Edema") is None
