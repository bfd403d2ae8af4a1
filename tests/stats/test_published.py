"""Published numbers and real predictions: pROC's aSAH example, and the CheXpert leaderboard's test-set predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from chexlib.stats import auroc, bootstrap_auprc, bootstrap_auroc, delong, delong_covariance

# 113 patients with aneurysmal subarachnoid haemorrhage (Turck et al., Intensive Care Medicine 2010), the example of the
# R package pROC (Robin et al. 2011). An AUROC sees only the order of scores, so only ranks are kept here, and outcomes.
POOR = (
    "00001101001011001011101000000000100110110000000001100010001010011101101111000110100000010000000000001111110001000"
)
RANKS = {
    "s100b": """
    11 12 8 2 11 8 36 14 16 8 10 8 33 44 2 6 38 2 5 27 7 7 5 9 5 15 5 9 11 17 3 14 31 12 28 29 37 7
    49 21 39 35 14 5 32 34 9 6 7 48 40 6 4 11 50 8 12 13 5 4 46 3 7 25 1 7 2 19 43 7 23 44 6 22 6 14
    7 11 8 6 9 27 9 24 5 8 26 18 5 3 20 30 8 13 6 12 8 5 2 17 41 12 42 26 47 45 13 36 15 33 13 39 37
    """,
    "wfns": """
    1 1 1 1 3 2 5 4 1 2 5 2 5 5 1 2 5 2 2 5 2 1 1 1 1 2 1 2 1 1 3 4 2 1 4 5 4 1 4 2 5 5 1 1 2 4 1 1
    2 5 5 2 1 2 5 1 2 2 2 1 5 1 1 2 5 2 1 4 5 2 4 4 1 4 1 2 1 4 2 1 2 3 2 4 2 1 4 5 1 1 5 4 2 2 1 1
    1 3 1 2 5 2 2 5 5 5 2 4 4 5 1 1 1
    """,
    "ndka": """
    1 27 23 42 82 61 8 66 76 9 78 83 5 28 67 86 49 79 97 105 98 104 100 31 10 56 13 11 108 62 35 36
    38 84 4 72 90 22 17 25 14 33 65 21 74 101 18 16 58 69 2 30 19 64 109 95 91 39 87 53 41 106 12 48
    55 70 80 93 63 34 89 24 107 76 43 45 75 6 33 3 88 81 60 30 47 85 46 7 54 20 37 44 96 26 57 63
    102 51 59 29 32 99 52 73 103 50 94 40 71 77 92 15 68
    """,
}
ASAH_Y = np.array([float(c) for c in POOR])
ASAH = {name: np.array(ranks.split(), dtype=float) for name, ranks in RANKS.items()}

CHEXPERT = Path(__file__).parents[3] / "shared" / "data" / "chexpert_test"
needs_chexpert = pytest.mark.skipif(not CHEXPERT.is_dir(), reason=f"the CheXpert test labels are not in {CHEXPERT}")
TASKS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]


def test_areas_are_those_that_proc_publishes():
    published = {"s100b": 0.731368563685637, "wfns": 0.823678861788618, "ndka": 0.611957994579946}
    for name, area in published.items():
        assert auroc(ASAH_Y, ASAH[name]) == pytest.approx(area, abs=1e-14)


@pytest.mark.parametrize(("a", "b", "z", "p"), [
    ("wfns", "s100b", 2.20898359144091, 0.0271757822291882),
    ("wfns", "ndka", 2.79777591868904, None),
    ("s100b", "ndka", 1.3907700257355771, 0.16429517522305448),
])  # fmt: skip
def test_delong_is_that_of_proc(a, b, z, p):
    found = delong(ASAH_Y, ASAH[a], ASAH[b])
    assert found.z == pytest.approx(z, abs=1e-12)
    assert p is None or found.p == pytest.approx(p, abs=1e-12)
    if (a, b) == ("wfns", "s100b"):
        half = 1.959963984540054 * np.sqrt(np.array([1, -1]) @ found.covariance @ np.array([1, -1]))
        difference = found.auc[0] - found.auc[1]
        ends = difference - half, difference + half
        assert ends == pytest.approx((0.0104061769564846, 0.174214419249478), abs=1e-12)


def test_bootstrap_agrees_with_delong_on_asah():
    """Two methods, one question: standard errors within 10% of each other, p on the same side of 0.05."""
    scores = np.array([ASAH["wfns"], ASAH["s100b"]])[:, :, None]
    b = bootstrap_auroc(ASAH_Y[:, None], scores, n_boot=4000)
    exact = delong(ASAH_Y, *scores[:, :, 0])
    np.testing.assert_allclose(np.cov(b.replicates[:, :, 0].T), exact.covariance, rtol=0.2)
    found = b.differences()
    assert found.value[0, 1] == pytest.approx(exact.auc[0] - exact.auc[1])
    assert found.p[0, 1] < 0.05


@pytest.fixture(scope="module")
def leaderboard():
    """Labels (500, 5), seven models' scores (7, 500, 5) in one order of rows and tasks, and the patients."""
    truth = pd.read_csv(CHEXPERT / "groundtruth.csv", index_col="Study")
    files = sorted(CHEXPERT.glob("predictions/*.csv"))
    scores = [pd.read_csv(file, index_col="Study").loc[truth.index, TASKS].to_numpy() for file in files]
    names = [file.name.split("_")[0] for file in files]
    return names, truth[TASKS].to_numpy(float), np.array(scores), truth.index.str.split("/").str[2].to_numpy()


@needs_chexpert
@pytest.mark.parametrize(
    ("bootstrapped", "sklearns"),
    [(bootstrap_auroc, roc_auc_score), (bootstrap_auprc, average_precision_score)],
    ids=["auroc", "auprc"],
)
def test_leaderboard_areas_equal_sklearn(leaderboard, bootstrapped, sklearns):
    _, y, scores, _ = leaderboard
    expected = [[sklearns(y[:, t], model[:, t]) for t in range(5)] for model in scores]
    np.testing.assert_allclose(bootstrapped(y, scores, n_boot=1).area, expected, atol=1e-12)


@needs_chexpert
def test_columns_that_two_entries_share_tie_exactly(leaderboard):
    names, y, scores, patients = leaderboard
    a, b = names.index("drnet"), names.index("ihil")
    shared = [t for t in range(5) if np.array_equal(scores[a, :, t], scores[b, :, t])]
    assert len(shared) >= 2  # the entries were built from common parts
    for t in shared:
        found = delong(y[:, t], scores[a, :, t], scores[b, :, t])
        assert (found.auc[0] - found.auc[1], found.z, found.p) == (0, 0, 1)
    d = bootstrap_auroc(y, scores, patients, 500).select(shared).differences()
    assert (d.value[a, b], d.low[a, b], d.high[a, b], d.p[a, b]) == (0, 0, 0, 1)


@needs_chexpert
def test_leaderboard_bootstrap_covers_the_observed_mean(leaderboard):
    _, y, scores, patients = leaderboard
    b = bootstrap_auroc(y, scores, patients)
    low, high = b.mean_interval()
    assert b.dropped.sum() == 0
    assert (low < b.mean).all() and (b.mean < high).all()
    assert (b.mean > 0.85).all() and (high - low < 0.06).all()
    found = b.differences()
    assert (np.diag(found.p) == 1).all() and found.value.max() == pytest.approx(b.mean.max() - b.mean.min())


@needs_chexpert
def test_leaderboard_covariances_agree_with_delongs(leaderboard):
    """One study a patient in the test set, so that DeLong's rows are independent as the bootstrap's patients are."""
    _, y, scores, patients = leaderboard
    assert len(set(patients)) == len(patients) == 500
    b = bootstrap_auroc(y, scores, patients, 2000)
    for t in range(5):
        deviations = [
            np.sqrt(np.diag(delong_covariance(y[:, t], scores[:, :, t])[1])),
            b.replicates[:, :, t].std(axis=0),
        ]
        np.testing.assert_allclose(*deviations, rtol=0.1)
