"""How fast networks learn: curves as logged, images to an AUC, the mean over training, and what seeds leave open."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from chexlib.results import open_results
from chexlib.results.convergence import (
    by_network,
    contrast,
    difference,
    highest_of_all,
    images_to,
    learning_curves,
    mean_auc,
)
from tests.made_runs import make_store, study_file

A, B = "A · random", "B · imagenet"


def curves(*runs: tuple[str, list[float]], every: int = 100) -> pd.DataFrame:
    """Learning curves: of each run its network and the AUC every so many images; seeds count up."""
    rows = [
        (model, model.split()[-1], "", seed, every * n, n, auc)
        for seed, (model, aucs) in enumerate(runs)
        for n, auc in enumerate(aucs, start=1)
    ]
    return pd.DataFrame(rows, columns=["model", "init", "variant", "seed", "images", "steps", "auc"])


def one(values: pd.Series) -> float:
    [value] = values
    return value


def test_curves_are_what_was_logged_of_the_tasks_asked_for(tmp_path):
    study = study_file(tmp_path)
    store = make_store(tmp_path / "runs", study)
    run = store.planned("made")[4]
    logged = [
        {"event": "eval", "images": 32 * n, "auc": auc, "auc:Edema": 0.9} for n, auc in ((1, 0.6), (2, None), (3, 0.7))
    ]
    run.write("log.jsonl", "".join(json.dumps(row) + "\n" for row in [*logged, {"event": "ensemble", "auc": 0.1}]))
    run.finish()
    found = learning_curves(open_results(study, store.folder))
    assert len(found) == 7 * 2 + 2  # an evaluation without an AUC is none
    its = found[(found["model"] == "ResNet18Minus1 · random") & (found["seed"] == run.spec.seed)]
    assert its.to_dict("list") == {
        "model": ["ResNet18Minus1 · random"] * 2, "init": ["random"] * 2, "variant": [""] * 2, "seed": [1, 1],
        "images": [32, 96], "steps": [2, 6], "auc": [0.6, 0.7],
    }  # fmt: skip


def test_curves_follow_the_tasks_that_results_were_opened_with(tmp_path):
    study = study_file(tmp_path)
    store = make_store(tmp_path / "runs", study)
    of_tasks = {"auc:Edema": 0.9, "auc:No Finding": 0.8, "auc:Cardiomegaly": None}
    for run in store.planned("made"):
        run.write("log.jsonl", json.dumps({"event": "eval", "images": 16, "auc": 0.5} | of_tasks) + "\n")
        run.finish()
    for tasks, auc in ((["Edema", "No Finding"], 0.85), (["Edema", "Cardiomegaly"], 0.9), ([], 0.5)):
        assert learning_curves(open_results(study, store.folder, tasks))["auc"].tolist() == pytest.approx([auc] * 8)


# Images to an AUC


def test_the_target_is_met_between_two_evaluations():
    found = images_to(curves((A, [0.6, 0.8, 0.9])), 0.75)
    assert one(found) == pytest.approx(175) and found.index.tolist() == [(A, "random", "", 0)]
    assert one(images_to(curves((A, [0.6, 0.8, 0.9])), 0.75, of="steps")) == pytest.approx(1.75)
    assert one(images_to(curves((A, [0.6, 0.8, 0.9])), 0.8)) == pytest.approx(200)


def test_every_curve_begins_at_one_half():
    assert one(images_to(curves((A, [0.9])), 0.6)) == pytest.approx(25)
    assert one(images_to(curves((A, [0.9])), 0.5)) == 0


def test_a_lone_jump_has_reached_nothing():
    """Raw, 0.9 is there after 200 images; it stays only from 500 on."""
    jump = curves((A, [0.6, 0.9, 0.7, 0.8, 0.9]))
    rising = [0.6, 0.8, 0.8, 0.8, 0.9]
    assert one(images_to(jump, 0.9)) == pytest.approx(one(images_to(curves((A, rising)), 0.9))) == pytest.approx(500)
    assert one(images_to(jump, 0.7)) == pytest.approx(150)


def test_what_was_lost_again_is_not_reached():
    assert np.isnan(one(images_to(curves((A, [0.6, 0.9, 0.7])), 0.85)))
    assert one(images_to(curves((A, [0.6, 0.9, 0.7])), 0.8)) == pytest.approx(200)


def test_the_first_crossing_of_noisy_curves_is_early_and_that_of_the_rising_curve_is_not():
    rng, at = np.random.default_rng(0), np.arange(1, 16)
    learned = 0.78 - 0.28 * np.exp(-at / 4)
    target = 0.5 + 0.95 * (learned[-1] - 0.5)
    truth = -400 * np.log((0.78 - target) / 0.28)  # 1,050 images
    noisy = learned + rng.normal(0, 0.02, size=(200, 15))
    of_rising, of_first = (
        images_to(curves(*((A, list(aucs)) for aucs in some)), target)
        for some in (noisy, np.maximum.accumulate(noisy, axis=1))
    )
    assert of_rising.mean() == pytest.approx(truth, abs=50) and of_first.mean() < truth - 100


def test_the_target_that_all_reach_leaves_none_out():
    found = curves((A, [0.6, 0.8, 0.7]), (A, [0.7, 0.72, 0.74]), (B, [0.9, 0.95, 0.96]))
    assert highest_of_all(found) == pytest.approx(0.74)  # 0.75 is what the first keeps
    assert images_to(found, highest_of_all(found)).notna().all()
    assert images_to(found, highest_of_all(found) + 1e-6).isna().sum() == 1


# The mean over training


def test_the_mean_over_training_is_the_area_under_the_curve():
    assert one(mean_auc(curves((A, [0.7, 0.9])))) == pytest.approx(((0.5 + 0.7) / 2 + (0.7 + 0.9) / 2) / 2)
    wide = mean_auc(curves((A, [0.9] * 200)))
    assert one(wide) == pytest.approx(0.9, abs=0.002)


def test_networks_are_compared_over_as_many_images():
    short, long = mean_auc(pd.concat([curves((A, [0.7, 0.9])), curves((B, [0.7, 0.9, 0.95, 0.95])).assign(seed=1)]))
    assert short == pytest.approx(long)
    finer = pd.concat([curves((A, [0.7, 0.9])), curves((B, [0.6, 0.7, 0.8]), every=50)])
    coarse, fine = mean_auc(finer)
    assert fine == coarse == pytest.approx((0.55 + 0.65 + 0.75) / 3)


def test_who_learns_earlier_has_the_higher_mean_and_needs_fewer_images():
    both = curves((A, [0.6, 0.7, 0.8]), (B, [0.8, 0.8, 0.8]))
    assert mean_auc(both)[B].item() > mean_auc(both)[A].item()
    assert images_to(both, 0.75)[B].item() < images_to(both, 0.75)[A].item()


# Over seeds


def values(of: dict[str, list[float]]) -> pd.Series:
    """Numbers of networks, one a seed; in a name, what follows a comma is the variant."""
    rows = {
        (model, model.split()[-1], model.partition(" · ")[0].partition(", ")[2], seed): value
        for model, its in of.items()
        for seed, value in enumerate(its)
    }
    return pd.Series(rows, name="images").rename_axis(["model", "init", "variant", "seed"])


def test_a_difference_is_that_of_welchs_test():
    a, b = [0.70, 0.72, 0.75], [0.80, 0.81, 0.82]
    found, p = contrast(values({A: a, B: b}), {A: 1, B: -1}, margin=0.02)
    welch = ttest_ind(a, b, equal_var=False)
    expected = (np.mean(a) - np.mean(b), *welch.confidence_interval(0.95), welch.pvalue)
    assert (found.value, found.low, found.high, p) == pytest.approx(expected)
    assert found.over == "seeds" and found.margin == 0.02
    signed = difference(values({A: a, B: b}), A, B)
    assert (signed.value, signed.low, signed.signed) == (found.value, found.low, True)


def test_other_networks_from_the_same_init_tell_what_a_seed_does():
    few = {A: [0.70, 0.72], B: [0.80, 0.81]}
    more = few | {f"{n} · {init}": [0.5, 0.51, 0.52] for n in range(9) for init in ("random", "imagenet")}
    narrow, wide = (difference(values(of), A, B) for of in (more, few))
    assert narrow.value == pytest.approx(wide.value) and narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_a_variant_has_a_spread_of_its_own():
    steady = {A: [0.70, 0.71, 0.72], B: [0.80, 0.81, 0.82]}
    restless = {f"C, train_images 20 · {init}": [0.1, 0.5, 0.9] for init in ("random", "imagenet")}
    alone, beside = (difference(values(of), A, B) for of in (steady, steady | restless))
    assert (alone.low, alone.high) == (beside.low, beside.high)


def test_a_seed_without_a_value_is_told_and_never_dropped():
    known = values({A: [100, np.nan, 300], B: [100, 110, 120], "C · random": [90, 100, 120]})
    found = difference(known, A, B)
    assert not found and A in found.missing and "1 of 3" in found.missing
    table = by_network(known)
    assert table["never"].to_dict() == {A: 1, B: 0, "C · random": 0} and table["seeds"].eq(3).all()
    assert table.loc[A, ["value", "low", "high"]].isna().all()
    assert table.loc[B, "value"] == pytest.approx(110) and table.loc[B, "low"] < 110 < table.loc[B, "high"]


def test_what_cannot_be_told_says_why():
    once = values({A: [0.7], B: [0.8]})
    alone = difference(once, A, B)
    assert alone.value == pytest.approx(-0.1) and alone.verdict == "missing" and alone.few
    assert by_network(once)["value"].tolist() == [0.7, 0.8] and by_network(once)["low"].isna().all()
    absent = difference(once, A, "X · random")
    assert not absent and "X · random" in absent.missing
