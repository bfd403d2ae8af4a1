"""The run store: a flat folder with one folder a run, and in it the table of predictions that all analysis reads.

A run is finished when done.json is there, which holds the SHA-256 of every other file: what disks and copying have
changed since is refused when it is read. Every file is written beside its place and renamed, so a killed process leaves
the old file or the new one, never half of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.labels import parse_policy
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec

IDS = ("split", "image", "study", "patient", "view", "sex", "age")
"""What is known of an image, in predictions.parquet; then come its labels and a run's predictions."""

DONE = "done.json"
"""The file that makes a run finished."""

CHECKED = ("[!.]*.*", "checkpoints/images*.safetensors")
"""The files of a finished run whose hashes are in done.json, but for itself: not TensorBoard's."""

GREW = 1.5
"""How many times the loss that a training began with, or that of guessing, is too much at its end."""

ELSEWHERE = "free some space or choose another folder with CHEXLIB_RUNS"


def write_atomically(path: Path, content: bytes | str, elsewhere: str = ELSEWHERE) -> None:
    """Writes the file whole or not at all. Raises UserError, with `elsewhere` as what to do, where it cannot be."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # each container has a process 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: {elsewhere}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)  # still there where writing failed, or was interrupted


def _sync_folder(folder: Path) -> None:
    """So that a machine that loses its power keeps names in the order of writing: done.json never without the rest."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Run:
    """One run's folder: spec.json, log.jsonl, checkpoints/, predictions.parquet, provenance.json, done.json; and
    looks.safetensors, where its data set has enough images."""

    folder: Path

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        return (self.folder / DONE).exists()

    @property
    def locked(self) -> bool:
        """Whether a process is training it now."""
        with suppress(FileNotFoundError), open(self.folder / ".lock") as file:
            return not _take(file, fcntl.LOCK_SH)
        return False

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def spec(self) -> RunSpec:
        return RunSpec.make(self._json("spec.json"))

    @property
    def provenance(self) -> dict:
        return self._json("provenance.json")

    @property
    def learned_findings(self) -> bool:
        """Whether these are among its targets."""
        return "findings" in self.spec.targets

    def need_findings(self) -> None:
        """Raises UserError where it learned none."""
        if not self.learned_findings:
            what = ", ".join(self.spec.targets)
            raise UserError(f"{self.folder}: learned {what} and no findings: choose a run with findings in its targets")

    def log(self, event: str = "eval") -> list[dict]:
        """One dict an evaluation, in order; for event "ensemble", a finished run's AUCs, a dict each of val and test.

        Empty before the first. Raises UserError where it cannot be read.
        """
        if not (self.folder / "log.jsonl").exists():
            return []
        content = self.read("log.jsonl")
        try:
            rows = [json.loads(line) for line in content.splitlines()]
        except ValueError:  # no JSON, or no text
            raise self._damaged("log.jsonl", "not readable as lines of JSON") from None
        if not all(isinstance(row, dict) and "event" in row for row in rows) or not rows:
            raise self._damaged("log.jsonl", "not the lines that were written")
        return [row for row in rows if row["event"] == event]

    def diverged(self) -> str:
        """What is wrong where the loss grew, however well the training ended; empty where it did not.

        That is a mean training loss of the last epoch far above the first that was logged, or, where findings alone are
        learned, above that of guessing. The AUC margin loss, a maximum over alpha, can grow while a network learns.
        """
        rows = [row for row in self.log() if "loss" in row]
        if not rows or self.spec.loss == "auc":
            return ""
        last = np.mean([row["loss"] for row in rows if row["epoch"] > rows[-1]["epoch"] - 1])
        targets, first = self.spec.targets, rows[0]["loss"]
        guessed = np.log(max(2, parse_policy(self.spec.policy).classes)) * targets.get("findings", 0)
        guessed = guessed if list(targets) == ["findings"] else first
        if last <= GREW * min(first, guessed):
            return ""
        before = f"from {first:.3g} at first, with {guessed:.2g} for a guess"
        return f"{self.run_id}: the training loss grew to {last:.3g} ({before}): lower its lr, {self.spec.lr:g}"

    def write_log(self, rows: Iterable[dict]) -> None:
        self.write("log.jsonl", log_lines(rows))

    def predictions(self) -> pd.DataFrame:
        """One row an image of val and test: IDS, labels, probabilities. Raises UserError where it cannot be read."""
        content = self.read("predictions.parquet")
        try:
            return pd.read_parquet(io.BytesIO(content))
        except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
            raise self._damaged("predictions.parquet", f"not readable ({error})") from None

    def write(self, name: str, content: bytes | str) -> None:
        write_atomically(self.folder / name, content)

    def read(self, name: str) -> bytes:
        """A file's content. Raises UserError where it is missing, or, of a finished run, not what was written."""
        hashes = self.hashes if name != DONE else {}  # before the content, which a run that ends now writes first
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise UserError(f"{self.folder / name}: no such file: has the run been trained?") from None
        if hashes and hashes.get(name) != hashlib.sha256(content).hexdigest():
            raise self._damaged(name, "not what was written")
        return content

    def finish(self, **facts: str) -> None:
        """Writes done.json, last of all: these facts, and the SHA-256 of each file, by which `read` knows them."""
        paths = [path for pattern in CHECKED for path in sorted(self.folder.glob(pattern)) if path.name != DONE]
        hashes = {path.relative_to(self.folder).as_posix(): _sha256(path) for path in paths if path.is_file()}
        self.write(DONE, json.dumps({**facts, "sha256": hashes}, indent=1))

    @property
    def done(self) -> dict:
        """What a finished run's done.json says."""
        return self._json(DONE)

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file of a finished run, by its name; {} of others, and of those that older code made."""
        hashes = self.done.get("sha256", {}) if self.finished else {}
        if not isinstance(hashes, dict):
            raise self._damaged(DONE, "not what was written")
        return hashes

    def damaged(self) -> list[str]:
        """Which files of a finished run are missing, or not what was written. Reads them all."""
        return [name for name, sha256 in self.hashes.items() if _sha256(self.folder / name) != sha256]

    @contextmanager
    def lock(self, wait: bool = False):
        """One process at a time; the lock dies with its owner.

        Where another process holds it, raises UserError, or says so and waits for it if `wait`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.folder / ".lock", "w")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise UserError(f"{self.folder}: {error.strerror}: {ELSEWHERE}") from None
        with file:
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
        content = self.read(name)
        try:
            content = json.loads(content)
        except ValueError:  # no JSON, or no text
            content = None
        if not isinstance(content, dict):
            raise self._damaged(name, "not readable as JSON")
        return content

    def _damaged(self, name: str, how: str) -> UserError:
        """What training writes again when it goes on costs nothing; a finished run is never opened again."""
        todo = f"remove {self.folder} and train it again" if self.finished else "train the run on, which writes it anew"
        return UserError(f"{self.folder / name}: {how}: {todo}")


def _sha256(path: Path) -> str:
    """Of a file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _take(file, how: int = fcntl.LOCK_EX) -> bool:
    """Locks an open file, and says whether that could be done at once."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
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

    def find(self, name: str | Path) -> Run:
        """The finished run in a folder, or of that run_id here. Raises UserError where there is none."""
        folder = Path(name).expanduser()
        run = Run((folder if (folder / "spec.json").is_file() else self.folder / name).resolve())
        if not (run.folder / "spec.json").is_file():
            inside = folder if folder.is_dir() else self.folder
            known = sorted(path.parent.name for path in inside.glob("*/spec.json"))
            if not known:
                raise UserError(f"{name}: no run, and {inside} holds none: give a run's folder, or --runs and its name")
            near = get_close_matches(Path(name).name, known, n=3)
            raise UserError(f"{name}: no run; {inside} holds {len(known)}, among them {', '.join(near or known[:3])}")
        if not run.finished:
            raise UserError(f"{run.folder}: its training is not finished: train it on, then give this command again")
        return run

    def plan(self, study: str, run_ids: Iterable[str], files: Iterable[str] = ()) -> list[Run]:
        """Notes which runs the study consists of, and returns them; and the SHA-256 of these files of the store.

        What is there already is not written again: the store of a finished study may be read-only.
        """
        runs = [Run(self.folder / run_id) for run_id in run_ids]
        content = {"study": study, "runs": [run.run_id for run in runs]}
        if hashes := {name: _sha256(self.folder / name) for name in files}:
            content["sha256"] = hashes
        path, text = self.folder / f"{study}.study.json", json.dumps(content, indent=1)
        if not (path.exists() and path.read_bytes() == text.encode()):
            write_atomically(path, text)
        return runs

    def planned(self, study: str) -> list[Run]:
        """The study's runs as last planned here, finished or not; empty where it never was."""
        return [Run(self.folder / run_id) for run_id in self._list(study)["runs"]]

    def damaged(self, study: str) -> list[str]:
        """Which of the files that `plan` noted are missing, or not what they were."""
        hashes = self._list(study).get("sha256", {})
        return [name for name, sha256 in hashes.items() if _sha256(self.folder / name) != sha256]

    def _list(self, study: str) -> dict:
        path = self.folder / f"{study}.study.json"
        try:
            content = json.loads(path.read_text())
            if all(isinstance(run_id, str) for run_id in content["runs"]) and isinstance(content, dict):
                return content
        except FileNotFoundError:
            return {"runs": []}
        except (ValueError, TypeError, KeyError):
            pass
        raise UserError(f"{path}: damaged: the same chexlib study run writes it anew")


def log_lines(rows: Iterable[dict]) -> str:
    """Rows as log.jsonl has them."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def predictions_table(
    ids: pd.DataFrame, findings: tuple[str, ...], y: np.ndarray, known: np.ndarray, p: np.ndarray
) -> pd.DataFrame:
    """`ids` (N rows), then `y:<finding>` (NaN where unknown) and `p:<finding>`; y, known and p are (N, T)."""
    table = ids[list(IDS)].reset_index(drop=True)
    y = np.where(known > 0, y, np.nan)
    columns = {f"y:{finding}": y[:, t].astype(np.float32) for t, finding in enumerate(findings)}
    columns |= {f"p:{finding}": p[:, t].astype(np.float32) for t, finding in enumerate(findings)}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def by_study(
    table: pd.DataFrame, findings: tuple[str, ...], aggregate: str = "max"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y (S, T), p (S, T) and patients (S,) of S studies; `aggregate` is max or mean.

    A study scores its views' maximum, as CheXpert does it (Irvin et al. 2019, section 4), or their mean. Labels repeat
    on a study's images, so their maximum is the label itself.
    """
    studies = table.groupby("study", sort=True)
    y = studies[[f"y:{finding}" for finding in findings]].max()  # NaN only where every view is unknown
    p = studies[[f"p:{finding}" for finding in findings]].agg(aggregate)
    return y.to_numpy(dtype=float), p.to_numpy(dtype=float), studies["patient"].first().to_numpy()


def project_folder() -> Path:
    """The project that the working directory lies in, else this package's, else the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2]):
        if (folder / "_toc.yml").exists() and (folder / "notebooks").is_dir():
            return folder
    return Path.cwd()
