"""The phantom's facts: reproducible, shaped like CheXpert, with CheXpert's rates, and drawn where it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexlib.data import phantom
from chexlib.data.labels import FINDINGS
from chexlib.data.pathology import DRAW
from chexlib.data.population import RATES, StudyPlan, patient
from chexlib.errors import UserError

CHEXPERT_COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
DRAWN = [finding for finding in FINDINGS if finding != "No Finding"]


@pytest.fixture(scope="module")
def sample() -> phantom.Phantom:
    return phantom.render(160, size=64, seed=3)


@pytest.fixture(scope="module")
def expert() -> phantom.Phantom:
    return phantom.render(60, size=64, seed=3, expert=True, first_patient=64741)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "small"
    phantom.write(path, n=40, size=48, seed=1, progress=False, n_valid=12, n_test=16)
    return path


@pytest.fixture(scope="module")
def studies() -> list[StudyPlan]:
    """Many patients' studies, labels only."""
    return [study for number in range(1, 4001) for study in patient(number, seed=0)]


def per_image(studies: list[StudyPlan], value: str) -> np.ndarray:
    return np.repeat([getattr(study, value) for study in studies], [len(study.views) for study in studies], axis=0)


def one(view: str, number: int = 1, size: int = 128, age: int = 50, male: bool = True, **severity: float):
    """An image of a healthy patient with these findings (underscores for spaces), its masks and its anatomy."""
    none = np.zeros(len(FINDINGS))
    plan = StudyPlan(number, 1, male, age, (view,), none > 0, none, none)
    return phantom.draw(plan, 0, size, 0, {name.replace("_", " "): value for name, value in severity.items()})


def cardiothoracic_ratio(anatomy: dict[str, np.ndarray]) -> float:
    """Widest heart over widest chest, as a radiologist measures it."""
    columns = {name: np.flatnonzero(mask.any(axis=0)) for name, mask in anatomy.items()}
    return float(np.ptp(columns["heart"]) + 1) / float(np.ptp(columns["chest"]) + 1)


def test_the_same_seed_gives_the_same_bytes(sample):
    again = phantom.render(20, size=64, seed=3)
    assert np.array_equal(again.images, sample.images[:20])
    assert not np.array_equal(phantom.render(20, size=64, seed=4).images, again.images)


def test_a_longer_series_begins_with_the_shorter_one(sample):
    short = phantom.render(33, size=64, seed=3)
    assert np.array_equal(short.images, sample.images[:33])
    pd.testing.assert_frame_equal(short.table, sample.table.iloc[:33])
    assert all(np.array_equal(short.masks[f], sample.masks[f][:33]) for f in FINDINGS)


def test_shapes_and_types(sample):
    assert sample.images.shape == (160, 64, 64) and sample.images.dtype == np.uint8
    assert list(sample.masks) == list(FINDINGS)
    assert sample.masks["Edema"].shape == (160, 64, 64) and sample.masks["Edema"].dtype == bool
    assert list(sample.table) == ["image", "study", "patient", "view", "sex", "age", *FINDINGS]
    assert set(sample.table["view"]) == {"PA", "AP", "LATERAL"}


def test_films_use_the_whole_range_and_lungs_are_darker_than_the_heart(sample):
    for row in range(len(sample.images)):
        image = sample.images[row]
        assert np.ptp(np.percentile(image, (1, 99))) > 80
        if sample.table["view"].iat[row] != "LATERAL" and not sample.truth[row, 1:-1].any():
            heart, chest = sample.anatomy["heart"][row], sample.anatomy["chest"][row]
            assert image[chest & ~heart].mean() + 25 < image[heart].mean()


def test_a_mask_is_empty_exactly_where_the_finding_is_absent(sample):
    for k, finding in enumerate(FINDINGS):
        expected = sample.truth[:, k] if finding != "No Finding" else np.zeros(len(sample.truth), dtype=bool)
        assert np.array_equal(sample.masks[finding].any(axis=(1, 2)), expected), finding


@pytest.mark.parametrize("finding", DRAWN)
@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_every_finding_changes_its_image_in_every_view(finding, view):
    before = one(view)[0].astype(float)
    for severity in (0.01, 1.0):
        image, masks, _ = one(view, **{finding: severity})
        assert masks[finding].any()
        assert np.abs(image - before).max() > 8


@pytest.mark.parametrize("finding", sorted(set(DRAWN) - {"Cardiomegaly", "Enlarged Cardiomediastinum", "Fracture"}))
def test_severity_grades_the_change(finding):
    change = [
        sum(
            np.abs(one("PA", n, 64, **{finding: s})[0].astype(float) - one("PA", n, 64)[0]).mean() for n in range(1, 13)
        )
        for s in (0.05, 0.95)
    ]
    assert change[1] > 1.3 * change[0]


def test_a_healthy_pa_heart_is_less_than_half_the_chest_and_cardiomegaly_more():
    for number in range(1, 41):
        for extra in ({}, {"Edema": 0.8}, {"Enlarged Cardiomediastinum": 1.0}):
            healthy = cardiothoracic_ratio(one("PA", number, **extra)[2])
            assert 0.33 < healthy < 0.5, (number, extra)
            for severity in (0.0, 0.5, 1.0):
                ratio = cardiothoracic_ratio(one("PA", number, Cardiomegaly=severity, **extra)[2])
                assert 0.5 < ratio < 0.75, (number, severity, extra)


def test_the_heart_looks_larger_from_the_front():
    ratios = {view: [cardiothoracic_ratio(one(view, number)[2]) for number in range(1, 21)] for view in ("PA", "AP")}
    assert np.mean(ratios["AP"]) > 1.05 * np.mean(ratios["PA"])


def test_the_heart_is_on_the_patients_left():
    heart, chest = one("PA")[2]["heart"], one("PA")[2]["chest"]
    assert np.nonzero(heart)[1].mean() > np.nonzero(chest)[1].mean() + 2


def test_sex_and_age_leave_traces():
    men, women = (np.mean([one("PA", n, 64, male=male)[0] for n in range(1, 13)], axis=0) for male in (True, False))
    assert np.abs(men - women).max() > 15
    young, old = (np.mean([one("PA", n, 64, age=age)[0] for n in range(1, 13)], axis=0) for age in (25, 85))
    assert np.abs(young - old).max() > 10


def test_the_same_patient_at_another_size_is_the_same_picture():
    small = one("PA", 2, 64, Pleural_Effusion=0.7)[0]
    large = np.asarray(
        Image.fromarray(one("PA", 2, 128, Pleural_Effusion=0.7)[0]).resize((64, 64), Image.Resampling.BOX)
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.97


def test_labels_are_constant_in_a_study_and_studies_belong_to_one_patient(sample):
    by_study = sample.table.groupby("study")
    assert (by_study[list(FINDINGS)].nunique(dropna=False) == 1).all(axis=None)
    assert (by_study["patient"].nunique() == 1).all()
    assert by_study.size().max() > 1 and sample.table.groupby("patient")["study"].nunique().max() > 1


def test_expert_labels_are_the_truth(expert):
    labels = expert.table[list(FINDINGS)].to_numpy()
    assert np.isin(labels, (0.0, 1.0)).all()
    assert np.array_equal(labels.astype(bool), expert.truth)
    assert (expert.table.groupby("patient")["study"].nunique() == 1).all()


def test_no_finding_means_none_but_support_devices(studies):
    labels, truth = per_image(studies, "labels"), per_image(studies, "truth")
    said = labels[:, 0] == 1
    assert np.isnan(labels[~said, 0]).all()
    assert not np.isin(labels[said, 1:-1], (1, -1)).any()
    assert np.array_equal(truth[:, 0], ~truth[:, 1:-1].any(axis=1))
    assert truth[said, 0].all()


@pytest.mark.parametrize("finding", FINDINGS)
def test_rates_are_chexperts(studies, finding):
    column = FINDINGS.index(finding)
    for group, name in enumerate(("AP only", "others")):
        chosen = [study for study in studies if (set(study.views) != {"AP"}) == bool(group)]
        labels = per_image(chosen, "labels")[:, column]
        for value, rate in zip((1, -1, 0), RATES[finding][group]):
            # patients repeat: four standard errors of about a third of the images, and what rounding takes
            tolerance = 0.006 + 4 * np.sqrt(rate * (1 - rate) / (len(labels) / 3))
            assert abs((labels == value).mean() - rate) < tolerance, (name, value)


@pytest.mark.parametrize(
    ("a", "b", "together"),
    # share of CheXpert's 223,414 training images on which both are 1
    [("Edema", "Cardiomegaly", 0.0522), ("Edema", "Pleural Effusion", 0.1187),
     ("Lung Opacity", "Pleural Effusion", 0.2336),
     ("Edema", "Pneumothorax", 0.0066), ("Support Devices", "Pleural Effusion", 0.2366),
     ("No Finding", "Support Devices", 0.0394)],
)  # fmt: skip
def test_findings_occur_together_as_in_chexpert(studies, a, b, together):
    present = per_image(studies, "labels") == 1
    both = (present[:, FINDINGS.index(a)] & present[:, FINDINGS.index(b)]).mean()
    assert both == pytest.approx(together, abs=0.022)


def test_views_and_sexes_have_chexperts_shares(studies):
    views = pd.Series([view for study in studies for view in study.views]).value_counts(normalize=True)
    for view, share in (("AP", 0.723), ("PA", 0.132), ("LATERAL", 0.145)):
        assert views[view] == pytest.approx(share, abs=0.04)
    assert np.mean([study.male for study in studies]) == pytest.approx(0.593, abs=0.04)
    assert 56 < np.mean([study.age for study in studies]) < 64


def test_written_folder_has_chexperts_columns(folder):
    for name, split, count in (("train.csv", "train", 40), ("valid.csv", "valid", 12)):
        rows = pd.read_csv(folder / name)
        assert list(rows) == CHEXPERT_COLUMNS and len(rows) == count
        assert rows["Path"].str.match(rf"small/{split}/patient\d{{5}}/study\d+/view\d_(frontal|lateral)\.jpg$").all()
        assert set(rows["Sex"]) <= {"Male", "Female"} and rows["Age"].dtype == np.int64
        assert (rows["AP/PA"].isna() == (rows["Frontal/Lateral"] == "Lateral")).all()
        for path in rows["Path"]:
            with Image.open(folder.parent / path) as image:
                assert image.size == (48, 48) and image.mode == "L"
    truth = pd.read_csv(folder / "groundtruth.csv")
    assert list(truth) == ["Study", *FINDINGS]
    assert truth["Study"].is_unique and np.isin(truth[list(FINDINGS)], (0, 1)).all()
    assert sum(len(list((folder.parent / study).glob("*.jpg"))) for study in truth["Study"]) == 16


def test_written_patients_are_in_one_split(folder):
    patients = [{path.name for path in (folder / split).iterdir()} for split in ("train", "valid", "test")]
    assert sum(map(len, patients)) == len(set.union(*patients))


def test_written_images_and_masks_are_the_rendered_ones(folder):
    drawn = phantom.render(40, size=48, seed=1)
    for row, name in enumerate(drawn.table["image"]):
        with Image.open(folder / "train" / name) as image:
            assert np.abs(np.asarray(image).astype(int) - drawn.images[row]).mean() < 4
        masks = phantom.read_masks(folder, f"train/{name}")
        assert (
            set(masks)
            == {f for k, f in enumerate(FINDINGS) if drawn.truth[row, k] and f != "No Finding"}
            == set(masks) & set(DRAW)
        )
        assert all(np.array_equal(mask, drawn.masks[finding][row]) for finding, mask in masks.items())


def test_a_missing_mask_is_one_line(folder):
    with pytest.raises(UserError, match="no readable mask"):
        phantom.read_masks(folder, "train/patient99999/study1/view1_frontal.jpg")


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty") as refused:
        phantom.write(tmp_path, n=2, size=32, progress=False)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_where_drawing_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chexlib.data.phantom_folder._save_masks", full)
    with pytest.raises(UserError, match="No space left"):
        phantom.write(tmp_path / "out", n=2, size=32, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"), [({"n": 0}, "n=0"), ({"n": 1, "size": 8}, "size=8"), ({"n": 1, "seed": -1}, "seed=-1")]
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        phantom.render(**arguments)
