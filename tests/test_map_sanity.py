"""Sanity checks of a family's maps, and what negative values do to them: numbers, figure and sentences."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from chexlib import figures
from chexlib.data.labels import FINDINGS
from chexlib.models import create_model
from chexlib.paper import map_negatives, map_sanity, maps
from chexlib.paper.measures import Estimate
from chexlib.paper.notes import Missing, Note
from tests.fabricated import fabricate


def dataset(n: int = 6) -> SimpleNamespace:
    """Grey images of n patients, all of the test set, the first of them lateral."""
    table = pd.DataFrame({"view": ["LATERAL", *["AP"] * (n - 1)], "patient": [f"p{i}" for i in range(n)]})
    return SimpleNamespace(
        name="phantom",
        source=SimpleNamespace(title="phantom"),
        table=table,
        pixels=np.random.default_rng(0).integers(0, 255, (n, 32, 32), dtype=np.uint8),
        rows=lambda split: np.arange(n),
    )


@pytest.fixture
def family(monkeypatch):
    """ResNet18 and its truncations with weights of their own, nothing trained."""

    def load(results, model):
        network = create_model("resnet18", findings=len(FINDINGS), minus=min(model.minus + 2, 3), seed=model.minus)
        yield (network.eval(), lambda x: torch.as_tensor(x).float()[:, None].expand(-1, 3, -1, -1) / 64 - 2)

    monkeypatch.setattr(maps, "load", load)


def test_each_network_is_checked_by_both_methods_on_frontal_images(family, monkeypatch):
    monkeypatch.setattr(map_sanity, "SHUFFLES", 2)
    results, data = fabricate("demo"), dataset()
    found = figures.map_sanity(results, data, arch="resnet18")
    assert found.labels == ("ResNet18", "ResNet18Minus1") and found.patients == 5
    assert [one.method for one in found.checks] == ["paper", "grad-cam"] * 2
    for one in found.checks:
        assert one.layers[0] == "head" and len(one.cascading) == len(one.independent) == len(one.layers)
        assert one.cascading[0] == one.independent[0]
        assert all(-1 <= e.low <= e.value <= e.high <= 1 for e in (*one.cascading, one.elsewhere))
        assert one.change.value == pytest.approx(one.cascading[-1].value - one.elsewhere.value)
    figure = figures.sanity(found, data)
    for drawn in (figure, figure.exhibit.narrow()):
        words = " ".join(text.get_text() for text in drawn.findobj(Text))
        assert "ResNet18Minus1" in words and "Grad-CAM" in words and "phantom" in words.lower()
    first = figure.exhibit.numbers.iloc[0]
    assert (first["layer"], first["cascading"]) == ("head", found.checks[0].cascading[0].value)
    assert "5 patients, 2 random networks" in str(figure.exhibit.caption)
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert "images of 5 patients" in map_sanity.describe(found)


def test_an_interval_holds_what_random_networks_and_patients_do():
    counts = np.array([[1, 1], [2, 0], [0, 2]])
    patients = map_sanity._estimate(np.array([[0.2, 0.4], [0.2, 0.4]]), counts, 0)  # both networks alike
    assert patients.value == pytest.approx(0.3)
    assert 0.2 <= patients.low < 0.21 and 0.39 < patients.high <= 0.4  # replicates 0.3, 0.2 and 0.4
    four = np.array([0.0, 0.1, 0.3, 0.4])
    networks = map_sanity._estimate(four[:, None].repeat(2, axis=1), counts.repeat(400, axis=0), 0)  # both images alike
    normal = 1.96 * four.std(ddof=1) / 2  # too narrow for four networks; Student's is half as wide again
    assert networks.value == pytest.approx(0.2)
    assert 1.2 * normal < networks.high - 0.2 < 2 * normal and 1.2 * normal < 0.2 - networks.low < 2 * normal
    holes = map_sanity._estimate(np.array([[0.0, 0.2], [0.4, np.nan]]), counts, 0)
    assert holes.value == pytest.approx(0.2)  # of the images' 0.2 and 0.2
    assert np.isnan(map_sanity._estimate(np.full((2, 2), np.nan), counts, 0).value)


def verdict(low: float, high: float, change: float = 0.0) -> str:
    last = Estimate((low + high) / 2, low, high)
    one = map_sanity.Checks("A", "paper", ("head",), (last,), (last,), last, Estimate(change, change, change))
    return map_sanity._verdict(one)


def test_verdicts_claim_no_absence_that_the_interval_does_not_show():
    assert "Nothing is left" in verdict(-0.05, 0.08)
    assert "stays open" in verdict(-0.05, 0.3) and "0.30" in verdict(-0.05, 0.3)
    assert "Something is left" in verdict(0.2, 0.4) and "in common" in verdict(0.2, 0.4, change=-0.1)
    assert "against" in verdict(-0.4, -0.2) and "cannot be compared" in verdict(np.nan, np.nan)


def test_negative_values_are_counted_network_by_network(family, monkeypatch):
    said = map_negatives.about(fabricate("demo"), dataset(), arch="resnet18")
    assert said.count("no value is negative") == 4
    network = create_model("mnasnet", minus=4)
    monkeypatch.setattr(
        maps, "load", lambda results, model: iter([(network, lambda x: torch.randn(len(x), 3, 48, 48))])
    )
    said = map_negatives.about(fabricate("demo"), dataset(), arch="resnet18")
    assert said.count("of the values are negative") == 4 and "of the maps are dark" in said


def test_without_a_family_or_results_there_is_nothing_to_check():
    for make in (figures.map_sanity, map_negatives.about):
        assert "no truncated model" in make(fabricate("smoke"), dataset())
        assert make(Missing("Not trained yet."), dataset()) == ""
    assert figures.sanity(Note("No."), dataset()) == "No." and map_sanity.describe(Note("No.")) == ""
