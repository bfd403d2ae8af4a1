"""Groups of studies: who is in them, which can be compared, and gaps that were planted."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from chexlib import figures
from chexlib.paper import groups
from chexlib.paper.notes import Missing
from chexlib.paper.results import _one_a_study, open_results
from tests.made_runs import make_store, predictions, study_file
from tests.made_scores import make


def people(n: int = 400) -> pd.DataFrame:
    """Women and men in turn, ages 20, 45 and 70 in turn, AP and PA in halves."""
    return pd.DataFrame(
        {
            "study": [f"s{i}" for i in range(n)],
            "sex": np.where(np.arange(n) % 2, "M", "F"),
            "age": np.array([20.0, 45.0, 70.0])[np.arange(n) % 3],
            "view": np.where(np.arange(n) < n // 2, "AP", "PA"),
        }
    )


def planted(n: int = 400, models: int = 2):
    """Architectures that are always right on women and guess on men."""
    rng, studies = np.random.default_rng(0), people(n)
    y = (rng.random(n) < 0.5).astype(float)
    right = np.where(y == 1, 0.9, 0.1)
    p = np.where(studies["sex"] == "F", right, rng.random((models, n)))
    found = make(y, p)
    object.__setattr__(found, "studies", studies)
    return found


@pytest.fixture(scope="module")
def found():
    return groups.groups(planted())


def named(found, name):
    return next(group for group in found if group.name == name)


def test_a_planted_gap_between_the_sexes_is_found(found):
    [gap] = [gap for gap in groups.gaps(found) if gap.a.attribute == "sex"]
    assert (gap.a.name, gap.b.name) == ("women", "men")
    assert gap.difference.value == pytest.approx(0.5, abs=0.07)
    assert 0.35 < gap.difference.low < gap.difference.high < 0.6 and gap.difference.p < 0.02
    women, men = named(found, "women"), named(found, "men")
    assert women.mean("auc").value == women.mean("sensitivity").value == women.mean("specificity").value == 1
    assert men.mean("sensitivity").value == pytest.approx(0.5, abs=0.1)
    assert women.mean("brier").value == pytest.approx(0.01) and men.mean("brier").value > 0.2


def test_groups_without_a_gap_show_none(found):
    for gap in groups.gaps(found):
        if gap.a.attribute != "sex":
            assert gap.difference.low < 0 < gap.difference.high


def test_groups_of_other_patients_vary_apart(found):
    women, men = (named(found, name).replicates["gap"].mean(axis=1) for name in ("women", "men"))
    assert abs(np.corrcoef(women, men)[0, 1]) < 0.2


def test_a_patient_in_both_groups_is_drawn_for_both():
    """An AP and a PA study of each patient, alike: no draw of patients tells them apart."""
    rng = np.random.default_rng(0)
    twice = make(np.tile(rng.random(200) < 0.5, 2), np.tile(rng.random((2, 200)), 2), patients=np.arange(400) % 200)
    object.__setattr__(twice, "studies", people())
    [gap] = [gap for gap in groups.gaps(groups.groups(twice)) if gap.a.attribute == "view"]
    assert (gap.difference.value, gap.difference.low, gap.difference.high, gap.difference.p) == (0, 0, 0, 1)


def test_ages_meet_without_a_gap_and_without_overlap():
    studies = people(6).assign(age=[0, 39.9, 40, 59.9, 60, np.nan])
    ages = groups.membership(studies)["age"]
    assert {name: here.sum() for name, here in ages.items()} == {"under 40": 2, "40 to 59": 2, "60 and over": 1}


def test_what_is_not_known_makes_no_group():
    studies = people(4).assign(sex="", age=np.nan, view="")
    assert groups.membership(studies) == {}


def test_groups_are_compared_over_tasks_that_all_have_enough_for():
    y = np.zeros((60, 2))
    y[:30:2], y[30:45] = 1, [1, 0]  # the second group has no positive of the second task
    members = {"a": np.arange(60) < 30, "b": np.arange(60) >= 30}
    assert groups.comparable(y, members) == {"a": [0], "b": [0]}
    y[30:45] = 0
    assert groups.comparable(y, members) == {"a": [0, 1], "b": []}
    y[21:30], y[:21] = 1, 0  # nine
    assert groups.comparable(y, members) == {"a": [], "b": []}


def test_the_group_with_the_fewest_tasks_gives_way_where_none_is_common():
    y = np.zeros((90, 3))
    y[0:15, :2] = y[30:45, :2] = 1
    y[60:75, 2] = 1
    members = {name: np.arange(90) // 30 == i for i, name in enumerate("abc")}
    assert groups.comparable(y, members) == {"a": [0, 1], "b": [0, 1], "c": []}


def test_a_study_has_the_view_of_its_frontal_images():
    images = pd.DataFrame(
        [("a", "AP"), ("a", "LATERAL"), ("b", "LATERAL"), ("c", "AP"), ("c", "PA"), ("d", "PA")],
        columns=["study", "view"],
    ).assign(image="i", patient="p", sex=["F", "F", None, "M", "M", "M"], age=50.0)
    table = _one_a_study(images).set_index("study")
    assert table["view"].to_dict() == {"a": "AP", "b": "LATERAL", "c": "", "d": "PA"}
    assert table["sex"].to_dict() == {"a": "F", "b": "", "c": "M", "d": "M"}
    assert table["images"].map(len).to_dict() == {"a": 2, "b": 1, "c": 2, "d": 1}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    study = study_file(folder)

    def table(spec):
        rows = predictions(spec)
        number = rows["study"].str.extract(r"patient(\d+)", expand=False).astype(int)
        return rows.assign(
            sex=np.where(number % 2, "M", "F"), age=20.0 + number % 7, view=np.where(number % 3, "AP", "PA")
        )

    return open_results(study, make_store(folder / "runs", study, table).folder)


def test_tables_sentence_and_figure_of_a_study(results):
    [table] = groups.table(results).tables.values()
    assert list(table.index) == ["Women", "Men", "Under 40", "AP", "PA"] and table["Studies"].astype(int).min() > 50
    [pairs] = groups.gap_table(results).tables.values()
    assert list(pairs.index) == ["women minus men", "AP minus PA"]
    assert "2 pairs" in groups.sentence(results)
    shown = figures.by_group(results)
    assert isinstance(shown, Figure) and "phantom" in " ".join(text.get_text() for text in shown.texts).lower()


def test_without_people_there_is_a_sentence_instead(results, monkeypatch):
    unknown = results.studies.assign(sex="", age=np.nan, view="")
    monkeypatch.setitem(results.__dict__, "studies", unknown)
    assert "Neither sex nor age nor view" in figures.by_group(results)
    assert groups.table(results) == groups.gap_table(results) == groups.sentence(results) == ""
    assert groups.table(Missing("Not yet.")) == figures.by_group(Missing("Not yet.")) == ""
