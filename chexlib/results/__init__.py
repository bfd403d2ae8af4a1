"""A study's finished runs as tables, replicates and estimates."""

from chexlib.results.estimate import AUC_MARGIN, Estimate, interval_text, number
from chexlib.results.results import RARE, Results, open_results

__all__ = ["AUC_MARGIN", "RARE", "Estimate", "Results", "interval_text", "number", "open_results"]
