"""Each method's weights against its definition, and what all of them share: every architecture, memory, bad input."""

import gc
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from chexlib.errors import UserError
from chexlib.explain.cam import cam, columns_of, grad_cam, negatives, scaled, sums
from chexlib.explain.weightings import WEIGHTINGS
from chexlib.models import create_model
from chexlib.models.truncate import TRUNCATIONS
from chexlib.models.zoo import ARCHITECTURES


class Curved(nn.Module):
    """Maps that are the image's channels, and logits that are not linear in them: no closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, generator=torch.Generator().manual_seed(3)))

    def maps(self, x):
        return x

    def logits(self, maps):
        return (maps**2).mean(dim=(2, 3)) @ self.weight + maps[:, :1, 0, 0]


def images(n: int = 2, size: int = 64, seed: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def derivatives(model, maps):
    """(N, T, C, h, w), one backward pass for each image and finding."""
    out = []
    for one in maps.detach():
        leaf = one[None].clone().requires_grad_()
        logits = model.logits(leaf)[0]
        out.append(torch.stack([torch.autograd.grad(logit, leaf, retain_graph=True)[0][0] for logit in logits]))
    return torch.stack(out)


def by_definition(method, gradients, maps):
    """Sums (N, T, h, w) as each method's paper writes them, alphas of Grad-CAM++ and all."""
    if method == "hirescam":
        return (gradients * maps[:, None]).sum(dim=2)
    if method == "grad-cam++":
        of_maps = maps.sum(dim=(2, 3)).clamp(min=0)[:, None, :, None, None]  # as said where they can be negative
        alpha = gradients**2 / (2 * gradients**2 + gradients**3 * of_maps)
        weights = torch.where(gradients > 0, alpha * gradients, 0).mean(dim=(3, 4), keepdim=True)
    else:
        weights = (gradients.clamp(min=0) if method == "paper" else gradients).mean(dim=(3, 4), keepdim=True)
    return (weights * maps[:, None]).sum(dim=2)


@pytest.mark.parametrize("method", list(WEIGHTINGS))
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3", "curved"])
def test_each_method_is_its_papers_formula(name, method):
    model = Curved().eval() if name == "curved" else create_model(name, findings=3, seed=1).eval()
    x = images().abs() if name == "curved" else images()
    maps = model.maps(x).detach()
    found, logits = sums(model, x, method=method)
    expected = by_definition(method, derivatives(model, maps), maps)
    torch.testing.assert_close(scaled(found, logits), scaled(expected, logits), atol=1e-5, rtol=0)
    torch.testing.assert_close(cam(model, x, method=method, upsample=False), scaled(found, logits))
    assert scaled(found, logits).max() > 0.1


def test_a_large_bias_does_not_hide_that_logits_see_more_than_means():
    model = Curved()
    bent = model.logits
    model.logits = lambda maps: 1e3 * torch.tensor([1.0, 0.0]) + bent(maps)
    x, found = images(), sums(model, images(), method="hirescam")[0]
    torch.testing.assert_close(found, by_definition("hirescam", derivatives(model, x), x), atol=1e-4, rtol=1e-4)


def test_alphas_of_grad_cam_plus_plus_are_those_of_the_exponential_score():
    """Of exp(logit), differentiated once, twice and three times at one point of each of two maps."""
    model = create_model("resnet18", findings=1, minus=3).double().eval()
    maps = torch.rand(1, 64, 2, 2, dtype=torch.double)
    channels = (model.head.weight[0] > 0).nonzero()[:2, 0].tolist()
    by_hand = []
    for c in channels:
        leaf = maps.clone().requires_grad_()
        y, orders = model.logits(leaf)[0, 0].exp(), []
        for _ in range(3):
            y = torch.autograd.grad(y, leaf, create_graph=True)[0][0, c, 1, 0]
            orders.append(y.detach())
        by_hand.append(orders[1] / (2 * orders[1] + maps[0, c].sum() * orders[2]) * orders[0])
    weights = WEIGHTINGS["grad-cam++"](derivatives(model, maps), maps)[0, 0, channels, 0, 0]
    assert weights.min() > 0
    torch.testing.assert_close(weights[0] / weights[1], by_hand[0] / by_hand[1])  # to a factor of the whole map


def test_score_cam_weighs_by_the_logits_of_the_image_seen_through_each_map():
    model, x = create_model("resnet18", findings=2, minus=3, seed=1).eval(), images(size=32)
    with torch.no_grad():
        maps = model.maps(x)  # (2, 64, 8, 8)
        expected = []
        for image, of_image in zip(x, maps):
            seen = []
            for one in F.interpolate(of_image[None], (32, 32), mode="bilinear")[0]:
                spread = one.max() - one.min()
                mask = (one - one.min()) / spread if spread > 0 else torch.zeros_like(one)
                seen.append(model((image * mask)[None])[0])
            weights = torch.stack(seen).softmax(dim=0)  # (64, 2)
            expected.append(torch.einsum("ct,chw->thw", weights, of_image))
    found, logits = sums(model, x, method="score-cam")
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, model(x).detach())


def test_methods_agree_where_the_papers_say_so():
    """With pooling and a linear layer HiResCAM is Grad-CAM (Draelos and Carin), and elsewhere it is not."""
    model, x = create_model("mnasnet", findings=3), images()
    torch.testing.assert_close(cam(model, x, method="hirescam"), cam(model, x, method="grad-cam"))
    assert torch.equal(grad_cam(model, x), cam(model, x)) and torch.equal(cam(model, x), cam(model, x, method="paper"))
    x = images(size=8).abs()
    assert (cam(Curved(), x, method="hirescam") - cam(Curved(), x, method="grad-cam")).abs().max() > 0.1


LIGHT = ("mnasnet", "mobilenet_v3", "resnet18", "efficientnet_lite0", "nasnetamobile")
EVERY = [(name, 0) for name in ARCHITECTURES] + [
    (name, m + 1) for name, t in TRUNCATIONS.items() for m in range(len(t.cuts))
]


@pytest.mark.parametrize(("name", "minus"), EVERY)
def test_every_architecture_and_truncation_has_maps_that_reach_its_probabilities(name, minus):
    row = ARCHITECTURES[name]
    size = max(64, -(-row.smallest // row.multiple) * row.multiple)
    model = create_model(name, findings=2, minus=minus).eval()
    found, logits = sums(model, images(1, size), method="grad-cam")
    assert found.isfinite().all() and found.shape[:2] == (1, 2)
    peak = scaled(found, logits).amax(dim=(2, 3))
    lit = found.amax(dim=(2, 3)) > 0
    torch.testing.assert_close(peak, torch.where(lit, logits.sigmoid(), 0.0))
    if model.pools_last:  # then the map's sum is the logit, less the bias, as HiResCAM's authors prove
        torch.testing.assert_close(found.sum(dim=(2, 3)) + model.head.bias.detach(), logits, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():  # as in a loop over validation images; what is made here autograd does not take
        assert torch.equal(sums(model, images(1, size), method="grad-cam")[0], found)
    if name in LIGHT:
        with torch.no_grad():
            torch.testing.assert_close(logits, model(images(1, size)))
        for method in WEIGHTINGS:
            assert sums(model, images(1, size), method=method)[0].isfinite().all()


@pytest.mark.parametrize("name", ["convnext_atto", "test_resnet", "regnetx_002", "ghostnet_050", "cbr_tiny"])
def test_networks_of_timm_that_the_table_lacks_have_maps(name):
    model, x = create_model(name, findings=3, seed=1).eval(), images()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a network for which the backward pass could not be batched
        found, logits = sums(model, x, method="grad-cam")
    maps = model.maps(x).detach()
    expected = by_definition("grad-cam", derivatives(model, maps), maps)
    torch.testing.assert_close(scaled(found, logits), scaled(expected, logits), atol=1e-5, rtol=0)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert torch.equal(sums(model, images(), method="grad-cam")[0], found)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3", "test_resnet", "cbr_tiny", "curved"])
def test_a_network_made_in_inference_mode_has_the_maps_of_any_other(name):
    def made():
        return Curved() if name == "curved" else create_model(name, findings=3, seed=1)

    expected = {method: cam(made(), images(), method=method) for method in WEIGHTINGS}
    with torch.inference_mode():
        model = made()
        found = {method: cam(model, images(), method=method) for method in WEIGHTINGS}
        share, kept, _ = negatives(model, images())
    assert all(torch.equal(found[method], expected[method]) for method in WEIGHTINGS)
    assert torch.equal(kept, cam(made(), images(), upsample=False)) and 0 <= share < 1
    assert model.training and all(weight.is_inference() for weight in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3", "curved"])
def test_parts_of_a_batch_give_the_maps_of_the_whole(name, monkeypatch):
    model, x = Curved() if name == "curved" else create_model(name, findings=3, seed=1), images(5)
    whole = cam(model, x, method="grad-cam")
    monkeypatch.setattr("chexlib.explain.cam.PIXELS", {"cpu": 2 * 64 * 64, "cuda": 0})
    monkeypatch.setattr("chexlib.explain.cam.GRADIENTS", 1)
    torch.testing.assert_close(cam(model, x, method="grad-cam"), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "first"), [("resnet18", "conv1"), ("mobilenet_v3", "conv_stem")])
def test_all_findings_come_from_one_pass_through_the_trunk(name, first):
    model, passes = create_model(name), []
    model.trunk.get_submodule(first).register_forward_hook(lambda *_: passes.append(1))
    cam(model, images())
    assert len(passes) == 1


def anonymous() -> int:
    """KiB of this process that no file backs."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        pytest.skip("the system does not tell how much memory a process has")
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


@pytest.mark.parametrize(("name", "minus"), [("resnet18", 3), ("test_resnet", 0)])
def test_over_200_calls_nothing_is_left_behind(name, minus):
    model, x = create_model(name, minus=minus), images(1, 32)

    def held():
        gc.collect()
        return hooks(model), sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for _ in range(20):
        cam(model, x, upsample=False)
    before, memory = held(), anonymous()
    for call in range(200):
        cam(model, x, method=list(WEIGHTINGS)[call % 4], upsample=False)
    assert held() == before and before[0] == 0
    assert anonymous() - memory < 8 * 1024


def test_negative_values_are_kept_and_cutting_them_is_shown():
    model = create_model("densenet121", findings=3, minus=1, seed=1)
    share, kept, cut = negatives(model, images(), method="grad-cam")
    torch.testing.assert_close(kept, cam(model, images(), method="grad-cam", upsample=False))
    with torch.no_grad():
        maps = model.eval().maps(images())
        expected = torch.einsum("tc,nchw->nthw", model.head.weight, maps.relu())
        torch.testing.assert_close(cut, scaled(expected, model(images())), atol=1e-5, rtol=0)
    assert (
        share == pytest.approx(float((maps < 0).double().mean()), abs=1e-3) and 0.2 < share < 0.8
    )  # it ends in convolutions


def test_where_a_relu_ends_the_network_there_is_nothing_to_cut():
    share, kept, cut = negatives(create_model("resnet18", findings=3, minus=1, seed=1), images())
    assert share == 0 and torch.equal(kept, cut) and kept.max() > 0.1


@pytest.mark.parametrize("name", ["mnasnet", "mobilenet_v3"])
def test_findings_are_picked_ordered_and_named(name):
    model, x = create_model(name), images(1)
    picked = cam(model, x, findings=["Edema", "Atelectasis"])
    torch.testing.assert_close(picked, cam(model, x)[:, columns_of(["Edema", "Atelectasis"], 14)])
    assert columns_of("Edema", 14) == [5] and columns_of([3, "No Finding"], 14) == [3, 0]


class Tokens(nn.Module):
    label = "Tokens"

    def maps(self, x):
        return x.flatten(2)

    def logits(self, maps):
        return maps.mean(dim=2)


@pytest.mark.parametrize(
    ("model", "x", "options", "message"),
    [
        ("mnasnet", images(1), {"findings": ["Oedema"]}, "finding 'Oedema' is not one of the model's; nearest: Edema"),
        ("mnasnet", images(1), {"findings": [14]}, r"findings=\[14\]: the model has 14 findings, 0 to 13"),
        ("mnasnet", images(1), {"findings": []}, r"findings=\[\]: the model has 14 findings"),
        ("mnasnet", images(1), {"method": "gradcam"}, "method='gradcam': there is no such map; nearest: grad-cam"),
        ("mnasnet", images(1)[0], {}, r"shape \(3, 64, 64\); cam takes \(N, 3, H, W\)"),
        ("mnasnet", images(1)[:, :1], {}, r"images have shape \(1, 1, 64, 64\); cam takes \(N, 3, H, W\)"),
        ("mnasnet", images(1)[:0], {}, r"images have shape \(0, 3, 64, 64\)"),
        ("mnasnet", images(1).to(torch.uint8), {}, "images are torch.uint8; cam takes floats"),
        ("inception_v3", images(1, 48), {}, "InceptionV3 makes no maps of images of 48 x 48 px: "),
        (
            nn.Linear(3, 3),
            images(1),
            {},
            r"Linear has no maps\(\) and logits\(\): give a model of chexlib.create_model",
        ),
        (Tokens(), images(1), {}, r"Tokens gives features of shape \(1, 3, 4096\), not maps \(N, C, h, w\)"),
        (Curved(), images(1), {"findings": ["Edema"]}, "finding 'Edema': the model's 2 findings have no names"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(model, x, options, message):
    model = create_model(model) if isinstance(model, str) else model
    with pytest.raises(UserError, match=message) as refused:
        cam(model, x, **options)
    assert "\n" not in str(refused.value)
