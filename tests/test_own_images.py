"""`chexlib predict`: what a run says of image files, and what that is worth by its own validation and test images."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import chexlib
from chexlib.cli import main
from chexlib.data import looks
from chexlib.data.labels import FINDINGS
from chexlib.models import create_model
from chexlib.own_images import predict_files
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.training.checkpoints import save_weights
from chexlib.training.predict import predict_with
from tests.made_runs import write_run

SIZE = 48


def made_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Edema: 100 validation and 100 test images, with probabilities in steps of 0.01; half of those above 0.5 have it,
    and a tenth below. No validation image has Fracture; Pneumonia has 20 labels in all."""
    table = table.iloc[:200].reset_index(drop=True)
    place = np.arange(200) % 100
    table["split"] = np.repeat(["val", "test"], 100)
    table["patient"] = [f"patient{i}" for i in range(200)]
    table["p:Edema"] = np.float32(place / 100 + 0.005)
    table["y:Edema"] = np.where(place < 50, place % 10 == 0, place % 2 == 0).astype(np.float32)
    table["y:Fracture"] = np.where(table["split"] == "val", 0, table["y:Edema"]).astype(np.float32)
    table["y:Pneumonia"] = table["y:Edema"].where(place < 10)
    return table


@pytest.fixture(scope="module")
def run(store):
    spec = RunSpec(arch="resnet18", size=SIZE, epochs=1).resolve("cafe")
    run = write_run(store, spec, change=made_predictions)
    save_weights(run, create_model("resnet18", seed=1), 200)
    run.write("provenance.json", json.dumps({"normalisation": {"mean": [0.5], "std": [0.25]}, "ensemble": [200]}))
    run.finish()
    return run


@pytest.fixture
def at(monkeypatch):
    """Has the network say one probability of everything."""

    def says(p: float) -> None:
        def predicted(run, pixels, rows, title=""):
            return np.full((len(rows), len(FINDINGS)), p)

        monkeypatch.setattr("chexlib.training.predict.predict_with", predicted)

    return says


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.linspace(0, 255, 3600).reshape(60, 60).astype(np.uint8)).save(path)
    return path


def predicted(run, files, *findings):
    return predict_files(files, run.folder, findings or ["Edema"], progress=False)


def test_a_data_sets_images_get_the_probabilities_that_the_run_predicts_of_them(run, phantom_folder):
    dataset = chexlib.open_dataset("phantom", phantom_folder, size=SIZE, progress=False)
    rows = dataset.rows("test")[:3]
    files = [dataset.root / dataset.table["image"].iat[row] for row in rows]
    expected = predict_with(run, dataset.pixels, rows)[:, FINDINGS.index("Edema")]
    assert expected.std() > 0
    np.testing.assert_allclose(predicted(run, files).table["probability"], expected, atol=1e-6)


def test_the_threshold_is_youdens_on_validation_and_its_rates_are_counted(run, image):
    [its] = predicted(run, [image]).operating.to_dict("records")
    # at 0.505 it finds 25 of 30, and clears 45 of 70; further up it loses as many as it clears
    assert its["threshold"] == pytest.approx(0.505, abs=1e-6)
    for split in ("val", "test"):
        counts = [its[f"{split}_{what}"] for what in ("found", "positives", "cleared", "negatives")]
        assert counts == [25, 30, 45, 70]


@pytest.mark.parametrize(("p", "positive"), [(0.504, False), (0.505, True), (0.9, True)])
def test_a_probability_at_the_threshold_is_positive(p, positive, run, image, at):
    at(p)
    assert list(predicted(run, [image]).table["positive"]) == [positive]


def test_the_share_is_that_of_images_with_such_a_probability(run, image, at):
    at(0.62)
    [row] = predicted(run, [image]).table.to_dict("records")
    # of eight classes it is that of 0.505 to 0.625, 13 images of either split, of which every other has it
    assert (row["images"], row["with_finding"]) == (26, 14)
    assert (row["lowest"], row["highest"]) == pytest.approx((0.505, 0.625), abs=1e-6)
    assert row["low"] < 14 / 26 < row["high"]
    at(0.1)
    [row] = predicted(run, [image]).table.to_dict("records")
    assert (row["images"], row["with_finding"]) == (26, 4)


def test_a_probability_beyond_all_and_too_few_images_have_no_share(run, image, at, capsys):
    at(0.9999)
    assert predicted(run, [image]).table["images"].isna().all()
    at(0.05)
    found = predicted(run, [image], "Pneumonia")
    assert found.table["images"].isna().all() and "too few" in found.text()


def test_without_a_positive_validation_image_there_is_no_threshold(run, image):
    found = predicted(run, [image], "Fracture")
    assert np.isnan(found.operating["threshold"].iat[0]) and found.table["positive"].isna().all()
    assert found.to_json()["predictions"][0]["positive"] is None and "not known" in found.text()


def test_of_a_folder_its_images_are_taken(run, image, tmp_path):
    (tmp_path / "below").mkdir()
    shutil.copy(image, tmp_path / "below" / "y")
    (tmp_path / "notes.txt").write_text("no image")
    table = predicted(run, [tmp_path]).table
    assert sorted(table["file"]) == sorted(map(str, (tmp_path / "below" / "y", image)))


def test_what_images_look_like_is_said_first_and_nothing_is_written(run, store, image, tmp_path, capsys):
    given = ["predict", str(image), "--model", run.run_id, "--runs", str(store.folder), "--finding", "edema"]
    before = sorted(tmp_path.rglob("*")), sorted(store.folder.rglob("*"))
    assert main(given) == 0
    text = capsys.readouterr().out
    assert text.startswith("Whether images are upright") and "Not for clinical use" in text
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["looks"] == looks.UNKNOWN
    assert main([*given, "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert before == (sorted(tmp_path.rglob("*")), sorted(store.folder.rglob("*")))


def test_a_run_learns_how_its_images_look_and_says_which_do_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(looks, "LEAST", 20)
    options = {"n": 120, "n_valid": 20, "n_test": 20}
    spec = RunSpec(arch="resnet18", size=32, epochs=1, options=options, eval_every=120, keep=1)
    run = chexlib.fit(spec, store=RunStore(tmp_path / "runs"), progress=False)
    data = chexlib.open_dataset("phantom", size=32, views="frontal", progress=False, **options)
    pixels = data.pixels[int(data.rows("test")[0])]
    for name, shown in (("upright", pixels), ("negative", 255 - pixels), ("noise", None)):
        noise = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)
        Image.fromarray(noise if shown is None else shown).save(tmp_path / f"{name}.png")
    files = [tmp_path / f"{name}.png" for name in ("upright", "negative", "noise")]
    assert predicted(run, files).images.looks == (looks.USUAL, "inverted", looks.OTHER)
    arguments = [*map(str, files), "--model", str(run.folder), "--finding", "Edema"]
    assert main(["cam", *arguments, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"{files[1]}: looks inverted")
    (run.folder / looks.FILE).write_bytes(b"damaged")
    assert main(["predict", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_looks_are_no_part_of_a_runs_name():
    assert "looks" not in RunSpec().to_json()
    assert replace(RunSpec(), seed=1).resolve("cafe").run_id.startswith("phantom320-densenet121-random-s1-")
