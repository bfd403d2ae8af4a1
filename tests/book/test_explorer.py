"""The explorer: its state, its statistics (JavaScript's are the library's), and its two faces."""

import json
from dataclasses import replace
from itertools import product

import pytest
import traitlets
import yaml

from chexlib.results import open_results
from chexlib.stats import (
    FEWEST_ARCHITECTURES,
    FEWEST_FAMILIES,
    draw_families,
    percentile_interval,
    rank_correlations,
    spearman,
)
from chexpaper.widgets import Explorer
from chexpaper.widgets.explorer import AXES, SETS, explorer_state
from chexpaper.widgets.page import module, page_html
from tests.book.conftest import DRIVE
from tests.made_runs import make_store

INITS = ("random", "imagenet", "all", "boost")
WITHOUT = ([], ["MobileNet"], ["DenseNet"], ["ResNet", "DenseNet"], ["DenseNet", "MobileNet"])
CHOICES = [
    {"x": x, "measure": measure, "init": init, "models": models, "without": without}
    for x, measure, init, models, without in product(AXES, (0, 2), INITS, SETS, WITHOUT)
]

RUN = """async ([module, state, choices]) => {
  const url = URL.createObjectURL(new Blob([module], {type: "text/javascript"}));
  const { summary, visible, decode } = await import(url);
  const plain = (value) => Number.isNaN(value) ? null : value;
  const stored = decode(state);
  return choices.map((choice) => ({
    rows: summary(state, stored, choice).map((r) =>
      [r.group, r.models, r.families, plain(r.rho), plain(r.low), plain(r.high)]),
    points: visible(state, choice).map((p) => [p.name, p.init, p.x, p.y, plain(p.low), plain(p.high)]) }));
}"""


def expected(results, choice) -> tuple[list, list]:
    """What the page must show of a choice, by the results' tables and `chexlib.stats`: (rows, points)."""
    models, draws = results.models.reset_index(drop=True), results.replicates.to_numpy()  # (R, M)
    models["y"] = models["auc"]
    if measure := choice["measure"]:
        place = results.task_auc.columns.get_loc(results.tasks[measure - 1])
        models["y"], draws = results.task_auc.to_numpy()[:, place], results.task_replicates[..., place]
    if choice["init"] == "boost":
        pairs = {(row.arch, row.minus): m for m, row in enumerate(models.itertuples()) if row.init == "random"}
        pair = [pairs[row.arch, row.minus] for row in models.itertuples()]
        models["y"], draws = models["y"] - models["y"].to_numpy()[pair], draws - draws[:, pair]
    low, high = percentile_interval(draws)
    kept = models[choice["x"]].notna() & ~models["family"].isin(choice["without"])
    kept &= (models["minus"] == 0) | (choice["models"] == "all")
    kept &= models["in_paper"].astype(bool) | (choice["models"] != "paper")
    groups = {"all": ["random", "imagenet"], "boost": ["imagenet"]}.get(choice["init"], [choice["init"]])
    rows = []
    for group in groups:
        its = models[kept & (models["init"] == group) & models["in_paper"] & (models["minus"] == 0)]
        row = [len(its), its["family"].nunique(), None, None, None]
        if row[0] >= FEWEST_ARCHITECTURES and row[1] >= FEWEST_FAMILIES:
            x, times = its[choice["x"]].to_numpy(float), draw_families(its["family"], len(draws), results.seed)
            again = rank_correlations(x, draws[:, its.index], times)
            row[2:] = [spearman(x, its["y"]).rho, *percentile_interval(again)]
        rows.append([group if len(groups) > 1 else choice["init"], *row])
    shown = models[kept & models["init"].isin(groups)]
    return rows, [
        [row.label, row.init, getattr(row, choice["x"]), row.y, low[m], high[m]]
        for m, row in zip(shown.index, shown.itertuples())
    ]


def close(javascript: list, python: list, tolerance: float) -> bool:
    """Equal words, and numbers as equal as six digits let them be; null stands for NaN."""
    left, right = ([value for row in rows for value in row] for rows in (javascript, python))
    same = [a == b if isinstance(b, str) or b is None else abs(a - b) <= tolerance for a, b in zip(left, right)]
    return len(left) == len(right) and all(same)


def test_what_a_page_computes_is_what_the_library_computes(browser, made_up):
    state, page = explorer_state(made_up), browser.new_page()
    found = page.evaluate(RUN, [module("explorer.js"), state, CHOICES])
    page.close()
    filled = 0
    for choice, answer in zip(CHOICES, found, strict=True):
        rows, points = expected(made_up, choice)
        filled += rows[0][3] is not None
        assert close(answer["rows"], rows, 1e-9), choice
        assert close(answer["points"], points, 1e-6), choice
    assert filled == len(CHOICES) * 3 / 5  # then too few models are left, then too few families


def test_a_page_holds_numbers_of_models_and_no_labels_and_no_ids(made_up):
    state = explorer_state(made_up)
    kinds = {"caption", "over", "least", "measures", "options", "families", "models", "replicates", "drawn"}
    facts = {
        "name",
        "init",
        "family",
        "minus",
        "in_paper",
        "parameters",
        "seeds",
        "top1",
        "auc",
        "boost",
        "draws",
        "pair",
    }
    assert set(state) == kinds and {key for model in state["models"] for key in model} == facts
    assert state["replicates"]["shape"] == [1 + len(made_up.tasks), 60, 24] and set(state["drawn"]) == {"3", "4"}
    assert max(model["seeds"] for model in state["models"]) == 2
    json.dumps(state, allow_nan=False)


def test_fewer_architectures_than_it_takes_have_no_rank_correlation(browser, made_up):
    state, page = explorer_state(made_up), browser.new_page()
    assert state["least"]["models"] == FEWEST_ARCHITECTURES
    for least in (12, 13):  # twelve are there
        state["least"]["models"] = least
        [found] = page.evaluate(RUN, [module("explorer.js"), state, CHOICES[:1]])
        assert (found["rows"][0][3] is None) == (least == 13)
    page.close()


def test_a_task_with_too_few_positives_has_no_rank_correlation(browser, made_up):
    results, page = replace(made_up, chosen=("Consolidation", "Edema")), browser.new_page()
    choices = [CHOICES[0] | {"measure": measure} for measure in range(3)]
    found = page.evaluate(RUN, [module("explorer.js"), explorer_state(results), choices])
    page.close()
    assert [answer["rows"][0][3] is None for answer in found] == [True, True, False]


def test_truncations_and_networks_that_the_paper_has_not_enter_no_rank_correlation(made_up):
    state = explorer_state(made_up)
    outside = {model["name"] for model in state["models"] if model["draws"] is None}
    assert outside == {"DenseNet121Minus1", "NASNetAMobile", "EfficientNetLite0"}
    assert not any(model["in_paper"] for model in state["models"] if model["name"] in outside)


def test_it_opens_on_a_choice_that_shows_a_correlation_and_refuses_one_that_the_study_lacks(made_up):
    assert Explorer(made_up).choice == CHOICES[0]
    with pytest.raises(traitlets.TraitError, match=r"x='log': .* top1, parameters"):
        Explorer(made_up, x="log")
    with pytest.raises(traitlets.TraitError, match=r"init='gabor': .* random, imagenet, all, boost"):
        Explorer(made_up).init = "gabor"


def few_runs(folder, runs):
    path = folder / "few.yaml"
    path.write_text(yaml.safe_dump({"common": {"size": 96}, "runs": runs}))
    return open_results(path, make_store(folder / "runs", path).folder, replicates=20)


def test_a_variant_is_compared_with_its_own_random_weights_and_enters_no_rank_correlation(tmp_path):
    results = few_runs(tmp_path, [{"arch": "resnet18", "init": ["random", "imagenet"], "lr": [0.0001, 0.01]}])
    auc = results.models.set_index(["label", "init"])["auc"]
    models = explorer_state(results)["models"]
    boosts = {model["name"]: model["boost"][0][0] for model in models if model["boost"]}
    assert boosts == {label: pytest.approx(auc[label, "imagenet"] - auc[label, "random"], abs=1e-6)
                      for label in ("ResNet18", "ResNet18, lr 0.01")}  # fmt: skip
    assert {model["name"] for model in models if model["draws"] is not None} == {"ResNet18"}


@pytest.mark.parametrize(
    ("runs", "controls"),
    [
        ([{"arch": "resnet18"}], {"x", "measure"}),
        ([{"arch": "resnet18", "minus": [0, 1]}], {"x", "measure", "models"}),
        ([{"arch": ["resnet18", "densenet121"], "init": ["random", "imagenet"]}], {"x", "measure", "init", "families"}),
    ],
)
def test_a_study_of_few_models_says_so_in_one_line_and_has_no_control_of_one_choice(mounted, tmp_path, runs, controls):
    results = few_runs(tmp_path, runs)
    box = mounted(Explorer(results))
    assert box.locator(".point").count() == len(results.models) and box.locator(".rho span").count() == 1
    radios = set(box.locator("input").evaluate_all("all => all.map((one) => one.name.split('-').pop())"))
    menus = box.locator("select").evaluate_all(
        "all => all.map((one) => [one.parentElement.textContent, one.options.length])"
    )
    assert all(options > 1 for _, options in menus)
    menus = {"measure" if text.startswith("AUC of") else "models" for text, _ in menus}
    assert radios | menus | ({"families"} if box.locator("button").count() else set()) == controls


def test_what_would_be_empty_cannot_be_chosen_and_nothing_else_is_barred(mounted, tmp_path):
    runs = [{"arch": ["resnet18", "densenet121"]}, {"arch": "efficientnet_lite0", "init": ["random", "imagenet"]}]
    box = mounted(Explorer(few_runs(tmp_path, runs), models="paper", init="random"))
    barred = box.locator("input:disabled").evaluate_all("all => all.map((one) => one.value)")
    assert barred == ["imagenet", "boost"]  # the paper's have none
    lite, resnet = (box.locator(f"button[value={name}]") for name in ("EfficientNet-Lite", "ResNet"))
    assert lite.get_attribute("aria-disabled") == "true" and resnet.get_attribute("aria-disabled") == "false"
    box.locator("select").last.select_option("whole")
    assert box.locator("input:disabled").count() == 0 and lite.get_attribute("aria-disabled") == "false"
    for name in ("ResNet", "DenseNet"):
        box.locator(f"button[value={name}]").click()
    assert lite.get_attribute("aria-disabled") == "true" and box.locator(".point").count() == 1
    lite.click(force=True)
    assert box.locator(".point").count() == 1
    assert box.locator("option:disabled").evaluate_all("all => all.map((one) => one.value)") == ["paper"]


def test_every_control_answers(mounted, made_up):
    assert mounted(Explorer(made_up)).evaluate(DRIVE) == []


def test_both_faces_are_there_and_the_page_comes_first(made_up):
    data, _ = Explorer(made_up)._repr_mimebundle_()
    assert next(iter(data)) == "text/html" and "application/vnd.jupyter.widget-view+json" in data
    assert "<noscript>" in data["text/html"]


def test_data_cannot_end_the_script_that_holds_it():
    html = page_html("", "", {"caption": "</script><script>throw 1</script>"})
    assert html.count("</script>") == 2
