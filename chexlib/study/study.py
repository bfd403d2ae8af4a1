"""A study is a YAML file: what is common to its runs, and the axes along which they differ.

title: Which networks read phantoms?
common: {dataset: phantom, size: 96, epochs: 2}      # fields of RunSpec
runs:                                                # each entry is the product of its lists
  - {arch: [resnet18, densenet121], init: random}
  - {arch: efficientnet_lite0, init: [random, imagenet], minus: [0, 1, 2], seed: [0, 1, 2]}

Where other fields tell networks apart, too, what `common` says of them (or RunSpec's default) goes without saying: the
names of networks say what departs from it (`Study.usual`).

Its runs have names once its specs are resolved, by the data's fingerprint and by settings. Those (precision, memory
layout, compiled or not) that a study leaves to `auto` are what `study plan --tune` measured, kept in the store as
<study>.settings.json, or else what is safe on the device.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import chain, product
from math import prod
from pathlib import Path

from chexlib.data.dataset import open_for
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.data.readers.label_files import read_text
from chexlib.errors import UserError, quoted
from chexlib.models.build import check_model
from chexlib.runs.spec import RunSpec, read_yaml
from chexlib.runs.store import RunStore, project_folder, write_atomically

FIELDS = ("title", "tasks", "common", "runs", "compare_features")
DATA_FIELDS = ("dataset", "size", "policy", "unmentioned", "views", "train_images", "options")

NETWORK = ("arch", "minus", "norm", "init")
"""Fields that every network's name says."""

MOST = 10_000
"""Runs of a study; where there are more, lists were multiplied by mistake."""

SHAPE = ("arch", "minus", "norm", "size", "batch_size", "accumulate")
"""Fields that decide which settings are fast. Both inits and all seeds of a network share them, so that no comparison
between these is one of precisions."""


@dataclass(frozen=True)
class Study:
    """A set of trainings that answer the paper's questions together."""

    name: str
    title: str
    tasks: tuple[str, ...]  # those whose mean AUC is the result
    common: Mapping
    axes: tuple[Mapping, ...]
    compare_features: bool = False  # whether its export says how alike its networks are inside

    def specs(self) -> list[RunSpec]:
        """Every run, in the file's order, each once."""
        return list(self._specs)

    @cached_property
    def _specs(self) -> tuple[RunSpec, ...]:
        specs: dict[str, RunSpec] = {}
        for axis in self.axes:
            lists = {name: value if isinstance(value, list) else [value] for name, value in axis.items()}
            for values in product(*lists.values()):
                of_run = dict(zip(lists, values, strict=True))
                spec = RunSpec.make({"tasks": self.tasks, **self.common, **of_run})
                check_model(spec.arch, spec.size, spec.init, spec.minus, spec.norm)
                specs.setdefault(spec.to_json(), spec)
        return tuple(specs.values())

    @cached_property
    def usual(self) -> dict[str, object]:
        """Fields that tell networks of one architecture, truncation and init apart, and what is usual: `common`'s.

        A key of `options` is "options.n", and None where it is usual to have none. Left out are fields that go with one
        before them (more epochs with fewer images, say), and what differs between architectures or inits alone.
        """
        runs, told = [flat_fields(spec) for spec in self.specs()], [*NETWORK]
        order = [field.name for field in fields(RunSpec)]

        def kinds(names: Iterable[str]) -> int:
            return len({tuple(run.get(name) for name in names) for run in runs})

        for name in sorted(dict.fromkeys(chain(*runs)), key=lambda name: order.index(name.partition(".")[0])):
            if name != "seed" and kinds([*told, name]) > kinds(told):
                told.append(name)
        common = flat_fields(RunSpec.make({"tasks": self.tasks, **self.common, "norm": False}))
        return {name: common.get(name) for name in told[len(NETWORK) :]}


def flat_fields(spec: RunSpec) -> dict[str, object]:
    """A spec's fields, of mappings a field a key: "options.n"."""
    flat = {}
    for name, value in asdict(spec).items():
        flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def study_names() -> list[str]:
    """The studies that come with the project."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_study(name: str | Path) -> Study:
    """The study of this name in notebooks/studies, or in the YAML file at this path.

    Raises UserError where there is none, where the file is not of this form, or where it names an unknown field or
    architecture.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else _folder() / f"{name}.yaml"
    if not os.path.exists(path):
        what = f"study {quoted(name)}: {path} is not there"
        raise UserError(f"{what}: choose one of {', '.join(study_names())}, or give a YAML file")
    content = read_yaml(read_text(path, "a study"), path)
    if not isinstance(content, dict) or "runs" not in content:
        raise UserError(f"{path}: a study needs `runs`, a list of axes")
    if not isinstance(content["runs"], list) or not all(isinstance(axis, dict) for axis in content["runs"]):
        raise UserError(f"{path}: each entry of `runs` is a mapping of fields to values, e.g. {{arch: [resnet18]}}")
    if unknown := sorted(map(str, set(content) - set(FIELDS))):
        raise UserError(f"{path}: {', '.join(unknown)} is no part of a study: it has {', '.join(FIELDS)}")
    content = {"title": path.stem, "tasks": list(TASKS), "common": {}} | content
    if not isinstance(content.setdefault("compare_features", False), bool):
        raise UserError(f"{path}: compare_features is true or false")
    if not isinstance(content["common"], dict) or not isinstance(content["tasks"], list):
        raise UserError(f"{path}: `common` is a mapping of fields to values, and `tasks` a list of findings")
    if strange := [str(task) for task in content["tasks"] if task not in FINDINGS]:
        raise UserError(f"{path}: task {', '.join(strange)} is none of {', '.join(FINDINGS)}")
    axes, compare = tuple(content["runs"]), content["compare_features"]
    runs = sum(prod(len(one) for one in axis.values() if isinstance(one, list)) for axis in content["runs"])
    if runs > MOST:
        raise UserError(f"{path}: its lists multiply to {runs:,} runs: make several studies of at most {MOST:,}")
    study = Study(path.stem, content["title"], tuple(content["tasks"]), content["common"], axes, compare)
    try:
        _ = study.usual  # refuses a `common` that makes no sense by itself
        if not study.specs():
            raise UserError("`runs` is empty")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return study


def _folder() -> Path:
    return project_folder() / "notebooks" / "studies"


def resolve_study(
    study: Study,
    root: str | Path | None = None,
    store: RunStore | None = None,
    progress: bool = True,
    settings: Mapping[str, str] | None = None,
) -> list[RunSpec]:
    """The study's resolved specs, noted in the store as what the study consists of; opens (and packs) its data.

    `settings` is what `auto` becomes where nothing was measured (chexlib.runs.spec.SETTINGS); those that are safe on
    this machine's device where None.
    """
    store = store or RunStore.open()
    safe, tuned = settings or safe_settings(), read_settings(study, store)
    fingerprints: dict[str, str] = {}
    specs = []
    for spec in study.specs():
        data = having(spec, DATA_FIELDS)
        if data not in fingerprints:
            fingerprints[data] = open_for(spec, root, progress).fingerprint
        specs.append(spec.resolve(fingerprints[data], tuned.get(shape(spec), safe)))
    store.plan(study.name, [spec.run_id for spec in specs])
    return specs


def safe_settings() -> dict[str, str]:
    """Those of the device on which this is called, a cluster's node among them; torch is imported only then."""
    from chexlib.training import device

    return device.safe_settings()


def having(spec: RunSpec, names: Iterable[str]) -> str:
    """These fields of a spec as text, by which specs that share them are told from others."""
    return " ".join(f"{name}={getattr(spec, name)}" for name in names)


def shape(spec: RunSpec) -> str:
    """What of a spec decides which settings are fast, as text."""
    return having(spec, SHAPE)


def settings_file(study: Study, store: RunStore) -> Path:
    return store.folder / f"{study.name}.settings.json"


def read_settings(study: Study, store: RunStore) -> dict[str, dict[str, str]]:
    """The settings that were measured, by `shape`; {} where nobody did. Raises UserError where the file is broken."""
    path = settings_file(study, store)
    try:
        return json.loads(path.read_text())["settings"] if path.exists() else {}
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(f'{path}: not readable: remove it, or give "chexlib study plan {study.name} --tune"') from None


def write_settings(study: Study, store: RunStore, device: str, settings: Mapping[str, Mapping[str, str]]) -> None:
    content = {"study": study.name, "device": device, "settings": settings}
    write_atomically(settings_file(study, store), json.dumps(content, indent=1))
