"""What a cluster's node does for a study: it says whether it can train, and with what settings, and it trains.

Nothing here knows of Ray: these functions are sent to the nodes by chexlib.study.cluster.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import chexlib
from chexlib.data.dataset import open_for
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.study.launch import train_one

SHARED = "must lie on storage that every node sees at the same path"


def versions() -> dict[str, str]:
    """What nodes must have in common for a study's numbers to be of one kind."""
    return {"chexlib": chexlib.__version__} | {name: version(name) for name in ("torch", "timm", "numpy")}


def trouble(expected: dict[str, str], root: str | None, seen: str = "") -> str:
    """What is wrong with this node, or nothing: other versions than expected, no data, no sight of the file `seen`."""
    for name, here in versions().items():
        if here != expected[name]:
            return f"has {name} {here}, where the study was started {expected[name]}: install one environment on all"
    if root and not Path(root).exists():
        return f"has no {root}: --data {SHARED}"
    if seen and not Path(seen).exists():
        return f"does not see {Path(seen).parent}: the run store (--runs or CHEXLIB_RUNS) {SHARED}"
    return ""


def train(spec_json: str, root: str | None, folder: str, expected: dict[str, str], where: str) -> str:
    """Trains a resolved spec into the store `folder`, with `where` as working folder; returns what was wrong, or ""."""
    name = f"node {socket.gethostname()}"
    if wrong := trouble(expected, root):  # it has joined after the others were asked
        return f"{name} {wrong}"
    with suppress(OSError):
        os.chdir(where)  # which an init's file may be relative to
    spec = RunSpec.from_json(spec_json)
    try:
        if open_for(spec, root, progress=False).fingerprint != spec.fingerprint:
            return f"{name} has other data than the study was planned with: --data {SHARED}"
    except UserError as error:
        return f"{name}: {error}"
    return train_one(spec_json, root, Path(folder))
