"""What the verbs of the command line do: a function each, of the parsed arguments, which gives an exit code or None."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from chexlib.errors import UserError

SCALARS = {"int": "N", "float": "X", "str": ""}
"""Types of RunSpec's fields that are one value, and how the help calls it; the others are mappings."""


def spec_fields() -> list:
    """The fields of RunSpec that are chosen; the others are filled in before a run has its name."""
    from dataclasses import fields

    from chexlib.runs.spec import RunSpec

    return [field for field in fields(RunSpec) if field.name not in ("fingerprint", "weights", "numerics")]


def option_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def data_phantom(args) -> None:
    from chexlib.data import phantom

    phantom.write(Path(args.out), n=args.n, size=args.size, seed=args.seed)
    print(f"wrote {args.out}")


def data_pack(args) -> None:
    from chexlib.data.packed import check_size, pack
    from chexlib.data.sources import find_source, read_listing

    check_size(args.size)
    root, listing = read_listing(*find_source(args.source, args.data), args.size, **_values(args.option))
    listing.refuse()
    pixels = pack(root, listing.images, args.size, skip_bad=args.skip_bad, verify=args.verify)
    if pixels.bad:
        print(f"{len(pixels.bad)} images cannot be decoded and are left out: see {pixels.folder / 'bad_images.csv'}")
    images, megabytes = len(pixels) - len(pixels.bad), pixels.array.nbytes / 1e6
    verified = ", verified" if args.verify else ""
    print(f"{images:,} images at {args.size} px in {pixels.folder}, {megabytes:,.0f} MB{verified}")


def data_check(args) -> int:
    from chexlib.data.check import check
    from chexlib.data.sources import find_source, read_listing

    _, listing = read_listing(*find_source(args.source, args.data), size=128, **_values(args.option))
    report = check(listing, pixels=not args.labels_only)
    print(json.dumps(report.to_json(), indent=1) if args.json else report.text())
    return report.exit_code


def data_describe(args) -> None:
    from chexlib.data.describe import describe_source

    description = describe_source(args.source, args.data, args.policy, args.unmentioned, **_values(args.option))
    if args.plot:
        from chexlib.figures import overview

        overview(description).save(args.plot)
    print(json.dumps(description.to_json(), indent=1) if args.json else description.text())


def _values(fields: list[str]) -> dict:
    """NAME=VALUE texts as names and values; a value is read as YAML."""
    values = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise UserError(f"{field!r}: fields are given as NAME=VALUE, e.g. arch=resnet18")
        values[name] = _yaml(value, field)
    return values


def _yaml(value: str, field: str) -> object:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"{field!r}: not readable as YAML: {error}") from None


def weights_list(args) -> None:
    from chexlib.models.weights import locate

    for row in _rows(args.architectures):
        found = locate(row)
        where = f"{found[0].name}: {found[1]}" if found else "not here"
        print(f"{row.name:<19} {row.tag:<31} {row.licence:<13} {where}")


def weights_fetch(args) -> int:
    return _loaded(args.architectures, fetch=True, folder=args.to)


def weights_check(args) -> int:
    return _loaded(args.architectures)


def _loaded(names: list[str], fetch: bool = False, folder: str | None = None) -> int:
    """Loads each architecture's weights and prints their file, with `folder` a copy's; 1 where some cannot be used."""
    from chexlib.models import weights
    from chexlib.models.networks import untrained_trunk

    failed = 0
    for row in _rows(names):
        try:
            if not weights.locate(row, fetch):
                raise UserError(weights.ways(row))
            network = untrained_trunk(row)
            file, facts = weights.load(network, row)
        except UserError as error:
            failed += 1
            print(f"{row.name:<19} {error}")
            continue
        sha256 = facts["sha256"]
        if folder:
            file = Path(folder).expanduser() / f"{row.tag}.safetensors"  # CHEXLIB_WEIGHTS takes it on any machine
            weights.save(network, file)
            sha256 = weights.sha256_of(file)
        print(f"{row.name:<19} {file}, SHA-256 {sha256}")
    print(f"{failed} architectures are without weights" if failed else "all weights are here")
    return int(failed > 0)


def _rows(names: list[str]) -> list:
    from chexlib.models import ARCHITECTURES, architecture

    return [architecture(name) for name in names] or list(ARCHITECTURES.values())


def train_one(args) -> None:
    from chexlib.runs.spec import RunSpec
    from chexlib.runs.store import RunStore

    spec = RunSpec.make(chosen(args))

    from chexlib.training.loop import fit  # torch, only once the fields are known to be right

    run = fit(spec, args.data, RunStore.open(args.runs))
    print(f"finished {run.folder}")


def chosen(args) -> dict:
    """The fields of a training, given either way: FIELD=VALUE read as YAML, --field VALUE as the field's type is."""
    values = _values(args.fields)
    for field in spec_fields():
        name, given = field.name, getattr(args, f"--{field.name}", None)
        if given is None:
            continue
        if name in values:
            raise UserError(f"{name}: given twice, as {name}={values[name]} and with {option_of(name)}: choose one")
        if field.type == "str":
            values[name] = given
        elif field.type in SCALARS:
            values[name] = _yaml(given, given)
        else:
            values[name] = {}
            for text in given:
                found = _yaml(text, text)
                values[name] |= found if isinstance(found, dict) else _values([text])
    return values


def study_run(args) -> None:
    from chexlib.runs.store import RunStore
    from chexlib.study import load_study
    from chexlib.study.launch import run_study

    if args.gpus is not None and not args.ray:
        raise UserError(
            f"--gpus {args.gpus:g}: goes with --ray, e.g. --ray local; else --workers says how many at once"
        )
    store = RunStore.open(args.runs)
    runs = run_study(load_study(args.study), args.data, store, args.workers, ray=args.ray, gpus=args.gpus)
    print(f"study {args.study}: {len(runs)} runs finished in {store.folder}")


def study_plan(args) -> None:
    from chexlib.runs.store import RunStore
    from chexlib.study import load_study
    from chexlib.study.estimate import estimate
    from chexlib.study.plan import settings_file

    study, store = load_study(args.study), RunStore.open(args.runs)
    print(estimate(study, args.data, store, args.tune).text())
    if args.tune:
        print(f"settings: kept for the study's runs in {settings_file(study, store)}")


def study_status(args) -> None:
    import time

    from chexlib.runs.store import RunStore
    from chexlib.study import load_study, status

    if args.watch is not None and args.watch <= 0:
        raise UserError(f"--watch {args.watch:g}: give a number of seconds above 0")
    study, store = load_study(args.study), RunStore.open(args.runs)
    while True:
        table = status.study_status(study.name, store)
        clear = "\033[2J\033[H" if args.watch and sys.stdout.isatty() else ""
        print(f"{clear}{status.text(table, store)}", flush=True)
        if not args.watch or (table["state"] == "finished").all():
            return
        time.sleep(args.watch)


def study_export(args) -> None:
    from chexlib.results.export import export_study
    from chexlib.runs.store import RunStore, project_folder
    from chexlib.study import load_study

    study = load_study(args.study)
    print(
        f"wrote {export_study(study, args.out or project_folder() / 'results' / study.name, RunStore.open(args.runs))}"
    )


def evaluate_files(args) -> None:
    import shutil

    from chexlib.evaluate import evaluate

    tasks = [task.strip() for text in args.tasks or () for task in text.split(",")]
    found = evaluate(args.predictions, args.truth, tasks or None, args.inner, args.draws, args.interval)
    if args.plot:
        found.plot(args.plot)
    if args.json:
        print(json.dumps(found.to_json(), indent=1))
    elif args.csv:
        print(found.table.to_csv(index=False), end="")
    else:
        print(found.text(shutil.get_terminal_size((100, 24)).columns))


def claims_list(args) -> None:
    from chexlib.paper import claims

    if args.runs and not args.study:
        raise UserError(f"--runs {args.runs}: goes with --study, e.g. --study demo")
    results = None
    if args.study:
        from chexlib.paper.results import open_results

        results = open_results(args.study, args.runs)
    judged = claims.ledger(results)
    if args.json:
        print(json.dumps({"statements": claims.records(judged), "counts": claims.tally(judged)}, indent=1))
    elif args.csv:
        print(claims.frame(judged).to_csv(index=False), end="")
    else:
        print(claims.text(judged))


def cam_files(args) -> None:
    from chexlib.cam_files import write_cams
    from chexlib.runs.store import RunStore

    store = RunStore.open(args.runs)
    found = write_cams(args.images, args.model, args.out, args.finding, args.method, store, args.force)
    print(found.text())


def notebooks_run(args) -> None:
    executed = import_module("chexpaper.build.notebooks").run_notebooks(
        args.study, data=args.data, runs=args.runs, only=args.only, parameters=dict(args.p), jobs=args.jobs
    )
    current = sum(not notebook.because for notebook in executed)
    print(f"{len(executed) - current} notebooks executed, {current} current, in {executed[0].output.parent}")


def book_build(args) -> None:
    print(f"the book is at {import_module('chexpaper.build.book').build()}")


def book_serve(args) -> None:
    import_module("chexpaper.build.book").serve(args.port)
