"""From a name to its row, and to a classifier: a trunk, truncated, with initial weights and a fresh linear head.

All randomness comes from `seed`: the trunk, the head and redrawn weights each have their own stream, so the head is
the same whatever the trunk was initialised from, and truncation leaves the weights of what remains as they were. The
global random state is left as it was found. torch and timm are imported when a network, or a row of timm's, is asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models import inits
from chexlib.models.truncate import check_minus, truncate
from chexlib.models.zoo import ARCHITECTURES, TRANSFUSION, Architecture, check_size

if TYPE_CHECKING:
    from chexlib.models.networks import Classifier


def architecture(name: str) -> Architecture:
    """The row called `name` of the table or of Transfusion's, else one for timm's network of that name.

    Raises `UserError` where neither knows the name, with the nearest ones, and for a network of timm that has no maps
    (N, C, h, w) or takes one size of images only.
    """
    if row := ARCHITECTURES.get(name) or TRANSFUSION.get(name):
        return row
    from chexlib.models.any_timm import timm_row

    return timm_row(name)


def check_model(name: str, size: int, init: str = "random", minus: int = 0, norm: bool = False) -> None:
    """Refuse (`UserError`), before data are opened, a model that cannot be built or takes no images of `size` px."""
    row = architecture(name)
    check_size(row, size)
    check_minus(row, minus, norm)
    inits.check(init, row, minus)


def create_model(
    name: str,
    findings: int = 14,
    init: str = "random",
    minus: int = 0,
    seed: int = 0,
    classes: int = 1,
    norm: bool = False,
    further: int = 0,
) -> Classifier:
    """A chest X-ray classifier, in training mode, in float32, on the CPU.

    `name` is a row of `chexlib.architectures()` or any of timm's convolutional networks, with the tag of its checkpoint
    (`convnext_tiny.fb_in1k`) or without (timm's default one); `findings` the number of logits T; `init` as in
    `chexlib.models.inits`; `minus` the number of final blocks or stages dropped (CheXtransfer, section 3.2); `seed`
    determines every random weight; with `classes=3` the head learns absent, present and uncertain apart (see `Head`);
    with `norm` a new batch norm and ReLU follow what a truncation leaves. A DenseNet's blocks end without either, and
    their maps hold negative values; the paper's printed sizes fit both readings. The head has `further` outputs beside
    the findings', of which there may then be none; `model(x, further=True)` gives both.
    Raises `UserError` for an unknown name or init, a network of timm that takes one size of images or makes no maps, a
    `minus` or a stage that the architecture does not have, or weights that cannot be reached.
    """
    if classes not in (1, 3):
        raise UserError(f"classes={classes}: a finding has 1 output, or 3 for absent, present and uncertain")
    if not isinstance(findings, int) or findings < (0 if further else 1):
        raise UserError(f"findings={findings}: a model needs at least 1")
    row = architecture(name)
    check_minus(row, minus, norm)
    inits.check(init, row, minus)
    from chexlib.models.networks import Classifier, seeded, streams, untrained_trunk

    trunk_seed, head_seed, init_seed = streams(seed)
    with seeded(trunk_seed):
        trunk = untrained_trunk(row)
    channels = truncate(trunk, row, minus)
    source = inits.initialise(trunk, row, init, init_seed)
    with seeded(head_seed):
        model = Classifier(trunk, channels, findings, row, minus, classes, norm, further)
    model.weights_source = source
    if inits.parse(init)[0].pretrained:
        model.mean, model.std = row.mean, row.std
    return model
