"""What counted architectures give for the numbers that a paper prints of them, one 14-finding head on every network.

Each function takes the printed numbers of a statement by name, and what they are of, and gives `Derived` numbers of
the same names, as those of `chexlib.paper.claims.own_tables` do.
"""

from __future__ import annotations

from collections.abc import Mapping

from chexlib.models.truncate import TRUNCATIONS
from chexlib.models.zoo import cbr_parameters as all_of_cbr
from chexlib.paper.claims import counting
from chexlib.paper.claims.judging import Derived
from chexlib.paper.claims.own_tables import TIMES_NAME, Printed, rho_allowed
from chexlib.paper.rounding import Span, exactly
from chexlib.paper.wording import listed

ONE_HEAD = "counts with one 14-finding head"


def parameters(printed: Printed, model: str) -> list[Derived]:
    """Millions of parameters of a whole network."""
    others = [way for way in counting.fitting(model) if way != "14 findings"]
    note = f" (what is printed fits {listed(others)})" if others else ""
    return [Derived("parameters (M)", (exactly(counting.millions(model)),), f"a 14-finding head{note}")]


def ratio(printed: Printed, a: str, b: str) -> list[Derived]:
    """Parameters of a over b."""
    return [Derived(TIMES_NAME, (exactly(counting.count(a) / counting.count(b)),), ONE_HEAD, 2)]


def times(printed: Printed, label: str) -> list[Derived]:
    """How many times smaller a truncated network is."""
    return [Derived(TIMES_NAME, (exactly(counting.times(label)),), ONE_HEAD, 2)]


def mean_times(printed: Printed, labels: tuple[str, ...]) -> list[Derived]:
    """The mean of that over several."""
    found = [counting.times(label) for label in labels]
    each = listed([f"{one:.2f}" for one in found])
    return [Derived(TIMES_NAME, (exactly(sum(found) / len(found)),), f"{ONE_HEAD} ({each})", 2)]


def least_and_most_times(printed: Printed, labels: tuple[str, ...]) -> list[Derived]:
    """The least and the largest of it."""
    found = [counting.times(label) for label in labels]
    ends = {"least": min(found), "most": max(found)}
    return [Derived(name, (exactly(end),), ONE_HEAD, 2) for name, end in ends.items()]


def size_rank(printed: Printed, ranks: Mapping[str, str]) -> list[Derived]:
    """Places by size among the sixteen."""
    return [Derived(name, (exactly(counting.size_rank(model)),), ONE_HEAD, 0) for name, model in ranks.items()]


def smaller(printed: Printed, model: str) -> list[Derived]:
    """How many architectures are smaller, MobileNets left out."""
    return [Derived("smaller ones", (exactly(counting.smaller(model)),), ONE_HEAD, 0)]


def efficiency_rank(printed: Printed, ranks: Mapping[str, str]) -> list[Derived]:
    """Places by Table 1's AUC over parameters."""
    return [Derived(name, (exactly(counting.efficiency_rank(model)),), ONE_HEAD, 0) for name, model in ranks.items()]


def rho_of_size(printed: Printed) -> list[Derived]:
    """Every rho of Table 1's AUCs with counted parameters that the rounding of the AUCs allows."""
    return [rho_allowed(f"Table 1's rounded AUCs and {ONE_HEAD}", counting.millions)]


def rho_of_top1(printed: Printed) -> list[Derived]:
    """The same with the ImageNet accuracies of the checkpoints, which the paper does not print."""
    return [
        rho_allowed("Table 1's rounded AUCs and the checkpoints' accuracies", lambda label: counting.row(label)[0].top1)
    ]


def blocks(printed: Printed) -> list[Derived]:
    """How many blocks can be dropped of each model."""
    found = {model: len(TRUNCATIONS[counting.row(model)[0].name].cuts) for model in printed}
    return [Derived(model, (exactly(n),), "the cuts that give Table 2's sizes", 0) for model, n in found.items()]


def one_part_in(printed: Printed, small: str, large: str) -> list[Derived]:
    """How many times a network goes into another, with either head."""
    return [
        Derived(
            "one part in",
            (exactly(counting.count(large, n) / counting.count(small, n)),),
            f"counts with {n:,} outputs",
            2,
        )
        for n in (counting.FINDINGS, counting.CLASSES)
    ]


def layers(printed: Printed) -> list[Derived]:
    """The convolutions of the CBR networks, as their printed sizes fix them."""
    depths = [len(channels) for _, channels in counting.CBR.values()]
    return [Derived("layers", (Span(min(depths), max(depths)),), "the networks that give Table 1's sizes", 0)]


def cbr(printed: Printed, model: str) -> list[Derived]:
    """What Transfusion prints of a CBR, and all that such a network has."""
    full = f"{all_of_cbr(model, 5):,} with the first convolution, the norms and the last bias"
    source = f"the convolutions after the first and the last layer's weights (in all {full})"
    return [Derived("parameters", (exactly(counting.cbr(model)),), source, 0)]


def five_classes(printed: Printed, model: str) -> list[Derived]:
    """All parameters of a whole network with five outputs."""
    return [Derived("parameters", (exactly(_with_five(model)),), "the network with five outputs", 0)]


def share_of(printed: Printed, small: str, large: str) -> list[Derived]:
    """Parameters of a CBR over another network's, in percent, everything counted, both with five outputs."""
    share = 100 * all_of_cbr(small, 5) / _with_five(large)
    return [Derived("percent", (exactly(share),), "all parameters, both with five outputs", 1)]


def map_widths(printed: Printed) -> list[Derived]:
    """How many times wider the last maps of truncated DenseNets are than the whole one's: each transition halves."""
    cuts = TRUNCATIONS["densenet121"].cuts
    gone = [sum("transition" in module for module in cut.modules) for cut in cuts]
    return [
        Derived(label, (exactly(2 ** sum(gone[: counting.row(label)[1]])),), "the halving transitions that go", 0)
        for label in printed
    ]


def _with_five(model: str) -> int:
    one_output = (counting.count(model, counting.CLASSES) - counting.count(model)) // (
        counting.CLASSES - counting.FINDINGS
    )
    return counting.count(model) - (counting.FINDINGS - 5) * one_output
