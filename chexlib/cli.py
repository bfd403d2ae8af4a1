"""The command line: its verbs and their arguments. Errors that a user can cause are one line and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys

from chexlib import __version__, commands
from chexlib.commands import SCALARS, option_of, spec_fields
from chexlib.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args, strange = _parser(training=arguments[:1] == ["train"]).parse_known_args(arguments)
    try:
        if "fields" in args:  # argparse finds them in one stretch, before, between or after the options
            args.fields += [text for text in strange if not text.startswith("-")]
            strange = [text for text in strange if text.startswith("-")]
        _refuse(strange, args.verb)
        code = args.function(args) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"chexlib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("chexlib: interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as by `| head`: what is left unprinted goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser(training: bool = True) -> argparse.ArgumentParser:
    """All verbs; without `training`, `train` has no options: they are read off RunSpec, whose import takes a second."""
    parser = argparse.ArgumentParser(prog="chexlib", description="The executable CheXtransfer paper.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    _data_verbs(verbs)
    _weights_verbs(verbs)
    _train_verb(verbs, training)
    _study_verbs(verbs)
    _evaluate_verb(verbs)
    _claims_verb(verbs)
    _cam_verb(verbs)
    _page_verbs(verbs)
    return parser


def _data_verbs(verbs) -> None:
    data = _group(verbs, "data", "make, check, describe and pack data sets")
    phantom = _verb(data, "phantom", commands.data_phantom, "draw phantom radiographs into a CheXpert-shaped folder")
    phantom.add_argument("out", metavar="OUT", help="the folder to make")
    phantom.add_argument(
        "--n", type=int, default=1000, help="training images (default 1000); validation and test come on top"
    )
    phantom.add_argument("--size", type=int, default=128, help="pixels of a side (default 128)")
    phantom.add_argument("--seed", type=int, default=0)
    pack = _verb(data, "pack", commands.data_pack, "decode and resize a data set's images once, into the cache")
    _source(pack)
    pack.add_argument("--size", type=int, default=320, help="pixels of a side (default 320)")
    pack.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be decoded, and list them")
    pack.add_argument("--verify", action="store_true", help="read a packed cache again, and mend it if it is damaged")

    check = _verb(data, "check", commands.data_check, "look for what is wrong with a data set, before training on it")
    check.epilog = """Exits 1 where it finds problems: what training refuses (labels out of range, missing or unreadable
        images, a patient in two splits ...) and what makes scores wrong (constant, inverted, or duplicate images in
        several splits or of several patients, a test set without one of a task's classes). Warnings and notes alone
        exit 0. What cannot be read at all exits 2."""
    _source(check)
    check.add_argument("--labels-only", action="store_true", help="look at the label files alone, at no image")
    check.add_argument("--json", action="store_true", help="print everything for machines, every image's name too")
    describe = _verb(
        data, "describe", commands.data_describe, "count people, views and findings of a data set or a label file"
    )
    _source(describe, "a data set's name, its folder, or a label file alone")
    describe.add_argument("--policy", default="", help="also count the targets under it, e.g. u-ones or u-mixed")
    describe.add_argument(
        "--unmentioned",
        choices=("absent", "unknown"),
        default="absent",
        help="what a policy makes of findings that are not mentioned (default absent)",
    )
    describe.add_argument("--json", action="store_true", help="print the counts for machines")
    describe.add_argument("--plot", metavar="FILE.png", help="draw them, too")


def _weights_verbs(verbs) -> None:
    weights = _group(verbs, "weights", "ImageNet weights: list, fetch and check them ahead of a study")
    for name, function, text in (
        ("list", commands.weights_list, "which weights this machine has"),
        ("fetch", commands.weights_fetch, "download what is missing, and check it"),
        ("check", commands.weights_check, "load each file into its network; exits 1 where one is missing or wrong"),
    ):
        verb = _verb(weights, name, function, text)
        verb.add_argument("architectures", nargs="*", metavar="ARCH", help="e.g. resnet18 (default: all)")
        if function is commands.weights_fetch:
            verb.add_argument(
                "--to", metavar="FOLDER", help="leave copies there, for CHEXLIB_WEIGHTS on other machines"
            )


def _train_verb(verbs, training: bool) -> None:
    train = _verb(verbs, "train", commands.train_one, "train one network")
    train.usage = "chexlib train [--FIELD VALUE ...] [FIELD=VALUE ...] [--data FOLDER] [--runs FOLDER]"
    train.epilog = """ARCH is a row of chexlib.architectures(), or any convolutional network of timm, with the tag of
        its ImageNet weights (convnext_tiny.fb_in1k) or without. Example: chexlib train --arch convnext_tiny --minus 1
        --init imagenet --dataset phantom --size 64 --augment rotation=10 --augment crop=0.9"""
    train.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="the same without dashes, e.g. arch=resnet18")
    _root(train)
    _store(train)
    if training:
        from chexlib.runs.spec import CHOICES

        group = train.add_argument_group("fields of the training (chexlib.runs.spec.RunSpec)")
        for field in spec_fields():
            name, words = field.name, ""
            if name in CHOICES:
                shown, words = {"metavar": "WORD"}, f"one of {', '.join(CHOICES[name])}; "
            elif field.type in SCALARS:
                shown = {"metavar": SCALARS[field.type] or name.upper()}
            else:
                shown = {"metavar": "NAME=VALUE", "action": "append"}
            words += f"default {field.default}" if field.type in SCALARS else "default none; repeatable, or as YAML"
            group.add_argument(option_of(name), dest=f"--{name}", default=argparse.SUPPRESS, help=words, **shown)


def _study_verbs(verbs) -> None:
    study = _group(verbs, "study", "run, watch and publish studies")
    run = _verb(
        study, "run", commands.study_run, "train what is missing of a study; interrupted, the same command goes on"
    )
    _study(run)
    _root(run)
    _store(run)
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, help="runs at once (default: as many as the cores can give their threads to)"
    )
    where.add_argument(
        "--ray", metavar="ADDRESS", default="", help="on a Ray cluster: HOST:PORT of its head, auto, or local"
    )
    run.add_argument(
        "--gpus", type=float, metavar="N", help="GPUs a run with --ray, e.g. 0.25 (default: 1 where there are any)"
    )
    plan = _verb(
        study, "plan", commands.study_plan, "measure how long a study will take here, and how much disk it needs"
    )
    _study(plan)
    _root(plan)
    _store(plan)
    plan.add_argument(
        "--tune",
        action="store_true",
        help="measure every precision and memory format that the study leaves open, and keep the fastest for its runs",
    )
    status = _verb(study, "status", commands.study_status, "how far each run of a study is")
    _study(status)
    _store(status)
    status.add_argument(
        "--watch", type=float, nargs="?", const=5.0, metavar="SECONDS", help="again and again (default: every 5 s)"
    )
    export = _verb(
        study, "export", commands.study_export, "publish predictions and provenance, as the data set's terms allow"
    )
    _study(export)
    export.add_argument("--out", help="the folder to write (default results/STUDY)")
    _store(export)


def _evaluate_verb(verbs) -> None:
    evaluate = _verb(
        verbs, "evaluate", commands.evaluate_files, "score files of predictions: AUROC, AUPRC, intervals, differences"
    )
    evaluate.epilog = """A file is a CSV or Parquet table with a row a study (or image): one column names it (Study,
        Path, Image ...), the others hold a score a task, on any scale and in any order; or it is a run's folder, whose
        images count by study. Where patients can be told (patient64741 in the names, or a column patient), they are
        drawn. Example: chexlib evaluate a.csv b.csv --truth groundtruth.csv --tasks Edema,Atelectasis"""
    evaluate.add_argument("predictions", nargs="+", metavar="PREDICTIONS", help="CSV, Parquet, or a run's folder")
    evaluate.add_argument("--truth", metavar="FILE", help="the labels: 1, 0 or empty (none for a run's own)")
    evaluate.add_argument(
        "--tasks", metavar="TASK,TASK", help="what to score (default: what all files have; repeatable)", action="append"
    )
    evaluate.add_argument("--inner", action="store_true", help="score what all files have, where one lacks some rows")
    evaluate.add_argument("--draws", type=int, default=1000, metavar="N", help="draws of the bootstrap (default 1000)")
    evaluate.add_argument(
        "--interval",
        choices=("percentile", "bca"),
        default="percentile",
        help="of the bootstrap (default percentile; bca, which is better where a class is rare, is taken there anyway)",
    )
    shown = evaluate.add_mutually_exclusive_group()
    shown.add_argument("--csv", action="store_true", help="print the table as CSV, a row a model and task")
    shown.add_argument("--json", action="store_true", help="print all for machines, the pairs too")
    evaluate.add_argument("--plot", metavar="FILE", help="draw it, too (.png, .svg or .pdf)")


def _claims_verb(verbs) -> None:
    claims = _verb(
        verbs, "claims", commands.claims_list, "what the papers state, held against their own numbers and a study"
    )
    claims.epilog = """Every statement is judged three ways: against what else its paper prints, against networks whose
        parameters are counted again, and, with --study, against that study's finished runs."""
    claims.add_argument("--study", metavar="STUDY", help="a name in notebooks/studies, or a YAML file (default: none)")
    _store(claims)
    shown = claims.add_mutually_exclusive_group()
    shown.add_argument("--csv", action="store_true", help="print a row a statement as CSV")
    shown.add_argument("--json", action="store_true", help="print the rows, and how often each verdict fell, as JSON")


def _cam_verb(verbs) -> None:
    cam = _verb(
        verbs, "cam", commands.cam_files, "a trained run's class activation maps of your own images, laid over them"
    )
    cam.epilog = """Writes a PNG an image and finding, cams.csv with the probabilities, and README.txt. Not for clinical
        use: the maps show what a network weighed, and not where a disease is."""
    cam.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or DICOM files")
    cam.add_argument(
        "--model", metavar="RUN", required=True, help="a finished run: its folder, or its name in the store"
    )
    cam.add_argument(
        "--finding",
        action="append",
        metavar="NAME",
        default=[],
        help="e.g. Edema (repeatable; default: those of the paper's six that the run learned)",
    )
    cam.add_argument(
        "--method", default="paper", help="paper, grad-cam, grad-cam++, hirescam or score-cam (default paper)"
    )
    cam.add_argument("-o", "--out", metavar="FOLDER", required=True, help="the folder to write into")
    cam.add_argument("--force", action="store_true", help="write over what an earlier command left there")
    _store(cam)


def _page_verbs(verbs) -> None:
    notebooks = _group(verbs, "notebooks", "execute the notebooks")
    execute = _verb(notebooks, "run", commands.notebooks_run, "execute what has changed, with Papermill")
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
    _verb(book, "build", commands.book_build, "render the executed notebooks and the prose to _build/html")
    serve = _verb(book, "serve", commands.book_serve, "serve the built book on this machine")
    serve.add_argument("--port", type=int, default=8000)


def _group(verbs, name: str, text: str):
    return verbs.add_parser(name, help=text, description=text).add_subparsers(metavar="COMMAND", required=True)


def _verb(verbs, name: str, function, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
    verb.set_defaults(function=function, verb=verb)
    return verb


def _source(verb, text: str = "a data set's name (phantom, chexpert, nih ...), or its folder") -> None:
    verb.add_argument("source", metavar="SOURCE", help=text)
    _root(verb)
    _option(verb)


def _root(verb) -> None:
    verb.add_argument("--data", metavar="FOLDER", help="the data set's folder (none for the phantom)")


def _option(verb) -> None:
    verb.add_argument(
        "--option",
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="an option of the data set's reader, e.g. dataset=NIH_Dataset of torchxrayvision (repeatable)",
    )


def _store(verb) -> None:
    verb.add_argument("--runs", metavar="FOLDER", help="the run store (default CHEXLIB_RUNS, or runs/)")


def _study(verb) -> None:
    verb.add_argument("study", metavar="STUDY", help="a name in notebooks/studies, or a YAML file")


def _refuse(strange: list[str], verb: argparse.ArgumentParser) -> None:
    """UserError for the first argument that a verb does not know, with its nearest option."""
    if strange:
        from difflib import get_close_matches

        given = strange[0].partition("=")[0]
        near = get_close_matches(given, [option for action in verb._actions for option in action.option_strings], n=1)
        raise UserError(f"{given!r} is unknown: {f'did you mean {near[0]!r}?' if near else f'see {verb.prog} --help'}")


if __name__ == "__main__":
    sys.exit(main())
