"""Fixtures of the tests of data: real label files of another package, a folder to break, and a refusal in one line."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from chexlib.data.dataset import open_dataset
from chexlib.errors import UserError


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The folder of torchxrayvision's label files, CheXpert's real train.csv and NIH's among them, gzipped."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None:
        pytest.skip("torchxrayvision is not installed")
    return Path(spec.submodule_search_locations[0]) / "data"


@pytest.fixture(scope="session")
def train_csv(wheel) -> Path:
    return wheel / "chexpert_train.csv.gz"


@pytest.fixture
def copy(phantom_folder, tmp_path) -> Path:
    """A phantom folder to break."""
    return shutil.copytree(phantom_folder, tmp_path / "copy", ignore=shutil.ignore_patterns("masks"))


@pytest.fixture(scope="session")
def write_dicom():
    """Writes a DICOM file of values (32, 32) of 12 bits, or without an image; attributes replace what is here."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    def write(path: Path, values, syntax=ExplicitVRLittleEndian, **attributes) -> Path:
        file = Dataset()
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = syntax
        file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        if values is not None:
            file.Rows, file.Columns = 32, 32
            file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
            file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
            file.PixelData = values if isinstance(values, bytes) else values.tobytes()
            file["PixelData"].VR = "OW"
        for key, value in attributes.items():
            setattr(file, key, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def refused():
    """What a call says that raises UserError, which is one line."""

    def message(call, *arguments, **options) -> str:
        with pytest.raises(UserError) as error:
            call(*arguments, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    return message


@pytest.fixture(scope="session")
def refusal(refused):
    """What opening a data set says that cannot be opened."""
    return lambda name, root, **options: refused(open_dataset, name, root, size=16, progress=False, **options)
