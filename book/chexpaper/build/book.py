"""The book: executed notebooks and prose to static HTML, with warnings as errors, and skipped when nothing has changed.

Jupyter Book does the work, in a process of its own. What determines the pages (configuration, contents, prose,
executed notebooks, assets, the builder's version) is hashed; the hash lies beside the HTML, and the same hash means
the same book.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import yaml

from chexlib.errors import UserError
from chexlib.runs.store import project_folder
from chexpaper.build.inputs import record_of

BUILDERS = (
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "pydata-sphinx-theme",
    "sphinxcontrib-bibtex",
)


def build(out: Path | str | None = None, source: Path | str | None = None) -> Path:
    """Render the book of the project folder `source` below `out`/_build/html, and give the path of its index.html.

    `source` holds _config.yml, _toc.yml and book/ with book/executed/ (default: the project
    that the working folder lies in); `out` defaults to `source`. Raises UserError where the book's files or an
    executed notebook are missing, where a notebook holds an error, and where Jupyter Book warns.
    """
    source = _project(source)
    out = source if out is None else Path(out).resolve()
    check_executed(source)
    html, stamp = out / "_build" / "html", out / "_build" / "book.key"
    index, key = html / "index.html", key_of(source)
    if index.exists() and stamp.exists() and stamp.read_text() == key:
        return index
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    shutil.rmtree(out / "_build" / ".doctrees", ignore_errors=True)  # Sphinx does not know which pages glue a number
    out.mkdir(parents=True, exist_ok=True)
    verb = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command = [*verb, source, "--path-output", out, "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(list(map(str, command)), cwd=source, capture_output=True, text=True)
    if done.returncode or not index.exists():
        log = out / "_build" / "book.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout + done.stderr)
        raise UserError(f"the book did not build: {_first_complaint(done.stderr)} (all of it is in {log})")
    stamp.write_text(key)
    return index


def _project(source: Path | str | None) -> Path:
    """The folder with _config.yml, _toc.yml and book/."""
    folder = Path(source) if source else project_folder()
    if not all((folder / part).exists() for part in ("_config.yml", "_toc.yml", "book")):
        raise UserError(f"no book in {folder} (_config.yml, _toc.yml and book/): run this in a clone of the project")
    return folder.resolve()


def check_executed(source: Path) -> None:
    """Raise UserError unless every notebook of the contents was executed, to its end, without error, for one study."""
    chapters = _chapters(yaml.safe_load((source / "_toc.yml").read_text()))
    paths = [source / f"{file}.ipynb" for file in chapters if file.startswith("book/executed/")]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is missing: run `chexlib notebooks run --study demo` (or `make book`) first")
        try:
            cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        except (ValueError, KeyError):
            raise UserError(f"{path} is not a notebook: delete it and run `chexlib notebooks run` again") from None
        if any(output["output_type"] == "error" for cell in cells for output in cell["outputs"]):
            raise UserError(f"{path} holds an error: run `chexlib notebooks run` again, and mend what it reports")
        if any(cell["execution_count"] is None and "".join(cell["source"]).strip() for cell in cells):
            raise UserError(f"{path} has cells that were not executed: run `chexlib notebooks run` again")

    _check_records(paths)


def _check_records(paths: list[Path]) -> None:
    """Refuse pages of two studies, and a page whose last execution failed; without any record, all were run by hand."""
    records = {path: record_of(path) for path in paths}
    if not any(record.exists() for record in records.values()):
        return
    studies = set()
    for path, record in records.items():
        if not record.exists():
            raise UserError(f"{path} is left from before a failed execution: run `chexlib notebooks run` again")
        studies.add(json.loads(record.read_text())["inputs"]["the study"])
    if len(studies) > 1:
        raise UserError(
            f"{paths[0].parent} holds pages of two studies: run `chexlib notebooks run --study STUDY` for one"
        )


def _chapters(toc) -> list[str]:
    """Every file named in a table of contents, in order."""
    if isinstance(toc, list):
        return [file for entry in toc for file in _chapters(entry)]
    if isinstance(toc, dict):
        own = [toc[name] for name in ("root", "file") if name in toc]
        return own + [file for name in ("parts", "chapters", "sections") for file in _chapters(toc.get(name, []))]
    return []


def key_of(source: Path) -> str:
    """A hash of everything that determines the book's pages."""
    digest = hashlib.sha256()
    for package in BUILDERS:
        digest.update(f"{package} {version(package)}\n".encode())
    for path in [source / "_config.yml", source / "_toc.yml", *sorted((source / "book").rglob("*"))]:
        if path.is_file() and _is_source(path.relative_to(source)):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(source).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    """Whether a file below the project can change a page: not caches, and of executed/ the notebooks alone."""
    if {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
        return False
    return path.parts[:2] != ("book", "executed") or path.suffix == ".ipynb"


def _first_complaint(log: str) -> str:
    """The first warning or error of Sphinx's log, on one line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if "WARNING" in line or "ERROR" in line or "Error" in line]
    return (telling or lines or ["no message"])[0]


def serve(port: int = 8000) -> None:
    """Serve the built book on this machine only, until interrupted; built first where it has changed."""
    if not 0 <= port <= 65535:
        raise UserError(f"port {port}: choose 0 to 65535 with --port")
    index = build()
    handler = partial(SimpleHTTPRequestHandler, directory=str(index.parent))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror}; choose another with --port") from None
    print(f"the book is at http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
