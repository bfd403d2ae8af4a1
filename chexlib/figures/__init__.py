"""The figures of the paper and of its data, for the study at hand (matplotlib; torch only when maps are made).

Each takes a Results or a Dataset and gives a Figure that shows itself in a notebook, or a Note that says why not.
"""

from chexlib.figures.calibration import reliability
from chexlib.figures.cams import figure5, methods
from chexlib.figures.claims import claim_table, finding_cards
from chexlib.figures.data import cooccurrence, flow, overview, people, prevalence
from chexlib.figures.groups import by_group
from chexlib.figures.images import contact_sheet
from chexlib.figures.localisation import faithfulness, localisation
from chexlib.figures.models import auc_by_model, families, learning_curves, seeds, truncations
from chexlib.figures.power import attenuated, detectable
from chexlib.figures.runs import run_cards, run_table
from chexlib.figures.sanity import sanity
from chexlib.figures.scatter import figure2, figure3, figure4
from chexlib.figures.shared_errors import misread_by
from chexlib.figures.summary import figure1
from chexlib.paper.faithful import map_faithfulness
from chexlib.paper.localised import map_scores
from chexlib.paper.map_sanity import map_sanity
from chexlib.paper.maps import cam_grid, method_grid

__all__ = [
    "attenuated",
    "auc_by_model",
    "by_group",
    "cam_grid",
    "claim_table",
    "contact_sheet",
    "cooccurrence",
    "detectable",
    "faithfulness",
    "families",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "finding_cards",
    "flow",
    "learning_curves",
    "localisation",
    "map_faithfulness",
    "map_sanity",
    "map_scores",
    "method_grid",
    "methods",
    "misread_by",
    "overview",
    "people",
    "prevalence",
    "reliability",
    "run_cards",
    "run_table",
    "sanity",
    "seeds",
    "truncations",
]
