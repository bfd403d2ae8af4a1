"""AUC maximisation: the loss against its formula and its optimum, the optimiser by hand, and both at work."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from chexlib.errors import UserError
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.stats import auroc
from chexlib.training import checkpoints
from chexlib.training.auc_margin import PESG, AUCMargin
from chexlib.training.device import start
from chexlib.training.loop import Learner, fit
from chexlib.training.losses import Objective

SPEC = RunSpec(arch="resnet18", minus=2, size=32, epochs=2, batch_size=16, loss="auc", lr=0.1, eval_every=32, keep=2)


def loss_of(share, a=0.0, b=0.0, alpha=0.0, margin=1.0) -> AUCMargin:
    """The loss with these values of what it learns; each is a number, or one a finding."""
    share = torch.as_tensor(share).reshape(-1)
    loss = AUCMargin(share, margin)
    with torch.no_grad():
        for name, value in (("a", a), ("b", b), ("alpha", alpha)):
            getattr(loss, name).copy_(torch.as_tensor(value).expand(len(share)))
    return loss


def column(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]  # (N, 1)


def batch(n=12, findings=3, seed=0):
    """logits, labels and known (N, T); a third is not known."""
    generator = torch.Generator().manual_seed(seed)
    logits, *others = (torch.randn(n, findings, generator=generator) for _ in range(3))
    return logits, (others[0] > 0.5).float(), (others[1] > -0.4).float()


def test_the_loss_is_the_published_formula():
    h, y = [0.9, 0.2, 0.6, 0.3], [1, 0, 0, 1]
    p, a, b, alpha, m = 0.1, 0.7, 0.4, 0.3, 0.8
    each = []
    for score, label in zip(h, y, strict=True):
        f = (1 - p) * (score - a) ** 2 if label else p * (score - b) ** 2
        f += 2 * alpha * (p * (1 - p) * m + (-(1 - p) * score if label else p * score)) - p * (1 - p) * alpha**2
        each.append(f)
    found = loss_of(p, a, b, alpha, m)(column(h).logit(), column(y), torch.ones(4, 1))
    assert found.item() == pytest.approx(np.mean(each))


@pytest.mark.parametrize(("margin", "is_met"), [(1.0, False), (0.6, False), (0.2, True)])
def test_its_optimum_is_the_mean_scores_and_what_lacks_of_the_margin(margin, is_met):
    """And its value there the squared margin over pairs, where the margin is not met; else the two variances."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4 == 0
    h = np.clip(np.where(y, 0.65, 0.3) + 0.12 * rng.standard_normal(40), 0.01, 0.99)
    p, logits = y.mean(), column(h).logit()

    def value(a, b, alpha):
        with torch.no_grad():
            return loss_of(p, a, b, alpha, margin)(logits, column(y), torch.ones(40, 1)).item()

    def best_alpha(a, b):
        return minimize_scalar(lambda alpha: -value(a, b, alpha), bounds=(0, 3), method="bounded").x

    found = minimize(lambda ab: value(*ab, best_alpha(*ab)), (0.5, 0.5), method="Nelder-Mead", options={"xatol": 1e-4})
    (a, b), alpha = found.x, best_alpha(*found.x)
    assert (a, b) == pytest.approx((h[y].mean(), h[~y].mean()), abs=2e-3)
    assert alpha == pytest.approx(max(0, margin + h[~y].mean() - h[y].mean()), abs=2e-3)
    pairs = ((margin - h[y][:, None] + h[~y]) ** 2).mean()
    assert (margin + h[~y].mean() < h[y].mean()) == is_met
    if is_met:
        assert found.fun == pytest.approx(p * (1 - p) * (h[y].var() + h[~y].var()), abs=1e-5)
        assert found.fun < p * (1 - p) * pairs - 1e-4
    else:
        assert found.fun == pytest.approx(p * (1 - p) * pairs, abs=1e-5)


def test_the_margin_counts_for_many_findings():
    logits, y, known = batch()
    losses = [loss_of([0.2, 0.3, 0.4], 0.6, 0.4, 0.5, margin)(logits, y, known).item() for margin in (0.5, 1.0)]
    assert losses[1] - losses[0] == pytest.approx(sum(2 * 0.5 * p * (1 - p) * 0.5 for p in (0.2, 0.3, 0.4)), rel=1e-5)


def test_many_findings_are_the_sum_of_each_alone():
    logits, y, known = batch()
    a, b, alpha, p = ([0.1, 0.5, 0.7], [0.0, 0.4, 0.2], [0.3, 0.0, 1.0], [0.1, 0.2, 0.6])
    together = loss_of(p, torch.tensor(a), torch.tensor(b), torch.tensor(alpha))(logits, y, known)
    alone = [
        loss_of(p[t], a[t], b[t], alpha[t])(*(each[known[:, t] > 0, t : t + 1] for each in (logits, y, known)))
        for t in range(3)
    ]
    torch.testing.assert_close(together, sum(alone))


def test_what_is_not_known_has_no_gradient_and_no_say():
    logits, y, known = batch()
    logits.requires_grad_()
    loss = loss_of([0.2, 0.3, 0.4], 0.6, 0.4, 0.5)
    value = loss(logits, y, known)
    value.backward()
    assert torch.equal(logits.grad == 0, known == 0)
    others = torch.where(known > 0, logits, 99.0), torch.where(known > 0, y, 1 - y)
    torch.testing.assert_close(loss(*others, known), value)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_a_batch_without_positives_or_without_labels_is_finite(known):
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = loss_of([0.1, 0.3], 0.5, 0.4, 0.2)
    value = loss(logits, torch.zeros(5, 2), torch.full((5, 2), known))
    value.backward()
    assert value.isfinite() and all(each.isfinite().all() for each in (logits.grad, loss.a.grad, loss.alpha.grad))
    assert known or value == 0


def test_the_share_of_positives_is_that_of_the_known_training_labels_whatever_a_batch_holds():
    rng = np.random.default_rng(0)
    labels, known = ((rng.random((200, 14)) < share).astype(np.float32) for share in (0.3, 0.8))
    known[:, 3] = 0
    loss = Objective(SPEC, labels, known).margin_loss
    expected = [labels[known[:, t] > 0, t].mean() if t != 3 else 0 for t in range(14)]
    for _ in range(2):
        np.testing.assert_allclose(loss.share, expected, rtol=1e-6)
        loss(torch.zeros(4, 14), torch.zeros(4, 14), torch.ones(4, 14)).backward()
    assert loss.a.grad[3] == loss.alpha.grad[3] == 0  # of which nothing is known


def test_pesg_is_descent_to_a_reference_and_ascent_above_zero():
    """Algorithm 1 by hand: the reference is the start, then the mean over the epoch before."""
    lr, decay, pull, gradients = 0.1, 0.05, 0.3, [1.0, -2.0, 0.5, 4.0, 1.0]
    loss, weight = loss_of(0.3, 0.2, 0.1, 0.05), torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = PESG([weight], loss, lr, decay, pull, steps_per_epoch=2)
    values = {"weight": 2.0, "a": 0.2, "b": 0.1}
    reference, seen, alpha = dict(values), {name: [] for name in values}, 0.05
    for n, gradient in enumerate(gradients, start=1):
        for each in (weight, loss.a, loss.b, loss.alpha):
            each.grad = torch.full_like(each, gradient)
        optimizer.step()
        for name, value in values.items():
            decayed = decay * value if name == "weight" else 0
            values[name] -= lr * (gradient + decayed + pull * (value - reference[name]))
            seen[name].append(values[name])
        alpha = max(0, alpha + lr * gradient)
        if n % 2 == 0:
            reference = {name: np.mean(seen[name][-2:]) for name in values}
        found = {"weight": weight.item(), "a": loss.a.item(), "b": loss.b.item()}
        assert found == pytest.approx(values, abs=1e-6) and loss.alpha.item() == pytest.approx(alpha, abs=1e-6)


def linear_auc(loss: str, lr: float, epochs: int = 30) -> float:
    """AUC, on points that were not learned from, of a linear layer that learned one rare class of a hard problem."""
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.1).astype(np.float32)
    x = rng.standard_normal((3000, 8)).astype(np.float32)
    x[:, :4] += 0.6 * y[:, None]
    x, y = torch.from_numpy(x), torch.from_numpy(y)[:, None]
    model, known = torch.nn.Linear(8, 1), torch.ones(50, 1)
    torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
    if loss == "auc":
        of = AUCMargin(y[:2000].mean(dim=0))
        optimizer = PESG(model.parameters(), of, lr, steps_per_epoch=40)
    else:
        of = lambda logits, y, known: torch.nn.functional.binary_cross_entropy_with_logits(logits, y)  # noqa: E731
        optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        for at in torch.from_numpy(rng.permutation(2000)).split(50):
            optimizer.zero_grad()
            of(model(x[at]), y[at], known).backward()
            optimizer.step()
    with torch.no_grad():
        return auroc(y[2000:].numpy(), model(x[2000:]).sigmoid().numpy())[0]


def test_on_a_linear_problem_it_reaches_what_cross_entropy_reaches():
    ours, theirs = linear_auc("auc", 0.5), linear_auc("cross-entropy", 0.01)
    assert theirs > 0.75 and ours == pytest.approx(theirs, abs=0.01)


def test_adams_learning_rate_moves_next_to_nothing():
    loss, weight = loss_of(0.3), torch.nn.Parameter(torch.zeros(1))
    optimizer = PESG([weight], loss, 1e-4)
    y, known = column([1.0, 0, 0] * 4), torch.ones(12, 1)
    for _ in range(100):
        optimizer.zero_grad()
        loss((2 * y - 1) * weight, y, known).backward()
        optimizer.step()
    assert 0 < abs(weight.item()) < 0.01 and 0 < loss.a.item() < 0.01


def test_a_learning_rate_that_is_too_high_is_one_line(phantom_folder, tmp_path):
    spec = replace(SPEC, arch="cbr_tiny", minus=3, lr=1e4, epochs=30)
    with pytest.raises(UserError, match="lower the learning rate"):
        fit(spec, phantom_folder, RunStore(tmp_path), progress=False)


def test_a_network_learns_by_it(phantom_folder, tmp_path):
    """To tell lateral images from frontal ones, which are taken for a finding here."""
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    for file in ("train.csv", "valid.csv"):
        labels = pd.read_csv(folder / file)
        lateral = (labels["Frontal/Lateral"] == "Lateral").astype(float)
        labels.assign(Edema=lateral).to_csv(folder / file, index=False)
    spec = replace(SPEC, arch="cbr_tiny", minus=3, lr=0.3, epochs=20, eval_every=64, tasks=("Edema",))
    aucs = [row["auc"] for row in fit(spec, folder, RunStore(tmp_path / "runs"), progress=False).log()]
    assert np.mean(aucs[-3:]) > 0.85 and np.mean(aucs[-3:]) > aucs[0] + 0.05


def test_a_run_that_is_killed_goes_on_to_the_same_numbers(phantom_folder, tmp_path, monkeypatch):
    whole, save = fit(SPEC, phantom_folder, RunStore(tmp_path / "whole"), progress=False), checkpoints.save_resume_state

    def killed(run, *args):
        save(run, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_resume_state", killed)
    store = RunStore(tmp_path / "killed")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(SPEC, phantom_folder, store, progress=False)
    monkeypatch.undo()
    run = fit(SPEC, phantom_folder, store, progress=False)
    assert run.log()[-1]["resumed"] == 2
    assert [row["loss"] for row in run.log()] == [row["loss"] for row in whole.log()]
    pd.testing.assert_frame_equal(run.predictions(), whole.predictions(), check_exact=True)


def test_what_the_loss_has_learned_is_in_the_state_to_resume_from(tmp_path):
    spec = SPEC.resolve("data")
    run = RunStore(tmp_path).run(spec)
    learner, again = (Learner.begin(spec, start(spec), lambda: (0.5, 0.25)) for _ in range(2))
    with torch.no_grad():
        for weight in learner.objective.parameters():
            weight.uniform_()
    checkpoints.save_resume_state(run, learner.network, learner.objective, learner.optimizer, [{"images": 16}])
    checkpoints.load_resume_state(run, again.network, again.objective, again.optimizer)
    pairs = list(zip(learner.objective.parameters(), again.objective.parameters(), strict=True))
    assert len(pairs) == 3 and all(torch.equal(*pair) for pair in pairs)


def test_a_task_without_positives_is_one_line(phantom_folder, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    pd.read_csv(folder / "train.csv").assign(Edema=0.0).to_csv(folder / "train.csv", index=False)
    with pytest.raises(UserError, match=r"Edema is 0 in all 64 training images .* needs positives and negatives"):
        fit(SPEC, folder, RunStore(tmp_path / "runs"), progress=False)


@pytest.mark.parametrize("others", [{"policy": "u-multiclass"}, {"targets": {"sex": 1}}, {"loss": "auroc"}])
def test_what_does_not_go_with_it_is_refused(others):
    with pytest.raises(UserError, match="loss='au"):
        replace(SPEC, **others)
