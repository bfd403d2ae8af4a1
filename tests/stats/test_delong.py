"""DeLong's test: a case by hand, the definition by brute force, and laws. Published values: test_published.py."""

import numpy as np
import pytest
from scipy.stats import norm

from chexlib.stats import auroc, bootstrap_auroc, delong, delong_covariance
from chexlib.stats.delong import structural_components


def by_definition(y, a, b):
    """DeLong et al. 1988, equations 4 to 6: the kernel pair by pair."""
    components = []
    for s in (a, b):
        kernel = np.array([[float(p > q) + 0.5 * (p == q) for q in s[y == 0]] for p in s[y == 1]])  # (P, Q)
        components.append((kernel.mean(axis=1), kernel.mean(axis=0)))
    auc = np.array([v.mean() for v, _ in components])
    of_positives, of_negatives = (np.cov([c[side] for c in components]) for side in (0, 1))
    covariance = of_positives / (y == 1).sum() + of_negatives / (y == 0).sum()
    z = (auc[0] - auc[1]) / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return auc, covariance, z


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_equals_the_definition(decimals):
    rng = np.random.default_rng(decimals)
    y = (rng.random(90) < 0.3).astype(float)
    a, b = np.round(y + rng.normal(size=(2, 90)), decimals)
    ours, (auc, covariance, z) = delong(y, a, b), by_definition(y, a, b)
    np.testing.assert_allclose(ours.auc, auc, atol=1e-12)
    np.testing.assert_allclose(ours.auc, [auroc(y, a), auroc(y, b)], atol=1e-12)
    np.testing.assert_allclose(ours.covariance, covariance, atol=1e-12)
    assert ours.z == pytest.approx(z) and ours.p == pytest.approx(2 * norm.cdf(-abs(z)))
    assert ours.auc[0] - ours.auc[1] == pytest.approx(auc[0] - auc[1])


def test_components_and_variance_by_hand():
    """Positives 2, 3 and negatives 1, 2: 2 beats 1 and ties 2; 3 beats both."""
    of_positives, of_negatives = structural_components(np.array([1.0, 1, 0, 0]), np.array([[2.0, 3, 1, 2]]))
    np.testing.assert_allclose([*of_positives, *of_negatives], [[0.75, 1.0], [1.0, 0.75]])
    d = delong([1, 1, 0, 0], [2, 3, 1, 2], [3, 2, 2, 1])
    np.testing.assert_allclose(d.auc, 0.875)
    np.testing.assert_allclose(np.diag(d.covariance), 2 * (1 / 32) / 2)  # var(0.75, 1) over 2 rows, on both sides


def test_identical_scores_and_increasing_maps_differ_by_nothing_swapping_turns_the_sign_unknown_labels_are_left_out():
    rng = np.random.default_rng(0)
    y, (a, b) = rng.integers(0, 2, 60).astype(float), rng.normal(size=(2, 60))
    for same in (a, np.exp(a)):
        assert (delong(y, a, same).z, delong(y, a, same).p) == (0, 1)
    found, back = delong(y, a, b), delong(y, b, a)
    assert (found.z, found.p) == pytest.approx((-back.z, back.p))
    more = delong(np.append(y, np.nan), np.append(a, np.nan), np.append(b, 7))
    assert (more.z, more.p) == (found.z, found.p)


def test_covariance_of_many_models_is_that_of_each_pair():
    rng = np.random.default_rng(4)
    y = np.append((rng.random(80) < 0.3).astype(float), np.nan)
    scores = np.round(rng.normal(size=(5, 81)) + np.nan_to_num(y), 1)
    auc, covariance = delong_covariance(y, scores)
    assert auc.shape == (5,) and covariance.shape == (5, 5)
    for a, b in [(0, 1), (3, 2), (4, 0)]:
        pair = delong(y, scores[a], scores[b])
        np.testing.assert_allclose(auc[[a, b]], pair.auc)
        np.testing.assert_allclose(covariance[np.ix_([a, b], [a, b])], pair.covariance)


def test_covariance_is_near_that_of_the_bootstrap():
    rng = np.random.default_rng(5)
    y = (rng.random(300) < 0.4).astype(float)
    scores = y + rng.normal(size=(3, 300)) + rng.normal(size=300)
    replicates = bootstrap_auroc(y[:, None], scores[:, :, None], n_boot=4000).replicates[:, :, 0]
    np.testing.assert_allclose(delong_covariance(y, scores)[1], np.cov(replicates.T), rtol=0.12)


def test_one_model_and_a_missing_class_keep_their_shape():
    assert delong_covariance([0, 1, 1, 0], [[1, 2, 3, 2]])[1].shape == (1, 1)
    auc, covariance = delong_covariance([0, 0], np.ones((3, 2)))
    assert np.isnan(auc).all() and np.isnan(covariance).all() and covariance.shape == (3, 3)


def test_says_nothing_where_there_is_nothing_to_say():
    assert np.isnan(delong([0, 0, 0], [1, 2, 3], [3, 2, 1]).auc).all()  # a class is missing
    assert np.isnan(delong([0, 0, 1], [1, 2, 3], [3, 2, 1]).p)  # one positive has no variance
    perfect_and_constant = delong([0, 0, 1, 1], [1, 2, 3, 4], [0, 0, 0, 0])
    assert perfect_and_constant.auc.tolist() == [1, 0.5] and np.isnan(perfect_and_constant.p)


def test_p_is_uniform_when_nothing_differs():
    """Two equally good noisy readings of one truth: p below 0.05 in about 5% of 400 worlds."""
    rng, p = np.random.default_rng(0), []
    for _ in range(400):
        y = (rng.random(150) < 0.4).astype(float)
        p.append(delong(y, *(y + rng.normal(size=(2, 150)))).p)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.033)  # 3 standard errors
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"all three must be \(N,\)"):
        delong([0, 1], [1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match=r"\(M, N\) are needed"):
        delong_covariance([0, 1], [1, 2])
    with pytest.raises(ValueError, match="NaN where the label is known"):
        delong_covariance([0, 1], [[1, np.nan]])
