"""What a study consists of: its specs, resolved by the data's fingerprint and by settings.

Settings (precision, memory format, compiled or not) that a study leaves to `auto` are those that `study plan --tune`
measured, kept in the store as <study>.settings.json, or else what is safe on the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from chexlib.data.dataset import open_for
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore, write_atomically
from chexlib.study.study import Study

DATA_FIELDS = ("dataset", "size", "policy", "unmentioned", "views", "options")

SHAPE = ("arch", "minus", "size", "batch_size", "accumulate")
"""Fields that decide which settings are fast. Both inits and all seeds of a network share them, so that no comparison
between these is one of precisions."""


def plan_study(
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
    store.plan(study.name, specs)
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
