"""RunSpec: everything that determines the numbers of one training, as a frozen value whose hash is the run's name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path

import yaml

from chexlib.data.augment import check_augment
from chexlib.data.dataset import VIEWS
from chexlib.data.labels import FINDINGS, TASKS, UNMENTIONED, parse_policy
from chexlib.data.sources import SOURCES
from chexlib.data.targets import check_targets
from chexlib.errors import UserError, quoted
from chexlib.models.inits import check as check_init

NUMERICS = 2
"""Raised when a change of code changes results, so that older runs are not taken for new ones."""

LATER = {"train_images": 0, "targets": {"findings": 1.0}, "loss": "cross-entropy", "weight_decay": 0.0}
"""Fields that came when runs had been published, at what those did: they are written down only where they say something
else, so that a run keeps its name."""

CHOICES = {
    "dataset": SOURCES,
    "unmentioned": UNMENTIONED,
    "views": VIEWS,
    "aggregate": ("max", "mean"),
    "precision": ("auto", "fp32", "tf32", "bf16"),
    "memory_format": ("auto", "contiguous", "channels_last"),
    "execution": ("auto", "eager", "compiled"),
    "eval_unit": ("images", "steps", "epochs"),
    "loss": ("cross-entropy", "auc"),
}
"""What a field can hold, where that is one of a few words."""

INTEGERS = 2**63 - 1
"""The greatest that tables of runs and generators of random numbers hold."""

RANGES = {
    **dict.fromkeys(("size", "epochs", "batch_size", "accumulate", "processes", "eval_every", "keep"), (1, INTEGERS)),
    **{"seed": (0, INTEGERS), "train_images": (0, INTEGERS), "threads": (1, 1024)},
}
"""The least and the greatest that a field can be, where it is a whole number."""

SETTINGS = {"precision": "fp32", "memory_format": "channels_last", "execution": "eager"}
"""How a network is computed; `auto` leaves it to the device, or to measuring (`study plan --tune`), before a run has
its name. These are what every device can do."""

TYPES = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "str": (str, "text"),
    "bool": (bool, "true or false"),
    "tuple[str, ...]": (list | tuple, "a list of findings"),
}


@dataclass(frozen=True)
class RunSpec:
    """One training. The defaults are the paper's protocol (section 3.1), and our choices where it is silent."""

    # what is learned from
    dataset: str = "phantom"
    options: Mapping[str, int | float | str] = field(default_factory=dict)  # the data set's own, e.g. the phantom's n
    size: int = 320  # pixels, both sides
    policy: str = "u-ones"  # a row of POLICIES or a mix of them, kept in its canonical spelling
    unmentioned: str = "absent"
    views: str = "all"
    train_images: int = 0  # of whole patients, the same for every seed; 0 is all
    augment: Mapping[str, float] = field(default_factory=dict)  # rows of AUGMENTATIONS and their numbers, e.g. rotation
    aggregate: str = "max"  # of a study's views
    tasks: tuple[str, ...] = TASKS  # whose mean AUC chooses checkpoints and is the result
    targets: Mapping[str, float] = field(default_factory=lambda: {"findings": 1.0})  # and their weights in the loss
    # what learns
    arch: str = "densenet121"
    minus: int = 0  # blocks truncated from the end
    norm: bool = False  # a batch norm and ReLU behind what a truncation leaves: the paper's counts do not settle it
    init: str = "random"
    # how
    seed: int = 0
    epochs: int = 3
    batch_size: int = 16
    accumulate: int = 1  # parts of a batch that go through the network one after the other, for want of memory
    processes: int = 1  # GPUs that share each batch
    loss: str = "cross-entropy"  # of findings; auc has an optimiser of its own, whose lr is about 0.1 (auc_margin)
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0  # of all weights, L2: so much of a weight is added to its gradient
    eval_every: int = 8192
    eval_unit: str = "images"  # the paper says steps, which would leave five checkpoints for an ensemble of ten
    keep: int = 10  # checkpoints in the ensemble, those of best mean validation AUC
    # on what, because it changes the last digits
    precision: str = "auto"
    memory_format: str = "auto"
    execution: str = "auto"
    threads: int = 1
    # filled in by `resolve`
    fingerprint: str = ""
    weights: str = ""  # the SHA-256 of an init's file
    numerics: int = NUMERICS

    def __post_init__(self):
        for f in fields(self):
            value, (kinds, words) = getattr(self, f.name), TYPES.get(f.type, (Mapping, "a mapping"))
            if not isinstance(value, kinds) or isinstance(value, bool) > (kinds is bool):
                raise UserError(f"{f.name}={value!r}: must be {words}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(allowed)}")
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                bound = f"at least {least}" if getattr(self, name) < least else f"at most {most}"
                raise UserError(f"{name}={getattr(self, name)}: must be {bound}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 0, and below 1")
        if self.batch_size % (self.accumulate * self.processes):
            parts = f"accumulate={self.accumulate}, processes={self.processes}"
            raise UserError(f"batch_size={self.batch_size}, {parts}: a batch must fall into equal parts")
        if not 0 < self.lr < float("inf"):
            raise UserError(f"lr={self.lr}: the learning rate must be above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"weight_decay={self.weight_decay}: must be 0 or above, e.g. 1e-4")
        if strange := [task for task in self.tasks if task not in FINDINGS]:
            raise UserError(f"tasks: {', '.join(map(str, strange))} is none of {', '.join(FINDINGS)}")
        if not self.tasks:
            raise UserError("tasks: at least one is needed")
        object.__setattr__(self, "tasks", tuple(self.tasks))
        check_init(self.init)
        object.__setattr__(self, "policy", parse_policy(self.policy).name)
        object.__setattr__(self, "augment", check_augment(self.augment))
        object.__setattr__(self, "targets", check_targets(self.targets))
        if self.loss == "auc" and "findings" not in self.targets:
            raise UserError(f"loss='auc': is of findings, and targets are {', '.join(self.targets)}: add findings=1")
        if self.loss == "auc" and parse_policy(self.policy).classes > 1:
            raise UserError(f"loss='auc': goes with no policy of three classes, and policy={self.policy!r} is one")

    @classmethod
    def make(cls, values: Mapping) -> RunSpec:
        """A RunSpec from a mapping, where a misspelt field is an error that names the nearest one."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(known)}"
                raise UserError(f"field {name!r} is unknown: {hint}")
        floats = {f.name for f in fields(cls) if f.type == "float"}
        return cls(**{name: _number(value) if name in floats else value for name, value in values.items()})

    def resolve(self, fingerprint: str, settings: Mapping[str, str] = SETTINGS) -> RunSpec:
        """The same training with the data's fingerprint, and `settings` where it says `auto`: what a run's name."""
        weights = ""
        if self.init.startswith("file:"):
            path = Path(self.init.removeprefix("file:")).expanduser()
            if not path.is_file():
                raise UserError(f"init={self.init!r}: there is no file {path}")
            weights = hashlib.sha256(path.read_bytes()).hexdigest()
        settled = {name: value for name, value in {**SETTINGS, **settings}.items() if getattr(self, name) == "auto"}
        return replace(self, fingerprint=fingerprint, weights=weights, **settled)

    @property
    def teacher(self) -> RunSpec | None:
        """The run whose predictions become the uncertain labels (U-SelfTrained); None under other policies.

        It differs in its policy alone, and has the same fingerprint, as neither policy knows the uncertain labels.
        """
        policy = parse_policy(self.policy).teacher
        return replace(self, policy=policy) if policy and "findings" in self.targets else None

    def images_between_evaluations(self, per_epoch: int) -> int:
        """Images from one evaluation to the next, a whole number of batches; `per_epoch` is the images of one epoch."""
        images = {"images": 1, "steps": self.batch_size, "epochs": per_epoch}[self.eval_unit] * self.eval_every
        return max(1, images // self.batch_size) * self.batch_size

    @property
    def run_id(self) -> str:
        """A readable prefix and a hash of all fields; only a resolved spec has one."""
        if not self.fingerprint or "auto" in (getattr(self, name) for name in SETTINGS):
            raise ValueError("the spec is not resolved: call resolve(dataset.fingerprint) first")
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()[:10]
        minus = f"-minus{self.minus}" + "-norm" * self.norm if self.minus else ""
        init = "".join(c if c.isalnum() or c in "_-" else "_" for c in self.init)
        images = f"-n{self.train_images}" if self.train_images else ""
        targets = "" if list(self.targets) == ["findings"] else f"-{'_'.join(self.targets)}"
        loss = "-auc" if self.loss == "auc" else ""
        return f"{self.dataset}{self.size}{images}{targets}{loss}-{self.arch}{minus}-{init}-s{self.seed}-{digest}"

    def to_json(self) -> str:
        """All fields but those that are as in LATER, sorted, so that equal specs give equal text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        said = {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """The spec that `to_json` gave the text of. UserError for an unknown field, ValueError where it is no JSON."""
        return cls.make(json.loads(text))


class _Loader(yaml.SafeLoader):
    """YAML's, which takes the last of several values of one key in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{quoted(key.value)} stands twice", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str | Path) -> object:
    """Fields as people write them; `where` is for the message. Raises UserError for what is no YAML, and for a key that
    stands twice in a mapping."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{where}: not readable as YAML: {line}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError for a 13th month, and very long numbers
        raise UserError(f"{where}: not readable as YAML: {error}") from None


def _number(value):
    """1 and "1e-4", which YAML takes for text, as the numbers that they are; anything else as it is."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value
