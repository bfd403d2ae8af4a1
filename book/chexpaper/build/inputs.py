"""What an executed notebook depends on, as one hash an ingredient, and the record of them beside its output.

An output is current while its record names the same hashes as now, and the output is the very file that the record was
written for. A data set's images are no ingredient: what the notebooks read of them is in the runs, whose names hold the
data's fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import chexlib
import chexpaper
from chexlib.runs.store import RunStore, write_atomically
from chexpaper.build.execute import read_notebook, tags


def shared_inputs(project: Path, study: Path, runs: str | None, data: str | None) -> dict[str, str]:
    """The hashes of what all notebooks share.

    study: the study's YAML file. runs: the run store, None for the usual one. data: the data set's folder.
    """
    return {
        "chexlib": _files(Path(chexlib.__file__).parent),
        "chexpaper": _files(Path(chexpaper.__file__).parent),
        "python and requirements.lock": _sha(sys.version, _files(project, ["requirements.lock"])),
        "the study": _files(study.parent, [study.name]),
        "runs": _sha(*_finished_runs(study.stem, runs)),
        "results": _files(project / "results"),
        "data": _sha(*_listing(data)),
    }


def notebook_inputs(path: Path, parameters: Mapping) -> dict[str, str]:
    """The hashes of one notebook's own: its cells as they are written, without outputs, and its parameters."""
    cells = read_notebook(path)["cells"]
    written = [[cell["cell_type"], cell["source"], tags(cell), cell.get("attachments")] for cell in cells]
    return {"the notebook": _sha(json.dumps(written)), "parameters": _sha(repr(sorted(parameters.items())))}


def why_not_current(output: Path, inputs: Mapping[str, str]) -> str:
    """Why the output does not stand for these inputs, for people; empty where it does."""
    try:
        record = json.loads(record_of(output).read_text())
        edited = record["output"] != _sha(output.read_bytes())
        changed = [name for name, value in inputs.items() if record["inputs"].get(name) != value]
    except (OSError, ValueError, KeyError):
        return "not executed yet"
    if edited:
        return "its output was edited"
    return f"{', '.join(changed)} changed" if changed else ""


def write_record(output: Path, inputs: Mapping[str, str], seconds: float) -> None:
    """Says beside the output, last of all, what it was made from."""
    record = {"inputs": dict(inputs), "output": _sha(output.read_bytes()), "seconds": round(seconds, 2)}
    write_atomically(record_of(output), json.dumps(record, indent=1) + "\n")


def record_of(output: Path) -> Path:
    """Where the output's record lies."""
    return output.with_suffix(".json")


def _finished_runs(study: str, runs: str | None) -> Iterable[str]:
    """The names of the study's finished runs, each with what was written when it finished."""
    if runs == "results":  # the published runs, which are hashed as `results`
        return
    for run in RunStore.open(runs).planned(study):
        if run.finished:
            yield f"{run.run_id} {_files(run.folder, ['done.json', 'provenance.json'])}"


def _listing(data: str | None) -> Iterable[str]:
    """Names, sizes and times of the files right inside the data set's folder: its tables, not its many images."""
    for path in sorted(Path(data).iterdir()) if data else ():
        if path.is_file():
            yield f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}"


def _files(folder: Path, names: Iterable[str] | None = None) -> str:
    """One hash of the names and contents of these files, or of all below the folder; absent ones are left out."""
    paths = sorted(folder.rglob("*")) if names is None else [folder / name for name in names]
    parts: list[str | bytes] = []
    for path in paths:
        if path.is_file() and "__pycache__" not in path.parts:
            parts += [str(path.relative_to(folder)), path.read_bytes()]
    return _sha(*parts)


def _sha(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each with its length, so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()
