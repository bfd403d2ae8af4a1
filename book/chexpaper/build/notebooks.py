"""The Papermill driver: executes the project's notebooks for a study and puts the good ones where the book takes them.

It guards against Papermill's habit of carrying on. Unknown parameters, and notebooks without a `parameters` cell, are
refused before anything runs. An output takes its place only when every cell was executed without an error, and it is
current while the record beside it names the same hashes as now: of the notebook, its parameters, the code, and the runs
that it reads. A data set's images are not among them: what notebooks read of them is in the runs, whose names hold the
data's fingerprint. The record is gone from the moment a notebook starts until it has succeeded. Killing the driver at
any moment ends its notebooks too, and the next run clears up after it.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tqdm import tqdm

import chexlib
import chexpaper
from chexlib.errors import UserError
from chexlib.runs.store import RunStore, project_folder, write_atomically
from chexlib.study import Study, load_study
from chexpaper.build.execute import FOLDERS, execute, kernel_environment, read_notebook, tags, without_folders

STANDARD = ("study", "data", "runs")  # parameters with arguments of their own, for the notebooks that declare them
OWN_STUDY = "own-study"  # tag of a `parameters` cell whose three stay as they are, whatever study other pages show
TRAINED_HERE = "demo"  # the study that a page of its own reads from the run store, beside the one that is shown
SCRATCH = ".running-"  # prefix of the folder of half-done work, inside the output folder


@dataclass(frozen=True, eq=False)
class Page:
    """One notebook that was asked for: its executed copy, and what that depends on."""

    source: Path
    output: Path
    parameters: Mapping
    inputs: Mapping[str, str]  # a hash each
    because: str  # why it is executed, e.g. "chexlib, runs changed"; empty where it is current and skipped

    def take(self, executed: dict) -> None:
        """Puts a good output where the book takes it, and then, last of all, its record."""
        given = [*self.parameters.values(), *map(os.environ.get, FOLDERS), self.source.parents[1].resolve()]
        folders = [str(folder) for folder in given if folder and Path(str(folder)).is_absolute()]
        text = json.dumps(without_folders(executed, folders), indent=1, ensure_ascii=False)
        write_atomically(self.output, text + "\n")
        record = {"inputs": dict(self.inputs), "output": sha(self.output.read_bytes())}
        write_atomically(record_of(self.output), json.dumps(record, indent=1) + "\n")


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
) -> list[Page]:
    """Executes the notebooks that are not current, each in its own process; returns all that were asked for, in order.

    study: a name in notebooks/studies, or a YAML file. data: the data set's folder. runs: the run store (CHEXLIB_RUNS,
    or runs/, if None), or "results" for the published runs. only: beginnings of notebooks' names. parameters: further
    ones, each given to the notebooks whose `parameters` cell declares it; text is read as on a command line ("0.1",
    "True", "[1, 2]"). out: the folder of the executed copies, book/executed of the project if None. jobs: how many at a
    time. timeout: seconds a notebook.

    Raises UserError before anything runs where the study, a notebook or a parameter is unknown, where a notebook has no
    `parameters` cell, or where another process is at work in `out`; and, once what was running has ended, where a
    notebook failed, naming the cell and its error.
    """
    pages = pages_of(study, data, runs, only, parameters, out)
    folder = pages[0].output.parent
    with folder_lock(folder, "executing notebooks"):
        _execute([page for page in pages if page.because], folder, max(1, jobs), timeout, progress)
    return pages


def pages_of(study: str, data=None, runs=None, only=None, parameters=None, out=None) -> list[Page]:
    """What `run_notebooks` has to do, with everything refused that can be refused before it is done."""
    project = project_folder()
    planned = load_study(study)
    given = {"study": str(Path(study).resolve()) if str(study).endswith((".yaml", ".yml")) else study}
    if data:
        given["data"] = str(Path(data).expanduser().resolve())
        if not Path(given["data"]).is_dir():
            raise UserError(f"data {str(data)!r}: no such folder: give the data set's folder, or none for the phantom")
    given["runs"] = "" if not runs else "results" if str(runs) == "results" else str(Path(runs).expanduser().resolve())
    declared = {source: declared_parameters(source) for source in _chosen(project / "notebooks", only)}
    given |= _known(parameters or {}, declared)
    shared = _shared_inputs(project, planned, given.get("runs"), given.get("data"))
    folder = Path(out) if out else project / "book" / "executed"
    pages = []
    for source, names in declared.items():
        own = {name: given[name] for name in names if name in given}
        cells = [[c["cell_type"], c["source"], tags(c), c.get("attachments")] for c in read_notebook(source)["cells"]]
        inputs = {"the notebook": sha(json.dumps(cells)), "parameters": sha(repr(sorted(own.items())))} | shared
        output = folder / source.name
        pages.append(Page(source, output, own, inputs, why_not_current(output, inputs)))
    return pages


def why_not_current(output: Path, inputs: Mapping[str, str]) -> str:
    """Why the output does not stand for these inputs, for people; empty where it does."""
    try:
        record = json.loads(record_of(output).read_text())
        edited = record["output"] != sha(output.read_bytes())
        changed = [name for name, value in inputs.items() if record["inputs"].get(name) != value]
    except (OSError, ValueError, KeyError):
        return "not executed yet"
    if edited:
        return "its output was edited"
    return f"{', '.join(changed)} changed" if changed else ""


def record_of(output: Path) -> Path:
    """Where an output's record lies."""
    return output.with_suffix(".json")


def sha(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each with its length, so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()


def sha_of_files(folder: Path, pattern: str = "**/*") -> str:
    """One hash of the names in the folder and the contents of all its files that match."""
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file() and "__pycache__" not in path.parts]
    return sha(*(part for path in files for part in (path.relative_to(folder).as_posix(), path.read_bytes())))


def read_value(text: str) -> object:
    """A command line's value as Papermill's -p reads it (True, None, numbers, text), and lists, tuples and dicts."""
    for read in (int, float, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return {"true": True, "false": False}.get(text, text)


def declared_parameters(path: Path) -> list[str]:
    """The names that its `parameters` cell assigns and that may be given; UserError without one, or for an odd one."""
    try:
        cells = [cell for cell in read_notebook(path)["cells"] if "parameters" in tags(cell)]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a notebook of format 4: save it again in JupyterLab") from None
    if len(cells) != 1:
        count = len(cells) or "no"
        raise UserError(f"{path}: {count} cells are tagged `parameters`: tag the one that sets study, data and runs")
    try:
        statements = ast.parse(cells[0]["source"]).body
    except SyntaxError as error:
        raise UserError(f"{path}: `parameters` cell, line {error.lineno}: not plain Python: {error.msg}") from None
    assigned = [target for s in statements for target in getattr(s, "targets", [getattr(s, "target", None)])]
    kept = STANDARD if OWN_STUDY in tags(cells[0]) else ()
    return [target.id for target in assigned if isinstance(target, ast.Name) and target.id not in kept]


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


def _shared_inputs(project: Path, study: Study, runs: str | None, data: str | None) -> dict[str, str]:
    """The hashes of what all notebooks share. Of the data set's folder, its tables: the files right inside it."""
    read = [(TRAINED_HERE, RunStore.open())]
    read += [] if runs == "results" else [(study.name, RunStore.open(runs))]  # published runs are hashed as `results`
    finished = [run for name, store in read for run in store.planned(name) if run.finished]
    tables = [(path, path.stat()) for path in sorted(Path(data).iterdir()) if path.is_file()] if data else []
    return {
        "chexlib": sha_of_files(Path(chexlib.__file__).parent),
        "chexpaper": sha_of_files(Path(chexpaper.__file__).parent),
        "python and requirements.lock": sha(sys.version, sha_of_files(project, "requirements.lock")),
        "the study": sha(repr(study)),
        "runs": sha(*(run.run_id + sha_of_files(run.folder, "*.json") for run in finished)),
        "results": sha_of_files(project / "results"),
        "data": sha(*(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in tables)),
    }


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """One process that is doing so a folder; the system frees the lock however its owner ends. Clears what a killed one
    left."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is {doing} here: wait for it or stop it") from None
        for left in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _execute(pages: Sequence[Page], folder: Path, jobs: int, timeout: float, progress: bool) -> None:
    """Executes these notebooks. After a failure nothing new is started; what runs is let end."""
    if not pages:
        return
    failures: list[str] = []
    bar = tqdm(total=len(pages), desc="notebooks", unit="notebook", disable=not progress)

    def make(page: Page) -> None:
        if failures:
            return
        bar.set_postfix_str(page.source.stem)
        record_of(page.output).unlink(missing_ok=True)
        try:
            page.take(execute(page.source, page.parameters, scratch, environment, timeout, hold))
            bar.update(1)
        except UserError as error:
            failures.append(str(error))

    with (
        bar,
        tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch,
        open((ends := os.pipe())[0]) as hold,
        open(ends[1], "w") as lifeline,
        ThreadPoolExecutor(jobs) as pool,
    ):
        scratch = Path(scratch).resolve()
        environment = kernel_environment(scratch, jobs)
        try:
            list(pool.map(make, pages))
        finally:
            lifeline.close()  # stops what still runs
    if failures:
        raise UserError("; ".join(failures))
