"""Adjusted p values: by hand, scipy's, and that families of true hypotheses are rejected as rarely as said."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from chexlib.stats import benjamini_hochberg, holm


def test_holm_by_hand():
    """Times 4, 3, 2 and 1 from the smallest, and never smaller than one before."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(0).random(50) ** 2
    np.testing.assert_array_equal(benjamini_hochberg(p), false_discovery_control(p))
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.02, 0.03, 0.5]), [0.04, 0.04, 0.04, 0.5])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_shape_order_and_unknown_values_are_kept(adjust):
    p = np.array([[0.01, np.nan], [0.2, 0.04]])
    found = adjust(p)
    np.testing.assert_allclose(found[~np.isnan(p)], adjust([0.01, 0.2, 0.04]))
    assert np.isnan(found[0, 1]) and found.shape == (2, 2)
    assert np.isnan(adjust([np.nan])).all() and adjust([]).shape == (0,)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_one_test_needs_no_adjustment_and_none_exceeds_one(adjust):
    assert adjust(0.03) == 0.03
    assert (adjust(np.full(9, 0.5)) <= 1).all()


def test_holm_rejects_any_true_hypothesis_as_rarely_as_it_says():
    rng = np.random.default_rng(0)
    families = rng.random((1000, 20))
    rejected = np.mean([(holm(p) <= 0.05).any() for p in families])
    assert rejected == pytest.approx(0.05, abs=0.021)  # 3 standard errors
    assert np.mean((families <= 0.05).any(axis=1)) > 0.6  # unadjusted


@pytest.mark.parametrize("p", [[0.5, 1.2], [-0.1], ["small"]])
def test_refuses_what_is_no_p(p):
    with pytest.raises(ValueError):
        holm(p)
