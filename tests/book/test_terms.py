"""Data terms: no id, label, score or pixel of CheXpert reaches an executed notebook or a page, nor where it lies.

A phantom folder is opened as CheXpert, which it looks like. What is published of it is searched byte by byte, and every
search is first made where it must find something.
"""

import io
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output

from chexlib.data import phantom
from chexlib.data.dataset import open_dataset, open_for
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.results import open_results
from chexlib.results.export import export_study
from chexlib.runs.store import RunStore, by_study, predictions_table
from chexlib.stats import auroc
from chexlib.study import load_study
from chexpaper.build.notebooks import run_notebooks
from chexpaper.display import show
from chexpaper.widgets.explorer import encode
from chexpaper.widgets.page import page_html
from tests.made_runs import make_store, scores
from tests.notebooks.test_hygiene import NOTEBOOKS, OWN
from tests.searching import greyness, holds_label_rows, holds_numbers, names_a_patient, photographs, texts

RUNS = [
    {"arch": ["resnet18", "densenet121"], "minus": [0, 1]},
    {"arch": "efficientnet_lite0", "init": ["random", "imagenet"]},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Somebody's folder with CheXpert in it, a study of it, and the study's finished runs."""
    home = tmp_path_factory.mktemp("somebodys")
    folder = home / "CheXpert-v1.0-small"
    phantom.write(folder, n=24, n_valid=24, n_test=48, size=48, progress=False)
    first, second, *_ = sorted(folder.glob("train/*/*/*.jpg"))
    shutil.copyfile(first, second)  # what a check of the folder would name
    study = home / "private.yaml"
    study.write_text(yaml.safe_dump({"common": {"dataset": "chexpert", "size": 48}, "runs": RUNS}))
    dataset = open_for(load_study(study).specs()[0], folder, progress=False)
    rows = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    y, known = dataset.labels[rows], dataset.known[rows]
    ids = dataset.table.iloc[rows]
    make_store(home / "runs", study, lambda spec: predictions_table(ids, FINDINGS, y, known, scores(spec, y)))
    return home


@pytest.fixture(scope="module")
def executed(home, tmp_path_factory):
    """The notebooks that show the study, executed for it: all that the book's pages are made of."""
    out, data = tmp_path_factory.mktemp("executed"), home / "CheXpert-v1.0-small"
    only = [path.stem for path in NOTEBOOKS if path.stem not in OWN]
    run_notebooks(home / "private.yaml", data=data, runs=home / "runs", only=only, out=out, progress=False)
    return out


def test_the_searches_find_what_they_look_for(home):
    folder = home / "CheXpert-v1.0-small"
    assert "train.csv" in names_a_patient(folder) and "groundtruth.csv" in holds_label_rows(folder)
    assert len(photographs(folder)) > 90
    figure, png = Figure(), io.BytesIO()
    figure.subplots().imshow(open_dataset("phantom", folder, size=48, progress=False).pixels[0], cmap="gray")
    figure.savefig(png)
    assert greyness(png.getvalue()) > 0.3


def test_the_search_for_numbers_finds_them_in_a_file_to_be_saved_and_in_a_widget(tmp_path):
    numbers = np.random.default_rng(0).random((4, 20, 3)).astype(np.float32).astype(float)
    csv = show(pd.DataFrame({"n": 1, "score": numbers[0, :, 0]}), "Scores.", pd.DataFrame(numbers[0]), "scores")
    widgets = [page_html("", "", {"deep": [{"replicates": encode(numbers)}]}), page_html("", "", {"auc": [0.12345]})]
    for name, html in zip("abc", (csv._repr_html_(), *widgets), strict=True):
        output = new_output("display_data", data={"text/html": html})
        nbformat.write(new_notebook(cells=[new_code_cell("", outputs=[output])]), tmp_path / f"{name}.ipynb")
    assert holds_numbers(tmp_path, numbers) == ["a.ipynb", "b.ipynb"]
    assert holds_numbers(tmp_path, [0.12345]) == ["c.ipynb"] and holds_numbers(tmp_path, 1 - numbers) == []


def test_no_id_label_or_pixel_of_chexpert_is_published_nor_where_it_lies(home, executed):
    assert sum(name.endswith("01_data.ipynb") for name, _ in texts(executed)) == 1
    assert names_a_patient(executed) == []
    assert holds_label_rows(executed) == []
    assert photographs(executed) == []
    assert [name for name, text in texts(executed) if str(home) in text] == []


def test_no_score_of_chexpert_is_on_a_page_nor_an_exact_auroc(home, executed):
    """Together they would be equations that the labels solve: see tests/results/test_closed_sets.py."""
    areas, scores = [], []
    for run in RunStore(home / "runs").planned("private"):
        table = run.predictions()
        scores.append(table.filter(like="p:").to_numpy(float))
        for split in ("val", "test"):
            y, p, _ = by_study(table[table["split"] == split], TASKS)
            areas.append(auroc(y, p))
    assert holds_numbers(executed, np.ravel(scores)) == []
    assert holds_numbers(executed, np.ravel(areas)) == []


def test_a_run_that_was_trained_is_exported_without_them(home, tmp_path):
    from chexlib.training.loop import fit

    study, store = tmp_path / "one.yaml", RunStore(tmp_path / "runs")
    study.write_text(yaml.safe_dump({"runs": [{"dataset": "chexpert", "arch": "resnet18", "size": 48, "epochs": 1}]}))
    [spec] = load_study(study).specs()
    run = fit(spec, home / "CheXpert-v1.0-small", store, progress=False)
    store.plan("one", [run.run_id])
    out = export_study(load_study(study), tmp_path / "out", store, progress=False)
    assert names_a_patient(store.folder) and len(open_results(study, out).models) == 1
    assert names_a_patient(out) == holds_label_rows(out) == photographs(out) == []
    assert [name for name, text in texts(out) if str(home) in text] == []
