"""CheXlocalize's segmentations: run lengths decoded, files found beside CheXpert's images, damaged ones refused."""

import json
import shutil

import numpy as np
import pytest

from chexlib.data.dataset import open_dataset
from chexlib.data.segmentations import decode, find_segmentations
from chexlib.errors import UserError


def encode(mask: np.ndarray) -> str:
    """COCO's compressed run lengths, written down from its description, the other way round."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    runs = [0, *runs] if flat[0] else runs
    text = ""
    for i, run in enumerate(runs):
        x, more = run - (runs[i - 2] if i > 2 else 0), True
        while more:
            digit, x = x & 0x1F, x >> 5
            more = x != (-1 if digit & 0x10 else 0)
            text += chr(48 + digit + (0x20 if more else 0))
    return text


def test_what_is_published_decodes():
    """Runs as the benchmark's own sample writes an empty mask of 2,320 x 2,828 pixels, and of 2,022 x 2,021."""
    assert decode("PVWX6", 2320, 2828).shape == (2320, 2828) and not decode("PVWX6", 2320, 2828).any()
    assert not decode("nefl3", 2022, 2021).any()


def test_what_cocos_own_library_writes_decodes():
    """An ellipse of 299 pixels, encoded by pycocotools 2.0.11: differences, signs, runs of several digits."""
    y, x = np.mgrid[:40, :50]
    counts = "e:3S14M2N2O0O2O0O2O00000000000000000001N101N101N2N3Led0"
    np.testing.assert_array_equal(decode(counts, 40, 50), (x - 20) ** 2 / 150 + (y - 22) ** 2 / 60 < 1)


def test_a_column_of_a_small_mask_is_where_it_was_drawn():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1:, 2] = True  # seven pixels down the columns, two, three
    assert encode(mask) == "723"
    np.testing.assert_array_equal(decode("723", 3, 4), mask)


@pytest.mark.parametrize("seed", range(6))
def test_every_mask_comes_back(seed):
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((7, 9)) < 0.5, np.ones((1 + 13 * seed, 2))).astype(bool)
    np.testing.assert_array_equal(decode(encode(mask), *mask.shape), mask)


@pytest.mark.parametrize("counts", ["72", "7234", "72S", ""])
def test_runs_that_do_not_fill_the_image_are_refused(counts):
    with pytest.raises(ValueError, match="do not fill 3 x 4"):
        decode(counts, 3, 4)


@pytest.fixture
def release(phantom_folder, tmp_path):
    """A folder of CheXpert's shape, two validation images of which are segmented."""
    root = tmp_path / "CheXpert"
    shutil.copytree(phantom_folder, root)
    table = open_dataset("chexpert", root, size=32, progress=False).table
    images = list(table.loc[table["split"] == "val", "image"][:2])
    left = np.zeros((40, 50), dtype=bool)
    left[:, :20] = True
    empty = {"size": [40, 50], "counts": encode(np.zeros_like(left))}
    found = {"size": [40, 50], "counts": encode(left)}
    names = ["_".join(image.removesuffix(".jpg").split("/")[-3:]) for image in images]
    content = {names[0]: {"Airspace Opacity": found, "Edema": empty}, names[1]: {"Edema": found}}
    return root, images, json.dumps(content), left


def of_images(root, images):
    dataset = open_dataset("chexpert", root, size=32, progress=False)
    return dataset, [dataset.table.index[dataset.table["image"] == image][0] for image in images]


@pytest.mark.parametrize("place", ["", "CheXlocalize", "..", "../CheXlocalize"])
def test_segmentations_are_found_in_the_folder_and_beside_it(release, place):
    root, images, content, left = release
    (root / place).mkdir(exist_ok=True)
    (root / place / "gt_segmentations_val.json").write_text(content)
    dataset, (first, second) = of_images(root, images)
    np.testing.assert_array_equal(dataset.mask(first, "Lung Opacity"), left)  # Airspace Opacity there
    np.testing.assert_array_equal(dataset.mask(second, "Edema"), left)
    assert dataset.mask(first, "Edema") is None and dataset.mask(first, "Atelectasis") is None


def test_without_the_files_nothing_is_marked(release):
    root, images, _, _ = release
    dataset, (first, _) = of_images(root, images)
    assert find_segmentations(root) is None and dataset.mask(first, "Edema") is None


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": 1}'])
def test_a_file_of_another_kind_is_one_clear_line(tmp_path, content):
    (tmp_path / "gt_segmentations_test.json").write_text(content)
    with pytest.raises(UserError, match="not CheXlocalize's segmentations") as error:
        find_segmentations(tmp_path)
    assert "\n" not in str(error.value)


def test_a_damaged_mask_names_its_image(tmp_path):
    content = {"patient1_study1_view1_frontal": {"Edema": {"size": [3, 4], "counts": "7"}}}
    (tmp_path / "gt_segmentations_test.json").write_text(json.dumps(content))
    found = find_segmentations(tmp_path)
    with pytest.raises(UserError, match="patient1_study1_view1_frontal, Edema is damaged"):
        found.mask("test/patient1/study1/view1_frontal.jpg", "Edema")
