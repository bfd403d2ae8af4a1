"""ChestMNIST, torchxrayvision, plain folders and DICOM folders behind the one interface; the table of names."""

import ast
import dataclasses
import importlib.util
import runpy
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chexlib.cli import main
from chexlib.data.check import check
from chexlib.data.dataset import open_dataset, open_for
from chexlib.data.labels import FINDINGS
from chexlib.data.names import NOTHING, SYNONYMS, finding_of, is_known, merged
from chexlib.data.readers import chestmnist, dicom, folder
from chexlib.data.sources import SOURCES, find_source, read_listing
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec


def found(table: pd.DataFrame) -> list[set[str]]:
    return [{finding for finding in FINDINGS if row[finding] == 1} for _, row in table.iterrows()]


# Names.


def test_every_finding_has_its_own_name_and_nothing_has_two_meanings():
    assert [finding_of(finding) for finding in FINDINGS] == list(FINDINGS)
    assert set(SYNONYMS) <= set(FINDINGS)
    assert all(is_known(name) and finding_of(name) is None for name in NOTHING)
    assert not is_known("Edma") and finding_of("Edma") is None
    assert [finding_of(name) for names in SYNONYMS.values() for name in names] == [
        finding for finding, names in SYNONYMS.items() for _ in names
    ]


@given(st.sampled_from([*FINDINGS, *NOTHING, *sum(SYNONYMS.values(), ())]), st.data())
def test_case_spaces_underscores_and_hyphens_do_not_matter(name, data):
    other = "".join(data.draw(st.sampled_from([c.upper(), c.lower(), c + "_", " " + c, c + "-"])) for c in name)
    assert finding_of(other) == finding_of(name)


@given(st.lists(st.sampled_from([1.0, 0.0, -1.0, np.nan]), min_size=3, max_size=3))
def test_several_names_of_one_finding_are_present_where_one_is(values):
    a, b, edema = values
    row = merged(["Mass", "Hernia", "Nodule", "Edema"], np.array([[a, 1, b, edema]], dtype=np.float32))[0]
    lesion = row[FINDINGS.index("Lung Lesion")]
    expected = 1 if 1 in (a, b) else -1 if -1 in (a, b) else 0 if (a, b) == (0, 0) else np.nan
    np.testing.assert_equal(lesion, np.float32(expected))
    np.testing.assert_equal(row[FINDINGS.index("Edema")], np.float32(edema))
    assert np.isnan(np.delete(row, [FINDINGS.index("Lung Lesion"), FINDINGS.index("Edema")])).all()


def test_every_pathology_of_torchxrayvision_is_in_the_table(wheel):
    source = (wheel.parent / "datasets.py").read_text()
    names = {
        element.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        if "pathologies" in ast.unparse(node.targets[0])
        for element in node.value.elts
    } - {"Custom"}  # of its CovariateDataset, which has no findings
    assert len(names) > 40
    assert [name for name in sorted(names) if not is_known(name)] == []


# Every row of SOURCES.


def test_terms_that_nobody_states_let_nothing_be_shared():
    assert [name for name, source in SOURCES.items() if source.shareable] == ["phantom", "nih", "chestmnist"]


def test_an_unknown_option_and_an_empty_folder_are_named(tmp_path, refusal):
    for name, source in SOURCES.items():
        if name == "torchxrayvision":
            continue
        with pytest.raises(UserError, match="'colour'"):
            read_listing(source, tmp_path, 16, colour=1)
    assert "labels.csv: no such file" in refusal("folder", tmp_path)
    assert "no DICOM file" in refusal("dicom", tmp_path)
    assert "no chestmnist*.npz: get it by medmnist.ChestMNIST(" in refusal("chestmnist", tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing is downloaded
    assert "its options: resolution" in refusal("chestmnist", tmp_path, colour=1)
    assert "'dataset'" in refusal("torchxrayvision", tmp_path)


def test_a_mistake_in_a_reader_is_not_taken_for_an_option(tmp_path, monkeypatch):
    def broken(root):
        return len(3)

    with pytest.raises(TypeError, match="has no len"):
        read_listing(dataclasses.replace(SOURCES["nih"], read=broken), tmp_path, 16)


# ChestMNIST.


@pytest.fixture
def mnist(tmp_path) -> Path:
    """4, 2 and 3 images of 28 px, image k of a split all grey k; its labels are finding k."""
    write_mnist(tmp_path / "chestmnist.npz", 28)
    return tmp_path


def write_mnist(path, side, save=np.savez_compressed, **changed):
    arrays = {}
    for split, n in (("train", 4), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = np.repeat(np.arange(n, dtype=np.uint8), side * side).reshape(n, side, side)
        arrays[f"{split}_labels"] = np.eye(n, 14, dtype=np.int64)
    save(path, **arrays | changed)


def test_the_columns_of_chestmnist_are_those_of_medmnist():
    spec = importlib.util.find_spec("medmnist")
    if spec is None:
        pytest.skip("medmnist is not installed")
    info = runpy.run_path(str(Path(spec.submodule_search_locations[0]) / "info.py"))["INFO"]["chestmnist"]
    assert tuple(info["label"].values()) == chestmnist.NAMES
    for side, name in chestmnist.RESOLUTIONS.items():
        assert f"/{name}?" in info["url" + (f"_{side}" if side > 28 else "")]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chestmnist(mnist, save):
    write_mnist(mnist / "chestmnist.npz", 28, save)
    dataset = open_dataset("chestmnist", mnist, size=16, progress=False)
    assert list(dataset.table["split"]) == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert dataset.pixels[:].max(axis=(1, 2)).tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2]
    train = [{"Atelectasis"}, {"Cardiomegaly"}, {"Pleural Effusion"}, set()]  # infiltration maps to nothing
    assert found(dataset.table) == train + train[:2] + train[:3]
    known = [finding for finding, k in zip(FINDINGS, dataset.known.all(axis=0), strict=True) if k]
    assert "No Finding" not in known and len(known) == 9
    assert dataset.table["patient"].is_unique
    assert "patients are not published" in dataset.listing.notes[0]


def test_the_largest_resolution_is_taken_unless_another_is_asked_for_and_changed_files_are_seen(mnist, refusal):
    before = chestmnist.read(mnist).images.stamp(0)
    write_mnist(mnist / "chestmnist.npz", 28, np.savez)
    assert chestmnist.read(mnist).images.stamp(0) != before
    write_mnist(mnist / "chestmnist_64.npz", 64)
    names = [chestmnist.read(mnist, **options).images.path.name for options in ({}, {"resolution": 28})]
    assert names == ["chestmnist_64.npz", "chestmnist.npz"]
    assert find_source(str(mnist))[0].name == "chestmnist"
    assert "no chestmnist_224.npz: get it by medmnist.ChestMNIST(" in refusal("chestmnist", mnist, resolution=224)
    assert "choose one of 28, 64, 128, 224" in refusal("chestmnist", mnist, resolution=100)


@pytest.mark.parametrize(
    "changed",
    [
        {"val_labels": np.zeros((2, 13), np.int64)},
        {"val_labels": np.full((2, 14), 2)},
        {"val_images": np.zeros((1, 28, 28), np.uint8)},
        {"val_images": np.zeros((2, 28, 28, 3), np.uint8)},
    ],
)
def test_an_npz_that_is_not_chestmnist(mnist, changed, refusal):
    write_mnist(mnist / "chestmnist.npz", 28, **changed)
    assert "chestmnist.npz" in refusal("chestmnist", mnist)


def test_a_damaged_npz(mnist, cache, refusal):
    path = mnist / "chestmnist.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "test_images"}
    path.write_bytes(path.read_bytes()[:400])
    assert "not ChestMNIST" in refusal("chestmnist", mnist)
    np.savez(path, **arrays)
    before = set(cache.iterdir())
    assert "not ChestMNIST" in refusal("chestmnist", mnist)
    assert set(cache.iterdir()) == before


# Plain folders.


@pytest.fixture
def plain(tmp_path) -> Path:
    """Five images, three patients; a JPEG, PNGs in folders."""
    rows = [
        "image,patient,study,view,sex,age,split,Effusion,Mass,Nodule,Hernia,Pleural Other",
        "a.jpg,p1,s1,PA,M,58,train,1,0,1,0,",
        "b.png,p1,s1,Lateral,M,058Y,train,1,0,0,0,-1",
        "x/c.png,002,s1,AP,female,3,valid,0,0,0,1,0",
        "x/d.png,p3,s1,LL,,,test,,,,,",
        "x/e.png,p3,s2,frontal,Unknown,006M,test,1,1,,,",
    ]
    (tmp_path / "x").mkdir()
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    for row in rows[1:]:
        Image.new("L", (20, 20), 60).save(tmp_path / row.split(",")[0])
    return tmp_path


def change(root: Path, old: str, new: str) -> None:
    text = (root / "labels.csv").read_text()
    assert old in text
    (root / "labels.csv").write_text(text.replace(old, new))


def test_a_folder_with_a_label_file(plain):
    dataset = open_dataset("folder", plain, size=16, progress=False)
    table = dataset.table
    assert list(table["split"]) == ["train", "train", "val", "test", "test"]
    assert list(table["study"]) == ["p1/s1", "p1/s1", "002/s1", "p3/s1", "p3/s2"]
    assert list(table["view"]) == ["PA", "LATERAL", "AP", "LATERAL", ""]
    assert list(table["sex"]) == ["M", "M", "F", "", ""]
    np.testing.assert_array_equal(table["age"], [58, 58, 3, np.nan, 0.5])
    np.testing.assert_array_equal(table["Pleural Effusion"], [1, 1, 0, np.nan, 1])
    np.testing.assert_array_equal(table["Lung Lesion"], [1, 0, 0, np.nan, 1])
    np.testing.assert_array_equal(table["Pleural Other"], [np.nan, -1, 0, np.nan, np.nan])
    covered = dict(zip(FINDINGS, dataset.covered.all(axis=0)))
    assert [finding for finding in FINDINGS if covered[finding]] == ["Lung Lesion", "Pleural Effusion", "Pleural Other"]
    assert dataset.listing.problems == ()
    assert dataset.listing.notes == ("labels.csv: Hernia left out: no finding of CheXpert's",)
    assert (dataset.pixels[:] == 60).all()
    assert find_source(str(plain))[0].name == "folder"


def test_a_folder_that_says_little(tmp_path):
    (tmp_path / "labels.csv").write_text("image,Edema\n" + "".join(f"{k:03d}.png,{k % 2}\n" for k in range(200)))
    listing = folder.read(tmp_path)
    assert listing.table["patient"].equals(listing.table["image"])
    assert set(listing.table["split"]) == {"train", "val", "test"}
    assert set(listing.table["view"]) == {""}
    assert [note for note in listing.notes if "200 images without a patient" in note]
    assert list(folder.read(tmp_path, split_seed=1).table["split"]) != list(listing.table["split"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Effusion", "Effussion", "column 'Effussion' is no finding that is known"),
        ("x/c.png", "../c.png", "row 4: '../c.png' is not below the folder"),
        ("x/c.png", "/c.png", "row 4: '/c.png' is not below the folder"),
        ("x/c.png", "", "row 4: an empty cell is not below the folder"),
        ("x/c.png", "a.jpg", "a.jpg is listed 2 times"),
        ("002,", "p1,", "patient p1 is in 2 splits"),
        ("valid", "holdout", "row 4, column split: 'holdout' is not one of TRAIN"),
        ("valid", "", "row 4, column split: '' is not one of TRAIN"),
        (",-1", ",maybe", "row 3, column Pleural Other: 'maybe' is not a label"),
        ("image,", "file,", "column image missing"),
        ("x/c.png", "x/z.png", "z.png: no such image"),
    ],
)
def test_a_folder_with_a_mistake(plain, old, new, said, refusal):
    change(plain, old, new)
    assert said in refusal("folder", plain)


def listed(root: Path, *rows: str) -> pd.DataFrame:
    (root / "labels.csv").write_text("\n".join(rows))
    return folder.read(root).table


def test_patients_whose_names_look_the_same_are_the_same(tmp_path):
    """Of twelve patients with two images each, the second of each has a space, or is taken apart."""
    names = [unicodedata.normalize("NFC", f"é{k}") for k in range(12)]
    others = [f"{name} " if k % 2 else unicodedata.normalize("NFD", name) for k, name in enumerate(names)]
    rows = [f"{k}.png,{name},{k % 2}" for k, name in enumerate([*names, *others])]
    table = listed(tmp_path, "image,patient,Edema", *rows)
    assert table["patient"].nunique() == 12
    assert table.groupby("patient")["split"].nunique().max() == 1


def test_patients_whose_names_look_nearly_the_same_are_told(tmp_path):
    listed(
        tmp_path,
        "image,patient,Edema",
        "a.png,p7,0",
        "b.png,P7,1",
        "c.png,p007,1",
        "d.png,p70,1",
        "e.png,,1",
        "E.png,,1",
    )
    (problem,) = [problem for problem in folder.read(tmp_path).all_problems() if problem.kind == "alike"]
    assert problem.items == ("P7 = p007 = p7",) and not problem.fatal


def test_one_file_is_one_image_however_its_path_is_written(tmp_path):
    table = listed(tmp_path, "image,Edema", "x\\a.png,1", "./x/b.png,1", "x//c.png,1", " x/d.png ,1")
    assert list(table["image"]) == ["x/a.png", "x/b.png", "x/c.png", "x/d.png"]
    listed(tmp_path, "image,Edema", "x\\a.png,1", "./x/a.png,1", "..\\a.png,1", "C:\\a.png,1")
    problems = {problem.kind: problem.count for problem in folder.read(tmp_path).all_problems()}
    assert problems == {"listed-twice": 1, "path": 2}


SPLIT = ["image,patient,split,Edema", *(f"{k}.png,p{k},{'test' if k % 2 else 'train'},1" for k in range(8))]


@pytest.mark.parametrize(
    ("rows", "empty", "word"),
    [
        (SPLIT, ("val",), "labels.csv"),
        ([row.replace("train", "val") for row in SPLIT], ("train",), "labels.csv"),
        ([row.replace("test", "val") for row in SPLIT], ("test",), "labels.csv"),
        (["image,patient,Edema", *(f"{k}.png,p,1" for k in range(8))], ("val", "test"), "one patient"),
    ],
)
def test_a_split_without_images_is_told_and_refused_before_any_image_is_read(
    tmp_path, rows, empty, word, monkeypatch, refused
):
    listed(tmp_path, *rows)
    (problem,) = [
        problem for problem in check(folder.read(tmp_path), pixels=False).found if problem.kind == "no-images"
    ]
    assert (
        problem.fatal and word in problem.message and ".csv" in problem.message and "valid.csv" not in problem.message
    )
    assert problem.items == empty and all(f"no {split} " in problem.message for split in empty)
    spec = RunSpec(dataset="folder", size=16)
    monkeypatch.setattr("chexlib.data.dataset.pack", None)
    assert refused(open_for, spec, tmp_path, progress=False) == problem.message
    assert main(["data", "check", str(tmp_path), "--labels-only"]) == 1


# DICOM folders.


@pytest.fixture
def dicoms(tmp_path, write_dicom) -> Path:
    """Four images of two patients and of nobody, and a report."""
    a = {"PatientID": "A", "StudyInstanceUID": "1.1", "PatientSex": "F", "PatientAge": "034Y"}
    b = {"PatientID": "B", "PatientSex": "O", "PatientAge": "018M", "ViewPosition": "LLD"}
    for name, uid, tags in (
        ("A/1.dcm", "1.1.1", {"ViewPosition": "PA", **a}),
        ("A/2.DCM", "1.1.2", {"ViewPosition": "LL", **a}),
        ("B/1.dcm", "1.2.1", b),
        ("C.dcm", "1.3.1", {"ViewPosition": "LATERAL"}),
    ):
        write_dicom(tmp_path / name, np.full((32, 32), 70, np.uint16), SOPInstanceUID=uid, **tags)
    write_dicom(tmp_path / "B/report.dcm", None, SOPInstanceUID="1.2.2", PatientID="B", Modality="SR")
    return tmp_path


def test_metadata_come_from_dicom_headers(dicoms):
    listing = dicom.read(dicoms)
    table = listing.table
    assert list(table["image"]) == ["A/1.dcm", "A/2.DCM", "B/1.dcm", "C.dcm"]
    assert list(table["patient"]) == ["A", "A", "B", "C.dcm"]
    assert list(table["study"]) == ["1.1", "1.1", "B/1.dcm", "C.dcm"]
    assert list(table["view"]) == ["PA", "LATERAL", "", "LATERAL"]
    assert list(table["sex"]) == ["F", "F", "", ""]
    np.testing.assert_array_equal(table["age"], [34, 34, 1.5, np.nan])
    assert not listing.covered.any()
    assert listing.problems == ()
    assert len(listing.notes) == 2  # a report, a file without a patient
    assert find_source(str(dicoms))[0].name == "dicom"


@pytest.mark.parametrize("key", ["image", "SOPInstanceUID"])
def test_labels_of_dicom_files(dicoms, key):
    names = {"image": ["B/1.dcm", "A/1.dcm", "A/2.DCM"], "SOPInstanceUID": ["1.2.1", "1.1.1", "1.1.2"]}[key]
    rows = [f"{name},{split},{k % 2}" for k, (name, split) in enumerate(zip(names, ("val", "train", "train")))]
    (dicoms / "labels.csv").write_text("\n".join([f"{key},split,Edema", *rows]))
    dataset = open_dataset("dicom", dicoms, size=8, progress=False)
    assert list(dataset.table["image"]) == ["A/1.dcm", "A/2.DCM", "B/1.dcm"]
    assert list(dataset.table["Edema"]) == [1, 0, 0]
    assert list(dataset.table["split"]) == ["train", "train", "val"]
    (problem,) = dataset.listing.problems  # C.dcm has no row: it must not count as without Edema
    assert (problem.kind, problem.fatal, problem.items) == ("unlisted", False, ("C.dcm",))
    assert len(np.unique(dataset.pixels[:])) == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("Z.dcm,1", "Z.dcm is none of the DICOM files"),
        ("C.dcm,0", "C.dcm is listed several times"),
        ("A/1.dcm,2", "row 3, column Edema: '2' is not a label"),
    ],
)
def test_labels_that_do_not_fit_the_dicom_files(dicoms, row, said, refusal):
    (dicoms / "labels.csv").write_text(f"image,Edema\nC.dcm,1\n{row}")
    assert said in refusal("dicom", dicoms)


def test_a_file_that_is_no_dicom(dicoms, refusal):
    (dicoms / "D.dcm").write_bytes(b"nothing")
    assert "D.dcm: no DICOM file" in refusal("dicom", dicoms)
    assert len(dicom.read(dicoms).table) == 4


NAMES = ("IM0.DCM", "IM0.dicom", "DICOM/IM00000", "1.2.840.10008.5", "files/p10/p10000/s50/1/0.dcm", "a.png")


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_dicom_files_is_known_by_their_content(tmp_path, write_dicom, name, labelled):
    names = [name.replace("0", str(k)) if "0" in name else f"{k}{name}" for k in range(4)]
    for k, name in enumerate(names):
        write_dicom(tmp_path / name, np.full((32, 32), 70, np.uint16), PatientID=f"P{k // 2}")
    (tmp_path / ".hidden").write_bytes((tmp_path / names[0]).read_bytes())
    (tmp_path / "README").write_text("no image")
    if labelled:
        (tmp_path / "labels.csv").write_text("image,Edema\n" + "".join(f"{name},1\n" for name in names))
    source, root = find_source(str(tmp_path))
    table = read_listing(source, root, 16)[1].table
    assert source.name == "dicom" and sorted(table["image"]) == sorted(names)
    assert table["patient"].nunique() == 2 and table.groupby("patient")["split"].nunique().max() == 1


def test_a_folder_is_what_its_labels_list_whatever_else_lies_in_it(plain, write_dicom):
    for name in ("original.dcm", "x/y/z/w/original.dcm", "x/original"):
        write_dicom(plain / name, np.zeros((32, 32), np.uint16))
    assert find_source(str(plain))[0].name == "folder"
    (plain / "labels.csv").unlink()
    assert find_source(str(plain))[0].name == "dicom"


def test_dicom_files_are_listed_however_they_are_spelt(dicoms):
    rows = ["a/1.DCM,1", "A/2.dcm,0", "B/1.dcm,1", "c.dcm,0"]
    (dicoms / "labels.csv").write_text("\n".join(["image,Edema", *rows]))
    listing = dicom.read(dicoms)
    assert listing.problems == () and list(listing.table["Edema"]) == [1, 0, 1, 0]


def test_a_shape_that_contradicts_the_photometric_interpretation_is_said(dicoms, write_dicom):
    values = np.zeros((32, 32), np.uint16)
    for name, photometric in (("D.dcm", "MONOCHROME1"), ("E.dcm", "MONOCHROME2")):
        tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": "INVERSE"}
        write_dicom(dicoms / name, values, PatientID="D", **tags)
    [note] = [note for note in dicom.read(dicoms).notes if "INVERSE" in note]
    assert "E.dcm" in note and "1 MONOCHROME2" in note


def test_headers_that_are_damaged_are_named_and_the_rest_is_read(dicoms, refusal):
    data = (dicoms / "C.dcm").read_bytes()
    (dicoms / "cut.dcm").write_bytes(data[:200])
    (dicoms / "lost.dcm").symlink_to(dicoms / "nowhere")
    listing = dicom.read(dicoms)
    assert len(listing.table) == 4 and "lost.dcm" in listing.problems[0].items


# torchxrayvision.


@pytest.fixture(scope="module")
def xrv_nih(tmp_path_factory) -> Path:
    """NIH's layout as the library reads it: a CSV and 8 px images in one folder."""
    pytest.importorskip("torchxrayvision")
    root = tmp_path_factory.mktemp("xrv")
    rows = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position",
        "a.png,Mass|Effusion,0,1,58,M,PA",
        "b.png,No Finding,1,1,59,M,AP",
        "c.png,Hernia,0,2,7,F,PA",
    ]
    (root / "entry.csv").write_text("\n".join(rows))
    for k, row in enumerate(rows[1:]):
        grey = np.arange(64, dtype=np.uint8).reshape(8, 8) + 90 * k
        Image.fromarray(grey).save(root / row.split(",")[0])
    return root


def open_xrv(root, **options):
    options = {"dataset": "NIH_Dataset", "csvpath": str(root / "entry.csv")} | options
    return open_dataset("torchxrayvision", root, size=8, progress=False, **options)


def test_a_data_set_of_torchxrayvision(xrv_nih):
    dataset = open_xrv(xrv_nih)
    table = dataset.table
    assert list(table["image"]) == ["a.png", "b.png", "c.png"]  # every view, every image of a patient
    assert found(table) == [{"Lung Lesion", "Pleural Effusion"}, set(), set()]
    assert list(table["patient"]) == ["1", "1", "2"]
    assert list(table["view"]) == ["PA", "AP", "PA"]
    assert list(table["sex"]) == ["M", "M", "F"]
    assert list(table["age"]) == [58, 59, 7]
    assert not dataset.covered[:, FINDINGS.index("No Finding")].any()
    assert table.groupby("patient")["split"].nunique().max() == 1
    original = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(dataset.pixels[:], [original, original + 90, original + 180])


def test_what_torchxrayvision_does_not_know_is_unknown(xrv_nih):
    import torchxrayvision

    from chexlib.data.readers import xrv

    built = torchxrayvision.datasets.NIH_Dataset(str(xrv_nih), str(xrv_nih / "entry.csv"), unique_patients=False)
    built.labels[0, built.pathologies.index("Effusion")] = np.nan
    listing = xrv.listing(built, xrv_nih)
    assert len(listing.table) == 2  # its own choice of views
    dataset = dataclasses.replace(open_xrv(xrv_nih), table=listing.table, covered=listing.covered)
    assert dataset.known[:, FINDINGS.index("Pleural Effusion")].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": "Nih"}, "dataset='Nih': choose one of"),
        (
            {"dataset": "CheX_Dataset"},
            "CheX_Dataset fills labels from other studies",
        ),
        ({"dataset": "NIH_Dataset", "unique_patients": True}, "option unique_patients is set here"),
        ({"dataset": "NIH_Dataset", "colour": 1}, "torchxrayvision's NIH_Dataset: "),
        ({"dataset": "NIH_Dataset", "csvpath": "nowhere.csv"}, "torchxrayvision's NIH_Dataset: "),
    ],
)
def test_what_torchxrayvision_cannot_build(xrv_nih, options, said, refusal):
    assert said in refusal("torchxrayvision", xrv_nih, **options)


def test_a_missing_image_of_torchxrayvision(xrv_nih, tmp_path, refusal):
    assert "a.png" in refusal("torchxrayvision", tmp_path, dataset="NIH_Dataset", csvpath=str(xrv_nih / "entry.csv"))
