"""Executes one notebook with Papermill in a process of its own, and says in one line why it failed.

A process a notebook, because Papermill changes the working directory of the whole process. The kernel is this very
interpreter, whatever kernels are installed, and writes nothing into the user's home. The process ends when the pipe
that is its standard input closes, which happens however its parent ends; the kernel ends with the process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from chexlib.errors import UserError
from chexlib.machine import cores

START_TIMEOUT = 60  # seconds for a kernel to start; a slow or unlucky start is tried once more
OURS = {"injected-parameters", "papermill-error-cell-tag"}  # tags of the cells that Papermill puts in
BEGUN = ("running", "completed", "failed")  # what Papermill calls a cell that is no longer pending
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FOLDERS = ("CHEXLIB_RUNS", "CHEXLIB_CACHE", "CHEXLIB_WEIGHTS")


def execute(
    source: Path, parameters: Mapping, scratch: Path, environment: Mapping[str, str], timeout: float, lifeline: IO
) -> dict:
    """The notebook as it goes into the book: executed to its end, without an error, with these parameters.

    scratch: a folder of its own for half-done work. timeout: seconds. lifeline: a pipe, at whose end all is stopped.
    Raises UserError with the cell's number and first line and what went wrong there.
    """
    output = scratch / source.name
    text = json.dumps(dict(parameters), default=str)  # a tuple arrives as a list
    command = [sys.executable, "-m", __name__, source, output, source.parent, text]
    pipes = {"stdin": lifeline, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    for _ in range(2):
        try:
            process = subprocess.run(command, **pipes, env=environment, timeout=timeout)
            words = _first_line(process.stderr.strip().rpartition("\n")[2]) if process.returncode else ""
            if process.returncode and (not words or "DeadKernelError" in words):
                words = "its process died: was it killed, or out of memory?"
        except subprocess.TimeoutExpired:
            words = f"not done after {timeout:.0f} s: make it shorter, or give it a longer timeout"
        try:
            executed = read_notebook(output)
        except (OSError, ValueError):  # not written, or killed while writing
            executed = {}
        if not words or _reached(executed):
            break
    if problem := _problem(executed, words):
        raise UserError(f"{source.parent.name}/{source.name}, {problem}")
    paths = {"input_path": source.name, "output_path": source.name}  # not the place where it lay while it was made
    executed["metadata"].setdefault("papermill", {}).update(paths)
    return executed


def read_notebook(path: Path) -> dict:
    """The notebook's JSON, each cell's source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def tags(cell: Mapping) -> list[str]:
    """The cell's tags, none where it has none."""
    return cell.get("metadata", {}).get("tags", [])


def kernel_environment(scratch: Path, jobs: int) -> dict[str, str]:
    """The notebooks' environment: this interpreter as Jupyter's python3, a share of the cores, absolute paths."""
    from ipykernel.kernelspec import write_kernel_spec

    (scratch / "jupyter" / "kernels").mkdir(parents=True)
    write_kernel_spec(scratch / "jupyter" / "kernels" / "python3")
    environment = {"CHEXPAPER_BOOK": "1"} | os.environ
    environment.pop("MPLBACKEND", None)  # the kernel's own draws into the notebook
    for name in THREADS:
        environment.setdefault(name, str(max(1, cores() // jobs)))
    given = {name: environment[name] for name in FOLDERS if environment.get(name)}
    environment |= {name: str(Path(folder).expanduser().resolve()) for name, folder in given.items()}
    environment["JUPYTER_PATH"] = os.pathsep.join([str(scratch / "jupyter"), os.environ.get("JUPYTER_PATH", "")])
    return environment | {"IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime")}


def without_folders(value: Any, folders: Sequence[str]) -> Any:
    """Nested lists, dicts and texts with these absolute paths cut to their last part: pages are read by others."""
    if isinstance(value, dict):
        return {name: without_folders(part, folders) for name, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part, folders) for part in value]
    if isinstance(value, str):
        for folder in sorted(set(folders) - {"/"}, key=len, reverse=True):
            inside = rf"(?<![\w.~+=/-]){re.escape(folder)}"  # not within another path, an address or base64
            value = re.sub(inside, lambda _, name=Path(folder).name: name, value)
    return value


def _problem(executed: Mapping, words: str) -> str:
    """Why the output must not be taken, in one line; empty if it may be. words: the process's own, of its failure."""
    cells = _cells(executed)
    for place, cell in cells:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return f"{place}: {output['ename']}: {_first_line(''.join(output['evalue']))}"
    if words:
        return f"{_reached(executed) or 'before its first cell'}: {words}"
    for place, cell in cells:
        if cell["cell_type"] == "code" and cell["source"].strip() and cell.get("execution_count") is None:
            return f"{place}: was not executed"
    return "" if cells else "Papermill wrote no output"


def _cells(notebook: Mapping) -> list[tuple[str, dict]]:
    """Each cell with its place, "cell 3 (x = 1)", as the notebook was written: without those that Papermill put in."""
    cells = [cell for cell in notebook.get("cells", ()) if not OURS & set(tags(cell))]
    return [(f"cell {n} ({_first_line(cell['source'], 60)})", cell) for n, cell in enumerate(cells, start=1)]


def _reached(notebook: Mapping) -> str:
    """The place of the last cell that was begun; empty where the kernel never started."""
    states = [(place, cell["metadata"].get("papermill", {}).get("status")) for place, cell in _cells(notebook)]
    return next((place for place, state in reversed(states) if state in BEGUN), "")


def _first_line(text: str, longest: int = 300) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _papermill(source: str, output: str, folder: str, parameters: str) -> None:
    """Papermill, with the kernel running in `folder`. It writes the output at every cell, to show how far it came."""
    import papermill

    source, output = (path.replace("{", "{{").replace("}", "}}") for path in (source, output))  # it formats them
    options = {"kernel_name": "python3", "language": "python", "start_timeout": START_TIMEOUT, "progress_bar": False}
    papermill.execute_notebook(source, output, json.loads(parameters), cwd=folder, **options)


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock would be held at exit
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _papermill(*sys.argv[1:])
