"""What training twice gives: how far predictions move when nothing changes, or only what a run is computed with.

Read from results/determinism.json, which `benchmarks/determinism.py` writes: for each network and change the greatest
and the median absolute difference between two runs' test probabilities, and the difference of their mean AUCs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from chexlib.models import architecture
from chexlib.paper.notes import Note
from chexlib.paper.shown import Tables
from chexlib.paper.wording import counted, listed
from chexlib.runs.store import project_folder

SAME = "the same again"
"""The change that is none: the same spec, trained twice."""


def differences(path: Path | None = None) -> pd.DataFrame:
    """One row a network and change: arch, change, largest, median, auc_test.

    Empty where nobody has measured them.
    """
    path = path or project_folder() / "results" / "determinism.json"
    return pd.DataFrame(json.loads(path.read_text())["rows"] if path.exists() else [])


def table(path: Path | None = None) -> Tables | Note:
    """The differences, one row a network and change; for display."""
    found = differences(path)
    if found.empty:
        return Note("")  # the sentence says why
    shown = {
        "Changed": found["change"],
        "Probability, greatest difference": found["largest"].map(_short),
        "Probability, median difference": found["median"].map(_short),
        "Mean AUC, difference": found["auc_test"].abs().map(_short),
    }
    return Tables({"": pd.DataFrame(shown).set_index(pd.Index(_labels(found))).rename_axis(columns="Network")})


def sentence(path: Path | None = None) -> Note:
    """Whether the same training gives the same numbers, and how far other ways of computing it move them."""
    found = differences(path)
    if found.empty:
        return Note(
            "How far two trainings of one spec lie apart has not been measured: `python -m benchmarks.determinism "
            "--publish` trains networks twice and writes `results/determinism.json`, and this page then says what "
            "came out."
        )
    again = found[found["change"] == SAME]
    exact = again["largest"] == 0
    text = f"Trained twice with nothing changed, {len(again[exact])} of {counted(len(again), 'network')} give the same "
    text += "predictions to the last bit"
    if not exact.all():
        text += f" ({listed(_labels(again[~exact]))} {'does' if (~exact).sum() == 1 else 'do'} not)"
    moved = [
        f"{change}, by {_short(rows['largest'].max())} in a probability and "
        f"{_short(rows['auc_test'].abs().max())} in the mean AUC"
        for change, rows in found[found["change"] != SAME].groupby("change", sort=False)
    ]
    text += f". Computed in another way they move: {'; '.join(moved)} at most" if moved else ""
    return Note(f"{text}.")


def _labels(found: pd.DataFrame) -> list[str]:
    return [architecture(name).label(0) for name in found["arch"]]


def _short(value: float) -> str:
    """0, 0.012 or 1.5e−07."""
    return f"{value:.2g}".replace("-", "−")
