"""Names in one form: what looks the same is the same, and a file is found however its name is spelt."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chexlib.data.check import check
from chexlib.data.images import Files
from chexlib.data.names import BLANK, alike, normal, spelling
from chexlib.data.readers import chexpert

UMLAUT = unicodedata.normalize("NFC", "Röntgen")
TAKEN_APART = unicodedata.normalize("NFD", UMLAUT)


def test_what_looks_the_same_is_the_same():
    names = pd.Series(["p1", "p1 ", "\ufeffp1", "p1\u00a0\t", UMLAUT, TAKEN_APART, "", " ", None], index=range(5, 14))
    assert normal(names)[:6].tolist() == ["p1"] * 4 + [UMLAUT] * 2
    assert normal(names)[6:].isna().all() and normal(names).index.equals(names.index)


def test_numbers_are_names_too_whatever_an_empty_cell_makes_of_them():
    assert normal(pd.Series([1, 20])).tolist() == ["1", "20"]
    assert normal(pd.Series([1, np.nan, 20])).dropna().tolist() == ["1", "20"]
    assert normal(pd.Series([1.5, 1e20])).tolist() == ["1.5", "1e+20"]


@given(st.lists(st.text(max_size=6)))
def test_the_normal_form_is_pythons_and_is_reached_at_once(texts):
    once = normal(pd.Series(texts, dtype="str"))
    assert once.fillna("").tolist() == [unicodedata.normalize("NFC", text).strip(BLANK) for text in texts]
    assert once.equals(normal(once))


def test_case_and_zero_padding_are_alike_and_not_the_same():
    names = pd.Series(["p7", "P7", "p007", "p70", "p7a", "100", "0100", "x", "x", None])
    assert alike(names) == [["0100", "100"], ["P7", "p007", "p7"]]
    assert normal(names).nunique() == 8


@pytest.fixture
def folder(tmp_path):
    """A grey image each: the grey value says which."""
    for grey, name in enumerate(("a.JPG", f"{TAKEN_APART}/b.jpg", "c\\d.jpg", "E.jpg", "e.JPG", "f/._a.jpg"), 10):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), grey).save(tmp_path / name, "PNG")
    return tmp_path


@pytest.mark.parametrize(
    ("listed", "grey"),
    [
        ("a.jpg", 10),
        (f"{UMLAUT}/b.jpg", 11),
        (f"{TAKEN_APART}/B.jpg", 11),
        ("c/d.jpg", 12),
        ("E.jpg", 13),
        ("e.JPG", 14),
    ],
)
def test_a_file_is_found_however_it_is_spelt(folder, listed, grey):
    images = Files(folder, [listed])
    assert images.read(0, 8).max() == grey and images.stamp(0).startswith(listed)


def test_a_name_that_could_be_one_of_two_files_is_neither(folder, refused):
    assert "e.jpg: no such image" in refused(Files(folder, ["e.jpg"]).read, 0, 8)
    assert "no such image" in refused(Files(folder, ["nowhere/a.jpg"]).stamp, 0)


@given(st.text(max_size=8))
def test_a_name_taken_apart_is_spelt_alike(name):
    assert spelling(unicodedata.normalize("NFD", name)) == spelling(name) == spelling(spelling(name))


def test_hidden_files_are_no_images_of_a_study_and_none_that_a_row_lacks(phantom_folder, copy):
    before = chexpert.read(phantom_folder).table
    for image in list(copy.rglob("*.jpg"))[:5] + list((copy / "test").rglob("*.jpg"))[:5]:
        image.with_name(f"._{image.name}").write_bytes(b"\0\5\x16\7")
    (copy / "__MACOSX").mkdir()
    Image.new("L", (8, 8)).save(copy / "__MACOSX" / "view.jpg")
    listing = chexpert.read(copy)
    assert listing.table.equals(before)
    assert "unlisted" not in {problem.kind for problem in check(listing, progress=False).found}
