"""The page of runs: what each tells, drawn and written out, light, safe, and the same for old runs and new ones."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from chexlib import figures
from chexlib.data.labels import TASKS
from chexlib.figures.runs import BOTTOM, LEFT, RIGHT, TOP
from chexlib.paper import repeats, runs
from chexlib.paper.notes import Missing
from chexlib.paper.results import open_results
from chexlib.results.export import export_study
from chexlib.runs.spec import RunSpec
from chexlib.stats import auroc
from chexlib.study import load_study
from tests.made_runs import make_store, study_file
from tests.searching import PATIENT, texts

MADE = {
    "chexlib": "0.1.0",
    "packages": {"torch": "2.14.1", "timm": "1.0.31"},
    "python": "3.12.1",
    "device": "NVIDIA <b>H100</b> & more",
    "processes": 2,
    "seed": 0,
    "fingerprint": "cafe",
    "data": {"name": "phantom", "attribution": "Drawn.", "images": 1234},
    "normalisation": {"mean": [0.5], "std": [0.25]},
    "decoder": "Pillow",
    "weights": {"origin": "a package", "file": "w.pth", "sha256": "ab" * 32, "tag": "lite0.in1k", "licence": "mit"},
    "teacher": None,
    "ensemble": [200, 300],
    "seconds": 7260.0,
    "images_per_second": 1234.5,
    "peak_memory_mb": 2048,
    "resumed": 2,
}
TAGS = {
    "div",
    "details",
    "summary",
    "span",
    "svg",
    "g",
    "path",
    "text",
    "polyline",
    "title",
    "circle",
    "dl",
    "dt",
    "dd",
}


def log_of(evaluations: int) -> list[dict]:
    """Loss falls, and AUC climbs from 0.5 to 0.9; Cardiomegaly is never known."""
    rows = []
    for i in range(1, evaluations + 1):
        aucs = dict.fromkeys(["auc", *(f"auc:{task}" for task in TASKS)], 0.5 + 0.4 * i / evaluations)
        row = {
            "event": "eval",
            "images": 100 * i,
            "epoch": i,
            "loss": 1 / i,
            "seconds": i,
            "memory_mb": 9,
            "resumed": 0,
        }
        rows.append(row | aucs | {"auc:Cardiomegaly": None})
    return [*rows, {"event": "ensemble", "split": "val", "auc": 0.912, "auc:Edema": None}]


@pytest.fixture
def study(tmp_path):
    return study_file(tmp_path)


@pytest.fixture
def store(tmp_path, study):
    return make_store(tmp_path / "runs", study)


@pytest.fixture
def told_all(study, store):
    """Results whose runs left all that runs leave."""
    for run in store.planned("made"):
        run.write("provenance.json", json.dumps(MADE))
        run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in log_of(4)))
    return open_results(study, store.folder)


@pytest.fixture(scope="module")
def published():
    return open_results("nih", "results")


def cards(results) -> ElementTree.Element:
    return ElementTree.fromstring(figures.run_cards(results).html)


def test_every_run_has_a_card_and_the_table_leads_to_it(told_all):
    page = cards(told_all)
    anchors = [card.get("id") for card in page.iter("details")]
    assert anchors == [run.run_id for run in told_all.finished] and len(set(anchors)) == 8
    table = ElementTree.fromstring(figures.run_table(told_all).html)
    assert [link.get("href") for link in table.iter("a")] == [f"#{anchor}" for anchor in anchors]
    assert not any(card.get("open") for card in page.iter("details"))


def test_cards_are_made_of_plain_elements_without_scripts_or_styles(told_all):
    for element in cards(told_all).iter():
        assert element.tag in TAGS
        assert not any(name.startswith("on") or name in ("style", "href", "src") for name in element.attrib)


def test_what_a_run_wrote_is_text_on_the_page(told_all):
    assert "<b>" not in figures.run_cards(told_all).html + figures.run_table(told_all).html
    assert "NVIDIA <b>H100</b> & more, fp32" in "".join(cards(told_all).itertext())


def test_curves_lie_where_their_values_are(told_all):
    """AUCs 0.6, 0.7, 0.8, 0.9 over epochs 1 to 4, on axes from 0 to 4 and from 0.5 to 0.9."""
    loss, auc = next(cards(told_all).iter("details")).iter("svg")
    expected = [f"{LEFT + round((RIGHT - LEFT) * i / 4)},{BOTTOM - round((BOTTOM - TOP) * i / 4)}" for i in range(1, 5)]
    lines = list(auc.iter("polyline"))
    assert [line.find("title").text.split(" from")[0] for line in lines] == [
        "mean",
        *(task for task in TASKS if task != "Cardiomegaly"),
    ]
    assert all(line.get("points").split() == expected for line in lines)
    rings = [(ring.get("cx"), ring.get("cy")) for ring in auc.iter("circle")]
    assert [",".join(ring) for ring in rings] == expected[1:3]  # the ensemble: after 200 and 300 images
    [falling] = loss.iter("polyline")
    assert falling.get("points").split()[0] == f"{LEFT + round((RIGHT - LEFT) / 4)},{TOP}"
    assert auc.get("aria-label") == "validation AUC from 0.600 to 0.900"


def test_a_single_evaluation_is_a_dot(study, store):
    for run in store.planned("made"):
        run.write("log.jsonl", json.dumps(log_of(1)[0]) + "\n")
    for line in cards(open_results(study, store.folder)).iter("polyline"):
        first, second = line.get("points").split()
        assert first == second


def test_a_card_says_all_that_the_run_tells(told_all):
    facts = next(run.facts for run in runs.told(told_all) if "EfficientNetLite0, ImageNet" in run.title)
    assert facts["Network"] == "EfficientNetLite0 (EfficientNet-Lite), 3,388,942 parameters"
    assert facts["Weights"] == (
        f"ImageNet weights: lite0.in1k; from a package; file w.pth; SHA-256 {'ab' * 32}; licence mit"
    )
    assert facts["Unlike our choice"] == "size: 96 by 96 pixels"
    assert facts["Unlike the paper"].startswith("images: Phantom radiographs; tasks in the mean: Atelectasis")
    assert facts["Computed"] == "NVIDIA <b>H100</b> & more, fp32, channels last, eager, 1 thread"
    assert facts["Took"] == "2 h 01 min; 1,234 images a second; at most 2,048 MB of memory"
    assert facts["Interrupted"] == "2 times, and went on"
    assert facts["Images"] == "Phantom radiographs; 1,234 in all splits; fingerprint cafe; Drawn"
    assert facts["Ensemble"] == "the checkpoints after 200 and 300 images"
    assert facts["Validation AUC"] == "0.900 at the best evaluation; 0.912 of the ensemble"
    assert facts["Code"] == "chexlib 0.1.0, Python 3.12.1, torch 2.14.1, timm 1.0.31"
    assert "Labels from" not in facts


def test_a_run_that_tells_little_shows_that_and_no_more(study, store):
    results = open_results(study, store.folder)
    first = runs.told(results)[0]
    assert set(first.facts) == {
        "Run", "Network", "Weights", "Unlike the paper", "Unlike our choice", "Computed", "Images", "Validation AUC",
        "Test AUC",
    }  # fmt: skip
    text = figures.run_cards(results).html + figures.run_table(results).html
    assert not re.search(r"\b(nan|NaN|None)\b", text)
    assert "Images/s" not in text and "training loss" not in text
    assert runs.cost(results) == "The runs at hand do not say how long they took."


def test_a_run_without_evaluations_has_a_card(study, store):
    for run in store.planned("made"):
        (run.folder / "log.jsonl").unlink()
    page = cards(open_results(study, store.folder))
    assert len(list(page.iter("details"))) == 8 and not list(page.iter("svg"))


def test_test_aucs_are_means_over_the_tasks_that_are_shown(told_all):
    kept = [told_all.all_tasks.index(task) for task in told_all.tasks]
    assert len(kept) == 5
    by_hand = [auroc(told_all.labels.to_numpy()[:, kept], scores[:, kept]).mean() for scores in told_all.scores]
    shown = [float(run.facts["Test AUC"].split()[0]) for run in runs.told(told_all)]
    np.testing.assert_allclose(shown, by_hand, atol=5e-4)


def test_the_cost_of_a_study_is_added_up(told_all):
    assert runs.cost(told_all) == (
        "8 runs took 16 h 08 min of training together, the quickest 2 h 01 min and the slowest 2 h 01 min, on NVIDIA "
        "<b>H100</b> & more; none held more than 2,048 MB of memory. 8 runs went on after an interruption."
    )


def test_fifty_runs_of_the_papers_length_make_a_light_page(study, store):
    for run in store.planned("made"):
        run.write("provenance.json", json.dumps(MADE))
        run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in log_of(81)))
    results = open_results(study, store.folder)
    size = len(figures.run_cards(results).html.encode()) + len(figures.run_table(results).html.encode())
    assert size / 8 * 50 < 500_000


def test_published_runs_are_shown_with_what_they_have(published):
    page, table = figures.run_cards(published).html, figures.run_table(published).html
    assert page.count("<details") == table.count("<a href") == len(published.finished)
    assert not re.search(r"\b(nan|NaN|None|Interrupted)\b", page + table)
    assert "SHA-256 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db; licence apache-2.0" in page
    assert len(page) < 300_000
    ElementTree.fromstring(page)


def test_nothing_of_a_patient_is_on_the_page_of_a_set_that_keeps_ids_back(tmp_path):
    study = study_file(tmp_path, dataset="chexpert")
    store = make_store(tmp_path / "runs", study)
    assert any(PATIENT.search(text) for _, text in texts(store.folder))
    out = export_study(load_study(study), tmp_path / "out", store, progress=False)
    for folder in (store.folder, out):
        results = open_results(study, folder)
        page = figures.run_cards(results).html + figures.run_table(results).html
        assert "CheXpert" in page and not PATIENT.search(page) and "frontal" not in page


def test_where_a_file_of_weights_lies_is_not_shown():
    folder = "/home/somebody/my weights/"
    named = "phantom320-densenet121-file__home_somebody_my_weights_net_safetensors-s0-0123456789"
    shown = runs.shown_id(named, RunSpec(init=f"file:{folder}net.safetensors"))
    assert shown == "phantom320-densenet121-file_net_safetensors-s0-0123456789"
    assert runs.shown_id("phantom-random", RunSpec()) == "phantom-random"


def test_without_results_no_runs_are_shown():
    assert figures.run_cards(Missing("none")) == figures.run_table(Missing("none")) == runs.cost(Missing("none")) == ""


class TestRepeats:
    @pytest.fixture
    def measured(self, tmp_path):
        rows = [
            ("resnet18", "the same again", 0.0, 0.0, 0.0),
            ("densenet121", "the same again", 0.0, 0.0, 0.0),
            ("mobilenet_v3", "the same again", 0.25, 0.1, 0.01),
            ("resnet18", "2 threads", 0.012, 0.001, -0.004),
            ("densenet121", "2 threads", 0.002, 0.0001, 0.001),
        ]
        names = ("arch", "change", "largest", "median", "auc_test")
        path = tmp_path / "determinism.json"
        path.write_text(json.dumps({"rows": [dict(zip(names, row, strict=True)) for row in rows]}))
        return path

    def test_the_sentence_says_which_networks_repeat_and_how_far_the_others_move(self, measured):
        assert repeats.sentence(measured) == (
            "Trained twice with nothing changed, 2 of 3 networks give the same predictions to the last bit "
            "(MobileNetV3 does not). Computed in another way they move: 2 threads, by 0.012 in a probability "
            "and 0.004 in the mean AUC at most."
        )

    def test_the_table_has_a_row_a_network_and_change(self, measured):
        [table] = repeats.table(measured).tables.values()
        assert table.iloc[0].to_list() == ["the same again", "0", "0", "0"]
        assert table.iloc[4].to_list() == ["2 threads", "0.002", "0.0001", "0.001"] and len(table) == 5

    def test_where_nobody_measured_it_the_page_says_how(self, tmp_path):
        assert "python -m benchmarks.determinism --publish" in repeats.sentence(tmp_path / "determinism.json")
        assert repeats.table(tmp_path / "determinism.json") == ""
