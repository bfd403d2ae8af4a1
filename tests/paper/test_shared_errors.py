"""Errors that models share, calibration and operating points, on cases whose answers are known."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import binom

from chexlib import figures
from chexlib.paper import calibration, scored, shared_errors
from chexlib.paper.notes import Missing, Note
from chexlib.paper.results import open_results
from chexlib.paper.scored import wrongly_called
from chexlib.results.export import export_study
from chexlib.study.study import load_study
from tests.made_runs import make_store, study_file
from tests.made_scores import make


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_file(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def store(tmp_path_factory, study):
    return make_store(tmp_path_factory.mktemp("runs"), study)


@pytest.fixture(scope="module")
def results(study, store):
    return open_results(study, store.folder)


def test_two_models_that_miss_the_same_studies_share_every_error():
    y, p = np.ones(10), np.where(np.arange(10) < 3, 0.1, 0.9)
    found = shared_errors.shared(make(y, [p, p]), 1.0)
    assert found.observed.tolist() == [7, 0, 3] and found.n == 10
    np.testing.assert_allclose(found.expected, [4.9, 4.2, 0.9])  # 0.7 and 0.3 each, squared
    assert (found.also, found.also_expected) == (1, pytest.approx(0.3))
    assert found.by_all.value == 0.3 and found.by_all.low < 0.3 < found.by_all.high


def test_models_that_err_independently_share_what_chance_gives():
    rng = np.random.default_rng(0)
    p = rng.random((4, 20_000))
    found = shared_errors.shared(make(np.zeros(20_000), p), 0.0)
    np.testing.assert_allclose(found.observed / found.n, found.expected / found.n, atol=0.01)
    assert found.also == pytest.approx(found.also_expected, abs=0.01) == pytest.approx(0.5, abs=0.02)


def test_equal_rates_give_a_binomial_distribution():
    np.testing.assert_allclose(shared_errors.poisson_binomial([0.2] * 5), binom.pmf(range(6), 5, 0.2))


def test_labels_that_are_unknown_are_no_errors():
    y = np.array([1, np.nan, 1, 0])
    found = make(y, [[0.1, 0.1, 0.9, 0.9]] * 2)
    assert shared_errors.shared(found, 1.0).observed.tolist() == [1, 0, 1]
    assert np.isnan(found.wrong[:, 1]).all()


def test_thresholds_come_from_validation_studies_and_a_score_at_the_threshold_counts_as_present():
    found = make([1, 0], [[0.5, 0.4]])
    assert found.thresholds() == 0.5 and found.wrong.ravel().tolist() == [0, 0]
    one_class = make([1, 0], [[0.5, 0.4]], validation=(np.ones((2, 1)), np.array([[0.1], [0.2]])))
    assert np.isnan(one_class.thresholds()).all() and np.isnan(one_class.wrong).all()
    assert shared_errors.shared(one_class, 1.0).n == 0
    assert np.isnan(wrongly_called(np.ones((1, 1)), np.ones((1, 1, 1)), np.array([[np.nan]]))).all()


def test_variance_of_ranks_is_told_apart():
    rng = np.random.default_rng(0)
    y = np.zeros(400)
    truth = rng.normal(size=400)[:, None]
    alike = [np.stack([truth + own] * 2) for own in rng.normal(size=(5, 400, 1))]  # seeds agree, architectures do not
    parts = shared_errors.disagreement(make(y, np.zeros((5, 400)), seeds=alike))
    assert parts.seed == 0 and parts.architecture > 100 and parts.study > 100
    unlike = [truth + rng.normal(size=(2, 400, 1)) for _ in range(5)]  # another seed is as another architecture
    parts = shared_errors.disagreement(make(y, np.zeros((5, 400)), seeds=unlike))
    assert parts.architecture < 0.1 * parts.seed and parts.total == pytest.approx(833, rel=0.01)  # uniform, percent
    once = shared_errors.disagreement(make(y, np.zeros((5, 400)), seeds=[one[:1] for one in unlike]))
    assert np.isnan(once.seed) and once.architecture > 100


def test_a_study_on_the_wrong_side_of_all_others_is_surely_wrong():
    y = np.array([1, 1, 0, 0, 0])
    found = make(y, [[0.0, 0.9, 0.1, 0.2, 0.3], [0.05, 0.8, 0.3, 0.2, 0.1]])
    cases = shared_errors.cases(found).set_index("study")
    assert cases.loc["s0", "beyond"] == 1 and cases.loc["s1", "beyond"] == 0
    assert cases.loc["s2", "beyond"] == 0.5  # of two present ones, one scores below it
    assert cases["wrong"].to_dict() == {"s0": 2, "s1": 0, "s2": 0, "s3": 0, "s4": 0}
    assert cases.loc["s3", "spread"] == 0 < cases.loc["s2", "spread"]


def test_a_constant_that_is_the_share_of_positives_has_its_brier_score_and_no_gap():
    y = np.array([1, 0, 0, 0] * 10)
    found = calibration.calibration(make(y, [np.full(40, 0.25), np.full(40, 0.35)]))
    assert found.nothing == found.of_best.value == 0.1875
    np.testing.assert_allclose(found.gap, [0, 0.1], atol=1e-12)
    assert found.gap_of_best.low < 0 < found.gap_of_best.high


def test_operating_points_have_intervals_even_where_nothing_is_missed():
    y = np.repeat([1.0, 0.0], 20)
    found = calibration.operating_points(make(y, [np.where(y == 1, 0.9, 0.1), np.full(40, 0.9)]))
    row = found.loc["Edema"]
    assert (row["threshold"], row["sensitivity"].value, row["specificity"].value) == (0.5, 1, 1)
    assert row["sensitivity"].high == 1 and row["sensitivity"].low == pytest.approx(
        0.839, abs=0.001
    )  # Wilson, 20 of 20
    assert (row["median_sensitivity"], row["median_specificity"]) == (1, 0.5)


def test_intervals_of_shares_draw_patients_not_studies():
    y, p = np.ones(40), [np.where(np.arange(40) < 20, 0.1, 0.9)]
    each, two = (make(y, p, patients=patients) for patients in (np.arange(40), np.arange(40) // 20))
    called = (each.p[0] >= 0.5), (each.y == 1)
    assert each.share(*called).low > 0.3 and (two.share(*called).low, two.share(*called).high) == (0, 1)


def test_test_studies_are_described_in_the_order_of_their_labels(results):
    table = results.finished[0].predictions().query("split == 'test'")
    assert results.studies["study"].tolist() == sorted(set(table["study"]))
    assert (results.studies["patient"].to_numpy() == results.patients).all()
    assert results.studies["images"].map(len).sum() == len(table)
    assert (
        set(results.studies["sex"]) == {"F"}
        and set(results.studies["age"]) == {50}
        and set(results.studies["view"]) == {"PA"}
    )
    assert results.counts.loc["Edema"].sum() == results.labels["Edema"].notna().sum()


def test_validation_studies_are_those_of_each_run(results):
    run, (y, p) = results.finished[3], results.validation[3]
    table = run.predictions().query("split == 'val'")
    assert y.shape == p.shape == (table["study"].nunique(), len(results.all_tasks))
    highest = table.groupby("study")["p:Edema"].max().to_numpy()
    np.testing.assert_allclose(p[:, results.all_tasks.index("Edema")], highest)


def test_a_page_tells_of_one_training_of_each_whole_architecture(results):
    found = scored.scored(results)
    assert found.names == ("ResNet18", "EfficientNetLite0") and [len(one) for one in found.seeds] == [3, 1]
    np.testing.assert_array_equal(found.p[0], found.seeds[0][0])
    assert found.tasks == results.tasks and found.y.shape == found.p.shape[1:]


SAY = (scored.about, shared_errors.shared_sentence, shared_errors.disagreement_sentence, shared_errors.answer,
       calibration.sentence, calibration.operating_sentence)  # fmt: skip


@pytest.mark.parametrize("say", SAY)
def test_every_sentence_is_said(results, say):
    text = say(results)
    assert isinstance(text, Note) and text.endswith(".") and "nan" not in text
    assert say(Missing("Not trained yet.")) == ""


@pytest.mark.parametrize("draw", [figures.misread_by, figures.reliability])
def test_every_figure_is_drawn_and_says_phantom(results, draw):
    shown = draw(results)
    assert isinstance(shown, Figure) and results.caption in " ".join(text.get_text() for text in shown.texts)
    assert draw(Missing("Not trained yet.")) == ""


def test_tables_name_the_studies_that_are_surely_wrong(results):
    table = shared_errors.table(results).tables[""]
    assert len(table) == shared_errors.TOP and set(table.index) <= set(results.studies["study"])
    assert shared_errors.table(results, by="spread", most=3).tables[""].shape == (3, 6)
    assert len(next(iter(calibration.operating_table(results).tables.values()))) == len(results.tasks)


def test_ids_that_may_not_be_shown_are_not_and_counts_are(tmp_path):
    study = study_file(tmp_path, "chexpert")
    results = open_results(study, make_store(tmp_path / "runs", study).folder)
    table = shared_errors.table(results)
    assert isinstance(table, Note) and "terms" in table and "patient" not in table
    assert "architectures miss" in shared_errors.shared_sentence(results)


def test_where_labels_are_withheld_the_page_says_so_once(tmp_path):
    study = study_file(tmp_path, "chexpert")
    store = make_store(tmp_path / "runs", study)
    results = open_results(study, export_study(load_study(study), tmp_path / "out", store, progress=False))
    assert results.withheld and "terms" in scored.about(results)
    assert shared_errors.shared_sentence(results) == calibration.sentence(results) == shared_errors.table(results) == ""
    assert figures.misread_by(results) == figures.reliability(results) == figures.by_group(results) == ""
    assert "terms" in shared_errors.answer(results)
