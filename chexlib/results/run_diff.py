"""In what two runs differ, and how far their predictions lie apart: `chexlib diff`.

What differs is read off spec.json and provenance.json; times and memory are left out, as they differ always.
Predictions are compared on the test images that both have, those of a study combined as each run's spec says: paired
differences of AUROC, the mean distance of probabilities, and their rank correlation. Beside each stands what a seed
alone does: the same between finished runs, in the two runs' folders and the store, that differ from one of the two in
nothing else. Runs that share no test image are compared by AUROC alone, and not in pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from glob import escape
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from chexlib.data.labels import FINDINGS
from chexlib.escape import records
from chexlib.results.held_out import HeldOut, is_closed
from chexlib.runs.store import Run, RunStore, by_study
from chexlib.stats import auroc, bca_interval, percentile_interval, seed_spreads, spearman
from chexlib.stats.bootstrap import mean_over_tasks
from chexlib.stats.intervals import FEW, TAILS
from chexlib.study.study import flat_fields

KINDS = {
    "fingerprint": "data", "data": "data", "normalisation": "data", "weights": "data",
    "numerics": "version", "chexlib": "version", "packages": "version", "python": "version", "decoder": "version",
    "device": "processor", "processor": "processor",
    "ensemble": "training",
}  # fmt: skip
"""What an entry of provenance.json, or a field, is about; other fields are choices, and the rest is not compared."""

MEAN, ALONE = "mean", "The runs are not compared in pairs, but each on its own test images"
COLUMNS = ["auroc_a", "auroc_b", "difference", "low", "high", "seeds_difference"]
COLUMNS += ["distance", "seeds_distance", "correlation", "seeds_correlation"]


@dataclass(frozen=True, eq=False)
class RunDiff:
    """Two runs, `a` and `b`.

    differs: a row an entry that differs: kind (field, data, version, processor, training), name, a, b. table: a row a
    finding, "mean" last, over those that are not rare: finding, auroc_a, auroc_b, difference (a less b), low, high (95
    %, patients drawn anew), seeds_difference (within which 95 % of differences between two trainings lie that differ in
    the seed alone), distance (mean absolute difference of probabilities), correlation (Spearman's, of probabilities),
    and seeds_distance and seeds_correlation, the means of these over pairs of such trainings; NaN where unknown. notes:
    what was compared, and what was left out and why.
    """

    a: Run
    b: Run
    differs: pd.DataFrame
    table: pd.DataFrame
    notes: tuple[str, ...]

    def text(self) -> str:
        """For a terminal."""
        parts = [f"a: {self.a.folder}\nb: {self.b.folder}"]
        parts.append(
            self.differs.to_string(index=False, justify="left")
            if len(self.differs)
            else "Fields, data, versions and processor are the same."
        )
        if len(self.table):
            rows = self.table
            shown = pd.DataFrame({
                "finding": rows["finding"],
                "AUROC a": rows["auroc_a"].map(_three),
                "AUROC b": rows["auroc_b"].map(_three),
                "a less b": [_signed(row) for row in rows.itertuples()],
                "seeds alone": rows["seeds_difference"].map(lambda value: "" if np.isnan(value) else f"±{value:.3f}"),
                "distance": rows["distance"].map(_three),
                "of seeds": rows["seeds_distance"].map(_three),
                "correlation": rows["correlation"].map(_three),
                "of  seeds": rows["seeds_correlation"].map(_three),
            })  # fmt: skip
            parts.append(shown.to_string(index=False))
            parts.append(
                "a less b: with its 95 % interval over patients. Distance: mean absolute difference of probabilities.\n"
                "Correlation: Spearman's, of probabilities. Beside each the same of runs that differ in the seed alone."
            )
        return "\n\n".join([*parts, *self.notes])

    def to_json(self) -> dict:
        """What `--json` prints; numbers as they were computed, None where there is none."""
        tables = {"differs": records(self.differs), "predictions": records(self.table)}
        return {"a": str(self.a.folder), "b": str(self.b.folder), **tables, "notes": list(self.notes)}


def diff_runs(a: str | Path, b: str | Path, store: RunStore | None = None, n_boot: int = 1000) -> RunDiff:
    """Compares two finished runs, each a folder or a run_id in the store. Raises UserError where one is not there."""
    store = store or RunStore.open()
    a, b = store.find(a), store.find(b)
    table, notes = _predictions(a, b, store, n_boot)
    return RunDiff(a, b, _differs(a, b), table, tuple(notes))


def _differs(a: Run, b: Run) -> pd.DataFrame:
    """RunDiff.differs."""
    rows = []
    for of_a, of_b in ((flat_fields(a.spec), flat_fields(b.spec)), (_made_by(a), _made_by(b))):
        for name in of_a | of_b:
            values = of_a.get(name), of_b.get(name)
            if values[0] != values[1]:
                words = ("-" if value is None else str(value) for value in values)
                rows.append((KINDS.get(name.split(".")[0], "field"), name, *words))
    return pd.DataFrame(rows, columns=["kind", "name", "a", "b"])


def _made_by(run: Run) -> dict[str, object]:
    """Of provenance.json what KINDS lists and the spec does not say, an entry a value."""
    flat = {}
    for name, value in run.provenance.items():
        if name in KINDS and name not in asdict(run.spec):
            flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _predictions(a: Run, b: Run, store: RunStore, n_boot: int) -> tuple[pd.DataFrame, list[str]]:
    """RunDiff.table and notes."""
    tables = [_tested(run) for run in (a, b)]
    findings = tuple(f for f in FINDINGS if all(f"{kind}:{f}" in table for kind in "yp" for table in tables))
    if not findings:
        both = a.learned_findings and b.learned_findings
        why = "the data set's terms keep those of one run back" if both else "one of the runs learned no findings"
        return pd.DataFrame(), [f"Predictions are not compared: {why}."]
    findings, common, notes = _comparable(tables, findings)
    if len(common):
        held = [_held_out((a, b), [table.loc[common] for table in tables], findings)]
        notes.append(f"Compared on {held[0].n_studies:,} test studies of {held[0].n_patients:,} patients.")
    else:
        held = [_held_out((run,), [table], findings) for run, table in zip((a, b), tables, strict=True)]
    rows = _areas(held, n_boot)
    if len(common):
        rows["distance"], rows["correlation"] = _apart(*held[0].scores)
    _add_seeds(rows, a, b, store, notes)
    kept = _in_mean(rows)
    if few := [f"{row.Index} ({row.rarer:.0f})" for row in rows[~kept].drop(index=MEAN).itertuples()]:
        notes.append(f"Not in the mean, as a class has fewer than {FEW} studies: {', '.join(few)}.")
    for name in ("distance", "correlation", "seeds_distance", "seeds_correlation"):
        rows.loc[MEAN, name] = rows.loc[kept, name].mean()
    return rows.rename_axis("finding").reset_index()[["finding", *COLUMNS]], notes


def _tested(run: Run) -> pd.DataFrame:
    return run.predictions().query("split == 'test'").set_index("image", drop=False)


def _comparable(
    tables: Sequence[pd.DataFrame], findings: tuple[str, ...]
) -> tuple[tuple[str, ...], pd.Index, list[str]]:
    """The findings that can be compared, the test images that both runs have (none, where they only share names), and
    notes on what cannot."""
    a, b = tables
    common = a.index.intersection(b.index)
    if not len(common):
        return findings, common, [f"{ALONE}: they have no test image in common."]
    notes = []
    if len(common) < max(len(a), len(b)):
        notes.append(f"Of a's {len(a):,} test images and b's {len(b):,} the {len(common):,} that both have.")
    of_a, of_b = (table.loc[common, [f"y:{finding}" for finding in findings]] for table in tables)
    conflict = (of_a.notna() & of_b.notna() & (of_a != of_b)).any().to_numpy()
    if (a.loc[common, "patient"] != b.loc[common, "patient"]).any() or conflict.sum() > len(findings) / 2:
        return findings, common[:0], [f"{ALONE}: images of equal names are others, by their patients or labels."]
    if conflict.any():
        names = ", ".join(finding for finding, wrong in zip(findings, conflict, strict=True) if wrong)
        notes.append(f"Left out, as the two runs' labels of some test images differ: {names}.")
    return tuple(f for f, wrong in zip(findings, conflict, strict=True) if not wrong), common, notes


def _held_out(runs: Sequence[Run], tables: Sequence[pd.DataFrame], findings: tuple[str, ...]) -> HeldOut:
    """Runs on test images that all have: labels are the first's, unknown where another's are."""
    parts = [by_study(table, findings, run.spec.aggregate) for run, table in zip(runs, tables, strict=True)]
    ys, ps, patients = zip(*parts, strict=True)
    y = np.where(np.isnan(ys).any(axis=0), np.nan, ys[0])
    return HeldOut(findings, y, np.stack(ps), patients[0], any(map(is_closed, runs)))


def _areas(held: Sequence[HeldOut], n_boot: int) -> pd.DataFrame:
    """auroc_a, auroc_b, difference, low, high of each finding and, last, of the mean over those with enough of both
    classes; `enough` and `rarer`, the number of the rarer class. Where the runs were tested apart, each has its own
    draws."""
    found = [one.bootstrap(n_boot, seed) for seed, one in enumerate(held)]
    area = np.concatenate([one.area for one in found])  # (2, T)
    replicates = np.concatenate([one.replicates for one in found], axis=1)  # (R, 2, T)
    rarer = np.min([one.counts.min(axis=1) for one in held], axis=0)  # (T,)
    enough = rarer >= FEW
    kept = enough if enough.any() else ~np.isnan(area).any(axis=0)
    area = np.column_stack([area, mean_over_tasks(np.where(kept, area, np.nan))])  # (2, T + 1)
    apart = np.subtract(*replicates.transpose(1, 0, 2))  # (R, T)
    apart = np.column_stack([apart, mean_over_tasks(np.where(kept, apart, np.nan))])
    value, drawn = area[0] - area[1], found[0].drawn if len(held) == 1 else None
    low, high = np.where(np.append(enough, enough.any()), percentile_interval(apart), bca_interval(value, apart, drawn))
    tied = (np.abs(apart) < 1e-12).all(axis=0)  # whose BCa interval is not defined
    low, high = np.where(tied, 0.0, low), np.where(tied, 0.0, high)
    rows = {"auroc_a": area[0], "auroc_b": area[1], "difference": value, "low": low, "high": high}
    rows |= {"enough": np.append(enough, False), "rarer": np.append(rarer, np.nan)}
    return pd.DataFrame(rows, [*held[0].tasks, MEAN]).assign(**dict.fromkeys(COLUMNS[5:], np.nan))


def _apart(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute difference and rank correlation of two runs' probabilities (S, T), (T + 1,) each, NaN the last."""
    ranks = [spearman(*one).rho for one in zip(p.T, q.T, strict=True)]
    return np.append(np.abs(p - q).mean(axis=0), np.nan), np.append(ranks, np.nan)


def _add_seeds(rows: pd.DataFrame, a: Run, b: Run, store: RunStore, notes: list[str]) -> None:
    """Fills in the seeds' columns, where runs are there that tell them."""
    folders = {run.folder.parent for run in (a, b)} | {store.folder}
    groups = {replace(run.spec, seed=0).to_json(): _siblings(run, folders) for run in (a, b)}
    groups = {but_seed: runs for but_seed, runs in groups.items() if len(runs) > 1}
    if not groups:
        notes.append("What a seed does is not known: no finished run here differs from a or b in its seed alone.")
        return
    findings = tuple(rows.index[:-1])
    kept, areas, apart = _in_mean(rows).to_numpy()[:-1], [], []
    for runs in groups.values():
        held = _held_out(runs, [_tested(run) for run in runs], findings)
        of_group = np.stack([auroc(held.labels, p) for p in held.scores])  # (runs, T)
        areas.append(np.column_stack([of_group, mean_over_tasks(np.where(kept, of_group, np.nan))]))
        apart += [_apart(p, q) for p, q in combinations(held.scores, 2)]
    spread = seed_spreads(areas, [""] * len(areas))[""]
    reach = np.sqrt(2) * spread.widening * ndtri(TAILS[1])
    rows["seeds_difference"] = [reach * spread.sd([t]) for t in range(len(rows))]
    rows["seeds_distance"], rows["seeds_correlation"] = np.mean(apart, axis=0)
    seeds = (", ".join(str(run.spec.seed) for run in runs) for runs in groups.values())
    whose = " and by those ".join(seeds)
    notes.append(f"What a seed does is told by the runs of seeds {whose}, which differ in nothing else.")


def _siblings(run: Run, folders: Iterable[Path]) -> list[Run]:
    """The finished runs in these folders that differ from one in the seed alone, and itself; one of each seed."""
    found = {run.spec.seed: run}
    start = run.spec.run_id.rpartition("-")[0].rpartition("-s")[0]
    for path in sorted(path for folder in folders for path in folder.glob(f"{escape(start)}-s*-*/done.json")):
        other = Run(path.parent)
        if replace(other.spec, seed=run.spec.seed) == run.spec:
            found.setdefault(other.spec.seed, other)
    return list(found.values())


def _in_mean(rows: pd.DataFrame) -> pd.Series:
    """Which findings are in the mean: those with enough studies of both classes, else all that have both."""
    return rows["enough"] if rows["enough"].any() else rows["difference"].notna() & (rows.index != MEAN)


def _three(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _signed(row) -> str:
    return "" if np.isnan(row.difference) else f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
