"""What may stand in a tracked notebook: an analysis in the open, and sentences whose numbers the cells glue."""

import ast
import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PARAMETERS = ["study", "data", "runs", "tasks", "margin", "replicates", "seed"]
GLUED = r"\{glue:text\}`([^`]+)`"


def cells(path: Path, kind: str = "") -> list[dict]:
    """The notebook's cells (of one kind), each with its source as one string."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found if kind in ("", cell["cell_type"])]


def glued(path: Path) -> set[str]:
    """The names that a notebook's code glues."""
    calls = [node for cell in cells(path, "code") for node in ast.walk(ast.parse(cell["source"]))]
    calls = [node for node in calls if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glue"]
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


OWN = ("08_transfusion", "11_real_xrays", "15_trained_again")
"""Notebooks that show a study of their own, whatever study other pages show."""


def test_the_notebooks_are_those_of_the_contents():
    named = re.findall(r"book/executed/(\w+)", (PROJECT / "_toc.yml").read_text())
    assert named and {path.stem for path in NOTEBOOKS} == set(named)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestHygiene:
    def test_no_outputs_are_tracked_and_metadata_is_clean(self, path):
        for cell in cells(path, "code"):
            assert cell["outputs"] == [] and cell["execution_count"] is None
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        assert json.loads(path.read_text())["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
        assert all(set(cell["metadata"]) <= {"tags", "mystnb"} for cell in cells(path))
        ids = [cell["id"] for cell in cells(path)]
        assert len(set(ids)) == len(ids)

    def test_one_parameters_cell_declares_what_every_notebook_takes(self, path):
        [cell] = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
        values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell["source"]).body}
        assert list(values)[:3] == PARAMETERS[:3]
        assert ("own-study" in cell["metadata"]["tags"]) == (path.stem in OWN)

    def test_code_cells_fit_a_screen(self, path):
        for cell in cells(path, "code"):
            assert len([line for line in cell["source"].splitlines() if line.strip()]) <= 25

    def test_it_starts_with_its_one_title(self, path):
        text = [cell["source"] for cell in cells(path, "markdown")]
        assert text[0].startswith("# ")
        assert sum(line.startswith("# ") for source in text for line in source.splitlines()) == 1

    def test_every_number_in_a_sentence_is_glued_by_a_cell(self, path):
        for cell in cells(path, "markdown"):
            for name in re.findall(GLUED, cell["source"]):
                assert name in glued(path)


@pytest.mark.parametrize("page", sorted((PROJECT / "book").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_quotes_what_a_notebook_glues(page):
    for text in re.findall(GLUED, page.read_text()):
        notebook, _, name = text.partition("::")
        assert name.endswith(":s"), text  # which a name from another page needs
        assert name.removesuffix(":s") in glued(PROJECT / "notebooks" / Path(notebook).name)
