"""A study's finished runs as tables, replicates and estimates."""

from chexlib.results.estimate import AUC_MARGIN, Estimate, interval_text, number
from chexlib.results.results import Results, open_results

__all__ = ["AUC_MARGIN", "Estimate", "Results", "interval_text", "number", "open_results"]
