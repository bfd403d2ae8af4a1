"""The figures of the paper and of its data, for the study at hand (matplotlib; torch only when maps are made).

Each takes a Results or a Dataset and gives a Figure that shows itself in a notebook, or a Note that says why not.
"""

from chexlib.figures.cams import figure5, localisation
from chexlib.figures.data import cooccurrence, flow, overview, people, prevalence
from chexlib.figures.images import contact_sheet
from chexlib.figures.maps import cam_grid, map_scores
from chexlib.figures.models import auc_by_model, families, learning_curves, seeds, truncations
from chexlib.figures.runs import run_cards, run_table
from chexlib.figures.scatter import figure2, figure3, figure4

__all__ = [
    "auc_by_model",
    "cam_grid",
    "contact_sheet",
    "cooccurrence",
    "families",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "flow",
    "learning_curves",
    "localisation",
    "map_scores",
    "overview",
    "people",
    "prevalence",
    "run_cards",
    "run_table",
    "seeds",
    "truncations",
]
