"""Executes one notebook with Papermill in a process of its own, and says in one line why it failed.

A process a notebook, because Papermill changes the working directory of the whole process. The kernel is this very
interpreter, whatever kernels are installed, and writes nothing into the user's home. The process ends with its parent,
and the kernel with the process.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import chexlib
import chexpaper
from chexlib.machine import cores

START_TIMEOUT = 60  # seconds for a kernel to start; a slow or unlucky start is tried once more
INJECTED = ("injected-parameters", "remove-cell")  # Papermill's tag, and the book's for a cell that it leaves out
ERROR_MARKER = "papermill-error-cell-tag"  # on the notes that Papermill puts into a failed notebook
BEGUN = ("running", "completed", "failed")  # what Papermill calls a cell that is no longer pending
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FOLDERS = ("CHEXLIB_RUNS", "CHEXLIB_CACHE", "CHEXLIB_WEIGHTS")


class NotebookProcess:
    """A notebook being executed. Poll `ended`; then `problem` is empty, or says why `executed` is no good."""

    def __init__(self, source: Path, parameters: Mapping, scratch: Path, environment: Mapping, timeout: float):
        self.source, self.environment, self.timeout = source, environment, timeout
        self.began = time.monotonic()
        self._input, self._output = scratch / f"{source.stem}.input.ipynb", scratch / source.name
        self._stderr = scratch / f"{source.stem}.stderr"
        self._input.write_text(json.dumps(inject(read_notebook(source), parameters)), encoding="utf-8")
        self._attempts = 0
        self._timed_out = False
        self._start()

    def ended(self) -> bool:
        """Whether it has ended, for good or ill. A kernel that did not start is started once more."""
        if self._process.poll() is None:
            self._timed_out = time.monotonic() - self.began > self.timeout
            if self._timed_out:
                self.stop()
            return self._timed_out
        self._process.stdin.close()
        if self._process.returncode and self._attempts == 1 and not _reached(self._read()):
            self._start()
            return False
        return True

    def stop(self) -> None:
        """Ends it at once; its kernel notices, and ends within a second or two."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    @cached_property
    def executed(self) -> dict:
        """The notebook with its outputs, as it goes into the book; empty where there is none."""
        notebook = self._read()
        if notebook:  # name the file, not the place where it lay while it was made
            paths = {"input_path": self.source.name, "output_path": self.source.name}
            notebook["metadata"].setdefault("papermill", {}).update(paths)
        return notebook

    @cached_property
    def problem(self) -> str:
        """Why the output must not be taken, in one line with the cell's number and first line; empty if it may be."""
        cells = _numbered_cells(self.executed)
        for number, cell in cells:
            for output in cell.get("outputs", ()):
                if output["output_type"] == "error":
                    return f"{_place(number, cell)}: {output['ename']}: {_first_line(''.join(output['evalue']))}"
        where = _reached(self.executed) or "before its first cell"
        if self._timed_out:
            return f"{where}: not done after {self.timeout:.0f} s: make it shorter, or give it a longer timeout"
        if self._process.returncode:
            return f"{where}: {self._last_words()}"
        for number, cell in cells:
            if cell["cell_type"] == "code" and cell["source"].strip() and cell.get("execution_count") is None:
                return f"{_place(number, cell)}: was not executed"
        return "" if cells else "Papermill wrote no output"

    def _start(self) -> None:
        self._attempts += 1
        command = [sys.executable, "-m", "chexpaper.build.execute", self._input, self._output, self.source.parent]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        with open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(command, stderr=stderr, env=dict(self.environment), **pipes)

    def _read(self) -> dict:
        try:
            return read_notebook(self._output)
        except (OSError, ValueError):  # not written, or killed while writing
            return {}

    def _last_words(self) -> str:
        lines = self._stderr.read_text(errors="replace").strip().splitlines()
        if not lines or "DeadKernelError" in lines[-1]:
            return "its process died: was it killed, or out of memory?"
        return _first_line(lines[-1])


def read_notebook(path: Path) -> dict:
    """The notebook's JSON, each cell's source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def tags(cell: Mapping) -> list[str]:
    """The cell's tags, none where it has none."""
    return cell.get("metadata", {}).get("tags", [])


def inject(notebook: dict, parameters: Mapping) -> dict:
    """The notebook with a cell that sets these after its `parameters` cell. Tuples stay tuples; the book omits it."""
    source = "\n".join(["# Parameters", *(f"{name} = {_literal(value)}" for name, value in parameters.items())])
    cell = {"cell_type": "code", "source": source, "metadata": {"tags": list(INJECTED)}}
    cell |= {"outputs": [], "execution_count": None}
    if notebook.get("nbformat_minor", 0) >= 5:
        cell["id"] = INJECTED[0]
    cells = [c for c in notebook["cells"] if INJECTED[0] not in tags(c)]
    after = next(i for i, c in enumerate(cells) if "parameters" in tags(c)) + 1
    return {**notebook, "cells": [*cells[:after], cell, *cells[after:]]}


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


def install_kernel(scratch: Path) -> None:
    """Describes a kernel python3 that is this interpreter, where `kernel_environment` lets Jupyter find it first."""
    from ipykernel.kernelspec import write_kernel_spec

    (scratch / "jupyter" / "kernels").mkdir(parents=True)
    write_kernel_spec(scratch / "jupyter" / "kernels" / "python3")


def kernel_environment(scratch: Path, jobs: int) -> dict[str, str]:
    """The notebooks' environment: that kernel, this chexlib, a share of the cores, absolute paths, no stray files."""
    environment = dict(os.environ)
    environment.pop("MPLBACKEND", None)  # the kernel's own draws into the notebook
    for name in THREADS:
        environment.setdefault(name, str(max(1, cores() // jobs)))
    for name in FOLDERS:
        if environment.get(name):
            environment[name] = str(Path(environment[name]).expanduser().resolve())
    _put_first(environment, "JUPYTER_PATH", scratch / "jupyter")
    for package in (chexpaper, chexlib):
        code = Path(package.__file__).resolve().parents[1]
        if code != Path(sysconfig.get_path("purelib")).resolve():  # an installed package is found anyway
            _put_first(environment, "PYTHONPATH", code)
    return environment | {"IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime")}


def _put_first(environment: dict[str, str], name: str, folder: Path) -> None:
    environment[name] = os.pathsep.join(filter(None, [str(folder), environment.get(name)]))


def _literal(value) -> str:
    """The value as Python source."""
    return f"float('{value}')" if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _numbered_cells(notebook: Mapping) -> list[tuple[int, dict]]:
    """The cells with their numbers in the notebook as it was written, without those that Papermill or we put in."""
    ours = [cell for cell in notebook.get("cells", ()) if not {ERROR_MARKER, INJECTED[0]} & set(tags(cell))]
    return list(enumerate(ours, start=1))


def _reached(notebook: Mapping) -> str:
    """The place of the last cell that was begun; empty where the kernel never started."""
    status = {number: cell["metadata"].get("papermill", {}).get("status") for number, cell in _numbered_cells(notebook)}
    begun = [_place(number, cell) for number, cell in _numbered_cells(notebook) if status[number] in BEGUN]
    return begun[-1] if begun else ""


def _place(number: int, cell: Mapping) -> str:
    return f"cell {number} ({_first_line(cell['source'], 60)})"


def _first_line(text: str, longest: int = 300) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _end_with_parent() -> None:
    """Ends this process when its standard input closes, which happens however the parent ends."""

    def wait():
        os.read(0, 1)  # not sys.stdin, whose lock would be held at exit
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _execute(source: str, output: str, folder: str) -> None:
    """Papermill, with the kernel running in `folder`. It writes the output at every cell, to show how far it came."""
    import papermill

    source, output = (path.replace("{", "{{").replace("}", "}}") for path in (source, output))  # it formats them
    options = {"kernel_name": "python3", "language": "python", "start_timeout": START_TIMEOUT, "progress_bar": False}
    papermill.execute_notebook(source, output, cwd=folder, **options)


if __name__ == "__main__":
    _end_with_parent()
    _execute(*sys.argv[1:])
