"""The run store: a flat folder with one folder a run. A run is finished when done.json is there.

Every file is written beside its place and renamed, so a killed process leaves the old file or the new one, never half
of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chexlib.errors import UserError
from chexlib.runs.spec import LATER, RunSpec


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes the file whole or not at all. Raises UserError where the disk is full or the folder cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{path}: {error.strerror}: free some space or choose another folder with CHEXLIB_RUNS"
        ) from None


@dataclass(frozen=True)
class Run:
    """One run's folder: spec.json, log.jsonl, checkpoints/, predictions.parquet, provenance.json, done.json."""

    folder: Path

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        return (self.folder / "done.json").exists()

    @property
    def locked(self) -> bool:
        """Whether a process is training it now."""
        try:
            with open(self.folder / ".lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def spec(self) -> RunSpec:
        return RunSpec.make(LATER | self._json("spec.json"))

    @property
    def provenance(self) -> dict:
        return self._json("provenance.json")

    def log(self) -> list[dict]:
        """One dict an evaluation, in order; empty before the first."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def predictions(self) -> pd.DataFrame:
        """One row an image of val and test (DESIGN: predictions.parquet)."""
        return pd.read_parquet(self.folder / "predictions.parquet")

    def write(self, name: str, content: bytes | str) -> None:
        write_atomically(self.folder / name, content)

    @contextmanager
    def lock(self, wait: bool = False):
        """One process at a time; the lock dies with its owner.

        Where another process holds it, raises UserError, or says so and waits for it if `wait`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as file:
            if not (_take(file) or time.sleep(0.1) or _take(file)):  # `locked` takes it for a moment
                taken = f"{self.folder}: another process is training this run"
                if not wait:
                    raise UserError(f"{taken}: wait for it or stop it")
                print(f"{taken}: waiting for it", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            for partial in self.folder.rglob(".*.[0-9]*"):  # what a killed owner was writing
                partial.unlink()
            yield

    def _json(self, name: str) -> dict:
        try:
            return json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            raise UserError(f"{self.folder / name}: no such file: has the run been trained?") from None
        except json.JSONDecodeError:
            raise UserError(
                f"{self.folder / name}: not readable as JSON: remove {self.folder} and train it again"
            ) from None


def _take(file) -> bool:
    """Locks an open file, and says whether that could be done at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class RunStore:
    """A folder of runs, shared by studies, and the lists of which runs each study consists of (<study>.study.json)."""

    folder: Path

    @classmethod
    def open(cls, folder: str | Path | None = None) -> RunStore:
        """The store in `folder`, else in CHEXLIB_RUNS, else in runs/ of the project (or of the working directory)."""
        return cls(Path(folder or os.environ.get("CHEXLIB_RUNS") or project_folder() / "runs").expanduser())

    def run(self, spec: RunSpec) -> Run:
        """The run of a resolved spec, whether it has been trained or not."""
        return Run(self.folder / spec.run_id)

    def plan(self, study: str, specs: Iterable[RunSpec]) -> list[Run]:
        """Notes which runs the study consists of, and returns them."""
        runs = [self.run(spec) for spec in specs]
        write_atomically(
            self.folder / f"{study}.study.json",
            json.dumps({"study": study, "runs": [run.run_id for run in runs]}, indent=1),
        )
        return runs

    def planned(self, study: str) -> list[Run]:
        """The study's runs as last planned here, finished or not; empty where it never was."""
        path = self.folder / f"{study}.study.json"
        return [Run(self.folder / run_id) for run_id in json.loads(path.read_text())["runs"]] if path.exists() else []


def project_folder() -> Path:
    """The project that the working directory lies in, else this package's, else the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2]):
        if (folder / "_toc.yml").exists() and (folder / "notebooks").is_dir():
            return folder
    return Path.cwd()
