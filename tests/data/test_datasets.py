"""A data set as the loader sees it, whatever its form, and what it says of broken folders."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexlib.data.dataset import open_dataset, open_for
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import SPLITS, split_by_patient
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec


def opened(root, **options):
    return open_dataset("phantom", root, size=48, progress=False, **options)


def edit(path, change):
    change(pd.read_csv(path)).to_csv(path, index=False)


def test_the_fingerprint_follows_labels_and_policy(phantom_folder, copy):
    edit(copy / "train.csv", lambda rows: rows.assign(Edema=rows["Edema"].eq(0).astype(int)))
    sets = opened(phantom_folder), opened(copy), opened(phantom_folder, policy="u-ignore")
    assert len({dataset.fingerprint for dataset in sets}) == 3


def test_fewer_training_images_are_of_whole_patients_and_lie_among_more(phantom_folder):
    everything = opened(phantom_folder)
    training = everything.table.query("split == 'train'")
    whole, before = training.groupby("patient").size(), set()
    for n in range(1, len(training) + 1):
        dataset = opened(phantom_folder, train_images=n)
        rows = dataset.rows("train")
        images = set(dataset.table["image"].iloc[rows])
        assert len(rows) == len(images) == n and before < images
        cut = dataset.table.iloc[rows].groupby("patient").size()
        assert (cut < whole[cut.index]).sum() <= 1
        before = images
        others = [data.table.query("split != 'train'").reset_index(drop=True) for data in (dataset, everything)]
        pd.testing.assert_frame_equal(*others)
    pd.testing.assert_frame_equal(dataset.table, everything.table)
    assert (whole > 1).any() and dataset.fingerprint == everything.fingerprint


def test_fewer_training_images_bring_their_pixels_and_their_mean(phantom_folder):
    fewer, everything = opened(phantom_folder, train_images=7), opened(phantom_folder)
    where = np.flatnonzero(everything.table["image"].isin(fewer.table["image"]))
    np.testing.assert_array_equal(fewer.pixels[np.arange(len(where))], everything.pixels[where])
    np.testing.assert_array_equal(fewer.known, everything.known[where])
    pixels = fewer.pixels[fewer.rows("train")] / 255
    assert fewer.mean_std() == pytest.approx((pixels.mean(), pixels.std())) != everything.mean_std()
    assert fewer.flow.query("split == 'train'")["images"].tolist()[-1] == 7


@pytest.mark.parametrize("n", [-1, 65])
def test_training_images_that_are_not_there_are_refused(phantom_folder, n):
    with pytest.raises(UserError, match=f"train_images={n}: there are 64: ask for 1 to 64, or for 0"):
        opened(phantom_folder, train_images=n)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=40), st.integers(0, 5))
def test_a_patient_stays_where_it_is_whoever_else_is_there(patients, seed):
    together = split_by_patient(patients, seed=seed)
    assert list(together) == [split_by_patient([patient], seed=seed)[0] for patient in patients]
    assert set(together) <= set(SPLITS)


def test_split_fractions_are_met():
    sides = split_by_patient([str(i) for i in range(20_000)], (0.6, 0.15, 0.25))
    assert [np.mean(sides == side) for side in SPLITS] == pytest.approx([0.6, 0.15, 0.25], abs=0.015)


# Bad input, one clear line each.


@pytest.mark.parametrize(
    ("name", "folder", "options", "said"),
    [
        ("chexpert", "nowhere", {}, "no such folder"),
        ("chexpert", None, {}, "--data FOLDER"),
        ("chexpert", "", {}, "no train.csv, valid.csv"),
        ("nih", "", {}, "no Data_Entry_2017*.csv"),
        ("nih", "", {"colour": 1}, "colour"),
        ("mimic", None, {}, "choose one of phantom, chexpert, nih"),
    ],
)
def test_what_cannot_be_opened_at_all(tmp_path, refusal, name, folder, options, said):
    assert said in refusal(name, None if folder is None else tmp_path / folder, **options)


@pytest.mark.parametrize(("name", "split"), [("train.csv", "train"), ("valid.csv", "val"), ("groundtruth.csv", "test")])
def test_a_missing_label_file_is_noted_and_only_a_study_needs_it(copy, name, split):
    (copy / name).unlink()
    dataset = opened(copy)
    assert [note for note in dataset.listing.notes if f"no label file of split {split}" in note]
    assert not len(dataset.rows(split))
    with pytest.raises(UserError, match=f"no {split} images: a study needs"):
        open_for(RunSpec(size=48), copy, progress=False)


def also_validates(folder):
    """The first training row, its study, in the validation set too."""
    row = pd.read_csv(folder / "train.csv").iloc[:1]
    study = row["Path"].iloc[0].split("/", 1)[1].rsplit("/", 1)[0]
    shutil.copytree(folder / study, folder / study.replace("train/", "valid/"))
    row["Path"] = row["Path"].str.replace("train/", "valid/")
    edit(folder / "valid.csv", lambda rows: pd.concat([rows, row]))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda d: edit(d / "train.csv", lambda rows: rows.drop(columns=["Sex", "Age"])), "column Sex, Age missing"),
        (lambda d: (d / "valid.csv").write_text(""), "not a readable CSV"),
        (lambda d: edit(d / "train.csv", lambda rows: pd.concat([rows, rows[:1]])), "is listed 2 times"),
        (lambda d: sorted((d / "valid").rglob("*.jpg"))[0].unlink(), ".jpg: no such image"),
        (lambda d: shutil.rmtree(sorted((d / "test").iterdir())[0]), "no images in"),
        (also_validates, "is in 2 splits"),
    ],
)
def test_a_broken_folder_is_refused_before_training(copy, refusal, harm, said):
    harm(copy)
    assert said in refusal("phantom", copy)


def test_a_finding_that_no_row_labels_is_unknown(copy):
    for name in ("train.csv", "valid.csv", "groundtruth.csv"):
        edit(copy / name, lambda rows: rows.drop(columns="Edema").assign(Fracture=np.nan))
    known = opened(copy).known.all(axis=0)
    assert [finding for finding, k in zip(FINDINGS, known, strict=True) if not k] == ["Edema", "Fracture"]
