"""The map viewer: its state, its numbers (JavaScript's against the library's), and its page with no kernel."""

import base64
import io
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

import chexlib
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.explain.cam import cam, grad_cam
from chexlib.explain.localisation import energy_inside, iou_curve
from chexlib.models import create_model
from chexlib.results.native_maps import shown_rows
from chexlib.training.device import Normaliser
from chexpaper import maps
from chexpaper.widgets import CamViewer, NetworkMaps
from chexpaper.widgets.page import module
from chexpaper.widgets.viewer import viewer_state
from tests.book.conftest import DRIVE

SIZE = 48
MOUNT = Path(__file__).parents[2] / "book" / "_assets" / "mount.js"
MODULE = module("cam_viewer.js")

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


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return chexlib.open_dataset("phantom", phantom_folder, size=SIZE, progress=False)


@pytest.fixture(scope="module")
def rows(dataset) -> np.ndarray:
    return shown_rows(dataset, TASKS, 6)


@pytest.fixture(scope="module")
def x(dataset, rows) -> torch.Tensor:
    return Normaliser((0.5,), (0.25,))(dataset.pixels[rows])


@pytest.fixture(scope="module")
def models() -> list[torch.nn.Module]:
    """Untrained networks, whose maps are 2 by 2, 3 by 3 and 6 by 6."""
    return [create_model("resnet18", minus=minus, seed=3).eval() for minus in (0, 1, 2)]


@pytest.fixture(scope="module")
def given(models, dataset, rows, x) -> list:
    """What the viewer's state is made of."""
    with torch.inference_mode():
        networks = [
            NetworkMaps(model.label, "ResNet18, random weights", native.numpy(), p.numpy())
            for model in models
            for native in [cam(model, x, TASKS, upsample=False)]
            for p in [model(x).sigmoid()[:, [FINDINGS.index(task) for task in TASKS]]]
        ]
    table = dataset.table.iloc[rows]
    places = [[maps.mask(dataset, row, task) for task in TASKS] for row in rows]
    caption = "Phantom images, made up for a test"
    return [networks, dataset.pixels[rows], table[list(TASKS)], table["view"], places, TASKS, caption]


@pytest.fixture(scope="module")
def state(given) -> dict:
    return viewer_state(*given)


def in_javascript(browser, state, chosen) -> list[dict]:
    page = browser.new_page()
    found = json.loads(page.evaluate(RUN, [MODULE, state, chosen]))  # as one text: a value at a time is slow
    page.close()
    return [one | {"values": np.reshape(one["values"], (SIZE, SIZE))} for one in found]


@pytest.fixture(scope="module")
def drawn(browser, state) -> list[tuple[dict, dict]]:
    """Choices and what is drawn: every model, three images, every finding, from a third of the map's maximum on."""
    places = product(range(3), range(3), range(len(TASKS)))
    chosen = [{"model": m, "image": i, "finding": f, "threshold": 1 / 3, "native": False} for m, i, f in places]
    return list(zip(chosen, in_javascript(browser, state, chosen), strict=True))


def test_maps_are_stretched_as_grad_cam_does(drawn, models, x):
    maps = torch.stack([grad_cam(model, x, TASKS) for model in models]).numpy()  # (M, I, T, H, W)
    for choice, found in drawn:
        step = found["peak"] / 255  # of which rounding loses at most a half
        expected = maps[choice["model"], choice["image"], choice["finding"]]
        np.testing.assert_allclose(found["values"], expected, atol=0.5 * step + 1e-5)
    assert maps.max() > 0.2


def test_native_cells_are_shown_as_blocks(browser, state):
    choice = {"image": 0, "finding": 1, "model": 2, "threshold": 0, "native": True}
    [found] = in_javascript(browser, state, [choice])
    cells = np.reshape(found["values"], (6, SIZE // 6, 6, SIZE // 6))
    assert state["models"][2]["native"] == [6, 6]
    assert np.ptp(cells, axis=(1, 3)).max() == 0 and len(np.unique(cells)) > 6


def test_marked_places_are_the_data_sets_and_maps_lie_on_them_as_the_library_says(drawn, dataset, rows):
    measured = 0
    for choice, found in drawn:
        mask = dataset.mask(rows[choice["image"]], TASKS[choice["finding"]])
        if mask is None or not mask.any():
            assert found["mask"] is None
            continue
        np.testing.assert_array_equal(np.reshape(found["mask"], (SIZE, SIZE)), mask)
        if found["peak"]:
            shown = found["values"][None], mask[None].astype(bool)
            assert found["iou"] == pytest.approx(iou_curve(*shown, [choice["threshold"]])[0, 0], abs=1e-12)
            assert found["inside"] == pytest.approx(energy_inside(*shown)[0], abs=1e-9)
            measured += 1
    assert measured > 10


def test_probabilities_and_labels_are_those_of_the_images(state, given, dataset, rows):
    np.testing.assert_allclose(state["models"][1]["probabilities"], given[0][1].probabilities, atol=1e-5)
    words = {"present": 1, "absent": 0, "uncertain": -1}
    for image, row in zip(state["images"], rows, strict=True):
        assert [words[label] for label in image["labels"]] == list(dataset.table[list(TASKS)].iloc[row])
        shown = Image.open(io.BytesIO(base64.b64decode(image["jpeg"])))
        assert np.abs(np.asarray(shown).astype(int) - dataset.pixels[row]).mean() < 3


def test_networks_that_do_not_fit_are_left_out(state, given, monkeypatch):
    monkeypatch.setattr("chexpaper.widgets.viewer.ROOM", len(json.dumps(state)) - 100)
    assert viewer_state(*given)["models"] == state["models"][:2]


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


def test_every_control_has_a_name_and_changes_the_picture_and_a_phone_does_not_scroll_sideways(page):
    unnamed = "(nodes) => nodes.filter((n) => !n.closest('label')?.textContent.trim()).length"
    assert page.locator("input, select").evaluate_all(unnamed) == 0
    assert page.locator("[data-chexlib-widget]").evaluate(DRIVE) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
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


def test_where_no_place_is_marked_the_outline_is_not_offered(page, state):
    places = [(i, f) for i, one in enumerate(state["images"]) for f, mask in enumerate(one["masks"]) if mask is None]
    for menu, value in enumerate(places[0]):
        page.locator("select").nth(menu).select_option(str(value))
    assert page.locator("input[type=checkbox]").first.is_disabled()
    assert "is not marked" in page.locator(".agrees").inner_text()


def test_a_state_is_plain_data_without_ids(state, dataset):
    text = json.dumps(state, allow_nan=False)
    assert not any(patient in text for patient in dataset.table["patient"])
    assert set(state) == {"caption", "what", "size", "findings", "images", "colours", "models"}
    assert CamViewer(state, opacity=0.2).choice["opacity"] == 0.2
    with pytest.raises(Exception, match="opacity"):
        CamViewer(state, opacity=2.0)
