"""What a model looks at: class activation maps. What it makes of images, and how alike two models' features are."""

from chexlib.explain.cam import grad_cam
from chexlib.explain.features import stage_features
from chexlib.explain.similarity import Pair

__all__ = ["Pair", "grad_cam", "stage_features"]
