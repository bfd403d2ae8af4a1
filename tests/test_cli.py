"""The command line: one clear line and exit code 2 for what a user can do wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from chexlib.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "run", "dmeo"], "study 'dmeo'"),
        (["study", "run", "paper", "--data", "nowhere"], "nowhere: no such folder"),
        (["study", "run", "paper"], "needs its folder (--data FOLDER)"),
        (["study", "run", "smoke", "--workers", "-1"], "workers=-1"),
        (["book", "serve", "--port", "99999999"], "port 99999999"),
        (["study", "status", "demo", "--watch", "-1"], "--watch -1"),
        (["study", "status", "demo", "--runs", "nowhere"], "was never planned"),
        (["study", "export", "demo", "--runs", "nowhere"], "has no finished runs"),
        (["train", "arch"], "fields are given as NAME=VALUE"),
        (["train", "arhc=resnet18"], "did you mean 'arch'"),
        (["train", "options=["], "'options=[': not readable as YAML"),
        (["train", "policy=u-zeros, Edma=u-ones"], "finding='Edma': choose one of No Finding"),
        (["train", "augment={rotate: 5}"], "augment: 'rotate' is unknown"),
        (["data", "pack", "mimic"], "data set 'mimic' is unknown"),
        (["notebooks", "run", "--study", "smoke", "-p", "studdy", "x"], "study"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CHEXLIB_RUNS", str(tmp_path / "runs"))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_a_phantom_folder_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "phantom"
    assert main(["data", "phantom", str(out), "--n", "20", "--size", "32"]) == 0
    assert {"train.csv", "valid.csv", "groundtruth.csv", "train", "valid", "test", "masks"} <= {
        path.name for path in out.iterdir()
    }
    assert main(["data", "phantom", str(out), "--n", "20", "--size", "32"]) == 2
    assert main(["data", "pack", "phantom", "--data", str(out), "--size", "32"]) == 0
    assert "images at 32 px" in capsys.readouterr().out


def test_one_run_from_the_command_line(phantom_folder, tmp_path, capsys):
    fields = ["arch=mobilenet_v3", "size=32", "epochs=1", "eval_every=64", "keep=1"]
    assert main(["train", *fields, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 0
    folder = Path(capsys.readouterr().out.split()[-1])
    assert (folder / "predictions.parquet").exists()


def test_help_needs_no_torch():
    code = (
        "import sys; from chexlib.cli import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_no_weights_reachable_is_one_line(phantom_folder, tmp_path, capsys):
    fields = ["arch=resnet18", "init=imagenet", "size=32", "epochs=1"]
    assert main(["train", *fields, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no ImageNet weights for resnet18" in error
