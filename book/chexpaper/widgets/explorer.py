"""The explorer: every model of a study in one picture, with rank correlations for the models in view.

What its module (explorer.js) computes (a difference, Spearman's rho, its interval over stored replicates) has a twin
here, and a test compares the two. Its state holds numbers per model and replicates of its AUC, and never labels,
scores of images, or ids.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from chexlib.errors import UserError
from chexlib.figures import style
from chexlib.stats import percentile_interval, spearman, spearman_interval
from chexpaper.widgets.page import ASSETS, TwoFaced

if TYPE_CHECKING:
    from chexlib.paper.results import Results

REPLICATES = 300
"""Replicates that a page carries, of the 1,000 or so that the results hold: the first ones."""

FEWEST = 4
"""Models below which no rank correlation is shown (explorer.js has the same)."""

STEPS, MISSING = 65534, 65535

INITS, SETS, AXES = ("random", "imagenet", "both", "boost"), ("paper", "whole", "all"), ("top1", "parameters")


class Explorer(TwoFaced):
    """AUC of every model of a study, against ImageNet top-1 or size, with Spearman's rho for the models in view.

    `results` is what `chexlib.open_results` gives. Choices may be named, and are linked both ways in JupyterLab:
    `x` (top1, parameters), `measure` (0 the mean, then the tasks), `init` (random, imagenet, both, boost), `models`
    (paper: the paper's architectures; whole: every untruncated one; all) and `family` (highlighted; "" for none).
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

    def summary(self) -> list[dict[str, Any]]:
        """The correlations that the widget shows now, as `summary(state, choice)` computes them."""
        return summary(self.state, self.choice)


# ---- state: results to plain data ----------------------------------------------------------------------------


def explorer_state(results: Results) -> dict[str, Any]:
    """Everything that the explorer shows, as JSON-ready data.

    Uses `results.models`, `.replicates` (R, M), `.tasks`, `.caption` and, where there, `.task_replicates` (R, M, T);
    without these a single task has no intervals. A truncated model has no ImageNet top-1. Raises UserError where no
    run is finished.
    """
    models = results.models
    if models.empty:
        name = results.name
        raise UserError(f"study {name!r}: no finished run to explore; run `chexlib study run {name}` first")
    tasks = list(results.tasks)
    by_task = getattr(results, "task_replicates", None)
    by_task = [] if by_task is None else list(np.moveaxis(by_task, 2, 0))  # T of (R, M)
    unknown = [(np.full(len(models), np.nan),) * 2] * (len(tasks) - len(by_task))
    bounds = [(models["low"], models["high"]), *map(percentile_interval, by_task), *unknown]
    low, high = (np.array([bound[side] for bound in bounds], dtype=float) for side in (0, 1))  # (1+T, M) each
    auc = np.array([models["auc"], *(models[f"auc:{task}"] for task in tasks)], dtype=float)  # (1+T, M)
    replicates = np.array([results.replicates, *by_task], dtype=float)[:, :REPLICATES]  # (1 or 1+T, R, M)
    where = {(row.arch, row.minus, row.init): m for m, row in enumerate(models.itertuples())}
    rows = [
        {
            "name": str(row.label).split(" · ")[0],
            "init": row.init,
            "family": row.family,
            "minus": int(row.minus),
            "in_paper": bool(row.in_paper) and not row.minus,
            "parameters": int(row.parameters),
            "seeds": int(row.seeds) if np.isscalar(row.seeds) else len(row.seeds),
            "top1": None if row.minus else _plain(row.top1),
            "pair": where.get((row.arch, row.minus, "random")),
            "auc": _plains(auc[:, m]),
            "low": _plains(low[:, m]),
            "high": _plains(high[:, m]),
        }
        for m, row in enumerate(models.itertuples())
    ]
    marks = {family: style.family_mark(family) for family in dict.fromkeys(models["family"])}
    return {
        "caption": str(results.caption),
        "measures": [f"mean of {len(tasks)} tasks" if len(tasks) > 1 else "mean", *tasks],
        "families": [{"name": family, "colour": mark.colour, "marker": mark.marker} for family, mark in marks.items()],
        "models": rows,
        "replicates": encode(replicates),
    }


def _plain(value: float) -> float | None:
    """A JSON number of six digits; None for NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 6)


def _number(value: float | None) -> float:
    """The way back: NaN for None."""
    return np.nan if value is None else value


def _plains(values: NDArray) -> list[float | None]:
    return [_plain(value) for value in values]


def encode(replicates: NDArray) -> dict[str, Any]:
    """AUCs (K, R, M) in [0, 1] as 16-bit steps in base64; NaN has a code of its own."""
    missing = np.isnan(replicates)
    codes = np.where(missing, MISSING, np.rint(np.where(missing, 0.0, replicates) * STEPS)).astype("<u2")
    return {"shape": list(replicates.shape), "data": base64.b64encode(codes.tobytes()).decode("ascii")}


def decode(stored: Mapping[str, Any]) -> NDArray:
    """What `encode` stored, within half a step (8e-6): (K, R, M)."""
    codes = np.frombuffer(base64.b64decode(stored["data"]), dtype="<u2").reshape(stored["shape"]).astype(float)
    return np.where(codes == MISSING, np.nan, codes / STEPS)


def _first_choice(state: Mapping[str, Any]) -> dict[str, str]:
    """The paper's architectures where the study has enough of them, otherwise every untruncated one, otherwise all."""
    for models in SETS:
        for init in ("random", "imagenet"):
            choice = {"x": "top1", "measure": 0, "init": init, "models": models}
            if len(visible(state, choice)) >= FEWEST:
                return {"init": init, "models": models}
    return {"init": "both", "models": "all", "x": "parameters"}


# ---- statistics, twin of explorer.js -------------------------------------------------------------------------


def visible(state: Mapping[str, Any], choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models in view: rows of the state with a place (x, y), an interval (low, high) and `draws` (R,) or None."""
    replicates, k = decode(state["replicates"]), choice["measure"]
    init = "imagenet" if choice["init"] == "boost" else choice["init"]
    points = []
    for m, model in enumerate(state["models"]):
        if (choice["models"] != "all" and model["minus"]) or (choice["models"] == "paper" and not model["in_paper"]):
            continue
        if init not in ("both", model["init"]) or (choice["init"] == "boost" and model["pair"] is None):
            continue
        x, y, low, high = map(_number, (model[choice["x"]], model["auc"][k], model["low"][k], model["high"][k]))
        draws = replicates[k, :, m] if k < len(replicates) else None
        if choice["init"] == "boost":
            y -= _number(state["models"][model["pair"]]["auc"][k])
            draws = None if draws is None else draws - replicates[k, :, model["pair"]]
            low, high = (np.nan, np.nan) if draws is None else map(float, percentile_interval(draws))
        if np.isfinite(x) and np.isfinite(y):
            points.append({**model, "x": x, "y": y, "low": low, "high": high, "draws": draws})
    return points


def summary(state: Mapping[str, Any], choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Spearman's rho of the models in view, one row an initialisation: group, rho, low, high and n.

    The interval draws patients anew; the choice of architectures is not in it.
    """
    points = visible(state, choice)
    if choice["init"] != "both":
        return [{"group": choice["init"], **_correlation(points)}]
    return [
        {"group": group, **_correlation([point for point in points if point["init"] == group])}
        for group in ("random", "imagenet")
    ]


def _correlation(points: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"rho": np.nan, "low": np.nan, "high": np.nan, "n": len(points)}
    if len(points) < FEWEST:
        return row
    x = [point["x"] for point in points]
    row["rho"] = spearman(x, [point["y"] for point in points]).rho
    if all(point["draws"] is not None for point in points):
        draws = np.stack([point["draws"] for point in points], axis=1)  # (R, M)
        draws = draws[~np.isnan(draws).any(axis=1)]
        if len(draws):
            row["low"], row["high"] = spearman_interval(x, draws, draw_architectures=False)
    return row
