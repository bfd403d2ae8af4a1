"""A network of timm beside the paper's: in every figure and table, hollow, and in no correlation."""

import json
import subprocess
import sys

import pytest
import yaml

from chexlib import figures
from chexlib import results as results_of_study
from chexlib.figures.style import FAMILIES, OTHERS, Plate, family_mark
from chexlib.models import architecture
from chexlib.models.truncate import parameters
from chexlib.paper import designs, measures, sentences, tables
from chexlib.paper.results import open_results
from chexpaper.widgets.explorer import explorer_state
from tests.made_runs import make_store

PAPERS = ["resnet18", "densenet121", "mobilenet_v2", "mnasnet", "efficientnet_b0"]
OTHER = "convnext_tiny"
NOTED = {"label": OTHER, "family": "ConvNeXt", "parameters": 27830894}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study file and its store: five of the paper's networks and ConvNeXt, from both inits, and truncated."""
    folder = tmp_path_factory.mktemp("made")
    path, both = folder / "made.yaml", ["random", "imagenet"]
    runs = [{"arch": [*PAPERS, OTHER], "init": both}, {"arch": ["resnet18", OTHER], "init": both, "minus": 1}]
    path.write_text(yaml.safe_dump({"title": "Made up", "common": {"size": 96}, "runs": runs}))
    return path, make_store(folder / "runs", path)


@pytest.fixture(scope="module")
def results(made):
    return open_results(made[0], made[1].folder)


def test_timm_says_what_a_run_did_not_note(results):
    row = results.models.loc["convnext_tiny · random"]
    assert row[["label", "family", "parameters", "in_paper"]].tolist() == [*NOTED.values(), False]
    cut = results.models.loc["convnext_tinyMinus1 · random"]
    assert (cut["label"], cut["parameters"]) == ("convnext_tinyMinus1", parameters(architecture(OTHER), 1))
    assert results.models["top1"].isna()[[row.name, cut.name]].all()


def test_what_a_run_noted_is_believed_and_needs_no_timm(made, tmp_path):
    run = next(run for run in made[1].planned("made") if run.spec.arch == OTHER)
    code = (
        "import sys, json; from pathlib import Path\n"
        "from chexlib.runs.store import Run; from chexlib.paper import results\n"
        f"facts = results._facts(Run(Path({str(tmp_path / run.run_id)!r})))\n"
        "print(json.dumps([facts['label'], facts['family'], facts['parameters'], facts['in_paper']]))\n"
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    folder = tmp_path / run.run_id
    folder.mkdir()
    (folder / "spec.json").write_text((run.folder / "spec.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({"model": NOTED | {"parameters": 5}}))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == [OTHER, "ConvNeXt", 5, False]


def test_the_papers_counts_are_the_tables_whatever_a_run_noted(made):
    run = next(run for run in made[1].planned("made") if run.spec.arch == "resnet18")
    noted = json.dumps({"model": {"label": "x", "family": "y", "parameters": 5}})
    (run.folder / "provenance.json").write_text(noted)
    row = open_results(made[0], made[1].folder).runs.set_index("run_id").loc[run.run_id]
    assert row[["label", "family", "parameters"]].tolist() == ["ResNet18", "ResNet", 11183694]


def test_it_enters_no_correlation(results):
    alone = [measures.correlation(results, "parameters", init).n for init in ("random", "imagenet")]
    assert alone == [len(PAPERS)] * 2 == [measures.boost_correlation(results).n] * 2
    assert measures.correlation(results, "top1", "imagenet").n == len(PAPERS)


def hollow(figure) -> set[str]:
    """Families whose mark in the legend is hollow."""
    [legend] = figure.legends
    return {text.get_text() for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
            if handle.get_markerfacecolor() == "white"}  # fmt: skip


def words(figure) -> str:
    figure.draw_without_rendering()
    texts = [*figure.texts, *(text for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()])]
    return " ".join(text.get_text() for text in texts)


def test_it_is_beside_the_papers_in_figures_3_and_4_and_has_no_place_in_figure_2(results):
    for figure in (figures.figure3(results), figures.figure4(results)):
        assert hollow(figure) == {"ConvNeXt"}
    assert "ConvNeXt" not in {text.get_text() for text in figures.figure2(results).legends[0].get_texts()}


def test_it_has_a_row_in_every_list_of_models(results):
    assert OTHER in words(figures.auc_by_model(results))
    assert "convnext_tinyMinus1 (2.3×)" in words(figures.truncations(results))
    assert isinstance(figures.learning_curves(results), Plate)
    table = tables.table1(results)
    assert table.index[-1] == OTHER and table.loc[OTHER, "Parameters (M)"] == "27.831"
    assert table.loc[OTHER, "Paper: AUC, ImageNet weights"] == "–"
    second = tables.table2(results)
    assert second[second.index.str.startswith("convnext_tinyMinus1")]["Times smaller"].tolist() == ["2.3", "2.3"]
    assert OTHER in set(tables.task_table(results).index.str.split(" · ").str[0])


def test_its_family_is_one_of_the_families_once_it_has_two_sizes(made, tmp_path):
    path = tmp_path / "sizes.yaml"
    arch = ["resnet18", "resnet34", "convnext_atto", "convnext_femto"]
    path.write_text(yaml.safe_dump({"common": {"size": 96}, "runs": [{"arch": arch, "init": "random"}]}))
    results = open_results(path, make_store(tmp_path / "runs", path).folder)
    found = designs.families(results, "random").set_index("family")
    assert found.loc["ConvNeXt", ["smallest", "largest"]].tolist() == ["convnext_atto", "convnext_femto"]
    assert "ConvNeXt" in [tick.get_text() for tick in figures.families(results).axes[0].get_xticklabels()]
    assert "ConvNeXt: convnext_femto minus convnext_atto" in sentences.families(results)


def test_the_explorer_shows_it_outside_the_papers_set(made):
    state = explorer_state(results_of_study.open_results(made[0], made[1].folder))
    shown = {(model["name"], model["init"]): model for model in state["models"]}
    whole, cut = shown[OTHER, "random"], shown["convnext_tinyMinus1", "imagenet"]
    assert (whole["in_paper"], whole["top1"], whole["parameters"]) == (False, None, 27830894)
    assert cut["pair"] == state["models"].index(shown["convnext_tinyMinus1", "random"])
    assert "ConvNeXt" in {family["name"] for family in state["families"]}
    json.dumps(state, allow_nan=False)


def test_new_families_can_be_told_apart_and_from_the_papers():
    marks = [*FAMILIES.values(), *OTHERS]
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == len(marks)
    assert family_mark("ConvNeXt") in OTHERS and family_mark("RegNet") in OTHERS
    assert family_mark("ConvNeXt") != family_mark("RegNet")
