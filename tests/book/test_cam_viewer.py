"""The map viewer: its state, its numbers (JavaScript's against the library's), and its page with no kernel."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

import chexlib
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.explain.cam import grad_cam
from chexlib.explain.localisation import energy_inside, iou
from chexlib.models import create_model
from chexlib.paper.notes import Missing, Note
from chexlib.paper.results import open_results
from chexlib.training.checkpoints import save_weights
from chexlib.training.device import Normaliser
from chexpaper.widgets import CamViewer, cam_viewer, page_html
from chexpaper.widgets.page import ASSETS
from chexpaper.widgets.viewer import Shown, first_of_each, viewer_state
from tests.made_runs import make_store, study_file

SIZE = 48
MOUNT = Path(__file__).parents[2] / "book" / "_assets" / "mount.js"
MODULE = (ASSETS / "cam_viewer.js").read_text()

RUN = """async ([module, state, choices]) => {
  const url = URL.createObjectURL(new Blob([module], {type: "text/javascript"}));
  const { unpack, mapOf, agreement } = await import(url);
  const opened = unpack(state);
  return JSON.stringify(choices.map((choice) => {
    const map = mapOf(opened, choice);
    const mask = opened.images[choice.image].masks[choice.finding];
    return { values: [...map.values], peak: map.peak, probability: map.probability, mask: mask && [...mask],
             ...(mask ? agreement(map, mask) : {}) };
  }));
}"""

DRIVE = """async (box) => {
  const canvas = box.querySelector("canvas");
  const settle = () => new Promise((done) => setTimeout(done, 30));
  const dead = [];
  const tries = async (name, change) => {
    const before = canvas.toDataURL();
    change();
    await settle();
    if (canvas.toDataURL() === before) dead.push(name);
  };
  for (const input of box.querySelectorAll("input[type=checkbox], input[type=radio]:not(:checked)"))
    await tries(input.parentElement.textContent, () => input.click());
  for (const input of box.querySelectorAll("input[type=range]"))
    await tries(input.parentElement.textContent, () => { input.value = 40; input.dispatchEvent(new Event("input")); });
  for (const select of box.querySelectorAll("select"))
    await tries(select.parentElement.textContent, () => {
      select.value = select.value === "0" ? "1" : "0";
      select.dispatchEvent(new Event("change"));
    });
  return dead;
}"""


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return chexlib.open_dataset("phantom", phantom_folder, size=SIZE, progress=False)


@pytest.fixture(scope="module")
def models() -> list[Shown]:
    """Untrained networks, whose maps are 2 by 2, 3 by 3 and 6 by 6."""
    prepare = Normaliser((0.5,), (0.25,))
    return [
        Shown(f"ResNet18{f'Minus{minus}' * (minus > 0)}", "ResNet18, random weights", network.eval(), prepare)
        for minus in (0, 1, 2)
        for network in [create_model("resnet18", minus=minus, seed=3)]
    ]


@pytest.fixture(scope="module")
def state(models, dataset) -> dict:
    return viewer_state(models, dataset, first_of_each(dataset, TASKS), TASKS, "Made up for a test, no runs")


def choices(state, **more) -> list[dict]:
    """Every model on three images and every finding, at a threshold of a third of the map's maximum."""
    return [
        {"image": i, "finding": f, "model": m, "threshold": 1 / 3, "native": False} | more
        for m in range(len(state["models"]))
        for i in range(3)
        for f in range(len(TASKS))
    ]


def in_javascript(browser, state, chosen) -> list[dict]:
    page = browser.new_page()
    found = json.loads(page.evaluate(RUN, [MODULE, state, chosen]))  # as one text: a value at a time is slow
    page.close()
    return found


def test_javascript_stretches_maps_as_grad_cam_does(browser, state, models, dataset):
    rows, columns = first_of_each(dataset, TASKS), [FINDINGS.index(task) for task in TASKS]
    x = models[0].prepare(np.stack([dataset.pixels[row] for row in rows]))
    maps = torch.stack([grad_cam(model.network, x, columns) for model in models]).numpy()  # (M, I, T, H, W)
    chosen = choices(state)
    for choice, found in zip(chosen, in_javascript(browser, state, chosen), strict=True):
        expected = maps[choice["model"], choice["image"], choice["finding"]]
        shown = np.reshape(found["values"], (SIZE, SIZE))
        step = found["peak"] / 255  # of which rounding loses at most a half
        np.testing.assert_allclose(shown, expected, atol=0.5 * step + 1e-5)
    assert maps.max() > 0.2


def test_native_cells_are_shown_as_blocks(browser, state, models):
    choice = {"image": 0, "finding": 1, "model": 2, "threshold": 0, "native": True}
    [found] = in_javascript(browser, state, [choice])
    shown = np.reshape(found["values"], (6, SIZE // 6, 6, SIZE // 6))
    assert state["models"][2]["native"] == [6, 6]
    assert np.ptp(shown, axis=(1, 3)).max() == 0 and len(np.unique(shown)) > 6


def test_javascript_and_the_library_agree_on_how_maps_lie_on_findings(browser, state):
    measured = 0
    for choice, found in zip(chosen := choices(state), in_javascript(browser, state, chosen), strict=True):
        if found["mask"] is None or found["peak"] == 0:
            continue
        shown = np.reshape(found["values"], (1, SIZE, SIZE))
        mask = np.reshape(found["mask"], (1, SIZE, SIZE)).astype(bool)
        assert found["iou"] == pytest.approx(iou(shown, mask, choice["threshold"])[0], abs=1e-12)
        assert found["inside"] == pytest.approx(energy_inside(shown, mask)[0], abs=1e-9)
        measured += 1
    assert measured > 10


def test_marked_places_survive_storage(browser, state, dataset):
    rows = first_of_each(dataset, TASKS)
    chosen = [choice for choice in choices(state) if choice["model"] == 0]
    for choice, found in zip(chosen, in_javascript(browser, state, chosen), strict=True):
        mask = dataset.mask(rows[choice["image"]], TASKS[choice["finding"]])
        if mask is None or not mask.any():
            assert found["mask"] is None
        else:
            np.testing.assert_array_equal(np.reshape(found["mask"], (SIZE, SIZE)), mask)


def test_probabilities_and_labels_are_those_of_the_images(state, models, dataset):
    rows = first_of_each(dataset, TASKS)
    with torch.inference_mode():
        p = models[1].network(models[1].prepare(np.stack([dataset.pixels[row] for row in rows]))).sigmoid()
    ours = p[:, [FINDINGS.index(task) for task in TASKS]].numpy()
    np.testing.assert_allclose(state["models"][1]["probabilities"], ours, atol=1e-5)
    words = {"present": 1, "absent": 0, "uncertain": -1}
    for image, row in zip(state["images"], rows, strict=True):
        assert [words[label] for label in image["labels"]] == list(dataset.table[list(TASKS)].iloc[row])
        shown = Image.open(io.BytesIO(base64.b64decode(image["jpeg"])))
        assert np.abs(np.asarray(shown).astype(int) - dataset.pixels[row]).mean() < 3


def test_each_task_that_is_shown_has_an_image_and_none_is_a_side_view(dataset):
    rows = first_of_each(dataset, TASKS)
    table = dataset.table.iloc[rows]
    assert set(table["split"]) == {"test"} and "LATERAL" not in set(table["view"])
    test = dataset.table.query("split == 'test' and view != 'LATERAL'")
    assert all((table[task] == 1).any() for task in TASKS if (test[task] == 1).any())


def test_models_that_do_not_fit_are_left_out(models, dataset, monkeypatch):
    rows = first_of_each(dataset, TASKS)
    whole = viewer_state(models, dataset, rows, TASKS, "")
    monkeypatch.setattr("chexpaper.widgets.viewer.ROOM", len(json.dumps(whole)) - 100)
    assert viewer_state(models, dataset, rows, TASKS, "")["models"] == whole["models"][:2]


@pytest.fixture
def page(state, browser, tmp_path):
    """The widget's page face alone, in a file, opened at a phone's width; what goes wrong is in `page.troubles`."""
    html = CamViewer(state)._repr_mimebundle_()[0]["text/html"]
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    (tmp_path / "page.html").write_text(f"{head}{html}<script>{MOUNT.read_text()}</script>")
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page, page_troubles = context.new_page(), []
    page.troubles = page_troubles
    page.on("pageerror", lambda error: page_troubles.append(str(error)))
    page.on("request", lambda asked: page_troubles.append(asked.url) if asked.url.startswith("http") else None)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("[data-mounted]")
    page.wait_for_timeout(100)
    yield page
    context.close()


def test_every_control_changes_the_picture(page):
    assert page.locator("[data-chexlib-widget]").evaluate(DRIVE) == []
    assert page.troubles == []


def test_it_is_used_by_keyboard_alone_and_says_what_it_shows(page):
    canvas = page.locator("canvas")
    told = canvas.get_attribute("aria-label")
    assert "Phantom image" in told and "native resolution" in told and "probability" in told
    page.locator("select").nth(2).focus()
    page.keyboard.press("ArrowDown")
    expect(canvas).to_have_attribute("aria-label", re.compile("ResNet18Minus1"))
    expect(page.locator(".told")).to_contain_text("3 × 3")
    page.locator("input[type=range]").nth(1).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    slider = page.locator("input[type=range]").nth(1)
    expect(slider).to_have_attribute("aria-valuetext", "3 % of the map’s maximum")
    page.locator("summary").click()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_every_control_has_a_name_and_a_phones_page_does_not_scroll_sideways(page):
    unnamed = "(nodes) => nodes.filter((n) => !n.closest('label')?.textContent.trim()).length"
    assert page.locator("input, select").evaluate_all(unnamed) == 0
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_where_no_place_is_marked_the_outline_is_not_offered(page, state):
    image, finding = next(
        (i, f) for i, one in enumerate(state["images"]) for f, mask in enumerate(one["masks"]) if mask is None
    )
    for menu, value in ((0, image), (1, finding)):
        page.locator("select").nth(menu).select_option(str(value))
    assert page.locator("input[type=checkbox]").first.is_disabled()
    assert "is not marked" in page.locator(".agrees").inner_text()


def test_without_javascript_a_sentence_remains(state):
    html = CamViewer(state)._repr_mimebundle_()[0]["text/html"]
    assert f"<noscript><p>{CamViewer.no_script}</p></noscript>" in html
    assert page_html("", "", {}) != page_html("", "", {}, CamViewer.no_script)


def test_a_state_is_plain_data_without_ids(state, dataset):
    text = json.dumps(state, allow_nan=False)
    assert not any(patient in text for patient in dataset.table["patient"])
    assert set(state) == {"caption", "what", "size", "findings", "images", "colours", "models"}
    assert CamViewer(state, opacity=0.2).choice["opacity"] == 0.2
    with pytest.raises(Exception, match="opacity"):
        CamViewer(state, opacity=2.0)


def test_images_that_may_not_be_shown_are_not(dataset):
    from chexlib.data.sources import SOURCES

    kept_back = replace(dataset, source=SOURCES["chexpert"])
    note = cam_viewer(object(), kept_back)
    assert isinstance(note, Note) and "terms of CheXpert" in note
    assert cam_viewer(Missing("no runs"), dataset) == "" == cam_viewer(object(), Missing("no images"))


def test_a_studys_truncated_family_is_viewed(dataset, tmp_path):
    store = make_store(tmp_path / "runs", study := study_file(tmp_path))
    results = open_results(study, store.folder)
    for run in results.finished:
        run.write("provenance.json", json.dumps({"normalisation": {"mean": [0.5], "std": [0.25]}}))
    note = cam_viewer(results, dataset)
    assert isinstance(note, Note) and "hold no weights" in note
    for run in results.finished:
        if run.spec.arch == "resnet18" and run.spec.seed == 0:
            save_weights(run, create_model("resnet18", minus=run.spec.minus), 200)
    viewer = cam_viewer(results, dataset)
    assert [model["label"] for model in viewer.state["models"]] == ["ResNet18", "ResNet18Minus1"]
    assert {model["group"] for model in viewer.state["models"]} == {"ResNet18, random weights"}
    assert viewer.state["caption"].startswith(results.caption)
