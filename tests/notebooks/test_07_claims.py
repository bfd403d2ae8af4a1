"""Notebook 07 judges and counts what the runs at hand show, and counts the papers' numbers again."""

import numpy as np
import pytest

FAMILIES = [{"arch": ["resnet18", "resnet101", "densenet121", "mnasnet", "mobilenet_v2"], "init": "random"}]


@pytest.fixture(scope="module")
def names(execute):
    return execute("07_claims", FAMILIES)


def test_a_measurement_is_counted_once_however_often_it_is_printed(names):
    once, asked = names["once"], names["asked"]
    assert set(once["verdict"]) <= set(asked["verdict"]) and once.index.is_unique
    pair = asked[asked["measurement"] == "difference ResNet101 ResNet18 random"]
    assert len(pair) == 3 and pair["criterion"].nunique() == 2  # the introduction and 4.1, and that it is within noise
    assert once.loc["ResNet101 less ResNet18 (random)", "statements"] == 4  # and 4.1 once more, with other families
    assert names["verdicts"]["measurements"].sum() == len(once)
    assert names["verdicts"]["statements"].sum() == len(asked)


def test_what_survives_holms_method_is_counted_over_measurements(names):
    tested = names["tested"]
    assert tested.index.is_unique and set(tested.index) <= set(names["once"].index)
    ranks = len(tested) - np.arange(len(tested))  # the smallest p times the number of tests, the next times one less
    by_hand = np.minimum(np.maximum.accumulate(np.sort(tested["p"]) * ranks), 1)
    np.testing.assert_allclose(np.sort(tested["holm"]), by_hand)
    assert set(names["shown"].index) == set(tested.index[tested["p"] < 0.05])


def test_the_margin_changes_the_verdicts(execute, names):
    wide = execute("07_claims", FAMILIES, margin=0.9)["ledger"]
    assert wide.loc["1-resnet", "verdict"] == "holds on phantoms" != names["ledger"].loc["4.2-rho-random", "verdict"]


def test_the_counts_are_the_known_ones(names):
    assert (names["fits"] == "14 findings").sum() == 9 and (names["fits"] == "1,000 classes").sum() == 5
    assert names["needs"].loc["MNASNet", "needs (million)"] == "5.3001 to 5.3048"
    assert names["deepest"]["times"].mean() == pytest.approx(3.25)
    assert names["deepest"]["counted"].mean() == pytest.approx(2.96, abs=0.005)
    assert (names["steps"], names["evaluations"], names["if_images"]) == (41_890, 5, 81)
    assert names["protocol"]["evaluations, were one run of an architecture two"] == 10
    assert names["of_table"].rho == pytest.approx(0.597, abs=5e-4) and len(names["allowed"]) == 47
    assert names["ranked"]["fits"].all() and len(names["ranked"]) == 5
    assert (names["cbr"]["printed"] == names["cbr"]["without the first"]).all()
