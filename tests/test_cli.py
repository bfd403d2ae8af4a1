"""The command line: one clear line and exit code 2 for what a user can do wrong."""

import os
import re
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from chexlib import __version__, cli
from chexlib.cli import main
from chexlib.data.images import read_picture
from chexlib.runs.spec import RunSpec
from tests.command_line import parsed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "run", "dmeo"], "study 'dmeo'"),
        (["study", "run", "paper", "--data", "nowhere"], "nowhere: no such folder"),
        (["study", "run", "paper"], "needs its folder (--data FOLDER)"),
        (["study", "run", "smoke", "--workers", "-1"], "'--workers': Input should be greater than"),
        (["book", "serve", "--port", "99999999"], "port 99999999"),
        (["study", "status", "demo", "--watch", "-1"], "-1"),
        (["study", "status", "demo", "--runs", "nowhere"], "was never planned"),
        (["study", "export", "demo", "--runs", "nowhere"], "has no finished runs"),
        (["train", "arch"], "fields are given as NAME=VALUE"),
        (["train", "arhc=resnet18"], "did you mean 'arch'"),
        (["train", "arch=resnet18", "arch=resnet34"], "arch: given twice"),
        (["train", "options=["], "'options=[': not readable as YAML"),
        (["train", "policy=u-zeros, Edma=u-ones"], "finding='Edma': choose one of No Finding"),
        (["train", "augment={rotate: 5}"], "augment: 'rotate' is unknown"),
        (["train", "--ahrc", "resnet18"], "--arch"),
        (["train", "--batch_size=4"], "--batch-size"),
        (["train", "--epoch", "4"], "--epochs"),
        (["train", "--size", "big"], "size='big': must be a whole number"),
        (["train", "--precision", "fp8"], "precision='fp8': choose one of auto, fp32"),
        (["train", "--arch", "resnet18", "arch=resnet34"], "arch: given twice"),
        (["train", "--augment", "rotate=5"], "augment: 'rotate' is unknown"),
        (["train", "--options", "n"], "'n': fields are given as NAME=VALUE"),
        (["train", "--augment", "rotation=["], "'rotation=[': not readable as YAML"),
        (["train", "--arch", "DenseNet121"], "architecture 'DenseNet121' is not known; nearest: densenet121"),
        (["train", "--arch", "vit_tiny_patch16_224"], "takes images of 224 px alone"),
        (["train", "--arch", "inception_v3", "--size", "64"], "InceptionV3 needs images of at least 75 px"),
        (["train", "--arch", "convnext_atto", "--size", "16"], "convnext_atto needs images of at least 32 px"),
        (["train", "--arch", "convnext_atto", "--minus", "9"], "convnext_atto has 4 stages, so 0 to 3 can be dropped"),
        (["study", "run", "smoke", "--worker", "1"], "--workers"),
        (["study", "status", "smoke", "now"], "now"),
        (["study", "export", "smoke", "now"], "now"),
        (["study"], "chexlib study --help"),
        (["stduy", "run"], "study"),
        (["evaluate"], "PREDICTIONS"),
        (["evaluate", "a.csv", "--csv", "--json"], "--csv and --json"),
        (["cam", "x.png", "-o", "out"], "--model"),
        (
            ["weights", "fetch", "resnet18", "--to", "/dev/null/usb"],
            "/dev/null/usb: cannot be written (Not a directory)",
        ),
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


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "check", LONG], ["data", "describe", LONG], ["data", "check", "nih", "--data", LONG],
        ["study", "plan", LONG], ["study", "run", f"{LONG}.yaml"], ["study", "status", "demo", "--runs", LONG],
        ["evaluate", LONG, "--truth", LONG], ["train", "--dataset", "nih", "--data", LONG],
    ],
)  # fmt: skip
def test_a_name_that_is_too_long_is_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def run(*arguments: str, stdout=subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "chexlib.cli", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=os.environ | environment)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [("--version",), ("data", "describe", "phantom", "--json", "--data")])
def test_a_full_disk_behind_the_output_is_one_line(arguments, phantom_folder):
    with open("/dev/full", "w") as full:
        done = run(*arguments, *[str(phantom_folder)][: len(arguments) - 1], stdout=full)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_a_terminal_that_knows_ascii_alone_shows_everything(tmp_path):
    (tmp_path / "labels.csv").write_text("image,patient,split,Edema\na.png,ä,train,1\nb.png,ä,test,0\n")
    done = run("data", "check", str(tmp_path), "--labels-only", PYTHONIOENCODING="ascii")
    assert done.returncode == 1 and "patient \\xe4 is in 2 splits" in done.stdout and done.stderr == ""
    assert run("claims", PYTHONIOENCODING="ascii").returncode == 0


def test_pillow_does_not_talk_of_damaged_exif(tmp_path):
    for n in range(3):
        name = tmp_path / "img" / f"p{n}.jpg"
        name.parent.mkdir(exist_ok=True)
        Image.new("L", (32, 32)).save(name, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\xff\0\0\0\xff\0\0\0")
    rows = [f"img/p{n}.jpg,p{n},{split},0" for n, split in enumerate(("train", "val", "test"))]
    (tmp_path / "labels.csv").write_text("\n".join(["image,patient,split,Edema", *rows]))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read_picture(name, 8)
        assert seen  # it would
        seen.clear()
        assert main(["data", "pack", str(tmp_path), "--size", "8"]) == 0
    assert not seen


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
    chosen = ["arch=mobilenet_v3", "size=32", "epochs=1", "eval_every=64", "keep=1"]
    assert main(["train", *chosen, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 0
    folder = Path(capsys.readouterr().out.split()[-1])
    assert (folder / "predictions.parquet").exists()


def chosen(*arguments: str) -> dict:
    """The fields that a command line of `train` chooses."""
    given = {name: value for name, value in parsed(["train", *arguments]).params.items() if value}
    return cli.chosen_fields(given.pop("values", None), given)


def test_every_field_of_a_training_is_an_option_too():
    spec = RunSpec(dataset="nih", arch="convnext_tiny", lr=1e-3, policy="u-zeros", options={"n": 5, "seed": 1},
                   augment={"rotation": 5.0}, batch_size=4, memory_format="contiguous", seed=3, minus=1, norm=True,
                   tasks=("Edema", "No Finding"))  # fmt: skip
    offered = set(parsed(["train"]).params) - {"values", "data", "runs"}
    assert offered == {field.name for field in fields(RunSpec)} - {"fingerprint", "weights", "numerics"}
    options = ["--dataset", "nih", "--arch=convnext_tiny", "--lr", "1e-3", "--policy", "u-zeros", "--options", "n=5",
               "--options", "seed=1", "--augment", "rotation=5", "--batch-size", "4", "--minus", "1", "--norm", "true",
               "--tasks", "[Edema, No Finding]"]  # fmt: skip
    assert RunSpec.make(chosen(*options, "memory_format=contiguous", "seed=3")) == spec
    assert RunSpec.make(chosen()) == RunSpec()


def test_what_is_text_is_not_read_as_yaml():
    assert chosen("--init", "file:007", "--arch", "on") == {"init": "file:007", "arch": "on"}
    assert chosen("--seed", "7") == {"seed": 7} == chosen("seed=7")


def test_fields_and_options_may_be_mixed_in_any_order(capsys):
    for order in (["size=64", "--seed", "1", "minus=9"], ["--seed", "1", "size=64", "minus=9"]):
        assert main(["train", "arch=resnet18", *order]) == 2
        assert "minus=9: ResNet18 has 4" in capsys.readouterr().err


def test_the_help_of_train_says_every_default(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in fields(RunSpec):
        if field.name not in cli.FILLED_IN:
            default = "none" if field.type.startswith("Mapping") else str(field.default)
            default = f"[{', '.join(field.default)}]" if field.name == "tasks" else default
            default = "findings=1" if field.name == "targets" else default
            said = rf"--{field.name.replace('_', '-')} (?:(?! --).)*default {re.escape(default)}(\W|$)"
            assert re.search(said, text)
    assert "fp32, tf32, bf16" in text


def test_help_needs_no_torch():
    code = (
        "import sys; from chexlib.cli import main\n"
        "assert main(['--help']) == 0 and not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_no_weights_reachable_is_one_line(phantom_folder, tmp_path, capsys):
    chosen = ["arch=resnet18", "init=imagenet", "size=32", "epochs=1"]
    assert main(["train", *chosen, "--data", str(phantom_folder), "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no ImageNet weights for resnet18" in error


def test_verbs_come_from_whoever_is_installed_beside_chexlib(monkeypatch, capsys):
    def register(app):
        app.command("hello")(lambda: print("hello"))

    def broken():
        raise ImportError("no module named such")

    loads = {"broken:register": broken, "good:register": lambda: register}
    others = [SimpleNamespace(value=value, load=load) for value, load in loads.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: others if group == "chexlib.commands" else [])
    assert main(["hello"]) == 0
    said = capsys.readouterr()
    assert said.out == "hello\n"
    assert said.err.count("\n") == 1 and "broken:register" in said.err


def test_the_version_and_an_interruption(monkeypatch, capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("chexlib.study.load_study", interrupted)
    assert main(["study", "status", "demo"]) == 130
    assert capsys.readouterr().err.count("\n") == 1
