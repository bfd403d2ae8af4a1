"""What this process may use of the machine that it runs on."""

from __future__ import annotations

import os


def cores() -> int:
    """How many cores this process may use: those that it was given, where the system says so (macOS does not)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
