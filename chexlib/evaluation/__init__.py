"""What files of predictions are worth against a file of labels, whoever made either."""

from chexlib.evaluation.compare import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
