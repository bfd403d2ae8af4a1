"""Notebooks ask and the library answers: what may stand in a tracked notebook, and what may not."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ORDERED = (
    "01_data",
    "02_baselines",
    "03_pretraining_boost",
    "04_family_analysis",
    "05_truncation",
    "06_cams",
    "07_claims",
    "10_explorer",
    "11_real_xrays",
    "12_runs",
    "13_power",
    "14_errors",
)
GLUED = {
    "01_data": "study_line",
    "02_baselines": "answer_imagenet",
    "03_pretraining_boost": "answer_boost",
    "04_family_analysis": "answer_family",
    "05_truncation": "answer_truncation",
    "06_cams": "answer_cams",
    "07_claims": "answer_claims",
    "11_real_xrays": "answer_real",
    "13_power": "answer_power",
    "14_errors": "answer_errors",
}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def sources(path: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == kind]


def test_the_notebooks_are_there():
    assert set(ORDERED) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestHygiene:
    def test_no_outputs_are_tracked(self, path):
        for cell in read(path)["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [] and cell["execution_count"] is None

    def test_metadata_is_clean(self, path):
        notebook = read(path)
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        assert notebook["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
        assert all(set(cell["metadata"]) <= {"tags", "mystnb"} for cell in notebook["cells"])
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)

    def test_one_parameters_cell_declares_study_data_and_runs(self, path):
        tagged = [cell for cell in read(path)["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1
        tree = ast.parse("".join(tagged[0]["source"]))
        always_published = path.stem == "11_real_xrays"
        names = ["published"] if always_published else ["study", "data", "runs"]
        assert [node.targets[0].id for node in tree.body] == names
        assert all(isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) for node in tree.body)

    def test_cells_are_short_and_define_nothing(self, path):
        for source in sources(path, "code"):
            assert len(source.splitlines()) <= 15
            kinds = (
                ast.FunctionDef,
                ast.AsyncFunctionDef,
                ast.ClassDef,
                ast.Lambda,
                ast.For,
                ast.While,
                ast.If,
                ast.Try,
            )
            assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))

    def test_code_imports_only_what_shows_and_what_answers(self, path):
        for source in sources(path, "code"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom):
                    assert node.module.split(".")[0] in ("chexlib", "chexpaper", "myst_nb")
                assert not isinstance(node, ast.Import)

    def test_no_result_is_typed_into_the_prose(self, path):
        for source in sources(path, "markdown"):
            assert not re.search(r"\d[.,]\d|[<>=]\s*\d", re.sub(r"`[^`]*`", "", source))

    def test_a_sentence_stands_before_each_figure_cell_and_it_has_alternative_text(self, path):
        for cell in read(path)["cells"]:
            draws = cell["cell_type"] == "code" and re.search(r"^figures\.\w+\(", "".join(cell["source"]), re.M)
            if draws:
                assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 20

    def test_it_starts_with_one_title(self, path):
        text = sources(path, "markdown")
        assert text[0].startswith("# ")
        assert sum(line.startswith("# ") for source in text for line in source.splitlines()) == 1


@pytest.mark.parametrize(("stem", "name"), GLUED.items())
def test_what_the_landing_page_quotes_is_glued_as_a_plain_string(stem, name):
    code = "\n".join(sources(FOLDER / f"{stem}.ipynb", "code"))
    glued = {
        node.args[0].value: node.args[1]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glue"
    }
    assert glued[name].func.id == "str"


def test_citations_are_in_the_bibliography():
    known = set(re.findall(r"@\w+\{([^,]+),", (FOLDER.parent / "book" / "references.bib").read_text()))
    used = {
        key
        for path in NOTEBOOKS
        for text in sources(path, "markdown")
        for keys in re.findall(r"\{cite(?::p|:t)?\}`([^`]+)`", text)
        for key in keys.split(",")
    }
    assert used and used <= known
