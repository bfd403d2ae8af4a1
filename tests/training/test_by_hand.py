"""From pixels to logged AUCs, each step recomputed by hand on a network of one convolution."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from chexlib.data import phantom
from chexlib.data.dataset import open_for
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.models import create_model
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.training import checkpoints, loop
from chexlib.training.device import start
from chexlib.training.loop import Learner, fit, step
from chexlib.training.predict import compared_tasks, predict

SPEC = RunSpec(arch="cbr_tiny", minus=3, size=32, epochs=2, batch_size=16, lr=0.03, eval_every=16, keep=2)
POSITIVE = {"Edema": 25, "Cardiomegaly": 24, "Consolidation": -24, "Atelectasis": 40, "Pleural Effusion": 2}
"""Test studies of a class, below 0 negative ones: of at least 25 of each are Edema and Atelectasis alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CheXpert-shaped folder whose test labels are POSITIVE's, those of its first studies."""
    folder = tmp_path_factory.mktemp("data") / "phantom"
    phantom.write(folder, n=72, n_valid=60, n_test=110, size=32, seed=1, progress=False)
    truth = pd.read_csv(folder / "groundtruth.csv")
    for task in TASKS:
        truth[task] = (np.arange(len(truth)) < POSITIVE.get(task, 0) % len(truth)).astype(int)
    truth.to_csv(folder / "groundtruth.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return open_for(SPEC, folder, progress=False)


@pytest.fixture(scope="module")
def trained(folder, store):
    """Eight evaluations, of which the ensemble has the best two."""
    return fit(SPEC, folder, store, progress=False)


@pytest.fixture(scope="module")
def whole(folder, store):
    """The same training, which keeps the weights of every evaluation."""
    return fit(replace(SPEC, keep=9), folder, store, progress=False)


def by_hand(pixels, mean, std) -> torch.Tensor:
    """(N, H, W) uint8 to what a network takes, (N, 3, H, W); mean and std are one number, or one a channel."""
    grey = np.asarray(pixels, dtype=float)[:, None] / 255
    x = (np.repeat(grey, 3, axis=1) - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1))
    return torch.tensor(x, dtype=torch.float32)


def probabilities(run, dataset, rows, images: int) -> np.ndarray:
    """(N, 14) by the weights that the run saved after so many images."""
    training = np.asarray(dataset.pixels[dataset.rows("train")]) / 255
    model = create_model(run.spec.arch, minus=run.spec.minus).eval()
    model.load_state_dict(load_file(run.checkpoints / f"images{images:09d}.safetensors"))
    with torch.inference_mode():
        return model(by_hand(dataset.pixels[rows], training.mean(), training.std())).sigmoid().numpy()


def areas(dataset, rows, p) -> dict[str, float]:
    """Each task's AUC over studies, of which each scores its highest image."""
    table, found = dataset.table.iloc[rows], {}
    for task in TASKS:
        studies = pd.DataFrame({"study": table["study"], "y": table[task], "p": p[:, FINDINGS.index(task)]})
        studies = studies.groupby("study").max()
        found[task] = roc_auc_score(studies["y"], studies["p"]) if studies["y"].nunique() == 2 else np.nan
    return found


def test_the_log_is_of_validation_images_and_its_mean_of_the_tasks_that_are_compared(whole, dataset):
    rows = dataset.rows("val")
    assert len(whole.log()) == 8
    for row in whole.log():
        found = areas(dataset, rows, probabilities(whole, dataset, rows, row["images"]))
        assert {task: row[f"auc:{task}"] for task in TASKS} == pytest.approx(found, abs=1e-6)
        assert row["auc"] == pytest.approx((found["Atelectasis"] + found["Edema"]) / 2, abs=1e-6)


def best_two(run, dataset, split: str, tasks) -> list[int]:
    rows, mean = dataset.rows(split), {}
    for row in run.log():
        found = areas(dataset, rows, probabilities(run, dataset, rows, row["images"]))
        mean[row["images"]] = np.mean([found[task] for task in tasks])
    return sorted(sorted(mean, key=mean.get)[-2:])


def test_checkpoints_are_chosen_on_validation_images_by_the_tasks_that_are_compared(trained, whole, dataset):
    compared = ["Atelectasis", "Edema"]
    chosen = best_two(whole, dataset, "val", compared)
    assert trained.provenance["ensemble"] == chosen
    kept = {path.name for path in trained.checkpoints.iterdir()}
    assert kept == {f"images{images:09d}.safetensors" for images in chosen}
    others = [("test", compared), ("val", [task for task in TASKS if task != "No Finding"])]
    assert all(best_two(whole, dataset, *other) != chosen for other in others)  # which could have been told apart


def test_predictions_are_the_mean_probabilities_of_the_checkpoints_that_were_kept(trained, dataset):
    for split in ("val", "test"):
        rows, table = dataset.rows(split), trained.predictions().query("split == @split")
        members = [probabilities(trained, dataset, rows, images) for images in trained.provenance["ensemble"]]
        assert np.abs(members[0] - members[1]).max() > 0.01
        np.testing.assert_allclose(table[[f"p:{finding}" for finding in FINDINGS]], np.mean(members, axis=0), atol=1e-6)
        assert list(table["image"]) == list(dataset.table["image"].iloc[rows])


def test_tasks_are_compared_in_the_order_of_the_spec_where_the_test_has_25_studies_of_each_class(dataset):
    assert (dataset.table.query("split == 'test'")["Cardiomegaly"] == 1).sum() > 25  # images, of 24 studies
    for asked, compared in (
        (TASKS, ["Atelectasis", "Edema"]),
        (("Edema", "Consolidation", "Atelectasis"), ["Edema", "Atelectasis"]),
        (("Consolidation", "No Finding"), ["Consolidation", "No Finding"]),  # where none is left, all are
    ):
        assert compared_tasks(replace(SPEC, tasks=asked), dataset) == compared


def test_a_finished_run_is_loaded_with_its_best_weights_ready_to_predict(whole, dataset):
    rows, best = dataset.rows("val"), max(whole.log(), key=lambda row: row["auc"])
    model, prepare = checkpoints.load_model(whole)
    with torch.inference_mode():
        p = model(prepare(dataset.pixels[rows])).sigmoid()
    np.testing.assert_allclose(p, probabilities(whole, dataset, rows, best["images"]), atol=1e-6)


def test_the_seed_of_a_run_determines_its_network():
    learner = Learner.begin(replace(SPEC, seed=3, norm=True), start(SPEC), lambda: (0.5, 0.25))
    expected, other = (create_model("cbr_tiny", minus=3, norm=True, seed=seed).state_dict() for seed in (3, 0))
    found = learner.network.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(found["head.weight"], other["head.weight"])


def test_an_epoch_is_whole_batches_in_an_order_of_the_seed_and_the_epoch(folder, dataset, monkeypatch, tmp_path):
    shown, draws = [], []

    def look(learner, pixels, labels, known, batch):
        assert learner.model.training
        shown.append(batch)
        draws.append(torch.rand(()).item())  # as augmentation and dropout do
        return torch.tensor(float(len(shown)))

    monkeypatch.setattr(loop, "step", look)
    spec = replace(SPEC, eval_every=32)
    first, _ = (fit(replace(spec, seed=seed), folder, RunStore(tmp_path), progress=False) for seed in (0, 1))
    assert [row["epoch"] for row in first.log()] == [0.5, 1, 1.5, 2]
    assert [row["loss"] for row in first.log()] == [1.5, 3.5, 5.5, 7.5]  # each the mean of two batches
    rows = dataset.rows("train")
    assert len(rows) == 72  # so that half a batch of each epoch is left out, another half each time
    orders = np.concatenate(shown).reshape(4, 64)  # two seeds, two epochs each
    for order, place in zip(orders, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        np.testing.assert_array_equal(order, rows[np.random.default_rng(place).permutation(72)[:64]])
    assert len({tuple(order) for order in orders}) == 4
    assert len(set(draws)) == 16  # no stretch of any seed draws what another one drew


def test_a_run_on_some_of_the_training_images_sees_no_other_whatever_its_seed(folder, dataset, monkeypatch, tmp_path):
    seen = []

    def look(learner, pixels, labels, known, batch):
        seen.extend(image.tobytes() for image in pixels[batch])
        return torch.tensor(1.0)

    monkeypatch.setattr(loop, "step", look)
    spec = replace(SPEC, train_images=40)
    runs = [fit(replace(spec, seed=seed), folder, RunStore(tmp_path), progress=False) for seed in (0, 1, 2)]
    some = open_for(spec, folder, progress=False)
    learned = some.pixels[some.rows("train")]
    assert set(seen) == {image.tobytes() for image in learned} and len(set(seen)) == 40
    assert len(seen) == 3 * 2 * 32  # two whole batches an epoch
    everything = (np.asarray(dataset.pixels[dataset.rows("train")]) / 255).mean()
    means = [run.provenance["normalisation"]["mean"][0] for run in runs]
    assert means == [pytest.approx((learned / 255).mean())] * 3 and means[0] != pytest.approx(everything)
    assert runs[0].provenance["data"]["images"] == len(dataset.table) - 32


@pytest.fixture
def learner():
    """With pixels' mean 0.4 and standard deviation 0.2, and betas that are nobody's default."""
    spec = replace(SPEC, lr=0.05, beta1=0.6, beta2=0.7, batch_size=4)
    return Learner.begin(spec, start(spec), lambda: (0.4, 0.2))


def learned_from():
    """Six images, and their labels; half of these are unknown."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 32, 32), dtype=np.uint8)
    labels, known = ((rng.random((6, 14)) < 0.5).astype(np.float32) for _ in range(2))
    return pixels, labels, known


BATCH = np.array([5, 2, 0, 3])


def test_training_goes_on_from_its_newest_state(learner, tmp_path):
    run = RunStore(tmp_path).run(learner.spec.resolve("data"))
    for images in (4, 8):
        step(learner, *learned_from(), BATCH)
        checkpoints.save_resume_state(run, learner.network, learner.objective, learner.optimizer, [{"images": images}])
    again = Learner.begin(learner.spec, learner.accelerator, lambda: (0.4, 0.2))
    state = run, again.network, again.objective, again.optimizer
    assert checkpoints.load_resume_state(*state) == [{"images": 8}]
    for one in (learner, again):  # which their optimisers' states decide
        step(one, *learned_from(), BATCH)
    assert all(map(torch.equal, learner.network.state_dict().values(), again.network.state_dict().values()))


def test_a_network_learns_from_and_predicts_of_exactly_these_pixels(learner):
    seen, (pixels, labels, known) = [], learned_from()
    learner.network.trunk.layers.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].clone()))
    step(learner, pixels, labels, known, BATCH)
    predict(learner.model, learner.prepare, pixels, np.array([4, 1]), learner.accelerator)
    for inputs, rows in zip(seen, (BATCH, [4, 1]), strict=True):
        torch.testing.assert_close(inputs, by_hand(pixels[rows], 0.4, 0.2), atol=1e-6, rtol=0)


def test_the_first_two_steps_are_adams_on_the_mean_over_known_labels(learner):
    (pixels, labels, known), n = learned_from(), 0
    images, y, k = by_hand(pixels[BATCH], 0.4, 0.2), *(torch.tensor(array[BATCH]) for array in (labels, known))
    m = v = [torch.zeros_like(weight) for weight in learner.network.parameters()]
    learner.model.train()
    for n in (1, 2):
        network = deepcopy(learner.network)
        p = network(images.contiguous(memory_format=torch.channels_last)).sigmoid()
        loss = -(torch.where(y == 1, p, 1 - p).log() * k).sum() / k.sum()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        m = [0.6 * old + 0.4 * g for old, g in zip(m, gradients, strict=True)]
        v = [0.7 * old + 0.3 * g**2 for old, g in zip(v, gradients, strict=True)]
        expected = [
            weight - 0.05 * (a / (1 - 0.6**n)) / ((b / (1 - 0.7**n)).sqrt() + 1e-8)
            for weight, a, b in zip(network.parameters(), m, v, strict=True)
        ]
        assert step(learner, pixels, labels, known, BATCH).item() == pytest.approx(loss.item(), rel=1e-5)
        for found, value in zip(learner.network.parameters(), expected, strict=True):
            torch.testing.assert_close(found, value, atol=2e-4, rtol=0)  # of steps of 0.05


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("init", ["imagenet", "mean_var", "mean_var:weights", "transfusion:conv1"])
def test_a_pretrained_network_is_normalised_as_its_checkpoint_was(init, folder, dataset, tmp_path, monkeypatch):
    """And so is one whose weights are redrawn with the checkpoint's scale. The checkpoint here is made up."""
    spec = replace(SPEC, arch="resnet18", init=init, epochs=1, eval_every=64, keep=1)
    save_file(create_model("resnet18", minus=3, seed=7).trunk.state_dict(), tmp_path / "resnet18.tv_in1k.safetensors")
    monkeypatch.setenv("CHEXLIB_WEIGHTS", str(tmp_path))
    _, prepare = checkpoints.build(spec, lambda: pytest.fail("asked for the training set's"))
    run, rows = fit(spec, folder, RunStore(tmp_path / "runs"), progress=False), dataset.rows("val")
    assert run.provenance["normalisation"] == IMAGENET
    model, again = checkpoints.load_model(run)
    inputs = by_hand(dataset.pixels[rows], **IMAGENET)
    for normalised in (prepare, again):
        torch.testing.assert_close(normalised(dataset.pixels[rows]), inputs, atol=1e-6, rtol=0)
    with torch.inference_mode():
        p = model(inputs).sigmoid()
    table = run.predictions().query("split == 'val'")
    np.testing.assert_allclose(table[[f"p:{finding}" for finding in FINDINGS]], p, atol=1e-5)
