"""The explorer: every model of a study in one picture, with rank correlations for the models in view.

What its module (explorer.js) computes is Spearman's rho, and its interval over stored replicates and stored draws of
families. It is what `chexlib.stats` computes, and a test compares the two. Its state holds numbers per model and
replicates of AUCs, and never labels, scores of images, or ids.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from chexlib.stats import FEWEST_ARCHITECTURES, FEWEST_FAMILIES, draw_families
from chexpaper.plots import mark_of
from chexpaper.widgets.page import ASSETS, TwoFaced, module

if TYPE_CHECKING:
    from chexlib.results import Results

REPLICATES = 1000  # that a page carries: the first ones, where the results hold more

AXES, SETS = ("top1", "parameters"), ("paper", "whole", "all")


class Explorer(TwoFaced):
    """AUC of every model of a study, against ImageNet top-1 or size, with Spearman's rho for the models in view.

    `results` is what `open_results` gives. Choices may be named, and are linked both ways in JupyterLab: `x` (top1,
    parameters), `measure` (0 the mean, then the tasks), `init` (one of the study's, all, boost), `models` (paper: the
    paper's architectures; whole: every untruncated one; all) and `without` (families out of view). A choice that the
    study does not have raises TraitError. Rho is over the paper's whole architectures, whatever else is in view.
    """

    _esm = module("explorer.js")
    _css = ASSETS / "explorer.css"
    chosen = ("x", "measure", "init", "models", "without")
    x = traitlets.Unicode().tag(sync=True)
    measure = traitlets.Int().tag(sync=True)
    init = traitlets.Unicode().tag(sync=True)
    models = traitlets.Unicode().tag(sync=True)
    without = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, results: Results, **choices: Any):
        state = explorer_state(results)
        super().__init__(state=state, **(first_choice(state) | choices))

    @traitlets.validate("x", "measure", "init", "models")
    def _offered(self, proposal: Any) -> Any:
        name, offered = proposal.trait.name, self.state["options"][proposal.trait.name]
        if proposal.value not in offered:
            raise traitlets.TraitError(f"{name}={proposal.value!r}: this study has {', '.join(map(str, offered))}")
        return proposal.value


def explorer_state(results: Results) -> dict[str, Any]:
    """Everything that the explorer shows, as JSON-ready data.

    Measure 0 is the mean over `results.tasks`, then come these; where there is one, it is all. A model's `auc` and
    `boost` are a value with its interval for each of K measures. `replicates` (K, R, P) are of the P models that enter
    rho: `draws` is a model's place in them, `pair` that of the same one from random weights. `drawn` says how often
    each replicate draws each of so many families.
    """
    measures = _measures(results)
    rows, ranked = _rows(results, measures)
    draws = np.stack([replicates[:REPLICATES, ranked] for *_, replicates in measures])  # (K, R, P)
    families = len({rows[m]["family"] for m in ranked})
    return {
        "caption": results.caption,
        "over": f"families, {results.over}",
        "least": {"models": FEWEST_ARCHITECTURES, "families": FEWEST_FAMILIES},
        "measures": [{"name": name, "few": results.few(tasks)} for name, tasks, *_ in measures],
        "options": _options(rows, len(measures)),
        "families": [{"name": name, **mark_of(name)._asdict()} for name in dict.fromkeys(results.models["family"])],
        "models": rows,
        "replicates": encode(draws),
        "drawn": {str(n): _drawn(n, results.n_boot, results.seed) for n in range(FEWEST_FAMILIES, families + 1)},
    }


def _measures(results: Results) -> list[tuple[str, tuple[str, ...], NDArray, NDArray]]:
    """Each measure's name, tasks, AUCs (M,) and their replicates (R, M)."""
    tasks = results.tasks
    mean = f"mean of {len(tasks)} tasks", tasks, results.models["auc"].to_numpy(), results.replicates.to_numpy()
    places = results.task_auc.columns.get_indexer(tasks)
    alone = [
        (task, (task,), results.task_auc[task].to_numpy(), results.task_replicates[..., place])
        for task, place in zip(tasks, places, strict=True)
    ]
    return [mean, *alone] if len(tasks) > 1 else alone


def _rows(results: Results, measures: list) -> tuple[list[dict[str, Any]], list[int]]:
    """One dict a model, and which of them enter rho: the paper's architectures, untruncated."""
    models = results.models.reset_index(drop=True)
    partner = {models["label"][m]: m for m in models.index if models["init"][m] == "random"}
    ranked = [m for m in models.index if models["in_paper"][m] and not models["minus"][m]]
    place = {m: p for p, m in enumerate(ranked)}
    rows = []
    for m, row in models.iterrows():
        pair = partner.get(row["label"]) if row["init"] == "imagenet" else None
        facts = {
            "name": row["label"],
            "init": row["init"],
            "family": row["family"],
            "minus": int(row["minus"]),
            "in_paper": m in place,
            "parameters": int(row["parameters"]),
            "seeds": int(row["seeds"]),
            "top1": _plain(row["top1"]),
        }
        auc, boost = _estimates(results, measures, m), pair is not None and _estimates(results, measures, m, pair)
        rows.append(facts | {"auc": auc, "boost": boost or None, "draws": place.get(m), "pair": place.get(pair)})
    return rows, ranked


def _estimates(results: Results, measures: list, m: int, less: int | None = None) -> list[list[float | None]]:
    """For each measure a model's AUC, or its difference to another's, and the ends of the interval."""
    found = []
    for _, tasks, auc, draws in measures:
        value = auc[m] if less is None else auc[m] - auc[less]
        estimate = results.estimate(value, draws[:, m] if less is None else draws[:, m] - draws[:, less], tasks)
        found.append([_plain(number) for number in (estimate.value, estimate.low, estimate.high)])
    return found


def _plain(value: float) -> float | None:
    """A JSON number of six digits; None for NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 6)


def _options(rows: list[dict[str, Any]], measures: int) -> dict[str, list]:
    """What there is to choose: no axis, set or init that this study lacks, and no two sets of the same models."""
    inits = sorted({row["init"] for row in rows}, key=lambda init: (init != "random", init != "imagenet", init))
    several = ["all"] if len(inits) > 1 else []
    boost = ["boost"] if any(row["boost"] for row in rows) else []
    sizes = [sum(row["in_paper"] for row in rows), sum(not row["minus"] for row in rows), len(rows)]
    return {
        "x": [axis for axis in AXES if any(row[axis] is not None for row in rows)],
        "measure": list(range(measures)),
        "init": inits + several + boost,
        "models": [name for i, name in enumerate(SETS) if sizes[i] > (sizes[i - 1] if i else 0)],
    }


def _drawn(families: int, n_boot: int, seed: int) -> str:
    """How often each of so many families, in the order of their names, is drawn: (R, families) bytes in base64."""
    names = [f"{place:03d}" for place in range(families)]
    return base64.b64encode(draw_families(names, n_boot, seed)[:REPLICATES].astype(np.uint8).tobytes()).decode("ascii")


def encode(replicates: NDArray) -> dict[str, Any]:
    """AUCs (K, R, P) as 32-bit numbers in base64."""
    data = base64.b64encode(replicates.astype("<f4").tobytes()).decode("ascii")
    return {"shape": list(replicates.shape), "data": data}


def first_choice(state: Mapping[str, Any]) -> dict[str, Any]:
    """The paper's architectures from an init that has a rank correlation; where there is none, everything by size."""
    options, least = state["options"], state["least"]
    for init in options["init"]:
        families = [row["family"] for row in state["models"] if row["init"] == init and row["in_paper"]]
        if len(families) >= least["models"] and len(set(families)) >= least["families"]:
            return {"x": "top1", "measure": 0, "init": init, "models": "paper"}
    init = "all" if "all" in options["init"] else options["init"][0]
    return {"x": "parameters", "measure": 0, "init": init, "models": options["models"][-1]}
