"""CheXpert's label files in every published form, and what the reader says of broken ones."""

import csv
import gzip
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from chexlib.data.dataset import VIEWS, open_dataset, open_for
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import Remarks
from chexlib.data.names import image_paths
from chexlib.data.readers import chexpert
from chexlib.data.sources import find_source, read_label_file
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec

IMAGES = (
    "train/patient00001/study1/view1_frontal.jpg",
    "train/patient00001/study1/view2_lateral.jpg",
    "train/patient00002/study3/view1_frontal.jpg",
)


def write_images(path: Path, images=IMAGES, prefix="CheXpert-v1.0/", **columns) -> Path:
    """A per-image label file with metadata: row k says 1 of finding k, 0 of the next, -1 of the one after."""
    rows = pd.DataFrame({"Path": [prefix + image for image in images]})
    rows["Sex"], rows["Age"] = "Female", 68
    rows["Frontal/Lateral"] = np.where(rows["Path"].str.contains("lateral"), "Lateral", "Frontal")
    rows["AP/PA"] = np.where(rows["Path"].str.contains("lateral"), None, "AP")
    return _write(path, rows.assign(**columns) if columns else rows)


def write_studies(path: Path, studies, prefix="CheXpert-v1.0/", findings=FINDINGS, certain=True) -> Path:
    return _write(path, pd.DataFrame({"Study": [prefix + study for study in studies]}), findings, certain)


def _write(path, rows, findings=FINDINGS, certain=False) -> Path:
    for finding in findings:
        k = FINDINGS.index(finding)
        values = [1, 0, 0 if certain else -1, 0 if certain else None]
        rows[finding] = [values[min((k - row) % 14, 3)] for row in range(len(rows))]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, index=False)
    return path


def touch(root: Path, *images: str) -> None:
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 90).save(root / image)


def edit(path: Path, row: int, column: str, value) -> None:
    rows = pd.read_csv(path).astype({column: object})
    rows.loc[row, column] = value
    rows.to_csv(path, index=False)


def only(problems, kind):
    (problem,) = [problem for problem in problems if problem.kind == kind]
    assert "\n" not in problem.message
    return problem


# The real train.csv, as the wheel of torchxrayvision carries it.

COUNTS = {  # present, absent, uncertain, not mentioned
    "No Finding": (22381, 0, 0, 201033),
    "Enlarged Cardiomediastinum": (10798, 21638, 12403, 178575),
    "Cardiomegaly": (27000, 11116, 8087, 177211),
    "Lung Opacity": (105581, 6599, 5598, 105636),
    "Lung Lesion": (9186, 1270, 1488, 211470),
    "Edema": (52246, 20726, 12984, 137458),
    "Consolidation": (14783, 28097, 27742, 152792),
    "Pneumonia": (6039, 2799, 18770, 195806),
    "Atelectasis": (33376, 1328, 33739, 154971),
    "Pneumothorax": (19448, 56341, 3145, 144480),
    "Pleural Effusion": (86187, 35396, 11628, 90203),
    "Pleural Other": (3523, 316, 2653, 216922),
    "Fracture": (9040, 2512, 642, 211220),
    "Support Devices": (116001, 6137, 1079, 100197),
}


@pytest.fixture(scope="module")
def train(train_csv):
    return read_label_file(train_csv)


def test_the_real_train_csv_has_its_published_rows(train):
    table = train.table
    assert (len(table), table["patient"].nunique(), table["study"].nunique()) == (223_414, 64_540, 187_641)
    assert table["image"].is_unique and set(table["split"]) == {"train"}
    assert (train.per, train.covered.all(), train.problems) == ("image", True, ())
    assert table["view"].value_counts().to_dict() == {"AP": 161_590, "PA": 29_420, "LATERAL": 32_387, "": 17}
    assert table["view"].isin(VIEWS["frontal"]).sum() == 191_027
    assert [note for note in train.notes if "17 frontal images are LL or RL" in note]
    assert table["sex"].value_counts().to_dict() == {"M": 132_636, "F": 90_777, "": 1}
    assert ((table["age"] == 0).sum(), table["age"].max(), table["age"].notna().all()) == (3, 90, True)
    assert table.memory_usage(deep=True).sum() / len(table) < 220  # bytes a row


def test_the_real_train_csv_has_its_published_labels(train):
    assert tuple(COUNTS) == FINDINGS
    for finding, counts in COUNTS.items():
        labels = train.table[finding]
        assert (*((labels == value).sum() for value in (1, 0, -1)), labels.isna().sum()) == counts


def test_every_label_is_that_of_its_own_row(train, train_csv):
    with gzip.open(train_csv, "rt", newline="") as file:
        rows = csv.DictReader(file)
        naive = [(row["Path"], [float(row[finding] or "nan") for finding in FINDINGS]) for row in rows]
    assert ["CheXpert-v1.0-small/" + image for image in train.table["image"]] == [path for path, _ in naive]
    np.testing.assert_array_equal(train.table[list(FINDINGS)], np.array([labels for _, labels in naive], np.float32))


def test_the_real_train_csv_is_parsed_within_a_second(train, train_csv):
    def seconds() -> float:
        start = time.process_time()
        read_label_file(train_csv)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 1


# Forms.


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0/", "CheXpert-v1.0-small/", "", "any/folder of mine/"])
def test_any_prefix_of_path_gives_the_same_table(tmp_path, prefix):
    file = read_label_file(write_images(tmp_path / "train.csv", prefix=prefix))
    assert list(file.table["image"]) == list(IMAGES)
    assert list(file.table["study"]) == ["train/patient00001/study1"] * 2 + ["train/patient00002/study3"]
    assert list(file.table["patient"]) == ["patient00001", "patient00001", "patient00002"]
    assert list(file.table["view"]) == ["AP", "LATERAL", "AP"]
    assert file.problems == ()


def test_columns_are_taken_by_name(tmp_path):
    path = write_images(tmp_path / "train.csv")
    first = read_label_file(path).table
    rows = pd.read_csv(path)
    rows[list(rows.columns[::-1])].to_csv(path, index=False)
    pd.testing.assert_frame_equal(first, read_label_file(path).table)


def test_a_validation_file_may_hold_training_patients_of_its_own(tmp_path):
    """Many studies cut a validation set from train.csv and keep its paths."""
    write_images(tmp_path / "train.csv", IMAGES[:2])
    write_images(tmp_path / "valid.csv", IMAGES[2:])
    table = chexpert.read(tmp_path).table
    assert list(table["split"]) == ["train", "train", "val"]


@pytest.mark.parametrize("inner", ["", "train/"])
@pytest.mark.parametrize("given", ["", "CheXpert-v1.0 batch 1 (validate & csv)"])
def test_the_full_release_is_read_from_its_batches(tmp_path, inner, given):
    first, second, third = (
        tmp_path / f"CheXpert-v1.0 batch {k} ({what})"
        for k, what in enumerate(("validate & csv", "train 1", "train 2"), 1)
    )
    valid = "valid/patient64541/study1/view1_frontal.jpg"
    write_images(first / "train.csv")
    write_images(first / "valid.csv", [valid])
    touch(first, valid)
    touch(second / inner, *(image.removeprefix("train/") for image in IMAGES[:2]))
    touch(third / inner, *(image.removeprefix("train/") for image in IMAGES[2:]))
    dataset = open_dataset("chexpert", tmp_path / given, size=8, progress=False)
    assert list(dataset.table["image"]) == [*IMAGES, valid]
    assert (dataset.pixels[:] == 90).all()
    assert find_source(str(tmp_path))[0].name == "chexpert"


def test_the_folder_above_a_release_serves(tmp_path):
    write_images(tmp_path / "CheXpert-v1.0-small" / "train.csv")
    touch(tmp_path / "CheXpert-v1.0-small", *IMAGES)
    listing = chexpert.read(tmp_path)
    assert list(listing.table["image"]) == list(IMAGES)
    assert [listing.images.stamp(i).split(":")[0] for i in range(3)] == [f"CheXpert-v1.0-small/{i}" for i in IMAGES]
    write_images(tmp_path / "CheXpert-v1.0" / "train.csv")
    with pytest.raises(UserError, match=r"CheXpert-v1.0 and CheXpert-v1.0-small: give one of them"):
        chexpert.read(tmp_path)


def test_chexlocalize_calls_valid_val(tmp_path):
    image = "valid/patient64541/study1/view1_frontal.jpg"
    path = tmp_path / "CheXpert" / "val_labels.csv"
    write_images(path, [image])
    pd.read_csv(path).drop(columns=["Sex", "Age", "Frontal/Lateral", "AP/PA"]).to_csv(path, index=False)
    touch(tmp_path / "CheXpert", image.replace("valid/", "val/"))
    listing = chexpert.read(tmp_path)
    assert listing.table.loc[0, ["split", "image", "view", "sex"]].tolist() == ["val", image, "", ""]
    assert listing.images.read(0, 8).max() == 90


TEST = ("test/patient64741/study1", "test/patient64742/study1")


def write_test_labels(path: Path, studies=TEST) -> Path:
    """What groundtruth.csv says, an image a row; the first study has two."""
    truth = pd.read_csv(write_studies(path.with_name("as_truth.csv"), studies, prefix=""))
    path.with_name("as_truth.csv").unlink()
    rows = truth.loc[[0, *truth.index]].reset_index(drop=True)
    views = ["view1_frontal.jpg", "view2_lateral.jpg", *["view1_frontal.jpg"] * (len(studies) - 1)]
    rows.insert(0, "Path", rows.pop("Study") + "/" + pd.Series(views))
    rows.to_csv(path, index=False)
    return path


def test_labels_per_study_repeat_on_the_images_of_its_folder(tmp_path):
    write_studies(tmp_path / "groundtruth.csv", TEST)
    touch(tmp_path, f"{TEST[0]}/view1_frontal.jpg", f"{TEST[0]}/view2_lateral.jpg", f"{TEST[1]}/view1_frontal.jpg")
    table = chexpert.read(tmp_path).table
    assert list(table["study"]) == [TEST[0], TEST[0], TEST[1]]
    assert list(table["view"]) == ["", "LATERAL", ""]
    assert [FINDINGS[k] for k in table[list(FINDINGS)].to_numpy().argmax(axis=1)] == [*FINDINGS[:1] * 2, FINDINGS[1]]


def test_both_files_of_the_test_set_must_agree(tmp_path):
    write_studies(tmp_path / "groundtruth.csv", TEST)
    write_test_labels(tmp_path / "test_labels.csv")
    assert len(chexpert.read(tmp_path).table) == 3
    assert chexpert.read(tmp_path).problems == ()
    edit(tmp_path / "groundtruth.csv", 1, "Edema", 1)
    problem = only(chexpert.read(tmp_path).problems, "disagree")
    assert problem.items == (TEST[1],)
    write_studies(tmp_path / "groundtruth.csv", TEST[:1])
    assert only(chexpert.read(tmp_path).problems, "disagree").items == (TEST[1],)


def test_the_radiologists_order_of_columns_is_undone_and_said(tmp_path):
    """As published in radiologists/benchmark_radiologists/bc4.csv: Lung Lesion stands before Lung Opacity."""
    order = list(FINDINGS)
    order[3:5] = order[4:2:-1]
    header = ",".join(["Study", *order])
    rows = ["CheXpert-v1.0/test/patient64742/study1,0,0,0,0,1,0,0,0,1,0,0,0,0,0"]
    path = tmp_path / "radiologists" / "bc4.csv"
    path.parent.mkdir()
    path.write_text("\n".join([header, *rows]))
    file = read_label_file(path)
    assert file.table.loc[0, ["Lung Opacity", "Lung Lesion", "Atelectasis"]].tolist() == [1, 0, 1]
    assert [note for note in file.notes if "Lung Lesion stands before Lung Opacity" in note]
    assert read_label_file(write_studies(tmp_path / "groundtruth.csv", TEST)).notes == ()


def test_the_real_groundtruth(nih1000):
    file = read_label_file(nih1000.parent / "chexpert_test" / "groundtruth.csv")
    assert (len(file.table), file.table["patient"].nunique(), file.per) == (500, 500, "study")
    positives = file.table[list(FINDINGS)].sum()
    assert positives[["Lung Opacity", "Lung Lesion", "No Finding"]].tolist() == [264, 8, 62]
    assert list(file.table["image"]) == list(file.table["study"])


# Views, on a phantom.


@pytest.mark.parametrize(("views", "kept"), VIEWS.items())
def test_a_view_filter_keeps_its_views_and_counts_them(phantom_folder, views, kept):
    everything = open_dataset("phantom", phantom_folder, size=48, progress=False)
    dataset = open_dataset("phantom", phantom_folder, size=48, views=views, progress=False)
    wanted = everything.table["view"].isin(kept)
    assert wanted.any()
    assert list(dataset.table["image"]) == list(everything.table.loc[wanted, "image"])
    np.testing.assert_array_equal(dataset.pixels[:], everything.pixels[np.flatnonzero(wanted)])
    last = dataset.flow[dataset.flow["step"] == (f"{views} views" if views != "all" else "listed")]
    table = dataset.table.groupby("split")
    for split, images, studies in zip(last["split"], last["images"], last["studies"], strict=True):
        assert images == len(dataset.rows(split))
        assert studies == (table["study"].nunique()[split] if images else 0)
    assert dataset.flow["images"].iloc[:3].sum() == len(everything.table)


def test_views_that_leave_nothing_are_refused(tmp_path):
    write_images(tmp_path / "train.csv", IMAGES[:1])
    touch(tmp_path, IMAGES[0])
    with pytest.raises(UserError, match=r"^[^\n]*views='pa' leaves no image[^\n]*$"):
        open_dataset("chexpert", tmp_path, size=8, views="pa", progress=False)


def test_views_that_leave_a_split_empty_stop_a_study(phantom_folder):
    """The phantom's test images are not said to be AP or PA."""
    with pytest.raises(UserError, match=r"^[^\n]*views='ap' leaves no test images[^\n]*$"):
        open_for(RunSpec(size=48, views="ap"), phantom_folder, progress=False)


# Bad input.


@pytest.mark.parametrize(
    "path",
    [
        "/train/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0/train/patient00001/../../etc/passwd",
        "../train/patient00001/study1/view1_frontal.jpg",
        "train/patient00001/view1_frontal.jpg",
        "C:\\train\\patient00001\\study1\\view1_frontal.jpg",
        "view1_frontal.jpg",
        None,
    ],
)
def test_a_path_of_a_strange_shape_is_named_and_left_out(tmp_path, path):
    file = write_images(tmp_path / "train.csv")
    whole = chexpert.read(tmp_path).table
    edit(file, 1, "Path", path)
    listing = chexpert.read(tmp_path)
    problem = only(listing.problems, "path")
    assert problem.fatal
    assert "train.csv, row 3:" in problem.message
    pd.testing.assert_frame_equal(listing.table, whole.drop(index=1).reset_index(drop=True))


@pytest.mark.parametrize("value", ["yes", 2, 0.5, "1;0", "True", "inf"])
def test_a_strange_label_is_named_and_nothing_else_is_lost(tmp_path, value):
    path = write_images(tmp_path / "train.csv")
    before = read_label_file(path).table
    edit(path, 2, "Edema", value)
    file = read_label_file(path)
    problem = only(file.problems, "label")
    assert problem.fatal and problem.count == 1
    assert f"train.csv, row 4, column Edema: '{value}' is not a label" in problem.message
    before.loc[2, "Edema"] = np.nan
    pd.testing.assert_frame_equal(file.table, before)
    pd.read_csv(path).assign(Edema=[True, False, True]).to_csv(path, index=False)
    assert only(read_label_file(path).problems, "label").count == 3


def test_a_strange_age_is_a_warning(tmp_path):
    path = write_images(tmp_path / "train.csv")
    edit(path, 0, "Age", "74Y")
    file = read_label_file(path)
    problem = only(file.problems, "age")
    assert not problem.fatal
    assert "row 2, column Age: '74Y'" in problem.message
    assert file.table["age"].tolist()[1:] == [68, 68]
    assert np.isnan(file.table["age"][0])


def test_a_study_of_several_rows(tmp_path):
    path = write_studies(tmp_path / "groundtruth.csv", [*TEST, TEST[0]])
    file = read_label_file(path)
    assert only(file.problems, "study-twice").items == (TEST[0],)
    assert len(file.table) == 2


def test_a_study_without_images_is_a_problem_of_its_own(tmp_path):
    write_studies(tmp_path / "groundtruth.csv", TEST)
    touch(tmp_path, f"{TEST[0]}/view1_frontal.jpg")
    listing = chexpert.read(tmp_path)
    assert only(listing.problems, "missing").items == (TEST[1],)
    assert len(listing.table) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a readable CSV"),
        (b"Path,Sex\n", "no rows"),
        (b"name,label\na,1\n", "no column Image Index, Path, Study"),
        (b"Path,Sex\na,b,c,d\ne,f,g,h\n", "not a readable CSV"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "not a readable CSV"),
    ],
)
def test_a_file_that_is_no_label_file(tmp_path, content, said, refused):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    assert said in refused(read_label_file, path)


def test_a_truncated_gzip_no_file_and_a_folder(tmp_path, train_csv, refused):
    path = tmp_path / "train.csv.gz"
    path.write_bytes(train_csv.read_bytes()[:5000])
    assert "not a readable CSV" in refused(read_label_file, path)
    path.write_bytes(b"Path,Sex\na,b\n")  # no gzip, whatever its name
    assert "column Age" in refused(read_label_file, path)
    assert "no such file" in refused(read_label_file, tmp_path / "train.csv")
    assert "cannot be read" in refused(read_label_file, tmp_path)


def test_metadata_that_train_csv_must_have_and_others_need_not(tmp_path, refused):
    path = write_images(tmp_path / "train.csv")
    pd.read_csv(path).drop(columns="AP/PA").to_csv(path, index=False)
    assert "column AP/PA missing" in refused(read_label_file, path)
    for other in (shutil.move(path, tmp_path / "of_mine.csv"), write_test_labels(tmp_path / "test_labels.csv")):
        file = read_label_file(other)
        assert (file.per, list(file.table["view"])) == ("image", ["", "LATERAL", ""])
        assert file.table["age"].isna().all()


PART = st.text(st.characters(codec="utf-8", exclude_characters="/\\\r\n\x00\"',"), min_size=1, max_size=6)


@settings(max_examples=50)
@given(prefix=st.lists(PART, max_size=3), patient=PART, study=PART, name=PART)
def test_no_prefix_changes_an_image_and_no_path_leaves_the_folder(prefix, patient, study, name):
    image = f"train/patient{patient}/study{study}/{name}"
    paths, remarks = pd.Series(["/".join([*prefix, image])]), Remarks()
    assume(image_paths(paths).equals(paths))
    where = chexpert._paths(Path("train.csv"), paths, "image", remarks)
    if remarks.problems:
        assert ".." in "/".join([*prefix, image]) or name.startswith(".")
    else:
        assert where["study"][0] + "/" + where["file"][0] == image
        assert where["patient"][0] == f"patient{patient}"
