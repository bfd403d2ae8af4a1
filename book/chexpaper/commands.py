"""The command line's verbs that are the book's: `book`, `notebooks` and `claims` (entry point `chexlib.commands`)."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer.core import TyperCommand

from chexlib.errors import UserError

PUBLISHED = "phantom"
"""The study that the book shows, from its published runs, where no other is asked for."""

Runs = Annotated[str | None, typer.Option(metavar="FOLDER", help="the run store (default CHEXLIB_RUNS, or runs/)")]


class Pairs(TyperCommand):
    """A command whose option -p takes a name and a value, as Papermill's does; typer has no word for that."""

    def __init__(self, *args, params, **settings):
        super().__init__(*args, params=params, **settings)
        next(param for param in params if "-p" in param.opts).nargs = 2


def register(app: typer.Typer) -> None:
    """Adds the verbs to the command line's app."""
    notebooks, book = typer.Typer(), typer.Typer()
    app.add_typer(notebooks, name="notebooks", help="Execute the notebooks.")
    notebooks.callback()(_group)  # so that its one verb keeps its name
    notebooks.command("run", cls=Pairs)(notebooks_run)
    app.add_typer(book, name="book", help="Build and read the book.")
    book.command("build")(book_build)
    book.command("serve")(book_serve)
    app.command("claims")(claims_list)


def _group() -> None:
    pass


def notebooks_run(
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="the study to show (default: phantom, as published)")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="the data set's folder (none for the phantom)")
    ] = None,
    runs: Runs = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="only the notebooks whose name begins so, e.g. 02 (repeatable)"),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", parser=tuple, metavar="NAME VALUE", help="a notebook parameter (repeatable)"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="notebooks at once")] = 2,
) -> None:
    """Execute what has changed, with Papermill."""
    from chexpaper.build.notebooks import run_notebooks

    shown, store = (study, runs) if study else (PUBLISHED, runs or "results")
    executed = run_notebooks(shown, data, store, only, dict(parameters or ()), jobs=jobs)
    current = sum(not page.because for page in executed)
    print(f"{len(executed) - current} notebooks executed, {current} current, in {executed[0].output.parent}")


def book_build() -> None:
    """Render the executed notebooks and the prose to _build/html."""
    from chexpaper.build.book import build

    print(f"the book is at {build()}")


def book_serve(port: Annotated[int, typer.Option()] = 8000) -> None:
    """Serve the built book on this machine."""
    from chexpaper.build.book import serve

    serve(port)


def claims_list(
    study: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="a name in notebooks/studies, or a YAML file (default: none)"),
    ] = None,
    runs: Runs = None,
    paper: Annotated[str, typer.Option(help="the statements of this paper alone, e.g. Transfusion")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="print a row a statement as CSV")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the rows, and how often each verdict fell, as JSON")
    ] = False,
) -> None:
    """What the papers state, held against their own numbers and a study.

    Every statement is judged three ways: against what else its paper prints, against networks whose parameters are
    counted again, and, with --study, against that study's finished runs.
    """
    from chexlib.escape import csv
    from chexlib.results import open_results
    from chexpaper import claims

    if runs and not study:
        raise UserError(f"--runs {runs}: goes with --study, e.g. --study nih")
    if as_csv and as_json:
        raise UserError("--csv and --json: choose one")
    judged = claims.ledger(open_results(study, runs) if study else None, claims.load(paper=paper))
    if as_json:
        print(json.dumps({"statements": claims.records(judged), "counts": claims.tally(judged)}, indent=1))
    elif as_csv:
        print(csv(claims.frame(judged)), end="")
    else:
        print(claims.text(judged))
