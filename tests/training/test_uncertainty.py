"""What a network learns of an uncertain label under each policy, from data to predictions."""

import shutil
import threading
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS, POLICIES
from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run, RunStore
from chexlib.training import checkpoints, loop
from chexlib.training.loop import fit
from chexlib.training.losses import SOFT_LABELS, labels_to_learn, masked_cross_entropy

SPEC = RunSpec(arch="resnet18", minus=2, size=32, epochs=2, batch_size=16, lr=1e-3, eval_every=32, keep=2)
STUDENT, THREE = replace(SPEC, policy="u-selftrained"), replace(SPEC, policy="u-multiclass")


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return open_dataset("phantom", phantom_folder, policy="u-ignore", size=32, progress=False)


@pytest.fixture(scope="module")
def in_doubt(dataset):
    """(N, 14) bool: the uncertain training labels."""
    where = dataset.table[list(FINDINGS)].to_numpy() == -1
    where[(dataset.table["split"] != "train").to_numpy()] = False
    assert where.any()
    return where


@pytest.fixture(scope="module")
def student(phantom_folder, store):
    return fit(STUDENT, phantom_folder, store, progress=False)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_training_step_moves_uncertain_entries_as_the_policy_says(policy, dataset, in_doubt, student):
    """The gradient of a real batch's loss with respect to the logits."""
    spec = replace(SPEC, policy=policy)
    labels, known = labels_to_learn(student, spec, replace(dataset, policy=policy))
    rows = np.flatnonzero(in_doubt.any(axis=1))[:16]
    model, prepare = checkpoints.build(spec, dataset.mean_std)
    logits = model(prepare(dataset.pixels[rows]))
    logits.retain_grad()
    masked_cross_entropy(logits, *(torch.from_numpy(a[rows]) for a in (labels, known))).backward()
    of_doubt = logits.grad[torch.from_numpy(in_doubt[rows])]  # (U,) or (U, 3)
    if policy == "u-multiclass":
        assert logits.shape == (len(rows), 14, 3)
        assert (of_doubt[:, 2] < 0).all() and (of_doubt[:, :2] > 0).all()  # towards uncertain, away from both others
    elif policy == "u-ignore":
        assert (of_doubt == 0).all()
    else:
        assert (of_doubt != 0).all()


def test_labels_that_are_certain_or_not_of_training_are_learned_as_they_are(dataset, in_doubt, student):
    for policy in ("u-multiclass", "u-selftrained"):
        learned = labels_to_learn(student, replace(SPEC, policy=policy), replace(dataset, policy=policy))
        for ours, theirs in zip(learned, (dataset.labels, dataset.known), strict=True):
            np.testing.assert_array_equal(ours[~in_doubt], theirs[~in_doubt])
        assert (learned[1][in_doubt] == 1).all()
    for policy in ("u-ones", "u-zeros", "u-ignore"):
        data = replace(dataset, policy=policy)
        learned = labels_to_learn(student, replace(SPEC, policy=policy), data)
        for ours, theirs in zip(learned, (data.labels, data.known), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_three_classes_learn_and_show_two(phantom_folder, store, in_doubt, dataset):
    run = fit(replace(THREE, epochs=6, eval_every=96, keep=4), phantom_folder, store, progress=False)
    losses = [row["loss"] for row in run.log()]
    assert losses[0] == pytest.approx(np.log(3), abs=0.3) and losses[-1] < 0.7 * losses[0]
    assert run.predictions()[f"p:{FINDINGS[5]}"].between(0, 1).all()
    model, prepare = checkpoints.load_model(run)
    checkpoints.load_weights(run, model, run.log()[-1]["images"])
    rows = dataset.rows("train")
    with torch.inference_mode():
        features = model.maps(prepare(dataset.pixels[rows])).mean(dim=(2, 3))
        z = torch.nn.functional.linear(features, model.head.weight, model.head.bias).reshape(-1, 14, 3)
    doubted = in_doubt[rows].sum(axis=0)
    often, never = np.argmax(doubted), np.argmin(doubted)
    learned = z.softmax(dim=-1)[..., 2].mean(dim=0)  # how uncertain each finding is thought to be
    assert learned[often] > learned[never]


def test_soft_labels_are_the_mean_predictions_of_a_u_ignore_run(student, store, dataset, in_doubt):
    """Recomputed here from the teacher's kept weights."""
    teacher = store.run(student.spec.teacher)
    assert teacher.finished and student.provenance["teacher"] == teacher.run_id
    assert teacher.spec == replace(student.spec, policy="u-ignore")
    model, prepare = checkpoints.load_model(teacher)
    p = np.zeros((len(dataset.table), 14))
    for images in teacher.provenance["ensemble"]:
        checkpoints.load_weights(teacher, model, images)
        with torch.inference_mode():
            p += model(prepare(dataset.pixels[np.arange(len(p))])).sigmoid().numpy() / 2
    labels, _ = labels_to_learn(student, student.spec, dataset)
    np.testing.assert_allclose(labels[in_doubt], p[in_doubt], atol=1e-5)
    assert ((labels[in_doubt] > 0) & (labels[in_doubt] < 1)).all()
    table = pd.read_parquet(student.folder / SOFT_LABELS)
    assert len(table) == in_doubt.sum() and table["image"].str.startswith("train/").all()
    assert table["finding"].value_counts().to_dict() == {
        finding: n for finding, n in zip(FINDINGS, in_doubt.sum(axis=0), strict=True) if n
    }


def test_soft_labels_that_are_damaged_or_of_other_images_are_refused(student, store, dataset, tmp_path):
    run, path = Run(tmp_path), tmp_path / SOFT_LABELS
    whole = (student.folder / SOFT_LABELS).read_bytes()
    path.write_bytes(whole)
    fewer = pd.read_parquet(path).iloc[1:]
    for damage in (lambda: path.write_bytes(whole[:100]), lambda: fewer.to_parquet(path)):
        damage()
        with pytest.raises(UserError, match=f"{SOFT_LABELS}: damaged: remove it"):
            labels_to_learn(run, student.spec, dataset)


def test_a_students_validation_and_test_labels_are_those_of_the_data(student, store):
    teacher = store.run(student.spec.teacher)
    labels = [run.predictions().filter(like="y:") for run in (student, teacher)]
    pd.testing.assert_frame_equal(*labels)
    assert not student.predictions().filter(like="p:").equals(teacher.predictions().filter(like="p:"))


def test_a_student_that_is_interrupted_asks_its_teacher_once_and_ends_the_same(
    student, store, phantom_folder, tmp_path, monkeypatch
):
    other, save = RunStore(tmp_path), checkpoints.save_resume_state

    def interrupted(run, *args):
        save(run, *args)
        if run.spec.teacher:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_resume_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(STUDENT, phantom_folder, other, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(loop, "write_soft_labels", lambda *_: pytest.fail("asked again"))
    resumed = fit(STUDENT, phantom_folder, other, progress=False)
    assert len(resumed.log()) == 4
    pd.testing.assert_frame_equal(resumed.predictions(), student.predictions(), check_exact=True)


def test_a_finished_teacher_is_reused(student, store, phantom_folder, monkeypatch):
    """A second student of the same teacher: one whose folder is gone."""
    trained = []
    monkeypatch.setattr(loop, "train", lambda run, *_: trained.append(run.spec.policy))
    (student.folder / "done.json").rename(student.folder / "was_done.json")
    (student.folder / SOFT_LABELS).rename(student.folder / "were_soft_labels")
    try:
        fit(STUDENT, phantom_folder, store, progress=False)
        assert trained == ["u-selftrained"]
    finally:
        (student.folder / "was_done.json").rename(student.folder / "done.json")
        (student.folder / "were_soft_labels").replace(student.folder / SOFT_LABELS)


def test_a_teacher_that_another_process_trains_is_waited_for(
    student, store, phantom_folder, tmp_path, monkeypatch, capsys
):
    """The other process is a thread here: it holds the lock, and lets go once the teacher is finished."""
    teacher, other, trained = store.run(student.spec.teacher), RunStore(tmp_path), []
    lock = ExitStack()
    lock.enter_context(other.run(teacher.spec).lock())

    def finish():
        shutil.copytree(teacher.folder, other.run(teacher.spec).folder, dirs_exist_ok=True)
        lock.close()

    monkeypatch.setattr(loop, "has_soft_labels", lambda _: threading.Timer(0.5, finish).start())
    monkeypatch.setattr(loop, "train", lambda run, *_: trained.append(run.run_id))
    fit(STUDENT, phantom_folder, other, progress=False)
    assert f"{teacher.run_id}: another process is training this run: waiting for it" in capsys.readouterr().err
    assert trained == [student.run_id]
