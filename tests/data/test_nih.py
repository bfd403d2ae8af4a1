"""NIH ChestX-ray14: findings by name, official lists, boxes, and what the reader says of broken files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS
from chexlib.data.readers import nih
from chexlib.data.sources import read_label_file
from chexlib.errors import UserError

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write(root: Path, *rows: str, images: bool = True) -> Path:
    (root / "images").mkdir(exist_ok=True)
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]))
    for row in rows if images else ():
        Image.new("L", (16, 16), 77).save(root / "images" / row.split(",")[0])
    return root


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve images of ten patients; the first patient has three."""
    patients = [1, 1, 1, *range(2, 11)]
    return write(tmp_path, *(f"{k:02d}.png,Effusion,{k},{patient},58,F,PA" for k, patient in enumerate(patients)))


@pytest.fixture(scope="module")
def real(wheel, tmp_path_factory):
    """What NIH's real label files list, without images."""
    folder = tmp_path_factory.mktemp("nih")
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        (folder / name).write_bytes(gzip.decompress((wheel / f"{name}.gz").read_bytes()))
    return nih.read(folder)


def test_the_real_label_file(real):
    table = real.table
    assert (len(table), table["patient"].nunique()) == (112_120, 30_805)
    assert table["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    positives = table[list(FINDINGS)].sum()
    assert positives[positives > 0].astype(int).to_dict() == {
        "No Finding": 60_361,
        "Cardiomegaly": 2_776,
        "Lung Lesion": 11_207,  # Mass or Nodule
        "Edema": 2_303,
        "Consolidation": 4_667,
        "Pneumonia": 1_431,
        "Atelectasis": 11_559,
        "Pneumothorax": 5_302,
        "Pleural Effusion": 13_317,
        "Pleural Other": 3_385,
    }
    assert real.all_problems() == ()


def test_the_real_boxes(real):
    """984 boxes of 880 images; the 123 of Infiltrate map to nothing."""
    counts = real.boxes["finding"].value_counts().to_dict()
    assert counts == {
        "Atelectasis": 180,
        "Lung Lesion": 85 + 79,
        "Pleural Effusion": 153,
        "Cardiomegaly": 146,
        "Pneumonia": 120,
        "Pneumothorax": 98,
    }
    assert [note for note in real.notes if "123 boxes" in note]
    first = real.boxes.iloc[0]
    assert first["image"] == "images/00013118_008.png"
    assert first[["left", "right"]].tolist() == pytest.approx([225.0847 / 1024, (225.0847 + 86.7797) / 1024], abs=1e-6)
    assert real.boxes[["left", "top", "right", "bottom"]].stack().between(0, 1).all()


def test_published_results_keep_their_data(nih1000):
    dataset = open_dataset("nih", nih1000, size=128, progress=False)
    assert dataset.fingerprint == "8e40876a6e396598"
    assert dataset.listing.all_problems() == ()
    assert (len(dataset.table), dataset.table["patient"].nunique()) == (1000, 682)
    positives = dataset.table[["Atelectasis", "Edema", "Pleural Effusion", "Consolidation", "Cardiomegaly"]].sum()
    assert positives.tolist() == [113, 96, 90, 33, 16]


def test_findings_are_mapped_by_name_and_ages_have_units(tmp_path):
    """As in both releases; RGBA's 77 is red alone."""
    write(tmp_path, "a.png,Mass|Effusion,0,1,058Y,M,PA", "b.png,No Finding,1,1,006M,M,AP", "c.png,Hernia,0,2,7,F,PA")
    Image.new("RGBA", (20, 20), 77).save(tmp_path / "images" / "b.png")
    dataset = open_dataset("nih", tmp_path, size=16, progress=False)
    present = [{finding for finding in FINDINGS if row[finding] == 1} for _, row in dataset.table.iterrows()]
    assert present == [{"Lung Lesion", "Pleural Effusion"}, {"No Finding"}, set()]
    unknown = [finding for finding, known in zip(FINDINGS, dataset.known.all(axis=0), strict=True) if not known]
    assert unknown == ["Enlarged Cardiomediastinum", "Lung Opacity", "Fracture", "Support Devices"]
    assert list(dataset.table["age"]) == [58, 0.5, 7]
    assert (dataset.pixels[:] == 77).all(axis=(1, 2)).tolist() == [True, False, True]


def test_the_official_test_list_is_the_test_set(folder):
    drawn = nih.read(folder).table["split"]
    test = ["03.png", "04.png"]
    learn = [f"{k:02d}.png" for k in range(12) if f"{k:02d}.png" not in test]
    (folder / "test_list.txt").write_text("\n".join([*test, "not_here.png"]) + "\n")
    (folder / "train_val_list.txt").write_text("\r\n".join(learn) + "\r\n")
    listing = nih.read(folder)
    assert list(listing.table.loc[listing.table["split"] == "test", "image"]) == [f"images/{name}" for name in test]
    assert set(listing.table["split"]) == {"train", "val", "test"}
    assert listing.table.groupby("patient")["split"].nunique().max() == 1
    assert listing.all_problems() == ()
    assert (drawn == "test").sum() != 2


@pytest.mark.parametrize(("learn", "word"), [(range(11), "neither"), (range(12), "both")])
def test_an_image_must_be_in_one_of_the_lists(folder, learn, word):
    (folder / "train_val_list.txt").write_text("\n".join(f"{k:02d}.png" for k in learn))
    (folder / "test_list.txt").write_text("10.png" if word == "both" else "")
    (problem,) = nih.read(folder).problems
    assert (problem.kind, problem.count) == ("list", 1)
    assert problem.message.split(" is in ")[1].startswith(word)


def test_one_list_without_the_other(folder):
    (folder / "test_list.txt").write_text("00.png")
    with pytest.raises(UserError, match=r"without train_val_list.txt: get both"):
        open_dataset("nih", folder, size=16, progress=False)


def test_a_patient_on_both_sides_of_the_lists_is_a_leak(folder):
    (folder / "test_list.txt").write_text("00.png")  # patient 1, as 01.png and 02.png
    (folder / "train_val_list.txt").write_text("\n".join(f"{k:02d}.png" for k in range(1, 12)))
    assert [problem.kind for problem in nih.read(folder).all_problems()] == ["leak"]


def test_a_mask_is_the_union_of_a_findings_boxes(folder):
    assert open_dataset("nih", folder, size=16, progress=False).mask(0, "Lung Lesion") is None
    boxes = ["00.png,Mass,0,0,256,512,,,", "00.png,Nodule,512,512,512,512,,,", "00.png,Infiltrate,0,0,1024,1024,,,"]
    (folder / "BBox_List_2017.csv").write_text("\n".join([BOX_HEADER, *boxes]))
    dataset = open_dataset("nih", folder, size=16, progress=False)
    mask = dataset.mask(0, "Lung Lesion")
    wanted = np.zeros((16, 16), dtype=bool)
    wanted[:8, :4] = wanted[8:, 8:] = True
    np.testing.assert_array_equal(mask, wanted)
    assert dataset.mask(0, "Edema") is None
    assert dataset.mask(1, "Lung Lesion") is None


@pytest.mark.parametrize("box", ["00.png,Mass,900,0,200,100,,,", "00.png,Mass,x,0,1,1,,,", "00.png,Misty,0,0,1,1,,,"])
def test_a_box_that_makes_no_sense_is_a_warning(folder, box):
    (folder / "BBox_List_2017.csv").write_text("\n".join([BOX_HEADER, box, "01.png,Mass,0,0,9,9,,,"]))
    listing = nih.read(folder)
    (problem,) = listing.problems
    assert not problem.fatal and "row 2: 00.png" in problem.message
    assert list(listing.boxes["image"]) == ["images/01.png"]


def test_images_that_are_not_there_do_not_stop_the_reader(folder, refusal):
    (folder / "images" / "03.png").unlink()
    listing = nih.read(folder)
    assert listing.table["image"][3] == "images/03.png"
    assert listing.problems == ()
    assert "03.png: no such image" in refusal("nih", folder)


def test_the_release_of_2020_is_read_and_images_are_found_as_nih_ships_them(folder):
    path = folder / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Gender", "Sex"))
    file = read_label_file(path)
    assert (file.per, file.covered.all(axis=0).sum(), len(file.table)) == ("image", len(nih.COVERED), 12)
    assert file.table["image"][0] == "00.png" and set(file.table["sex"]) == {"F"}
    (folder / "images_001").mkdir()
    (folder / "images").rename(folder / "images_001" / "images")
    assert (open_dataset("nih", folder, size=16, progress=False).pixels[:] == 77).all()


def test_every_unknown_finding_is_counted(tmp_path):
    named = ("Misty", "Edema|Misty", "", "hernia")
    write(tmp_path, *(f"{k}.png,{findings},0,{k},5,M,PA" for k, findings in enumerate(named)), images=False)
    (problem,) = nih.read(tmp_path).problems
    assert (problem.kind, problem.count, problem.fatal) == ("finding", 4, True)
    assert "row 2: Misty is no finding of NIH's" in problem.message


def test_an_image_name_that_leaves_the_folder(tmp_path):
    write(tmp_path, "../a.png,Edema,0,1,5,M,PA", "b.png,Edema,0,2,5,M,PA", images=False)
    listing = nih.read(tmp_path)
    assert [problem.kind for problem in listing.problems] == ["path"]
    assert list(listing.table["image"]) == ["images/b.png"]


def test_the_first_releases_ages_above_100_are_unknown_and_others_as_they_are(tmp_path):
    ages = ["411", "148Y", "101", "100", "095Y", "0"]
    write(tmp_path, *(f"{k}.png,Edema,0,{k},{age},M,PA" for k, age in enumerate(ages)), images=False)
    listing = nih.read(tmp_path)
    np.testing.assert_array_equal(listing.table["age"], [np.nan] * 3 + [100, 95, 0])
    (problem,) = listing.problems
    assert (problem.kind, problem.count, problem.fatal) == ("age", 3, False) and "row 2" in problem.message


def test_a_second_label_file_is_told_and_the_first_is_read(folder):
    before = nih.read(folder).table
    for name in ("Data_Entry_2017_v2020b.csv", "Data_Entry_2018.csv"):
        (folder / name).write_text(HEADER)
    listing = nih.read(folder)
    (problem,) = listing.problems
    assert (problem.kind, problem.fatal, problem.items) == ("files", False, ("Data_Entry_2017_v2020b.csv",))
    assert listing.table.equals(before)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_with_a_byte_order_mark_name_every_image(folder, encoding):
    names = [f"{k:02d}.png" for k in range(12)]
    (folder / "test_list.txt").write_text("\n".join(names[:3]), encoding)
    (folder / "train_val_list.txt").write_text("\ufeff" + "\n".join(names[3:]), encoding)
    listing = nih.read(folder)
    assert listing.all_problems() == ()
    assert list(listing.table["image"][listing.table["split"] == "test"]) == [f"images/{name}" for name in names[:3]]


@pytest.mark.parametrize("place", ["", "images-224/images-224", "a/b", "images_001"])
def test_images_are_found_wherever_a_re_upload_has_put_them(folder, place):
    before = nih.read(folder)
    assert before.notes == ()
    (folder / place).mkdir(parents=True, exist_ok=True)
    for image in sorted((folder / "images").iterdir())[3:]:
        image.rename(folder / place / image.name.replace(".png", ".PNG"))
    (folder / place / "._03.png").write_bytes(b"")
    listing = nih.read(folder)
    assert (open_dataset("nih", folder, size=16, progress=False).pixels[:] == 77).all()
    assert list(listing.table["image"])[:3] == ["images/00.png", "images/01.png", "images/02.png"]
    assert len(listing.notes) == 1 and f"{len(listing.table) - 3} images" in listing.notes[0]
    assert listing.table.drop(columns="image").equals(before.table.drop(columns="image"))


def test_an_empty_cell_changes_no_patients_name_and_hides_none(tmp_path):
    rows = ["a.png,Edema,0,1,5,M,PA", "b.png,Edema,1,1,5,M,PA", "c.png,Edema,0,20,5,M,PA"]
    write(tmp_path, *rows, images=False)
    before = nih.read(tmp_path).table
    write(tmp_path, *rows, "d.png,Edema,,,5,M,PA", "e.png,Edema,,,5,M,PA", ",,,,,,", images=False)
    listing = nih.read(tmp_path)
    assert listing.table[:3].equals(before)
    assert list(listing.table["patient"])[3:] == ["d.png", "e.png"]
    assert [note for note in listing.notes if "2 images without a patient" in note]


def test_strange_views_ages_and_sexes_are_warnings(tmp_path):
    write(tmp_path, "a.png,Edema,0,1,old,M,PA", "b.png,Edema,0,2,5,X,XX", images=False)
    listing = nih.read(tmp_path)
    assert {problem.kind: problem.fatal for problem in listing.problems} == dict.fromkeys(("view", "sex", "age"), False)
    assert listing.table[["view", "sex"]].to_numpy().tolist() == [["PA", "M"], ["", ""]]
