"""What a study measures for Transfusion's statements: by hand, on runs and similarities that are made up."""

import json
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import yaml

from chexlib.results import Results, open_results
from chexlib.stats import draw_families, jackknife, rank_correlations, spearman
from chexpaper import claims
from chexpaper.claims.ledger import MEASUREMENTS, NOT_RUN, OPEN, UNTESTABLE
from chexpaper.claims.printed import texts
from chexpaper.claims.transfusion import LARGE, SMALL
from tests.made_runs import make_store, predictions

SEEDS = [0, 1, 2]
PAPERS = ["resnet50", "inception_v3", "cbr_larget", "cbr_largew", "cbr_small", "cbr_tiny"]
LITE = "EfficientNetLite0"
LEARNED = {
    "random": 0.6, "mean_var": 0.65, "mean_var:weights": 0.65, "gabor": 0.7, "transfusion:block1": 0.73,
    "transfusion:block2": 0.78, "transfusion:conv1": 0.7, "transfusion:block3": 0.8, "imagenet": 0.8,
}  # fmt: skip
"""Validation AUC at all evaluations, by init."""
RUNS = [
    {"arch": PAPERS, "seed": SEEDS},
    {"arch": ["efficientnet_lite0", "efficientnet_lite1"], "init": ["random", "imagenet"], "seed": SEEDS},
    {"arch": "efficientnet_lite0", "init": list(LEARNED)[1:-2], "seed": SEEDS},
    {"arch": "efficientnet_lite0_slim", "init": "transfusion:block3", "seed": SEEDS},
    {"arch": "cbr_largew", "init": "gabor", "seed": SEEDS},
    {"arch": PAPERS, "train_images": 20},
    {"arch": "efficientnet_lite0", "train_images": [20, 50], "init": ["random", "imagenet"]},
]


def opened(folder, runs, logged=LEARNED):
    """Results of a made-up study of these runs, through the real door, with what they logged."""
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({"common": {"dataset": "phantom", "size": 96}, "runs": runs}))
    store = make_store(
        folder / "runs", path, lambda spec: predictions(replace(spec, seed=spec.seed + spec.train_images))
    )
    for run in store.planned("made"):
        auc = logged[run.spec.init] + 0.001 * run.spec.seed
        rows = [
            {"event": "eval", "images": 100 * n, "auc": auc}
            for n in ((1, 2) if run.spec.train_images else (1, 2, 3, 4))
        ]
        run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        run.finish()
    return open_results(path, folder / "runs", replicates=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("transfusion"), RUNS)


def measure(results, call):
    name, *words = call.split()
    return MEASUREMENTS[name](results, *words)


def mean(auc, labels, images=""):
    return sum(auc[f"{label}{images} · random"] for label in labels) / len(labels)


def boost(auc, label):
    return auc[f"{label} · imagenet"] - auc[f"{label} · random"]


FEW = f"{LITE}, train_images 20"


@pytest.mark.parametrize(
    ("call", "by_hand"),
    [
        ("transfer", [lambda auc: boost(auc, LITE), lambda auc: boost(auc, "EfficientNetLite1")]),
        ("transfer few", [lambda auc: boost(auc, FEW)]),
        ("transfer_gap", [lambda auc: boost(auc, FEW) - boost(auc, LITE)]),
        ("small_networks random", [lambda auc: mean(auc, SMALL) - mean(auc, LARGE)]),
        (
            "small_networks random few",
            [lambda auc: mean(auc, SMALL, ", train_images 20") - mean(auc, LARGE, ", train_images 20")],
        ),
        ("slim auc", [lambda auc: auc["EfficientNetLite0Slim · transfusion:block3"] - auc[f"{LITE} · imagenet"]]),
    ],
)
def test_a_measurement_of_aucs_is_what_a_hand_computes(made, call, by_hand):
    for one, hand in zip(measure(made, call), by_hand, strict=True):
        assert one.estimate.value == pytest.approx(hand(made.models["auc"]))
        ends = np.quantile(hand(made.replicates), [0.025, 0.975])
        assert (one.estimate.low, one.estimate.high) == pytest.approx(ends) and one.n == one.of
        assert set(one.networks) <= set(made.models.index)


def test_a_boost_on_one_task_is_of_that_task_and_a_rare_one_has_no_verdict(made):
    [one] = measure(made, "transfer_on Pleural Effusion")
    labels, t = (LITE, "EfficientNetLite1"), made.all_tasks.index("Pleural Effusion")
    of_task = made.task_auc["Pleural Effusion"]
    assert one.estimate.value == pytest.approx(np.mean([boost(of_task, label) for label in labels]))
    draws = pd.DataFrame(made.task_replicates[:, :, t], columns=made.task_auc.index)
    ends = np.quantile((boost(draws, LITE) + boost(draws, labels[1])) / 2, [0.025, 0.975])
    assert (one.estimate.low, one.estimate.high) == pytest.approx(ends)
    assert measure(made, "transfer_on Consolidation")[0].estimate.few  # four positive studies
    assert not measure(made, "transfer_on Fracture")[0].estimate


def test_the_lite_family_stands_in_only_where_neither_network_is_there_and_the_number_says_so(made, tmp_path):
    for call in ("transfer", "transfer_gap", "faster imagenet random", "faster mean_var random", "slim auc"):
        assert all("EfficientNetLite" in one.what and "for ResNet50" in one.what for one in measure(made, call))
    assert not any("Lite" in one.what for one in measure(made, "small_networks random"))
    both = opened(tmp_path, [{"arch": ["resnet50", "efficientnet_lite0"], "init": ["random", "imagenet"]}])
    resnet, inception = measure(both, "transfer")
    assert resnet.what == "boost of ResNet50" and resnet.estimate
    assert not inception.estimate and "InceptionV3 · imagenet" in inception.estimate.missing


def test_one_of_the_small_networks_does_not_settle_what_is_said_of_all(tmp_path):
    runs = [{"arch": ["cbr_small", "efficientnet_lite0"], "train_images": [0, 20]}]
    for call, images in (("small_networks random", ""), ("small_networks random few", ", train_images 20")):
        [one] = measure(results := opened(tmp_path, runs), call)
        auc = results.models["auc"]
        assert one.estimate.value == pytest.approx(auc[f"CBR-Small{images} · random"] - auc[f"{LITE}{images} · random"])
        assert (one.n, one.of) == (2, 5) and "for ResNet50" in one.what


def test_the_correlation_with_top5_is_over_the_papers_six_networks(made):
    top5 = texts("transfusion1")["top5"].astype(float)
    names = [f"{label} · random" for label in top5.index]
    [one] = measure(made, "top5_correlation random")
    assert one.estimate.value == pytest.approx(spearman(top5, made.models["auc"][names]).rho)
    times = draw_families(made.models["family"][names], 60, made.seed)
    again = rank_correlations(top5.to_numpy(), made.replicates[names].to_numpy(), times)
    assert (one.estimate.low, one.estimate.high) == pytest.approx(tuple(np.nanquantile(again, [0.025, 0.975])))
    assert (one.n, one.of) == (6, 6)


# How fast they learn


def area(auc):
    """Under a curve that is level from the first of four evaluations on, and begins at one half."""
    return (0.5 + 7 * auc) / 8


@pytest.mark.parametrize(
    ("call", "gains"),
    [
        ("faster mean_var random", [0.05]),
        ("faster gabor transfusion:conv1", [0]),
        ("faster gabor random CBR-LargeW", [0.1]),
        ("faster imagenet random", [0.2, 0.2]),
        ("slim speed", [0]),
        ("gain_of_lowest", [(0.73 - 0.6) - (0.8 - 0.73)]),
        ("gain_of_stage conv1", [0.1 - 0.03, 0.1 - 0.05, 0.1 - 0.02]),  # less block1, block2, all above
        ("gain_of_stage block2", [0.05 - 0.1, 0.05 - 0.03, 0.05 - 0.02]),
    ],
)
def test_speed_is_the_mean_auc_over_training(made, call, gains):
    found = measure(made, call)
    assert [one.estimate.value for one in found] == pytest.approx([7 / 8 * gain for gain in gains])
    for one, gain in zip(found, gains, strict=True):
        assert one.estimate.over == "seeds" and one.estimate.low < one.estimate.value < one.estimate.high
        assert one.estimate.verdict == ("higher" if gain > 0 else "lower" if gain < 0 else "same")
        assert (one.p < 0.05) == (gain != 0) and set(one.networks) <= set(made.models.index)


def test_networks_of_fewer_images_tell_nothing_of_how_fast_and_steady_the_others_are(tmp_path):
    runs = [{"arch": "efficientnet_lite0", "init": ["random", "imagenet"], "seed": SEEDS}]
    alone = opened(tmp_path, runs)
    (tmp_path / "more").mkdir()
    more = opened(
        tmp_path / "more", [*runs, {"arch": "resnet50"}, {"arch": "resnet50", "train_images": 20, "seed": [0, 50]}]
    )
    [one], [other] = (measure(results, "faster imagenet random") for results in (alone, more))
    ends, others = ((it.estimate.low, it.estimate.high, it.p) for it in (one, other))
    assert ends == pytest.approx(others)


def test_a_stage_that_was_not_reused_is_missing(made):
    for call in ("gain_of_stage block3", "faster transfusion:block7 random"):
        for one in measure(made, call):
            assert not one.estimate and "transfusion:block" in one.estimate.missing


# How alike their features are

STAGES = ["conv1", "block1", "block2", "block10"]
COLUMNS = [
    "model",
    "seed",
    "at",
    "other_model",
    "other_seed",
    "other_at",
    "stage",
    "measure",
    "value",
    "null",
    "enough",
]


def similarity(value, names, measures=("cca", "cka"), seeds=SEEDS, enough=True, null=0.0):
    """All comparisons of these networks: start with end of each run, and the ends of each two runs.

    value: of two runs (name, seed) and a stage's place.
    """
    runs, rows = list(product(names, seeds)), []
    pairs = [(run, "start", run, "end") for run in runs]
    pairs += [(one, "end", other, "end") for one, other in combinations(runs, 2)]
    for measure_ in measures:
        for one, at, other, other_at in pairs:
            for place in reversed(range(len(STAGES))):
                rows.append(
                    [*one, at, *other, other_at, STAGES[place], measure_, value(one, other, place), null, enough]
                )
    return pd.DataFrame(rows, columns=COLUMNS)


RANDOM, PRETRAINED = f"{LITE} · random", f"{LITE} · imagenet"
NAMES = [RANDOM, PRETRAINED, *(f"{label} · random" for label in (*LARGE, *SMALL))]


def alike(one, other, place):
    """Runs depart with depth from their beginning; two from random weights are alike, to others they are less so."""
    jitter = 0.001 * (one[1] + other[1])
    if one == other:
        large = one[0].split()[0] in LARGE
        return 0.9 - (0.05 if large else 0.15) * (1 + place) + 0.2 * (one[0] == PRETRAINED and place < 2) + jitter
    return (0.7 if one[0] == other[0] else 0.4) - 0.1 * place + jitter


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("nearer_random", 0.3),
        ("stays_more ResNet50+InceptionV3 CBR-Small+CBR-Tiny lowest", 0.1),
        ("stays_more ResNet50 CBR-Small all", 0.1 * 2.5),
        ("reuse lowest", 0.2),
        ("reuse above", 0),
    ],
)
def test_similarities_are_compared_stage_by_stage(made, monkeypatch, call, value):
    monkeypatch.setattr(Results, "similarity", similarity(alike, NAMES))
    [one] = [one for one in measure(made, call) if one.estimate]  # the second stand-in has not been compared
    assert one.estimate.value == pytest.approx(value, abs=1e-9) and one.estimate.over == "seeds"
    assert "CCA" in one.what and set(one.networks) <= set(NAMES)


def test_the_lowest_stage_is_the_first_by_name_and_is_held_against_all_above(made, monkeypatch):
    monkeypatch.setattr(Results, "similarity", similarity(alike, NAMES))
    found = {one.networks[0]: one.estimate.value for one in measure(made, "lowest_stays") if one.estimate}
    assert set(found) == {*NAMES} - {RANDOM}
    assert found["CBR-Tiny · random"] == pytest.approx(0.15 * 2)
    assert found["ResNet50 · random"] == pytest.approx(0.05 * 2)
    assert found[PRETRAINED] == pytest.approx(0.15 * 2 + 0.2 * 2 / 3)


def test_the_interval_leaves_out_a_seed_at_a_time(made, monkeypatch):
    rng = np.random.default_rng(0)
    table = similarity(lambda *pair: alike(*pair) + 0.05 * rng.normal(), NAMES)
    monkeypatch.setattr(Results, "similarity", table)
    [one, _] = measure(made, "nearer_random")

    def by_hand(kept):
        its = table[table["seed"].isin(kept) & table["other_seed"].isin(kept) & (table["measure"] == "cca")]
        its = its[(its["at"] == "end") & its["stage"].isin(STAGES[-2:])]
        own = its[(its["model"] == RANDOM) & (its["other_model"] == RANDOM)]
        return own["value"].mean() - its["value"][(its["model"] == RANDOM) & (its["other_model"] == PRETRAINED)].mean()

    expected = jackknife(by_hand(SEEDS), [by_hand([s for s in SEEDS if s != left]) for left in SEEDS])
    assert (one.estimate.value, one.estimate.low, one.estimate.high, one.p) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.p)
    )


def test_cka_takes_the_place_of_cca_where_images_are_too_few_for_it(made, monkeypatch):
    few, enough = (similarity(alike, NAMES, [name], enough=it) for name, it in (("cca", False), ("cka", True)))
    monkeypatch.setattr(Results, "similarity", pd.concat([few, enough]))
    [one] = measure(made, "stays_more ResNet50 CBR-Small lowest")
    assert "CKA" in one.what and one.estimate.verdict == "higher"
    monkeypatch.setattr(Results, "similarity", similarity(alike, NAMES, enough=False))
    [one] = measure(made, "stays_more ResNet50 CBR-Small lowest")
    assert one.estimate.few and one.estimate.verdict == "missing" and np.isnan(one.p)


def test_what_independent_features_give_is_no_similarity(made, monkeypatch):
    """Both lie half way between their nulls and one, so neither is more alike."""

    def by_chance(one, other, place):
        return 0.5 if one[0].startswith("ResNet50") else 0.75

    table = similarity(by_chance, NAMES).assign(null=lambda t: np.where(t["model"].str.startswith("ResNet50"), 0, 0.5))
    monkeypatch.setattr(Results, "similarity", table)
    [one] = measure(made, "stays_more ResNet50 CBR-Small all")
    assert one.estimate.value == pytest.approx(0)


@pytest.mark.parametrize("table", [similarity(alike, NAMES)[:0], similarity(alike, NAMES, seeds=[0, 1]), None])
def test_without_a_similarity_or_with_two_seeds_of_it_nothing_is_said(made, monkeypatch, table):
    made = replace(made)  # which has cached nothing
    if table is not None:
        monkeypatch.setattr(Results, "similarity", table)
    assert not any(one.estimate for one in measure(made, "nearer_random"))
    assert all(one.estimate.missing for one in measure(made, "nearer_random"))


# The statements


def test_a_study_of_the_stand_ins_judges_more_than_twenty_of_the_statements(made, monkeypatch):
    names = [*NAMES, "EfficientNetLite1 · random", "EfficientNetLite1 · imagenet"]
    monkeypatch.setattr(Results, "similarity", similarity(alike, names))
    statements = claims.load(paper="Transfusion")
    judged = {one.statement.id: one for one in claims.ledger(made, statements)}
    assert not [id for id, one in judged.items() if one.verdict == NOT_RUN]
    told = [id for id, one in judged.items() if one.verdict not in (OPEN, UNTESTABLE)]
    assert len(told) >= 20 and {"tf-mean-var", "tf-f2-large", "tf-5-conv1", "tf-f8-gabor"} <= set(told)
    assert judged["tf-t2-consolidation"].verdict == OPEN and judged["tf-t2-consolidation"].reason
    assert judged["tf-mean-var"].verdict == "holds on phantoms" and len(judged["tf-mean-var"].runs) == 6


def test_a_study_that_lacks_the_networks_says_so(tmp_path):
    judged = claims.ledger(opened(tmp_path, [{"arch": "densenet121"}]), claims.load(paper="Transfusion"))
    assert {one.verdict for one in judged} == {NOT_RUN, UNTESTABLE}
    assert all(one.reason for one in judged)


def test_the_networks_of_table_1_are_not_closely_correlated_as_its_own_columns_have_it():
    [one] = [
        one for one in claims.ledger(None, claims.load(paper="Transfusion")) if one.statement.id == "tf-t1-predict"
    ]
    table = texts("transfusion1").astype(float)
    assert one.own.verdict == "not consistent" and spearman(table["top5"], table["random"]).rho > 0.9
