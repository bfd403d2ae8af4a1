"""Weights carry their logits of a fixed image: what no longer computes as it did is noticed, nothing is disturbed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from chexlib.errors import UserError
from chexlib.models import create_model, probe
from chexlib.models.networks import CBR
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.training import checkpoints
from chexlib.training.device import Normaliser
from chexlib.training.loop import fit

NORM = Normaliser((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SPEC = RunSpec(arch="cbr_tiny", size=32, epochs=1, batch_size=16, eval_every=64, keep=2)


def learned(classes: int = 1) -> nn.Module:
    """A network whose statistics are no longer those of a new one, and whose logits are about 1."""
    model, generator = create_model("cbr_tiny", seed=1, classes=classes), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(10):
            model(torch.randn(4, 3, 32, 32, generator=generator))
        model.head.weight.mul_(10)
    return model


@pytest.fixture
def run(tmp_path):
    spec = SPEC.resolve("cafe")
    run = RunStore(tmp_path / "runs").run(spec)
    run.write("spec.json", spec.to_json())
    return run


@pytest.fixture
def saved(run):
    checkpoints.save_weights(run, learned(), 10, NORM)
    return run


def refused(run, model, prepare=NORM) -> str:
    with pytest.raises(UserError) as caught:
        checkpoints.load_weights(run, model, 10, prepare)
    said = str(caught.value)
    assert "\n" not in said and "expected" in said and "got" in said and checkpoints.weights_name(10) in said
    return said


def test_weights_load_as_they_were_written_on_other_arithmetic_too(saved):
    threads = torch.get_num_threads()
    try:
        for model in (learned(), create_model("cbr_tiny").to(memory_format=torch.channels_last)):
            torch.set_num_threads(threads % 2 + 1)
            checkpoints.load_weights(saved, model, 10, NORM)
            assert all(map(torch.equal, model.state_dict().values(), learned().state_dict().values()))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("mean", "std"), [
    (NORM.std, NORM.mean), (NORM.mean[::-1], NORM.std), (NORM.mean, NORM.std[::-1]), ((0.5,), (0.25,)),
    ((0.49, 0.456, 0.406), NORM.std), ((0.0,), (1.0,)),
])  # fmt: skip
def test_another_normalisation_is_noticed(saved, mean, std):
    assert "images are prepared otherwise" in refused(saved, create_model("cbr_tiny"), Normaliser(mean, std))


def test_images_that_are_stretched_otherwise_are_noticed(saved, monkeypatch):
    def nearest(image, size):
        return np.asarray(image.resize((size, size), Image.Resampling.NEAREST))

    monkeypatch.setattr(checkpoints, "stretch", nearest)
    assert "images are prepared otherwise" in refused(saved, create_model("cbr_tiny"))


@pytest.mark.parametrize("change", ["eps", "activation", "pooling", "pixels"])
def test_another_layer_is_noticed(saved, change):
    model = create_model("cbr_tiny")
    first, last = model.trunk.layers[0], model.trunk.layers[-1]
    if change == "eps":
        last[-2].eps = 1e-2
    elif change == "activation":
        first[-1] = nn.LeakyReLU(0.01)
    elif change == "pooling":
        last[0] = nn.AvgPool2d(3, stride=2, padding=1)
    else:  # colours in another order, which grey images alone would not show
        first[0].register_forward_pre_hook(lambda module, inputs: inputs[0].flip(1))
    assert "the network computes otherwise" in refused(saved, model)


def test_weights_of_before_load_as_they_did(run):
    checkpoints.save_weights(run, learned(), 10)
    checkpoints.load_weights(run, create_model("cbr_tiny"), 10, Normaliser((0.0,), (1.0,)))


@pytest.mark.parametrize("classes", [1, 3])
def test_asking_changes_nothing_of_the_network_nor_of_random_numbers(run, classes):
    model = learned(classes)
    run.write("spec.json", replace(run.spec, policy="u-multiclass" if classes == 3 else "u-ones").to_json())
    model.trunk.layers[1].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes, numbers = [module.training for module in model.modules()], torch.get_rng_state()
    checkpoints.save_weights(run, model, 10, NORM)
    checkpoints.load_weights(run, model, 10, NORM)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_no_number_of_training_hangs_on_it(phantom_folder, tmp_path, monkeypatch):
    with_it = fit(SPEC, phantom_folder, RunStore(tmp_path / "a"), progress=False)
    written, save = [], checkpoints.save_weights
    monkeypatch.setattr(checkpoints, "save_weights", lambda run, model, images, _: save(run, model, images))
    monkeypatch.setattr(checkpoints.probe, "written", lambda *_: written.append(1))
    without = fit(SPEC, phantom_folder, RunStore(tmp_path / "b"), progress=False)
    assert not written and with_it.run_id == without.run_id
    assert with_it.predictions().equals(without.predictions())
    assert [row["auc"] for row in with_it.log()] == [row["auc"] for row in without.log()]

    checkpoints.load_model(with_it)
    changed = RunStore(tmp_path / "c").run(with_it.spec)
    shutil.copytree(with_it.folder, changed.folder)
    known = changed.provenance
    known["normalisation"] = {"mean": known["normalisation"]["std"], "std": known["normalisation"]["mean"]}
    changed.write("provenance.json", json.dumps(known))
    changed.finish(**changed.done)  # so that its hash is no other
    with pytest.raises(UserError, match="images are prepared otherwise"):
        checkpoints.load_model(changed)


def test_a_network_that_predicts_no_numbers_still_loads(run):
    model = learned()
    nn.init.constant_(model.head.bias, torch.nan)
    checkpoints.save_weights(run, model, 10, NORM)
    checkpoints.load_weights(run, create_model("cbr_tiny"), 10, NORM)
    nn.init.constant_(model.head.bias, 0)
    assert torch.isnan(probe.logits(create_model("cbr_tiny"), torch.full((1, 3, 32, 32), torch.nan))).all()


def test_initial_weights_from_a_run_are_compared_by_the_runs_own_network(saved, monkeypatch):
    init = f"file:{saved.checkpoints / checkpoints.weights_name(10)}"
    whole = create_model("cbr_tiny", init=init).trunk.state_dict()
    assert all(torch.equal(value, learned().trunk.state_dict()[name]) for name, value in whole.items())
    create_model("cbr_tiny", init=init, minus=1, findings=3)
    monkeypatch.setattr(CBR, "forward_features", lambda self, x: self.layers(x) * 1.01)
    for minus in (0, 1):
        with pytest.raises(UserError, match="the network computes otherwise"):
            create_model("cbr_tiny", init=init, minus=minus)


@pytest.mark.parametrize(("size", "total"), [(32, 12021), (331, 344718)])
def test_the_images_are_the_same_on_every_machine(size, total):
    picture, image = probe.picture(), probe.image(size)
    assert picture.dtype == np.uint8 and picture.shape == (360, 432) and np.ptp(picture) > 200
    assert int(picture.astype(int).sum()) == 19366999
    assert image.shape == (1, 3, size, size) and image.dtype == torch.float32
    assert float(image.double().sum() * 64) == total
    assert -2 <= image.min() < -1 and 1 < image.max() <= 2
