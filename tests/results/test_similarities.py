"""What of a study's networks is compared, that ends and starts are what was trained, and that a table only grows."""

import numpy as np
import pandas as pd
import pytest

import chexlib
from chexlib.errors import UserError
from chexlib.models import create_model
from chexlib.results import open_results, similarities
from chexlib.results.export import export_study
from chexlib.results.similarities import COLUMNS, COMPARED, END, START, comparisons, read_similarities
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.study import load_study
from chexlib.training.checkpoints import load_model, load_start
from chexlib.training.loop import fit

STUDY = """
common: {dataset: phantom, options: {n: 32, n_valid: 16, n_test: 60}, size: 48, epochs: 1, batch_size: 16}
compare_features: true
runs: [{arch: mobilenet_v3, seed: [0, 1]}]
"""


class Planned(Run):
    """A run of which the spec is all that is asked."""

    def __init__(self, **fields):
        object.__setattr__(self, "own", RunSpec.make({"dataset": "phantom", "arch": "resnet18", **fields}))

    spec = property(lambda self: self.own)


def test_runs_are_compared_that_differ_in_a_random_seed_or_in_random_and_imagenet_weights():
    runs = [
        Planned(),  # 0
        Planned(seed=1),  # 1: with 0
        Planned(init="imagenet"),  # 2: with 0
        Planned(init="imagenet", seed=1),  # 3: with 1, and not with 2, which has the same start
        Planned(init="gabor"),  # 4: with none
        Planned(lr=0.01),  # 5: with none
        Planned(train_images=100),  # 6: with none
        Planned(train_images=100, seed=1),  # 7: with none
    ]
    found = comparisons(runs)
    place = {id(run): n for n, run in enumerate(runs)}
    assert [(place[id(a)], s, place[id(b)], t) for a, s, b, t in found[:8]] == [(n, START, n, END) for n in range(8)]
    assert {(place[id(a)], place[id(b)]) for a, _, b, _ in found[8:]} == {(0, 1), (0, 2), (1, 3)}
    assert all(s == t for _, s, _, t in found[8:]) and len(found) == 8 + 3 * 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Two tiny runs of a study that compares features, trained, and their export."""
    folder = tmp_path_factory.mktemp("similarities")
    (folder / "tiny.yaml").write_text(STUDY)
    study, store = load_study(folder / "tiny.yaml"), RunStore(folder / "runs")
    runs = [fit(spec, store=store, progress=False) for spec in study.specs()]
    store.plan("tiny", [run.run_id for run in runs])
    return folder, study, store, runs, export_study(study, folder / "out", store, progress=False)


def test_a_start_is_the_network_that_its_spec_makes_and_an_end_is_another(exported):
    _, _, _, runs, _ = exported
    fresh = create_model("mobilenet_v3", seed=1).state_dict()
    assert all(weight.equal(fresh[name]) for name, weight in load_start(runs[1])[0].state_dict().items())
    end = load_model(runs[1])[0].state_dict()
    assert any(not weight.equal(fresh[name]) for name, weight in end.items())
    assert load_start(runs[1])[1] == load_model(runs[1])[1]  # normalised alike


def test_a_network_is_as_its_own_end_and_its_filters_are_what_they_began_as_but_for_training(exported):
    _, _, _, runs, out = exported
    dataset = chexlib.open_dataset("phantom", None, size=48, n=32, n_valid=16, n_test=60, progress=False)
    same = pd.DataFrame(similarities._compare((runs[0], END, runs[0], END), dataset))
    np.testing.assert_allclose(same["value"], 1, atol=1e-6)
    table = read_similarities(out, "tiny")
    assert list(table) == list(COLUMNS) and set(table["measure"]) == {"cka", "cca", "filters"}
    at = dict(zip(COMPARED, (runs[0].run_id, START, runs[0].run_id, END), strict=True))
    own = table[(table[list(at)] == pd.Series(at)).all(axis=1)].set_index(["measure", "stage"])["value"]
    start, end = (load(runs[0])[0].state_dict() for load in (load_start, load_model))
    name = next(name for name, weight in start.items() if weight.ndim == 4)
    a, b = (weights[name].flatten(1).double().numpy() for weights in (start, end))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert own["filters", "conv1"] == pytest.approx(cosine.mean(), abs=1e-5) and own["filters", "conv1"] < 1
    assert {"conv1", "block1"} <= set(own["cka"].index) and "maps" not in set(own["cka"].index)
    assert (own["cka"] < 1 - 1e-6).all()


def test_what_is_known_is_not_computed_again_and_stays_without_weights(exported, monkeypatch):
    _, study, store, _, out = exported
    before = similarities.similarity_file(out, "tiny").read_bytes()

    def again(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(similarities, "_compare", again)
    export_study(study, out, store, progress=False)
    assert similarities.similarity_file(out, "tiny").read_bytes() == before
    monkeypatch.setattr(similarities, "with_weights", lambda run: None)
    export_study(study, out, store, progress=False)
    assert similarities.similarity_file(out, "tiny").read_bytes() == before


def test_results_say_which_networks_were_compared(exported):
    folder, _, _, _, out = exported
    results = open_results(str(folder / "tiny.yaml"), str(out))
    table = results.similarity
    assert set(table["model"]) == {"MobileNetV3 · random"} and set(table["seed"]) == {0, 1}
    between = table[table["seed"] != table["other_seed"]]
    assert set(between["at"]) == {START, END} and (between["at"] == between["other_at"]).all()
    written = read_similarities(out, "tiny")
    assert sorted(table["enough"]) == sorted(written["images"] >= written["needed"])
    assert open_results(str(folder / "tiny.yaml"), str(folder / "runs")).similarity.empty


def test_a_damaged_table_is_refused(tmp_path):
    similarities.similarity_file(tmp_path, "tiny").write_text("run,at\n1,2\n")
    with pytest.raises(UserError, match="not readable as similarities"):
        read_similarities(tmp_path, "tiny")


def test_whether_a_study_compares_features_is_true_or_false(tmp_path):
    (tmp_path / "tiny.yaml").write_text(STUDY.replace("true", "sometimes"))
    with pytest.raises(UserError, match="compare_features is true or false"):
        load_study(tmp_path / "tiny.yaml")
    (tmp_path / "tiny.yaml").write_text(STUDY)
    assert load_study(tmp_path / "tiny.yaml").compare_features
