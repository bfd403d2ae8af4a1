"""The repository keeps its own promises: pins that agree, nothing heavy tracked, light imports, true commands."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import chexlib
from tests.command_line import parsed

PROJECT = Path(__file__).parents[1]
MODULES = sorted((PROJECT / "chexlib").rglob("*.py"))
MEGABYTE = 2**20
NEEDS_TORCH = ("chexlib.models", "chexlib.training", "chexlib.explain")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines) -> dict[str, str]:
    """Package to version of the lines `name==version`; comments and blank lines are left out."""
    found = {}
    for line in lines:
        requirement = line.split("#")[0].split(";")[0].strip()
        if requirement:
            name, exactly, version = requirement.partition("==")
            assert exactly, f"{requirement!r} is not pinned to one version"
            found[canonical(name.split("[")[0])] = version.strip()
    return found


def lock() -> dict[str, str]:
    return pins((PROJECT / "requirements.lock").read_text().splitlines())


def direct_dependencies(*extras: str) -> set[str]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in lines}


def ours() -> list[Path]:
    """The files that are tracked, or would be."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = [PROJECT / name for name in listed.split("\0") if name]
    return [path for path in files if path.is_file()]


def test_conda_environment_has_the_locks_pins():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = [line for entry in environment["dependencies"] if isinstance(entry, dict) for line in entry["pip"]]
    included = [line.split(maxsplit=1)[1] for line in pip if line.startswith("-r")]
    listed = pins(line for line in pip if not line.startswith("-"))
    assert set(included) <= {"requirements.lock"}
    assert any(line.endswith(" requirements.lock") for line in pip)  # what is not listed is held to the lock, too
    assert set(listed.items()) - set(lock().items()) == set()
    assert included or direct_dependencies("weights") - set(listed) == set()
    for name, _, version in (re.sub(r"\s*=+\s*", "=", entry).partition("=") for entry in conda):
        if name == "python":
            assert re.match(r"3\.1[1-9]\b", version)
        assert lock().get(canonical(name), version) == version


def test_every_direct_dependency_is_locked():
    assert direct_dependencies("weights", "bench", "dev") - set(lock()) == set()


def test_citation_names_this_version_and_licence():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == chexlib.__version__
    assert citation["license"] == "MIT" and (PROJECT / "LICENSE").read_text().startswith("MIT License")


def test_nothing_tracked_is_over_two_megabytes():
    heavy = {str(path): path.stat().st_size for path in ours() if path.stat().st_size > 2 * MEGABYTE}
    assert heavy == {}


def test_no_tracked_notebook_has_outputs():
    for path in (path for path in ours() if path.suffix == ".ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        shown = [number for number, cell in enumerate(cells, 1) if cell["outputs"] or cell["execution_count"]]
        assert shown == [], f"{path}: clear the outputs of code cells {shown}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after the statement."""
    command = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_chexlib_imports_nothing_heavy():
    assert imported_by("import chexlib") & {"torch", "pandas", "numpy", "matplotlib", "timm", "papermill"} == set()


def test_only_models_training_and_explain_import_torch():
    names = [".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    light = [name for name in names if not name.startswith(NEEDS_TORCH) and not name.endswith("__main__")]
    assert len(light) > 10
    assert "torch" not in imported_by("\n".join(f"import {name}" for name in light))


def commands() -> list[str]:
    """Each `chexlib ...` line of a shell block in the documents."""
    lines = []
    for name in ("README.md", "CONTRIBUTING.md", "book/own_data.md", "book/cluster.md"):
        for block in re.findall(r"```bash\n(.*?)```", (PROJECT / name).read_text(), flags=re.DOTALL):
            lines += [line for line in block.splitlines() if line.startswith("chexlib ")]
    return lines


@pytest.mark.parametrize("line", commands())
def test_commands_of_the_documents_exist(line):
    assert callable(parsed(shlex.split(line, comments=True)[1:]).command.callback)
