"""What an uncertain, an unmentioned and an uncovered label become."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexlib.data.labels import FINDINGS, POLICIES, TASKS, targets
from chexlib.errors import UserError

RAW = np.full((1, 14), np.nan)
RAW[0, :4] = 1, 0, -1, np.nan  # No Finding, Enlarged Cardiomediastinum, Cardiomegaly, Lung Opacity


def test_the_tasks_are_findings():
    assert len(FINDINGS) == 14
    assert len(TASKS) == 6
    assert set(TASKS) <= set(FINDINGS)


@pytest.mark.parametrize(("policy", "label", "known"), [("u-ones", 1, 1), ("u-zeros", 0, 1), ("u-ignore", 0, 0)])
def test_a_policy_decides_on_uncertain_labels_alone(policy, label, known):
    labels, is_known = targets(RAW, policy)
    assert labels[0, :4].tolist() == [1, 0, label, 0]
    assert is_known[0, :4].tolist() == [1, 1, known, 1]


def test_unmentioned_is_absent_unless_it_is_said_to_be_unknown():
    assert targets(RAW)[1][0, 3] == 1
    assert targets(RAW, unmentioned="unknown")[1][0, 3] == 0


def test_no_finding_keeps_its_negatives_under_every_policy():
    """In CheXpert's train.csv No Finding is only ever 1 or empty."""
    raw = np.full((4, 14), np.nan)
    raw[:2, 0] = 1
    for policy in POLICIES:
        labels, known = targets(raw, policy)
        assert labels[:, 0].tolist() == [1, 1, 0, 0]
        assert known[:, 0].all()


def test_what_a_data_set_does_not_label_is_unknown_never_absent():
    labels, known = targets(np.zeros((3, 14)), covered=("Edema",))
    assert known.sum(axis=0).tolist() == [3 if finding == "Edema" else 0 for finding in FINDINGS]
    assert not labels.any()


def test_a_strange_label_is_named():
    raw = RAW.copy()
    raw[0, 5] = 2
    with pytest.raises(UserError, match="row 0, Edema: label 2"):
        targets(raw)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="u-ones, u-zeros, u-ignore"):
        targets(RAW, "ones")


@given(st.lists(st.sampled_from([1.0, 0.0, -1.0, np.nan]), min_size=14, max_size=14), st.sampled_from(list(POLICIES)))
def test_certain_labels_are_never_touched(row, policy):
    labels, known = targets(np.array([row]), policy)
    for label, k, raw in zip(labels[0], known[0], row, strict=True):
        assert 0 <= label <= 1
        if raw in (0.0, 1.0):
            assert k == 1
            assert label == raw
