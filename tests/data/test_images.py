"""How one file becomes grey pixels: formats, depths, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from chexlib.data.images import BadImage, Files, decoder, read_grey
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


@pytest.mark.parametrize(
    ("highest", "shift"), [(200, 0), (255, 0), (256, 2), (1023, 2), (1024, 4), (4095, 4), (4096, 8), (65535, 8)]
)
def test_the_upper_8_bits_of_a_16_bit_png_are_those_of_the_bits_in_use(save, highest, shift):
    values = np.linspace(0, highest, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(read_grey(save("a.png", values), 32), values >> shift)


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
    assert "cannot be decoded" in refusal(save("a.dcm", b"not a DICOM file" * 20))


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


def test_the_decoder_is_named_with_its_versions():
    assert all(name in decoder() for name in ("simplejpeg 1.", "pillow 1", "pydicom 3", "stretched, antialiased"))


# DICOM.

RAMP = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)


@pytest.fixture
def dicom(write_dicom, tmp_path):
    """Writes a DICOM file of 32 x 32 values of 12 bits, RAMP unless others are given."""
    return lambda name="a.dcm", values=RAMP, **attributes: write_dicom(tmp_path / name, values, **attributes)


def test_dicom_without_a_window_goes_from_its_least_to_its_greatest_value(dicom):
    np.testing.assert_array_equal(read_grey(dicom(), 32), np.rint(RAMP / RAMP.max() * 255))
    np.testing.assert_array_equal(read_grey(dicom(values=RAMP // 8 + 100), 32), np.rint((RAMP // 8) / 511 * 255))
    assert not read_grey(dicom(values=np.full_like(RAMP, 7)), 32).any()


def test_dicom_is_known_by_its_bytes_too(dicom):
    np.testing.assert_array_equal(read_grey(dicom("a.png"), 32), read_grey(dicom("a.dcm"), 32))


def test_monochrome1_is_inverted(dicom):
    inverted = read_grey(dicom("b.dcm", PhotometricInterpretation="MONOCHROME1"), 32)
    np.testing.assert_array_equal(inverted, 255 - np.rint(RAMP / RAMP.max() * 255))


def test_a_window_is_over_rescaled_values(dicom):
    path = dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000.5, WindowWidth=2001)
    expected = np.rint(np.clip((2.0 * RAMP - 1000) / 2000, 0, 1) * 255)
    np.testing.assert_allclose(read_grey(path, 32), expected, atol=1)
    assert read_grey(path, 32).min() == 0 and read_grey(path, 32).max() == 255


@pytest.mark.parametrize("window", [{}, {"WindowCenter": -2047.5, "WindowWidth": 4096}])
def test_a_negative_slope_turns_the_picture_round(dicom, window):
    path = dicom(RescaleSlope=-1, RescaleIntercept=0, **window)
    np.testing.assert_allclose(read_grey(path, 32), 255 - RAMP / 4095 * 255, atol=1)


def test_signed_values(dicom):
    path = dicom(values=(RAMP.astype(np.int16) - 2048), PixelRepresentation=1)
    np.testing.assert_array_equal(read_grey(path, 32), np.rint(RAMP / RAMP.max() * 255))


def table(values, bits: int):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), 0, bits], list(values)
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return [item]


def test_a_voi_table_comes_before_a_window(dicom):
    lut = table([min(255, value // 8) for value in range(4096)], 8)
    path = dicom(VOILUTSequence=lut, WindowCenter=5, WindowWidth=2, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(read_grey(path, 32), np.minimum(255, RAMP // 8))


@pytest.mark.parametrize(
    ("window", "ends"), [({}, (0, 4 * 4092)), ({"WindowCenter": 8192.5, "WindowWidth": 16385}, (0, 16384))]
)
def test_a_window_is_over_the_values_of_a_modality_table(dicom, window, ends):
    path = dicom(ModalityLUTSequence=table([4 * value for value in range(4096)], 16), **window)
    np.testing.assert_allclose(read_grey(path, 32), np.clip(4 * RAMP / ends[1], 0, 1) * 255, atol=1)


def test_dicom_that_is_not_one_grey_image_is_refused(dicom):
    assert "3 frames" in refusal(dicom(values=RAMP.tobytes() * 3, NumberOfFrames=3))
    assert "it is RGB, not grey" in refusal(
        dicom(values=RAMP.tobytes() * 3, PhotometricInterpretation="RGB", SamplesPerPixel=3)
    )
    assert "cannot be decoded" in refusal(dicom(values=RAMP.tobytes()[:100]))


def test_a_compression_that_is_not_installed_is_named(dicom):
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLosslessSV1

    if get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("this machine decodes lossless JPEG")
    message = refusal(dicom(values=encapsulate([b"\xff\xd8\xff\xd9"]), syntax=JPEGLosslessSV1))
    assert "JPEG Lossless" in message and "pip install" in message
