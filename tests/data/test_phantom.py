"""The phantom's facts: reproducible, shaped like CheXpert, with CheXpert's rates, and drawn where it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexlib.data import phantom
from chexlib.data.labels import FINDINGS
from chexlib.data.phantom.pathology import DRAW
from chexlib.data.phantom.population import RATES, Study, patient, series
from chexlib.data.phantom.radiograph import draw
from chexlib.errors import UserError

CHEXPERT_COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]


@pytest.fixture(scope="module")
def sample() -> list:
    """160 images as (study, number of the image, film, masks, scene)."""
    return [(*image, *draw(*image, size=64, seed=3)) for image in series(160, seed=3, first_patient=1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "small"
    phantom.write(path, n=40, size=48, seed=1, progress=False, n_valid=12, n_test=16)
    return path


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    """Many patients' studies, labels only."""
    return [study for number in range(1, 4001) for study in patient(number, seed=0)]


def per_image(studies: list[Study], value: str) -> np.ndarray:
    return np.repeat([getattr(study, value) for study in studies], [len(study.views) for study in studies], axis=0)


def one(view: str, number: int = 1, size: int = 128, age: int = 50, male: bool = True, **severity: float):
    """An image of a healthy patient with these findings (underscores for spaces), its masks and its scene."""
    severity = {name.replace("_", " "): grade for name, grade in severity.items()}
    assert severity.keys() <= DRAW.keys()
    present = np.array([finding in severity for finding in FINDINGS])
    grades = np.array([severity.get(finding, 0.0) for finding in FINDINGS])
    return draw(Study(number, 1, male, age, (view,), present, grades, labels=present), 0, size, seed=0)


def cardiothoracic_ratio(scene) -> float:
    """Widest heart over widest chest, as a radiologist measures it."""
    heart, chest = (np.flatnonzero((part > 0.5).any(axis=0)) for part in (scene.heart, scene.chest))
    return (np.ptp(heart) + 1) / (np.ptp(chest) + 1)


def test_the_same_seed_gives_the_same_bytes_and_a_longer_series_begins_with_the_shorter_one(sample):
    for (study, view_number), (first, _, film, masks, _) in zip(series(33, seed=3, first_patient=1), sample):
        again, drawn_again, _ = draw(study, view_number, size=64, seed=3)
        assert np.array_equal(again, film)
        assert study.path == first.path and np.array_equal(study.labels, first.labels, equal_nan=True)
        assert all(np.array_equal(drawn_again[finding], masks[finding]) for finding in masks)
    assert not np.array_equal(draw(study, view_number, size=64, seed=4)[0], again)


def test_films_use_the_whole_range_and_lungs_are_darker_than_the_heart(sample):
    for study, view_number, film, _, scene in sample:
        assert film.shape == (64, 64) and film.dtype == np.uint8
        assert np.ptp(np.percentile(film, (1, 99))) > 80
        if study.views[view_number] != "LATERAL" and not study.truth[1:-1].any():
            heart, chest = scene.heart > 0.5, scene.chest > 0.5
            assert film[chest & ~heart].mean() + 25 < film[heart].mean()


def test_each_finding_that_is_there_has_a_mask_and_no_other(sample):
    for study, _, _, masks, _ in sample:
        assert set(masks) == {finding for finding, there in zip(FINDINGS[1:], study.truth[1:]) if there}
        assert all(mask.shape == (64, 64) and mask.dtype == bool and mask.any() for mask in masks.values())


@pytest.mark.parametrize("finding", FINDINGS[1:])
@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_every_finding_changes_its_image_in_every_view(finding, view):
    before = one(view)[0].astype(float)
    for severity in (0.01, 1.0):
        image, masks, _ = one(view, **{finding: severity})
        assert masks[finding].any()
        assert np.abs(image - before).max() > 8


@pytest.mark.parametrize("finding", sorted(set(DRAW) - {"Cardiomegaly", "Enlarged Cardiomediastinum", "Fracture"}))
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
    heart, chest = one("PA")[2].heart > 0.5, one("PA")[2].chest > 0.5
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
    expected = {f"small/test/{study.path}": study.truth for study, _ in series(16, 1, 64741, one_study=True)}
    assert list(truth["Study"]) == list(expected)
    np.testing.assert_array_equal(truth[list(FINDINGS)], list(expected.values()))
    assert sum(len(list((folder.parent / study).glob("*.jpg"))) for study in truth["Study"]) == 16


def test_written_patients_are_in_one_split(folder):
    patients = [{path.name for path in (folder / split).iterdir()} for split in ("train", "valid", "test")]
    assert sum(map(len, patients)) == len(set.union(*patients))


def test_written_images_masks_and_labels_are_the_drawn_ones(folder):
    for split, name, first in (("train", "train.csv", 1), ("valid", "valid.csv", 64541)):
        rows = pd.read_csv(folder / name)
        for row, (study, view_number) in enumerate(series(len(rows), 1, first, one_study=split != "train")):
            film, drawn, _ = draw(study, view_number, size=48, seed=1)
            image = f"{split}/{study.image(view_number)}"
            assert rows["Path"][row] == f"small/{image}"
            labels = study.labels if split == "train" else study.truth
            np.testing.assert_array_equal(rows.loc[row, list(FINDINGS)].to_numpy(float), labels)
            with Image.open(folder / image) as jpeg:
                assert np.abs(np.asarray(jpeg).astype(int) - film).mean() < 4
            masks = phantom.read_masks(folder, image)
            assert set(masks) == set(drawn)
            assert all(np.array_equal(mask, drawn[finding]) for finding, mask in masks.items())


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
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chexlib.data.phantom.folder._write_labels", full)
    with pytest.raises(UserError, match="No space left"):
        phantom.write(tmp_path / "out", n=2, size=32, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"), [({"n": 0}, "n=0"), ({"n": 1, "size": 8}, "size=8"), ({"n": 1, "seed": -1}, "seed=-1")]
)
def test_what_cannot_be_drawn_is_refused(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        phantom.write(tmp_path / "out", **arguments)
