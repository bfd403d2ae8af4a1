"""The explorer: its state, its statistics (JavaScript's are the library's), and its two faces."""

import base64
import json
from itertools import product

import numpy as np
import pytest

from chexlib.stats import percentile_interval, rank_correlations, spearman
from chexpaper.widgets import Explorer
from chexpaper.widgets.explorer import AXES, FEWEST, INITS, MISSING, REPLICATES, SETS, STEPS, encode, explorer_state
from chexpaper.widgets.page import ASSETS, page_html

CHOICES = [
    {"x": x, "measure": measure, "init": init, "models": models, "family": ""}
    for x, measure, init, models in product(AXES, (0, 2), INITS, SETS)
]

RUN = """async ([module, state, choices]) => {
  const url = URL.createObjectURL(new Blob([module], {type: "text/javascript"}));
  const { summary, visible, decode } = await import(url);
  const plain = (value) => Number.isNaN(value) ? null : value;
  const stored = decode(state.replicates);
  return choices.map((choice) => ({
    rows: summary(state, stored, choice).map((r) => [r.group, r.n, plain(r.rho), plain(r.low), plain(r.high)]),
    points: visible(state, stored, choice).map((p) => [p.m, p.x, p.y, plain(p.low), plain(p.high)]) }));
}"""


def decode(stored) -> np.ndarray:
    """What `encode` stored: (K, R, M)."""
    codes = np.frombuffer(base64.b64decode(stored["data"]), dtype="<u2").reshape(stored["shape"]).astype(float)
    return np.where(codes == MISSING, np.nan, 2 * codes / STEPS - 0.5)


def expected(results, draws, choice) -> tuple[list, list]:
    """What the page must show of a choice, by the results' tables and `chexlib.stats`: (rows, points)."""
    models, measure = results.models.reset_index(drop=True), choice["measure"]
    models["y"] = results.task_auc[results.tasks[measure - 1]].to_numpy() if measure else models["auc"]
    y, draws = models["y"].to_numpy(), draws[measure]  # (M,) and (R, M)
    if choice["init"] == "boost":
        pairs = {(row.arch, row.minus): m for m, row in enumerate(models.itertuples()) if row.init == "random"}
        pair = [pairs[row.arch, row.minus] for row in models.itertuples()]
        y, draws = y - y[pair], draws - draws[:, pair]
    low, high = percentile_interval(draws)
    kept = models[choice["x"]].notna() & ((models["minus"] == 0) | (choice["models"] == "all"))
    kept &= models["in_paper"].astype(bool) | (choice["models"] != "paper")
    groups = {"both": ["random", "imagenet"], "boost": ["imagenet"]}.get(choice["init"], [choice["init"]])
    rows = []
    for group in groups:
        at = np.flatnonzero(kept & (models["init"] == group))
        x, row = models[choice["x"]].to_numpy(dtype=float)[at], [None] * 3
        if len(at) >= FEWEST:
            known = draws[:, at][~np.isnan(draws[:, at]).any(axis=1)]  # (R, M)
            rhos = rank_correlations(np.broadcast_to(x, known.shape), known)
            row = [spearman(x, y[at]).rho, *percentile_interval(rhos)]
        rows.append([group if len(groups) > 1 else choice["init"], len(at), *row])
    shown = np.flatnonzero(kept & models["init"].isin(groups))
    return rows, [[m, models[choice["x"]][m], y[m], low[m], high[m]] for m in shown]


def close(javascript: list, python: list, tolerance: float) -> bool:
    """Equal words, and numbers as equal as six digits let them be; null stands for NaN."""
    left, right = ([value for row in rows for value in row] for rows in (javascript, python))
    same = [a == b if isinstance(b, str) or b is None else abs(a - b) <= tolerance for a, b in zip(left, right)]
    return len(left) == len(right) and all(same)


def test_what_a_page_computes_is_what_the_library_computes(browser, made_up):
    state, page = explorer_state(made_up), browser.new_page()
    found = page.evaluate(RUN, [(ASSETS / "explorer.js").read_text(), state, CHOICES])
    page.close()
    draws, filled = decode(state["replicates"]), 0
    for choice, answer in zip(CHOICES, found, strict=True):
        rows, points = expected(made_up, draws, choice)
        filled += rows[0][2] is not None
        assert close(answer["rows"], rows, 1e-9), choice
        assert close(answer["points"], points, 2e-5 if choice["init"] != "boost" else 2e-6), choice
    assert filled > len(CHOICES) / 2


def test_replicates_survive_storage_within_half_a_step():
    given = np.random.default_rng(0).uniform(size=(2, 7, 5))
    given[0, 1, 2], given[1, 0, 0], given[1, 0, 1] = np.nan, -0.1, 1.1
    np.testing.assert_allclose(decode(encode(given)), given, rtol=0, atol=1 / STEPS + 1e-12)


def test_a_page_holds_numbers_of_models_and_no_labels_and_no_ids(made_up):
    state = explorer_state(made_up)
    kinds = {"caption", "over", "measures", "families", "models", "replicates"}
    facts = {"name", "init", "family", "minus", "in_paper", "parameters", "seeds", "top1", "pair", "auc", "low", "high"}
    assert set(state) == kinds and {key for model in state["models"] for key in model} == facts
    assert decode(state["replicates"]).shape == (1 + len(made_up.tasks), 60, 16) and REPLICATES >= 60
    truncated = [model for model in state["models"] if model["minus"]]
    assert truncated and all(model["top1"] is None and not model["in_paper"] for model in truncated)
    assert max(model["seeds"] for model in state["models"]) == 2
    json.dumps(state, allow_nan=False)


def test_it_opens_on_a_choice_that_shows_a_correlation_and_refuses_an_unknown_one(made_up):
    assert Explorer(made_up).choice == CHOICES[0]
    with pytest.raises(Exception, match="'log'"):
        Explorer(made_up, x="log")


def test_both_faces_are_there_and_the_page_comes_first(made_up):
    data, _ = Explorer(made_up)._repr_mimebundle_()
    assert next(iter(data)) == "text/html" and "application/vnd.jupyter.widget-view+json" in data
    assert "<noscript>" in data["text/html"]


def test_data_cannot_end_the_script_that_holds_it():
    html = page_html("", "", {"caption": "</script><script>throw 1</script>"})
    assert html.count("</script>") == 2
