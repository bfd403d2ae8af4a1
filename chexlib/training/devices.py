"""What a device computes safely with: the settings that `auto` in a spec becomes where nobody has measured."""

from __future__ import annotations

import torch

from chexlib.runs.spec import SETTINGS


def safe_settings() -> dict[str, str]:
    """The settings of this machine's device: bf16 on GPUs that compute in it, else fp32."""
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return SETTINGS | {"precision": "bf16"}
    return dict(SETTINGS)
