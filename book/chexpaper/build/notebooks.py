"""The Papermill driver: executes the project's notebooks for a study and puts the good ones where the book takes them.

It guards against Papermill's habit of carrying on. Unknown parameters, and notebooks without a `parameters` cell, are
refused before anything runs. An output takes its place only when every cell was executed without an error, and it is
current while the record beside it says that nothing it depends on has changed; the record is gone from the moment a
notebook starts until it has succeeded. Killing the driver at any moment ends its notebooks too, and the next run clears
up after it.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tqdm import tqdm

from chexlib.errors import UserError
from chexlib.runs.store import project_folder, write_atomically
from chexlib.study import load_study
from chexpaper.build.execute import (
    FOLDERS,
    NotebookProcess,
    install_kernel,
    kernel_environment,
    read_notebook,
    tags,
    without_folders,
)
from chexpaper.build.inputs import notebook_inputs, record_of, shared_inputs, why_not_current, write_record

STANDARD = ("study", "data", "runs")
"""Parameters with arguments of their own; they go to the notebooks that declare them."""
SCRATCH = ".running-"
"""Prefix of the folder of half-done work, inside the output folder."""


@dataclass(frozen=True)
class Executed:
    """One notebook of a run: its executed copy, and whether this run made it."""

    name: str
    output: Path
    seconds: float  # 0 where skipped
    because: str  # why it was executed, e.g. "chexlib, runs changed"; empty where it was current and skipped

    @property
    def skipped(self) -> bool:
        return not self.because


@dataclass(frozen=True, eq=False)
class _Task:
    """One notebook with what it is given and what it depends on."""

    source: Path
    output: Path
    parameters: Mapping
    inputs: Mapping[str, str]


def run_notebooks(
    study: str,
    data: str | Path | None = None,
    runs: str | Path | None = None,
    only: Sequence[str] | None = None,
    parameters: Mapping | None = None,
    out: str | Path | None = None,
    jobs: int = 2,
    timeout: float = 3600,
    progress: bool = True,
) -> list[Executed]:
    """Executes the notebooks that are not current, each in its own process; returns all that were asked for, in order.

    study: a name in notebooks/studies, or a YAML file. data: the data set's folder. runs: the run store, or "results"
    for the published runs. only: beginnings of notebooks' names. parameters: further ones, each given to the notebooks
    whose `parameters` cell declares it; text is read as on a command line ("0.1", "True", "[1, 2]"). out: the folder of
    the executed copies, book/executed of the project if None. jobs: how many at a time. timeout: seconds a notebook.

    Raises UserError before anything runs where the study, a notebook or a parameter is unknown, where a notebook has no
    `parameters` cell, or where another process is at work in `out`; and, once what was running has ended, where a
    notebook failed, naming the cell and its error.
    """
    tasks = _tasks(study, data, runs, only, parameters, out)
    folder = tasks[0].output.parent
    with _folder_lock(folder):
        because = {task: why_not_current(task.output, task.inputs) for task in tasks}
        seconds = _execute([task for task in tasks if because[task]], folder, max(1, jobs), timeout, progress)
    return [Executed(task.source.stem, task.output, seconds.get(task, 0.0), because[task]) for task in tasks]


def outdated(study: str, data=None, runs=None, only=None, parameters=None, out=None) -> dict[str, str]:
    """Which notebooks `run_notebooks` with these arguments would execute, and why; executes nothing."""
    tasks = _tasks(study, data, runs, only, parameters, out)
    reasons = {task.source.stem: why_not_current(task.output, task.inputs) for task in tasks}
    return {name: reason for name, reason in reasons.items() if reason}


def read_value(text: str) -> object:
    """A command line's value as Papermill's -p reads it (True, None, numbers, text), and lists, tuples and dicts."""
    for read in (int, float, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return {"true": True, "false": False}.get(text, text)


def declared_parameters(path: Path) -> list[str]:
    """The names that the notebook's `parameters` cell assigns. Raises UserError without such a cell, or an odd one."""
    try:
        cells = [cell["source"] for cell in read_notebook(path)["cells"] if "parameters" in tags(cell)]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a notebook of format 4: save it again in JupyterLab") from None
    if len(cells) != 1:
        count = len(cells) or "no"
        raise UserError(f"{path}: {count} cells are tagged `parameters`: tag the one that sets study, data and runs")
    try:
        statements = ast.parse(cells[0]).body
    except SyntaxError as error:
        raise UserError(f"{path}: `parameters` cell, line {error.lineno}: not plain Python: {error.msg}") from None
    assigned = [target for s in statements for target in getattr(s, "targets", [getattr(s, "target", None)])]
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def _tasks(study, data, runs, only, parameters, out) -> list[_Task]:
    """What there is to do, with everything refused that can be refused before it is done."""
    project = project_folder()
    load_study(study)  # refuses an unknown one
    is_file = str(study).endswith((".yaml", ".yml"))
    study_file = Path(study) if is_file else project / "notebooks" / "studies" / f"{study}.yaml"
    given = {"study": _absolute(study) if is_file else study}
    if data:
        given["data"] = _absolute(data)
        if not Path(given["data"]).is_dir():
            raise UserError(f"data {str(data)!r}: no such folder: give the data set's folder, or none for the phantom")
    if runs:
        given["runs"] = "results" if str(runs) == "results" else _absolute(runs)
    declared = {source: declared_parameters(source) for source in _chosen(project / "notebooks", only)}
    given |= _known(parameters or {}, declared)
    inputs = shared_inputs(project, study_file, given.get("runs"), given.get("data"))
    folder = Path(out) if out else project / "book" / "executed"
    tasks = []
    for source, names in declared.items():
        own = {name: given[name] for name in names if name in given}
        tasks.append(_Task(source, folder / source.name, own, notebook_inputs(source, own) | inputs))
    return tasks


def _chosen(folder: Path, only: Sequence[str] | None) -> list[Path]:
    """The numbered notebooks, those whose names begin with one of `only` where it is given."""
    paths = sorted(folder.glob("[0-9]*.ipynb"))
    if not paths:
        raise UserError(f"{folder}: no numbered notebooks here: run this inside the project")
    for start in only or ():
        if not any(path.name.startswith(start) for path in paths):
            raise _unknown("notebook", start, [path.stem for path in paths])
    return [path for path in paths if not only or path.name.startswith(tuple(only))]


def _known(parameters: Mapping, declared: Mapping[Path, Sequence[str]]) -> dict:
    """The further parameters, read from text; each must be known to one of the notebooks at least."""
    known = sorted({name for names in declared.values() for name in names})
    for name in parameters:
        if name in STANDARD:
            raise UserError(f"parameter {name!r}: it has an option of its own: use --{name}")
        if name not in known:
            raise _unknown("parameter", name, known)
    return {name: read_value(value) if isinstance(value, str) else value for name, value in parameters.items()}


def _unknown(kind: str, name: str, known: Sequence[str]) -> UserError:
    near = get_close_matches(name, known, n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return UserError(f"{kind} {name!r} is unknown{hint} (known: {', '.join(known)})")


def _absolute(path: str | Path) -> str:
    """The path as a kernel, which runs in the notebook's folder, must be told it."""
    return str(Path(path).expanduser().resolve())


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """One driver a folder; the system frees the lock however its owner ends. Clears what a killed one left."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is executing notebooks here: wait for it or stop it") from None
        for left in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _execute(tasks: Sequence[_Task], folder: Path, jobs: int, timeout: float, progress: bool) -> dict[_Task, float]:
    """Executes the tasks and returns their seconds. After a failure nothing new is started; what runs is let end."""
    if not tasks:
        return {}
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder)).resolve()
    waiting, running, seconds, failures = list(tasks), {}, {}, []
    bar = tqdm(total=len(tasks), desc="notebooks", unit="notebook", disable=not progress)
    try:
        install_kernel(scratch)
        environment = kernel_environment(scratch, jobs)
        while running or (waiting and not failures):
            while waiting and len(running) < jobs and not failures:
                task = waiting.pop(0)
                record_of(task.output).unlink(missing_ok=True)
                running[task] = NotebookProcess(task.source, task.parameters, scratch, environment, timeout)
                bar.set_postfix_str(", ".join(t.source.stem for t in running))
            time.sleep(0.05)
            for task in [task for task, process in running.items() if process.ended()]:
                process = running.pop(task)
                if process.problem:
                    failures.append(f"{task.source.parent.name}/{task.source.name}, {process.problem}")
                else:
                    seconds[task] = time.monotonic() - process.began
                    _take(process.executed, task, seconds[task])
                    bar.update(1)
                bar.set_postfix_str(", ".join(t.source.stem for t in running))
    finally:
        bar.close()
        for process in running.values():
            process.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    if failures:
        raise UserError("; ".join(failures))
    return seconds


def _take(executed: dict, task: _Task, seconds: float) -> None:
    """Puts a good output where the book takes it, and then its record."""
    given = [*task.parameters.values(), *map(os.environ.get, FOLDERS), task.source.parents[1].resolve()]
    folders = [str(folder) for folder in given if folder and Path(str(folder)).is_absolute()]
    text = json.dumps(without_folders(executed, folders), indent=1, ensure_ascii=False)
    write_atomically(task.output, text + "\n")
    write_record(task.output, task.inputs, seconds)
