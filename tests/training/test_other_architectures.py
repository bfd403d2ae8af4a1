"""A network of timm that no table names, trained from the command line to its place beside the paper's."""

import json
from pathlib import Path

import pytest

from chexlib.cli import main
from chexlib.models import architecture
from chexlib.models.truncate import parameters
from chexlib.runs.store import Run
from chexlib.training.checkpoints import load_model

FIELDS = ["--arch", "test_convnext", "--size", "32", "--batch-size", "8", "--eval-every", "32", "--keep", "1"]


@pytest.mark.parametrize("minus", [0, 1])
def test_one_run_of_a_timm_network(minus, phantom_folder, tmp_path, capsys):
    fields = [*FIELDS, "--epochs", "1", "--minus", str(minus), "--augment", "rotation=5", "--augment", "{crop: 0.9}"]
    assert main(["train", *fields, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 0
    run = Run(Path(capsys.readouterr().out.split()[-1]))
    assert run.finished and len(run.predictions()) == 72  # 24 of validation, 48 of the test
    spec, label = json.loads((run.folder / "spec.json").read_text()), "test_convnext" + "Minus1" * minus
    assert (spec["arch"], spec["minus"], spec["augment"]) == ("test_convnext", minus, {"rotation": 5, "crop": 0.9})
    count = parameters(architecture("test_convnext"), minus)
    assert run.provenance["model"] == {"label": label, "family": "ConvNeXt", "parameters": count}
    model, _ = load_model(run)
    assert model.label == label and model.pools_last == bool(minus)
