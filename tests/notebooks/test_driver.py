"""The Papermill driver, on a project of tiny notebooks. Most facts need no kernel; three tests start one."""

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

import chexlib
import chexpaper
from chexlib.errors import UserError
from chexpaper.build.execute import (
    NotebookProcess,
    inject,
    install_kernel,
    kernel_environment,
    read_notebook,
    without_folders,
)
from chexpaper.build.inputs import record_of, why_not_current, write_record
from chexpaper.build.notebooks import outdated, read_value, run_notebooks

PARAMETERS = 'study = "demo"  # a name, "= demo" by default\ndata = ""\nruns: str = ""\nfactor = 1\nsizes = (0,)'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, which is where the working directory is."""
    (tmp_path / "notebooks" / "studies").mkdir(parents=True)
    (tmp_path / "notebooks" / "studies" / "demo.yaml").write_text("title: Demo\nruns: [{arch: resnet18}]\n")
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHEXLIB_RUNS", raising=False)
    return tmp_path


def notebook(name: str, *cells: str, parameters: str | None = PARAMETERS) -> Path:
    """notebooks/<name>.ipynb of a heading, a `parameters` cell (none where None) and these code cells."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")])
    if parameters is not None:
        nb.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nb.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path = Path("notebooks") / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def pretend_current(**arguments) -> None:
    """Puts an output with a record for every notebook, as if `run_notebooks` had just made them."""
    from chexpaper.build.notebooks import _tasks

    defaults = {"study": "demo", "data": None, "runs": None, "only": None, "parameters": None, "out": None}
    for task in _tasks(**{**defaults, **arguments}):
        task.output.parent.mkdir(parents=True, exist_ok=True)
        task.output.write_text("{}")
        write_record(task.output, task.inputs, 1.0)


def test_good_outputs_are_taken_and_failed_ones_are_not(project):
    code = "import os, sys, chexlib\nprint([study, factor, sizes, sys.executable, chexlib.__file__, os.getcwd()])"
    notebook("01_good", code)
    notebook("02_bad", "", "fine = 1", "# a comment\nraise ValueError('no such\\nthing')", "never = 1")
    old = project / "book" / "executed" / "02_bad.ipynb"
    pretend_current(only=["02"])

    with pytest.raises(UserError) as refusal:
        run_notebooks("demo", parameters={"factor": "2.5", "sizes": (3, "a")}, progress=False)

    assert str(refusal.value) == "notebooks/02_bad.ipynb, cell 5 (# a comment): ValueError: no such"
    assert old.read_text() == "{}" and not record_of(old).exists()
    executed = read_notebook(project / "book" / "executed" / "01_good.ipynb")
    assert [cell["metadata"]["tags"] for cell in executed["cells"][1:3]] == [
        ["parameters"],
        ["injected-parameters", "remove-cell"],
    ]
    seen = ["demo", 2.5, (3, "a"), sys.executable, chexlib.__file__, f"{project.name}/notebooks"]
    assert "".join(executed["cells"][3]["outputs"][0]["text"]).strip() == str(seen)
    assert str(project) not in json.dumps(executed)
    assert sorted(path.name for path in old.parent.iterdir()) == [
        ".lock",
        "01_good.ipynb",
        "01_good.json",
        "02_bad.ipynb",
    ]


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
    notebook("01_slow", "import os\nopen('pid', 'w').write(str(os.getpid()))", "import time\ntime.sleep(60)")
    pid_file = project / "notebooks" / "pid"
    command = "from chexpaper.build.notebooks import run_notebooks; run_notebooks('demo', progress=False)"
    source = os.pathsep.join(str(Path(package.__file__).parents[1]) for package in (chexlib, chexpaper))
    driver = subprocess.Popen([sys.executable, "-c", command], env={**os.environ, "PYTHONPATH": source})
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
    assert run_notebooks("demo", progress=False)[0].skipped  # the lock is free again
    assert not list(left.glob(".running-*"))  # and what was left is cleared


def test_notebook_that_is_not_done_in_time_is_ended(project):
    notebook("01_slow", "import os\nopen('pid', 'w').write(str(os.getpid()))\nimport time\ntime.sleep(60)")
    pid_file = project / "notebooks" / "pid"
    scratch = project / "scratch"
    scratch.mkdir()
    install_kernel(scratch)
    path = project / "notebooks" / "01_slow.ipynb"
    process = NotebookProcess(path, {}, scratch, kernel_environment(scratch, jobs=1), timeout=math.inf)
    wait_for(lambda: process.ended() or (pid_file.exists() and pid_file.read_text()))
    process.timeout = 0.5
    wait_for(process.ended)
    assert process.problem.startswith("cell 3 (import os): not done after 0 s")
    wait_for(lambda: not running(int(pid_file.read_text())))


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


def test_process_that_never_starts_a_kernel_is_tried_twice(project, monkeypatch):
    path = notebook("01_a", "x = 1")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    process = NotebookProcess(path, {}, project, os.environ, timeout=60)
    wait_for(process.ended)
    assert process._attempts == 2
    assert process.problem == "before its first cell: its process died: was it killed, or out of memory?"


def test_output_with_cells_left_out_is_not_taken(project, monkeypatch):
    path = notebook("01_a", "x = 1", "y = 2")
    monkeypatch.setattr(sys, "executable", "/bin/true")
    scratch = project / "scratch"
    scratch.mkdir()
    process = NotebookProcess(path, {}, scratch, os.environ, timeout=60)
    wait_for(process.ended)
    executed = read_notebook(path)
    executed["cells"][1]["execution_count"] = executed["cells"][2]["execution_count"] = 1
    (scratch / path.name).write_text(json.dumps(executed))
    assert process.problem == "cell 4 (y = 2): was not executed"


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


def test_file_that_is_no_notebook_is_refused(project):
    Path("notebooks/01_a.ipynb").write_text('{"worksheets": []}')
    with pytest.raises(UserError, match="not a notebook of format 4"):
        run_notebooks("demo")


def test_folder_without_notebooks_is_refused(project):
    with pytest.raises(UserError, match="no numbered notebooks here"):
        run_notebooks("demo")


def test_two_drivers_do_not_share_a_folder(project):
    notebook("01_a", "x = 1")
    folder = project / "elsewhere"
    folder.mkdir()
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is executing notebooks here"):
            run_notebooks("demo", out=folder)


def test_unchanged_notebooks_are_skipped(project):
    notebook("01_a", "x = 1")
    assert outdated("demo") == {"01_a": "not executed yet"}
    pretend_current()
    [executed] = run_notebooks("demo", progress=False)
    assert executed.skipped and executed.seconds == 0
    assert executed.output == project / "book" / "executed" / "01_a.ipynb"


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
        assert outdated("demo") == {}
        change()
        assert outdated("demo") == {"01_a": f"{name} changed"}
    pretend_current()
    assert outdated("demo", parameters={"factor": "2"}) == {"01_a": "parameters changed"}
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].update(execution_count=7, outputs=[nbformat.v4.new_output("stream", text="seen")])
    nbformat.write(nb, path)
    assert outdated("demo") == {}  # what a notebook showed when it was saved is no input


def test_edited_or_lost_output_is_not_current(project):
    output = project / "01_a.ipynb"
    output.write_text("{}")
    write_record(output, {"a": "1"}, 1.0)
    assert why_not_current(output, {"a": "1"}) == ""
    assert why_not_current(output, {"a": "2", "b": "1"}) == "a, b changed"
    output.write_text("{ }")
    assert why_not_current(output, {"a": "1"}) == "its output was edited"
    output.unlink()
    assert why_not_current(output, {"a": "1"}) == "not executed yet"


def test_parameter_goes_only_to_notebooks_that_declare_it(project):
    notebook("01_a", "x = 1")
    notebook("02_b", "x = 1", parameters=PARAMETERS + "\nmargin = 0.01")
    pretend_current()
    assert outdated("demo", parameters={"margin": "0.02"}) == {"02_b": "parameters changed"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("demo", "demo"),
        ("", ""),
        ("3", 3),
        ("007", 7),
        ("1e-4", 1e-4),
        ("True", True),
        ("false", False),
        ("None", None),
        ("no", "no"),
        ("[1, 'a']", [1, "a"]),
        ("(96, 128)", (96, 128)),
        ("../data", "../data"),
        ("12:30", "12:30"),
    ],
)
def test_values_are_read_as_papermill_reads_them(text, value):
    assert read_value(text) == value and type(read_value(text)) is type(value)


def test_injected_values_are_those_given(project):
    values = {"text": 'a "quote"\n\\', "pair": (1,), "none": None, "infinite": -math.inf, "flag": True}
    cells = inject(read_notebook(notebook("01_a", "x = 1")), values)["cells"]
    assigned = {}
    exec(cells[2]["source"], assigned)
    assert {name: assigned[name] for name in values} == values


def test_earlier_injection_is_replaced(project):
    once = inject(read_notebook(notebook("01_a", "x = 1")), {"factor": 2})
    twice = inject(once, {"factor": 3})
    assert [cell["source"] for cell in twice["cells"]][1:] == [PARAMETERS, "# Parameters\nfactor = 3", "x = 1"]
    nbformat.validate(nbformat.from_dict(twice))
