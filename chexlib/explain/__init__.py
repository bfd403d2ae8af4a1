"""What a model looks at: class activation maps."""

from chexlib.explain.cam import grad_cam

__all__ = ["grad_cam"]
