"""One comparison: ours and a peer in one process, warmed up, the median of several repeats, and how far they agree.

Prints a line for people and appends a JSON object to `benchmarks/results.jsonl` with the keys name, ours_seconds,
peer, peer_seconds, ratio (peer / ours), agree (largest difference between the two answers), work and machine.
"""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from chexlib.machine import cores

RESULTS = Path(__file__).with_name("results.jsonl")


def compare(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    peer_name: str,
    work: str,
    repeats: int = 5,
    peer_repeats: int | None = None,
    share: float = 1.0,
    agree: Callable[[Any, Any], float] | None = None,
    before: Callable[[], Any] = lambda: None,
    warm: bool = True,
) -> dict[str, Any]:
    """Time two callables that answer the same question, alternating, and record the comparison.

    share: the part of the work that the peer is given, where all of it would take minutes; its seconds are divided
    by it, and `peer` says that they are extrapolated. agree: the largest difference between the answers of ours and
    of the peer; by default both are arrays of one shape. before: called before each timed call, and not timed. warm:
    call both once before, which work of minutes does not need.
    """
    peer_repeats = peer_repeats or repeats
    if warm:
        ours(), peer()
    ours_seconds, peer_seconds = [], []
    for repeat in range(max(repeats, peer_repeats)):
        if repeat < repeats:
            before()
            our_answer, taken = timed(ours)
            ours_seconds.append(taken)
        if repeat < peer_repeats:
            before()
            peer_answer, taken = timed(peer)
            peer_seconds.append(taken / share)
    row = {
        "name": name,
        "ours_seconds": median(ours_seconds),
        "peer": peer_name + ("" if share == 1 else f" (extrapolated from {share:.3%} of the work)"),
        "peer_seconds": median(peer_seconds),
        "ratio": median(peer_seconds) / median(ours_seconds),
        "agree": float((agree or largest_difference)(our_answer, peer_answer)),
        "work": work,
        "machine": machine(),
    }
    record(row)
    print(
        f"{name}: {row['ours_seconds']:.3g} s against {row['peer_seconds']:.3g} s of {row['peer']}: "
        f"{_readable(row['ratio'])} times, equal within {row['agree']:.1g} ({work}; {row['machine']})",
        flush=True,
    )
    return row


def record(row: dict[str, Any]) -> None:
    """Appends what was measured to the results."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _readable(ratio: float) -> str:
    """Three figures without an exponent."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What one call gives, and its wall-clock seconds."""
    start = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - start


def largest_difference(a: Any, b: Any) -> float:
    """The largest absolute difference of two arrays; a NaN in one alone counts as infinite."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    return float(np.nanmax(np.abs(a - b), initial=0.0))


def machine() -> str:
    """The processor's name where the system tells it, and how many cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {cores()} cores"
