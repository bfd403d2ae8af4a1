"""Figures and tables of a data set count what its loader counts, and name no image and no patient."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from chexlib import figures
from chexlib.data.dataset import open_dataset
from chexlib.data.labels import FINDINGS, POLICIES, TASKS
from chexlib.data.listing import Problem, Remarks
from chexlib.paper import images, policies
from chexlib.paper.notes import Missing, Note
from chexlib.paper.shown import Tables

OF_COUNTS = ("prevalence", "cooccurrence", "people", "overview")


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return open_dataset("phantom", phantom_folder, size=48, views="frontal", progress=False)


@pytest.fixture(scope="module")
def described(dataset):
    return images.described(dataset)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("name", OF_COUNTS)
def test_figures_of_phantom_counts_say_phantom(described, name):
    shown = getattr(figures, name)(described)
    assert shown._repr_png_()[:4] == b"\x89PNG"
    assert "phantom" in " ".join(words(shown)).lower()


def test_the_flow_shows_the_loaders_counts_at_each_step(dataset):
    shown = words(figures.flow(dataset))
    for step, counts in dataset.flow.groupby("step", sort=False)[["images", "studies", "patients"]].sum().iterrows():
        assert f"{counts['images']} images" in shown, step
        assert f"{counts['patients']} patients" in shown, step
    for split in ("train", "val", "test"):
        assert f"{len(dataset.rows(split))} images" in shown
    lost = len(dataset.listing.table) - len(dataset.table)
    assert lost > 0 and f"{lost} of other views" in shown


def test_the_words_of_the_flow_lie_in_their_boxes_and_apart(dataset):
    figure = figures.flow(dataset)
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    [axes] = figure.axes
    texts = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
    frames = [patch.get_window_extent(renderer) for patch in axes.patches]
    assert not any(a.overlaps(b) for i, a in enumerate(texts) for b in texts[i + 1 :])
    assert not any(a.overlaps(b) for i, a in enumerate(frames) for b in frames[i + 1 :])
    inside = [any(f.x0 <= t.x0 and t.x1 <= f.x1 and f.y0 <= t.y0 and t.y1 <= f.y1 for f in frames) for t in texts]
    assert inside.count(False) == 1  # what was left out


@pytest.mark.parametrize("show", [figures.flow, *(getattr(figures, name) for name in OF_COUNTS[:-1]), images.splits,
                                  images.found, images.verdict, policies.tasks, policies.findings])  # fmt: skip
def test_without_a_data_set_nothing_is_shown(show):
    missing = Missing("No folder was given.")
    assert images.described(missing) is missing and images.checked(missing) is missing
    assert isinstance(show(missing), Note) and show(missing) == ""


def test_prevalence_is_drawn_to_scale(dataset, described):
    bars = figures.prevalence(described).axes[0].patches[: len(FINDINGS)]
    train = dataset.table.iloc[dataset.rows("train")]
    assert [round(bar.get_width(), 6) for bar in bars] == [
        round(100 * (train[finding] == 1).mean(), 6) for finding in FINDINGS[::-1]
    ]


def test_each_policys_table_sums_to_the_training_images(dataset):
    tables = policies.findings(dataset).tables
    assert len(tables) == 1 + len(POLICIES)
    for table in list(tables.values())[1:]:
        counts = table.map(lambda text: int(text.replace(",", "")))
        for reading in ("absent", "unknown"):
            assert (counts[f"Not mentioned is {reading}"].sum(axis=1) == len(dataset.rows("train"))).all()


def test_the_six_tasks_have_a_row_and_each_policy_a_column(dataset):
    written, present, *_ = policies.tasks(dataset).tables.values()
    assert list(written.index) == list(present.index) == list(TASKS)
    assert present.shape[1] == len(POLICIES)
    uncertain = [int(n) for n in written["uncertain"]]
    ones, zeros = ([int(n) for n in present[f"U\u2011{name}"]] for name in ("Ones", "Zeros"))
    assert np.subtract(ones, zeros).tolist() == uncertain


def test_where_no_label_is_in_doubt_policies_are_said_to_change_nothing(dataset):
    sure = replace(dataset, table=dataset.table.assign(**dict.fromkeys(FINDINGS, 1.0)))
    assert "every policy gives the labels as they are written" in policies.tasks(sure)
    assert len(policies.findings(sure).tables) == 1


def test_no_finding_is_counted_in_the_sentence(dataset):
    train = dataset.table.iloc[dataset.rows("train")]
    assert f"{train['No Finding'].isna().sum()} empty labels" in policies.no_finding(dataset)


def test_nothing_that_the_page_shows_of_an_unshareable_set_names_an_image_or_a_patient(phantom_folder):
    dataset = open_dataset("chexpert", phantom_folder, size=48, progress=False)
    assert not dataset.shareable
    image, patient = dataset.table["image"].iat[0], dataset.table["patient"].iat[0]
    planted = Problem("label", f"{image}: 7 is no label", (f"{image}, {patient}",))
    dataset = replace(dataset, listing=replace(dataset.listing, remarks=Remarks([planted])))
    described, report = images.described(dataset), images.checked(dataset)
    shown = [images.splits(described), images.found(report), images.verdict(report), images.split_check(dataset),
             images.study_line(dataset, "paper"), images.confounding(dataset), policies.tasks(dataset),
             policies.no_finding(dataset), policies.findings(dataset), figures.contact_sheet(dataset)]  # fmt: skip
    drawn = [figures.flow(dataset), *(getattr(figures, name)(described) for name in OF_COUNTS)]
    text = " ".join([*(one._repr_html_() if isinstance(one, Tables) else str(one) for one in shown),
                     *(word for figure in drawn for word in words(figure))])  # fmt: skip
    assert "Labels out of range" in text
    assert ".jpg" not in text and not any(name in text for name in dataset.table["patient"])


def test_the_real_label_file_is_said_to_be_labels_only():
    file = images.chexpert_file()
    line = images.chexpert_line(file)
    if isinstance(file, Missing):
        assert "torchxrayvision is installed" in line
    else:
        assert "223,414 images" in line and "no image was read" in line


def test_without_torchxrayvision_the_page_says_so_and_shows_no_table(monkeypatch):
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    file = images.chexpert_file()
    assert "not installed" in images.chexpert_line(file)
    assert images.splits(images.described_file(file)) == policies.tasks(file) == ""


def test_every_augmentation_has_a_caveat():
    [table] = policies.augmentations().tables.values()
    assert {"rotation", "crop", "jitter", "flip"} <= set(table.index)
    assert all(len(caveat.split()) > 5 for caveat in table["Caveat"])
