"""The paper's protocol, a row a point: what section 3.1 fixes, how we read it, what we chose where it is silent.

Source: Ke et al., CheXtransfer, arXiv:2101.06871. `table` holds a study against it. What names a run (architecture,
init, seed ...) is no point of the protocol, and is in IDENTITY; every other field of RunSpec belongs to one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from chexlib.data.labels import TASKS
from chexlib.data.sources import SOURCES
from chexlib.results import Results
from chexlib.runs.spec import RunSpec

PRINTED, READING, SILENT, DEVIATES = "as printed", "our reading", "the paper is silent", "deviates"
CHOSE_OTHERWISE = "the paper is silent, and we chose otherwise"
"""How a study has a point; the last of a study that departs from our own choice."""

IDENTITY = ("arch", "minus", "init", "seed", "options", "train_images", "fingerprint", "weights", "numerics")
"""Fields of RunSpec that say which run it is, of which images and by which code, and not how it is trained."""

FOR_DEVICE = "as is best on the device"
"""What a spec leaves open until it is known where it will run."""

POLICIES = {
    "u-ones": "U-Ones",
    "u-zeros": "U-Zeros",
    "u-ignore": "U-Ignore",
    "u-multiclass": "U-MultiClass",
    "u-selftrained": "U-SelfTrained",
    "u-mixed": "U-Mixed",
}


@dataclass(frozen=True)
class Training:
    """One run, as the points are held against it; one that is only planned has no provenance, and its spec's tasks."""

    spec: RunSpec
    tasks: tuple[str, ...] = ()  # those in the mean, once that is known
    provenance: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One thing that a training needs. `value` says how a run has it, "" where that is not known.

    A value that equals `paper` or `printed` is the paper's; one that equals `ours` is our reading of it, or our choice
    where the paper is silent (`paper` is empty). Where there is none of these, any value is as good as another.
    """

    what: str
    value: Callable[[Training], str]
    fields: tuple[str, ...] = ()  # of RunSpec
    paper: str = ""
    printed: str = ""  # the paper's value in our words, where its own differ
    ours: str = ""
    why: str = ""  # the paper can be read in another way

    def mark(self, value: str) -> str:
        """How a value stands to the paper's, or to our choice where it is silent."""
        if not self.paper:
            return SILENT if value == self.ours or not self.ours else CHOSE_OTHERWISE
        if value in (self.paper, self.printed):
            return PRINTED
        return READING if value == self.ours else DEVIATES


def table(trainings: Iterable[Training]) -> pd.DataFrame:
    """One row a point of which any run says something, indexed by what it is.

    Columns: paper (its words, or our choice where it is silent), study (the value, or each with how many runs have it),
    mark (the gravest of the values'), why (the paper can be read in another way; of readings alone).
    """
    trainings, rows = list(trainings), {}
    for point in POINTS:
        values = Counter(value for run in trainings if (value := point.value(run)))
        if not values:
            continue
        marks = {point.mark(value) for value in values}
        mark = next(one for one in (DEVIATES, CHOSE_OTHERWISE, READING, SILENT, PRINTED) if one in marks)
        counted = [value if len(values) == 1 else f"{value} ({n} runs)" for value, n in values.items()]
        rows[point.what] = {
            "paper": point.paper or ("not said" + (f"; our choice: {point.ours}" if point.ours else "")),
            "study": ", ".join(counted),
            "mark": mark,
            "why": point.why if mark == READING else "",
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["paper", "study", "mark", "why"])


def of_results(results: Results) -> list[Training]:
    """A study's finished runs."""
    return [Training(run.spec, tuple(results.tasks), run.provenance) for run in results.finished]


def _always(text: str) -> Callable[[Training], str]:
    return lambda run: text


def _augmentation(run: Training) -> str:
    return ", ".join(f"{name} {number:g}" for name, number in run.spec.augment.items()) or "none"


def _optimiser(run: Training) -> str:
    return "PESG" if run.spec.loss == "auc" else f"Adam, β₁ = {run.spec.beta1:g}, β₂ = {run.spec.beta2:g}"


def _division(run: Training) -> str:
    parts, processes = run.spec.accumulate, run.spec.processes
    ways = {f"by {processes} processes": processes > 1, f"in {parts} parts one after the other": parts > 1}
    taken = [way for way, is_taken in ways.items() if is_taken]
    return ", ".join([*taken, "batch norm over a part"]) if taken else "undivided"


def _evaluations(run: Training) -> str:
    n, unit = run.spec.eval_every, run.spec.eval_unit
    return f"every {unit.removesuffix('s')}" if n == 1 else f"every {n:,} {unit}"


def _loss(run: Training) -> str:
    kind = "AUC margin" if run.spec.loss == "auc" else "cross-entropy"
    if list(run.spec.targets) == ["findings"]:
        return f"{kind} of each finding, averaged over the labels that are known"
    weighted = ", ".join(f"{weight:g} × {name}" for name, weight in run.spec.targets.items())
    return f"{kind}, of {weighted}, each averaged over the labels that are known"


def _norm(run: Training) -> str:
    """Whole networks end as their authors made them."""
    how = "after one more batch norm and ReLU" if run.spec.norm else "as the last block leaves them"
    return how if run.spec.minus else ""


def _score(run: Training) -> str:
    return f"the {'maximum' if run.spec.aggregate == 'max' else run.spec.aggregate} of its images"


def _tasks(run: Training) -> str:
    tasks = run.tasks or run.spec.tasks
    return "all six" if set(tasks) == set(TASKS) else ", ".join(tasks)


def _computed(run: Training) -> str:
    settings = [run.spec.memory_format.replace("_", " "), run.spec.execution]
    settings = dict.fromkeys(FOR_DEVICE if setting == "auto" else setting for setting in settings)
    return f"{', '.join(settings)}, {run.spec.threads} thread{'s' * (run.spec.threads > 1)}"


def _torch(run: Training) -> str:
    version = run.provenance.get("packages", {}).get("torch", "")
    return f"PyTorch {version}" if version else ""


POINTS = (
    Point("Images", lambda run: SOURCES[run.spec.dataset].title, ("dataset",), paper="CheXpert"),
    Point("Size", lambda run: f"{run.spec.size} by {run.spec.size} pixels", ("size",), ours="320 by 320 pixels"),
    Point("Views", lambda run: run.spec.views, ("views",), ours="all"),
    Point("Augmentation", _augmentation, ("augment",), ours="none"),
    Point("Uncertain labels", lambda run: POLICIES.get(run.spec.policy, run.spec.policy), ("policy",), ours="U-Ones"),
    Point("Findings not mentioned", lambda run: run.spec.unmentioned, ("unmentioned",), ours="absent"),
    Point(
        "Normalisation",
        _always("by the checkpoint's mean and deviation; from random weights, by the training set's"),
        paper="by the mean and standard deviation of ImageNet; from random weights, by CheXpert's",
        ours="by the checkpoint's mean and deviation; from random weights, by the training set's",
        why="not all checkpoints share one mean and deviation",
    ),
    Point("What is trained", _always("all parameters"), paper="all parameters"),
    Point(
        "Loss",
        _loss,
        ("targets", "loss"),
        paper="cross-entropy",
        ours="cross-entropy of each finding, averaged over the labels that are known",
        why="an image can have several findings; how to average is not said",
    ),
    Point("Optimiser", _optimiser, ("beta1", "beta2"), paper="Adam, β₁ = 0.9, β₂ = 0.999"),
    Point("Learning rate", lambda run: f"{run.spec.lr:g}", ("lr",), paper="0.0001"),
    Point("Schedule", _always("none"), ours="none"),
    Point("Weight decay", lambda run: f"{run.spec.weight_decay:g}", ("weight_decay",), ours="0"),
    Point("Images in a batch", lambda run: f"{run.spec.batch_size}", ("batch_size",), paper="16"),
    Point("A batch is computed", _division, ("accumulate", "processes"), ours="undivided"),
    Point("Epochs", lambda run: f"{run.spec.epochs}", ("epochs",), paper="3"),
    Point(
        "Evaluations",
        _evaluations,
        ("eval_every", "eval_unit"),
        paper="every 8,192 gradient steps",
        printed="every 8,192 steps",
        ours="every 8,192 images",
        why="in gradient steps three epochs hold five, and ten checkpoints are to be chosen; or one run of an "
        "architecture means two runs of five (both conjectures)",
    ),
    Point(
        "Checkpoints",
        lambda run: f"the best {run.spec.keep}",
        ("keep",),
        paper="the ten of best mean validation AUC over the six tasks",
        printed="the best 10",
    ),
    Point(
        "Ensemble",
        _always("the mean of the checkpoints' probabilities"),
        paper="one final model of the checkpoints",
        ours="the mean of the checkpoints' probabilities",
        why="how they are combined is not said",
    ),
    Point("Maps of a truncated network", _norm, ("norm",), ours="as the last block leaves them"),
    Point("Score of a study", _score, ("aggregate",), ours="the maximum of its images"),
    Point("Tasks in the mean", _tasks, ("tasks",), paper="all six"),
    Point(
        "Intervals",
        _always("95 % of 1,000 replicates, patients drawn anew"),
        paper="95 % of 1,000 replicates drawn from the test set",
        ours="95 % of 1,000 replicates, patients drawn anew",
        why="whether images, studies or patients are drawn is not said",
    ),
    Point("Precision", lambda run: run.spec.precision.replace("auto", FOR_DEVICE), ("precision",)),
    Point("Computed", _computed, ("memory_format", "execution", "threads")),
    Point(
        "Device",
        lambda run: run.provenance.get("device", ""),
        paper="up to four Nvidia GTX 1080",
        printed="NVIDIA GeForce GTX 1080",
    ),
    Point("Software", _torch, paper="PyTorch 1.4.0"),
)
"""In the order in which a training meets them."""
