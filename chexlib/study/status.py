"""How far a study is: a row a run, from what the run store holds; nothing is trained or asked of a running process."""

from __future__ import annotations

import pandas as pd

from chexlib.errors import UserError
from chexlib.runs.store import Run, RunStore

COLUMNS = ("state", "epochs", "val AUC", "images/s", "left")


def study_status(study: str, store: RunStore) -> pd.DataFrame:
    """One row a run of the study as last planned, indexed by run_id.

    state is finished, running, stopped (begun, and no process at work on it) or waiting; epochs those done of those
    planned; val AUC the best mean so far; left the time that the rest takes at the pace so far. Text, "" where
    not known yet. Raises UserError where the study was never planned in this store.
    """
    runs = store.planned(study)
    if not runs:
        raise UserError(f'study {study} was never planned in {store.folder}: run "chexlib study run {study}"')
    return pd.DataFrame([_row(run) for run in runs], index=[run.run_id for run in runs], columns=list(COLUMNS))


def verify(study: str, store: RunStore) -> str:
    """Reads every file of the study's finished runs again; says, for a terminal, how many are as they were written.

    Raises UserError, naming the first, where one is missing or is not.
    """
    finished = [run for run in store.planned(study) if run.finished]
    wrong = [store.folder / name for name in store.damaged(study)]
    wrong += [run.folder / name for run in finished for name in run.damaged()]
    if wrong:
        others = f", as are {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}: missing, or not what was written{others}: copy it again, or remove its run")
    old = sum(not run.hashes for run in finished)
    unknown = f"; of {old}, finished by older code, nothing is known" if old else ""
    return f"{len(finished) - old} finished runs are as they were written{unknown}"


def _row(run: Run) -> dict[str, str]:
    log = run.log()
    state = "finished" if run.finished else "running" if run.locked else "stopped" if log else "waiting"
    if not log:
        return {"state": state} | dict.fromkeys(COLUMNS[1:], "")
    last, planned = log[-1], run.spec.epochs
    aucs = [row["auc"] for row in log if row["auc"] is not None]
    left = last["seconds"] / last["epoch"] * (planned - last["epoch"])
    return {
        "state": state,
        "epochs": f"{last['epoch']:.1f} of {planned}",
        "val AUC": f"{max(aucs):.3f}" if aucs else "",
        "images/s": f"{last['images'] / last['seconds']:.0f}" if last["seconds"] else "",
        "left": "" if run.finished else duration(left),
    }


def duration(seconds: float) -> str:
    """As 1 h 05 min, 12 min or 40 s."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min"


def text(table: pd.DataFrame, store: RunStore) -> str:
    """The table for a terminal, and under it whose loss grew, and how many runs are in which state."""
    counts = table["state"].value_counts()
    others = "".join(f", {counts[state]} {state}" for state in ("running", "stopped", "waiting") if state in counts)
    grown = [line for run_id in table.index if (line := Run(store.folder / run_id).diverged())]
    last = f"{counts.get('finished', 0)} of {len(table)} runs finished{others} in {store.folder}"
    return "\n".join([table.to_string(), *grown, last])
