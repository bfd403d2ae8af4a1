"""The depth slider: what its state holds, what its page says of it, and that the slider moves the picture."""

import pandas as pd
import pytest
import traitlets

from chexpaper.widgets import TransfusionDepth
from chexpaper.widgets.page import module
from tests.book.conftest import DRIVE

CURVES = pd.DataFrame(
    [(init, seed, n, auc + seed / 10) for init, aucs in
     {"imagenet": (0.7, 0.8), "transfusion:block2": (0.65, 0.7), "random": (0.5, 0.6), "gabor": (0.5, 0.5)}.items()
     for seed in (0, 1) for n, auc in zip((100, 200), aucs, strict=True)],
    columns=["init", "seed", "images", "auc"],
)  # fmt: skip
KEPT = pd.DataFrame(
    [("Net", "random", 1, "block1", 0.25), ("Net", "random", 0, "conv1", 0.5), ("Other", "random", 0, "conv1", 0.9)],
    columns=["label", "init", "place", "stage", "value"],
)


@pytest.fixture
def widget():
    return TransfusionDepth("Net", CURVES, KEPT, "made up")


def test_depths_are_in_order_and_means_over_seeds_and_what_was_not_compared_is_left_out(widget):
    random, block2, imagenet = widget.state["depths"]
    assert random == {"name": "no pretrained weights", "images": [100, 200], "auc": [0.55, 0.65], "kept": [0.5, 0.25]}
    assert block2["name"] == "pretrained up to block2" and block2["kept"] == [None, None]
    assert imagenet["auc"] == [0.75, 0.85] and widget.state["stages"] == ["conv1", "block1"]


def test_a_depth_that_is_not_there_is_refused(widget):
    widget.depth = 2
    with pytest.raises(traitlets.TraitError, match="there are 3 depths"):
        widget.depth = 3


def test_the_page_says_what_a_depth_reaches_and_keeps(browser, widget):
    page = browser.new_page()
    said = page.evaluate(
        """async ([module, state]) => {
          const { describe } = await import(URL.createObjectURL(new Blob([module], {type: "text/javascript"})));
          return state.depths.map((_, i) => describe(state, i));
        }""",
        [module("depth.js"), widget.state],
    )
    page.close()
    assert said[0] == (
        "no pretrained weights: validation AUC 0.650 after 200 images; "
        "conv1 stays most like its start (0.50), block1 least (0.25)."
    )
    assert said[1] == "pretrained up to block2: validation AUC 0.750 after 200 images."


def test_the_slider_answers(mounted, widget):
    box = mounted(widget)
    assert box.locator("polyline.chosen").count() == 2 and box.evaluate(DRIVE) == []
    assert box.locator("polyline.chosen").count() == 1  # at the other end, of which nothing was compared
