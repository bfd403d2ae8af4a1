"""Weights ahead of a study: what is here, what is wrong, and copies for machines without a network."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from chexlib.cli import main
from chexlib.models import create_model, weights
from chexlib.models.networks import untrained_trunk
from chexlib.models.zoo import ARCHITECTURES

RESNET = ARCHITECTURES["resnet18"]


pytestmark = pytest.mark.usefixtures("no_packages")


def test_what_is_not_here_is_said_with_the_ways_to_get_it(folder, capsys):
    assert main(["weights", "check", "resnet18"]) == 1
    assert "put resnet18.tv_in1k.safetensors into the folder that CHEXLIB_WEIGHTS names" in capsys.readouterr().out
    assert main(["weights", "fetch", "resnet18"]) == 1


def test_a_list_names_every_architecture_and_fetches_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(weights, "_answers", lambda url: pytest.fail("a list asks no network"))
    (folder / f"{RESNET.tag}.safetensors").touch()
    assert main(["weights", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(ARCHITECTURES)
    assert [name for name, line in lines.items() if not line.endswith("not here")] == ["resnet18"]


def test_fetched_weights_can_be_carried_to_another_machine(folder, tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    save_file(untrained_trunk(RESNET).state_dict(), folder / f"{RESNET.tag}.safetensors")
    assert main(["weights", "fetch", "resnet18", "--to", str(tmp_path / "usb")]) == 0
    copy = tmp_path / "usb" / f"{RESNET.tag}.safetensors"
    assert weights.sha256_of(copy) in capsys.readouterr().out
    monkeypatch.setenv("CHEXLIB_WEIGHTS", str(tmp_path / "usb"))
    assert main(["weights", "check", "resnet18"]) == 0
    assert weights.sha256_of(copy) in capsys.readouterr().out
    model = create_model("resnet18", init="imagenet")
    assert torch.equal(model.trunk.conv1.weight, load_file(copy)["conv1.weight"])


@pytest.mark.parametrize("content", [b"not tensors", b""])
def test_a_broken_file_fails_the_check(folder, content, capsys):
    (folder / f"{RESNET.tag}.safetensors").write_bytes(content)
    assert main(["weights", "check", "resnet18"]) == 1
    assert "is not a readable safetensors file" in capsys.readouterr().out


def test_another_networks_weights_fail_the_check(folder, capsys):
    save_file(untrained_trunk(ARCHITECTURES["mobilenet_v3"]).state_dict(), folder / f"{RESNET.tag}.safetensors")
    assert main(["weights", "check", "resnet18"]) == 1
    assert "not weights of this architecture" in capsys.readouterr().out


def test_an_unknown_architecture_is_one_line(capsys):
    assert main(["weights", "check", "resnet19"]) == 2
    assert "nearest: resnet18" in capsys.readouterr().err
