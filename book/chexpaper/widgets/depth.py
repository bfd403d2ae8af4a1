"""The depth slider: up to which stage a network begins with pretrained weights, how it learns, and what it keeps.

Its state holds means over seeds: validation AUC after so many images, and how alike start and end are, stage by stage.
The module (depth.js) draws them and computes nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import traitlets

from chexlib.models.inits import reach
from chexpaper.widgets.page import ASSETS, TwoFaced, module

ENDS = {"random": "no pretrained weights", "imagenet": "all stages pretrained"}


class TransfusionDepth(TwoFaced):
    """Learning curves, and how much of each stage is left in the end, by the depth of pretrained weights.

    `depth` is a place among the state's depths, from random weights to ImageNet's.
    """

    _esm = module("depth.js")
    _css = ASSETS / "depth.css"
    chosen = ("depth",)
    depth = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(self, network: str, curves: pd.DataFrame, kept: pd.DataFrame, caption: str, depth: int = 0):
        super().__init__(state=depth_state(network, curves, kept, caption), depth=depth)

    @traitlets.validate("depth")
    def _offered(self, proposal: Any) -> int:
        if proposal.value >= (n := len(self.state["depths"])):
            raise traitlets.TraitError(f"depth={proposal.value}: there are {n} depths, from 0")
        return proposal.value


def depth_state(network: str, curves: pd.DataFrame, kept: pd.DataFrame, caption: str) -> dict[str, Any]:
    """Everything that the slider shows, as JSON-ready data.

    curves: of one network, columns init, images, auc (chexlib.results.convergence). kept: how alike starts and ends
    are, columns label, init, place (0 for conv1), stage, value; what was not compared is left out.
    """
    learned = curves.groupby(["init", "images"])["auc"].mean()
    kept = kept[kept["label"] == network]
    alike = kept.groupby(["init", "stage"])["value"].mean()
    stages = list(kept.sort_values("place")["stage"].unique())
    reused = [init for init in curves["init"].unique() if init in ENDS or reach(init)]
    depths = [
        {
            "name": ENDS.get(init) or f"pretrained up to {init.partition(':')[2]}",
            "images": learned[init].index.tolist(),
            "auc": learned[init].round(4).tolist(),
            "kept": [round(float(alike[init, stage]), 4) if (init, stage) in alike else None for stage in stages],
        }
        for init in sorted(reused, key=reach)
    ]
    return {"caption": f"{network}. {caption}", "stages": stages, "depths": depths}
