"""Figures say what they show, say "phantom" where nothing is real, and give way to a sentence."""

import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from chexlib import figures
from chexlib.data.labels import FINDINGS
from chexlib.figures.style import BOTH, FAMILIES, PATIENTS, WIDE, WIDTH
from chexlib.models.zoo import ARCHITECTURES
from chexlib.paper.notes import Missing, Note
from tests.fabricated import fabricate

OF_PAPER = ("figure1", "figure2", "figure3", "figure4")
OF_RESULTS = (*OF_PAPER, "auc_by_model", "families", "truncations", "learning_curves", "seeds")
STUDIES = ("demo", "nih", "paper", "smoke")


@pytest.fixture(scope="module")
def studies():
    return {kind: fabricate(kind) for kind in (*STUDIES, "seeds")}


@pytest.fixture(scope="module")
def drawn(studies):
    """A figure by its name and the kind of its study, drawn once."""
    return cache(lambda name, kind: getattr(figures, name)(studies[kind]))


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def boxes(texts, figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("kind", STUDIES)
@pytest.mark.parametrize("name", OF_RESULTS)
def test_every_figure_is_drawn_or_says_why_not(drawn, studies, name, kind):
    shown = drawn(name, kind)
    assert isinstance(shown, (Figure, Note))
    if isinstance(shown, Note):
        assert shown.endswith(".") and len(shown.split()) > 5
    else:
        assert shown._repr_png_()[:4] == b"\x89PNG"
        assert shown.get_figwidth() == (WIDE if name in OF_PAPER else WIDTH)
        assert studies[kind].caption in words(shown)


@pytest.mark.parametrize("name", [name for name in OF_RESULTS if name != "seeds"])
def test_phantom_figures_carry_the_word_phantom(drawn, name):
    assert "phantom" in words(drawn(name, "demo")).lower()


@pytest.mark.parametrize("name", OF_RESULTS)
def test_figures_of_real_images_do_not_say_phantom(drawn, name):
    assert "phantom" not in words(drawn(name, "nih")).lower()


@pytest.mark.parametrize("name", OF_RESULTS)
def test_missing_results_are_shown_as_nothing(name):
    shown = getattr(figures, name)(Missing("Not trained yet."))
    assert isinstance(shown, Note) and shown == ""


def test_figure_2_puts_each_model_at_its_accuracy_and_auc(drawn, studies):
    results = studies["demo"]
    left, right = drawn("figure2", "demo").axes
    marks = {(round(line.get_xdata()[0], 3), round(line.get_ydata()[0], 6)) for line in left.lines}
    whole = results.models[(results.models["minus"] == 0) & (results.models["init"] == "random")]
    assert {(round(m.top1, 3), round(m.auc, 6)) for m in whole.itertuples()} <= marks
    assert "no correlation" in right.get_title("left")  # Lite alone has ImageNet weights


def test_every_seed_is_a_dot_below_its_models_mean(studies):
    results = studies["nih"]
    [axes] = figures.seeds(results).axes
    dots = [line for line in axes.lines if line.get_marker() == "."]
    drawn = [auc for line in dots for auc in line.get_xdata()]
    np.testing.assert_allclose(sorted(drawn), sorted(results.by_seed["auc"]))
    assert {len(line.get_xdata()) for line in dots} == {3} and len(dots) == len(results.seed_spread)
    for line, model in zip(dots, results.models.loc[results.seed_spread.index][::-1].itertuples(), strict=True):
        assert np.mean(line.get_xdata()) == pytest.approx(model.auc)


@pytest.mark.parametrize("name", [*OF_PAPER, "auc_by_model", "truncations", "seeds"])
def test_a_thin_line_over_patients_and_seeds_is_named_where_there_is_one(drawn, name):
    assert "95 % over patients and seeds" in words(drawn(name, "nih"))
    if name != "seeds":
        assert "seeds" not in words(drawn(name, "demo"))


def test_lines_reach_as_far_as_their_intervals(studies):
    """Thick over patients for every model, thin over both for those with several seeds."""
    results = studies["nih"]
    whole = results.models[results.models["minus"] == 0]
    [axes] = figures.auc_by_model(results).axes
    for width, low, high in ((PATIENTS, "low", "high"), (BOTH, "low_seeds", "high_seeds")):
        drawn = [c.get_segments()[0][:, 0] for c in axes.collections if c.get_linewidth()[0] == width]
        expected = whole[[low, high]].dropna().to_numpy()
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))


def test_three_pretrained_models_get_no_rank_correlation(drawn):
    assert "ρ" not in words(drawn("figure4", "demo"))
    assert "ρ" in words(drawn("figure4", "paper"))


@pytest.mark.parametrize("name", [*OF_PAPER, "auc_by_model", "families", "truncations"])
@pytest.mark.parametrize("kind", ["demo", "paper", "seeds"])
def test_tick_labels_and_titles_do_not_overlap(drawn, name, kind):
    figure = drawn(name, kind)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            found = boxes(labels, figure)
            assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[i + 1 :])
    titles = boxes([axes._left_title for axes in figure.axes], figure)
    assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[i + 1 :])


@pytest.mark.parametrize("name", [*OF_PAPER, "truncations", "learning_curves", "seeds"])
def test_the_signature_is_clear_of_axes_and_legend(drawn, name):
    figure = drawn(name, "nih")
    figure.draw_without_rendering()
    [foot] = boxes(figure.texts[:1], figure)
    above = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    above += [legend.get_window_extent() for legend in figure.legends]
    assert all(box.y0 >= foot.y1 - 1 for box in above)


def test_every_family_of_the_zoo_has_a_colour_and_a_marker_of_its_own():
    families = {row.family for row in ARCHITECTURES.values()}
    assert families <= set(FAMILIES)
    assert (
        len({mark.colour for mark in FAMILIES.values()})
        == len({mark.marker for mark in FAMILIES.values()})
        == len(FAMILIES)
    )


def dataset(shareable: bool = True, name: str = "phantom", n: int = 40):
    """A data set of n grey images; every second one is of a patient with Edema on the left."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"split": ["train", "test"] * (n // 2), "image": [f"{i}.jpg" for i in range(n)],
                          "patient": [f"p{i // 2}" for i in range(n)], "study": [f"s{i}" for i in range(n)],
                          "view": "AP",
                          "sex": ["F", "M"] * (n // 2), "age": np.linspace(20, 80, n)})  # fmt: skip
    raw = pd.DataFrame(np.nan, index=table.index, columns=list(FINDINGS))
    raw["Edema"] = [1, 1, 0, -1] * (n // 4)
    left = np.zeros((16, 16), dtype=bool)
    left[:, :8] = True
    return SimpleNamespace(
        name=name,
        shareable=shareable,
        source=SimpleNamespace(title=name),
        table=pd.concat([table, raw], axis=1),
        pixels=rng.integers(0, 255, (n, 32, 32), dtype=np.uint8),
        size=32,
        mask=lambda row, finding: left if finding == "Edema" else None,
        rows=lambda split: np.flatnonzero(table["split"].to_numpy() == split),
    )


def test_phantom_sheets_carry_the_word_phantom():
    assert "phantom" in words(figures.contact_sheet(dataset())).lower()


def test_pixels_and_labels_that_may_not_be_shared_are_not_shown():
    shown = figures.contact_sheet(dataset(shareable=False, name="chexpert"))
    assert isinstance(shown, Note) and "terms" in shown


def test_importing_figures_brings_no_torch_and_no_pyplot():
    code = "import sys, chexlib.figures; print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
