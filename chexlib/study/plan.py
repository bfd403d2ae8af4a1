"""What a study consists of: its specs, resolved by the data's fingerprint and the device's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chexlib.data.dataset import open_for
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.study.study import Study

DATA_FIELDS = ("dataset", "size", "policy", "unmentioned", "views", "options")


def plan_study(
    study: Study,
    root: str | Path | None = None,
    store: RunStore | None = None,
    progress: bool = True,
    settings: Mapping[str, str] | None = None,
) -> list[RunSpec]:
    """The study's resolved specs, noted in the store as what the study consists of; opens (and packs) its data.

    `settings` is what `auto` becomes (chexlib.runs.spec.SETTINGS); those of this machine's device where None.
    """
    from chexlib.training.devices import safe_settings

    settings = settings or safe_settings()
    fingerprints: dict[str, str] = {}
    specs = []
    for spec in study.specs():
        key = repr([getattr(spec, name) for name in DATA_FIELDS])
        if key not in fingerprints:
            fingerprints[key] = open_for(spec, root, progress).fingerprint
        specs.append(spec.resolve(fingerprints[key], settings))
    (store or RunStore.open()).plan(study.name, specs)
    return specs
