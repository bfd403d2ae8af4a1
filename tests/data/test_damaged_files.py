"""Files of every format, damaged at random: each is shown or refused in one line, and nothing else comes out."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chexlib.data.dicom import read_header
from chexlib.data.images import read_picture
from chexlib.errors import UserError

GREY = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8) * 3
TURNED = Image.Exif()
TURNED[0x0112] = 6

FORMS = {
    **{form: (GREY, {}) for form in ("BMP", "GIF", "JPEG2000", "PPM", "TGA", "PCX", "SGI", "IM")},
    **{form: (GREY, {"exif": TURNED}) for form in ("JPEG", "PNG", "TIFF", "WEBP")},
    **{f"{form}, 16 bits": (GREY.astype(np.uint16) * 99, {}) for form in ("PNG", "TIFF", "JPEG2000")},
}

TAGS = {
    "WindowCenter": [300, 5],
    "WindowWidth": [600, 5],
    "RescaleSlope": 2,
    "RescaleIntercept": -5,
    "PixelPaddingValue": 3,
    "PixelPaddingRangeLimit": 9,
    "VOILUTFunction": "LINEAR_EXACT",
    "PresentationLUTShape": "INVERSE",
}

DAMAGE = st.one_of(
    st.tuples(st.just("overwrite"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("overwrite"), st.floats(0, 0.3), st.sampled_from([b"\0", b"\xff" * 4, b"\x7f\xff", b"nan "])),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=32)),
    st.tuples(st.just("remove"), st.floats(0, 1), st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("end"), st.floats(0, 1), st.just(b"")),
)


def damaged(data: bytes, damages: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, some in damages:
        at = int(place * len(data))
        rest = {"overwrite": data[at + len(some) :], "insert": data[at:], "remove": data[at + len(some) :], "end": b""}
        data = data[:at] + (b"" if kind == "remove" else some) + rest[kind]
    return data


def shown_or_refused(path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        picture = read_picture(path, 8)
        assert picture.pixels.shape == (8, 8) and picture.pixels.dtype == np.uint8
        assert picture.width > 0 and picture.height > 0 and 1 <= picture.orientation <= 8
    except UserError as error:
        said = str(error)
    else:
        said = str(path)
    assert "\n" not in said and str(path) in said


COMMON = settings(derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@COMMON
@given(damages=st.lists(DAMAGE, min_size=1, max_size=4))
def test_a_damaged_image_is_shown_or_refused(tmp_path, form, damages):
    (values, options), file = FORMS[form], io.BytesIO()
    Image.fromarray(values).save(file, form.split(",")[0], **options)
    shown_or_refused(tmp_path / "a", damaged(file.getvalue(), damages))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@COMMON
@given(damages=st.lists(DAMAGE, min_size=1, max_size=4))
def test_a_damaged_dicom_file_is_shown_or_refused(tmp_path, write_dicom, syntax, damages):
    path = tmp_path / "a"
    if not path.exists():
        write_dicom(tmp_path / "whole", np.arange(1024, dtype=np.uint16).reshape(32, 32), syntax=syntax, **TAGS)
    shown_or_refused(path, damaged((tmp_path / "whole").read_bytes(), damages))
    with suppress(UserError):
        read_header(path, ["PatientID"])


@pytest.mark.filterwarnings("ignore")
@COMMON
@given(begin=st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\0\x05\0CS\x0a\0", b"\xff\xd8\xff"]), rest=st.binary())
def test_any_bytes_are_shown_or_refused(tmp_path, begin, rest):
    shown_or_refused(tmp_path / "a", begin + rest)
