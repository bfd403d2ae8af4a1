"""One step: a batch in parts learns what the whole batch learns, and the settings compute the same thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.training import device, loop
from chexlib.training.device import safe_settings, start
from chexlib.training.loop import Learner, step

SPEC = RunSpec(arch="test_convnext", size=32, batch_size=8, lr=1e-3).resolve("data")  # layer norm: no batch statistics
BATCH = np.arange(8)


def data(n=8, unknown=0.3):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 32, 32), dtype=np.uint8)
    labels, known = ((rng.random((n, 14)) < share).astype(np.float32) for share in (0.4, 1 - unknown))
    known[: n // 2] *= known[: n // 2, :1]  # parts that know unequally much
    return pixels, labels, known


def learned(spec, steps=2):
    """The losses and the weights after some steps."""
    learner = Learner.begin(spec, start(spec), lambda: (0.5, 0.25))
    learner.model.train()
    losses = [step(learner, *data(), BATCH).item() for _ in range(steps)]
    return losses, torch.cat([weight.detach().flatten() for weight in learner.network.parameters()])


def test_a_batch_in_parts_learns_what_the_whole_batch_does():
    """Though the parts know unequally many labels: each is weighed by what it knows of the batch."""
    (whole, at_once), (parts, in_parts) = learned(SPEC), learned(replace(SPEC, accumulate=4))
    assert parts == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(in_parts, at_once, atol=2e-5, rtol=0)


def test_a_batch_of_which_nothing_is_known_teaches_nothing():
    learner = Learner.begin(SPEC, start(SPEC), lambda: (0.5, 0.25))
    before = [weight.clone() for weight in learner.network.parameters()]
    pixels, labels, known = data()
    assert step(learner, pixels, labels, known * 0, BATCH).item() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True))


def test_weight_decay_is_part_of_the_gradient_that_adam_scales():
    """Where labels teach nothing, its first step moves each weight by the learning rate towards 0, and not by a share
    of the weight, as AdamW's does."""
    spec = replace(SPEC, weight_decay=0.01)
    learner = Learner.begin(spec, start(spec), lambda: (0.5, 0.25))
    before = [weight.detach().clone() for weight in learner.network.parameters()]
    pixels, labels, known = data()
    step(learner, pixels, labels, known * 0, BATCH)
    for old, new in zip(before, learner.network.parameters(), strict=True):
        large = old.abs() > 0.01
        torch.testing.assert_close(new[large], (old - spec.lr * old.sign())[large], atol=1e-6, rtol=0)


@pytest.mark.parametrize("change", [{"memory_format": "contiguous"}, {"precision": "tf32"}, {"precision": "bf16"}])
def test_settings_change_the_last_digits_alone(change):
    (reference, _), (losses, _) = learned(SPEC), learned(replace(SPEC, **change))
    assert losses == pytest.approx(reference, rel=0.02)


def test_a_run_computes_with_its_threads():
    """Their number changes the last digits."""
    for threads in (2, 1):
        start(replace(SPEC, threads=threads))
        assert torch.get_num_threads() == threads


def test_the_cpu_computes_in_fp32_unless_told():
    assert safe_settings() == {"precision": "fp32", "memory_format": "channels_last", "execution": "eager"}


def test_a_gpu_that_computes_in_bf16_does(monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: True)
    for can in (True, False):
        monkeypatch.setattr(device.torch.cuda, "is_bf16_supported", lambda including_emulation, can=can: can)
        assert safe_settings()["precision"] == ("bf16" if can else "fp32")


def test_compiling_without_a_compiler_is_one_line(monkeypatch):
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        learned(replace(SPEC, execution="compiled"))


def test_memory_that_is_short_is_said_with_what_to_do():
    full = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    assert loop.should_reduce_batch_size(full)
    line = str(loop._out_of_memory(replace(SPEC, batch_size=16, accumulate=2)))
    assert "8 images of 32 px at once do not fit into memory: accumulate=4 takes 4 at once" in line
    assert "batch_size=16" in line
    assert "choose a smaller size" in str(loop._out_of_memory(replace(SPEC, batch_size=16, accumulate=16)))
