"""The command line. Each verb is one function below; errors that a user can cause are one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chexlib import __version__
from chexlib.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    args = _parser().parse_args(arguments)
    try:
        args.function(args)
    except UserError as error:
        print(f"chexlib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("chexlib: interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chexlib", description="The executable CheXtransfer paper.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    data = _group(verbs, "data", "make and pack data sets")
    phantom = _verb(data, "phantom", data_phantom, "draw phantom radiographs into a CheXpert-shaped folder")
    phantom.add_argument("out", metavar="OUT", help="the folder to make")
    phantom.add_argument(
        "--n", type=int, default=1000, help="training images (default 1000); validation and test come on top"
    )
    phantom.add_argument("--size", type=int, default=128, help="pixels of a side (default 128)")
    phantom.add_argument("--seed", type=int, default=0)
    pack = _verb(data, "pack", data_pack, "decode and resize a data set's images once, into the cache")
    pack.add_argument("name", metavar="NAME", help="phantom, chexpert or nih")
    _root(pack)
    pack.add_argument("--size", type=int, default=320, help="pixels of a side (default 320)")

    train = _verb(verbs, "train", train_one, "train one network")
    train.add_argument(
        "fields",
        nargs="*",
        metavar="FIELD=VALUE",
        help="fields of RunSpec, e.g. arch=resnet18 dataset=nih size=128 epochs=3",
    )
    _root(train)
    _store(train)

    study = _group(verbs, "study", "run, watch and publish studies")
    run = _verb(study, "run", study_run, "train what is missing of a study; interrupted, the same command goes on")
    _study(run)
    _root(run)
    _store(run)
    run.add_argument(
        "--workers", type=int, help="runs at once (default: as many as the cores can give their threads to)"
    )
    status = _verb(study, "status", study_status, "which runs of a study are finished")
    _study(status)
    _store(status)
    export = _verb(study, "export", study_export, "copy predictions and provenance, without weights and images")
    _study(export)
    export.add_argument("--out", help="the folder to write (default results/STUDY)")
    _store(export)

    notebooks = _group(verbs, "notebooks", "execute the notebooks")
    execute = _verb(notebooks, "run", notebooks_run, "execute what has changed, with Papermill")
    execute.add_argument("--study", default="demo", help="the study to show (default demo)")
    _root(execute)
    _store(execute)
    execute.add_argument(
        "--only", action="append", metavar="NAME", help="only the notebooks whose name begins so, e.g. 02 (repeatable)"
    )
    execute.add_argument(
        "-p", nargs=2, action="append", metavar=("NAME", "VALUE"), default=[], help="a notebook parameter (repeatable)"
    )
    execute.add_argument("--jobs", type=int, default=2, help="notebooks at once (default 2)")

    book = _group(verbs, "book", "build and read the book")
    _verb(book, "build", book_build, "render the executed notebooks and the prose to _build/html")
    serve = _verb(book, "serve", book_serve, "serve the built book on this machine")
    serve.add_argument("--port", type=int, default=8000)
    return parser


def _group(verbs, name: str, text: str):
    return verbs.add_parser(name, help=text, description=text).add_subparsers(metavar="COMMAND", required=True)


def _verb(verbs, name: str, function, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(function=function)
    return verb


def _root(verb) -> None:
    verb.add_argument("--data", metavar="FOLDER", help="the data set's folder (none for the phantom)")


def _store(verb) -> None:
    verb.add_argument("--runs", metavar="FOLDER", help="the run store (default CHEXLIB_RUNS, or runs/)")


def _study(verb) -> None:
    verb.add_argument("study", metavar="STUDY", help="a name in notebooks/studies, or a YAML file")


def data_phantom(args) -> None:
    from chexlib.data import phantom

    phantom.write(Path(args.out), n=args.n, size=args.size, seed=args.seed)
    print(f"wrote {args.out}")


def data_pack(args) -> None:
    from chexlib.data.dataset import open_dataset

    dataset = open_dataset(args.name, args.data, size=args.size)
    print(f"{len(dataset.table)} images at {args.size} px in {dataset.pixels.folder}")


def train_one(args) -> None:
    import yaml

    from chexlib.runs.spec import RunSpec
    from chexlib.runs.store import RunStore

    values = {}
    for field in args.fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise UserError(f"{field!r}: fields are given as NAME=VALUE, e.g. arch=resnet18")
        values[name] = yaml.safe_load(value)
    spec = RunSpec.make(values)

    from chexlib.training.fit import fit  # torch, only once the fields are known to be right

    run = fit(spec, args.data, RunStore.open(args.runs))
    print(f"finished {run.folder}")


def study_run(args) -> None:
    from chexlib.runs.store import RunStore
    from chexlib.study import load_study
    from chexlib.study.launch import run_study

    store = RunStore.open(args.runs)
    runs = run_study(load_study(args.study), args.data, store, args.workers)
    print(f"study {args.study}: {len(runs)} runs finished in {store.folder}")


def study_status(args) -> None:
    from chexlib.runs.store import RunStore
    from chexlib.study import load_study

    study, store = load_study(args.study), RunStore.open(args.runs)
    runs = store.planned(study.name)
    if not runs:
        raise UserError(f'study {study.name} was never planned in {store.folder}: run "chexlib study run {study.name}"')
    for run in runs:
        log = run.log()
        state = "finished" if run.finished else f"{log[-1]['epoch']:.1f} epochs" if log else "waiting"
        print(f"{state:<12} {run.run_id}")
    print(f"{sum(run.finished for run in runs)} of {len(runs)} runs finished in {store.folder}")


def study_export(args) -> None:
    from chexlib.runs.store import RunStore, project_folder
    from chexlib.study import load_study
    from chexlib.study.export import export_study

    study = load_study(args.study)
    print(
        f"wrote {export_study(study, args.out or project_folder() / 'results' / study.name, RunStore.open(args.runs))}"
    )


def notebooks_run(args) -> None:
    from chexlib.notebooks import run_notebooks

    executed = run_notebooks(
        args.study, data=args.data, runs=args.runs, only=args.only, parameters=dict(args.p), jobs=args.jobs
    )
    current = sum(notebook.skipped for notebook in executed)
    print(f"{len(executed) - current} notebooks executed, {current} current, in {executed[0].output.parent}")


def book_build(args) -> None:
    from chexlib.book import build

    print(f"the book is at {build()}")


def book_serve(args) -> None:
    from chexlib.book import serve

    serve(args.port)


if __name__ == "__main__":
    sys.exit(main())
