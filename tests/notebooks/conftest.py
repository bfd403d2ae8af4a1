"""The notebooks' code, executed in this process on runs that nobody trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.made_runs import make_store

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def execute(tmp_path_factory) -> Callable[..., dict]:
    """execute("03_pretraining_boost", runs=[...], tasks=[...]): the names that the notebook's cells leave, as a dict.

    runs: those of a made-up study, as its YAML file lists them; other arguments replace those of the parameters cell.
    """
    made = {}

    def namespace(notebook: str, runs: list[dict], **parameters: object) -> dict:
        key = yaml.safe_dump(runs)
        if key not in made:
            folder = tmp_path_factory.mktemp("made")
            study = folder / "made.yaml"
            study.write_text(yaml.safe_dump({"common": {"dataset": "phantom", "size": 96}, "runs": runs}))
            made[key] = {"study": str(study), "runs": str(make_store(folder / "runs", study).folder)}
        names: dict = {}
        for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{notebook}, cell {cell.id}", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"replicates": 200} | made[key] | parameters
        return names

    return namespace
