"""Labels that terms keep back cannot be computed from an export: an integer program tries to.

An exact AUROC says what the ranks of the positive studies add up to, so with the scores every run is one linear
equation in the labels. The attack is first made on an export that has both, from which it gets all labels.
"""

import hashlib
import json
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.stats import rankdata

from chexlib.data.labels import FINDINGS
from chexlib.results import export, held_out, open_results
from chexlib.results.export import export_study
from chexlib.results.held_out import HeldOut, private_seed, replicates_file
from chexlib.runs.store import RunStore, by_study, predictions_table
from chexlib.stats import auroc, resample_counts
from chexlib.study import load_study
from tests.made_runs import make_store, scores

TASKS = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "No Finding")
RUNS, VAL, TEST = 6, 14, 27
KEY = b"known to this test alone"


def predictions(spec) -> pd.DataFrame:
    """One image of each patient; the first VAL are for validation."""
    rng, n = np.random.default_rng(3), VAL + TEST
    y = (rng.random((n, len(FINDINGS))) < 0.4).astype(float)
    names = [f"patient{64741 + i}" for i in range(n)]
    ids = {"split": np.where(np.arange(n) < VAL, "val", "test"), "image": names, "study": names, "patient": names}
    ids = pd.DataFrame(ids).assign(view="PA", sex="F", age=50.0)
    return predictions_table(ids, FINDINGS, y, np.ones_like(y), scores(spec, y))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    axes = {"arch": "resnet18", "seed": list(range(RUNS))}
    path = tmp_path_factory.mktemp("closed") / "small.yaml"
    path.write_text(yaml.safe_dump({"tasks": list(TASKS), "common": {"dataset": "chexpert"}, "runs": [axes]}))
    return path


@pytest.fixture(scope="module")
def store(study) -> RunStore:
    """Its finished runs, which have logged what a training logs."""
    store = make_store(study.parent / "runs", study, predictions)
    for run in store.planned("small"):
        rows = []
        for event, split in (("eval", "val"), ("ensemble", "val"), ("ensemble", "test")):
            y, p, _ = by_study(run.predictions().query("split == @split"), TASKS)
            areas = dict(zip((f"auc:{task}" for task in TASKS), map(float, auroc(y, p)), strict=True))
            rows.append({"event": event, "split": split, "loss": 1 / 3, "auc": np.mean(list(areas.values()))} | areas)
        run.write_log(rows)
        run.finish()
    return store


@pytest.fixture
def out(study, store, tmp_path, monkeypatch, how) -> RunStore:
    """The study's export, as it is or as it once was: with scores, all that was logged, and every digit."""
    monkeypatch.setattr(export.secrets, "token_bytes", lambda _: KEY)
    if how == "before":
        monkeypatch.setattr(export, "ROWS", (*export.ROWS, *(f"p:{task}" for task in TASKS)))
        monkeypatch.setattr(export, "shown_log", lambda run: run.log() + run.log("ensemble"))
        monkeypatch.setattr(held_out, "DIGITS", 15)
    return RunStore(export_study(load_study(study), tmp_path / "out", store, progress=False))


def solved(ranks: np.ndarray, areas: np.ndarray, positives: int) -> np.ndarray | None:
    """Labels (S,), so many of them positive, under which scores of these ranks (M, S) have these AUROCs (M,)."""
    n = ranks.shape[1]
    sums = areas * positives * (n - positives) + positives * (positives + 1) / 2  # of the ranks of the positive ones
    coefficients, right = np.concatenate([np.ones((1, n)), ranks]), np.array([positives, *sums])
    equations = LinearConstraint(coefficients, right - 0.1, right + 0.1)
    any_of_many = np.random.default_rng(0).random(n)
    found = milp(any_of_many, constraints=equations, bounds=Bounds(0, 1), integrality=np.ones(n))
    return None if found.x is None else found.x.round()


def attacked(out: RunStore, split: str) -> pd.DataFrame:
    """What an export gives away of the labels: a row a study, by its hashed id, a column a task."""
    runs = out.planned("small")
    facts = json.loads(pq.read_schema(replicates_file(out.folder, "small")).metadata[held_out.METADATA])
    tables = [run.predictions().set_index("split").loc[split].groupby("study").max() for run in runs]
    logged = [row for run in runs for row in run.log("ensemble") if row["split"] == split]
    guessed = {}
    for place, task in enumerate(TASKS):
        areas = [row[f"auc:{task}"] for row in logged]
        positives = range(1, len(tables[0]))  # how many is tried out
        if split == "test":
            areas, positives = [facts["auroc"][run.run_id][place] for run in runs], [facts["counts"][task]["positives"]]
        ranks = np.zeros((0, len(tables[0])))
        if areas and f"p:{task}" in tables[0]:
            ranks = rankdata([table[f"p:{task}"] for table in tables], axis=1)  # (M, S)
        labels = (solved(ranks, np.array(areas[: len(ranks)]), n) for n in positives)
        guessed[task] = next(found for found in labels if found is not None)
    return pd.DataFrame(guessed, index=tables[0].index)


def recovered(guessed: pd.DataFrame, store: RunStore) -> float:
    """Sensitivity plus specificity less 1, mean over tasks: 1 where all labels are right, 0 by chance."""
    truth = store.planned("small")[0].predictions().set_index("study")[[f"y:{task}" for task in TASKS]]
    truth.index = [hashlib.blake2b(f"study {n}".encode(), key=KEY, digest_size=8).hexdigest() for n in truth.index]
    y, found = truth.loc[guessed.index].to_numpy(), guessed.to_numpy()  # (S, T)
    shares = [found[y[:, t] == 1, t].mean() - found[y[:, t] == 0, t].mean() for t in range(len(TASKS))]
    return float(np.mean(shares))


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize(("how", "least", "most"), [("before", 0.99, 1), ("now", -0.25, 0.25)])
def test_an_integer_program_finds_no_label_of_a_closed_set(out, store, split, least, most):
    assert least <= recovered(attacked(out, split), store) <= most


@pytest.mark.parametrize("how", ["now"])
def test_an_export_of_a_closed_set_holds_no_score_no_aurocs_of_single_tasks_and_no_digit_too_many(out, study):
    for run in out.planned("small"):
        assert list(run.predictions()) == ["split", "image", "study", "patient"]
        lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
        assert [set(line) for line in lines] == [{"event", "split", "loss", "auc"}]
        assert lines[0]["loss"] == 0.3333 and lines[0]["auc"] == round(lines[0]["auc"], 4)
    table = pd.read_parquet(replicates_file(out.folder, "small"))
    drawn = table.drop(columns=["replicate", "task"]).to_numpy(float)
    assert table["replicate"].min() == 1 and np.nanmax(np.abs(drawn - drawn.round(4))) < 1e-7
    assert open_results(study, out.folder).models["auc"].between(0.5, 1).all()


@pytest.mark.parametrize("how", ["now"])
def test_pages_of_a_closed_set_say_the_same_whether_its_labels_are_at_hand_or_not(out, study, store):
    ours, theirs = open_results(study, store.folder), open_results(study, out.folder)
    assert theirs.withheld and not ours.withheld
    np.testing.assert_array_equal(ours.bootstrap.area, theirs.bootstrap.area)
    np.testing.assert_array_equal(ours.bootstrap.replicates, theirs.bootstrap.replicates)
    for ours_run, theirs_run in zip(ours.finished, theirs.finished, strict=True):
        pd.testing.assert_frame_equal(ours.log(ours_run.run_id), theirs.log(theirs_run.run_id))


@pytest.mark.parametrize("guessable", [True, False])
def test_labels_are_not_found_by_trying_which_of_them_give_the_seed(guessable, monkeypatch):
    """A replicate without a positive study says that none was drawn: whoever could redo the draws would know whom."""
    rng, n, n_boot = np.random.default_rng(0), 12, 100
    labels = np.isin(np.arange(n), [3, 8]).astype(float)[:, None]
    patients = [f"patient{64741 + i}" for i in range(n)]
    if guessable:
        monkeypatch.setattr(held_out, "private_seed", lambda labels, patients, _: private_seed(labels, patients, n))
    tested = HeldOut(("Edema",), labels, rng.random((1, n, 1)), np.array(patients), closed=True)
    lacking = np.isnan(tested.bootstrap(n_boot).replicates[:, 0, 0])
    found = []
    for positives in combinations(range(n), 2):
        tried = np.isin(np.arange(n), positives).astype(float)[:, None]
        drawn = resample_counts(n, patients, n_boot, private_seed(tried, patients, n))[:, positives].sum(axis=1)
        if np.array_equal(drawn == 0, lacking):
            found.append(positives)
    assert lacking.any() and found == [(3, 8)] * guessable
