"""What a study measures for Transfusion's statements (Raghu et al. 2019), beside what `measurements` has.

The paper's large networks are ResNet50 and InceptionV3. Where a study has neither of them from the initial weights that
a statement is about (ImageNet's cannot be had everywhere), the EfficientNet-Lite family stands in, and the name of the
number says so. It stands in for them as ImageNet architectures, not as large ones: how size bears on features asks for
the paper's own networks, from random weights. Its small networks have no ImageNet weights.

How fast networks learn is compared by the mean validation AUC over training (`chexlib.results.convergence`), which all
of them have. Representations are compared by CCA, as in the paper, where `results.similarity` has images enough for it,
else by CKA; both as the share of what lies above independent features, which in wide layers are alike by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
import pandas as pd

from chexlib.models.inits import reach
from chexlib.models.truncate import stage_number
from chexlib.models.zoo import CBR_LAYERS
from chexlib.results import Estimate, Results
from chexlib.results.convergence import contrast, learning_curves, mean_auc
from chexlib.stats import jackknife, rank_correlations
from chexpaper.claims.measurements import Measured, mean_difference, measured, missing, over_families
from chexpaper.claims.printed import texts

LARGE, SMALL = ("ResNet50", "InceptionV3"), tuple(CBR_LAYERS)
"""Transfusion's networks."""
STAND_INS = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")


def transfer(results: Results, few: str = "") -> list[Measured]:
    """The boost of each large network by ImageNet weights; with "few" on the fewest training images."""
    images = _images(results, few)

    def boost(label: str, said: str) -> list[Measured]:
        pretrained, random = (_name(label, init, images) for init in ("imagenet", "random"))
        return mean_difference(results, f"boost of {said}", [pretrained], [random])

    return _of_each(results, boost, "imagenet", "random", images=images)


def transfer_on(results: Results, *task: str) -> list[Measured]:
    """Their mean boost on one task."""
    labels, whose = trained(results, "imagenet", "random")
    pretrained, random = ([_name(label, init) for label in labels] for init in ("imagenet", "random"))
    what = f"boost on {' '.join(task)}, mean of {', '.join(labels)}{whose}"
    return mean_difference(results, what, pretrained, random, task=" ".join(task))


def transfer_gap(results: Results) -> list[Measured]:
    """The boost of each on the fewest training images less that on all."""
    images = _images(results, "few")

    def gap(label: str, said: str) -> list[Measured]:
        names = [_name(label, init, n) for n in (images, "") for init in ("imagenet", "random")]
        what = f"boost of {said} less that on all images"
        return measured(results, what, names, lambda auc: auc[names].to_numpy() @ [1, -1, -1, 1])

    return _of_each(results, gap, "imagenet", "random", images=images)


def small_networks(results: Results, init: str, few: str = "") -> list[Measured]:
    """Mean AUC of the small networks at hand less that of the large ones; fewer than all four do not settle it."""
    images = _images(results, few)
    large, whose = trained(results, init, images=images)
    small = [label for label in SMALL if _name(label, init, images) in results.models.index] or SMALL
    first, second = ([_name(label, init, images) for label in labels] for labels in (small, large))
    what = f"{', '.join(small)} less {', '.join(large)}{whose} ({init}{images})"
    return mean_difference(results, what, first, second, len(SMALL) + len(large))


def top5_correlation(results: Results, init: str, few: str = "") -> list[Measured]:
    """Spearman's rho of the printed ImageNet top-5 accuracy with the AUC, over the paper's networks."""
    images, top5 = _images(results, few), texts("transfusion1")["top5"].astype(float)
    names = {label: _name(label, init, images) for label in top5.index}
    labels = [label for label in names if names[label] in results.models.index]

    def statistic(auc: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        return rank_correlations(top5[labels].to_numpy(), auc[[names[label] for label in labels]].to_numpy(), times)

    what = f"ρ of top-5 accuracy and AUC ({init}{images})"
    return over_families(results, what, [[names[label] for label in labels]], statistic, len(top5))


# How fast they learn


def faster(results: Results, a: str, b: str, network: str = "") -> list[Measured]:
    """How much higher the mean AUC over training is from init a than from b, for each large network or for one."""

    def apart(label: str, said: str) -> list[Measured]:
        return _speed(results, f"AUC over training of {said}: {a} less {b}", label, {a: 1, b: -1})

    return apart(network, network) if network else _of_each(results, apart, a, b)


def gain_of_stage(results: Results, stage: str) -> list[Measured]:
    """What pretrained weights in one more stage add to the AUC over training, less what each other stage's add."""
    asked = f"transfusion:{stage}"

    def gains(label: str, said: str) -> list[Measured]:
        inits = results.models["init"][results.models["label"] == label]
        reused = sorted({asked, *inits[inits.str.startswith("transfusion:")]}, key=reach)
        added = {b: {b: 1, a: -1} for a, b in pairwise(["random", *reused, "imagenet"])}
        own = added.pop(asked)
        what = f"AUC over training of {said}: gain by {stage} less that by"
        return [
            one
            for other, its in added.items()
            for one in _speed(results, f"{what} {other.removeprefix('transfusion:')}", label, _less(own, its))
        ]

    return _of_each(results, gains, "random", asked, "imagenet", of=LARGE[:1])


def gain_of_lowest(results: Results) -> list[Measured]:
    """What they add in the two lowest stages, less what they add in all above."""
    lowest = "transfusion:block1"

    def gain(label: str, said: str) -> list[Measured]:
        what = f"AUC over training of {said}: gain by the two lowest stages less that by all above"
        return _speed(results, what, label, {lowest: 2, "random": -1, "imagenet": -1})

    return _of_each(results, gain, "random", lowest, "imagenet", of=LARGE[:1])


def slim(results: Results, by: str) -> list[Measured]:
    """The Slim network, pretrained in its lower stages, less the whole one with ImageNet weights: "auc" or "speed"."""

    def apart(label: str, said: str) -> list[Measured]:
        its = results.models[results.models["label"] == f"{label}Slim"]
        whole = _name(label, "imagenet")
        found = []
        for name, init in its["init"][its["init"].str.startswith("transfusion:")].items():
            what = f"Slim ({init}) less whole {said}"
            if by == "auc":
                found += mean_difference(results, what, [name], [whole])
            else:
                found += _by_speed(results, f"AUC over training: {what}", {name: 1, whole: -1})
        return found

    found = _of_each(results, apart, "imagenet", of=LARGE[:1])
    return found or missing("Slim", "no Slim network beside a whole one with ImageNet weights")


# How alike their features are


def nearer_random(results: Results) -> list[Measured]:
    """How alike two trainings from random weights are, less one from random and one from ImageNet weights.

    Over the two highest stages.
    """

    def nearer(label: str, said: str) -> list[Measured]:
        random, pretrained = (_name(label, init) for init in ("random", "imagenet"))

        def statistic(table: pd.DataFrame) -> float:
            pairs = [_trained_alike(table, random, other).iloc[-2:].mean() for other in (random, pretrained)]
            return pairs[0] - pairs[1]

        what = f"two random inits of {said} less random and pretrained"
        return _alike(results, what, [random, pretrained], statistic)

    return _of_each(results, nearer, "random", "imagenet")


def lowest_stays(results: Results) -> list[Measured]:
    """How like its beginning the lowest stage is, less the mean of the others, for each of the paper's networks."""

    def statistic(table: pd.DataFrame, name: str) -> float:
        stages = _kept(table, name)
        return stages.iloc[:1].mean() - stages.iloc[1:].mean()

    names = [_name(label, "random") for label in (*LARGE, *SMALL)]
    names += [_name(label, "imagenet") for label in trained(results, "imagenet")[0]]
    return [
        one
        for name in names
        for one in _alike(results, f"lowest stage of {name} less those above", [name], partial(statistic, name=name))
    ]


def stays_more(results: Results, a: str, b: str, where: str) -> list[Measured]:
    """How like their beginnings some networks are ("ResNet50+InceptionV3") less others, all from random weights.

    where: in the "lowest" stage, or the mean over "all".
    """
    sides = [[_name(label, "random") for label in labels.split("+")] for labels in (a, b)]
    stages = slice(1) if where == "lowest" else slice(None)

    def statistic(table: pd.DataFrame) -> float:
        first, second = (np.mean([_kept(table, name).iloc[stages].mean() for name in side]) for side in sides)
        return float(first - second)

    return _alike(results, f"{a} less {b}, {where} stage{'s' * (where == 'all')}", [*sides[0], *sides[1]], statistic)


def reuse(results: Results, where: str) -> list[Measured]:
    """How like its beginning each large network is from ImageNet weights, less from random ones.

    where: in the two "lowest" stages, or those "above".
    """
    stages = slice(2) if where == "lowest" else slice(2, None)

    def kept_more(label: str, said: str) -> list[Measured]:
        pretrained, random = (_name(label, init) for init in ("imagenet", "random"))

        def statistic(table: pd.DataFrame) -> float:
            return _kept(table, pretrained).iloc[stages].mean() - _kept(table, random).iloc[stages].mean()

        what = f"{said}, pretrained less random, {'two lowest stages' if where == 'lowest' else 'stages above'}"
        return _alike(results, what, [pretrained, random], statistic)

    return _of_each(results, kept_more, "imagenet", "random")


TRANSFUSION = (
    transfer, transfer_on, transfer_gap, small_networks, top5_correlation, faster, gain_of_stage, gain_of_lowest, slim,
    nearer_random, lowest_stays, stays_more, reuse,
)  # fmt: skip


def trained(results: Results, *inits: str, of: Sequence[str] = LARGE, images: str = "") -> tuple[Sequence[str], str]:
    """These networks if any was trained from all these inits, else such stand-ins, and whom they stand in for."""

    def at_hand(label: str) -> bool:
        return all(_name(label, init, images) in results.models.index for init in inits)

    stand_ins = [label for label in STAND_INS if at_hand(label)]
    return (of, "") if any(map(at_hand, of)) or not stand_ins else (stand_ins, f", for {' and '.join(of)}")


def _of_each(results: Results, measure: Callable, *inits: str, of: Sequence[str] = LARGE, images: str = ""):
    """What `measure` gives for each network that is `trained` so, from its label and what is said of it."""
    labels, whose = trained(results, *inits, of=of, images=images)
    return [one for label in labels for one in measure(label, f"{label}{images}{whose}")]


def _name(label: str, init: str, images: str = "") -> str:
    """A network's name in `results.models`."""
    return f"{label}{images} · {init}"


def _images(results: Results, few: str) -> str:
    """How the names of networks say that they had the fewest training images of the study; "" where not asked."""
    if not few:
        return ""
    fewer = [n for n in results.models.get("train_images", ()) if n]
    return f", train_images {min(fewer)}" if fewer else ", fewer training images"


def _less(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {name: a.get(name, 0) - b.get(name, 0) for name in {**a, **b}}


def _speed(results: Results, what: str, label: str, weights: Mapping[str, int]) -> list[Measured]:
    """A weighted sum of the AUCs over training of a network from several inits."""
    return _by_speed(results, what, {_name(label, init): weight for init, weight in weights.items()})


def _by_speed(results: Results, what: str, weights: Mapping[str, int]) -> list[Measured]:
    """The same of several networks."""
    estimate, p = contrast(_over_training(results), weights, margin=results.margin, signed=True)
    return [Measured(what, estimate, tuple(weights), 1, 1, p)]


@lru_cache(maxsize=1)
def _over_training(results: Results) -> pd.Series:
    """The mean AUC over training of each run, but for variants, which may have had fewer images."""
    curves = learning_curves(results)
    return mean_auc(curves[curves["variant"] == ""])


def _alike(
    results: Results, what: str, names: Sequence[str], statistic: Callable[[pd.DataFrame], float]
) -> list[Measured]:
    """A statistic of what `results.similarity` says of these networks, over seeds.

    statistic: of the table with a column `alike`, NaN where it lacks what is asked for.
    """
    table = results.similarity
    if table.empty:
        return missing(what, "the study's features have not been compared")
    table = table[table["model"].isin(names) & table["other_model"].isin(names)]
    cca, cka = (table[table["measure"] == measure] for measure in ("cca", "cka"))
    measure = "cca" if len(cca) == len(cka) and cca["enough"].all() else "cka"
    rows = table[table["measure"] == measure]
    rows = rows.assign(alike=(rows["value"] - rows["null"]) / (1 - rows["null"]))
    seeds = sorted({*rows["seed"], *rows["other_seed"]})
    value = statistic(rows)
    without = [statistic(rows[(rows["seed"] != seed) & (rows["other_seed"] != seed)]) for seed in seeds]
    what = f"similarity ({measure.upper()}): {what}"
    if len(seeds) < 2 or np.isnan([value, *without]).any():
        return missing(what, f"{what}: not compared, or in too few seeds, of {', '.join(names)}")
    few = "" if rows["enough"].all() else "fewer images than a similarity of so many channels takes"
    found = jackknife(value, without)
    estimate = Estimate(found.value, found.low, found.high, "seeds", few=few, margin=results.margin, signed=True)
    return [Measured(what, estimate, tuple(names), 1, 1, np.nan if few else found.p)]


def _kept(table: pd.DataFrame, name: str) -> pd.Series:
    """How like its beginning a network's every stage is in the end, from the lowest; mean over seeds."""
    same = (table["model"] == name) & (table["other_model"] == name) & (table["seed"] == table["other_seed"])
    return _by_stage(table[same & (table["at"] != table["other_at"])])


def _trained_alike(table: pd.DataFrame, a: str, b: str) -> pd.Series:
    """How alike every stage of two trained networks is, or of one from two seeds; mean over pairs of seeds."""
    table = table[(table["at"] == "end") & (table["other_at"] == "end")]
    of_both = table["model"].isin([a, b]) & table["other_model"].isin([a, b])
    differ = "seed" if a == b else "model"
    return _by_stage(table[of_both & (table[differ] != table[f"other_{differ}"])])


def _by_stage(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("stage")["alike"].mean().sort_index(key=lambda stages: stages.map(stage_number))
