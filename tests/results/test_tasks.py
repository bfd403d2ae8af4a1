"""Which tasks `open_results` takes, as Python and as a command line hand them on."""

import pytest

from chexlib.errors import UserError
from chexlib.results import open_results
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
