"""The command `study plan`: how long a study will take here and on more devices, and how much disk it needs.

Each network is trained for a few steps on made-up images; no image of the data is read, as the label files say how
many there are. Tuning measures it in every precision and memory layout that the study leaves open. Each measurement has
a process of its own, and as many run at once as the study's runs would, so that they share the machine as those will.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from chexlib.data.dataset import VIEWS
from chexlib.data.listing import SPLITS
from chexlib.data.sources import find_source, read_listing
from chexlib.errors import UserError
from chexlib.models import architecture
from chexlib.models.truncate import parameters
from chexlib.runs.spec import SETTINGS, RunSpec
from chexlib.runs.store import RunStore
from chexlib.study.one import default_workers, fresh_processes
from chexlib.study.status import duration
from chexlib.study.study import Study, having, read_settings, safe_settings, shape, write_settings

if TYPE_CHECKING:
    from chexlib.training.timing import Speed

DEVICES = (2, 4, 8, 16)
PIXELS = ("dataset", "options", "size")
DATA = (*PIXELS, "views")
"""Fields of a spec that decide which images are packed, and which of them it takes."""

PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16")}
FORMATS = ("contiguous", "channels_last")
"""What is tried on a device, each with each, uncompiled. With the first of both, every other has to agree."""

COMPILING_PAYS = 1200.0
"""Seconds of a run from which on compiling its network, which takes minutes on a CPU, is worth a try."""

NAMES = ("training", "validation", "test")
Images = Mapping[str, int]  # by split


@dataclass(frozen=True, eq=False)
class Plan:
    """What a study will take.

    `networks` has a row a network: network, px, runs, precision, memory format, execution, images/s, seconds (a run)
    and MB (of memory). `runs` are the seconds of every run, from its beginning.
    """

    study: str
    device: str
    workers: int  # runs at once on it
    images: Images
    networks: pd.DataFrame
    runs: list[float]
    cache_bytes: int
    store_bytes: int

    def seconds(self, devices: int = 1) -> float:
        """Until the last run has ended, on so many devices like this one; the longest begin first."""
        busy = [0.0] * (devices * self.workers)
        for seconds in sorted(self.runs, reverse=True):
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)

    def text(self) -> str:
        """For a terminal."""
        shown = self.networks.assign(**{"one run": self.networks["seconds"].map(duration)}).drop(columns="seconds")
        table = shown.to_string(index=False, formatters={"images/s": "{:.1f}".format})
        counts = [f"{self.images[split]:,} {name}" for split, name in zip(SPLITS, NAMES, strict=True)]
        more = [f"{duration(self.seconds(n))} on {n} of them" for n in DEVICES if n * self.workers < 2 * len(self.runs)]
        return "\n".join(
            (
                table,
                f"study {self.study}: {len(self.runs)} runs on {', '.join(counts)} images",
                f"time: {duration(self.seconds())} on this device ({self.device}, {self.workers} at once)"
                + "".join(f", {text}" for text in more),
                f"disk: {_size(self.cache_bytes)} for packed images, {_size(self.store_bytes)} for runs",
            )
        )


def plan_study(
    study: Study,
    root: str | Path | None = None,
    store: RunStore | None = None,
    tune: bool = False,
    progress: bool = True,
) -> Plan:
    """Measures the study's networks, each in its settings; with `tune` in all that its specs leave open.

    What tuning finds is kept in the store, for the study's runs. Raises UserError where the data cannot be listed, and
    where a network cannot be trained here.
    """
    from chexlib.training.device import device_name, device_type

    store, specs = store or RunStore.open(), study.specs()
    workers, (images, cache_bytes) = default_workers(specs), _data_of(specs, root, progress)
    first: dict[str, RunSpec] = {}
    for spec in specs:
        first.setdefault(shape(spec), spec)

    def seconds(spec: RunSpec, speed: Speed) -> float:
        return _seconds(spec, speed, images[having(spec, DATA)])

    if tune:
        settings, speeds = tune_networks(first.values(), seconds, device_type(), workers, progress)
        write_settings(study, store, device_name(), settings)
    else:
        settings = dict.fromkeys(first, safe_settings()) | read_settings(study, store)
        speeds = measured((settle(spec, settings[name]) for name, spec in first.items()), workers, progress)
        for problem in speeds.values():
            if isinstance(problem, UserError):
                raise problem
    settled = {name: settle(spec, settings[name]) for name, spec in first.items()}
    runs = [seconds(spec, speeds[settled[shape(spec)].to_json()]) for spec in specs]
    return Plan(
        study.name,
        device_name(),
        workers,
        images[having(specs[0], DATA)],
        _networks(specs, settled, speeds, runs),
        runs,
        cache_bytes,
        sum(_bytes(spec) for spec in specs),
    )


def settle(spec: RunSpec, settings: dict[str, str]) -> RunSpec:
    """The spec with these settings where it leaves them open."""
    return replace(spec.resolve("measured", settings), fingerprint="", weights="")


def tune_networks(
    specs: Iterable[RunSpec], seconds: Callable[[RunSpec, Speed], float], device: str, workers: int, progress: bool
) -> tuple[dict[str, dict[str, str]], dict[str, Speed]]:
    """The fastest settings of each network, by `shape`, and all speeds that were measured, by a spec's JSON.

    Settings that cannot be had here, or whose first losses leave the reference's by more than 2 %, are left out.
    `seconds` says how long a run of a spec takes at a speed. Raises UserError where the reference cannot be had.
    """
    networks = {shape(spec): spec for spec in specs}
    pairs = list(product(PRECISIONS[device], FORMATS))
    tried = {
        name: [settle(spec, {"precision": precision, "memory_format": layout}) for precision, layout in pairs]
        for name, spec in networks.items()
    }
    speeds = measured(chain(*tried.values()), workers, progress)
    best = {name: _fastest(candidates, speeds, seconds) for name, candidates in tried.items()}
    for name, spec in networks.items():
        if spec.execution == "auto" and seconds(best[name], speeds[best[name].to_json()]) > COMPILING_PAYS:
            tried[name].append(replace(best[name], execution="compiled"))
    speeds |= measured((candidates[-1] for candidates in tried.values()), workers, progress, known=speeds)
    best = {name: _fastest(candidates, speeds, seconds) for name, candidates in tried.items()}
    settings = {name: {field: getattr(spec, field) for field in SETTINGS} for name, spec in best.items()}
    return settings, {text: speed for text, speed in speeds.items() if not isinstance(speed, UserError)}


def _fastest(candidates: list[RunSpec], speeds: dict[str, Speed | UserError], seconds: Callable) -> RunSpec:
    reference = speeds[candidates[0].to_json()]
    if isinstance(reference, UserError):
        raise reference
    found = ((spec, speeds[spec.to_json()]) for spec in candidates)
    right = [spec for spec, speed in found if not isinstance(speed, UserError) and speed.agrees(reference)]
    return min(right, key=lambda spec: seconds(spec, speeds[spec.to_json()]))


def measured(
    specs: Iterable[RunSpec], workers: int, progress: bool, known: Iterable[str] = ()
) -> dict[str, Speed | UserError]:
    """How fast each distinct spec trains, or what is in its way, by its JSON; without those that are known."""
    texts = list(dict.fromkeys(text for spec in specs if (text := spec.to_json()) not in known))
    with fresh_processes(workers) as pool, tqdm(total=len(texts), desc="measuring", disable=not progress) as bar:
        futures = {text: pool.submit(_measure, text) for text in texts}
        found = {}
        for text, future in futures.items():
            try:
                found[text] = future.result()
            except BrokenProcessPool:
                raise UserError("a process died while it was measured: out of memory?") from None
            bar.update(1)
    return found


def _measure(text: str) -> Speed | UserError:
    from chexlib.training.timing import time_steps

    try:
        return time_steps(RunSpec.from_json(text))
    except UserError as error:
        return error


def _data_of(specs: list[RunSpec], root: str | Path | None, progress: bool) -> tuple[dict[str, Images], int]:
    """How many images each of a study's data sets has, from its label files, and the bytes of all when packed."""
    found, packed = {}, {}
    for spec in specs:
        if having(spec, DATA) not in found:
            source, folder = find_source(spec.dataset, root)
            _, listing = read_listing(source, folder, spec.size, progress, **spec.options)
            listing.refuse()
            splits = listing.table.loc[listing.table["view"].isin(VIEWS[spec.views]), "split"].value_counts()
            images = found[having(spec, DATA)] = {split: int(splits.get(split, 0)) for split in SPLITS}
            packed[having(spec, PIXELS)] = len(listing.table) * spec.size**2
            if not images["train"]:
                raise UserError(f"{folder}: no training images under views={spec.views!r}: choose other views")
    return found, sum(packed.values())


def _seconds(spec: RunSpec, speed: Speed, images: Images) -> float:
    """Of one run from its beginning, its teacher's included: learning, evaluating, and the ensemble's predictions."""
    per_epoch = max(images["train"] // spec.batch_size, 1) * spec.batch_size
    evaluations = math.ceil(spec.epochs * per_epoch / spec.images_between_evaluations(per_epoch))
    predicted = evaluations * images["val"] + min(spec.keep, evaluations) * (images["val"] + images["test"])
    learning = spec.epochs * per_epoch / (speed.images_per_second * spec.processes)
    once = speed.start_seconds + learning + predicted / (speed.predicted_per_second * spec.processes)
    return once * (2 if spec.teacher else 1)


def _bytes(spec: RunSpec) -> int:
    """What a finished run's kept weights take."""
    return spec.keep * 4 * parameters(architecture(spec.arch), spec.minus)


def _networks(
    specs: list[RunSpec], settled: Mapping[str, RunSpec], speeds: Mapping[str, Speed], runs: list[float]
) -> pd.DataFrame:
    rows = []
    for name, spec in settled.items():
        speed = speeds[spec.to_json()]
        theirs = [seconds for other, seconds in zip(specs, runs, strict=True) if shape(other) == name]
        rows.append(
            {
                "network": architecture(spec.arch).label(spec.minus),
                "px": spec.size,
                "runs": len(theirs),
                "precision": spec.precision,
                "memory format": spec.memory_format,
                "execution": spec.execution,
                "images/s": speed.images_per_second,
                "seconds": max(theirs),
                "MB": speed.memory_mb,
            }
        )
    return pd.DataFrame(rows)


def _size(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"
