"""Class activation maps of 14 findings on 32 images, DenseNet121 and MobileNetV3, against three peers.

pytorch-grad-cam runs the whole network forward and backward for each finding, captum forward for each finding, torchcam
forward once and back to the maps for each finding. Here one forward pass serves all findings of DenseNet121, whose maps
are pooled and then go through one linear layer; for MobileNetV3 one batched backward pass follows it, to the maps.
Where all of it would take minutes, a peer is given some of the findings, and its time is extrapolated.

What is compared are Grad-CAM and HiResCAM: the paper's weights have no peer, and of Grad-CAM++ the peers give something
else (pytorch-grad-cam adds 1e-6 to a denominator that is about as small, torchcam leaves its division out). Maps are at
their native resolution: the peers' are taken before they are normalised and upsampled, which they are spared, and are
then divided by their maxima and multiplied by the predicted probability, as `upsample=False` gives them here.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.compare import compare
from chexlib.explain import cam as ours
from chexlib.models import create_model
from chexlib.models.networks import Classifier

FINDINGS, IMAGES, SIZE = 14, 32, 224
PART = 2
"""Findings that a peer is given where it runs the whole of DenseNet121 for each."""


def main() -> None:
    images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)  # faster for all four
    for name, all_in_time in (("densenet121", False), ("mobilenet_v3", True)):
        model = create_model(name, findings=FINDINGS).eval()
        part = FINDINGS if all_in_time else PART
        against(model, images, "grad-cam", "pytorch-grad-cam", by_pytorch_grad_cam("GradCAM"), part)
        against(model, images, "hirescam", "pytorch-grad-cam", by_pytorch_grad_cam("HiResCAM"), part)
        against(model, images, "grad-cam", "torchcam", by_torchcam, FINDINGS)
        against(model, images, "grad-cam", "captum", by_captum, part)


def against(
    model: Classifier, images: Tensor, method: str, peer_name: str, peer: Callable[..., Tensor], part: int
) -> None:
    """One comparison, with the peer given the first `part` of the findings."""
    with torch.no_grad():
        logits = model(images)[:, :part]
    compare(
        f"{method}, {model.label}",
        lambda: ours.cam(model, images, method=method, upsample=False),
        lambda: peer(model, images, range(part)),
        peer_name=peer_name,
        share=part / FINDINGS,
        peer_repeats=5 if peer_name == "torchcam" else 1,
        agree=lambda found, native: float((found[:, :part] - ours.scaled(native, logits)).abs().max()),
        work=f"{FINDINGS} findings, {len(images)} images of {SIZE} px",
    )


def last_maps(model: Classifier) -> nn.Module:
    """The module whose output the pooling sees: what peers hook."""
    return model.trunk.features if hasattr(model.trunk, "features") else model.trunk.blocks


def by_pytorch_grad_cam(method: str) -> Callable[..., Tensor]:
    """The peer's method by its class's name, (N, T, h, w): one call a finding."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Native(getattr(pytorch_grad_cam, method)):
        """The same, without what it does to a map once it has it."""

        def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
            [maps], [gradients] = self.activations_and_grads.activations, self.activations_and_grads.gradients
            layer = self.target_layers[0]
            return self.get_cam_image(input_tensor, layer, targets, maps.numpy(), gradients.numpy(), eigen_smooth)

        def aggregate_multi_layers(self, cam_per_target_layer):
            return cam_per_target_layer

    def maps(model: Classifier, images: Tensor, findings: range) -> Tensor:
        with Native(model=model, target_layers=[last_maps(model)]) as peer:
            each = [peer(images, [ClassifierOutputTarget(t)] * len(images)) for t in findings]
        model.zero_grad()
        return torch.stack([torch.as_tensor(one) for one in each], dim=1)

    return maps


def by_torchcam(model: Classifier, images: Tensor, findings: range) -> Tensor:
    """torchcam's Grad-CAM (N, T, h, w): one forward pass, and one back to the maps for each finding."""
    from torchcam.methods import GradCAM

    with GradCAM(model, target_layer=last_maps(model)) as peer:
        scores = model(images)
        each = [peer(t, scores, normalized=False, retain_graph=t != findings[-1])[0] for t in findings]
    return torch.stack(each, dim=1)


def by_captum(model: Classifier, images: Tensor, findings: range) -> Tensor:
    """captum's Grad-CAM (N, T, h, w): a forward pass, and one back to the maps, for each finding."""
    from captum.attr import LayerGradCam

    peer = LayerGradCam(model, last_maps(model))
    return torch.cat([peer.attribute(images, target=t).detach() for t in findings], dim=1)
