"""Copies of an image are known by its hash, and other images are not taken for one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from chexlib.data.hashes import NEAR, WORDS, copies, hash_images, hash_texts, near_pairs, read_hashes
from chexlib.data.images import Files, stretch


def again(image: Image.Image, size, quality: int, turned=lambda image: image) -> Image.Image:
    """The image at another size, as a JPEG of this quality."""
    buffer = io.BytesIO()
    turned(image.resize(size)).save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


COPIES = {
    "as it is": lambda image: image,
    "inverted": ImageOps.invert,
    "large": lambda image: again(image, (700, 600), 90),
    "small": lambda image: image.resize((64, 64)),
    "28 px": lambda image: image.resize((28, 28)),
    "of another shape": lambda image: again(image, (160, 224), 75),
    "quality 30": lambda image: again(image, image.size, 30),
    "small, inverted, quality 40": lambda image: again(image, (112, 112), 40, ImageOps.invert),
}


def read(images: Files, n: int) -> list[Image.Image]:
    return [Image.fromarray(images.read(row, 256)) for row in range(n)]


def hashed(images) -> np.ndarray:
    return hash_images(np.stack([stretch(image.convert("L"), 64) for image in images]))


@pytest.fixture(scope="module", params=["nih", "phantom"])
def some(request):
    """Images of different patients, and their hashes."""
    if request.param == "nih":
        folder = request.getfixturevalue("nih1000")
        names = {path.name.split("_")[0]: str(path.relative_to(folder)) for path in sorted(folder.rglob("*.png"))}
    else:
        folder = request.getfixturevalue("phantom_folder")
        names = {path.parts[-3]: str(path.relative_to(folder)) for path in sorted(folder.rglob("view*.jpg"))}
    names = list(names.values())[:150]
    images = read(Files(folder, names), len(names))
    return images, hashed(images)


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found_and_no_other_image(some, how):
    images, hashes = some
    pairs = near_pairs(hashes, hashed([COPIES[how](image) for image in images]))
    assert (pairs[:, 0] == pairs[:, 1]).all() and len(pairs) >= 0.99 * len(images)


def test_the_hash_is_the_same_at_every_packed_size(some):
    images, hashes = some
    for size in (48, 80, 320):
        pairs = near_pairs(hashes, hash_images(np.stack([stretch(image, size) for image in images])))
        assert pairs.tolist() == [[row, row] for row in range(len(images))]


def flipped(row: np.ndarray, bits: range) -> np.ndarray:
    there = np.unpackbits(row.view(np.uint8))
    there[list(bits)] ^= 1
    return np.packbits(there).view(np.uint64)


def test_every_pair_up_to_the_limit_is_found_wherever_its_bits_are():
    rng = np.random.default_rng(0)
    a = rng.integers(2**64, size=(9000, WORDS), dtype=np.uint64)  # several blocks each way
    planted = {}
    for row in range(0, 80, 4):
        first = int(rng.integers(64 * WORDS - NEAR - 1))
        near = flipped(a[row], range(first, first + NEAR))
        planted[row + 4500] = near if row % 8 else ~near
        planted[row + 4501] = flipped(a[row + 1], range(first, first + NEAR + 1))  # one bit too many
    for row, there in planted.items():
        a[row] = there
    assert near_pairs(a).tolist() == [[row, row + 4500] for row in range(0, 80, 4)]
    both = near_pairs(a[:80], a[4500:])
    assert both.tolist() == [[row, row] for row in range(0, 80, 4)]


def test_equal_hashes_make_one_group_and_no_square_of_pairs():
    rng = np.random.default_rng(0)
    a = rng.integers(2**64, size=(30_000, WORDS), dtype=np.uint64)[np.r_[np.zeros(20_000, int), 1:4]]
    a = np.concatenate([a, ~a[-2:-1]])
    assert [rows.tolist() for rows in copies(a)] == [list(range(20_000)), [20_001, 20_003]]


def test_images_that_show_nothing_are_copies_of_none():
    flat = hash_images(np.stack([np.full((64, 64), 90, np.uint8), np.full((64, 64), 90, np.uint8)]))
    assert not flat.any() and hash_texts(flat) == ["", ""]
    assert copies(flat) == [] and len(near_pairs(flat)) == 0 and copies(flat[:0]) == []


def test_hashes_come_back_from_text():
    a = np.random.default_rng(0).integers(2**64, size=(5, WORDS), dtype=np.uint64)
    a[2] = 0
    assert (read_hashes(hash_texts(a)) == a).all()
    for text in ("xyz", "00", hash_texts(a)[0][:-2]):
        with pytest.raises(ValueError):
            read_hashes([text])
