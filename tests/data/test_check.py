"""`data check` finds each planted defect, and nothing in a folder without one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from chexlib.cli import main
from chexlib.data import phantom
from chexlib.data.check import check
from chexlib.data.describe import describe, text
from chexlib.data.hashes import HASHED
from chexlib.data.labels import FINDINGS
from chexlib.data.listing import KINDS
from chexlib.data.readers import nih
from chexlib.data.sources import find_source, read_listing

OF_SMALL_SETS = {"few", "no-auc-elsewhere"}


def listing_of(folder, name="phantom"):
    return read_listing(*find_source(name, folder), size=48, progress=False)[1]


def found(folder, **options):
    """Kind to Problem, without what any small set has."""
    report = check(listing_of(folder), progress=False, **options)
    return {problem.kind: problem for problem in report.found if problem.kind not in OF_SMALL_SETS}


def images(folder, split, view="frontal"):
    return sorted((folder / split).glob(f"*/*/*_{view}.jpg"))


def repaint(path, change):
    Image.fromarray(change(np.asarray(Image.open(path)))).save(path, quality=95)


def edit(path, change):
    rows = pd.read_csv(path)
    change(rows).to_csv(path, index=False)


def leak(folder):
    image = images(folder, "valid")[0]
    patient = images(folder, "train")[0].parts[-3]
    shutil.move(image.parents[1], folder / "valid" / patient)
    edit(folder / "valid.csv", lambda rows: rows.replace(image.parts[-3], patient, regex=True))


def of_two_patients(folder):
    first, *others = images(folder, "train")
    shutil.copy(first, next(other for other in others if other.parts[-3] != first.parts[-3]))


def of_one_patient(folder):
    by_patient = pd.Series(images(folder, "train")).groupby(lambda i: images(folder, "train")[i].parts[-3]).apply(list)
    first, second, *_ = next(paths for paths in by_patient if len(paths) > 1)
    shutil.copy(first, second)


def alike(folder):
    """One patient's images under another's number, without its zeros."""
    one, other = sorted({image.parts[-3] for image in images(folder, "train")})[:2]
    shutil.move(folder / "train" / one, folder / "train" / other.replace("0", ""))
    edit(folder / "train.csv", lambda rows: rows.replace(f"/{one}/", f"/{other.replace('0', '')}/", regex=True))


def no_val(folder):
    (folder / "valid.csv").unlink()
    shutil.rmtree(folder / "valid")


def turn(folder):
    path = images(folder, "train")[0]
    tags = Image.Exif()
    tags[0x0112] = 3
    Image.open(path).rotate(180).save(path, quality=95, exif=tags)


def link_out(folder):
    path = images(folder, "train")[0]
    path.symlink_to(path.rename(folder.parent / path.name))


def deepen(folder):
    path = images(folder, "train")[0]
    Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path, "PNG")


DEFECTS = {
    "label": lambda folder: edit(
        folder / "train.csv", lambda rows: rows.assign(Edema=rows["Edema"].where(rows.index != 3, 7))
    ),
    "listed-twice": lambda folder: edit(folder / "train.csv", lambda rows: pd.concat([rows, rows[:1]])),
    "leak": leak,
    "alike": alike,
    "no-images": no_val,
    "missing": lambda folder: images(folder, "train")[0].unlink(),
    "unreadable": lambda folder: images(folder, "test")[0].write_bytes(images(folder, "test")[0].read_bytes()[:300]),
    "constant": lambda folder: repaint(images(folder, "train")[0], lambda pixels: 0 * pixels + 90),
    "inverted": lambda folder: repaint(images(folder, "test")[0], lambda pixels: 255 - pixels),
    "duplicate-splits": lambda folder: shutil.copy(images(folder, "train")[0], images(folder, "test")[0]),
    "duplicate-patients": of_two_patients,
    "no-auc": lambda folder: edit(folder / "groundtruth.csv", lambda rows: rows.assign(Edema=0)),
    "duplicate": of_one_patient,
    "upside-down": lambda folder: repaint(images(folder, "train")[0], lambda pixels: pixels[::-1]),
    "small": lambda folder: repaint(images(folder, "train")[0], lambda pixels: pixels[::3, ::3]),
    "outside": link_out,
    "turned": turn,
    "deep": deepen,
    "unlisted": lambda folder: shutil.copy(images(folder, "train")[0], folder / "train" / "left_over.jpg"),
}


def test_every_kind_is_planted_here():
    of_readers = {"column", "finding", "path", "split", "list", "study-twice", "disagree", "view", "sex", "age", "box"}
    of_two_sets = {"known", "known-held-out", "known-both"}
    assert set(KINDS) == set(DEFECTS) | OF_SMALL_SETS | of_readers | of_two_sets | {"files"}


def test_a_clean_folder_has_no_defect(phantom_folder):
    assert found(phantom_folder) == {}


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_planted_defect_is_found_alone(copy, kind):
    DEFECTS[kind](copy)
    defects = found(copy)
    assert set(defects) == {kind}
    assert defects[kind].count == 1 and defects[kind].message.count("\n") == 0


@pytest.mark.parametrize(
    ("kind", "code"), [("inverted", 1), ("missing", 1), ("leak", 1), ("small", 0), ("unlisted", 0)]
)
def test_problems_fail_and_warnings_do_not(copy, kind, code, capsys):
    DEFECTS[kind](copy)
    assert main(["data", "check", str(copy)]) == code
    shown = capsys.readouterr().out
    assert KINDS[kind].title in shown
    assert ("\nNot fit to train on" if code else "\nFit to train on") in shown
    assert all(len(line) <= 100 or len(line.split()) == 1 for line in shown.splitlines())  # a path is never cut


def test_what_cannot_be_read_at_all_exits_2(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_names_every_item(copy, capsys):
    for image in images(copy, "train")[:7]:
        image.unlink()
    assert main(["data", "check", str(copy), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    [missing] = [problem for problem in report["problems"] if problem["kind"] == "missing"]
    assert missing["count"] == len(missing["items"]) == 7 and missing["severity"] == "problem"
    assert report["decoded"] == report["images"] - 7 and report["exit_code"] == 1


def test_labels_only_opens_no_image(copy, monkeypatch):
    DEFECTS["label"](copy)
    for split in ("train", "valid"):
        images(copy, split)[0].write_bytes(b"")
    monkeypatch.setattr("chexlib.data.images.read_grey", None)
    assert set(found(copy, pixels=False)) == {"label"}


def test_at_most_so_many_images_are_decoded(phantom_folder):
    report = check(listing_of(phantom_folder), most=20, progress=False)
    assert report.decoded == 20 and "20 of them decoded" in report.verdict


def test_the_range_of_16_bits_is_said(copy, capsys):
    for path, greatest in zip(images(copy, "train"), (1023, 4095)):
        values = np.asarray(Image.open(path)) / 255 * greatest
        values[0, 0] = greatest
        Image.fromarray(values.astype(np.uint16)).save(path, "PNG")
    assert main(["data", "check", str(copy)]) == 0
    assert "(1,023 to 4,095)" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "check", str(copy), "--option", "bits=12"]) == 0
    assert "4,095 (bits=12)" in " ".join(capsys.readouterr().out.split())


def test_links_that_stay_in_the_folder_leave_nothing(copy, tmp_path):
    path = images(copy, "train")[0]
    path.symlink_to(path.rename(copy / path.name))
    (tmp_path / "linked").symlink_to(copy)
    assert "outside" not in found(copy) and "outside" not in found(tmp_path / "linked")
    shutil.move(copy / "train", tmp_path / "elsewhere")
    (copy / "train").symlink_to(tmp_path / "elsewhere")
    assert found(copy)["outside"].count == len(list((tmp_path / "elsewhere").rglob("*.jpg"))) - 1


@pytest.fixture(scope="module")
def real(nih1000):
    return listing_of(nih1000, "nih")


class Negatives:
    """Images of which some are shown as negatives."""

    def __init__(self, images, rows):
        self.images, self.names, self.rows = images, images.names, set(rows)

    def read(self, row, size):
        pixels = self.images.read(row, size)
        return 255 - pixels if row in self.rows else pixels


def test_20_of_1000_real_xrays_inverted_are_found_and_no_other(real):
    rows = np.sort(np.random.default_rng(0).choice(len(real.table), 20, replace=False))
    report = check(replace(real, images=Negatives(real.images, rows)), progress=False)
    [inverted] = [problem for problem in report.found if problem.kind == "inverted"]
    assert list(inverted.items) == list(real.table["image"].iloc[rows])


def test_the_real_sample_holds_one_image_twice_and_one_on_its_head(real):
    defects = {problem.kind: problem for problem in check(real, progress=False).found}
    assert defects["duplicate"].items == ("images/00002658_001.png = images/00002658_002.png",)
    assert defects["upside-down"].items == ("images/00003490_011.png",)
    assert not any(problem.fatal for problem in defects.values())


@pytest.mark.parametrize("change", [ImageOps.invert, lambda image: image.resize((100, 90))])
def test_a_copy_that_is_no_twin_is_a_duplicate(copy, change):
    train, test = images(copy, "train")[0], images(copy, "test")[0]
    change(Image.open(train)).save(test, quality=60)
    duplicates = found(copy)["duplicate-splits"]
    assert duplicates.items == (f"{train.relative_to(copy)} = {test.relative_to(copy)}",)


@pytest.fixture(scope="module")
def known(phantom_folder):
    """The hashes of a set."""
    return check(listing_of(phantom_folder), progress=False).hashes


def compared(folder, known):
    """Of each kind of copy of a known set's images, pairs of names."""
    report = check(listing_of(folder), progress=False, known=known)
    kinds = ("known", "known-held-out", "known-both")
    return {problem.kind: problem.items for problem in report.found if problem.kind in kinds}, report


def test_a_set_learns_from_the_images_that_it_learns_from(phantom_folder, known):
    of_each, report = compared(phantom_folder, known)
    training = known.loc[known["split"] == "train", "image"]
    assert of_each == {"known-both": tuple(f"{name} = {name}" for name in training)}
    assert report.exit_code == 0


def test_images_that_a_known_set_learned_from_are_found_by_what_both_do_with_them(copy, known):
    """Where train and test are exchanged, each training image of one is held out by the other."""
    exchanged = known.assign(split=known["split"].map({"train": "test", "test": "train", "val": "val"}))
    of_each, report = compared(copy, exchanged)
    counts = known["split"].value_counts()
    assert {kind: len(items) for kind, items in of_each.items()} == {
        "known": counts["test"],
        "known-held-out": counts["train"],
    }
    assert report.exit_code == 1


def test_a_set_of_other_images_shares_none(copy, known, tmp_path):
    other = tmp_path / "other"
    phantom.write(other, n=40, n_valid=8, n_test=16, size=48, seed=2, progress=False)
    test = images(other, "test")[0]
    assert compared(other, known)[0] == {}
    copied = np.asarray(Image.open(images(copy, "train")[0]).resize((96, 96)))
    Image.fromarray(255 - copied).save(test, quality=60)
    leaked = f"{test.relative_to(other)} = {images(copy, 'train')[0].relative_to(copy)}"
    assert compared(other, known)[0] == {"known": (leaked,)}


def test_hashes_are_written_and_compared_with_by_the_command(copy, phantom_folder, tmp_path, capsys):
    file = tmp_path / "phantom.hashes.parquet"
    assert main(["data", "check", str(phantom_folder), "--hashes", str(file)]) == 0
    rows = pd.read_parquet(file)
    assert list(rows) == list(HASHED) and len(rows) == len(listing_of(phantom_folder).table)
    capsys.readouterr()
    shutil.copy(images(copy, "train")[0], images(copy, "test")[0])
    assert main(["data", "check", str(copy), "--known", str(file), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    [leak] = [problem for problem in report["problems"] if problem["kind"] == "known"]
    assert leak["count"] == 1 and images(copy, "test")[0].name in leak["items"][0]


def test_a_finding_that_is_not_labelled_has_no_class_to_be_too_small(real):
    shown = " ".join(item for problem in check(real, pixels=False).found for item in problem.items)
    assert not any(finding in shown for finding in FINDINGS if finding not in nih.COVERED)


def test_images_without_labels_can_be_checked_and_described(phantom_folder):
    listing = listing_of(phantom_folder)
    table = listing.table.assign(**dict.fromkeys(FINDINGS, np.float32(np.nan)))
    unlabelled = replace(listing, table=table, covered=np.zeros_like(listing.covered))
    assert check(unlabelled, progress=False).exit_code == 0
    assert "136 images" in text(describe(unlabelled))
