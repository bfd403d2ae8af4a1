"""Notebook 13: standard errors of paired differences, what noise does to a correlation, and adjusted p values."""

from dataclasses import replace

import numpy as np
import pytest

from chexlib import stats
from tests import made_runs

WHOLE = [{"arch": ["resnet18", "resnet34", "densenet121"], "init": "random"}]
BOTH = [{"arch": ["efficientnet_lite0", "efficientnet_lite1", "resnet18"], "init": ["random", "imagenet"]}]


def one_network(spec):
    """The same predictions, whatever the architecture."""
    return made_runs.predictions(replace(spec, arch="resnet18"))


@pytest.fixture(scope="module")
def whole(execute):
    return execute("13_power", WHOLE)


def test_a_differences_error_is_that_of_its_paired_replicates(whole):
    draws, pairs = whole["results"].replicates, whole["pairs"].set_index(["a", "b"])
    a, b = "ResNet18 · random", "DenseNet121 · random"
    assert len(pairs) == 3 and pairs["error"][a, b] == pytest.approx(np.std(draws[a] - draws[b], ddof=1))
    assert pairs["least"][a, b] == pytest.approx(2.8016 * pairs["error"][a, b], rel=1e-4)
    auc = whole["results"].models["auc"]
    assert pairs["observed"][a, b] == pytest.approx(abs(auc[a] - auc[b]))


def test_a_network_differs_from_itself_by_nothing_and_is_never_seen_to(execute):
    names = execute("13_power", WHOLE, one_network)
    assert not names["pairs"][["observed", "error", "least"]].to_numpy().any() and names["seen"] == 0


def test_without_noise_the_true_correlation_comes_out_and_with_much_none(whole):
    whole["DRAWS"], rng = 300, np.random.default_rng(0)
    came = whole["simulate"](np.zeros((1, 150)), 1.0, rng).mean(axis=1)
    np.testing.assert_allclose(came, whole["TRUE"], atol=0.03)
    lost = whole["simulate"](100 * rng.normal(size=(300, 150)), 1.0, rng).mean(axis=1)
    np.testing.assert_allclose(lost, 0, atol=0.03)


def test_the_parts_of_the_mean_boosts_error_add_as_squares_and_alike_boosts_leave_no_spread(execute):
    lites = [{"arch": ["efficientnet_lite0", "efficientnet_lite1"], "init": ["random", "imagenet"]}]
    names = execute("13_power", [*lites, {"arch": "efficientnet_lite0", "init": ["random", "imagenet"], "seed": 1}])
    all_of_it, patients, seeds, which, spread, _ = names["parts"].iloc[0]
    assert all_of_it**2 == pytest.approx(patients**2 + seeds**2) and which == pytest.approx(
        spread / np.sqrt(names["k"])
    )
    draws = names["draws"][:, names["taken"]]
    assert names["k"] == 2 and seeds > 0 and all_of_it == pytest.approx(draws.mean(axis=1).std())
    alike = execute("13_power", lites, one_network)
    assert alike["parts"]["between architectures (SD)"].item() == 0


def test_p_values_are_adjusted_by_holms_method(execute):
    tests = execute("13_power", BOTH)["tests"]
    np.testing.assert_allclose(tests["p, Holm"], stats.holm(tests["p"]))
    by_hand = np.maximum.accumulate(np.sort(tests["p"]) * [3, 2, 1])
    np.testing.assert_allclose(np.sort(tests["p, Holm"]), np.minimum(by_hand, 1))
