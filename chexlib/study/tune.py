"""Which settings train a network fastest on this device, and right: each is measured in a few steps.

Each measurement has a process of its own, and as many run at once as the study's runs would, so that they share the
machine as those will.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import chain, product
from typing import TYPE_CHECKING

from tqdm import tqdm

from chexlib.errors import UserError
from chexlib.runs.spec import SETTINGS, RunSpec
from chexlib.study.plan import shape
from chexlib.study.processes import fresh_processes

if TYPE_CHECKING:
    from chexlib.training.timing import Speed

PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16")}
FORMATS = ("contiguous", "channels_last")
"""What is tried on a device, each with each, uncompiled. With the first of both, every other has to agree."""

COMPILING_PAYS = 1200.0
"""Seconds of a run from which on compiling its network, which takes minutes on a CPU, is worth a try."""


def settle(spec: RunSpec, settings: dict[str, str]) -> RunSpec:
    """The spec with these settings where it leaves them open."""
    return replace(spec.resolve("measured", settings), fingerprint="", weights="")


def tune(
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
