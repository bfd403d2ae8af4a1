"""The book: executed notebooks and prose to static HTML, with warnings as errors, and skipped when nothing has changed.

Jupyter Book does the work, in a process of its own. What determines the pages (configuration, contents, prose,
executed notebooks, assets, the builder's version) is hashed; the hash lies beside the HTML, and the same hash means
the same book.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

from sphinx_external_toc.parsing import parse_toc_yaml

from chexlib.errors import UserError
from chexlib.runs.store import project_folder, write_atomically
from chexpaper.build.notebooks import folder_lock, record_of, sha, sha_of_files

BUILDERS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme", "sphinxcontrib-bibtex")
FREE = "free some space"
AGAIN = "run `chexlib notebooks run` again"


def build(source: Path | str | None = None) -> Path:
    """Render the book of a project folder into its _build/html, and give the path of its index.html.

    `source` holds _config.yml, _toc.yml and book/ with book/executed/ (default: the project that the working folder
    lies in). Raises UserError where the book's files or an executed notebook are missing, where a notebook holds an
    error, where Jupyter Book warns, where the disk is full, and where another process builds this book.
    """
    source = (Path(source) if source else project_folder()).resolve()
    if not all((source / part).exists() for part in ("_config.yml", "_toc.yml", "book")):
        raise UserError(f"no book in {source} (_config.yml, _toc.yml and book/): run this in a clone of the project")
    check_executed(source)
    try:
        with folder_lock(source / "_build", "building the book"):
            return _built(source, source / "_build")
    except OSError as error:
        raise UserError(f"{source / '_build'}: {error.strerror or error}: {FREE}") from None


def _built(source: Path, out: Path) -> Path:
    """The path of the index, built where it is not current."""
    index, stamp, log, key = out / "html" / "index.html", out / "book.key", out / "book.log", key_of(source)
    if index.exists() and stamp.exists() and stamp.read_text() == key:
        return index
    stamp.unlink(missing_ok=True)
    for stale in ("html", ".doctrees"):  # Sphinx does not know which pages glue a number
        shutil.rmtree(out / stale, ignore_errors=True)
    verb = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command = [*verb, str(source), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if done.returncode or not index.exists():
        write_atomically(log, done.stdout + done.stderr, FREE)
        first = re.search(r"\S.*(WARNING|ERROR|Error).*", done.stderr) or ["no message"]
        raise UserError(f"the book did not build: {first[0]} (all of it is in {log})")
    write_atomically(stamp, key, FREE)
    return index


def check_executed(source: Path) -> None:
    """Raise UserError unless every notebook of the contents was executed, to its end, without error, for one study."""
    files = [file for file in parse_toc_yaml(source / "_toc.yml") if file.startswith("book/executed/")]
    paths = [source / f"{file}.ipynb" for file in files]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is missing: run `chexlib notebooks run` (or `make book`) first")
        try:
            cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        except (ValueError, KeyError):
            raise UserError(f"{path} is not a notebook: delete it and {AGAIN}") from None
        if any(output["output_type"] == "error" for cell in cells for output in cell["outputs"]):
            raise UserError(f"{path} holds an error: {AGAIN}, and mend what it reports")
        if any(cell["execution_count"] is None and "".join(cell["source"]).strip() for cell in cells):
            raise UserError(f"{path} has cells that were not executed: {AGAIN}")

    recorded = [path for path in paths if record_of(path).exists()]
    if recorded and recorded != paths:  # without any record, all were run by hand
        failed = next(path for path in paths if path not in recorded)
        raise UserError(f"{failed} is left from before a failed execution: {AGAIN}")
    if len({json.loads(record_of(path).read_text())["inputs"]["the study"] for path in recorded}) > 1:
        folder = paths[0].parent
        raise UserError(f"{folder} holds pages of two studies: run `chexlib notebooks run --study STUDY` for one")


def key_of(source: Path) -> str:
    """A hash of everything that determines the book's pages."""
    versions = [f"{package} {version(package)}" for package in BUILDERS]
    patterns = ("_*.yml", "book/*.*", "book/_*/**/*", "book/cluster/*", "book/executed/*.ipynb")
    return sha(*versions, *(sha_of_files(source, pattern) for pattern in patterns))


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
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()
