"""Which images a run learned from is written beside it, found again, and published as the data set's terms allow."""

import numpy as np
import pandas as pd
import pytest

from chexlib.data.dataset import open_dataset
from chexlib.data.hashes import HASHED
from chexlib.errors import UserError
from chexlib.runs.manifest import find_hashes, hide_ids, keep_manifest, make_manifest, manifest_file, write_hashes
from tests.made_runs import make_store, study_file


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return open_dataset("phantom", phantom_folder, size=48, progress=False)


@pytest.fixture
def store(tmp_path, dataset):
    """Runs of invented data, with the manifest of other data beside them."""
    store = make_store(tmp_path / "runs", study_file(tmp_path))
    write_hashes(manifest_file(store.folder, "cafe"), make_manifest(dataset, progress=False))
    return store


def test_a_manifest_has_a_row_an_image_with_its_split(dataset):
    manifest = make_manifest(dataset, progress=False)
    assert list(manifest) == list(HASHED)
    assert manifest["image"].tolist() == dataset.table["image"].tolist()
    assert manifest["split"].tolist() == dataset.table["split"].tolist()
    assert manifest["hash"].is_unique and manifest["hash"].str.len().eq(144).all()


def test_runs_of_one_data_set_share_a_manifest_that_is_written_once(dataset, tmp_path):
    keep_manifest(tmp_path, dataset, progress=False)
    [file] = tmp_path.iterdir()
    assert file == manifest_file(tmp_path, dataset.fingerprint)
    before = file.stat().st_mtime_ns
    keep_manifest(tmp_path, dataset, progress=False)
    assert file.stat().st_mtime_ns == before


def test_a_file_a_run_and_a_folder_of_runs_are_known_by_the_same_hashes(store, dataset):
    run = store.planned("made")[0]
    tables = [find_hashes(place) for place in (manifest_file(store.folder, "cafe"), run.folder, str(store.folder))]
    assert all(table.equals(make_manifest(dataset, progress=False)) for table in tables)


def test_ids_under_a_key_still_tell_patients_apart(store):
    table = find_hashes(store.folder)
    hidden, other = hide_ids(table, b"one"), hide_ids(table, b"two")
    assert hidden["image"].is_monotonic_increasing and sorted(hidden["hash"]) == sorted(table["hash"])
    sizes = [sorted(each.groupby("patient").size()) for each in (table, hidden)]
    assert sizes[0] == sizes[1]
    for name in ("image", "patient"):
        assert not set(hidden[name]) & (set(table[name]) | set(other[name]))


@pytest.mark.parametrize("place", ["absent", "empty", "a run", "text", "other columns", "no text", "cut", "kept back"])
def test_what_holds_no_hashes_is_refused_in_one_line(tmp_path, store, place):
    path = manifest_file(store.folder, "cafe")
    table = pd.read_parquet(path)
    if place == "a run":
        path.unlink()
        path = store.planned("made")[0].folder
    elif place == "empty":
        path = tmp_path / "empty"
        path.mkdir()
    elif place == "absent":
        path = tmp_path / "absent"
    elif place == "text":
        path.write_text("split,image\n")
    elif place == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        table = {
            "other columns": table.drop(columns="hash"),
            "no text": table.assign(hash=np.arange(len(table))),
            "kept back": table.assign(hash=""),
        }[place]
        write_hashes(path, table)
    with pytest.raises(UserError) as error:
        find_hashes(path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_training_writes_the_manifest_of_its_data(smoke_store):
    fingerprints = {run.spec.fingerprint for run in smoke_store.planned("smoke")}
    files = {manifest_file(smoke_store.folder, fingerprint) for fingerprint in fingerprints}
    assert files == set(smoke_store.folder.glob("*.hashes.parquet"))
