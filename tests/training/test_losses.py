"""The losses, against values worked out by hand."""

import math

import pytest
import torch

from chexlib.training.losses import UNCERTAIN, masked_cross_entropy


def test_unknown_labels_never_reach_the_loss():
    logits = torch.tensor([[0.0, 50.0], [0.0, -50.0]], requires_grad=True)
    labels, known = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    loss = masked_cross_entropy(logits, labels, known)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad[:, 1].tolist() == [0, 0]


def test_a_soft_label_is_met_by_its_own_probability():
    logits = torch.logit(torch.tensor([[0.3, 0.8]])).requires_grad_()
    masked_cross_entropy(logits, torch.tensor([[0.3, 0.8]]), torch.ones(1, 2)).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 2))


def test_three_classes_are_told_apart():
    """ln 3 where all three are as likely; the gradient speaks for the label and against the two others."""
    logits = torch.zeros(1, 3, 3, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.tensor([[0.0, 1.0, UNCERTAIN]]), torch.ones(1, 3))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    torch.testing.assert_close(logits.grad[0] * 3, torch.full((3, 3), 1 / 3) - torch.eye(3))


def test_unknown_labels_never_reach_the_loss_of_three_classes():
    logits = torch.zeros(2, 2, 3, requires_grad=True)
    known = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss = masked_cross_entropy(logits, torch.zeros(2, 2), known)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert logits.grad[known == 0].abs().max() == 0


def test_a_batch_of_unknown_labels_costs_nothing():
    assert masked_cross_entropy(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2, 3)).item() == 0
    assert masked_cross_entropy(torch.ones(2, 4, 3), torch.ones(2, 4), torch.zeros(2, 4)).item() == 0
