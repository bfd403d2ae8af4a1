"""Publishing a study: predictions, logs, provenance and native maps of its finished runs, no weights and no images.

A study that compares features has a table of similarities, too (chexlib.results.similarities). Which images its runs
learned from, a manifest of hashes tells (chexlib.runs.manifest).

What is published hangs on the data set's terms (`chexlib.data.sources`). Where they keep labels and ids back, results
are computed from the study's replicates, beside the runs; why no score may be published with them, and what of a log
can, says `chexlib.results.held_out`. Of predictions.parquet there remains which rows are one patient's or one study's:
ids become hashes under a key that is drawn for the export and then forgotten, for plain hashes of ids that can be
listed are no secret, and rows are sorted by them. Maps are of images that may be shown, and need these images and the
weights.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from chexlib.data.dataset import Dataset, open_for
from chexlib.errors import UserError
from chexlib.results.held_out import is_closed, open_tested, publish_replicates, replicates_file, shown_log
from chexlib.results.native_maps import FILE, as_npz, map_pairs, native_maps, with_weights
from chexlib.results.similarities import compare_runs, read_similarities, similarity_file
from chexlib.runs.manifest import SUFFIX, hide_ids, make_manifest, manifest_file, read_hashes_file, write_hashes
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import DONE, Run, RunStore, log_lines, write_atomically
from chexlib.study.study import Study

ROWS = ("split", "image", "study", "patient")
"""What remains of predictions.parquet where the data set's terms keep labels and ids back; the ids as hashes."""

FILES = ("spec.json", "log.jsonl", "predictions.parquet", "provenance.json")


def export_study(
    study: Study,
    out: str | Path,
    store: RunStore | None = None,
    progress: bool = True,
    root: str | Path | None = None,
) -> Path:
    """Copies what may be shared of the study's finished runs to `out`, which is a run store too; returns it.

    Maps and similarities are made where the data set is at hand (the phantom is, others lie in the folder `root`) and a
    run has weights; a manifest that the run store lacks, wherever its data are at hand.
    A study that is not finished is exported as far as it is, and its list names what is still to come.

    Exporting over an older export replaces it; one that was cut short holds no study until it is repeated. Raises
    UserError where the study has no finished run, where `out` is the run store itself or holds a run that is not
    exported now and no other study's, and where the disk is full.
    """
    store, published = store or RunStore.open(), RunStore(Path(out).expanduser())
    planned = store.planned(study.name)
    runs = [run for run in planned if run.finished]
    if not runs:
        raise UserError(
            f'study {study.name} has no finished runs in {store.folder}: run "chexlib study run {study.name}" first'
        )
    if published.folder.resolve() == store.folder.resolve():
        raise UserError(f"{published.folder} is the run store itself: export to another folder")
    of_findings = [run for run in runs if run.learned_findings]
    tested = open_tested(study.name, of_findings, study.tasks) if any(map(is_closed, of_findings)) else None
    specs = [without_folders(run.spec) for run in runs]
    _refuse_leftovers(published, study.name, [spec.run_id for spec in specs])
    dataset = _dataset(runs, root)
    pairs = map_pairs(dataset, study.tasks) if dataset and dataset.shareable else None
    key = secrets.token_bytes(32)  # nobody can compute the hashes without it
    manifests = _manifests(runs, store, dataset, root, key)
    published.plan(study.name, [])  # until all is written
    replicates_file(published.folder, study.name).unlink(missing_ok=True)
    for pattern in (f".{study.name}.*.[0-9]*", f".*{SUFFIX}.[0-9]*"):
        _clear(published.folder, pattern)
    bar = tqdm(runs, f"exporting {study.name}", unit="run", disable=not progress, leave=False)
    for run, spec in zip(bar, specs, strict=True):
        target = published.run(spec)
        (target.folder / DONE).unlink(missing_ok=True)  # half a run never looks finished
        _export_run(run, target, spec, key)
        _export_maps(run, target, dataset, pairs)
        target.finish(**run.done)
    for fingerprint, manifest in manifests.items():  # which studies share
        write_hashes(manifest_file(published.folder, fingerprint), manifest)
    files = []
    if tested:
        its_names = [without_folders(run.spec).run_id for run in of_findings]
        files.append(publish_replicates(published.folder, study.name, its_names, tested).name)
    names = {run.run_id: spec.run_id for run, spec in zip(runs, specs, strict=True)}
    if study.compare_features:
        known = read_similarities(published.folder, study.name).replace({name: run for run, name in names.items()})
        table = compare_runs(runs, dataset, known, progress) if dataset else known
        content = table.replace(names).to_csv(index=False, float_format="%.6g")
        write_atomically(similarity_file(published.folder, study.name), content)
        files.append(similarity_file(published.folder, study.name).name)
    published.plan(study.name, [names.get(run.run_id, run.run_id) for run in planned], files)
    return published.folder


def _refuse_leftovers(published: RunStore, study: str, run_ids: Sequence[str]) -> None:
    """An older export's run would stay as it was, perhaps with scores of a closed set, which nobody looks for."""
    others = (path.name.removesuffix(".study.json") for path in published.folder.glob("*.study.json"))
    known = {run.run_id for other in others if other != study for run in published.planned(other)}
    here = {path.parent.name for path in published.folder.glob("*/spec.json")}
    if left := sorted(here - known - set(run_ids)):
        what = f"{published.folder / left[0]}: left by an older export, and no run that is exported now"
        more = f" ({len(left)} such)" if len(left) > 1 else ""
        raise UserError(f"{what}{more}: remove {published.folder}, or export to another folder")


def _export_run(run: Run, target: Run, spec: RunSpec, key: bytes) -> None:
    """The run's files but done.json and maps."""
    _clear(target.folder, ".*.[0-9]*")
    contents = {name: run.read(name) for name in FILES}
    if spec != run.spec:
        contents["spec.json"] = spec.to_json()
    if is_closed(run):
        contents |= {"log.jsonl": log_lines(shown_log(run)), "predictions.parquet": _rows(run, key)}
    for name, content in contents.items():
        target.write(name, content)


def _dataset(runs: Sequence[Run], root: str | Path | None) -> Dataset | None:
    """What maps and similarities are made of; None where it is not at hand, and where no run has weights.

    Raises UserError where the folder holds other images than the runs were trained on.
    """
    spec = runs[0].spec
    if not (root or spec.dataset == "phantom") or not any(map(with_weights, runs)):
        return None
    return _open(spec, root)


def _open(spec: RunSpec, root: str | Path | None) -> Dataset:
    dataset = open_for(spec, root, progress=False)
    if dataset.fingerprint != spec.fingerprint:
        raise UserError(f"{dataset.root}: holds other images than the study was trained on: give its folder, or none")
    return dataset


def _manifests(
    runs: Sequence[Run], store: RunStore, dataset: Dataset | None, root: str | Path | None, key: bytes
) -> dict[str, pd.DataFrame]:
    """What may be shared of the manifests of the runs' data, by fingerprint: the store's, or made of data at hand."""
    found = {}
    for fingerprint, run in {run.spec.fingerprint: run for run in runs}.items():
        path = manifest_file(store.folder, fingerprint)
        if path.exists():
            manifest = read_hashes_file(path)
        elif dataset is not None and dataset.fingerprint == fingerprint:
            manifest = make_manifest(dataset, progress=False)
        elif root:
            manifest = make_manifest(_open(run.spec, root), progress=False)
        else:
            continue
        found[fingerprint] = hide_ids(manifest.assign(hash=""), key) if is_closed(run) else manifest
    return found


def _export_maps(run: Run, target: Run, dataset: Dataset | None, pairs: pd.DataFrame | None) -> None:
    """The maps that the run has, else those that its weights make; none where images may not be shown."""
    (target.folder / FILE).unlink(missing_ok=True)
    if is_closed(run):
        return
    if (run.folder / FILE).exists():
        target.write(FILE, run.read(FILE))
    elif pairs is not None and run.learned_findings and with_weights(run):
        target.write(FILE, as_npz(*native_maps(run, dataset, pairs), pairs))


def _clear(folder: Path, pattern: str) -> None:
    """Removes what a killed export was writing there."""
    for partial in folder.glob(pattern):
        partial.unlink()


def _rows(run: Run, key: bytes) -> bytes:
    """Which images, studies and patients there are, under hashes and in their order, as Parquet."""
    buffer = io.BytesIO()
    hide_ids(run.predictions()[list(ROWS)], key).to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def without_folders(spec: RunSpec) -> RunSpec:
    """The spec with the names, and not the places, of files on this machine: its weights' file, and in its options."""
    init = f"file:{Path(spec.init).name}" if spec.init.startswith(("file:/", "file:~")) else spec.init
    places = {name: str(value) for name, value in spec.options.items() if str(value).startswith(("/", "~"))}
    options = {**spec.options, **{name: Path(place).name for name, place in places.items()}}
    return replace(spec, init=init, options=options)
