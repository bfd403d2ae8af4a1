"""Building the book: what is refused, in words, and what is skipped."""

import errno
import json
import re
import subprocess

import pytest

from chexlib.cli import main
from chexlib.errors import UserError
from chexpaper.build import book
from chexpaper.build.book import build, check_executed, key_of


def edit(path, change):
    notebook = json.loads(path.read_text())
    change(notebook)
    path.write_text(json.dumps(notebook))


def test_a_folder_without_a_book_is_refused(tmp_path):
    with pytest.raises(UserError, match=f"no book in {re.escape(str(tmp_path))}.*clone"):
        build(tmp_path)


def test_a_missing_notebook_is_named(project):
    (project / "book/executed/02_b.ipynb").unlink()
    with pytest.raises(UserError, match=r"02_b\.ipynb is missing: run `chexlib notebooks run"):
        build(project)


def test_a_failed_notebook_never_becomes_a_page(project):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": []}
    edit(project / "book/executed/02_b.ipynb", lambda notebook: notebook["cells"][1]["outputs"].append(error))
    with pytest.raises(UserError, match=r"02_b\.ipynb holds an error"):
        build(project)


def test_a_notebook_that_was_not_executed_is_refused(project):
    edit(project / "book/executed/02_b.ipynb", lambda notebook: notebook["cells"][1].update(execution_count=None))
    with pytest.raises(UserError, match="cells that were not executed"):
        check_executed(project)


def test_a_file_that_is_no_notebook_is_refused(project):
    (project / "book/executed/02_b.ipynb").write_text("{")
    with pytest.raises(UserError, match=r"02_b\.ipynb is not a notebook"):
        check_executed(project)


def test_a_warning_fails_the_build_and_every_one_is_told(project):
    (project / "book/index.md").write_text(
        "# Home\n\n{cite:p}`nobody1999`\n\n{glue:text}`executed/01_a.ipynb::lost:s`\n"
    )
    with pytest.raises(UserError, match=r"did not build: .*WARNING.*\(all of it is in .*book.log\)") as refusal:
        build(project)
    assert "\n" not in str(refusal.value)
    log = (project / "_build/book.log").read_text()
    assert "nobody1999" in log and "lost" in log
    assert not (project / "_build/book.key").exists()


def test_an_unchanged_book_is_not_built_again(project, monkeypatch):
    index = build(project)
    assert "An answer" in (index.parent / "book" / "index.html").read_text()
    monkeypatch.setattr(book.subprocess, "run", lambda *_, **__: pytest.fail("built again"))
    assert build(project) == index


def test_one_process_builds_a_book_at_a_time(project, monkeypatch):
    def built(command, **_):
        with pytest.raises(UserError, match="another process is building the book here"):
            build(project)
        (project / "_build" / "html").mkdir()
        (project / "_build" / "html" / "index.html").write_text("")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(book.subprocess, "run", built)
    assert build(project) == build(project)


@pytest.mark.parametrize("at", ["subprocess.run", "os.fsync"])
def test_a_full_disk_is_one_line_and_leaves_no_book_that_counts(project, monkeypatch, capsys, at):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    (project / "_build" / "html").mkdir(parents=True)
    (project / "_build" / "html" / "index.html").write_text("old")
    if at == "os.fsync":
        ended = subprocess.CompletedProcess([], 1, "", "OSError: [Errno 28] No space left on device")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    monkeypatch.setattr(at, full)
    monkeypatch.chdir(project)
    (project / "notebooks").mkdir(exist_ok=True)
    assert main(["book", "build"]) == 2
    said = capsys.readouterr().err
    assert "No space left on device: free some space" in said and said.count("\n") == 1
    assert not (project / "_build" / "book.key").exists()


@pytest.mark.parametrize(
    "file",
    [
        "_config.yml",
        "_toc.yml",
        "book/index.md",
        "book/executed/01_a.ipynb",
        "book/_assets/book.css",
        "book/_assets/mathjax/tex-chtml.js",
        "book/references.bib",
        "book/_ext/offline.py",
    ],
)
def test_whatever_is_in_the_book_is_in_its_key(project, file):
    before = key_of(project)
    with (project / file).open("a") as stream:
        stream.write("\n")
    assert key_of(project) != before


def test_what_the_notebook_driver_notes_beside_a_notebook_changes_no_page(project):
    before = key_of(project)
    (project / "book/executed/01_a.json").write_text("{}")
    assert key_of(project) == before


def test_pages_of_two_studies_and_pages_of_a_failed_execution_are_refused(project):
    executed = sorted((project / "book" / "executed").glob("*.ipynb"))
    for path in executed:
        path.with_suffix(".json").write_text('{"inputs": {"the study": "demo"}}')
    check_executed(project)
    executed[1].with_suffix(".json").write_text('{"inputs": {"the study": "nih"}}')
    with pytest.raises(UserError, match="holds pages of two studies"):
        check_executed(project)
    executed[1].with_suffix(".json").unlink()
    with pytest.raises(UserError, match=f"{executed[1].name} is left from before a failed execution"):
        check_executed(project)
