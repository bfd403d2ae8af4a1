"""The command line: its verbs, their arguments, and what they do. A user's error is one line and exit code 2.

The verbs that speak of the papers (book, notebooks, claims) are not here: whatever is installed under the entry point
`chexlib.commands` adds verbs of its own. What is heavy is imported by the verb that needs it, so that help is instant.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from importlib.metadata import entry_points
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from chexlib import __version__
from chexlib.errors import UserError, one_line, quoted

FILLED_IN = ("fingerprint", "weights", "numerics")
"""Fields of RunSpec that nobody chooses: they are known once the data are."""

Texts = list[str] | None
Data = Annotated[str | None, Option(metavar="FOLDER", help="the data set's folder (none for the phantom)")]
Runs = Annotated[str | None, Option(metavar="FOLDER", help="the run store (default CHEXLIB_RUNS, or runs/)")]
StudyName = Annotated[str, Argument(metavar="STUDY", help="a name in notebooks/studies, or a YAML file")]
Architectures = Annotated[Texts, Argument(metavar="ARCH", help="e.g. resnet18 (default: all)")]
SourceName = Annotated[
    str, Argument(metavar="SOURCE", help="a data set's name (phantom, chexpert, nih ...), or its folder")
]
ReaderOptions = Annotated[
    Texts, Option("--option", metavar="NAME=VALUE", help="an option of the data set's reader (repeatable)")
]
OwnImages = Annotated[list[str], Argument(metavar="IMAGE", help="PNG, JPEG or DICOM files, or folders of them")]
Model = Annotated[str, Option(metavar="RUN", help="a finished run: its folder, or its name in the store")]
Findings = Annotated[Texts, Option(metavar="NAME", help="e.g. Edema (default: the paper's six; repeatable)")]
Draws = Annotated[int, Option(min=1, max=100_000, metavar="N", help="draws of the bootstrap")]
Interval = Literal["percentile", "bca"]
AsCsv = Annotated[bool, Option("--csv", help="print the table as CSV")]
AsJson = Annotated[bool, Option("--json", help="print all for machines")]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone shows all the same
    warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF: the image is read as if it had none
    try:
        with command_line(training=arguments[:1] == ["train"]).make_context("chexlib", arguments) as context:
            code = context.command.invoke(context) or 0
        sys.stdout.flush()
        return code
    except typer.Exit as end:  # --help, --version
        return end.exit_code
    except typer.TyperException as error:
        where = f" (see {error.ctx.command_path} --help)" if getattr(error, "ctx", None) else ""
        return _refused(f"{error.format_message()}{where}")
    except UserError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        print("chexlib: interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as by `| head`
        _print_no_more()
        return 141
    except OSError as error:  # of what no one place foresees: a full disk behind >, a name that is too long
        try:
            sys.stdout.flush()
        except OSError:
            _print_no_more()
        why = error.strerror or error
        return _refused(f"{error.filename or 'the output'}: {why}: free some space, or choose another place or name")


def _print_no_more() -> None:
    """What is left unprinted goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(message: str) -> int:
    print(f"chexlib: {one_line(message)}", file=sys.stderr)
    return 2


def command_line(training: bool = True):
    """All verbs, as typer's command; with `training`, `train` has its options, whose import takes a second."""
    app = typer.Typer(callback=_chexlib, add_completion=False, rich_markup_mode=None)
    for name, text, verbs in (
        ("data", "Make, check, describe and pack data sets.", (data_phantom, data_pack, data_check, data_describe)),
        ("weights", "ImageNet weights, ahead of a study.", (weights_list, weights_fetch, weights_check)),
        ("study", "Run, watch and publish studies.", (study_run, study_plan, study_status, study_export)),
    ):
        group = typer.Typer()
        for verb in verbs:
            group.command(verb.__name__.removeprefix(f"{name}_"))(verb)
        app.add_typer(group, name=name, help=text)
    app.command("train")(_train_verb(offered=training))
    app.command("evaluate")(evaluate)
    app.command("diff")(diff)
    app.command("predict")(predict)
    app.command("cam")(cam)
    for entry in entry_points(group="chexlib.commands"):
        try:
            entry.load()(app)
        except Exception as error:  # of whatever is installed there: the other verbs are still of use
            print(f"chexlib: the verbs of {entry.value} are missing: {error}", file=sys.stderr)
    return typer.main.get_command(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


def _chexlib(
    version: Annotated[bool, Option("--version", callback=_print_version, is_eager=True, help="print it")] = False,
) -> None:
    """The executable CheXtransfer paper."""


def data_phantom(
    out: Annotated[str, Argument(metavar="OUT", help="the folder to make")],
    n: Annotated[int, Option(help="training images; validation and test come on top")] = 1000,
    size: Annotated[int, Option(help="pixels of a side")] = 128,
    seed: int = 0,
) -> None:
    """Draw phantom radiographs into a CheXpert-shaped folder."""
    from chexlib.data import phantom

    phantom.write(Path(out), n=n, size=size, seed=seed)
    print(f"wrote {out}")


def data_pack(
    source: SourceName,
    data: Data = None,
    option: ReaderOptions = None,
    size: Annotated[int, Option(help="pixels of a side")] = 320,
    skip_bad: Annotated[bool, Option("--skip-bad", help="leave out images that cannot be decoded")] = False,
    verify: Annotated[bool, Option("--verify", help="read a packed cache again, and mend it if it is damaged")] = False,
) -> None:
    """Decode and resize a data set's images once, into the cache."""
    from chexlib.data.packed import check_size, pack
    from chexlib.data.sources import find_source, read_listing

    check_size(size)
    root, listing = read_listing(*find_source(source, data), size, **_values(option))
    listing.refuse()
    pixels = pack(root, listing.images, size, skip_bad=skip_bad, verify=verify)
    if pixels.bad:
        print(f"{len(pixels.bad)} images cannot be decoded and are left out: see {pixels.folder / 'bad_images.csv'}")
    images, megabytes = len(pixels) - len(pixels.bad), pixels.array.nbytes / 1e6
    verified = ", verified" if verify else ""
    print(f"{images:,} images at {size} px in {pixels.folder}, {megabytes:,.0f} MB{verified}")


def data_check(
    source: SourceName,
    data: Data = None,
    option: ReaderOptions = None,
    labels_only: Annotated[bool, Option("--labels-only", help="look at the label files alone, at no image")] = False,
    known: Annotated[
        str | None, Option(metavar="HASHES", help="look for copies: a file of --hashes, or a folder of published runs")
    ] = None,
    hashes: Annotated[
        str | None, Option(metavar="FILE", help="write the images' hashes, for another's --known")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look for what is wrong with a data set, before training on it.

    Exits 1 where it finds problems: what training refuses (labels out of range, missing or unreadable images, a patient
    in two splits ...) and what makes scores wrong (constant, inverted, or duplicate images in several splits or of
    several patients, a test set without one of a task's classes, with --known val and test images that HASHES trains
    on). Warnings and notes alone exit 0. What cannot be read at all exits 2.
    """
    from chexlib.data.check import check
    from chexlib.data.sources import find_source, read_listing
    from chexlib.runs.manifest import find_hashes, hide_ids, write_hashes

    if labels_only and (known or hashes):
        raise UserError("--labels-only: hashes are of images: leave it out, or --known and --hashes")
    row, root = find_source(source, data)
    others = find_hashes(known) if known else None
    _, listing = read_listing(row, root, size=128, **_values(option))
    report = check(listing, pixels=not labels_only, known=others)
    print(json.dumps(report.to_json(), indent=1) if as_json else report.text())
    if hashes:
        table = report.hashes if row.shareable else hide_ids(report.hashes, os.urandom(32))
        write_hashes(Path(hashes).expanduser(), table)
    return report.exit_code


def data_describe(
    source: Annotated[str, Argument(metavar="SOURCE", help="a data set's name, its folder, or a label file alone")],
    data: Data = None,
    option: ReaderOptions = None,
    policy: Annotated[str, Option(metavar="POLICY", help="also count the targets under it, e.g. u-ones")] = "",
    unmentioned: Annotated[str, Option(metavar="absent|unknown", help="with it: what is not mentioned is")] = "absent",
    as_json: AsJson = False,
) -> None:
    """Count people, views and findings of a data set or a label file."""
    from chexlib.data.describe import describe_source, text

    described = describe_source(source, data, policy, unmentioned, **_values(option))
    print(json.dumps(described, indent=1) if as_json else text(described))


def weights_list(architectures: Architectures = None) -> None:
    """Which weights this machine has."""
    from chexlib.models.weights import locate

    for row in _rows(architectures):
        found = locate(row)
        where = f"{found[0].name}: {found[1]}" if found else "not here"
        print(f"{row.name:<19} {row.tag:<31} {row.licence:<13} {where}")


def weights_fetch(
    architectures: Architectures = None,
    to: Annotated[Path | None, Option(metavar="FOLDER", help="also copy them there, for CHEXLIB_WEIGHTS")] = None,
) -> int:
    """Download what is missing, and check it."""
    from chexlib.models.weights import make_folder

    folder = to and to.expanduser()
    if folder:
        make_folder(folder)
    return _prepare(architectures, fetch=True, folder=folder)


def weights_check(architectures: Architectures = None) -> int:
    """Load each file into its network; exits 1 where one is missing or wrong."""
    return _prepare(architectures)


def _prepare(names: Texts, **options) -> int:
    """Prints each architecture's file of weights, or what is wrong with it; 1 where something is."""
    from chexlib.models.weights import prepare

    failed = 0
    for row in _rows(names):
        try:
            said = "{}, SHA-256 {}".format(*prepare(row, **options))
        except UserError as error:
            failed, said = failed + 1, error
        print(f"{row.name:<19} {said}")
    print(f"{failed} architectures are without weights" if failed else "all weights are here")
    return int(failed > 0)


def _rows(names: Texts) -> list:
    from chexlib.models import ARCHITECTURES, architecture

    return [architecture(name) for name in names or ()] or list(ARCHITECTURES.values())


def train(
    values: Annotated[Texts, Argument(metavar="FIELD=VALUE", help="without dashes, e.g. arch=resnet18")] = None,
    data: Data = None,
    runs: Runs = None,
    **options,
) -> None:
    """Train one network.

    Its fields are those of chexlib.RunSpec, as options or as FIELD=VALUE. ARCH is a row of chexlib.architectures(), or
    any convolutional network of timm, with the tag of its ImageNet weights (convnext_tiny.fb_in1k) or without. INIT is
    random, imagenet, mean_var, mean_var:weights, transfusion:<stage> (conv1, block1 ...), gabor or file:<path>.
    TARGETS are findings, sex, age, view (lateral) and position (AP), each with its weight in the loss. LOSS auc
    maximises the AUC of findings by an optimiser of its own, with an LR of about 0.1.
    Example: chexlib train --arch convnext_tiny --minus 1 --init imagenet --dataset phantom --size 64
    --augment rotation=10 --augment crop=0.9
    """
    from chexlib.runs.spec import RunSpec
    from chexlib.runs.store import RunStore

    spec = RunSpec.make(chosen_fields(values, options))

    from chexlib.training.loop import fit  # torch, only once the fields are known to be right

    run = fit(spec, data, RunStore.open(runs))
    print(f"finished {run.folder}")


def _train_verb(offered: bool) -> Callable:
    """`train` for typer, where `offered` with an option for each field of RunSpec that is chosen."""
    its = signature(train, eval_str=True)
    parameters = [one for one in its.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    if offered:
        from chexlib.runs.spec import CHOICES, RunSpec

        for field in fields(RunSpec):
            words = f"one of {', '.join(CHOICES[field.name])}; " if field.name in CHOICES else ""
            kind, shown, words = str, "VALUE", f"{words}default {field.default}"
            if field.type.startswith("Mapping"):
                default = " ".join(f"{name}={value:g}" for name, value in field.default_factory().items())
                kind, shown, words = list[str], "NAME=VALUE", f"default {default or 'none'}; repeatable"
            if field.type.startswith("tuple"):
                shown, words = "LIST", f"default [{', '.join(field.default)}]"
            if field.name not in FILLED_IN:
                option = Annotated[kind | None, Option(metavar=shown, help=words)]
                parameters.append(Parameter(field.name, Parameter.KEYWORD_ONLY, default=None, annotation=option))
    verb = wraps(train)(lambda **given: train(**given))
    verb.__signature__ = its.replace(parameters=parameters)
    return verb


def chosen_fields(texts: Texts, options: Mapping[str, str | list[str] | None]) -> dict:
    """The fields of a training, given either way: FIELD=VALUE read as YAML, --field VALUE as the field's type is."""
    from chexlib.runs.spec import RunSpec

    values, types = _values(texts), {field.name: field.type for field in fields(RunSpec)}
    for name, given in options.items():
        if given is None:
            continue
        if name in values:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{name}: given twice, as {name}={values[name]} and with {option}: choose one")
        if isinstance(given, list):
            values[name] = _values(given)
        elif types[name] == "str":
            values[name] = given
        else:
            values |= _values([f"{name}={given}"])
    return values


def _values(texts: Texts) -> dict:
    """NAME=VALUE texts as names and values; a value is read as YAML."""
    from chexlib.runs.spec import read_yaml

    values = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{quoted(text)}: fields are given as NAME=VALUE, e.g. arch=resnet18")
        if name in values:
            raise UserError(f"{name}: given twice, the second time as {quoted(text)}: choose one")
        values[name] = read_yaml(value, quoted(text))
    return values


def study_run(
    study: StudyName,
    data: Data = None,
    runs: Runs = None,
    workers: Annotated[int | None, Option(min=1, metavar="N", help="runs at once (default: as many as fit)")] = None,
    ray: Annotated[str, Option(metavar="ADDRESS", help="on a Ray cluster: HOST:PORT of its head, auto, or local")] = "",
    gpus: Annotated[float | None, Option(metavar="N", help="GPUs a run with --ray (default: 1 where any are)")] = None,
) -> None:
    """Train what is missing of a study; interrupted, the same command goes on."""
    from chexlib.study.launch import run_study

    if gpus is not None and not ray:
        raise UserError(f"--gpus {gpus:g}: goes with --ray, e.g. --ray local; else --workers says how many at once")
    if workers is not None and ray:
        raise UserError(f"--workers {workers}: not with --ray, whose nodes train as many at once as they have room for")
    chosen, store = _study(study, runs)
    trained = run_study(chosen, data, store, workers, ray=ray, gpus=gpus)
    print(f"study {study}: {len(trained)} runs finished in {store.folder}")


def study_plan(
    study: StudyName,
    data: Data = None,
    runs: Runs = None,
    tune: Annotated[bool, Option("--tune", help="try all that the study leaves open, and keep the fastest")] = False,
) -> None:
    """Measure how long a study will take here, and how much disk it needs."""
    from chexlib.study.plan import plan_study
    from chexlib.study.study import settings_file

    chosen, store = _study(study, runs)
    print(plan_study(chosen, data, store, tune).text())
    if tune:
        print(f"settings: kept for the study's runs in {settings_file(chosen, store)}")


def study_status(
    study: StudyName,
    runs: Runs = None,
    watch: Annotated[bool, Option("--watch", help="every 5 s, until all runs are finished")] = False,
    verify: Annotated[bool, Option("--verify", help="read the files of finished runs again: are they whole?")] = False,
) -> None:
    """How far each run of a study is."""
    import time

    from chexlib.study import status

    chosen, store = _study(study, runs)
    while True:
        table = status.study_status(chosen.name, store)
        clear = "\033[2J\033[H" if watch and sys.stdout.isatty() else ""
        print(f"{clear}{status.text(table, store)}", flush=True)
        if not watch or (table["state"] == "finished").all():
            break
        time.sleep(5)
    if verify:
        print(status.verify(chosen.name, store))


def study_export(
    study: StudyName,
    data: Data = None,
    runs: Runs = None,
    out: Annotated[str | None, Option(metavar="FOLDER", help="the folder to write (default results/STUDY)")] = None,
) -> None:
    """Publish predictions, provenance and maps, as the data set's terms allow; --data for maps."""
    from chexlib.results.export import export_study
    from chexlib.runs.store import project_folder

    chosen, store = _study(study, runs)
    folder = export_study(chosen, out or project_folder() / "results" / chosen.name, store, root=data)
    print(f"wrote {folder}")


def _study(name: str, runs: str | None) -> tuple:
    """The study of this name, and the run store."""
    from chexlib.runs.store import RunStore
    from chexlib.study import load_study

    return load_study(name), RunStore.open(runs)


def evaluate(
    predictions: Annotated[list[str], Argument(metavar="PREDICTIONS", help="CSV, Parquet, or a run's folder")],
    truth: Annotated[str | None, Option(metavar="FILE", help="the labels: 1, 0 or empty (none for a run's)")] = None,
    tasks: Annotated[str, Option(metavar="TASK,TASK", help="default: those of all files")] = "",
    inner: Annotated[bool, Option("--inner", help="score what all files have, where one lacks some rows")] = False,
    draws: Draws = 1000,
    interval: Annotated[Interval, Option(help="bca is taken anyway where a class is rare")] = "percentile",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    plot: Annotated[str | None, Option(metavar="FILE", help="draw it, too (.png, .svg or .pdf)")] = None,
) -> None:
    """Score files of predictions: AUROC, AUPRC, intervals, differences.

    A file is a CSV or Parquet table with a row a study (or image): one column names it (Study, Path, Image ...), the
    others hold a score a task, on any scale and in any order; or it is a run's folder, whose images count by study.
    Where patients can be told (patient64741 in the names, or a column patient), they are drawn.
    Example: chexlib evaluate a.csv b.csv --truth groundtruth.csv --tasks Edema,Atelectasis
    """
    from chexlib.evaluate import evaluate as scored

    _choose_one(as_csv, as_json)
    found = scored(predictions, truth, tasks.split(",") if tasks else None, inner, draws, interval)
    if plot:
        found.plot(plot)
    _print(found, as_csv, as_json)


def _choose_one(as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise UserError("--csv and --json: choose one")


def _print(found, as_csv: bool, as_json: bool) -> None:
    """What was found: its table as CSV, all of it as JSON, or its text."""
    from chexlib.escape import csv

    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    elif as_csv:
        print(csv(found.table, index=False), end="")
    else:
        print(found.text())


def diff(
    a: Annotated[str, Argument(metavar="RUN", help="a finished run: its folder, or its name in the store")],
    b: Annotated[str, Argument(metavar="RUN", help="the other one")],
    runs: Runs = None,
    draws: Draws = 1000,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """In what two runs differ, and how far their predictions lie apart.

    First the fields, data, versions and processor that differ. Then, on the test images that both have, for each
    finding: the AUROCs, their paired difference, the mean distance and the rank correlation of probabilities, each
    beside what a seed alone does, where there are runs that tell.
    Example: chexlib diff results/phantom/RUN results/phantom_avx2/RUN
    """
    from chexlib.results.run_diff import diff_runs
    from chexlib.runs.store import RunStore

    _choose_one(as_csv, as_json)
    _print(diff_runs(a, b, RunStore.open(runs), draws), as_csv, as_json)


def predict(
    images: OwnImages,
    model: Model,
    finding: Findings = None,
    runs: Runs = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """A trained run's probabilities of your own images, and what they are worth.

    First says where an image looks inverted, turned, like a lateral view, or like no chest X-ray. Then, for each image
    and finding: the probability; whether it reaches the threshold that was best on the run's validation images; and how
    many of the run's validation and test images with such a probability had the finding. Nothing is written. Not for
    clinical use.
    Example: chexlib predict xray.png --model RUN --finding Edema
    """
    from chexlib.own_images import predict_files
    from chexlib.runs.store import RunStore

    _choose_one(as_csv, as_json)
    found = predict_files(images, model, finding or [], RunStore.open(runs))
    _print(found, as_csv, as_json)


def cam(
    images: OwnImages,
    model: Model,
    out: Annotated[str, Option("-o", "--out", metavar="FOLDER", help="the folder to write into")],
    finding: Findings = None,
    method: Annotated[str, Option(metavar="NAME", help="paper, grad-cam, grad-cam++, hirescam or score-cam")] = "paper",
    force: Annotated[bool, Option("--force", help="write over what an earlier command left there")] = False,
    runs: Runs = None,
) -> None:
    """A trained run's class activation maps of your own images, laid over them.

    Writes a PNG an image and finding, cams.csv with the probabilities, and README.txt, which first say where an image
    looks inverted, turned, like a lateral view, or like no chest X-ray. Not for clinical use: the maps show what a
    network weighed, and not where a disease is.
    """
    from chexlib.cam_files import CSV, NOTE, write_cams
    from chexlib.runs.store import RunStore

    table = write_cams(images, model, out, finding or [], method, RunStore.open(runs), force)
    print((Path(out).expanduser() / NOTE).read_text())
    print(table[["file", "finding", "probability", "overlay"]].to_string(index=False, float_format="{:.3f}".format))
    print(f"wrote {len(table)} overlays, {CSV} and {NOTE} to {out}")


if __name__ == "__main__":
    sys.exit(main())
