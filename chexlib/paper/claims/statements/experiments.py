"""CheXtransfer, sections 4 and 5, with the captions of Figures 2 to 5."""

from __future__ import annotations

from functools import partial

from chexlib.paper.claims import from_study, own_tables, recounts
from chexlib.paper.claims.criteria import above, absent, below, mostly_above, near, no_drop, no_gain, small
from chexlib.paper.claims.statement import CITED, PICTURE, Statement
from chexlib.paper.claims.statements.opening import (
    BETTER,
    BOTH,
    CUT,
    GAIN,
    OLDER,
    RELATION,
    SEARCHED,
    SIZE,
    WORSE,
    boosted,
    headline,
    searched,
    within,
)

THIRD = {"InceptionV3's place": "InceptionV3", "MobileNetV2's place": "MobileNetV2"}
FIRST = ("EfficientNetB0Minus1", "MNASNetMinus1", "DenseNet121Minus1", "ResNet18Minus1")
DEEPER = ("MNASNetMinus2", "MNASNetMinus3", "MNASNetMinus4", "DenseNet121Minus2", "DenseNet121Minus3",
          "ResNet18Minus2", "ResNet18Minus3")  # fmt: skip
ENDS = (("ResNet101", "ResNet18"), ("DenseNet201", "DenseNet121"), ("EfficientNetB3", "EfficientNetB0"))
"""The largest and the smallest of the families that section 4.1 compares."""
KORNBLITH = {"without pretraining": ("0.59", "0.082"), "with pretraining": ("0.97", "0.059")}
"""Correlations with ImageNet accuracy, of section 2.1 (natural images) and of section 4.1."""
CAMS = "a picture of two patients; the page of maps measures localisation on phantoms instead"


def _relation(id: str, place: str, init: str, **printed: str) -> Statement:
    how, count = ("without", None) if init == "random" else ("with", recounts.rho_of_top1)
    return Statement(id, place, f"No monotonic relationship of ImageNet accuracy and AUC {how} pretraining", printed,
                     own_tables.rank_test, count, partial(from_study.correlation, column="top1", inits=(init,)),
                     **RELATION)  # fmt: skip


def _by_size(id: str, place: str, says: str, init: str, **printed: str) -> Statement:
    own = own_tables.rank_test if init == "random" else own_tables.rho_of_size
    count = None if init == "random" else recounts.rho_of_size
    return Statement(id, place, says, printed, own, count,
                     partial(from_study.correlation, column="parameters", inits=(init,)), above, **SIZE)  # fmt: skip


def _boost(model: str, printed: str, criterion, own=None) -> Statement:
    return Statement(f"4.3-{model.lower()}", "4.3", f"Boost of {model}", {"difference": printed}, own,
                     study=partial(from_study.boosts, models=(model,)), criterion=criterion, **GAIN)  # fmt: skip


SECTION_4_1 = [
    _relation("4.1-rho-random", "4.1", "random", ρ="0.082", p="0.762"),
    _relation("4.1-rho-imagenet", "4.1", "imagenet", ρ="0.059", p="0.829"),
    Statement("4.1-relation", "4.1", "Overall ImageNet and CheXpert performance are unrelated",
              study=partial(from_study.correlation, column="top1", inits=BOTH), **RELATION),
    Statement("4.1-kornblith", "4.1", "These relationships are much weaker than those of Kornblith et al.",
              reading=dict.fromkeys(KORNBLITH, "> 0"), own=partial(own_tables.less, pairs=KORNBLITH), study=CITED),
    _relation("fig2-rho-random", "Figure 2", "random", ρ="0.08"),
    _relation("fig2-rho-imagenet", "Figure 2", "imagenet", ρ="0.06"),
    within("4.1-resnet-random", "4.1", "ResNet", "ResNet101", "ResNet18", "0.005", small),
    Statement("4.1-resnet-interval", "4.1", "ResNet101's lead over ResNet18 without pretraining, this AUC, lies well "
              "within the confidence interval", {"difference": "0.005"},
              study=partial(from_study.difference, a="ResNet101", b="ResNet18", init="random"), criterion=absent,
              **SIZE),
    within("4.1-densenet-random", "4.1", "DenseNet", "DenseNet201", "DenseNet121", "0.004", small),
    within("4.1-efficientnet-random", "4.1", "EfficientNet", "EfficientNetB3", "EfficientNetB0", "0.003", small),
    within("4.1-resnet-imagenet", "4.1", "ResNet", "ResNet101", "ResNet18", "0.002", small, "imagenet"),
    within("4.1-densenet-imagenet", "4.1", "DenseNet", "DenseNet201", "DenseNet121", "0.004", small, "imagenet"),
    within("4.1-efficientnet-imagenet", "4.1", "EfficientNet", "EfficientNetB3", "EfficientNetB0", "−0.006", small,
            "imagenet"),
    Statement("4.1-best", "4.1", "InceptionV3 is the best without pretraining",
              study=partial(from_study.lead, model="InceptionV3", init="random"), criterion=above, page="02_baselines"),
    Statement("4.1-best-auc", "4.1", "AUC of InceptionV3 without pretraining", {"AUC": "0.866", "low": "0.851",
              "high": "0.880"},
              study=partial(from_study.level, model="InceptionV3", init="random"), criterion=near,
              page="02_baselines"),
    Statement("4.1-worst", "4.1", "MobileNetV2 is the worst without pretraining",
              study=partial(from_study.lead, model="MobileNetV2", init="random", sign=-1), criterion=above,
              page="02_baselines"),
    Statement("4.1-worst-auc", "4.1", "AUC of MobileNetV2 without pretraining", {"AUC": "0.814", "low": "0.796",
              "high": "0.832"},
              study=partial(from_study.level, model="MobileNetV2", init="random"), criterion=near,
              page="02_baselines"),
    Statement("4.1-gap", "4.1", "InceptionV3 leads MobileNetV2 by this AUC without pretraining",
              {"difference": "0.052", "low": "0.043", "high": "0.063"},
              partial(own_tables.less, pairs={"difference": (own_tables.BEST_RANDOM, own_tables.WORST_RANDOM)}),
              study=partial(from_study.difference, a="InceptionV3", b="MobileNetV2", init="random"), criterion=above,
              page="02_baselines"),
    Statement("4.1-third", "4.1", "InceptionV3 is the third largest architecture studied, MobileNetV2 the smallest",
              reading={"InceptionV3's place": "3", "MobileNetV2's place": "16"},
              own=partial(own_tables.size_rank, ranks=THIRD), count=partial(recounts.size_rank, ranks=THIRD)),
]  # fmt: skip

SECTION_4_2 = [
    _by_size("4.2-rho-random", "4.2", "Larger architectures do better without pretraining", "random", ρ="0.791",
             p="2.62e-4"),
    _by_size("4.2-rho-imagenet", "4.2", "Larger architectures do better with pretraining", "imagenet", ρ="0.565",
             p="0.023"),
    Statement("4.2-weaker", "4.2", "The relationship of size and AUC is weaker with pretraining than without",
              reading={"difference": "> 0"}, own=partial(own_tables.less, pairs={"difference": ("0.791", "0.565")}),
              study=partial(from_study.correlation_gap, column="parameters"), criterion=above, **SIZE),
    Statement("fig3-linear", "Figure 3", "Without pretraining AUC is nearly linear in the logarithm of size",
              study=PICTURE),
    _by_size("fig3-rho-random", "Figure 3", "Larger architectures do better without pretraining", "random", ρ="0.79"),
    _by_size("fig3-rho-imagenet", "Figure 3", "Larger architectures do better with pretraining", "imagenet", ρ="0.56"),
    Statement("4.2-times-resnet101", "4.2", "ResNet101 is this many times larger than EfficientNetB0",
              {"times": "11.1"},
              partial(own_tables.ratio, a="ResNet101", b="EfficientNetB0"),
              partial(recounts.ratio, a="ResNet101", b="EfficientNetB0")),
    Statement("4.2-gain-resnet101", "4.2", "and leads it by this AUC only, with pretraining", {"difference": "0.005"},
              partial(own_tables.difference, a="ResNet101", b="EfficientNetB0"),
              study=partial(from_study.difference, a="ResNet101", b="EfficientNetB0", init="imagenet"), criterion=small,
              **SIZE),
    within("4.2-densenet", "4.2", "DenseNet", "DenseNet201", "DenseNet121", "0.003", small),
    Statement("4.2-times-densenet", "4.2", "DenseNet201 is this many times larger than DenseNet121", {"times": "2.6"},
              partial(own_tables.ratio, a="DenseNet201", b="DenseNet121"),
              partial(recounts.ratio, a="DenseNet201", b="DenseNet121")),
    within("4.2-efficientnet", "4.2", "EfficientNet", "EfficientNetB3", "EfficientNetB0", "0.004", small),
    Statement("4.2-times-efficientnet", "4.2", "EfficientNetB3 is this many times larger than EfficientNetB0",
              {"times": "1.9"}, partial(own_tables.ratio, a="EfficientNetB3", b="EfficientNetB0"),
              partial(recounts.ratio, a="EfficientNetB3", b="EfficientNetB0")),
    Statement("4.2-architecture", "4.2", "Design matters more to AUC than size",
              study=partial(from_study.family_against_size, init="random"), criterion=above, **SIZE),
    searched("4.2-families", "4.2",
             "DenseNet, ResNet and Inception typically do better than EfficientNet and MobileNet",
             BETTER, WORSE),
]  # fmt: skip

SECTION_4_3 = [
    Statement("4.3-boost", "4.3", "Pretraining gives most architectures a meaningful boost, on average this AUC",
              {"mean boost": "0.015"}, study=from_study.mean_boost, criterion=above, **GAIN),
    Statement("4.3-rho", "4.3", "Smaller architectures gain more: ρ of parameters and boost", {"ρ": "−0.718",
              "p": "0.002"},
              own_tables.rank_test, study=from_study.boost_correlation, criterion=below, **GAIN),
    Statement("fig4-most", "Figure 4", "Most models gain significantly from pretraining",
              study=from_study.all_boosts, criterion=mostly_above, **GAIN),
    Statement("fig4-rho", "Figure 4", "Smaller models tend to gain more", {"ρ": "−0.72"}, own_tables.rank_test,
              study=from_study.boost_correlation, criterion=below, **GAIN),
    _boost("EfficientNetB0", "0.023", above),
    _boost("MobileNetV2", "0.040", above, partial(own_tables.boost_of, model="MobileNetV2", without="0.814")),
    _boost("MobileNetV3", "0.033", above),
    _boost("InceptionV4", "−0.002", small),
    _boost("ResNet101", "0.013", above),
    Statement("4.3-within", "4.3", "Within a family the boost does not meaningfully increase with size",
              study=partial(from_study.boost_gaps, pairs=ENDS), criterion=no_gain, **GAIN),
    Statement("4.3-densenet", "4.3", "DenseNet201's boost is greater than DenseNet121's by this AUC only",
              {"difference": "0.002"},
              partial(own_tables.boost_gap, a="DenseNet201", b="DenseNet121", withs="0.004", without=("0.003",
              "0.004")),
              study=partial(from_study.boost_gap, a="DenseNet201", b="DenseNet121"), criterion=small, **GAIN),
]  # fmt: skip

SECTION_4_4 = [
    Statement("4.4-first", "4.4",
              "Dropping the last block makes four models this many times smaller, with no significant drop",
              {"least": "1.4", "most": "4.2"}, partial(own_tables.least_and_most_times, labels=FIRST),
              partial(recounts.least_and_most_times, labels=FIRST), partial(from_study.truncations, models=FIRST),
              no_drop, **CUT),
    Statement("4.4-resnet18", "4.4", "ResNet18 leads ResNet18Minus1 by this AUC, which is not significant",
              {"difference": "−0.002", "low": "−0.008", "high": "0.004"}, partial(own_tables.table2,
              label="ResNet18Minus1"),
              study=partial(from_study.truncations, models=("ResNet18Minus1",)), criterion=absent, **CUT),
    Statement("4.4-resnet18-times", "4.4", "ResNet18Minus1 is this many times smaller", {"times": "4.2"},
              partial(own_tables.table2, label="ResNet18Minus1"), partial(recounts.times, label="ResNet18Minus1")),
    Statement("4.4-efficientnet", "4.4",
              "EfficientNetB0 leads EfficientNetB0Minus2 by this AUC, which is not significant",
              {"difference": "0.004", "low": "−0.003", "high": "0.009"},
              partial(own_tables.table2, label="EfficientNetB0Minus2"),
              study=partial(from_study.truncations, models=("EfficientNetB0Minus2",)), criterion=absent, **CUT),
    Statement("4.4-efficientnet-times", "4.4", "EfficientNetB0Minus2 is this many times smaller", {"times": "4.7"},
              partial(own_tables.table2, label="EfficientNetB0Minus2"), partial(recounts.times,
              label="EfficientNetB0Minus2")),
    Statement("4.4-deeper", "4.4", "Dropping two or more blocks of MNASNet, DenseNet121 and ResNet18 costs AUC",
              own=own_tables.asterisks, reading={"truncations": "7"},
              study=partial(from_study.truncations, models=DEEPER), criterion=below, **CUT),
    Statement("fig5-cams", "Figure 5", "Truncated models localise Atelectasis better on one image, and trace hila and "
              "vessels better for Edema on another", study=CAMS),
    Statement("4.4-cams", "4.4", "Models that pool less give maps of higher resolution: the truncated DenseNets of "
              "Figure 5 so many times wider ones", reading={"DenseNet121Minus1": "> 1", "DenseNet121Minus2": "> 1"},
              count=recounts.map_widths),
]  # fmt: skip

DISCUSSION = [
    Statement("5-relation", "5", "No significant relationship of ImageNet and CheXpert performance",
              study=partial(from_study.correlation, column="top1", inits=BOTH), **RELATION),
    Statement("5-kornblith", "5", "Kornblith et al. found a significant correlation on natural images", study=CITED),
    Statement("5-family", "5", "Without pretraining the family may influence performance more than size",
              study=partial(from_study.family_against_size, init="random"), criterion=above, **SIZE),
    searched("5-searched", "5", "EfficientNet, MobileNet and MNASNet do worse than DenseNet and ResNet", OLDER,
             SEARCHED),
    Statement("5-boost", "5", "Pretraining gives a significant boost", study=from_study.mean_boost, criterion=above,
              **GAIN),
    *boosted("5-boost", "5"),
    headline("5-times", "5"),
]  # fmt: skip
