"""Wilson's interval: scipy's values, and its behaviour at the ends."""

import numpy as np
import pytest
from scipy.stats import binomtest

from chexlib.stats import wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 7), (7, 7), (480, 500)])
def test_is_scipys(hits, n):
    for level in (0.9, 0.95):
        expected = binomtest(hits, n).proportion_ci(level, method="wilson")
        assert wilson(hits, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_takes_arrays_and_has_nothing_to_say_of_no_rows():
    low, high = wilson([0, 5, 0], [10, 10, 0])
    assert low[0] == 0 < high[0] < 0.5 and low[1] < 0.5 < high[1]
    assert np.isnan([low[2], high[2]]).all()


def test_refuses_a_level_in_percent():
    with pytest.raises(ValueError, match="level=95"):
        wilson(1, 2, 95)
