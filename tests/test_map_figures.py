"""Figure 5, and what is measured of maps on findings and of their faithfulness, for networks that look where we say."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from chexlib import figures
from chexlib.data.labels import FINDINGS
from chexlib.figures.style import NARROW, WIDE
from chexlib.models import create_model
from chexlib.paper import faithful, localised, map_notes, maps, marks
from chexlib.paper.notes import Missing, Note
from tests.fabricated import fabricate

SIDE = 32
PHONE_WIDTH = 328
LEFT = np.zeros((16, 16), dtype=bool)
LEFT[:, :8] = True
CORNER = np.zeros((16, 16), dtype=bool)
CORNER[:4, :4] = True


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def dataset(shareable=True, name="phantom", n_val=0, marked=True, rare=0):
    """Images of one patient each; in the test set twenty have Edema, on the left, and `rare` Consolidation, above it.

    Of the `n_val` validation images all have Edema, and they come first.
    """
    n, rng = 40 + n_val, np.random.default_rng(0)
    table = pd.DataFrame({"split": ["val"] * n_val + ["test"] * 40, "view": "AP"})
    table = table.assign(patient=[f"p{i}" for i in range(n)])
    raw = pd.DataFrame(0.0, index=table.index, columns=list(FINDINGS))
    raw.loc[: n_val + 19, "Edema"] = 1
    raw.loc[n_val : n_val + rare - 1, "Consolidation"] = 1
    places = {"Edema": LEFT, "Consolidation": CORNER} if marked else {}
    return SimpleNamespace(
        name=name,
        shareable=shareable,
        source=SimpleNamespace(title=name),
        table=pd.concat([table, raw], axis=1),
        pixels=rng.integers(0, 255, (n, SIDE, SIDE), dtype=np.uint8),
        size=SIDE,
        mask=lambda row, finding: places.get(finding),
        rows=lambda split: np.flatnonzero(table["split"].to_numpy() == split),
    )


@pytest.fixture
def two_eyes(monkeypatch):
    """Families whose whole network looks at the right half and whose truncations look at the left, where Edema is."""

    class Eye(torch.nn.Module):
        def __init__(self, left: bool, cells: int):
            super().__init__()
            self.left, self.cells = left, cells

        def maps(self, x):
            return torch.zeros(len(x), 1, self.cells, self.cells)

        def forward(self, x):
            half = slice(None, SIDE // 2) if self.left else slice(SIDE // 2, None)
            return x[:, 0, :, half].mean(dim=(1, 2))[:, None].expand(-1, len(FINDINGS))

    def grad_cam(model, x, findings=None):
        found = torch.zeros(len(x), len(findings or FINDINGS), *x.shape[-2:])
        found[..., : x.shape[-1] // 2] = 0.5 * model.left
        found[..., x.shape[-1] // 2 :] = 0.5 * (not model.left)
        return found

    def prepare(images):
        return torch.as_tensor(np.asarray(images, dtype=np.float32) / 128)[:, None].expand(-1, 3, -1, -1)

    monkeypatch.setattr("chexlib.explain.cam.grad_cam", grad_cam)
    monkeypatch.setattr("chexlib.explain.cam.cam", lambda model, x, findings, method: grad_cam(model, x, findings))
    monkeypatch.setattr(maps, "load", lambda results, model: iter([(Eye(model.minus > 0, 2 + model.minus), prepare)]))


@pytest.fixture
def scores(two_eyes):
    return figures.map_scores(fabricate("demo"), dataset(), arch="resnet18")


def test_a_network_that_looks_where_the_finding_is_scores_one_and_its_change_is_certain(scores):
    assert scores.findings == ("Edema",) and (scores.images, scores.patients) == (20, 20)
    for measure in ("iou", "hit", "pointing", "energy", "auroc"):
        found = scores.of(measure)
        assert list(found["label"]) == ["ResNet18", "ResNet18Minus1", "ResNet18Minus2", "ResNet18Minus3"]
        assert found["value"].round(9).tolist() == [0, 1, 1, 1], measure
        changes = found[["change", "change_low", "change_high"]].to_numpy()
        assert np.isnan(changes[0]).all() and np.allclose(changes[1:], 1)
    assert list(zip(scores.of("iou")["rows"], scores.of("iou")["columns"])) == [(2, 2), (3, 3), (4, 4), (5, 5)]


def test_each_map_meets_the_mask_of_its_own_image_and_finding(monkeypatch):
    """Masks are a cell each, at a place of their own, and so are the maps: any other pairing scores nothing."""
    data = dataset(rare=7)
    data.pixels[:] = np.arange(len(data.pixels))[:, None, None]  # an image is its row's number

    def cell(row: int, finding: str) -> np.ndarray:
        place = np.zeros((8, 8), dtype=bool)
        place.flat[(row + 31 * (finding == "Edema")) % 64] = True
        return place

    def cam(model, x, findings, method="paper"):
        of_rows = [[cell(int(row), FINDINGS[t]) for t in findings] for row in x[:, 0, 0, 0]]
        return 0.5 * torch.as_tensor(np.array(of_rows)).float().repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)

    class Rows(torch.nn.Module):
        def maps(self, x):
            return torch.zeros(len(x), 1, 8, 8)

        def forward(self, x):
            return x[:, 0, :1, 0].expand(-1, len(FINDINGS))

    def prepare(images):
        return torch.as_tensor(np.asarray(images, dtype=np.float32))[:, None].expand(-1, 3, -1, -1)

    data.mask = cell
    monkeypatch.setattr("chexlib.explain.cam.grad_cam", cam)
    monkeypatch.setattr("chexlib.explain.cam.cam", cam)
    monkeypatch.setattr(maps, "load", lambda results, model: iter([(Rows(), prepare)]))
    monkeypatch.setattr(localised, "BATCH", 3)
    found = figures.map_scores(fabricate("demo"), data, arch="resnet18")
    assert found.findings == ("Edema", "Consolidation")
    for measure in ("iou", "hit", "pointing", "energy", "auroc"):
        assert (found.of(measure)["value"] == 1).all(), measure
    assert (found.of("blank")["value"] == 0).all()
    grid = figures.cam_grid(fabricate("demo"), data, arch="resnet18", findings=("Edema", "Consolidation"))
    assert [int(image[0, 0]) for image in grid.images] == [19, 6]  # the surest, of those with the finding
    for outline, of_networks in zip(grid.outlines, grid.maps, strict=True):
        assert all((one[::4, ::4] > 0).tolist() == outline.tolist() for one in of_networks)
    seen = []
    monkeypatch.setattr("chexlib.explain.faithfulness.deletion", lambda *given: seen.append(given) or _flat(given[1]))
    monkeypatch.setattr("chexlib.explain.faithfulness.insertion", lambda *given: _flat(given[1]))
    figures.map_faithfulness(fabricate("demo"), data, arch="resnet18")
    _, x, own, tasks, *_ = seen[0]
    for image, one, task in zip(x, own, tasks, strict=True):
        assert (one[::4, ::4] > 0).tolist() == cell(int(image[0, 0, 0]), task).tolist()


def _flat(images):
    from chexlib.explain.faithfulness import Curves

    return Curves(np.array([0.0, 1.0]), np.ones((len(images), 2)))


def test_the_baselines_are_what_they_are_called(scores):
    assert scores.baseline("iou", "usual place").value == 1  # every patient has it in one place
    assert scores.baseline("iou", "anywhere").value == scores.baseline("hit", "anywhere").value == 0.5
    assert scores.baseline("hit", "centre").value == 0.5  # of four central points two are on the left
    above = scores.of("energy").iloc[1]
    assert above["above"] == pytest.approx(1 - scores.baseline("energy", "centre").value)


def test_the_change_of_the_auc_is_the_studys(scores):
    expected = fabricate("demo").difference("ResNet18Minus2 · random", "ResNet18 · random")
    found = scores.of("iou").iloc[2]
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (expected.value, expected.low, expected.high)


def test_a_mean_is_over_findings_and_leaves_out_those_hardly_marked(two_eyes):
    results = fabricate("demo")
    few = figures.map_scores(results, dataset(rare=4), arch="resnet18")
    assert few.findings == ("Edema",) and set(few.by_finding["finding"]) == {"Edema", "Consolidation"}
    found = figures.map_scores(results, dataset(rare=6), arch="resnet18")
    assert found.findings == ("Edema", "Consolidation")
    energy = found.of("energy").iloc[1]["value"]
    assert energy == pytest.approx(
        (1 + 1 / 8) / 2
    )  # each finding counts alike, though 20 images have one and 6 the other


def test_every_family_is_scored_and_densenet121_comes_first(two_eyes):
    found = figures.map_scores(fabricate("demo"), dataset())
    assert found.families[0] == ("densenet121", "random")
    assert ("efficientnet_lite0", "imagenet") in found.families and len(found.families) == 6
    shown = figures.localisation(found, dataset())
    assert len([axes for axes in shown.axes if axes.get_title(loc="left")]) == 6


@pytest.mark.parametrize("n_val", [0, 12])
def test_no_threshold_is_tuned_on_what_it_is_used_on(n_val):
    found = marks.marked(("Edema",), dataset(n_val=n_val))
    seen = np.zeros(len(found), dtype=int)
    for here, elsewhere in marks.tuning(found):
        assert not set(found.patients[here]) & set(found.patients[elsewhere]) and elsewhere.any()
        assert not found.test[elsewhere].any() if n_val else found.test[elsewhere].all()
        seen += here
    assert (seen == found.test).all()
    assert ("validation" in marks.tuned_on(found)) == bool(n_val)


def test_seeds_widen_what_patients_leave_narrow(two_eyes, monkeypatch):
    """Of three seeds two look where the finding is: over patients the value is certain, over seeds it is not."""
    one = maps.load

    def three(results, model):
        return (next(one(results, SimpleNamespace(minus=minus))) for minus in (0, 1, 1))

    monkeypatch.setattr(maps, "load", three)
    scores = figures.map_scores(fabricate("seeds"), dataset(), arch="resnet18", init="random")
    found, centre = scores.of("iou").iloc[0], scores.baseline("iou", "centre").value
    assert found["value"] == pytest.approx(2 / 3) and found["low"] == pytest.approx(found["high"])
    assert found["low_seeds"] < 0.5 and found["high_seeds"] > 0.8
    for end in ("low_seeds", "high_seeds"):  # a baseline has no seeds of its own
        assert found[f"above_{end}"] == pytest.approx(found[end] - centre, abs=1e-3)


def test_a_mask_keeps_its_place_at_another_size_and_never_vanishes():
    mask = np.zeros((100, 100), dtype=bool)
    mask[50:, :] = True
    assert (marks.fit(mask, (10, 10)) == (np.arange(10)[:, None] >= 5)).all()
    point = np.zeros((100, 100), dtype=bool)
    point[91, 12] = True
    assert np.argwhere(marks.fit(point, (10, 10))).tolist() == [[9, 1]]


def changed(change, auc):
    """A row of scores with these intervals."""
    row = {"change": np.mean(change), "change_low": change[0], "change_high": change[1], "auc": np.mean(auc)}
    row |= {"auc_low": auc[0], "auc_high": auc[1]}
    return row | {f"{name}_{end}_seeds": np.nan for name in ("change", "auc") for end in ("low", "high")}


def test_the_same_is_said_only_of_an_interval_inside_the_margin():
    better, same, wide = (0.03, 0.09), (-0.01, 0.015), (-0.01, 0.03)
    cut = pd.DataFrame([changed(better, (-0.005, 0.005)), changed(same, (0, 0)), changed(wide, (-0.1, -0.05))])
    said = map_notes._tally(cut)
    assert said.startswith("Of 3 truncated networks") and "more for 1" in said
    assert "within ±0.02) for 1" in said and "leaves open for 1" in said and "less" not in said
    assert map_notes._cost(cut) == "of 1 network that localises better, 1 keeps it to ±0.01"
    lost = pd.DataFrame([changed(better, (-0.05, -0.02)), changed(better, (-0.05, 0.02))])
    assert "1 loses AUC and 1 leaves that open" in map_notes._cost(lost)
    assert "none is shown to localise better" in map_notes._cost(cut.iloc[1:])


def test_the_answer_holds_the_yardstick_beside_the_tally(scores):
    said = map_notes.answer(Note(""), scores, fabricate("demo"))
    assert "more for 3" in said and "on phantom images" in said
    assert "of 4 networks, 3 overlap more and 1 overlaps less" in said


def test_the_localisation_figure_shows_the_numbers_that_it_offers(scores):
    shown = figures.localisation(scores, dataset())
    [axes] = [axes for axes in shown.axes if axes.get_title(loc="left")]
    drawn = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"}
    expected = {(row.auc, row.value) for row in shown.exhibit.numbers.itertuples()}
    assert drawn == expected and len(expected) == 4
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "3"]
    assert "phantom" in words(shown).lower() and "ResNet18Minus3" in str(shown.exhibit.caption)
    assert "ResNet18" in axes.get_title(loc="left") and "usual place" in words(shown)


@pytest.mark.parametrize("name", ["figure5", "localisation"])
def test_on_a_phone_letters_are_large_enough_and_inside(scores, name):
    data = dataset()
    made = scores if name == "localisation" else figures.cam_grid(fabricate("demo"), data, arch="resnet18")
    figure = getattr(figures, name)(made, data)
    assert figure.get_figwidth() == WIDE
    narrow = figure.exhibit.narrow()
    narrow.draw_without_rendering()
    assert narrow.get_figwidth() == NARROW
    titles = [text for axes in narrow.axes for text in (axes.title, axes._left_title, axes.xaxis.label)]
    for text in [*narrow.texts, *titles, *(text for legend in narrow.legends for text in legend.get_texts())]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= narrow.bbox.width, text.get_text()
    assert min(text.get_fontsize() for text in narrow.findobj(Text)) / 72 * PHONE_WIDTH / NARROW >= 9


def test_the_tables_say_what_each_number_is(scores):
    table = map_notes.table(scores)
    assert table.index[:2].tolist() == ["ResNet18, random", "– Minus1"]
    assert list(table.columns[:3]) == ["Cells", "AUC", "IoU"] and table["Cells"].iloc[1] == "3 × 3"
    assert table["IoU"].iloc[:2].tolist() == ["0.00", "1.00 ↑"]
    assert table.index[-3:].tolist() == ["usual place", "centre", "anywhere"] and "20 frontal test images" in str(
        table.caption
    )
    apart = map_notes.by_finding(scores)
    assert list(apart.columns) == ["Edema (20)"] and apart.loc["ResNet18, random", "Edema (20)"] == "0.000"


def test_in_both_tables_truncations_stand_below_their_whole_network(two_eyes):
    """A network that was trained from both inits stands twice, each time with truncations of its own."""
    found = figures.map_scores(fabricate("demo"), dataset())
    names = map_notes.by_finding(found).index.tolist()
    assert names == map_notes.table(found).index.tolist() and len(names) > len(set(names))
    at = names.index("EfficientNetLite0, imagenet")
    assert names[at + 1] == "– Minus1"


def test_figure_5_states_the_native_resolution_of_each_map(two_eyes):
    data = dataset()
    grid = figures.cam_grid(fabricate("demo"), data, arch="resnet18")
    assert grid.findings == ("Edema",) and grid.native == ((2, 2), (3, 3), (4, 4), (5, 5))
    figure = figures.figure5(grid, data)
    for shown in (words(figure), words(figure.exhibit.narrow())):
        assert "3 × 3 map" in shown and "Edema" in shown and "phantom" in shown.lower()
    numbers = figure.exhibit.numbers
    assert list(numbers["rows"]) == [2, 3, 4, 5] and (numbers["probability"].between(0, 1)).all()
    assert "ResNet18Minus2 4 × 4" in str(figure.exhibit.caption) and "outline" in str(figure.exhibit.caption)


def test_figure_5_lies_across_a_screen_and_down_a_phone(two_eyes):
    data = dataset()
    figure = figures.figure5(figures.cam_grid(fabricate("demo"), data, arch="resnet18"), data)
    assert figure.axes[0].get_gridspec().get_geometry() == (1, 5)
    assert figure.exhibit.narrow().axes[0].get_gridspec().get_geometry() == (5, 1)


def test_all_methods_are_shown_on_figure_5s_images_with_the_first_truncation(monkeypatch):
    def load(results, model):
        network = create_model("resnet18", findings=len(FINDINGS), minus=min(model.minus + 1, 3))
        yield (network.eval(), lambda x: torch.as_tensor(x).float()[:, None].expand(-1, 3, -1, -1) / 64 - 2)

    monkeypatch.setattr(maps, "load", load)
    data = dataset()
    of_networks = figures.cam_grid(fabricate("demo"), data, arch="resnet18")
    grid = figures.method_grid(fabricate("demo"), data, of_networks)
    assert grid.labels == ("paper", "grad-cam", "grad-cam++", "hirescam", "score-cam")
    np.testing.assert_array_equal(grid.images, of_networks.images)
    np.testing.assert_allclose(grid.maps[:, 0], of_networks.maps[:, 1])  # the paper's, of the first truncation
    assert (grid.probabilities == grid.probabilities[:, :1]).all() and len(set(grid.native)) == 1
    figure = figures.methods(grid, data)
    caption = str(figure.exhibit.caption)
    assert "5 methods, all of ResNet18Minus1" in caption and "grad-cam and hirescam give the same maps" in caption
    assert "score-cam" in words(figure) and list(figure.exhibit.numbers["method"]) == list(grid.labels)


def test_figure_5_keeps_its_colours_in_a_page(two_eyes):
    """Of a drawing 256 colours are enough, of images they are not."""
    data = dataset()
    figure = figures.figure5(figures.cam_grid(fabricate("demo"), data, arch="resnet18"), data)
    html = figure._repr_html_()
    assert "image/svg" not in html and (html.count("data:image/jpeg"), html.count("data:image/png")) == (2, 1)
    with Image.open(io.BytesIO(figure.written(".png"))) as image:
        assert len(image.convert("RGB").getcolors(2**24)) > 256


def test_the_outline_lies_where_the_mask_is(two_eyes):
    data = dataset()
    figure = figures.figure5(figures.cam_grid(fabricate("demo"), data, arch="resnet18"), data)
    [path] = figure.axes[0].collections[0].get_paths()
    assert path.vertices[:, 0] == pytest.approx(0.5, abs=0.01)  # the left half ends in the middle


def test_maps_that_miss_what_the_network_uses_gain_less_than_those_that_find_it(two_eyes):
    """Every network here uses the half that it looks at, so taking that away first makes it fall first."""
    found = figures.map_faithfulness(fabricate("demo"), dataset(), arch="resnet18")
    assert found.pairs == 4 and set(found.gains) == {"deletion", "insertion"}
    for k in range(4):
        assert found.gains["deletion"][k].low > 0.01
        assert found.along_map["deletion"][k][5] < found.at_random["deletion"][k][5]
        np.testing.assert_allclose(found.along_map["deletion"][k][[0, -1]], found.at_random["deletion"][k][[0, -1]])
    figure = figures.faithfulness(found, dataset())
    assert "phantom" in words(figure).lower() and "phantom" in words(figure.exhibit.narrow()).lower()
    numbers = figure.exhibit.numbers.query("model == 'ResNet18' and curve == 'deletion'")
    np.testing.assert_array_equal(numbers["map"], found.along_map["deletion"][0])
    np.testing.assert_array_equal(numbers["random"], found.at_random["deletion"][0])
    assert "lies above zero" in faithful.describe(found) and "4 pairs" in str(figure.exhibit.caption)


def test_pixels_that_may_not_be_shared_are_not_shown_but_are_measured(two_eyes):
    data = dataset(shareable=False, name="chexpert")
    shown = figures.cam_grid(fabricate("paper"), data)
    assert isinstance(shown, Note) and "terms" in shown and isinstance(figures.figure5(shown, data), Note)
    assert isinstance(figures.map_scores(fabricate("paper"), data), localised.MapScores)


def test_where_there_is_nothing_to_map_a_sentence_says_so(two_eyes):
    results, data = fabricate("smoke"), dataset()
    for made in (figures.cam_grid, figures.map_scores, figures.map_faithfulness):
        assert "no truncated model" in made(results, data)
        assert made(Missing("nothing yet"), data) == ""
    assert (
        figures.method_grid(results, data, figures.cam_grid(results, data)) == figures.methods(Note(""), data) == ""
    )  # Figure 5's place said why
    unmarked = figures.map_scores(fabricate("demo"), dataset(marked=False))
    assert "Nobody has marked" in unmarked
    assert figures.localisation(unmarked, data) == unmarked
    assert map_notes.table(unmarked) == map_notes.by_finding(unmarked) == ""
    grid = figures.cam_grid(fabricate("demo"), data, arch="resnet18")
    assert "from 2 by 2 to 5 by 5 cells" in map_notes.answer(grid, unmarked, fabricate("demo"))
    assert map_notes.answer(Missing("nothing yet"), unmarked, fabricate("demo")) == "nothing yet"
