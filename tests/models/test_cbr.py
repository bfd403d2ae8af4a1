"""Transfusion's own networks: their counts, their layers, and that all that works for others works for them."""

import numpy as np
import pytest
import torch

import chexlib
from chexlib.errors import UserError
from chexlib.explain.cam import cam, sums
from chexlib.models import ARCHITECTURES, architecture, create_model
from chexlib.models.networks import count
from chexlib.models.truncate import parameters, truncation
from chexlib.models.zoo import cbr_parameters

LABELS = {"cbr_larget": "CBR-LargeT", "cbr_largew": "CBR-LargeW", "cbr_small": "CBR-Small", "cbr_tiny": "CBR-Tiny"}


@pytest.mark.parametrize(("name", "label"), LABELS.items())
def test_everything_is_counted_as_torch_counts_it(name, label):
    row, model = architecture(name), create_model(name)
    assert count(model) == row.parameters == parameters(row) == cbr_parameters(label, 14)
    assert count(create_model(name, findings=5)) == cbr_parameters(label, 5)
    assert (model.label, model.family, row.in_paper, name in ARCHITECTURES) == (label, "CBR", False, False)


def test_the_weights_that_transfusion_counts_are_those_of_all_convolutions_but_the_first_and_of_the_head():
    model = create_model("cbr_tiny", findings=5)
    convolutions = [weight.numel() for weight in model.trunk.parameters() if weight.ndim == 4]
    assert sum(convolutions[1:]) + model.head.weight.numel() == 1_076_480  # its Table 1


def test_each_layer_but_the_last_is_pooled():
    maps = create_model("cbr_small", findings=3).maps(torch.randn(2, 3, 40, 40))
    assert maps.shape == (2, 256, 5, 5) and (maps >= 0).all()  # 40, 20, 10, 5


def test_its_maps_are_in_closed_form_and_its_last_layers_can_be_dropped():
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    row = architecture("cbr_tiny")
    assert len(truncation(row).cuts) == 3
    for minus, cells in enumerate((4, 8, 16, 32)):
        model = create_model("cbr_tiny", findings=2, minus=minus).eval()
        assert count(create_model("cbr_tiny", minus=minus)) == parameters(row, minus)
        found, logits = sums(model, x, method="hirescam")
        assert found.shape == (2, 2, cells, cells)
        torch.testing.assert_close(found.sum(dim=(2, 3)) + model.head.bias.detach(), logits, atol=1e-5, rtol=1e-4)
    assert cam(model, x, method="score-cam").isfinite().all()


def test_there_are_no_imagenet_weights_and_near_names_are_offered():
    with pytest.raises(UserError, match="no ImageNet weights for cbr_tiny"):
        create_model("cbr_tiny", init="imagenet")
    with pytest.raises(UserError, match="nearest: cbr_tiny"):
        create_model("CBR-Tiny")
    assert np.isnan(architecture("cbr_tiny").top1) and "cbr_tiny" not in set(chexlib.architectures().index)
