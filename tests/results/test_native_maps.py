"""Which maps are published of a network, and that a published map is the one that its weights make."""

import io

import numpy as np
import pytest

import chexlib
from chexlib.data.labels import TASKS
from chexlib.errors import UserError
from chexlib.results import native_maps as module
from chexlib.results.export import export_study
from chexlib.results.native_maps import frontal, map_pairs, native_maps, shown_rows, with_weights
from chexlib.runs.store import Run, RunStore
from chexlib.study import load_study
from chexlib.training.checkpoints import load_model
from chexlib.training.loop import fit


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return chexlib.open_dataset("phantom", phantom_folder, size=48, progress=False)


def test_shown_images_are_frontal_test_images_and_each_task_that_is_seen_has_one(dataset):
    table = dataset.table.iloc[shown_rows(dataset, TASKS)]
    assert set(table["split"]) == {"test"} and "LATERAL" not in set(table["view"]) and len(table) <= 12
    test = dataset.table.query("split == 'test' and view != 'LATERAL'")
    assert all((table[task] == 1).any() for task in TASKS if (test[task] == 1).any())


def test_pairs_are_every_finding_of_the_shown_images_and_marked_findings_of_others(dataset, monkeypatch):
    monkeypatch.setattr(module, "MARKED", 3)
    pairs = map_pairs(dataset, TASKS)
    assert not pairs[["row", "finding"]].duplicated().any()
    its = pairs[pairs["row"].isin(shown_rows(dataset, TASKS))]
    assert (its.groupby("row").size() == len(TASKS)).all()
    marked = pairs[pairs["marked"]]
    for finding, of in marked.groupby("finding"):
        candidates = [row for row in frontal(dataset, finding=finding) if np.any(dataset.mask(row, finding))]
        assert of["row"].tolist() == candidates[:3]
    assert (dataset.table["image"].iloc[pairs["row"]].to_numpy() == pairs["image"]).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, request):
    """Two tiny runs of a study on phantoms, one of them trained, and the study's export."""
    folder = tmp_path_factory.mktemp("maps")
    (folder / "tiny.yaml").write_text(
        "common: {dataset: phantom, options: {n: 32, n_valid: 16, n_test: 24}, size: 48, epochs: 1, batch_size: 16}\n"
        "runs: [{arch: mobilenet_v3, seed: [0, 1]}]\n"
    )
    store, study = RunStore(folder / "runs"), load_study(folder / "tiny.yaml")
    specs = study.specs()
    run = fit(specs[0], store=store, progress=False)
    store.plan("tiny", [run.run_id, "not-trained-yet"])
    return store, RunStore(export_study(study, folder / "out", store, progress=False)), run


def test_a_published_map_is_what_grad_cam_says(trained):
    store, published, run = trained
    dataset = chexlib.open_dataset("phantom", None, size=48, n=32, n_valid=16, n_test=24, progress=False)
    pairs = map_pairs(dataset, TASKS)
    copy = Run(published.folder / run.run_id)
    assert with_weights(copy, RunStore(published.folder / "none")) is None and with_weights(copy, store) == run
    maps, p = native_maps(copy, dataset, pairs)
    fresh, p_fresh = native_maps(run, dataset, pairs)
    assert np.array_equal(maps, fresh) and np.array_equal(p, p_fresh)
    model, prepare = load_model(run)
    for n in (0, len(pairs) - 1):
        x = prepare(dataset.pixels[[pairs["row"][n]]])
        own = chexlib.grad_cam(model, x, [pairs["finding"][n]], upsample=False)[0, 0].numpy()
        np.testing.assert_allclose(maps[n], own, atol=1e-3)  # half precision
        assert maps[n].max() == pytest.approx(p[n], abs=1e-3) or maps[n].max() == 0


def test_a_study_that_is_not_finished_is_exported_with_what_is_to_come(trained):
    _, published, run = trained
    assert [one.run_id for one in published.planned("tiny")] == [run.run_id, "not-trained-yet"]
    assert not list(published.folder.rglob("*.safetensors"))


def test_a_maps_file_that_lacks_a_pair_or_is_broken_is_refused_in_one_line(trained, dataset):
    _, published, run = trained
    pair = map_pairs(dataset, TASKS).iloc[:1].assign(finding="Fracture", image="x.png")
    with pytest.raises(UserError, match=r"maps\.npz: lacks a map of Fracture on x\.png"):
        native_maps(Run(published.folder / run.run_id), dataset, pair)
    broken, buffer = Run(published.folder / "broken"), io.BytesIO()
    np.savez(buffer, maps=np.zeros(1))
    broken.write("maps.npz", buffer.getvalue())
    with pytest.raises(UserError, match=r"broken/maps\.npz: not readable"):
        native_maps(broken, dataset, pair)
