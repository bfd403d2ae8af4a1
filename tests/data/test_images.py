"""How one file becomes grey pixels: formats, orientations, depths, and what is refused. DICOM is in test_dicom.py."""

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from chexlib.data.dataset import open_dataset
from chexlib.data.images import MAX_PIXELS, BadImage, Files, decoder, read_grey, read_picture
from chexlib.errors import UserError

BILINEAR = Image.Resampling.BILINEAR


def scene(width: int, height: int) -> np.ndarray:
    """(height, width) uint8: smooth blobs and an edge."""
    y, x = np.mgrid[:height, :width] / 40
    return np.clip(120 + 60 * np.sin(x) * np.cos(1.3 * y) + 50 * (x > y), 0, 255).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Writes an image, or bytes, under a name; returns its path."""

    def write(name: str, content, **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            (Image.fromarray(content) if isinstance(content, np.ndarray) else content).save(path, **options)
        return path

    return write


def jpeg(image: Image.Image | np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def refusal(path, kind=BadImage) -> str:
    with pytest.raises(UserError) as error:
        read_grey(path, 32)
    assert type(error.value) is kind
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize("progressive", [False, True])
def test_a_grey_jpeg_is_what_pillow_decodes_and_resizes(save, progressive):
    path = save("a.jpg", scene(150, 97), quality=90, progressive=progressive)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_grey(path, 64), image.resize((64, 64), BILINEAR))


@pytest.mark.parametrize("shape", [(640, 512), (701, 523), (1031, 1201)])
def test_a_large_jpeg_decoded_at_a_reduced_scale_is_close_to_the_whole(save, shape):
    path = save("a.jpg", scene(*shape), quality=90)
    with Image.open(path) as image:
        difference = np.abs(read_grey(path, 64) - np.asarray(image.resize((64, 64), BILINEAR), dtype=float))
    assert 0 < difference.mean() < 0.5 and difference.max() <= 8


@pytest.mark.parametrize("form", [{"subsampling": 2}, {"subsampling": 0}, {"keep_rgb": True}, "CMYK"])
def test_a_colour_jpeg_becomes_its_luma(save, form):
    grey = scene(150, 97)
    colour = Image.merge("RGB", [Image.fromarray(channel) for channel in (grey, 255 - grey, grey // 2)])
    options = {} if form == "CMYK" else form
    path = save("a.jpg", jpeg(colour.convert("CMYK") if form == "CMYK" else colour, quality=95, **options))
    np.testing.assert_allclose(
        read_grey(path, 64).astype(int), np.asarray(colour.convert("L").resize((64, 64), BILINEAR)).astype(int), atol=4
    )


def test_bytes_say_what_a_file_is_and_not_its_name(save):
    data = jpeg(scene(80, 80))
    np.testing.assert_array_equal(read_grey(save("a.png", data), 32), read_grey(save("a.jpg", data), 32))


@pytest.mark.parametrize("bits", range(8, 17))
def test_the_upper_8_bits_stay_of_an_image_that_fills_its_bits(save, bits):
    values = np.linspace(0, 2**bits - 1, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(read_grey(save("a.png", values), 32), values >> (bits - 8))


@pytest.mark.parametrize("form", ["a.png", "a.tif", "a.jp2"])
def test_brightness_does_not_jump_where_values_need_another_bit(save, form):
    shown = scene(32, 32) / scene(32, 32).max()
    means = {
        greatest: read_grey(save(form, (shown * greatest).round().astype(np.uint16)), 32).mean()
        for bits in range(9, 17)
        for greatest in (2**bits - 2, 2**bits - 1, min(2**bits, 65535), min(3 * 2**bits // 2, 65535))
    }
    assert max(means.values()) - min(means.values()) < 1


def test_values_of_8_bits_in_16_stay_as_they_are(save):
    for greatest in (1, 200, 255):
        values = np.linspace(0, greatest, 32 * 32).round().astype(np.uint16).reshape(32, 32)
        picture = read_picture(save("a.png", values), 32)
        np.testing.assert_array_equal(picture.pixels, values)
        assert picture.greatest == 0


@pytest.mark.parametrize("bits", range(9, 17))
def test_a_chosen_number_of_bits_is_one_range_for_all_images(save, bits):
    values = np.linspace(0, 300, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(read_grey(save("a.png", values), 32, bits=bits), values >> (bits - 8))
    assert read_picture(save("a.png", values), 32, bits=bits).greatest == 300
    np.testing.assert_array_equal(read_grey(save("b.png", scene(32, 32)), 32, bits=bits), scene(32, 32))  # 8 bits
    if bits < 16:
        with pytest.raises(BadImage, match=f"beyond bits={bits}"):
            read_grey(save("a.png", np.full((4, 4), 2**bits, np.uint16)), 4, bits=bits)


def test_a_data_sets_bits_are_said_and_change_its_pixels(tmp_path, refusal):
    for name, greatest in (("a.png", 1500), ("b.png", 3000)):
        Image.fromarray(np.full((8, 8), greatest, np.uint16)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("image,split,Edema\na.png,train,1\nb.png,test,0\n")

    def opened(**options):
        return open_dataset("folder", tmp_path, size=8, progress=False, **options)

    each, twelve = opened(), opened(bits=12)
    assert each.pixels[:].max(axis=(1, 2)).tolist() == [255, 255]
    assert twelve.pixels[:].max(axis=(1, 2)).tolist() == [1500 >> 4, 3000 >> 4]
    assert "its greatest value" in each.listing.notes[-1] and "4,095" in twelve.listing.notes[-1]
    assert each.fingerprint != twelve.fingerprint and opened().fingerprint == each.fingerprint
    assert "3000, is beyond bits=11" in refusal("folder", tmp_path, bits=11)
    for bits in (8, 17, "twelve", 12.0, True):
        assert "choose 9 to 16" in refusal("folder", tmp_path, bits=bits)


def test_a_set_of_8_bits_says_nothing_of_bits(phantom_folder):
    assert open_dataset("phantom", phantom_folder, size=8, progress=False).listing.notes == ()


def png(values: np.ndarray, colour: int, pixels: bool = True) -> bytes:
    """A PNG of values (h, w, channels) of 16 bits, which Pillow does not write in colour; or its header alone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values) if pixels else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_give_their_upper_8_and_are_refused_where_those_are_nearly_black(save, colour, channels):
    grey = np.repeat(np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32, 1), channels, axis=2)
    np.testing.assert_array_equal(read_grey(save("a.png", png(grey, colour)), 32), grey[..., 0] >> 8)
    assert "16 bits" in refusal(save("a.png", png(grey >> 4, colour)))


# Orientation, which EXIF numbers by the sides of the picture on which the stored first row and first column lie.

ORIENTATIONS = {
    1: ("top, left", lambda shown: shown),
    2: ("top, right", lambda shown: shown[:, ::-1]),
    3: ("bottom, right", lambda shown: shown[::-1, ::-1]),
    4: ("bottom, left", lambda shown: shown[::-1]),
    5: ("left, top", lambda shown: shown.T),
    6: ("right, top", lambda shown: shown.T[::-1]),
    7: ("right, bottom", lambda shown: shown[::-1, ::-1].T),
    8: ("left, bottom", lambda shown: shown[::-1].T),
}

FORMS = {"a.jpg": {"quality": 100}, "a.png": {}, "a.webp": {"lossless": True}, "a.tif": {}}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_image_is_turned_as_its_exif_says(save, form, orientation):
    shown = scene(60, 40)
    stored = np.ascontiguousarray(ORIENTATIONS[orientation][1](shown))
    picture = read_picture(save(form, stored, exif=exif(orientation), **FORMS[form]), 32)
    expected = np.asarray(Image.fromarray(shown).resize((32, 32), BILINEAR)).astype(int)
    np.testing.assert_allclose(picture.pixels, expected, atol=2 if form == "a.jpg" else 0)
    assert (picture.width, picture.height, picture.orientation) == (60, 40, orientation)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_jpeg_is_what_pillow_decodes_turns_and_resizes(save, orientation):
    path = save("a.jpg", scene(701, 523), quality=90, exif=exif(orientation))
    with Image.open(path) as image:
        shown = ImageOps.exif_transpose(image).resize((64, 64), BILINEAR)
    difference = np.abs(read_grey(path, 64) - np.asarray(shown, dtype=float))
    assert difference.max() <= (8 if orientation == 1 else 0)  # upright, it is decoded at a reduced scale


@pytest.mark.parametrize("form", ["a.png", "a.tif"])
def test_images_of_16_bits_are_turned_too(save, form):
    values = scene(60, 40).astype(np.uint16) * 257
    stored = np.ascontiguousarray(ORIENTATIONS[6][1](values))
    turned, upright = save(form, stored, exif=exif(6)), save("b.png", values)
    np.testing.assert_array_equal(read_grey(turned, 32), read_grey(upright, 32))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", [0, 9, 65535, b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0II*\0"])
def test_an_orientation_that_is_none_turns_nothing(save, form, orientation):
    if isinstance(orientation, bytes) and form == "a.tif":
        return  # its EXIF is its own header
    tags = orientation if isinstance(orientation, bytes) else exif(orientation)
    picture = read_picture(save(form, scene(32, 32), exif=tags, **FORMS[form]), 32)
    np.testing.assert_allclose(picture.pixels, scene(32, 32).astype(int), atol=2)
    assert picture.orientation == 1


def test_orientation_is_found_behind_other_segments_of_a_jpeg(save):
    stored = np.ascontiguousarray(ORIENTATIONS[6][1](scene(60, 40)))
    data = jpeg(stored, exif=exif(6), quality=100)
    comment = b"\xff\xfe" + struct.pack(">H", 60000) + b"\xff\xda" * 29999  # ends like a header, and is none
    for before in (comment, comment + b"\xff\xff" + comment[1:]):  # the second after a fill byte
        path = save("a.jpg", data[:2] + before + data[2:])
        assert (read_picture(path, 32).orientation, read_picture(path, 32).width) == (6, 60)


def test_alpha_is_ignored(save):
    colour = np.dstack([scene(32, 32), 255 - scene(32, 32), scene(32, 32) // 2, np.zeros((32, 32), np.uint8)])
    seen, opaque = save("a.png", colour), save("b.png", np.ascontiguousarray(colour[..., :3]))
    np.testing.assert_array_equal(read_grey(seen, 32), read_grey(opaque, 32))


def test_a_palette_is_followed_and_one_bit_is_black_or_white(save):
    grey = Image.fromarray(scene(32, 32))
    palette = grey.convert("P")
    palette.putpalette([255 - level for level in range(256) for _ in range(3)])
    np.testing.assert_array_equal(read_grey(save("a.png", palette), 32), 255 - scene(32, 32))
    assert set(np.unique(read_grey(save("b.png", grey.convert("1")), 32))) == {0, 255}


def test_a_damaged_image_is_an_error_and_not_half_grey(save):
    png = io.BytesIO()
    Image.fromarray(scene(150, 97)).save(png, "PNG")
    for data in (jpeg(scene(150, 97)), jpeg(scene(150, 97), progressive=True), png.getvalue()):
        for length in (len(data) // 2, 100):
            assert "cannot be decoded" in refusal(save("a.jpg", data[:length]))
    assert "cannot be decoded" in refusal(save("a.jpg", jpeg(scene(150, 97))[:-1]))
    data = bytearray(jpeg(scene(300, 300), quality=95))
    data[3000:3400] = bytes(400)
    assert "Corrupt JPEG" in refusal(save("a.jpg", bytes(data)))
    assert "no image" in refusal(save("a.dcm", b"not a DICOM file" * 20))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"<html>404</html>", "no image"),
        (np.full((4, 4), 0.5, np.float32), "fractions"),
        (np.full((4, 4), -1, np.int32), "beyond 16 bits"),
        (np.full((4, 4), 70000, np.int32), "beyond 16 bits"),
    ],
)
def test_what_is_no_grey_image_is_refused_in_words(save, content, words):
    assert words in refusal(save("a.tif" if isinstance(content, np.ndarray) else "a.jpg", content))


def test_a_missing_file_is_no_bad_image(tmp_path):
    assert "no such image" in refusal(tmp_path / "a.jpg", UserError)
    with pytest.raises(UserError, match="no such image"):
        Files(tmp_path, ["a.jpg"]).stamp(0)
    (tmp_path / "b.jpg").mkdir()
    assert "cannot be read" in refusal(tmp_path / "b.jpg", UserError)


def declared(width: int, height: int) -> dict[str, bytes]:
    """Files of each format that say that they are of this size, and hold 64 pixels or none."""
    files = {"PNG": png(np.broadcast_to(np.uint16(0), (height, width)), 0, pixels=False)}
    for form, size in {"JPEG": ">HH", "JPEG2000": ">II", "BMP": "<ii", "TGA": "<HH"}.items():
        buffer = io.BytesIO()
        Image.fromarray(scene(8, 8)).save(buffer, form)
        order = (width, height) if size[0] == "<" else (height, width)
        assert struct.pack(size, 8, 8) in buffer.getvalue()
        files[form] = buffer.getvalue().replace(struct.pack(size, 8, 8), struct.pack(size, *order))
    files["PPM"] = f"P5 {width} {height} 255\n".encode() + bytes(64)
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 279: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    files["TIFF"] = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(64)
    return files


@pytest.mark.parametrize("form", declared(8, 8))
def test_more_pixels_than_anybody_needs_are_refused_before_any_is_decoded(save, form):
    path = save("a", declared(30_000, 30_000)[form])
    tracemalloc.start()
    assert "pixels" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_is_the_same_for_every_format(save):
    width, height = 9_460, 9_459
    assert (width - 1) * height < MAX_PIXELS < width * height
    for form, data in declared(width, height).items():
        assert "it declares" in refusal(save(form, data)), form
    for form in ("JPEG", "PNG", "TIFF"):  # the others would be decoded as far as they go
        assert "it declares" not in refusal(save(form, declared(width - 1, height)[form])), form


def test_a_program_is_no_image(save):
    eps = save("a.eps", Image.fromarray(scene(8, 8)))
    assert eps.read_bytes().startswith(b"%!PS") and "no image" in refusal(eps)
    assert "no image" in refusal(save("a.png", eps.read_bytes()))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert "a pipe" in refusal(tmp_path / "a.jpg", UserError)
    assert "a pipe" in refusal("/dev/zero", UserError)


def test_the_decoder_is_named_with_its_versions():
    assert all(name in decoder() for name in ("simplejpeg 1.", "pillow 1", "pydicom 3", "stretched, antialiased"))
