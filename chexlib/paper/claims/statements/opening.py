"""CheXtransfer, Figure 1, abstract, introduction and related work (sections 1 and 2)."""

from __future__ import annotations

from functools import partial

from chexlib.paper.claims import from_study, own_tables, recounts
from chexlib.paper.claims.criteria import above, absent, below, beyond, no_drop, no_gain, small
from chexlib.paper.claims.statement import CITED, DRAWING, Statement

BOTH = ("random", "imagenet")
HEADLINE = ("EfficientNetB0Minus2", "MNASNetMinus1", "DenseNet121Minus1", "ResNet18Minus1")
"""Behind the 3.25: of each family the deepest truncation without a significant drop."""

NO_BOOST = ("ResNet50", "InceptionV3", "InceptionV4", "MNASNet")
BOOST = (
    "DenseNet121", "DenseNet169", "DenseNet201", "EfficientNetB0", "EfficientNetB1", "EfficientNetB2",
    "EfficientNetB3", "MobileNetV2", "MobileNetV3", "ResNet18", "ResNet34", "ResNet101",
)  # fmt: skip
SEARCHED, OLDER = ("EfficientNet", "MobileNet", "MNASNet"), ("DenseNet", "ResNet")
"""Compared without pretraining, as the discussion compares families; what 2.2 and 4.2 say of them names no weights."""

BETTER, WORSE = ("DenseNet", "ResNet", "Inception"), ("EfficientNet", "MobileNet")
"""By section 4.2. A gap with a sign, named beforehand: one without would be widened by noise."""

RELATION = {"criterion": absent, "page": "02_baselines"}
"""What all statements on ImageNet accuracy share."""
SIZE = {"page": "04_family_analysis"}
GAIN = {"page": "03_pretraining_boost"}
CUT = {"page": "05_truncation"}


def headline(id: str, place: str) -> Statement:
    return Statement(
        id, place, "Truncation makes models this many times smaller on average, without a significant drop in AUC",
        {"times": "3.25"}, partial(own_tables.mean_times, labels=HEADLINE), partial(recounts.mean_times,
        labels=HEADLINE),
        partial(from_study.truncations, models=HEADLINE), no_drop, **CUT,
    )  # fmt: skip


def _mean_boost(id: str, place: str, says: str, **printed: str) -> Statement:
    return Statement(id, place, says, printed, study=from_study.mean_boost, criterion=above, **GAIN)


def boosted(id: str, place: str) -> list[Statement]:
    """Which architectures gain from pretraining, said in 2.1 and again in the discussion."""
    return [
        Statement(f"{id}-12", place, "Pretraining raises the AUC of twelve of the sixteen architectures",
                  {"architectures": "12"}, study=partial(from_study.boosts, models=BOOST), criterion=above, **GAIN),
        Statement(f"{id}-4", place, "Pretraining does not raise the AUC of ResNet50, InceptionV3, InceptionV4, MNASNet",
                  study=partial(from_study.boosts, models=NO_BOOST), criterion=no_gain, **GAIN),
    ]  # fmt: skip


def searched(id: str, place: str, says: str, older: tuple[str, ...], newer: tuple[str, ...]) -> Statement:
    """That some families do better than others, which leaves open by how much."""
    return Statement(id, place, says, reading={"difference": "> 0"},
                     own=partial(own_tables.families, a=older, b=newer),
                     study=partial(from_study.groups, a=older, b=newer, init="random"), criterion=above,
                     **SIZE)  # fmt: skip


def within(
    id: str, place: str, family: str, a: str, b: str, printed: str, criterion, init: str = "random"
) -> Statement:
    own = partial(own_tables.difference, a=a, b=b) if init == "imagenet" else None
    how = "without" if init == "random" else "with"
    return Statement(id, place, f"{family}: the largest leads the smallest by this AUC, {how} pretraining",
                     {"difference": printed}, own, study=partial(from_study.difference, a=a, b=b, init=init),
                     criterion=criterion, **SIZE)  # fmt: skip


FIGURE1 = [
    Statement("fig1-models", "Figure 1", "Sixteen pretrained models are compared", {"architectures": "16"},
              own_tables.architectures),
    Statement("fig1-relation", "Figure 1", "ImageNet and CheXpert performance are unrelated for pretrained models",
              study=partial(from_study.correlation, column="top1", inits=("imagenet",)), **RELATION),
    Statement("fig1-families", "Figure 1", "Performance varies across families much more than within them",
              study=partial(from_study.family_against_size, init="random"), criterion=above, **SIZE),
    Statement("fig1-boost", "Figure 1", "Average performance rises with pretraining", study=from_study.mean_boost,
              criterion=above, **GAIN),
    Statement("fig1-bars", "Figure 1", "Error bars show this many standard deviations", {"standard deviations": "1"},
              study=DRAWING),
    Statement("fig1-cuts", "Figure 1", "Truncating the final blocks keeps performance",
              study=partial(from_study.truncations, models=HEADLINE), criterion=no_drop, **CUT),
]  # fmt: skip

ABSTRACT = [
    Statement("abs-models", "abstract", "Sixteen convolutional architectures are compared", {"architectures": "16"},
              own_tables.architectures),
    Statement("abs-relation", "abstract", "No relationship of ImageNet and CheXpert performance, pretrained or not",
              study=partial(from_study.correlation, column="top1", inits=BOTH), **RELATION),
    Statement("abs-families", "abstract", "Without pretraining the family matters more than the size within it",
              study=partial(from_study.family_against_size, init="random"), criterion=above, **SIZE),
    _mean_boost("abs-boost", "abstract", "Pretraining gives a significant boost across architectures"),
    Statement("abs-boost-size", "abstract", "The boost is higher for smaller architectures",
              study=from_study.boost_correlation, criterion=below, **GAIN),
    headline("abs-times", "abstract"),
]  # fmt: skip

INTRODUCTION = [
    Statement("1-rho-random", "1", "No relationship of ImageNet and CheXpert performance without pretraining",
              {"ρ": "0.08"}, own_tables.rank_test,
              study=partial(from_study.correlation, column="top1", inits=("random",)), **RELATION),
    Statement("1-rho-imagenet", "1", "No relationship of ImageNet and CheXpert performance with pretraining",
              {"ρ": "0.06"}, own_tables.rank_test, recounts.rho_of_top1,
              study=partial(from_study.correlation, column="top1", inits=("imagenet",)), **RELATION),
    within("1-resnet", "1", "ResNet", "ResNet101", "ResNet18", "0.005", small),
    within("1-densenet", "1", "DenseNet", "DenseNet201", "DenseNet121", "0.003", small),
    within("1-efficientnet", "1", "EfficientNet", "EfficientNetB3", "EfficientNetB0", "0.004", small),
    Statement("1-families", "1", "Families differ by more than this AUC without pretraining (read as those that 4.2 "
              "calls better less those that it calls worse)", {"difference": "> 0.006"},
              study=partial(from_study.groups, a=BETTER, b=WORSE, init="random"), criterion=beyond, **SIZE),
    Statement("1-family", "1", "Without pretraining the family matters more than the size within it",
              study=partial(from_study.family_against_size, init="random"), criterion=above, **SIZE),
    _mean_boost("1-boost", "1", "Pretraining gives a significant boost, on average this AUC",
                **{"mean boost": "0.016"}),
    Statement("1-boost-size", "1", "Smaller architectures gain more: ρ of boost and parameters", {"ρ": "−0.72"},
              own_tables.rank_test, study=from_study.boost_correlation, criterion=below, **GAIN),
    headline("1-times", "1"),
]  # fmt: skip

RELATED_WORK = [
    Statement("2.1-kornblith-models", "2.1", "Kornblith et al. compared 16 networks on 12 sets of natural images",
              {"networks": "16", "data sets": "12"}, study=CITED),
    Statement("2.1-kornblith-features", "2.1", "Kornblith et al.: ρ of ImageNet and transfer accuracy, features fixed",
              {"ρ": "0.99"}, study=CITED),
    Statement("2.1-kornblith-tuned", "2.1", "Kornblith et al.: the same, fine-tuned", {"ρ": "0.97"}, study=CITED),
    Statement("2.1-kornblith-random", "2.1", "Kornblith et al.: the same without pretraining", {"ρ": "0.59"},
              study=CITED),
    Statement("2.1-raghu-size", "2.1",
              "Networks of four or five layers do as well as ResNet50 with under 40 % of its size",
              {"percent": "< 40"},
              own=partial(own_tables.share_of, small="CBR-LargeT", large="ResNet50", cited=True),
              count=partial(recounts.share_of, small="CBR-LargeT", large="ResNet50"), study=CITED),
    Statement("2.1-raghu-boost", "2.1", "Raghu et al. found little gain from pretraining ResNet50 and InceptionV3",
              study=partial(from_study.boosts, models=("ResNet50", "InceptionV3")), criterion=no_gain, **GAIN),
    *boosted("2.1-boost", "2.1"),
    Statement("2.2-irvin", "2.2", "Of four architectures tried by Irvin et al. DenseNet121 was the best",
              reading={"architectures": "4"}, study=CITED),
    Statement("2.2-leaders", "2.2", "All but one of the ten leading CheXpert entries used DenseNets",
              reading={"of ten": "9"}, study=CITED),
    searched("2.2-searched", "2.2", "Architectures found by search do worse than DenseNet and ResNet", OLDER,
             SEARCHED),
    Statement("2.2-bressem", "2.2", "Bressem et al. found ResNet152, DenseNet161 and ResNet50 best", study=CITED),
]  # fmt: skip
