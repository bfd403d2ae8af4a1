"""Opens what a notebook reads: a study's results and images, or, where there are none, a `Missing` that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexlib.errors import UserError
from chexlib.paper.notes import Missing


def results_or_note(study: str, runs: str | Path | None = None) -> Any:
    """`open_results(study, runs)`, or Missing with its error's words."""
    from chexlib.paper.results import open_results

    try:
        return open_results(study, runs or None)
    except UserError as error:
        return Missing(f"Nothing to show yet: {error}.", study)


def images_or_note(study: str, data: str | Path | None = None) -> Any:
    """The Dataset that a study's runs read, from the folder `data`; Missing where it needs a folder and none is given.

    A folder that is given and cannot be read is the user's to mend: that UserError passes.
    """
    from chexlib.data.dataset import open_for
    from chexlib.study import load_study

    spec = load_study(study).specs()[0]
    if not data and spec.dataset != "phantom":
        return Missing(
            f"Study {study} reads {spec.dataset}, and no folder of it was given (parameter `data`): "
            "its images cannot be shown here.",
            study,
        )
    return open_for(spec, data or None, progress=False)
