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
from itertools import chain
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
DATA = (*PIXELS, "views", "train_images")
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
        chosen = tune_networks(first.values(), seconds, device_type(), workers, progress)
        settings = {name: {field: getattr(spec, field) for field in SETTINGS} for name, (spec, _) in chosen.items()}
        write_settings(study, store, device_name(), settings)
    else:
        settings = dict.fromkeys(first, safe_settings()) | read_settings(study, store)
        settled = {name: settle(spec, settings[name]) for name, spec in first.items()}
        speeds = measured(settled.values(), workers, progress)
        chosen = {name: _fastest([spec], speeds, seconds) for name, spec in settled.items()}
    runs = [seconds(spec, chosen[shape(spec)][1]) for spec in specs]
    return Plan(
        study=study.name,
        device=device_name(),
        workers=workers,
        images=images[having(specs[0], DATA)],
        networks=_networks(specs, runs, chosen),
        runs=runs,
        cache_bytes=cache_bytes,
        store_bytes=sum(spec.keep * 4 * parameters(architecture(spec.arch), spec.minus, spec.norm) for spec in specs),
    )


def settle(spec: RunSpec, settings: dict[str, str]) -> RunSpec:
    """The spec with these settings where it leaves them open."""
    return replace(spec.resolve("measured", settings), fingerprint="", weights="")


def tune_networks(
    specs: Iterable[RunSpec], seconds: Callable[[RunSpec, Speed], float], device: str, workers: int, progress: bool
) -> dict[str, tuple[RunSpec, Speed]]:
    """Each network in its fastest settings, and how fast it is in them, by `shape`.

    Settings that cannot be had here, or whose first losses leave the reference's by more than 2 %, are left out.
    `seconds` says how long a run of a spec takes at a speed. Raises UserError where the reference cannot be had.
    """
    networks = {shape(spec): spec for spec in specs}
    pairs = [
        {"precision": precision, "memory_format": layout} for precision in PRECISIONS[device] for layout in FORMATS
    ]
    tried = {name: [settle(spec, pair) for pair in pairs] for name, spec in networks.items()}
    speeds = measured(chain(*tried.values()), workers, progress)
    best = {name: _fastest(candidates, speeds, seconds) for name, candidates in tried.items()}
    long = (name for name in best if networks[name].execution == "auto" and seconds(*best[name]) > COMPILING_PAYS)
    compiled = {name: replace(best[name][0], execution="compiled") for name in long}
    speeds |= measured(compiled.values(), workers, progress)
    return best | {name: _fastest([*tried[name], spec], speeds, seconds) for name, spec in compiled.items()}


def _fastest(
    candidates: list[RunSpec], speeds: dict[str, Speed | UserError], seconds: Callable[[RunSpec, Speed], float]
) -> tuple[RunSpec, Speed]:
    """Of those that agree with the first; UserError where that one cannot be had."""
    reference, *others = ((spec, speeds[spec.to_json()]) for spec in candidates)
    if isinstance(reference[1], UserError):
        raise reference[1]
    right = [found for found in others if not isinstance(found[1], UserError) and found[1].agrees(reference[1])]
    return min([reference, *right], key=lambda found: seconds(*found))


def measured(specs: Iterable[RunSpec], workers: int, progress: bool) -> dict[str, Speed | UserError]:
    """How fast each distinct spec trains, or what is in its way, by its JSON."""
    texts = list(dict.fromkeys(spec.to_json() for spec in specs))
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
            images["train"] = min(images["train"], spec.train_images or images["train"])
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


def _networks(specs: list[RunSpec], runs: list[float], chosen: Mapping[str, tuple[RunSpec, Speed]]) -> pd.DataFrame:
    """Plan.networks."""
    longest = pd.Series(runs).groupby([shape(spec) for spec in specs]).agg(["size", "max"])
    rows = [
        {
            "network": architecture(spec.arch).label(spec.minus, spec.norm),
            "px": spec.size,
            "runs": longest.loc[name, "size"],
            "precision": spec.precision,
            "memory format": spec.memory_format,
            "execution": spec.execution,
            "images/s": speed.images_per_second,
            "seconds": longest.loc[name, "max"],
            "MB": speed.memory_mb,
        }
        for name, (spec, speed) in chosen.items()
    ]
    return pd.DataFrame(rows)


def _size(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"
