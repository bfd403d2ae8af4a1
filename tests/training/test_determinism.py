"""The same spec gives the same digits: in fresh processes, in each precision, whatever the order of Python's hashes."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore

SPEC = RunSpec(
    arch="mnasnet",
    minus=3,
    size=32,
    epochs=1,
    batch_size=16,
    lr=1e-3,
    eval_every=32,
    keep=2,
    augment={"rotation": 10, "crop": 0.8, "jitter": 0.2, "flip": 0.5},
)
SPECS = {
    "fp32": replace(SPEC, precision="fp32"),
    "bf16": replace(SPEC, precision="bf16"),
}


def _train(folder, data, names) -> None:
    from chexlib.training.loop import fit

    for name in names:
        fit(SPECS[name], data, RunStore(folder), progress=False)


@pytest.fixture(scope="module")
def stores(phantom_folder, tmp_path_factory) -> list[dict[str, Run]]:
    """Both specs trained by two fresh interpreters, the second in the other order."""
    folders = [tmp_path_factory.mktemp("runs") for _ in range(2)]
    context = multiprocessing.get_context("spawn")
    orders = list(SPECS), list(SPECS)[::-1]
    both = [
        context.Process(target=_train, args=(folder, phantom_folder, names))
        for folder, names in zip(folders, orders, strict=True)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    from chexlib.data.dataset import open_for

    specs = {name: spec.resolve(open_for(spec, phantom_folder).fingerprint) for name, spec in SPECS.items()}
    return [{name: RunStore(folder).run(spec) for name, spec in specs.items()} for folder in folders]


@pytest.mark.parametrize("name", SPECS)
def test_fresh_processes_give_the_same_predictions_bit_for_bit(name, stores):
    first, second = ((store[name].folder / "predictions.parquet").read_bytes() for store in stores)
    assert first == second
    assert [row["loss"] for row in stores[0][name].log()] == [row["loss"] for row in stores[1][name].log()]


def test_another_precision_changes_the_digits(stores):
    """So that the equality above says something."""
    fp32, bf16 = (run.predictions().filter(like="p:").to_numpy() for run in stores[0].values())
    assert fp32.shape == bf16.shape and not np.array_equal(fp32, bf16)
