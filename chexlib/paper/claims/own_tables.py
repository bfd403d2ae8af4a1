"""What a paper's own numbers leave open for the others that it prints: differences, ratios, ranks, correlations.

Each function takes the printed numbers of a statement by name, and what they are of, and gives `Derived` numbers of
the same names. Rounding is carried through: 0.863 less 0.859 is anything from 0.003 to 0.005. A source that is not the
paper's own says so. What no number could fail is not given: nothing then is to be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from chexlib.paper.as_printed import (
    BATCH,
    CHEXPERT_IMAGES,
    EPOCHS,
    EVERY,
    PAPER_TABLE1,
    PAPER_TABLE2,
    TIMES,
    TRANSFUSION_TABLE1,
    TRANSFUSION_TABLE2,
)
from chexlib.paper.claims import counting
from chexlib.paper.claims.judging import Derived
from chexlib.paper.rounding import Span, exactly, mean, span
from chexlib.stats import spearman_p, spearman_rounded

Printed = Mapping[str, str]
BEST_RANDOM, WORST_RANDOM = "0.866", "0.814"
"""Section 4.1: AUCs of InceptionV3 and of MobileNetV2 without pretraining."""

LABEL_FILES = "CheXpert's label files, not the paper"
"""What is said of a source that another has published."""

DIFFERENCE, TIMES_NAME, RHO, P = "difference", "times", "ρ", "p"
"""Names of printed numbers that several functions give."""

N = len(PAPER_TABLE1)
"""Architectures in each of the paper's correlations."""


def auc(model: str) -> Span:
    """Table 1's AUC (ImageNet weights) of a model."""
    return span(f"{PAPER_TABLE1.loc[model, 'auc']:.3f}")


def difference(printed: Printed, a: str, b: str) -> list[Derived]:
    """AUC of a minus b, from Table 1."""
    return [Derived(DIFFERENCE, (auc(a) - auc(b),), "Table 1's rounded AUCs")]


def ratio(printed: Printed, a: str, b: str) -> list[Derived]:
    """Parameters of a over b, from Table 1."""
    size = counting.printed_millions(a) / counting.printed_millions(b)
    return [Derived(TIMES_NAME, (size,), "Table 1's parameters", digits=2)]


def less(printed: Printed, pairs: Mapping[str, tuple[str, str]]) -> list[Derived]:
    """Of two numbers that the text prints, the first less the second, by the name of the difference."""
    return [Derived(name, (span(a) - span(b),), f"{a} less {b} in the text") for name, (a, b) in pairs.items()]


def families(printed: Printed, a: tuple[str, ...], b: tuple[str, ...]) -> list[Derived]:
    """Mean AUC of some families' architectures less that of others', from Table 1."""
    sides = [[auc(label) for label in PAPER_TABLE1.index if counting.row(label)[0].family in side] for side in (a, b)]
    return [Derived(DIFFERENCE, (mean(sides[0]) - mean(sides[1]),), "Table 1, which is with pretraining")]


def rank_test(printed: Printed, n: int = N) -> list[Derived]:
    """What Spearman's rho over n untied pairs can be, and the p that the printed rho has (t distribution).

    Without ties rho is 1 - 6 D / (n (n² - 1)) with D, the sum of squared rank differences, even: a printed rho that is
    near none of these steps would need ties. One that is printed with two digits is near some step, whatever it is.
    """
    rounded, step = span(printed[RHO]), 12 / (n * (n * n - 1))
    steps, found = [rho for rho in _untied(n) if rounded.holds(rho)], []
    if rounded.high - rounded.low < step:
        found = [Derived(RHO, tuple(exactly(rho) for rho in steps or _untied(n)), f"{n} untied ranks", 4, whole=True)]
    if P in printed:
        ps = spearman_p(steps or list(vars(rounded).values()), n)
        found.append(Derived(P, (Span(float(min(ps)), float(max(ps))),), "that ρ", digits=6))
    return found


def rho_of_size(printed: Printed, n: int = N) -> list[Derived]:
    """`rank_test`, and the rho of Table 1's own AUCs and parameters."""
    from_table = rho_allowed("Table 1, its AUCs being rounded", lambda label: counting.printed_millions(label).low)
    return [one for one in rank_test(printed, n) if one.name != RHO] + [from_table]


def rho_allowed(source: str, fact: Callable[[str], float]) -> Derived:
    """Every rho of Table 1's AUCs, as rounded as they are, with a fact of each architecture (by its printed label)."""
    found = spearman_rounded([fact(label) for label in PAPER_TABLE1.index], PAPER_TABLE1["auc"], 3)
    return Derived(RHO, tuple(exactly(rho) for rho in found), source, whole=True)


def size_rank(printed: Printed, ranks: Mapping[str, str]) -> list[Derived]:
    """Places by size in Table 1, of models by the names of the printed numbers."""
    return [
        Derived(name, (exactly(counting.size_rank(model, recounted=False)),), "Table 1", 0)
        for name, model in ranks.items()
    ]


def smaller(printed: Printed, model: str) -> list[Derived]:
    """How many architectures are smaller in Table 1, MobileNets left out."""
    return [Derived("smaller ones", (exactly(counting.smaller(model, recounted=False)),), "Table 1", 0)]


def efficiency_rank(printed: Printed, ranks: Mapping[str, str]) -> list[Derived]:
    """Places by AUC over parameters in Table 1."""
    return [
        Derived(name, (exactly(counting.efficiency_rank(model, recounted=False)),), "Table 1", 0)
        for name, model in ranks.items()
    ]


def mean_times(printed: Printed, labels: tuple[str, ...]) -> list[Derived]:
    """Mean of Table 2's Times-Smaller."""
    return [Derived(TIMES_NAME, (mean(span(TIMES[label]) for label in labels),), "Table 2", 2)]


def least_and_most_times(printed: Printed, labels: tuple[str, ...]) -> list[Derived]:
    """Least and largest of Table 2's Times-Smaller."""
    values = sorted(float(TIMES[label]) for label in labels)
    return [Derived(name, (exactly(v),), "Table 2", 1) for name, v in (("least", values[0]), ("most", values[-1]))]


def table2(printed: Printed, label: str) -> list[Derived]:
    """Table 2's row of a truncated model, for numbers in the text: whole less truncated, as an AUC, and Times-Smaller.

    The percentages may be hundredths of AUC or relative to the whole model's AUC: either is allowed.
    """
    change = -(span(f"{PAPER_TABLE2.loc[label, 'change_percent']:.2f}")) * exactly(0.01)
    relative = change * auc(counting.row(label)[0].paper_name)
    found = [
        Derived(DIFFERENCE, (change,), "Table 2, read as hundredths", 4),
        Derived(DIFFERENCE, (relative,), "Table 2, read as relative to the whole model's", 4),
        Derived(TIMES_NAME, (span(TIMES[label]),), "Table 2", 2),
    ]
    return [one for one in found if one.name in printed]


def change(printed: Printed, label: str, text: str) -> list[Derived]:
    """Table 2's change of a truncated model, in percent, from the whole less the truncated that the text prints."""
    hundredths = -span(text) * exactly(100)
    relative = hundredths / auc(counting.row(label)[0].paper_name)
    return [
        Derived("percent", (hundredths,), f"the text's {text}, read as hundredths", 2),
        Derived("percent", (relative,), f"the text's {text}, read as relative to the whole model's", 2),
    ]


def architectures(printed: Printed) -> list[Derived]:
    """How many rows Table 1 has."""
    return [Derived("architectures", (exactly(N),), "Table 1's rows", 0)]


def checkpoints(printed: Printed) -> list[Derived]:
    """How many evaluations the training has, and so the most checkpoints that an ensemble could take."""
    steps = EPOCHS * CHEXPERT_IMAGES["train"] // BATCH
    source = f"{steps:,} gradient steps in {EPOCHS} epochs of {CHEXPERT_IMAGES['train']:,} images ({LABEL_FILES})"
    return [Derived("checkpoints", (Span(0, steps // EVERY),), source, 0)]


def images(printed: Printed) -> list[Derived]:
    """How many images CheXpert's label files list."""
    files = " + ".join(f"{n:,}" for n in CHEXPERT_IMAGES.values())
    return [Derived("images", (exactly(sum(CHEXPERT_IMAGES.values())),), f"{files} ({LABEL_FILES})", 0)]


def boost_gap(printed: Printed, a: str, b: str, withs: str, without: tuple[str, ...]) -> list[Derived]:
    """Boost of a less boost of b: what is printed with pretraining (and fits Table 1) less each of what is without."""
    after = span(withs) & (auc(a) - auc(b))
    return [Derived(DIFFERENCE, (after - span(one),), f"{withs} with and {one} without pretraining") for one in without]


def boost_of(printed: Printed, model: str, without: str) -> list[Derived]:
    """Boost of a model: Table 1 less its AUC without pretraining, which the text prints."""
    return [Derived(DIFFERENCE, (auc(model) - span(without),), f"Table 1 less the text's {without}")]


def deepest(printed: Printed) -> list[Derived]:
    """How many truncations Table 2 has of each model."""
    return [
        Derived(model, (exactly(PAPER_TABLE2.index.str.startswith(f"{model}Minus").sum()),), "Table 2", 0)
        for model in printed
    ]


def asterisks(printed: Printed) -> list[Derived]:
    """How many truncations Table 2 marks as significant."""
    return [Derived("truncations", (exactly(PAPER_TABLE2["significant"].sum()),), "Table 2's asterisks", 0)]


def transfusion_task(printed: Printed, task: str) -> list[Derived]:
    """Mean of transfer less random over the five networks of Transfusion's Table 2, its rows taken in pairs."""
    values = [span(text) for text in TRANSFUSION_TABLE2[task].split()]
    found = mean(after - before for before, after in zip(values[::2], values[1::2], strict=True))
    source = "its Table 2, if rows come in pairs without and with transfer (their names are lost here)"
    return [Derived("mean change", (found,), source, 2)]


def transfusion_gain(printed: Printed, model: str) -> list[Derived]:
    """Transfer less random in Transfusion's Table 1, in percent."""
    random, transfer = TRANSFUSION_TABLE1.loc[model, ["random", "imagenet"]]
    return [Derived("gain", (span(transfer) - span(random),), "Table 1", 1)]


def share_of(printed: Printed, small: str, large: str, cited: bool = False) -> list[Derived]:
    """Parameters of one network over another's, in percent, from Transfusion's Table 1; `cited` by another paper."""
    sizes = TRANSFUSION_TABLE1["parameters"]
    source = "Transfusion's Table 1, not the paper" if cited else "its Table 1"
    return [Derived("percent", (exactly(100 * sizes[small] / sizes[large]),), source, 1)]


@cache
def _untied(n: int) -> tuple[float, ...]:
    most = n * (n * n - 1) // 3  # D of ranks in reverse
    return tuple(1 - 6 * d / (n * (n * n - 1)) for d in range(0, most + 1, 2))
