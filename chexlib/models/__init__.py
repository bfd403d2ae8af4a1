"""ImageNet architectures for chest X-rays: the table (`zoo`), their networks, truncation, and initial weights.

Importing this imports neither torch nor timm, and naming, checking and counting the networks of the tables needs
neither. Rows are passed, not names: `build` alone turns a name into a row, and into a network.
"""

from chexlib.models.build import architecture, create_model
from chexlib.models.zoo import ARCHITECTURES, Architecture, architectures

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "architectures", "create_model"]
