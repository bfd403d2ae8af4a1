"""Made-up labels and scores that the tests of statistics share."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@st.composite
def classified(draw):
    """Labels with both classes, and scores on a coarse grid, so that ties abound."""
    y = draw(hnp.arrays(float, st.integers(2, 40), elements=st.sampled_from([0.0, 1.0])))
    y[:2] = 0, 1
    return y, draw(hnp.arrays(float, len(y), elements=st.integers(-5, 5).map(float)))


def made(n=80, tasks=3, models=4, patients=50, seed=0, decimals=1, rates=(0.4, 0.15, 0.7)):
    """Labels (N, T) with unknowns, tied scores (M, N, T), and patients (N,) with several rows."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, tasks)) < np.resize(rates, tasks)).astype(float)
    scores = np.round(y + rng.normal(size=(models, n, tasks)) * 1.5, decimals)
    y[rng.random(y.shape) < 0.1] = np.nan
    return y, scores, rng.integers(patients, size=n)
