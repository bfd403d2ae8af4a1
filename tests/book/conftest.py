"""Fixtures of the book's tests: made-up results, executed notebooks written by hand, and built books."""

from __future__ import annotations

import base64
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from chexpaper.build.book import build
from chexpaper.widgets import Explorer

ROOT = Path(__file__).parents[2]
TASKS = ["Atelectasis", "Edema", "Pleural Effusion"]
TITLES = {
    "01_data": "Data",
    "02_baselines": "ImageNet transfer performance",
    "03_pretraining_boost": "ImageNet pretraining boost",
    "04_family_analysis": "Performance and efficiency",
    "05_truncation": "Truncated architectures",
    "06_cams": "Class activation maps",
    "07_claims": "Every claim",
    "10_explorer": "Explore the models",
    "11_real_xrays": "Real X-rays",
    "12_runs": "The runs",
    "13_power": "What could have been seen",
    "14_errors": "Errors that models share",
}
ARCHITECTURES = [  # name, family, parameters, top1, in the paper
    ("DenseNet121", "DenseNet", 6_968_206, 74.75, True),
    ("DenseNet169", "DenseNet", 12_508_000, 75.9, True),
    ("ResNet18", "ResNet", 11_180_000, 69.8, True),
    ("ResNet50", "ResNet", 23_540_000, 76.2, True),
    ("MobileNetV2", "MobileNet", 2_242_000, 72.9, True),
    ("NASNetAMobile", "NASNet", 4_260_000, 74.1, False),
    ("EfficientNetLite0", "EfficientNet-Lite", 3_390_000, 74.8, False),
    ("OwnNet", "Own", 1_000_000, float("nan"), False),
]


def made_up_results(n_replicates: int = 60, seed: int = 0, task_replicates: bool = True) -> SimpleNamespace:
    """What `open_results` gives, as far as the explorer asks, from made-up AUCs."""
    rng, rows = np.random.default_rng(seed), []
    for name, family, parameters, top1, in_paper in ARCHITECTURES:
        for init in ("random", "imagenet"):
            for minus in (0, 1) if name == "DenseNet121" else (0,):
                label = name + (f"Minus{minus}" if minus else "")
                rows.append(
                    {
                        "label": f"{label} · {init}",
                        "arch": name.lower(),
                        "minus": minus,
                        "init": init,
                        "seeds": 2,
                        "family": family,
                        "parameters": parameters // (1 + minus),
                        "top1": top1,
                        "in_paper": in_paper,
                    }
                )
    models = pd.DataFrame(rows, index=[row["label"] for row in rows])
    centre = rng.uniform(0.6, 0.9, (len(models), len(TASKS)))
    shared, own = (
        rng.normal(0, 0.02, (n_replicates, 1, 1)),
        rng.normal(0, 0.01, (n_replicates, *centre.shape)),
    )
    by_task = np.clip(centre + shared + own, 0, 1)  # (R, M, T)
    by_task[0, :, 1] = np.nan  # a replicate in which a task lacked a class
    mean = np.nanmean(by_task, axis=2)
    models["auc"] = centre.mean(axis=1)
    models["low"], models["high"] = np.percentile(mean, [2.5, 97.5], axis=0)
    for t, task in enumerate(TASKS):
        models[f"auc:{task}"] = centre[:, t]
    return SimpleNamespace(
        name="made-up",
        models=models,
        replicates=mean,
        tasks=TASKS,
        caption="Made up for a test, no runs",
        task_replicates=by_task if task_replicates else None,
    )


def quoted(notebook: str) -> list[str]:
    """The names that the book's pages glue from a notebook, in order, each once."""
    pages = "".join(page.read_text() for page in sorted((ROOT / "book").glob("*.md")))
    return list(dict.fromkeys(re.findall(rf"executed/{notebook}\.ipynb::(\w+)", pages)))


def executed_notebook(name: str, results: SimpleNamespace):
    """A small notebook as Papermill leaves it: a heading, a glued answer, a table, and the explorer in its own."""
    cells = [
        new_markdown_cell(f"# {TITLES[name]}\n\nA sentence, and $\\rho = 0.1$."),
        _cell('study = "demo"', tags=["parameters"]),
        _cell('study = "smoke"', tags=["injected-parameters"]),
    ]
    for key in quoted(name):
        text = f"An answer glued as {key}, whose “interval” allows it (0.1 to 0.3)."
        cells.append(
            _cell(
                "glue(...)",
                {"text/plain": repr(text)},
                metadata={"scrapbook": {"mime_prefix": "", "name": key}},
            )
        )
    wide = results.models.reset_index(drop=True)
    cells.append(_cell("table", {"text/html": wide.to_html(), "text/plain": "a table"}))
    if name == "10_explorer":
        explorer = Explorer(results)
        cells.append(_cell("Explorer(results)", explorer._repr_mimebundle_()[0]))
        cells.append(_cell("figure", {"image/png": _figure(), "text/plain": "<Figure>"}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    saved = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {"a": {}},
            "version_major": 2,
            "version_minor": 0,
        }
    }
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "widgets": saved})


def _cell(source: str, data: dict | None = None, metadata: dict | None = None, tags: list[str] = ()):
    outputs = [new_output("display_data", data=data, metadata=metadata or {})] if data else []
    return new_code_cell(source, outputs=outputs, execution_count=1, metadata={"tags": list(tags)})


def _figure() -> str:
    file = BytesIO()
    Image.new("RGB", (640, 200), "white").save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def copy_project(folder: Path, notebooks: Path | None = None) -> Path:
    """A project folder with the book's real pages, and executed notebooks: those of a folder, or made-up ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("executed", "__pycache__"))
    executed = folder / "book" / "executed"
    if notebooks:
        shutil.copytree(notebooks, executed, ignore=shutil.ignore_patterns(".*"))
        return folder
    executed.mkdir()
    for name in TITLES:
        nbformat.write(executed_notebook(name, made_up_results()), executed / f"{name}.ipynb")
    return folder


@pytest.fixture
def made_up():
    return made_up_results


@pytest.fixture
def project(tmp_path) -> Path:
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def built_book(smoke_notebooks, tmp_path_factory) -> Path:
    """The HTML folder of the book built from study smoke's executed notebooks."""
    return build(source=copy_project(tmp_path_factory.mktemp("book") / "project", smoke_notebooks)).parent


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site(built_book):
    """The address of a server of the built book on this machine."""
    handler = partial(Quiet, directory=str(built_book))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
