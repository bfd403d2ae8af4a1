"""Which tasks `open_results` takes, as Python and as a command line hand them on; and that training takes the same."""

import numpy as np
import pandas as pd
import pytest

from chexlib.data import phantom
from chexlib.data.dataset import open_for
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.errors import UserError
from chexlib.results import open_results
from chexlib.study import load_study
from chexlib.training.predict import compared_tasks, table_of
from tests.made_runs import make_store, study_file


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    study = study_file(folder)
    return study, make_store(folder / "runs", study).folder


@pytest.mark.parametrize("tasks", [["Edema"], ("Edema",), "Edema", '["Edema"]', "[Edema]"])
def test_one_task_is_the_result(made, tasks):
    assert open_results(*made, tasks=tasks).tasks == ("Edema",)


@pytest.mark.parametrize("tasks", [(), [], "", "[]"])
def test_none_asked_for_means_all_that_are_not_rare(made, tasks):
    results = open_results(*made, tasks=tasks)
    assert results.tasks == tuple(task for task in results.all_tasks if task != "Consolidation")


def test_a_list_that_is_none_is_refused(made):
    with pytest.raises(UserError, match=r"tasks: \[Edema is not a list"):
        open_results(*made, tasks="[Edema")
    with pytest.raises(UserError, match="tasks: Hernia is none of study made's"):
        open_results(*made, tasks="[Hernia]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CheXpert-shaped folder of 69 test studies, of which eleven have two images."""
    path = tmp_path_factory.mktemp("data") / "counted"
    phantom.write(path, n=8, n_valid=8, n_test=80, size=48, seed=1, progress=False)
    return path


@pytest.mark.parametrize(
    ("positives", "kept"),
    [
        ({"Atelectasis": 25, "Cardiomegaly": 24, "Edema": 44, "No Finding": 45}, ("Atelectasis", "Edema")),
        ({"Cardiomegaly": 24, "Edema": 0, "No Finding": 69}, TASKS),  # nothing can be compared: all are
    ],
)
def test_checkpoints_are_chosen_by_the_tasks_in_which_networks_are_compared(folder, tmp_path, positives, kept):
    """Of 69 studies; those with two images come first, so that 24 positive studies have more than 25 images."""
    truth = pd.read_csv(folder / "groundtruth.csv")
    two = [len(list((folder.parent / name).glob("*"))) > 1 for name in truth["Study"]]
    place = np.argsort(~np.array(two), kind="stable").argsort()  # of each study
    for task in FINDINGS:
        truth[task] = (place < positives.get(task, 0)).astype(int)
    truth.to_csv(folder / "groundtruth.csv", index=False)
    study = study_file(tmp_path)
    spec = load_study(study).specs()[0]
    dataset = open_for(spec, folder, progress=False)
    rows = dataset.rows("test")
    assert (len(rows), sum(two)) == (80, 11) and dataset.labels[rows, FINDINGS.index("Cardiomegaly")].sum() >= 25
    p = np.random.default_rng(0).random((len(rows), len(FINDINGS)))
    store = make_store(tmp_path / "runs", study, lambda spec: table_of(dataset, rows, p))
    assert tuple(compared_tasks(spec, dataset)) == open_results(study, store.folder).tasks == kept
