"""Whether an image looks like those that were learned from."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

import chexlib
from chexlib.data import looks
from chexlib.data.images import colours
from chexlib.data.looks import Looks, View, thumbnail


@pytest.fixture(scope="module")
def phantom():
    """Some 240 training images, of which about 40 are lateral views."""
    options = {"n": 240, "n_valid": 40, "n_test": 40}
    return chexlib.open_dataset("phantom", size=64, views="frontal", progress=False, **options)


@pytest.fixture(scope="module")
def learned(phantom):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "LEAST", 20)
        return Looks.of(phantom)


def held_out(phantom, view: str) -> np.ndarray:
    table = phantom.listing.table
    rows = np.flatnonzero((table["split"] != "train") & ((table["view"] == "LATERAL") == (view == "lateral")))
    return phantom.pixels.array[rows]


def share(learned: Looks, images, said: str) -> float:
    return float(np.mean([learned.look(np.ascontiguousarray(image)) == said for image in images]))


def test_images_of_other_patients_look_as_usual(phantom, learned):
    assert share(learned, held_out(phantom, "frontal"), looks.USUAL) > 0.9


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda x: 255 - x, "inverted"),
        (lambda x: np.rot90(x), "rotated by 90° to the left"),
        (lambda x: np.rot90(x, -1), "rotated by 90° to the right"),
        (lambda x: np.rot90(x, 2), "upside down (rotated by 180°)"),
        (lambda x: np.rot90(255 - x), "inverted, rotated by 90° to the left"),
    ],
)
def test_a_copy_is_known_by_what_was_done_to_it(changed, said, phantom, learned):
    assert share(learned, map(changed, held_out(phantom, "frontal")), said) > 0.9


def test_lateral_views_are_known_where_the_set_has_them_even_if_the_network_has_not(phantom, learned):
    lateral = held_out(phantom, "lateral")
    assert not (phantom.table["view"] == "LATERAL").any() and len(lateral) > 3
    assert share(learned, lateral, looks.LATERAL) > 0.9
    assert share(Looks({"frontal": learned.views["frontal"]}), lateral, looks.OTHER) == 1


def others() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    page, shapes = Image.new("L", (300, 400), 255), Image.new("L", (96, 96), 90)
    for line in range(20, 380, 14):
        ImageDraw.Draw(page).text((20, line), "the quick brown fox jumps over the lazy dog", fill=0)
    for _ in range(12):
        x, y, r = rng.integers(10, 86, 3)
        ImageDraw.Draw(shapes).ellipse((x - r / 4, y - r / 4, x + r / 4, y + r / 4), fill=int(rng.integers(256)))
    ramp = np.repeat(np.arange(96, dtype=np.uint8)[None], 96, axis=0)
    noise = rng.integers(0, 256, (96, 96), dtype=np.uint8)
    return {"page": np.asarray(page), "shapes": np.asarray(shapes), "ramp": ramp, "noise": noise}


@pytest.mark.parametrize("what", others())
def test_what_is_no_x_ray_is_said_to_be_none(what, learned):
    assert learned.look(others()[what]) == looks.OTHER


def test_an_image_of_one_grey_shows_nothing(learned):
    assert learned.look(np.full((64, 64), 90, dtype=np.uint8)) == looks.FLAT


def test_a_photograph_is_known_by_its_colours(phantom, learned, tmp_path):
    image = held_out(phantom, "frontal")[0]
    Image.fromarray(image).convert("RGB").save(tmp_path / "grey.png")
    Image.fromarray(np.stack([image, image // 2, image // 3], axis=2)).save(tmp_path / "sepia.jpg")
    assert colours(tmp_path / "grey.png") == 0
    assert learned.look(image, colours(tmp_path / "grey.png")) == looks.USUAL
    assert learned.look(image, colours(tmp_path / "sepia.jpg")) == looks.OTHER


def test_what_was_learned_is_read_as_it_was_written(phantom, learned):
    again = Looks.from_bytes(learned.to_bytes())
    images = np.stack([thumbnail(image) for image in held_out(phantom, "frontal")[:5]])
    assert list(again.views) == list(learned.views) == ["frontal", "lateral"]
    for name, view in learned.views.items():
        np.testing.assert_allclose(again.views[name].strangeness(images), view.strangeness(images), rtol=1e-3)
    with pytest.raises(ValueError):
        Looks.from_bytes(learned.to_bytes()[:1000])


def test_nothing_is_learned_from_few_images(phantom, monkeypatch):
    monkeypatch.setattr(looks, "LEAST", 1000)
    assert Looks.of(phantom) is None


@pytest.mark.parametrize("images", [np.zeros((40, 64, 64)), np.tile(np.arange(64.0), (40, 64, 1))])
def test_images_that_are_all_the_same_and_of_one_patient_are_no_error(images):
    view = View.of(images, np.array(["one"] * 40))
    assert np.isfinite(view.strangeness(images)).all()


def test_images_that_cannot_be_decoded_and_those_held_out_are_not_learned_from(phantom, monkeypatch):
    monkeypatch.setattr(looks, "LEAST", 20)
    seen = []
    monkeypatch.setattr(looks.View, "of", lambda images, patients: seen.append((len(images), set(patients))))
    table = phantom.listing.table
    bad = int(np.flatnonzero((table["split"] == "train") & (table["view"] != "LATERAL"))[0])
    Looks.of(
        SimpleNamespace(listing=phantom.listing, pixels=SimpleNamespace(array=phantom.pixels.array, bad={bad: "x"}))
    )
    training = table[table["split"] == "train"]
    assert seen[0][0] == (training["view"] != "LATERAL").sum() - 1
    assert set().union(*(patients for _, patients in seen)) <= set(training["patient"])


def test_fewer_than_one_real_x_ray_in_a_hundred_is_called_unusual(nih1000):
    dataset = chexlib.open_dataset("nih", nih1000, size=64, progress=False)
    images = np.stack([dataset.pixels[row] for row in range(len(dataset.table))])
    patients = dataset.table["patient"].to_numpy()
    half = np.unique(patients, return_inverse=True)[1] % 2
    alarms, missed = 0, 0
    for held in (0, 1):
        view = View.of(np.stack([thumbnail(image) for image in images[half != held]]), patients[half != held])
        learned = Looks({"frontal": view})
        alarms += sum(learned.look(image) != looks.USUAL for image in images[half == held])
        missed += sum(learned.look(255 - image) == looks.USUAL for image in images[half == held][::5])
    assert alarms < 10 and missed < 4
