"""CheXpert-shaped and NIH folders as the loader sees them, and what it says of broken ones."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import SPLITS, split_by_patient
from chexlib.errors import UserError

NIH_COLUMNS = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


@pytest.fixture
def copy(phantom_folder, tmp_path):
    """A phantom folder to break."""
    return shutil.copytree(phantom_folder, tmp_path / "copy")


@pytest.fixture
def nih(tmp_path):
    (tmp_path / "images").mkdir()
    rows = ["a.png,Mass|Effusion,0,1,058Y,M,PA", "b.png,No Finding,1,1,59,M,AP", "c.png,Hernia,0,2,7,F,PA"]
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([NIH_COLUMNS, *rows]))
    for name, mode in (("a.png", "L"), ("b.png", "RGBA"), ("c.png", "L")):
        Image.new(mode, (20, 20), 77).save(tmp_path / "images" / name)
    return tmp_path


def test_labels_are_those_of_the_row_of_the_image(phantom_folder):
    dataset = open_dataset("phantom", phantom_folder, size=48, progress=False)
    rows = pd.read_csv(phantom_folder / "train.csv")
    train = dataset.table.iloc[dataset.rows("train")]
    assert [path.split("/", 1)[1] for path in rows["Path"]] == list(train["image"])
    np.testing.assert_array_equal(rows[list(FINDINGS)], train[list(FINDINGS)])


def test_the_prefix_of_path_may_be_missing(phantom_folder, copy):
    for name in ("train.csv", "valid.csv"):
        rows = pd.read_csv(copy / name)
        rows["Path"] = rows["Path"].str.split("/", n=1).str[1]
        rows.to_csv(copy / name, index=False)
    with_prefix, without = (open_dataset("phantom", root, size=48, progress=False) for root in (phantom_folder, copy))
    pd.testing.assert_frame_equal(with_prefix.table, without.table)
    assert with_prefix.fingerprint == without.fingerprint


def test_test_labels_are_per_study_and_repeat_on_its_images(phantom_folder):
    dataset = open_dataset("phantom", phantom_folder, size=48, progress=False)
    test = dataset.table.iloc[dataset.rows("test")]
    studies = pd.read_csv(phantom_folder / "groundtruth.csv")
    assert test["study"].nunique() == len(studies)
    assert (test.groupby("study")[list(FINDINGS)].nunique() == 1).all(axis=None)


def test_no_patient_is_in_two_splits(phantom_folder):
    table = open_dataset("phantom", phantom_folder, size=48, progress=False).table
    assert table.groupby("patient")["split"].nunique().max() == 1


def test_the_fingerprint_follows_labels_and_policy(phantom_folder, copy):
    rows = pd.read_csv(copy / "train.csv")
    rows.loc[0, "Edema"] = 1 - rows.loc[0, "Edema"] if rows.loc[0, "Edema"] in (0, 1) else 1
    rows.to_csv(copy / "train.csv", index=False)
    original = open_dataset("phantom", phantom_folder, size=48, progress=False)
    changed = open_dataset("phantom", copy, size=48, progress=False)
    other_policy = open_dataset("phantom", phantom_folder, size=48, policy="u-ignore", progress=False)
    assert len({original.fingerprint, changed.fingerprint, other_policy.fingerprint}) == 3


def test_nih_findings_are_mapped_by_name(nih):
    dataset = open_dataset("nih", nih, size=16, progress=False)
    present = [{finding for finding in FINDINGS if row[finding] == 1} for _, row in dataset.table.iterrows()]
    assert present == [{"Lung Lesion", "Pleural Effusion"}, {"No Finding"}, set()]
    unknown = [finding for finding, known in zip(FINDINGS, dataset.known.all(axis=0), strict=True) if not known]
    assert unknown == ["Enlarged Cardiomediastinum", "Lung Opacity", "Fracture", "Support Devices"]
    assert list(dataset.table["age"]) == [58, 59, 7]
    assert (dataset.pixels[:] == 77).all(axis=(1, 2)).tolist() == [True, False, True]  # RGBA's 77 is red alone


def test_real_nih_images(nih1000):
    dataset = open_dataset("nih", nih1000, size=64, progress=False)
    assert len(dataset.table) == 1000
    assert dataset.table["patient"].nunique() == 682
    positives = dataset.table[list(FINDINGS)].sum()
    assert positives[["Atelectasis", "Edema", "Pleural Effusion", "Consolidation", "Cardiomegaly"]].tolist() == [
        113,
        96,
        90,
        33,
        16,
    ]
    assert dataset.table.groupby("patient")["split"].nunique().max() == 1


@given(st.lists(st.text(max_size=4), min_size=1, max_size=40), st.integers(0, 5))
def test_a_patient_stays_where_it_is_whoever_else_is_there(patients, seed):
    together = split_by_patient(patients, seed=seed)
    alone = [split_by_patient([patient], seed=seed)[0] for patient in patients]
    assert list(together) == alone
    assert set(together) <= set(SPLITS)


def test_split_fractions_are_met():
    sides = split_by_patient([str(i) for i in range(20_000)], (0.6, 0.15, 0.25))
    assert [np.mean(sides == side) for side in SPLITS] == pytest.approx([0.6, 0.15, 0.25], abs=0.015)


# Bad input, one clear line each.


def refusal(name, root, **options) -> str:
    with pytest.raises(UserError) as error:
        open_dataset(name, root, size=48, progress=False, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_folder(tmp_path):
    assert "no such folder" in refusal("chexpert", tmp_path / "nowhere")


def test_a_data_set_without_its_folder_says_where_to_get_it():
    assert "--data FOLDER" in refusal("chexpert", None)


def test_an_unknown_data_set():
    assert "choose one of phantom, chexpert, nih" in refusal("mimic", None)


def test_an_unknown_option(phantom_folder):
    assert "colour" in refusal("nih", phantom_folder, colour=1)


@pytest.mark.parametrize(("name", "split"), [("train.csv", "train"), ("valid.csv", "val"), ("groundtruth.csv", "test")])
def test_a_missing_label_file_is_noted_and_only_a_study_needs_it(copy, name, split):
    from chexlib.data.dataset import open_for
    from chexlib.runs.spec import RunSpec

    (copy / name).unlink()
    dataset = open_dataset("phantom", copy, size=48, progress=False)
    assert [note for note in dataset.listing.notes if f"no label file of split {split}" in note]
    assert not len(dataset.rows(split))
    with pytest.raises(UserError, match=f"no {split} images: a study needs"):
        open_for(RunSpec(size=48), copy, progress=False)


def test_a_folder_without_any_label_file(tmp_path):
    assert "no train.csv, valid.csv" in refusal("chexpert", tmp_path)


def test_a_missing_column(copy):
    pd.read_csv(copy / "train.csv").drop(columns=["Sex", "Age"]).to_csv(copy / "train.csv", index=False)
    assert "column Sex, Age missing" in refusal("phantom", copy)


def test_an_empty_label_file(copy):
    (copy / "valid.csv").write_text("")
    assert "not a readable CSV" in refusal("phantom", copy)


def test_a_label_that_is_a_word(copy):
    rows = pd.read_csv(copy / "train.csv").astype({"Edema": object})
    rows.loc[3, "Edema"] = "yes"
    rows.to_csv(copy / "train.csv", index=False)
    assert "column Edema: 'yes' is not a label" in refusal("phantom", copy)


def test_a_path_that_leaves_the_folder(copy):
    rows = pd.read_csv(copy / "train.csv")
    rows.loc[2, "Path"] = "train/patient00001/../../../etc/passwd"
    rows.to_csv(copy / "train.csv", index=False)
    assert "train.csv, row 4" in refusal("phantom", copy)


def test_a_missing_image_is_named(copy):
    image = sorted((copy / "valid").rglob("*.jpg"))[0]
    image.unlink()
    assert f"{image.name}: no such image" in refusal("phantom", copy)


def test_a_study_without_images(copy):
    shutil.rmtree(sorted((copy / "test").iterdir())[0])
    assert "no images in" in refusal("phantom", copy)


def test_an_nih_folder_without_its_label_file(tmp_path):
    assert "no Data_Entry_2017*.csv" in refusal("nih", tmp_path)


def test_an_nih_image_that_is_missing(nih):
    (nih / "images" / "b.png").unlink()
    assert "b.png: no such image" in refusal("nih", nih)


def test_an_nih_finding_that_nobody_knows(nih):
    path = nih / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Hernia", "hernia"))
    assert "row 4: hernia is no finding of NIH's" in refusal("nih", nih)


def test_ages_of_the_first_release(nih):
    path = nih / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace(",59,", ",006M,").replace(",7,", ",073D,"))
    assert list(open_dataset("nih", nih, size=48, progress=False).table["age"]) == [58, 0.5, 0.2]


def test_a_finding_that_no_row_labels_is_unknown(copy):
    for name in ("train.csv", "valid.csv", "groundtruth.csv"):
        rows = pd.read_csv(copy / name).drop(columns="Edema")
        rows["Fracture"] = np.nan
        rows.to_csv(copy / name, index=False)
    known = open_dataset("phantom", copy, size=48, progress=False).known.all(axis=0)
    assert [finding for finding, k in zip(FINDINGS, known, strict=True) if not k] == ["Edema", "Fracture"]


def test_an_image_listed_twice(copy):
    rows = pd.read_csv(copy / "train.csv")
    pd.concat([rows, rows.iloc[[0]]]).to_csv(copy / "train.csv", index=False)
    assert "is listed 2 times" in refusal("phantom", copy)


def test_a_patient_in_two_splits(copy):
    valid = pd.read_csv(copy / "valid.csv")
    train = pd.read_csv(copy / "train.csv").iloc[:1]
    study = train["Path"].iloc[0].split("/", 1)[1].rsplit("/", 1)[0]
    shutil.copytree(copy / study, copy / study.replace("train/", "valid/"))
    train["Path"] = train["Path"].str.replace("train/", "valid/")
    pd.concat([valid, train]).to_csv(copy / "valid.csv", index=False)
    assert "is in 2 splits" in refusal("phantom", copy)
