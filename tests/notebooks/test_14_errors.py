"""Notebook 14: errors that networks share, of predictions whose errors are known, and groups of patients."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from chexlib.results.export import export_study
from chexlib.stats import wilson
from chexlib.study import load_study
from tests import made_runs

RUNS = [{"arch": ["resnet18", "resnet34", "densenet121"], "init": "random"}]


def missing(spec, seed: int = 0) -> pd.DataFrame:
    """Perfect predictions of Edema, but for three in ten studies that `seed` picks; 8 test studies are of men."""
    table = made_runs.predictions(spec)
    present = table.groupby("study")["y:Edema"].transform("max") == 1
    drawn = pd.Series(np.random.default_rng(seed).random(200) < 0.3, sorted(table["study"].unique()))
    missed = drawn[table["study"]].to_numpy() & (table["split"] == "test")
    men = table["study"].isin(sorted(table["study"][table["split"] == "test"].unique())[:8])
    return table.assign(**{"p:Edema": np.where(present & ~missed, 0.9, 0.1)}, sex=np.where(men, "M", "F"))


def own(spec):
    return missing(spec, len(spec.arch) * 100 + ord(spec.arch[-2]))


def shares(names) -> tuple[np.ndarray, int]:
    """By hand: the share of present findings that each network gives a low score, and how many there are."""
    present = names["results"].labels["Edema"].to_numpy() == 1
    return (names["p"][:, present, 0] < 0.5).mean(axis=1), present.sum()


def test_what_all_miss_is_a_share_with_its_interval_and_independent_errors_would_be_fewer(execute):
    names = execute("14_errors", RUNS, missing, tasks=["Edema"])
    ((rate, *_), n), missed = shares(names), names["by_all"]["missed"]
    assert missed.value == pytest.approx(100 * rate) and missed.low < missed.value < missed.high
    np.testing.assert_allclose(names["misread"]["missed"]["if independent"], n * binom.pmf(range(4), 3, rate))
    assert names["misread"]["wrongly called"]["observed"].tolist()[1:] == [0, 0, 0]
    assert names["groups"]["group"].tolist() == ["women", "40 to 59", "PA"]  # eight men are too few


def test_a_count_of_zero_has_an_upper_end_and_one_of_all_a_lower(execute):
    names = execute("14_errors", RUNS, missing, tasks=["Edema"])
    absent, patients = (names["results"].labels["Edema"] == 0).to_numpy(), names["results"].patients
    none, n = names["by_all"]["wrongly called"], len(np.unique(patients[absent]))
    assert n < absent.sum()  # some have two studies: a patient counts once
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 100 * wilson(0, n)[1])) and none.high > 300 / n
    every = names["operating"].loc["Edema", "specificity"]
    assert (every.value, every.low) == pytest.approx((100, 100 * wilson(n, n)[0]))


def test_independent_errors_are_counted_as_the_poisson_binomial_foretells(execute):
    names = execute("14_errors", RUNS, own, tasks=["Edema"])
    rates, n = shares(names)
    table = names["misread"]["missed"]
    assert len(set(rates)) == 3 and table["if independent"].iloc[-1] == pytest.approx(n * rates.prod())
    assert table["if independent"].sum() == table["observed"].sum() == n
    assert names["by_all"]["missed"].value == pytest.approx(100 * table["observed"].iloc[-1] / n)
    assert abs(table["observed"].iloc[-1] - n * rates.prod()) < 4 * np.sqrt(n * rates.prod())


def test_published_results_without_labels_show_nothing(execute, tmp_path):
    study = made_runs.study_file(tmp_path, "chexpert")
    out = export_study(load_study(study), tmp_path / "out", made_runs.make_store(tmp_path / "runs", study), False)
    names = execute("14_errors", RUNS, study=str(study), runs=str(out))
    assert names["results"].withheld and names["names"] == [] and not names["alone"] and not names["shared"]
    assert all(names[table].empty for table in ("cases", "calibration", "operating", "groups", "gaps"))
