"""The explorer: its state, its statistics (the same in JavaScript and in Python), and its two faces."""

import json
from itertools import product

import numpy as np
import pytest

from chexlib.errors import UserError
from chexlib.stats import spearman, spearman_interval
from chexpaper.widgets import Explorer, decode, encode, explorer, explorer_state, summary, visible
from chexpaper.widgets.page import ASSETS

CHOICES = [
    {"x": x, "measure": measure, "init": init, "models": models, "family": ""}
    for x, measure, init, models in product(explorer.AXES, (0, 2), explorer.INITS, explorer.SETS)
]

RUN = """async ([module, states, choices]) => {
  const url = URL.createObjectURL(new Blob([module], {type: "text/javascript"}));
  const { summary, visible, decode } = await import(url);
  const plain = (value) => Number.isNaN(value) ? null : value;
  return states.map((state) => { const stored = decode(state.replicates); return choices.map((choice) => ({
    rows: summary(state, stored, choice).map((r) => [r.group, r.n, plain(r.rho), plain(r.low), plain(r.high)]),
    points: visible(state, stored, choice).map((p) => [p.name, p.x, p.y, plain(p.low), plain(p.high)]) })); });
}"""


def test_javascript_and_python_give_the_same_statistics(browser, made_up):
    states = [explorer_state(made_up()), explorer_state(made_up(seed=1, task_replicates=False))]
    page = browser.new_page()
    found = page.evaluate(RUN, [(ASSETS / "explorer.js").read_text(), states, CHOICES])
    page.close()
    for state, answers in zip(states, found):
        for choice, answer in zip(CHOICES, answers):
            ours = [[row["group"], row["n"], row["rho"], row["low"], row["high"]] for row in summary(state, choice)]
            points = [[p["name"], p["x"], p["y"], p["low"], p["high"]] for p in visible(state, choice)]
            assert same(answer["rows"], ours), choice
            assert same(answer["points"], points), choice


def same(javascript, python) -> bool:
    """Equal words, numbers equal within rounding; null stands for NaN."""
    if len(javascript) != len(python):
        return False
    for left, right in zip((v for row in javascript for v in row), (v for row in python for v in row)):
        if isinstance(right, str):
            if left != right:
                return False
        elif not np.isclose(np.nan if left is None else left, right, rtol=0, atol=1e-12, equal_nan=True):
            return False
    return True


def test_correlation_is_that_of_the_library(made_up):
    results = made_up()
    rows = results.models.query("in_paper and minus == 0 and init == 'random'")
    (row,) = summary(explorer_state(results), {"x": "parameters", "measure": 0, "init": "random", "models": "paper"})
    assert row["rho"] == pytest.approx(spearman(rows["parameters"], rows["auc"]).rho) and row["n"] == len(rows)
    columns = [results.models.index.get_loc(label) for label in rows.index]
    low, high = spearman_interval(rows["parameters"], results.replicates[:, columns], draw_architectures=False)
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.05)  # the page's replicates are rounded


def test_boost_is_the_paired_difference(made_up):
    results = made_up()
    points = visible(explorer_state(results), {"x": "parameters", "measure": 0, "init": "boost", "models": "all"})
    point = next(p for p in points if p["name"] == "DenseNet121Minus1")
    a, b = (results.models.index.get_loc(f"DenseNet121Minus1 · {init}") for init in ("imagenet", "random"))
    draws = results.replicates[:, a] - results.replicates[:, b]
    assert point["y"] == pytest.approx(results.models["auc"].iloc[a] - results.models["auc"].iloc[b], abs=2e-6)
    assert (point["low"], point["high"]) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=2e-5)


def test_replicates_survive_storage_within_half_a_step():
    given = np.random.default_rng(0).uniform(size=(2, 7, 5))
    given[0, 1, 2], given[1, 0, 0], given[1, 0, 1] = np.nan, 0.0, 1.0
    np.testing.assert_allclose(decode(encode(given)), given, rtol=0, atol=0.5 / explorer.STEPS + 1e-12)


def test_state_carries_at_most_so_many_replicates(made_up):
    assert explorer_state(made_up(n_replicates=1000))["replicates"]["shape"] == [4, explorer.REPLICATES, 18]


def test_a_truncated_model_has_no_imagenet_accuracy(made_up):
    state = explorer_state(made_up())
    assert [m["top1"] is None for m in state["models"] if m["name"].startswith("DenseNet121")] == [
        False,
        True,
        False,
        True,
    ]


def test_too_few_models_give_no_correlation(made_up):
    results = made_up()
    results.models["in_paper"] = results.models["arch"].isin(["resnet18", "resnet50"])
    (row,) = summary(explorer_state(results), {"x": "top1", "measure": 0, "init": "random", "models": "paper"})
    assert row["n"] == 2 and np.isnan(row["rho"])
    assert Explorer(results).choice["models"] == "whole"  # so the page starts from a choice that shows one


def test_no_runs_is_one_clear_line(made_up):
    results = made_up()
    results.models = results.models.iloc[:0]
    with pytest.raises(UserError, match="no finished run to explore"):
        Explorer(results)


def test_both_faces_are_there_and_the_page_comes_first(made_up):
    data, _ = Explorer(made_up())._repr_mimebundle_()
    assert next(iter(data)) == "text/html" and "application/vnd.jupyter.widget-view+json" in data
    assert "<noscript>" in data["text/html"]


def test_data_cannot_end_the_script_that_holds_it(made_up):
    results = made_up()
    results.caption = "</script><script>throw 1</script>"
    html = Explorer(results)._repr_mimebundle_()[0]["text/html"]
    assert html.count("</script>") == 2


def test_a_page_holds_no_labels_and_no_ids(made_up):
    state = explorer_state(made_up())
    assert set(state) == {"caption", "measures", "families", "models", "replicates"}
    keys = {
        "name",
        "init",
        "family",
        "minus",
        "in_paper",
        "parameters",
        "seeds",
        "top1",
        "pair",
        "auc",
        "low",
        "high",
    }
    assert {key for model in state["models"] for key in model} == keys
    json.dumps(state, allow_nan=False)


def test_an_unknown_choice_is_refused(made_up):
    with pytest.raises(Exception, match="'log'"):
        Explorer(made_up(), x="log")
