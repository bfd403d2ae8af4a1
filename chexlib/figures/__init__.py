"""The figures of class activation maps, until notebook 06 draws them itself."""

from chexlib.figures.cams import figure5, methods
from chexlib.figures.localisation import faithfulness, localisation
from chexlib.figures.sanity import sanity
from chexlib.paper.faithful import map_faithfulness
from chexlib.paper.localised import map_scores
from chexlib.paper.map_sanity import map_sanity
from chexlib.paper.maps import cam_grid, method_grid

__all__ = [
    "cam_grid",
    "faithfulness",
    "figure5",
    "localisation",
    "map_faithfulness",
    "map_sanity",
    "map_scores",
    "method_grid",
    "methods",
    "sanity",
]
