"""Tables as people have them: whatever wrote them, they hold the same rows, or it is said what is wrong with them."""

import codecs
import csv
import gzip
import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexlib.cli import main
from chexlib.data.listing import Remarks
from chexlib.data.readers import chexpert, folder, nih
from chexlib.data.readers.label_files import read_ages, read_csv, read_labels
from chexlib.data.sources import read_label_file
from chexlib.errors import LONGEST, UserError
from chexlib.evaluate import evaluate

ROWS = [["image", "patient", "age", "Edema"], ["x/0.png", "p0", "58", "1"], ["x/1.png", "p 1", "7", ""],
        ["x/2.png", "Röntgen, Ada", "90", "-1"]]  # fmt: skip


def text(rows=ROWS, separator=",", end="\n") -> str:
    cells = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in rows]
    return "".join(separator.join(row) + end for row in cells)


PLAIN = text().encode()

FORMS = {
    "plain": PLAIN,
    "gzip": gzip.compress(PLAIN),
    "of Windows": text(end="\r\n").encode(),
    "of an old Macintosh": text(end="\r").encode(),
    "a byte-order mark": codecs.BOM_UTF8 + PLAIN,
    "UTF-16": text().encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + text().encode("utf-16-be"),
    "UTF-32": text().encode("utf-32"),
    "semicolons": text(separator=";").encode(),
    "tabs": text(separator="\t").encode(),
    "bars": text(separator="|").encode(),
    "tabs in UTF-16, as Excel's Unicode text": text(separator="\t").encode("utf-16"),
    "rows that end in a comma": "".join(f"{line},\n" for line in text().splitlines()).encode(),
    "only data that end in commas": text().replace(",1\n", ",1,,\n").replace("-1\n", "-1,\n").encode(),
    "an index": "".join(f"{k if k else ''},{line}\n" for k, line in enumerate(text().splitlines())).encode(),
    "an index that was read and written": "".join(
        f"{k if k else 'Unnamed: 0'},{line}\n" for k, line in enumerate(text().splitlines())
    ).encode(),
    "empty rows behind": PLAIN + b",,,\n,,,\n",
    "a blank line in front and behind": b"\n,,,\n" + PLAIN + b"\n\n",
    "an empty row between": PLAIN.replace(b"x/1.png", b",,,\n\nx/1.png"),
    "spaces in the header": PLAIN.replace(b"patient", b" patient "),
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_wrote_a_table_it_holds_the_same(tmp_path, form):
    path = tmp_path / "labels.csv"
    path.write_bytes(FORMS[form])
    rows = read_csv(path, "a table", dtype=str)
    assert [list(rows), *rows.fillna("").to_numpy().tolist()] == ROWS


@pytest.mark.parametrize(
    ("form", "word"), [("semicolons", "semicolons"), ("an index", "column 1"), ("empty rows behind", "empty rows")]
)
def test_what_is_peculiar_is_noted(tmp_path, form, word):
    notes = []
    (tmp_path / "labels.csv").write_bytes(FORMS[form])
    read_csv(tmp_path / "labels.csv", "a table", notes=notes)
    assert len(notes) == 1 and word in notes[0]


def test_decimal_commas_are_points_where_columns_are_not_between_commas(tmp_path):
    (tmp_path / "a.csv").write_text("name;score;n;mixed\na,1;0,25;3;1,5\nb;1;4;x\n")
    rows = read_csv(tmp_path / "a.csv", "a table", dtype=str)
    assert rows.to_numpy().tolist() == [["a,1", "0.25", "3", "1,5"], ["b", "1", "4", "x"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,Edema\nBärbel.png,1\n".encode("latin-1"), ("0xe4 in row 2", "Latin-1", "UTF-8")),
        ("image,Edema\na.png,1\n".encode("utf-16-le"), ("UTF-16",)),
        (text().encode("utf-16")[:-1], ("UTF-16",)),
        (b"image,Edema\na.png,1\nb.png,1,0\n", ("row 3 has 3 cells", "commas")),
        (b"image;Edema\na.png;1\nb.png;1;0\n", ("row 3 has 3 cells", "semicolons")),
        (b'image,Edema\n"a.png,1\nb.png,1\n', ("quote",)),
        (b"PK\3\4\24\0", ("Excel",)),
        (b"<!DOCTYPE html><title>Log in</title>", ("web page",)),
        (b"version https://git-lfs.github.com/spec/v1\n", ("git lfs pull",)),
        (b"\n\n", ("CSV",)),
        (b"image,Edema\n,\n", ("no rows",)),
        (b"a.png,0.5\nb.png,0.25\n", ("0.5", "first row")),
    ],
)
def test_what_is_no_table_is_called_by_its_name(tmp_path, content, words, refused):
    (tmp_path / "labels.csv").write_bytes(content)
    message = refused(folder.read, tmp_path)
    assert "labels.csv" in message and all(word in message for word in words)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path, refused, capsys):
    os.mkfifo(tmp_path / "labels.csv")
    assert "pipe" in refused(folder.read, tmp_path)
    assert main(["evaluate", str(tmp_path / "labels.csv"), "--truth", str(tmp_path / "labels.csv")]) == 2
    assert "pipe" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["image", "patient", "Edema", "split", "view"])
def test_a_cell_of_10_mb_is_not_echoed_whole(tmp_path, column, capsys):
    rows = pd.DataFrame(
        {"image": ["a.png", "b.png"], "patient": "p", "view": "", "split": ["train", "val"], "Edema": 1}
    )
    rows = rows.astype(object)
    rows.loc[0, column] = "\x1b[31m" + "../" * 3_500_000
    rows.to_csv(tmp_path / "labels.csv", index=False)
    assert main(["data", "check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert len(shown) < 25 * LONGEST and "\x1b" not in shown


def test_rows_are_numbered_as_an_editor_numbers_them(tmp_path):
    (tmp_path / "labels.csv").write_text("\nimage,age,Edema\n\na.png,old,1\n,,\n,5,1\nb.png,5,two\n")
    problems = {problem.kind: problem.items[0] for problem in folder.read(tmp_path).problems}
    assert {kind: re.findall(r"row (\d+)", item) for kind, item in problems.items()} == {
        "age": ["4"], "path": ["6"], "label": ["7"]
    }  # fmt: skip


def test_two_columns_of_one_name(tmp_path, refused):
    (tmp_path / "labels.csv").write_text("image,Edema,Edema\na.png,1,0\n")
    assert "two columns are called 'Edema'" in folder.read(tmp_path).problems[0].message
    (tmp_path / "labels.csv").write_text("image,Image ,Edema\na.png,b.png,0\n")
    assert "two columns are called image" in refused(folder.read, tmp_path)


def test_a_column_without_a_name_that_holds_something_is_told(tmp_path):
    (tmp_path / "labels.csv").write_text("image,Edema,\na.png,1,yes\n")
    (problem,) = folder.read(tmp_path).problems
    assert problem.kind == "column" and "column 3" in problem.message and "Unnamed" not in problem.message


def test_ages_that_nobody_reaches_are_unknown(tmp_path):
    column, remarks = pd.Series(["58", "411", "-1", "017m", "1 500", "1975", "58Y", " 103 ", "inf", None]), Remarks()
    ages = read_ages(tmp_path, column.rename("age"), remarks)
    np.testing.assert_allclose(ages, [58, np.nan, np.nan, 17 / 12, np.nan, np.nan, 58, 103, np.nan, np.nan])
    (problem,) = remarks.problems
    assert (problem.kind, problem.count, problem.fatal) == ("age", 5, False)


def test_blank_cells_are_empty_and_spaces_do_not_change_a_label(tmp_path):
    rows, remarks = pd.DataFrame({"Edema": [" 1", "\u00a0", "0 ", "", None, "-1.0"]}), Remarks()
    labels = read_labels(tmp_path, rows, ("Edema",), remarks)[:, 0]
    np.testing.assert_array_equal(labels, [1, np.nan, 0, np.nan, np.nan, -1])
    assert remarks.problems == []


HEADINGS = {
    "folder": ("image", "patient", "study", "view", "sex", "age", "split", "Edema"),
    "nih": nih.COLUMNS,
    "images": ("Path", *chexpert.METADATA, "Edema"),
    "studies": ("Study", "Edema", "Atelectasis"),
}

CELLS = (
    *("", " ", "0", "1", "-1", "0,5", "1e999", "True", "058Y", "411", "train", "M", "PA", "Edema|Mass", "x" * 500),
    *("p1 ", "e\u0301", "\ufeff", "./a.png", "..\\a", "C:/a", "\0", "\x1b[31m", 'a"b', '"', ";", "\n"),
    *("train/patient1/study1/view1_frontal.jpg", "CheXpert-v1.0/test/patient1/study2"),
)
CELL = st.sampled_from(CELLS) | st.text(max_size=5)


@st.composite
def files(draw) -> bytes:
    """A label file of any set with any cells, in any form, now and then damaged."""
    heading = list(draw(st.sampled_from(list(HEADINGS.values()))))
    heading.insert(draw(st.integers(0, len(heading))), draw(st.sampled_from(["", "Edema", "Mass", "0.5"]) | CELL))
    width = st.sampled_from([len(heading)] * 6 + [len(heading) - 1, len(heading) + 1])
    rows = draw(st.lists(width.flatmap(lambda n: st.lists(CELL, min_size=n, max_size=n)), min_size=1, max_size=4))
    table = io.StringIO()
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(table, delimiter=draw(st.sampled_from(",;\t|")), lineterminator=end).writerows([heading, *rows])
    encoding = draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"]))
    data = table.getvalue().encode(encoding, "replace")
    at = draw(st.sampled_from([len(data)] * 3 + [len(data) // 2]))
    return data[:at] + draw(st.sampled_from([b"", b"", b'"', b"\n,,\n", b"\xff"])) + data[at + 1 :]


@settings(derandomize=True)
@given(files())
def test_whatever_a_label_file_holds_it_is_read_or_refused_in_one_line(tmp_path_factory, data):
    root = tmp_path_factory.getbasetemp() / "any"
    root.mkdir(exist_ok=True)
    for name in ("labels.csv", "Data_Entry_2017.csv", "train.csv"):
        (root / name).write_bytes(data)

    def scored(path):
        return evaluate([path / "labels.csv"], path / "train.csv", n_boot=5)

    messages = []
    for read in (folder.read, nih.read, chexpert.read, lambda path: read_label_file(path / "train.csv"), scored):
        try:
            found = read(root)
        except UserError as error:
            messages.append(str(error))
        else:
            messages += [] if read is scored else [problem.message for problem in found.all_problems()]
    for message in messages:
        assert message.isprintable() and len(message) < 6 * LONGEST and "Unnamed" not in message
