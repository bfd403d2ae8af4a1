"""The explorer: every model of a study in one picture, with rank correlations for the models in view.

What its module (explorer.js) computes (a difference, Spearman's rho, its interval over stored replicates) is what
`chexlib.stats` computes, and a test compares the two. Its state holds numbers per model and replicates of its AUC, and
never labels, scores of images, or ids.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from chexlib.stats import percentile_interval
from chexpaper.plots import mark_of
from chexpaper.widgets.page import ASSETS, TwoFaced

if TYPE_CHECKING:
    from chexlib.results import Results

REPLICATES = 300  # that a page carries, of the 1,000 or so that the results hold: the first ones
FEWEST = 4  # models below which no rank correlation is shown (explorer.js has the same)
STEPS, MISSING = 65534, 65535

INITS, SETS, AXES = ("random", "imagenet", "both", "boost"), ("paper", "whole", "all"), ("top1", "parameters")


class Explorer(TwoFaced):
    """AUC of every model of a study, against ImageNet top-1 or size, with Spearman's rho for the models in view.

    `results` is what `open_results` gives. Choices may be named, and are linked both ways in JupyterLab: `x` (top1,
    parameters), `measure` (0 the mean, then the tasks), `init` (random, imagenet, both, boost), `models` (paper: the
    paper's architectures; whole: every untruncated one; all) and `family` (highlighted; "" for none).
    """

    _esm = ASSETS / "explorer.js"
    _css = ASSETS / "explorer.css"
    chosen = ("x", "measure", "init", "models", "family")
    x = traitlets.Enum(AXES, "top1").tag(sync=True)
    measure = traitlets.Int(0, min=0).tag(sync=True)
    init = traitlets.Enum(INITS, "random").tag(sync=True)
    models = traitlets.Enum(SETS, "paper").tag(sync=True)
    family = traitlets.Unicode("").tag(sync=True)

    def __init__(self, results: Results, **choices: Any):
        state = explorer_state(results)
        super().__init__(state=state, **(_first_choice(state) | choices))


def explorer_state(results: Results) -> dict[str, Any]:
    """Everything that the explorer shows, as JSON-ready data.

    Uses `results.models`, `.replicates` (R, M), `.task_auc` (M, T), `.task_replicates` (R, M, T), `.tasks`, `.over` and
    `.caption`. Measure 0 is the mean over `tasks`, then come these. A truncated model has no ImageNet top-1.
    """
    models, tasks = results.models, list(results.tasks)
    places = results.task_auc.columns.get_indexer(tasks)
    mean = np.asarray(results.replicates, dtype=float)[..., None]
    replicates = np.concatenate([mean, results.task_replicates[..., places]], axis=2)  # (R, M, 1+T)
    low, high = percentile_interval(replicates)  # (M, 1+T) each
    auc = np.column_stack([models["auc"], results.task_auc[tasks]])  # (M, 1+T)
    where = {(row.arch, row.minus, row.init): m for m, row in enumerate(models.itertuples())}
    rows = [
        {
            "name": row.label,
            "init": row.init,
            "family": row.family,
            "minus": int(row.minus),
            "in_paper": bool(row.in_paper) and not row.minus,
            "parameters": int(row.parameters),
            "seeds": int(row.seeds),
            "top1": None if row.minus else _plain(row.top1),
            "pair": where.get((row.arch, row.minus, "random")),
            "auc": [_plain(value) for value in auc[m]],
            "low": [_plain(value) for value in low[m]],
            "high": [_plain(value) for value in high[m]],
        }
        for m, row in enumerate(models.itertuples())
    ]
    families = [{"name": name, **mark_of(name)._asdict()} for name in dict.fromkeys(models["family"])]
    return {
        "caption": results.caption,
        "over": results.over,
        "measures": [f"mean of {len(tasks)} tasks" if len(tasks) > 1 else "mean", *tasks],
        "families": families,
        "models": rows,
        "replicates": encode(np.moveaxis(replicates[:REPLICATES], 2, 0)),
    }


def _plain(value: float) -> float | None:
    """A JSON number of six digits; None for NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 6)


def encode(replicates: NDArray) -> dict[str, Any]:
    """AUCs (K, R, M) as 16-bit steps of [-0.5, 1.5] in base64 (a seed drawn anew can lead out of [0, 1]); NaN too."""
    missing = np.isnan(replicates)
    steps = np.rint((np.where(missing, 0.0, replicates).clip(-0.5, 1.5) + 0.5) / 2 * STEPS)
    codes = np.where(missing, MISSING, steps).astype("<u2")
    return {"shape": list(replicates.shape), "data": base64.b64encode(codes.tobytes()).decode("ascii")}


def _first_choice(state: Mapping[str, Any]) -> dict[str, str]:
    """The paper's architectures where the study has enough of them, otherwise every untruncated one, otherwise all."""
    for models in ("paper", "whole"):
        for init in ("random", "imagenet"):
            shown = [m for m in state["models"] if m["init"] == init and m["top1"] is not None]  # so not truncated
            if sum(m["in_paper"] or models == "whole" for m in shown) >= FEWEST:
                return {"init": init, "models": models}
    return {"init": "both", "models": "all", "x": "parameters"}
