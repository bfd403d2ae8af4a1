"""How one DICOM file becomes grey pixels, however little of it is there, and how it is known."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from chexlib.data.dicom import grey, is_dicom, read_header
from chexlib.data.images import BadImage, read_grey
from chexlib.errors import UserError

PYTHON = ("Error", "Exception", "NoneType", "attribute", "force=", "literal", "convert", "unpack", "bounds", "0x", "<")
"""What no message to a user holds."""

RAMP = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)


def picture(path) -> np.ndarray:
    """As large as it is stored."""
    return grey(path.read_bytes(), lambda width, height: None)


def refusal(path) -> str:
    with pytest.raises(BadImage) as error:
        read_grey(path, 32)
    reason = error.value.reason
    assert "\n" not in reason and not any(word in reason for word in PYTHON)
    return reason


def rewrite(path, change):
    """Changes a file's tags."""
    file = pydicom.dcmread(path)
    change(file)
    file.save_as(path)
    return path


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
    assert "after 100 of 2,048 bytes" in refusal(dicom(values=RAMP.tobytes()[:100]))


def test_a_compression_that_is_not_installed_is_named(dicom):
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLosslessSV1

    if get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("this machine decodes lossless JPEG")
    message = refusal(dicom(values=encapsulate([b"\xff\xd8\xff\xd9"]), syntax=JPEGLosslessSV1))
    assert "JPEG Lossless" in message and "pip install" in message


# What pads an image.

REAL = RAMP[:, 8:] // 4 + 100  # (32, 24), of 100 to 1123
WINDOW = {"WindowCenter": 500, "WindowWidth": 700}


@pytest.mark.parametrize("window", [{}, WINDOW, {"VOILUTSequence": None}])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("padding", [-32768, -2000, -1, 0, 50, 2000, 32767, 65535])
@pytest.mark.parametrize("slope", [1, -2])
def test_padding_counts_for_neither_end_and_is_dark(dicom, window, photometric, padding, slope):
    signed = int(padding < 0)
    tags = {"PhotometricInterpretation": photometric, "PixelRepresentation": signed, "BitsStored": 16, "HighBit": 15}
    tags |= {"RescaleSlope": slope, "RescaleIntercept": 1500 if slope < 0 else 0} | window
    values = np.full((32, 32), padding, np.int32)
    values[:, 8:] = REAL
    dtype = np.int16 if signed else np.uint16
    padded = picture(dicom("a.dcm", values.astype(dtype), PixelPaddingValue=padding, **tags))
    real = picture(dicom("b.dcm", REAL.astype(dtype), Columns=24, **tags))
    np.testing.assert_array_equal(padded[:, 8:], real)
    assert not padded[:, :8].any() and np.ptp(real) > 200


@pytest.mark.parametrize("limits", [(-2000, -1500), (-1500, -2000)])
def test_a_range_of_padding_is_dark_up_to_its_limit(dicom, limits):
    values = np.zeros((32, 32), np.int16)
    values[:, :8] = np.linspace(-2000, -1500, 8)
    values[:, 8:] = REAL
    values[0, 8] = -1499  # the least that is real
    tags = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
    padding = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), limits))
    shown = picture(dicom(values=values, **tags, **padding))
    assert not shown[:, :8].any() and shown[0, 8] == 0
    np.testing.assert_array_equal(shown[1:, 8:], np.rint((values[1:, 8:] + 1499) / (1123 + 1499) * 255))


@pytest.mark.parametrize(("signed", "value", "written"), [(1, -2000, 63536), (0, 63536, -2000)])
def test_padding_may_be_written_with_the_other_sign(dicom, signed, value, written):
    values = np.full((32, 32), value, np.int32)
    values[:, 8:] = REAL
    path = dicom(
        values=values.astype("<i2" if signed else "<u2"), PixelRepresentation=signed, BitsStored=16, HighBit=15
    )
    rewrite(path, lambda file: file.add_new("PixelPaddingValue", "US" if written > 0 else "SS", written))
    assert not picture(path)[:, :8].any() and picture(path)[:, 8:].mean() == pytest.approx(127, abs=2)


@pytest.mark.parametrize(("signed", "padding"), [(0, 65535), (0, 4096), (1, -32768), (1, 2048)])
def test_padding_need_not_fit_into_the_bits_that_are_stored(dicom, signed, padding):
    values = np.full((32, 32), padding, np.int32)
    values[:, 8:] = REAL
    values[0, 8:] = padding & 0xFFF if not signed else 0  # what the padding's lower 12 bits are is real elsewhere
    tags = {"PixelRepresentation": signed, "PixelPaddingValue": padding}
    shown = picture(dicom(values=values.astype("<i2" if signed else "<u2"), **tags))
    assert not shown[:, :8].any() and shown[:, 8:].any(axis=1)[1:].all()
    expected = picture(dicom("b.dcm", values[:, 8:].astype("<i2" if signed else "<u2"), Columns=24, **tags))
    np.testing.assert_array_equal(shown[:, 8:], expected)


def test_an_image_of_nothing_but_padding_is_black(dicom):
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        tags = {"PixelPaddingValue": 7, "PhotometricInterpretation": photometric}
        assert not picture(dicom(values=np.full_like(RAMP, 7), **tags)).any()


# What is absent, empty or only half there.


def half_a_table(tag: str):
    whole = table(range(4096), 12)[0]
    delattr(whole, tag)
    return whole


NOTHING = {
    "empty rescale": {"RescaleSlope": None, "RescaleIntercept": None},
    "empty slope": {"RescaleSlope": None, "RescaleIntercept": 5},
    "empty intercept": {"RescaleSlope": 2, "RescaleIntercept": None},
    "slope alone": {"RescaleSlope": 2},
    "intercept alone": {"RescaleIntercept": -1024},
    "slope of 0": {"RescaleSlope": 0, "RescaleIntercept": 0},
    "empty window": {"WindowCenter": None, "WindowWidth": None},
    "empty centre": {"WindowCenter": None, "WindowWidth": 400},
    "empty width": {"WindowCenter": 40, "WindowWidth": None},
    "centre alone": {"WindowCenter": 40},
    "width alone": {"WindowWidth": 400},
    "width of 0": {"WindowCenter": 40, "WindowWidth": 0},
    "width below 0": {"WindowCenter": 40, "WindowWidth": -400},
    "no centre for the width": {"WindowCenter": ["", ""], "WindowWidth": [400, 500]},
    "empty function": {"VOILUTFunction": None},
    "empty padding": {"PixelPaddingValue": None},
    "limit alone": {"PixelPaddingRangeLimit": 2000},
    "empty frames": {"NumberOfFrames": None},
    "empty shape": {"PresentationLUTShape": None},
    "identity": {"PresentationLUTShape": "IDENTITY"},
} | {
    f"{tag}, {name}": {tag: items()}
    for tag in ("VOILUTSequence", "ModalityLUTSequence")
    for name, items in {
        "empty": list,
        "empty item": lambda: [pydicom.Dataset()],
        "descriptor alone": lambda: [half_a_table("LUTData")],
        "entries alone": lambda: [half_a_table("LUTDescriptor")],
    }.items()
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("tags", NOTHING)
def test_what_is_empty_or_half_there_is_as_if_absent(dicom, tags, syntax):
    bare = picture(dicom("a.dcm", syntax=syntax, BitsStored=16, HighBit=15))
    np.testing.assert_array_equal(bare, np.rint(RAMP / RAMP.max() * 255))
    path = dicom("b.dcm", syntax=syntax, BitsStored=16, HighBit=15, **NOTHING[tags])
    np.testing.assert_array_equal(picture(path), bare)


@pytest.mark.parametrize("item", [lambda: pydicom.Dataset(), lambda: half_a_table("LUTData")])
def test_where_a_voi_table_is_none_the_window_or_the_next_table_counts(dicom, item):
    window = {"WindowCenter": 2048, "WindowWidth": 1000}
    expected = picture(dicom("a.dcm", **window))
    np.testing.assert_array_equal(picture(dicom("b.dcm", VOILUTSequence=[item()], **window)), expected)
    lut = table([min(255, value // 8) for value in range(4096)], 8)
    expected = picture(dicom("a.dcm", VOILUTSequence=lut))
    np.testing.assert_array_equal(picture(dicom("b.dcm", VOILUTSequence=[item(), *lut], **window)), expected)


def test_the_first_window_that_is_whole_counts(dicom):
    expected = picture(dicom("a.dcm", WindowCenter=2048, WindowWidth=1000))
    several = dicom("b.dcm", WindowCenter=["", 2048, 100], WindowWidth=[400, 1000, 5])
    np.testing.assert_array_equal(picture(several), expected)
    first = dicom("b.dcm", WindowCenter=[2048, 100], WindowWidth=[1000, 5])
    np.testing.assert_array_equal(picture(first), expected)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "linear_exact"])
def test_a_width_below_1_is_exact(dicom, function):
    tags = {"RescaleSlope": 0.000244, "RescaleIntercept": 0, "WindowCenter": 0.5, "WindowWidth": 0.9998}
    expected = np.rint(np.clip((RAMP * 0.000244 - 0.5) / 0.9998 + 0.5, 0, 1) * 255)
    np.testing.assert_array_equal(picture(dicom(VOILUTFunction=function, **tags)), expected)


@pytest.mark.parametrize(
    ("function", "fraction"),
    [
        ("LINEAR", lambda x: (x - 1999.5) / 999 + 0.5),
        ("LINEAR_EXACT", lambda x: (x - 2000) / 1000 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2000) / 1000))),
    ],
)
def test_the_functions_of_a_window_are_the_standards(dicom, function, fraction):
    path = dicom(WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function)
    np.testing.assert_array_equal(picture(path), np.rint(np.clip(fraction(RAMP.astype(float)), 0, 1) * 255))
    step = picture(dicom(WindowCenter=2000, WindowWidth=1, VOILUTFunction="LINEAR"))
    np.testing.assert_array_equal(step, 255 * (RAMP > 1999.5))
    assert "VOILUTFunction CUBIC" in refusal(dicom(VOILUTFunction="CUBIC", **WINDOW))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, WINDOW])
def test_monochrome1_and_inverse_say_the_same_once(dicom, photometric, window):
    plain = picture(dicom("a.dcm", **window)).astype(int)
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": "INVERSE"}
    np.testing.assert_array_equal(picture(dicom("b.dcm", **tags, **window)), 255 - plain)


def test_words_may_have_empty_ones_beside_them_and_small_letters(dicom):
    expected = dicom("a.dcm", **WINDOW, PhotometricInterpretation="MONOCHROME1", VOILUTFunction="SIGMOID")
    tags = {"PhotometricInterpretation": ["", "monochrome2"], "VOILUTFunction": ["sigmoid", ""]}
    path = dicom("b.dcm", **WINDOW, **tags, PresentationLUTShape=["", "INVERSE"])
    np.testing.assert_array_equal(picture(path), picture(expected))
    assert "no PhotometricInterpretation" in refusal(dicom(PhotometricInterpretation=["", ""]))


@pytest.mark.parametrize("stored", range(9, 17))
@pytest.mark.parametrize("signed", [0, 1])
def test_every_depth_and_sign(dicom, stored, signed):
    low = -(2 ** (stored - 1)) if signed else 0
    values = np.linspace(low, low + 2**stored - 1, 1024).round().astype(np.int32).reshape(32, 32)
    tags = {"BitsStored": stored, "HighBit": stored - 1, "PixelRepresentation": signed}
    shown = picture(dicom(values=values.astype("<i2" if signed else "<u2"), **tags))
    np.testing.assert_array_equal(shown, np.rint((values - low) / (2**stored - 1) * 255))


def test_values_of_32_bits(dicom):
    values = np.linspace(-(2**31), 2**31 - 1, 1024).reshape(32, 32).astype("<i4")
    tags = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 1}
    expected = np.rint((values + 2.0**31) / (2**32 - 1) * 255)
    np.testing.assert_array_equal(picture(dicom(values=values, **tags)), expected)
    values[:, :4] = -5
    shown = picture(dicom(values=values, PixelPaddingValue=-5, **tags))
    np.testing.assert_allclose(shown[:, 4:], expected[:, 4:], atol=1)
    assert not shown[:, :4].any()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_may_be_written_as_words_or_bytes(dicom, syntax, bits, packed):
    entries = (np.arange(4096) * (2**bits - 1) // 4095).astype("<u1" if packed and bits == 8 else "<u2")
    lut = table(entries.tolist(), bits)
    if packed:
        lut[0].add_new("LUTData", "OW", entries.tobytes())
    shown = picture(dicom(syntax=syntax, VOILUTSequence=lut))
    np.testing.assert_array_equal(shown, np.rint(entries[RAMP] / (2**bits - 1) * 255))


def test_a_table_that_is_shorter_than_it_says_is_refused(dicom):
    lut = table(range(4096), 12)
    lut[0].LUTData = list(range(100))
    assert "VOILUTSequence has 100 of 4,096 entries" in refusal(dicom(VOILUTSequence=lut))


# How a file is known and opened.


def stripped(data: bytes, meta: bool = False) -> bytes:
    """A file without its preamble, and without its meta information too."""
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    return data[132 if meta else start :]


def without_syntax(path):
    """The file with meta information that does not name a transfer syntax."""
    file, data = pydicom.dcmread(path), path.read_bytes()
    name = file.file_meta.TransferSyntaxUID
    element = b"\2\0\x10\0UI" + struct.pack("<H", len(name) + len(name) % 2) + name.encode() + b"\0" * (len(name) % 2)
    assert element in data
    length = int.from_bytes(data[140:144], "little") - len(element)
    path.write_bytes((data[:140] + struct.pack("<I", length) + data[144:]).replace(element, b""))
    return path


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", ["a.dcm", "a"])
def test_a_file_without_preamble_or_transfer_syntax_is_read(dicom, syntax, name):
    path = dicom(name, syntax=syntax, PatientID="A", PixelPaddingValue=4092, VOILUTSequence=table(range(4096), 12))
    expected, data = read_grey(path, 32), path.read_bytes()
    assert expected[-1, -2] == 255 and expected[-1, -1] == 0
    for shorter in (stripped(data), stripped(data, meta=True), without_syntax(path).read_bytes()):
        path.write_bytes(shorter)
        assert is_dicom(shorter[:256]) and str(read_header(path, ["PatientID"]).PatientID) == "A"
        np.testing.assert_array_equal(read_grey(path, 32), expected)


def test_compressed_pixels_without_a_transfer_syntax_are_refused(dicom):
    path = dicom(values=pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"]), syntax=JPEGBaseline8Bit)
    rewrite(path, lambda file: setattr(file["PixelData"], "is_undefined_length", True))
    assert "no TransferSyntaxUID" in refusal(without_syntax(path))


def test_a_transfer_syntax_that_nobody_decodes_is_named(dicom):
    path = dicom(values=pydicom.encaps.encapsulate([bytes(8)]), syntax=JPEGBaseline8Bit)
    known, film = path.read_bytes(), pydicom.uid.MPEG4HP41
    for unknown in ("1.2.840.10008.99.99", "1.2.3.4"):
        length = len(JPEGBaseline8Bit)
        path.write_bytes(known.replace(JPEGBaseline8Bit.encode(), unknown.encode().ljust(length, b"\0")))
        assert f"transfer syntax {unknown} is not known" in refusal(path)
    path.write_bytes(known)
    assert film.name in refusal(rewrite(path, lambda file: setattr(file.file_meta, "TransferSyntaxUID", film)))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_of_other_transfer_syntaxes(dicom, syntax):
    values = RAMP.astype(">u2") if syntax == ExplicitVRBigEndian else RAMP
    path = dicom("b.dcm", values, syntax=syntax, PatientID="A")
    np.testing.assert_array_equal(read_grey(path, 32), read_grey(dicom(), 32))
    assert read_header(path, ["PatientID"]).PatientID == "A"


def test_a_large_deflated_file_is_inflated_whole(dicom):
    values = np.random.default_rng(0).integers(0, 4096, (800, 900)).astype("<u2")
    tags = {"values": values, "Rows": 800, "Columns": 900}
    deflated = dicom("b.dcm", syntax=DeflatedExplicitVRLittleEndian, **tags)
    np.testing.assert_array_equal(picture(deflated), picture(dicom("a.dcm", **tags)))


@pytest.mark.parametrize(
    "tag",
    ["Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation",
     "PixelRepresentation", "PixelData"],
)  # fmt: skip
@pytest.mark.parametrize("empty", [False, True])
def test_a_tag_that_no_image_can_be_without_is_named(dicom, tag, empty):
    path = rewrite(dicom(), lambda file: setattr(file, tag, None) if empty else delattr(file, tag))
    assert f"it has no {tag}" in refusal(path)


def test_more_pixels_than_anybody_needs_are_refused_before_any_is_inflated(dicom):
    huge = {"Rows": 30_000, "Columns": 30_000, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = dicom(values=bytes(2), **huge)
    assert "30,000 x 30,000" in refusal(path)
    deflated = dicom("b.dcm", b"", syntax=DeflatedExplicitVRLittleEndian, **huge)
    data = deflated.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    header = zlib.decompress(data[start:], -zlib.MAX_WBITS)[:-4] + struct.pack("<I", 900_000_000)  # of pixel data
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = deflate.compress(header) + b"".join(deflate.compress(bytes(2**20)) for _ in range(64)) + deflate.flush()
    deflated.write_bytes(data[:start] + body)
    tracemalloc.start()
    assert "30,000 x 30,000" in refusal(deflated)
    assert int(read_header(deflated, ["Rows"]).Rows) == 30_000
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_other_files_are_not_taken_for_dicom(tmp_path):
    from PIL import Image

    for form in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "TGA", "PCX", "ICO"):
        buffer = io.BytesIO()
        Image.fromarray(RAMP.astype(np.uint8)).save(buffer, form)
        assert not is_dicom(buffer.getvalue()[:256]), form
    for text in (b"", b"\x08", b"\x08\0", b"image,Edema\na.png,1\n", b"\x08\0\0\0", b"PK\3\4", b"\0\5\x16\7" * 40):
        assert not is_dicom(text)
    for path, words in ((tmp_path / "a.dcm", "no DICOM file"), (tmp_path / "b.dcm", "no file"), (tmp_path, "no file")):
        if path.name == "a.dcm":
            path.write_bytes(b"nothing" * 40)
        with pytest.raises(UserError, match=words):
            read_header(path, ["Rows"])
