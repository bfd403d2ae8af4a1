"""The Papermill driver, on a project of tiny notebooks. Most facts need no kernel; three tests start one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from chexlib.errors import UserError
from chexpaper.build.execute import execute, kernel_environment, read_notebook, without_folders
from chexpaper.build.notebooks import pages_of, read_value, record_of, run_notebooks

PARAMETERS = 'study = "demo"  # a name, "= demo" by default\ndata = ""\nruns: str = ""\nfactor = 1\nsizes = [0]'
SLEEPS = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, which is where the working directory is."""
    (tmp_path / "notebooks" / "studies").mkdir(parents=True)
    (tmp_path / "notebooks" / "studies" / "demo.yaml").write_text("title: Demo\nruns: [{arch: resnet18}]\n")
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHEXLIB_RUNS", raising=False)
    return tmp_path


def notebook(name: str, *cells: str, parameters: str | None = PARAMETERS, tags: tuple = ("parameters",)) -> Path:
    """notebooks/<name>.ipynb of a heading, a `parameters` cell (none where None) and these code cells."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")])
    if parameters is not None:
        nb.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)}))
    nb.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path = Path("notebooks") / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def pretend_current(**arguments) -> None:
    """Puts an output with a record for every notebook, as if `run_notebooks` had just made them."""
    for page in pages_of("demo", **arguments):
        page.output.parent.mkdir(parents=True, exist_ok=True)
        page.take({})


def outdated(**arguments) -> dict[str, str]:
    """Which notebooks would be executed, and why."""
    return {page.source.stem: page.because for page in pages_of("demo", **arguments) if page.because}


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_good_outputs_are_taken_and_failed_ones_are_not(project):
    notebook("01_good", "import os, sys, chexlib\nprint([study, factor, sizes, sys.executable, os.getcwd()])")
    notebook("02_bad", "", "fine = 1", "# a comment\nraise ValueError('no such\\nthing')", "never = 1")
    old = project / "book" / "executed" / "02_bad.ipynb"
    pretend_current(only=["02"])
    before = old.read_text()

    with pytest.raises(UserError) as refusal:
        run_notebooks("demo", parameters={"factor": "2.5", "sizes": (3, 'a "quote"\n\\', None)}, progress=False)

    assert str(refusal.value) == "notebooks/02_bad.ipynb, cell 5 (# a comment): ValueError: no such"
    assert old.read_text() == before and not record_of(old).exists()
    executed = read_notebook(project / "book" / "executed" / "01_good.ipynb")
    assert [cell["metadata"]["tags"][0] for cell in executed["cells"][1:3]] == ["parameters", "injected-parameters"]
    seen = ["demo", 2.5, [3, 'a "quote"\n\\', None], sys.executable, f"{project.name}/notebooks"]
    assert "".join(executed["cells"][3]["outputs"][0]["text"]).strip() == str(seen)
    assert str(project) not in json.dumps(executed)
    left = {".lock", "01_good.ipynb", "01_good.json", "02_bad.ipynb"}
    assert {path.name for path in old.parent.iterdir()} == left


@pytest.mark.parametrize(("text", "published"), [
    ("data = '/home/me/sets/chexpert'", "data = 'chexpert'"),
    ("no file /home/me/sets/chexpert/train.csv, none in /home/me.", "no file chexpert/train.csv, none in me."),
    ("https://data.org/home/me/sets", "https://data.org/home/me/sets"),
    ("iVBOR/home/me/sets+", "iVBOR/home/me/sets+"),
])  # fmt: skip
def test_published_text_names_folders_and_not_their_places(text, published):
    folders = ["/home/me", "/home/me/sets/chexpert"]
    assert without_folders({"cells": [{"source": text}]}, folders) == {"cells": [{"source": published}]}


def test_killed_driver_leaves_nothing_and_takes_its_notebooks_along(project):
    notebook("01_slow", SLEEPS)
    pid_file = project / "notebooks" / "pid"
    command = "from chexpaper.build.notebooks import run_notebooks; run_notebooks('demo', progress=False)"
    driver = subprocess.Popen([sys.executable, "-c", command])
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    with pytest.raises(UserError, match="another process"):
        run_notebooks("demo", progress=False)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not running(int(pid_file.read_text())))
    left = project / "book" / "executed"
    assert not list(left.glob("*.ipynb")) and not list(left.glob("*.json"))
    assert list(left.glob(".running-*"))
    pretend_current()
    assert not run_notebooks("demo", progress=False)[0].because  # the lock is free again
    assert not list(left.glob(".running-*"))  # and what was left is cleared


@pytest.fixture
def scratch(project):
    folder = project / "scratch"
    folder.mkdir()
    return folder


def failure(path: Path, scratch: Path, timeout: float = 60, environment=os.environ) -> str:
    """What is wrong with a notebook's output, after `execute`."""
    ends = os.pipe()
    with open(ends[0]) as lifeline, open(ends[1], "w"), pytest.raises(UserError) as refusal:
        execute(path, {}, scratch, environment, timeout, lifeline)
    return str(refusal.value)


def test_notebook_that_is_not_done_in_time_is_ended(project, scratch):
    path = notebook("01_slow", SLEEPS)
    problem = failure(path.resolve(), scratch, 15, kernel_environment(scratch, jobs=1))
    assert problem.startswith("notebooks/01_slow.ipynb, cell 3 (import os, time): not done after 15 s")
    pid = int((project / "notebooks" / "pid").read_text())
    wait_for(lambda: not running(pid))


def test_process_that_never_starts_a_kernel_is_tried_twice(project, scratch, monkeypatch):
    python = project / "python"
    python.write_text("#!/bin/sh\necho tried >> tries\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    died = "before its first cell: its process died: was it killed, or out of memory?"
    assert failure(notebook("01_a", "x = 1"), scratch) == f"notebooks/01_a.ipynb, {died}"
    assert Path("tries").read_text() == "tried\ntried\n"


def test_output_with_cells_left_out_is_not_taken(scratch, monkeypatch):
    path = notebook("01_a", "x = 1", "y = 2")
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert failure(path, scratch).endswith("Papermill wrote no output")
    executed = read_notebook(path)
    executed["cells"][1]["execution_count"] = executed["cells"][2]["execution_count"] = 1
    (scratch / path.name).write_text(json.dumps(executed))
    assert failure(path, scratch).endswith("cell 4 (y = 2): was not executed")


def test_nothing_runs_while_anything_is_refused(project):
    notebook("01_a", "x = 1")
    notebook("02_b", "x = 1", parameters=PARAMETERS + "\nmargin = 0.01")
    cases = {
        "parameter 'margn' is unknown: did you mean 'margin'? (known: data, factor, margin, runs, sizes, study)": {
            "parameters": {"margn": 1}
        },
        "parameter 'study': it has an option of its own: use --study": {"parameters": {"study": "nih"}},
        "notebook '03' is unknown (known: 01_a, 02_b)": {"only": ["03"]},
        "data 'absent': no such folder: give the data set's folder, or none for the phantom": {"data": "absent"},
    }
    for message, arguments in cases.items():
        with pytest.raises(UserError) as refusal:
            run_notebooks("demo", **arguments)
        assert str(refusal.value) == message
    with pytest.raises(UserError, match="dmeo"):
        run_notebooks("dmeo")
    assert not (project / "book").exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [(None, "no cells are tagged `parameters`"), ("%matplotlib inline", "line 1: not plain Python")],
)
def test_notebook_without_a_readable_parameters_cell_is_refused(project, parameters, message):
    notebook("01_a", "x = 1")
    notebook("02_b", "x = 1", parameters=parameters)
    with pytest.raises(UserError, match=f"02_b.ipynb: .*{message}"):
        run_notebooks("demo")
    assert not (project / "book").exists()


def test_what_is_no_notebook_and_a_folder_without_any_are_refused(project):
    with pytest.raises(UserError, match="no numbered notebooks here"):
        run_notebooks("demo")
    Path("notebooks/01_a.ipynb").write_text('{"worksheets": []}')
    with pytest.raises(UserError, match="not a notebook of format 4"):
        run_notebooks("demo")


def test_an_output_is_current_until_it_is_edited_or_lost(project):
    notebook("01_a", "x = 1")
    assert outdated() == {"01_a": "not executed yet"}
    pretend_current()
    [page] = run_notebooks("demo", progress=False)
    assert page.because == "" and page.output == project / "book" / "executed" / "01_a.ipynb"
    page.output.write_text("{ }")
    assert outdated() == {"01_a": "its output was edited"}
    page.output.unlink()
    assert outdated() == {"01_a": "not executed yet"}


def test_each_change_of_an_input_is_seen_and_named(project):
    path = notebook("01_a", "x = 1")
    Path("requirements.lock").write_text("numpy==2.0\n")
    Path("results/nih").mkdir(parents=True)
    done = Path("runs/run-1/done.json")
    done.parent.mkdir(parents=True)
    Path("runs/demo.study.json").write_text('{"study": "demo", "runs": ["run-1", "run-2"]}')
    changes = {
        "the notebook": lambda: notebook("01_a", "x = 2"),
        "python and requirements.lock": lambda: Path("requirements.lock").write_text("numpy==2.1\n"),
        "the study": lambda: Path("notebooks/studies/demo.yaml").write_text("runs: [{arch: resnet34}]"),
        "runs": lambda: done.write_text("{}"),
        "results": lambda: Path("results/nih/spec.json").write_text("{}"),
    }
    for name, change in changes.items():
        pretend_current()
        assert outdated() == {}
        change()
        assert outdated() == {"01_a": f"{name} changed"}
    pretend_current()
    assert outdated(parameters={"factor": "2"}) == {"01_a": "parameters changed"}
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].update(execution_count=7, outputs=[nbformat.v4.new_output("stream", text="seen")])
    nbformat.write(nb, path)
    assert outdated() == {}  # what a notebook showed when it was saved is no input


def test_parameters_go_to_the_notebooks_that_declare_them_and_may_be_given_them(project):
    notebook("01_a", "x = 1")
    notebook("02_b", "x = 1", parameters=PARAMETERS + "\nmargin = 0.01")
    notebook("03_c", "x = 1", tags=("parameters", "own-study"))
    given = [page.parameters for page in pages_of("demo", runs="results", parameters={"margin": "0.02", "factor": 2})]
    shared = {"study": "demo", "runs": "results", "factor": 2}
    assert given == [shared, shared | {"margin": 0.02}, {"factor": 2}]


@pytest.mark.parametrize(
    ("text", "value"),
    [("demo", "demo"), ("", ""), ("3", 3), ("007", 7), ("1e-4", 1e-4), ("True", True), ("false", False),
     ("None", None), ("no", "no"), ("[1, 'a']", [1, "a"]), ("../data", "../data"), ("12:30", "12:30")],
)  # fmt: skip
def test_values_are_read_as_papermill_reads_them(text, value):
    assert read_value(text) == value and type(read_value(text)) is type(value)
