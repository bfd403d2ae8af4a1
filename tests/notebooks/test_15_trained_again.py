"""How notebook 15 holds runs of this machine against published ones of the same name."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml

from chexlib.data.labels import TASKS
from chexlib.runs.store import RunStore
from tests.made_runs import RUNS, make_store, predictions

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "15_trained_again.ipynb"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """page(table): what the notebook's cells leave where study `made` is published, and runs here predict `table`."""
    (tmp_path / "_toc.yml").touch()
    study = tmp_path / "notebooks" / "studies" / "made.yaml"
    study.parent.mkdir(parents=True)
    study.write_text(yaml.safe_dump({"common": {"dataset": "phantom", "size": 96}, "runs": RUNS}))
    make_store(tmp_path / "results" / "made", study, noisy(0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHEXLIB_RUNS", str(tmp_path / "runs"))

    def executed(table=None) -> dict:
        if table:
            make_store(tmp_path / "runs", study, table)
        names: dict = {}
        for cell in nbformat.read(NOTEBOOK, 4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"study": "made", "replicates": 20}
        return names

    return executed


def noisy(seed: int, weight: float = 0.02):
    """Predictions whose noise hangs on the run's seed as well, so that the study has a spread of seeds."""

    def table(spec):
        made, rng = predictions(spec), np.random.default_rng((spec.seed, seed))
        columns = [f"p:{task}" for task in TASKS]
        made[columns] = np.clip(made[columns] + rng.normal(scale=weight, size=(len(made), len(columns))), 0, 1)
        return made

    return table


def test_the_same_predictions_are_equal_to_the_last_bit(page):
    compared = page(noisy(0))["compared"]
    assert len(compared) == 8 and set(compared["where"]) == {"here"}
    assert (compared["largest of a probability"] == 0).all() and (compared["difference"] == 0).all()
    assert (compared["agrees"] == "yes").all()


def test_what_differs_as_seeds_do_agrees_and_what_differs_by_more_does_not(page):
    compared = page(noisy(1))["compared"]
    assert (compared["largest of a probability"] > 0).all()
    assert (compared["agrees"] == "yes").mean() >= 0.75  # in 95 of 100 cases
    inverted = page(lambda spec: noisy(0)(spec).assign(**{f"p:{t}": 0.5 for t in TASKS}))["compared"]
    assert (inverted["agrees"] == "no").all() and (inverted["again"] == 0.5).all()


def test_two_seeds_are_said_to_lie_apart_by_what_the_published_ones_do(page):
    names = page(noisy(0))
    its = names["published"].runs.query("label == 'ResNet18' or label == 'ResNet18Minus1'").groupby("model")["auc"]
    sd = np.sqrt(its.var(ddof=1).mean())  # two networks of three seeds each: pooled
    apart = names["compared"].query("network == 'ResNet18 · random'")["two seeds"]
    few = 2.776 / 1.96  # Student's 97.5 % quantile of four degrees of freedom over the normal one
    np.testing.assert_allclose(apart, 1.96 * np.sqrt(2) * few * sd, rtol=1e-3)


def test_without_a_second_seed_it_is_not_known_what_agrees_unless_it_is_equal(page, monkeypatch):
    monkeypatch.setattr("chexlib.results.Results.spreads", property(lambda results: dict.fromkeys(results._places)))
    assert set(page(noisy(0))["compared"]["agrees"]) == {"yes"}
    assert set(page(noisy(1))["compared"]["agrees"]) == {"not known"}


def test_where_nothing_was_trained_here_the_page_says_none(page):
    names = page()
    assert names["compared"].empty and len(names["here"]) == 0


def test_a_run_that_is_not_finished_is_not_compared(page, tmp_path):
    page(noisy(0))
    run = RunStore(tmp_path / "runs").planned("made")[0]
    (run.folder / "done.json").unlink()
    assert len(page()["compared"]) == 7
