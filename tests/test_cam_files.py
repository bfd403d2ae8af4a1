"""`chexlib cam`: a run's maps and probabilities of image files that no data set knows."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import chexlib
from chexlib.cam_files import _maps, captioned, laid_over, write_cams
from chexlib.cli import main
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.explain.cam import METHODS, grad_cam
from chexlib.models import create_model
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.training.checkpoints import load_model, load_weights, save_weights
from chexlib.training.predict import predict_with
from tests.made_runs import write_run

SIZE, MEMBERS = 48, [100, 200]
RAMP = np.linspace(0, 255, 60 * 120).reshape(60, 120).astype(np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> RunStore:
    """One finished run of ResNet18 whose two checkpoints differ, and whose data say nothing of fractures."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    spec = RunSpec(arch="resnet18", size=SIZE, epochs=1).resolve("cafe")
    run = write_run(store, spec, change=lambda table: table.assign(**{"y:Fracture": np.float32("nan")}))
    for images in MEMBERS:
        save_weights(run, create_model("resnet18", seed=images), images)
    normalisation = {"mean": [0.5], "std": [0.25]}
    model = {"label": "ResNet18", "family": "ResNet", "parameters": 11183694}
    run.write("provenance.json", json.dumps({"normalisation": normalisation, "ensemble": MEMBERS, "model": model}))
    run.finish()
    return store


@pytest.fixture(scope="module")
def run(store):
    [folder] = (path.parent for path in store.folder.glob("*/spec.json"))
    return Run(folder)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(RAMP).save(path)
    return path


def test_a_data_sets_image_gets_the_probability_that_the_run_predicts_of_it(run, store, phantom_folder, tmp_path):
    dataset = chexlib.open_dataset("phantom", phantom_folder, size=SIZE, progress=False)
    rows = dataset.rows("test")[:3]
    files = [dataset.root / dataset.table["image"].iat[row] for row in rows]
    found = write_cams(files, run.run_id, tmp_path / "out", ["Edema"], store=store, progress=False)
    expected = predict_with(run, dataset.pixels, rows)[:, FINDINGS.index("Edema")]
    assert expected.std() > 0
    np.testing.assert_allclose(found["probability"], expected, atol=1e-5)


def test_maps_are_the_mean_of_the_checkpoints_maps(run, image):
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), dtype=np.uint8)
    maps, p = _maps(run, pixels, ["Edema", "Atelectasis"], "paper", progress=False)
    model, prepare = load_model(run)
    each = []
    for images in MEMBERS:
        load_weights(run, model, images)
        each.append(grad_cam(model, prepare(pixels), ["Edema", "Atelectasis"], upsample=False))
    assert (each[0] - each[1]).abs().max() > 0.05
    np.testing.assert_allclose(maps, sum(each) / 2, atol=1e-5)
    assert (maps.max(axis=(2, 3)) <= p + 1e-5).all()


def test_a_row_and_an_overlay_for_every_image_and_finding(run, image, tmp_path, capsys):
    shutil.copy(image, tmp_path / "x.copy.png")
    given = [str(image), str(tmp_path / "x.copy.png"), "--finding", "edema", "--finding", "Effusion"]
    assert main(["cam", *given, "--model", str(run.folder), "-o", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "cams.csv")
    assert list(table) == ["file", "finding", "probability", "map_height", "map_width", "overlay", "looks"]
    assert list(table["finding"]) == ["Edema", "Pleural Effusion"] * 2
    assert set(table["map_height"]) == {2} == set(table["map_width"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*table["overlay"], "cams.csv", "README.txt"}
    note = (tmp_path / "out" / "README.txt").read_text()
    printed = capsys.readouterr().out
    assert "Not for clinical use" in note and note.strip() in printed
    assert "2 kept checkpoints" in note and "drawn images" in note and "ResNet18" in note


def test_png_jpeg_and_dicom_of_the_same_image_agree(run, store, image, tmp_path):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    Image.fromarray(RAMP).save(tmp_path / "x.jpg", quality=100)
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    file.file_meta.MediaStorageSOPInstanceUID = "1.2"
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows, file.Columns = RAMP.shape
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = RAMP.tobytes()
    file.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    files = [image, tmp_path / "x.jpg", tmp_path / "x.dcm"]
    found = write_cams(files, run.run_id, tmp_path / "out", ["Edema"], store=store, progress=False)
    png, jpeg, dicom = found["probability"]
    assert dicom == pytest.approx(png, abs=1e-6) and jpeg == pytest.approx(png, abs=0.01)
    assert list(found["overlay"]) == ["x.edema.png", "x-2.edema.png", "x-3.edema.png"]
    sizes = {Image.open(tmp_path / "out" / name).size for name in found["overlay"]}
    assert sizes == {(512, 256 + 56)}  # 120 by 60 pixels, enlarged, on a strip


@pytest.mark.parametrize("form", ["png", "tif", "webp"])
def test_a_turned_image_is_explained_and_shown_as_viewers_show_it(run, store, image, tmp_path, form):
    tags = Image.Exif()
    tags[0x0112] = 6  # the first row is shown on the right
    options = {"lossless": True} if form == "webp" else {}
    Image.fromarray(np.ascontiguousarray(RAMP.T[::-1])).save(tmp_path / f"turned.{form}", exif=tags, **options)
    found = write_cams([image, tmp_path / f"turned.{form}"], run.folder, tmp_path / "out", ["Edema"], progress=False)
    assert found["probability"][0] == found["probability"][1]
    upright, turned = (np.asarray(Image.open(tmp_path / "out" / name)) for name in found["overlay"])
    np.testing.assert_array_equal(upright, turned)


def test_images_of_16_bits_are_read_with_the_bits_of_the_runs_data(run, store, tmp_path, monkeypatch):
    Image.fromarray(RAMP.astype(np.uint16) * 4).save(tmp_path / "deep.png")
    Image.fromarray(RAMP // 4).save(tmp_path / "shown.png")  # of 12 bits
    monkeypatch.setattr(Run, "spec", replace(run.spec, options={"bits": 12}))
    files = [tmp_path / "deep.png", tmp_path / "shown.png"]
    found = write_cams(files, run.folder, tmp_path / "out", ["Edema"], store=store, progress=False)
    assert found["probability"][0] == found["probability"][1]


def test_where_the_map_is_zero_the_image_shows_as_it_is():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cam = np.zeros((2, 2))
    np.testing.assert_array_equal(laid_over(grey, cam), np.repeat(grey[..., None], 3, axis=2))
    cam[0, 0] = 1.0
    shown = laid_over(grey, cam)
    assert (shown[4:, 6:] == grey[4:, 6:, None]).all() and (shown[0, 0] != grey[0, 0]).any()
    np.testing.assert_allclose(shown[0, 0], 0.8 * np.array([252, 255, 164]), atol=1)  # inferno's end, over black


def test_the_scale_ends_as_the_colours_do():
    sheet = np.asarray(captioned(np.zeros((80, 600, 3), dtype=np.uint8), "above", "below"))
    line = sheet[80 + 15]
    assert (line == [252, 255, 164]).all(axis=1).any() and sheet.shape == (136, 600, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{image}", "--finding", "Edma"], "nearest: Edema"),
        (["{image}", "--finding", "Hernia"], "choose from No Finding, Enlarged Cardiomediastinum"),
        (["{image}", "--finding", "Fracture"], "finding 'Fracture' is not one that run"),
        (["{image}", "--method", "gradcam"], "method='gradcam': there is no such map; nearest: grad-cam"),
        (["{image}", "--model", "resnet"], "resnet: no run; {runs} holds 1, among them phantom48-resnet18"),
        (["{image}", "--model", "{runs}"], "{runs}: no run; {runs} holds 1, among them phantom48-resnet18"),
        (["{image}", "--runs", "{here}/none", "--model", "a"], "a: no run, and {here}/none holds none"),
        (["{here}/empty"], "{here}/empty: no image lies in it"),
        (["{image}", "{here}/no.png"], "{here}/no.png: no such file; nothing was written"),
        (["{here}/text.png"], "text.png: cannot be decoded (no image): give PNG, JPEG or DICOM files; nothing was"),
        (["{image}", "-o", "{image}"], "x.png: is a file: name a folder with -o"),
    ],
)
def test_a_users_error_is_one_line_and_nothing_is_written(arguments, message, run, store, image, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    names = {"image": image, "runs": store.folder, "here": tmp_path}
    given = [argument.format(**names) for argument in arguments]
    before = sorted(tmp_path.iterdir())
    defaults = ["--model", run.run_id, "--runs", str(store.folder), "-o", str(tmp_path / "out")]
    assert main(["cam", *defaults, *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert message.format(**names) in printed.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_without_weights_says_so(run, store, image, tmp_path, capsys):
    folder = tmp_path / "published" / run.run_id
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    assert main(["cam", str(image), "--model", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert "published results hold no weights" in capsys.readouterr().err
    (folder / "done.json").unlink()
    assert main(["cam", str(image), "--model", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert "its training is not finished" in capsys.readouterr().err


def test_what_is_there_is_written_over_only_when_asked_and_an_image_never(run, store, image, tmp_path, capsys):
    given = ["cam", "--model", str(run.folder), "--finding", "Edema", "-o", str(tmp_path)]
    assert main([*given, str(image)]) == 0
    assert main([*given, str(image)]) == 2
    assert "cams.csv: is there already" in capsys.readouterr().err
    assert main([*given, str(image), "--force"]) == 0
    overlay = tmp_path / "x.edema.png"
    drawn = overlay.read_bytes()
    assert main([*given, str(image), str(overlay), "--force"]) == 2
    assert "is one of the images" in capsys.readouterr().err and overlay.read_bytes() == drawn


def test_the_help_names_every_method(capsys):
    assert main(["cam", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(method in text for method in METHODS) and "Not for clinical" in text


def test_a_methods_maps_are_its_own(run, store, image, tmp_path):
    made = {}
    for method in ("paper", "grad-cam"):
        found = write_cams([image], run.run_id, tmp_path / method, (), method, store, progress=False)
        assert sorted(found["finding"]) == sorted(TASKS)  # the paper's six, where none is asked for
        made[method] = (tmp_path / method / "x.edema.png").read_bytes()
        assert f"method '{method}'" in (tmp_path / method / "README.txt").read_text()
    assert made["paper"] != made["grad-cam"]
