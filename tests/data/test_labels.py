"""What an uncertain, an unmentioned and an uncovered label become."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexlib.data.labels import FINDINGS, MIXABLE, POLICIES, counts, parse_policy, targets
from chexlib.errors import UserError

EDEMA = np.isin(FINDINGS, "Edema")

RAW = np.full((1, 14), np.nan)
RAW[0, :4] = 1, 0, -1, np.nan  # No Finding, Enlarged Cardiomediastinum, Cardiomegaly, Lung Opacity

tables = st.lists(
    st.lists(st.sampled_from([1.0, 0.0, -1.0, np.nan]), min_size=14, max_size=14), min_size=1, max_size=4
).map(np.array)
mixes = st.builds(
    lambda base, exceptions: ", ".join([base, *(f"{finding}={name}" for finding, name in exceptions.items())]),
    st.sampled_from(list(MIXABLE)),
    st.dictionaries(st.sampled_from(FINDINGS), st.sampled_from(list(MIXABLE))),
)
policies = st.sampled_from(list(POLICIES)) | mixes
unmentioneds = st.sampled_from(["absent", "unknown"])


@pytest.mark.parametrize(
    ("policy", "label", "known"),
    [
        ("u-ones", 1, 1),
        ("u-zeros", 0, 1),
        ("u-ignore", 0, 0),
        ("u-multiclass", 0, 0),
        ("u-selftrained", 0, 0),
        ("u-mixed", 0, 1),
        ("u-zeros, Cardiomegaly=u-ones", 1, 1),
        ("u-ones, Cardiomegaly=u-ignore", 0, 0),
    ],
)
def test_a_policy_decides_on_uncertain_labels_alone(policy, label, known):
    labels, is_known = targets(RAW, policy)
    assert labels[0, :4].tolist() == [1, 0, label, 0]
    assert is_known[0, :4].tolist() == [1, 1, known, 1]


def test_u_mixed_is_ones_for_atelectasis_and_edema_and_zeros_elsewhere():
    labels, known = targets(np.full((1, 14), -1.0), "u-mixed")
    assert known.all()
    assert [finding for finding, label in zip(FINDINGS, labels[0], strict=True) if label] == ["Edema", "Atelectasis"]


@pytest.mark.parametrize(
    "text",
    [
        "u-mixed",
        " U-Mixed ",
        "u-zeros, Atelectasis=u-ones, Edema=u-ones",
        "u-zeros,Edema = u-ones,Atelectasis=u-ones,Fracture=u-zeros",
        "u-mixed, Edema=u-ones",
        "u-ones, " + ", ".join(f"{finding}=u-zeros" for finding in FINDINGS if finding not in ("Edema", "Atelectasis")),
    ],
)
def test_spellings_of_one_mix_have_one_name(text):
    assert parse_policy(text) is POLICIES["u-mixed"]


def test_exceptions_that_change_nothing_are_no_mix():
    assert parse_policy("u-ignore, Edema=u-ignore") is POLICIES["u-ignore"]
    assert parse_policy("u-mixed, Edema=u-zeros").name == "u-zeros, Atelectasis=u-ones"


@given(mixes)
def test_a_name_stands_for_its_policy(text):
    policy = parse_policy(text)
    assert parse_policy(policy.name) == policy


@given(tables, mixes, unmentioneds)
def test_a_mix_equals_its_parts_finding_by_finding(raw, text, unmentioned):
    base, *exceptions = text.split(", ")
    followed = dict.fromkeys(FINDINGS, base) | dict(part.split("=") for part in exceptions)
    mixed = targets(raw, text, unmentioned)
    for t, finding in enumerate(FINDINGS):
        part = targets(raw, followed[finding], unmentioned)
        for ours, theirs in zip(mixed, part, strict=True):
            np.testing.assert_array_equal(ours[:, t], theirs[:, t])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ones", "policy='ones': choose one of u-ones, u-zeros, u-ignore, u-multiclass, u-selftrained, u-mixed"),
        ("", "policy='': choose one of u-ones"),
        ("u-zeros, Edma=u-ones", "finding='Edma': choose one of No Finding, "),
        ("u-zeros, Edema=one", "policy='one': choose one of u-ones"),
        ("u-zeros, Edema", "'Edema' is not of the form FINDING=POLICY"),
        ("u-zeros,", "'' is not of the form FINDING=POLICY"),
        ("u-zeros, Edema=u-ones, Edema=u-ignore", "'Edema' is named twice"),
        ("u-zeros, Edema=u-multiclass", "only u-ones, u-zeros, u-ignore can be mixed"),
        ("u-zeros, Edema=u-mixed", "only u-ones, u-zeros, u-ignore can be mixed"),
        ("u-selftrained, Edema=u-ones", "only u-ones, u-zeros, u-ignore can be mixed"),
    ],
)
def test_a_misspelt_policy_is_refused_in_one_line(text, message):
    with pytest.raises(UserError) as error:
        targets(RAW, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unmentioned_is_absent_unless_it_is_said_to_be_unknown():
    assert targets(RAW)[1][0, 3] == 1
    assert targets(RAW, unmentioned="unknown")[1][0, 3] == 0
    with pytest.raises(UserError, match="unmentioned='never': choose one of absent, unknown"):
        targets(RAW, unmentioned="never")


def test_no_finding_keeps_its_negatives_under_every_policy():
    """In CheXpert's train.csv No Finding is only ever 1 or empty."""
    raw = np.full((4, 14), np.nan)
    raw[:2, 0] = 1
    for policy in POLICIES:
        labels, known = targets(raw, policy)
        assert labels[:, 0].tolist() == [1, 1, 0, 0]
        assert known[:, 0].all()


@pytest.mark.parametrize(
    ("beside", "value", "known"),
    [("Edema", 1, 1), ("Edema", -1, 1), ("Edema", 0, 0), ("Support Devices", 1, 0), ("Fracture", -1, 1)],
)
def test_an_empty_no_finding_is_known_to_be_absent_beside_a_finding(beside, value, known):
    raw = np.full((1, 14), np.nan)
    raw[0, FINDINGS.index(beside)] = value
    labels, is_known = targets(raw, "u-ignore", "unknown")
    assert (labels[0, 0], is_known[0, 0]) == (0, known)


@given(tables, policies, unmentioneds)
def test_no_finding_is_never_unknown_beside_a_finding_that_is_present(raw, policy, unmentioned):
    raw[:, 0] = np.where(raw[:, 0] == 1, 1, np.nan)  # as in train.csv
    raw[:, FINDINGS.index("Edema")] = 1
    labels, known = targets(raw, policy, unmentioned)
    assert known[:, 0].all()
    np.testing.assert_array_equal(labels[:, 0], raw[:, 0] == 1)


def test_what_a_data_set_does_not_label_is_unknown_never_absent():
    labels, known = targets(np.zeros((3, 14)), covered=EDEMA)
    assert known.sum(axis=0).tolist() == [3 if finding == "Edema" else 0 for finding in FINDINGS]
    assert not labels.any()


def test_no_finding_is_not_made_up_where_the_set_does_not_label_it():
    raw = np.full((1, 14), np.nan)
    raw[0, FINDINGS.index("Edema")] = 1
    assert targets(raw, unmentioned="unknown", covered=EDEMA)[1].sum() == 1


def test_a_strange_label_is_named():
    raw = RAW.copy()
    raw[0, 5] = 2
    for ask in (targets, counts):
        with pytest.raises(UserError, match="row 0, Edema: label 2"):
            ask(raw)


@given(tables, policies, unmentioneds)
def test_certain_labels_are_never_touched(raw, policy, unmentioned):
    labels, known = targets(raw, policy, unmentioned)
    certain = np.isin(raw, (0, 1))
    assert known[certain].all()
    np.testing.assert_array_equal(labels[certain], raw[certain])
    assert np.isin(labels, (0, 1)).all() and np.isin(known, (0, 1)).all()
    assert not labels[known == 0].any()


@given(tables, policies, policies, unmentioneds)
def test_two_policies_differ_on_uncertain_labels_alone(raw, one, other, unmentioned):
    certain = raw != -1
    for a, b in zip(targets(raw, one, unmentioned), targets(raw, other, unmentioned), strict=True):
        np.testing.assert_array_equal(a[certain], b[certain])


@given(tables, policies, unmentioneds)
def test_counts_sum_to_the_number_of_rows(raw, policy, unmentioned):
    table = counts(raw, policy, unmentioned)
    assert tuple(table.index) == FINDINGS
    assert (table[["positive", "negative", "uncertain", "unmentioned"]].sum(axis=1) == len(raw)).all()
    assert (table[["target_1", "target_0", "unknown"]].sum(axis=1) == len(raw)).all()
    assert (table["target_1"] >= table["positive"]).all()


@pytest.fixture(scope="module")
def train(train_csv) -> np.ndarray:
    """The labels of CheXpert's train.csv, (223414, 14)."""
    return pd.read_csv(train_csv, usecols=list(FINDINGS))[list(FINDINGS)].to_numpy(np.float32)


def test_what_each_policy_makes_of_the_real_train_csv(train):
    atelectasis = {policy: counts(train, policy).loc["Atelectasis"].to_dict() for policy in POLICIES}
    columns = ("positive", "negative", "uncertain", "unmentioned", "target_1", "target_0", "unknown")
    assert atelectasis["u-ones"] == dict(
        zip(columns, (33_376, 1_328, 33_739, 154_971, 33_376 + 33_739, 1_328 + 154_971, 0), strict=True)
    )
    assert atelectasis["u-mixed"] == atelectasis["u-ones"]
    assert atelectasis["u-zeros"]["target_1"] == 33_376
    for policy in ("u-ignore", "u-multiclass", "u-selftrained"):
        assert atelectasis[policy]["unknown"] == 33_739


def test_no_finding_keeps_194934_negatives_of_the_real_train_csv_where_unmentioned_is_unknown(train):
    row = counts(train, "u-ignore", "unknown").loc["No Finding", ["target_1", "target_0", "unknown"]]
    assert row.tolist() == [22_381, 194_934, 6_099]
