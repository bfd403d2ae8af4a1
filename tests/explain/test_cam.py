"""Grad-CAM against autograd through the whole network, and against maps small enough to work out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from chexlib.errors import UserError
from chexlib.explain import grad_cam
from chexlib.models import create_model
from chexlib.models.networks import Classifier
from chexlib.models.zoo import ARCHITECTURES


class Pixels(nn.Module):
    """A trunk whose maps are the image's own channels."""

    def forward_features(self, x):
        return x

    def forward_head(self, maps, pre_logits=True):
        return maps.mean(dim=(2, 3))


def pixels(weight: list[list[float]], bias: float = 0.0) -> Classifier:
    model = Classifier(Pixels(), 3, len(weight), ARCHITECTURES["resnet18"])
    nn.init.constant_(model.head.bias, bias)
    model.head.weight.data = torch.tensor(weight)
    return model


def by_autograd(model, images):
    """The definition, one backward pass a finding through the whole network: native maps (N, T, h, w)."""
    model.eval()
    maps = model.maps(images)
    logits = model.logits(maps)
    cams = []
    for t in range(logits.shape[1]):
        gradient = torch.autograd.grad(logits[:, t].sum(), maps, retain_graph=True)[0]  # (N, C, h, w)
        weights = gradient.clamp(min=0).mean(dim=(2, 3), keepdim=True)
        cam = (weights * maps).sum(dim=1).clamp(min=0)  # (N, h, w)
        for n in range(len(cam)):
            if cam[n].max() > 0:
                cam[n] = cam[n] / cam[n].max() * logits[n, t].sigmoid()
        cams.append(cam)
    return torch.stack(cams, dim=1).detach()


@pytest.mark.parametrize(("name", "minus", "norm", "classes"), [
    ("densenet121", 0, False, 1), ("densenet121", 1, False, 1), ("densenet121", 1, True, 1), ("mnasnet", 2, False, 1),
    ("mnasnet", 2, True, 1), ("mobilenet_v3", 0, False, 1), ("nasnetamobile", 0, False, 1),
    ("resnet18", 0, False, 3), ("mobilenet_v3", 0, False, 3),  # the map is of present against absent
])  # fmt: skip
def test_grad_cam_is_what_autograd_through_the_whole_network_gives(name, minus, norm, classes):
    model = create_model(name, findings=4, minus=minus, norm=norm, classes=classes, seed=1)
    images = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    expected = by_autograd(model, images)
    assert expected.max() > 0.1
    native = grad_cam(model, images, upsample=False)
    assert native.shape == expected.shape and native.shape[:2] == (3, 4)
    torch.testing.assert_close(native, expected, atol=1e-5, rtol=0)
    upsampled = F.interpolate(expected, size=(96, 96), mode="bilinear")
    torch.testing.assert_close(grad_cam(model, images), upsampled, atol=1e-5, rtol=0)


def test_a_map_worked_out_by_hand():
    image = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [9.0, 0.0]]])[None]
    model = pixels([[2.0, 4.0, -1.0]])  # the third map has a negative weight: it has no part in the sum
    probability = torch.sigmoid(torch.tensor((2 * 1 + 4 * 2 - 9) / 4))
    expected = torch.tensor([[2 / 8, 1.0], [0.0, 0.0]]) * probability
    torch.testing.assert_close(grad_cam(model, image)[0, 0], expected)


def test_where_nothing_speaks_for_a_finding_its_map_is_zero():
    model = pixels([[-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    cams = grad_cam(model, torch.rand(2, 3, 4, 4))
    assert (cams[:, :2] == 0).all() and (cams[:, 2].amax(dim=(1, 2)) > 0).all()
    assert (grad_cam(model, -torch.rand(1, 3, 4, 4))[:, 2] == 0).all()  # the sum's negative values are cut off


def test_the_brightest_point_is_the_probability():
    model, images = create_model("resnet18", minus=3), torch.randn(2, 3, 64, 64)
    native = grad_cam(model, images, upsample=False)
    with torch.inference_mode():
        probabilities = model.eval()(images).sigmoid()
    torch.testing.assert_close(native.amax(dim=(2, 3)), probabilities)
    cams = grad_cam(model, images)
    assert cams.shape == (2, 14, 64, 64) and cams.min() >= 0 and cams.max() <= 1


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3"])
def test_the_model_is_left_as_it_was(name):
    model = create_model(name, findings=2).train()
    model.head.eval()
    model.head.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)

    def state():
        return (
            [module.training for module in model.modules()],
            [weight.requires_grad for weight in model.parameters()],
            [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],
            [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()],
        )

    before, tensors = state(), {key: value.clone() for key, value in model.state_dict().items()}
    cams = grad_cam(model, torch.randn(2, 3, 64, 64))
    after = state()
    assert before[:3] == after[:3] and not cams.requires_grad
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(before[3], after[3]))
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())


def test_the_model_is_left_as_it_was_after_an_error_too():
    model = create_model("mnasnet", findings=2)
    with pytest.raises(UserError, match=r"findings=\[2\]: the model has 2 findings, 0 to 1"):
        grad_cam(model, torch.zeros(1, 3, 32, 32), findings=[2])
    assert model.training and all(module.training for module in model.modules())
