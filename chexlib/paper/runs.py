"""A study's finished runs one by one, from what each left behind: how it went, what it took, what made it.

A run says what it knows: those from before a fact was written down, and published ones, lack some, which are left out.
Nothing here is of single images, so that it can be shown whatever a data set's terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chexlib.data.labels import TASKS
from chexlib.data.sources import SOURCES
from chexlib.paper import protocol
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.points import DEVIATES, SILENT, Training
from chexlib.paper.wording import INIT_NAMES, counted, listed, number, with_interval
from chexlib.results.export import without_folders
from chexlib.runs.spec import RunSpec
from chexlib.study.status import duration


@dataclass(frozen=True, eq=False)
class Told:
    """What a run tells: E evaluations, and facts as texts. `row` is its line in the table of runs, `facts` its card."""

    run_id: str
    title: str
    epochs: np.ndarray  # (E,)
    loss: np.ndarray  # (E,), mean since the evaluation before, NaN where not known
    auc: Mapping[str, np.ndarray]  # (E,) on validation, of "mean" and of each task, NaN where a class is missing
    chosen: np.ndarray  # (E,) bool: in the ensemble
    row: Mapping[str, str]
    facts: Mapping[str, str]


def told(results: Any) -> list[Told]:
    """The study's finished runs, in its order."""
    mean = results.bootstrap.select([results.all_tasks.index(task) for task in results.tasks])
    tested = [with_interval(*three) for three in zip(mean.mean, *mean.mean_interval(), strict=True)]
    return [
        _told(run, training, about, auc)
        for run, training, about, auc in zip(
            results.finished, protocol.trainings(results), results.runs.itertuples(), tested, strict=True
        )
    ]


def _told(run: Any, training: Training, about: Any, test_auc: str) -> Told:
    spec, made, log = training.spec, training.provenance, run.log()
    auc = {"mean": _column(log, "auc")} | {task: _column(log, f"auc:{task}") for task in TASKS}
    best = number(np.nanmax(auc["mean"])) if np.isfinite(auc["mean"]).any() else ""
    seconds = made.get("seconds") or (log[-1].get("seconds") if log else None)
    weights = INIT_NAMES.get(spec.init, _without_folder(spec.init))
    row = {
        "Weights": weights.removesuffix(" weights"),
        "Seed": str(spec.seed),
        "Test AUC (95 % interval)": test_auc,
        "Best validation AUC": best,
        "Time": duration(seconds) if seconds else "",
        "Images/s": _text(made.get("images_per_second"), "{:,.0f}"),
        "Memory (MB)": _text(made.get("peak_memory_mb"), "{:,.0f}"),
        "Device": made.get("device", ""),
    }
    ensemble = made.get("ensemble", [])
    facts = {
        "Run": shown_id(run.run_id, spec),
        "Network": f"{about.label} ({about.family}), {about.parameters:,} parameters",
        "Weights": _weights(spec, made.get("weights")),
        **_departures(training),
        "Computed": _computed(spec, made),
        "Took": _joined(
            row["Time"],
            row["Images/s"] and f"{row['Images/s']} images a second",
            row["Memory (MB)"] and f"at most {row['Memory (MB)']} MB of memory",
        ),
        "Interrupted": _interrupted(made.get("resumed")),
        "Images": _images(spec, made),
        "Normalised by": _normalised(made.get("normalisation")),
        "Decoder": made.get("decoder", ""),
        "Labels from": made.get("teacher") or "",
        "Ensemble": f"the checkpoints after {listed([f'{n:,}' for n in ensemble])} images" if ensemble else "",
        "Validation AUC": _joined(best and f"{best} at the best evaluation", _of_ensemble(run.scores().get("val"))),
        "Test AUC": test_auc,
        "Code": _code(made),
    }
    return Told(
        run_id=shown_id(run.run_id, spec),
        title=f"{about.label}, {weights}, seed {spec.seed}",
        epochs=_column(log, "epoch"),
        loss=_column(log, "loss"),
        auc=auc,
        chosen=np.isin([row["images"] for row in log], ensemble),
        row={"Model": about.label} | row,
        facts={name: text for name, text in facts.items() if text},
    )


@skips_missing
def cost(results: Any) -> Note:
    """What the study's runs took together."""
    made = [run.provenance for run in results.finished]
    seconds = [one["seconds"] for one in made if "seconds" in one]
    if not seconds:
        return Note("The runs at hand do not say how long they took.")
    devices = sorted({one["device"] for one in made if "device" in one})
    memory = max((one["peak_memory_mb"] for one in made if "peak_memory_mb" in one), default=0)
    resumed = sum(bool(one.get("resumed")) for one in made)
    text = (
        f"{counted(len(seconds), 'run')} took {duration(sum(seconds))} of training together, the quickest "
        f"{duration(min(seconds))} and the slowest {duration(max(seconds))}"
    )
    text += f", on {listed(devices)}" if devices else ""
    text += f"; none held more than {memory:,} MB of memory" if memory else ""
    text += f". {counted(resumed, 'run')} went on after an interruption" if resumed else ""
    missing = len(results.missing)
    text += f". {counted(missing, 'run')} of the study, not finished, {_are(missing)} not shown" if missing else ""
    return Note(f"{text}.")


def shown_id(run_id: str, spec: RunSpec) -> str:
    """The run's name without the folder in which a file of weights lies on somebody's machine."""
    folder = spec.init.removesuffix(_without_folder(spec.init).removeprefix("file:")).removeprefix("file:")
    return run_id.replace(re.sub(r"[^\w-]", "_", folder), "", 1) if spec.init.startswith("file:") else run_id


def _without_folder(text: str) -> str:
    return f"file:{Path(text).name}" if text.startswith("file:") else text


def _column(log: list[dict], name: str) -> np.ndarray:
    """(E,) floats, NaN where an evaluation has none."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in log], dtype=float)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _weights(spec: RunSpec, source: Mapping | None) -> str:
    """Where the weights came from, with the file's hash and licence; random ones come from the seed."""
    name = INIT_NAMES.get(spec.init, _without_folder(spec.init))
    if not source:
        return f"{name}, drawn from seed {spec.seed}" if spec.init == "random" else name
    return _joined(
        f"{name}: {source['tag']}" if source.get("tag") else name,
        source.get("origin") and f"from {source['origin']}",
        source.get("file") and f"file {source['file']}",
        source.get("sha256") and f"SHA-256 {source['sha256']}",
        source.get("licence") and f"licence {source['licence']}",
    )


def _departures(training: Training) -> dict[str, str]:
    """Where the run departs from the paper, and from our choices where the paper is silent."""
    rows = [row for row in protocol.held([training]) if row.differs]
    marks = {"Unlike the paper": DEVIATES, "Unlike our choice": SILENT}
    return {
        title: _joined(*(f"{row.name}: {row.text}" for row in rows if row.mark == mark))
        for title, mark in marks.items()
    }


def _computed(spec: RunSpec, made: Mapping) -> str:
    settings = [spec.precision, spec.memory_format.replace("_", " "), spec.execution]
    parts = [made.get("device", ""), *settings, counted(spec.threads, "thread")]
    parts += [counted(spec.processes, "process", "processes")] * (spec.processes > 1)
    return ", ".join(part for part in parts if part and part != "auto")


def _interrupted(times: int | None) -> str:
    if times is None:
        return ""
    return f"{counted(times, 'time')}, and went on" if times else "never"


def _images(spec: RunSpec, made: Mapping) -> str:
    data = made.get("data", {})
    return _joined(
        SOURCES[spec.dataset].title,
        _text(data.get("images"), "{:,} in all splits"),
        ", ".join(f"{name} {value}" for name, value in without_folders(spec).options.items()),
        f"fingerprint {spec.fingerprint}",
        data.get("attribution", "").rstrip("."),
    )


def _normalised(by: Mapping | None) -> str:
    if not by:
        return ""
    mean, std = (", ".join(f"{value:.3f}" for value in by[name]) for name in ("mean", "std"))
    return f"mean {mean}; standard deviation {std}"


def _of_ensemble(scores: Mapping | None) -> str:
    found = (scores or {}).get("auc")
    return "" if found is None else f"{number(found)} of the ensemble"


def _code(made: Mapping) -> str:
    versions = {"chexlib": made.get("chexlib"), "Python": made.get("python"), **made.get("packages", {})}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)
