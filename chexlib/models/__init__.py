"""ImageNet architectures for chest X-rays: the table (`zoo`), their truncation, their initial weights.

`zoo` and `truncate` are plain data and import neither torch nor timm for the networks of their tables; `create_model`
(`build`, `inits`) does when first used, and so does what is asked of any other network of timm (`timm_rows`, `stages`).
"""

from typing import TYPE_CHECKING, Any

from chexlib.models.truncate import depth
from chexlib.models.zoo import ARCHITECTURES, Architecture, architectures

if TYPE_CHECKING:
    from chexlib.models.build import Classifier, create_model

__all__ = ["ARCHITECTURES", "Architecture", "Classifier", "architectures", "create_model", "depth"]


def __getattr__(name: str) -> Any:
    if name in ("Classifier", "create_model"):
        from chexlib.models import build

        return getattr(build, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
