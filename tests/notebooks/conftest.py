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
    """execute("03_pretraining_boost", runs, tasks=["Edema"]): the names that the notebook's cells leave, as a dict.

    runs: those of a made-up study, as its YAML file lists them. table: gives a run's predictions (`make_store`). Other
    arguments replace those of the notebook's parameters cell.
    """
    stores: dict[str, dict] = {}

    def executed(notebook: str, runs: list[dict], table: Callable | None = None, /, **parameters: object) -> dict:
        key = f"{runs} {table}"
        if key not in stores:
            folder = tmp_path_factory.mktemp("made")
            study = folder / "made.yaml"
            study.write_text(yaml.safe_dump({"common": {"dataset": "phantom", "size": 96}, "runs": runs}))
            stores[key] = {"study": str(study), "runs": str(make_store(folder / "runs", study, table).folder)}
        names: dict = {}
        for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{notebook}, cell {cell.id}", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"replicates": 200, **dict.fromkeys(("short", "beside"), stores[key]["study"])}
                names |= stores[key] | parameters
        return names

    return executed
