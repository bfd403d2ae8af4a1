"""Parameters counted again: with which head a printed count was made, and what follows from using one head throughout.

Counts are the tables' (`chexlib.models.zoo`, `truncate`), which tests, and `audit.networks`, hold against the networks
themselves. A label is the paper's: "ResNet18", "ResNet18Minus1". Letters as elsewhere; millions where it says so.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from chexlib.models.truncate import TRUNCATIONS, parameters
from chexlib.models.zoo import ARCHITECTURES, Architecture
from chexlib.models.zoo import CBR_LAYERS as CBR
from chexlib.paper.as_printed import PAPER_TABLE1, TIMES
from chexlib.paper.rounding import Span, common, exactly, span

FINDINGS, CLASSES = 14, 1000
"""Outputs of the two heads."""


@cache
def row(label: str) -> tuple[Architecture, int]:
    """The architecture and the truncation that a printed label names; ValueError for another label."""
    whole, _, minus = label.partition("Minus")
    for found in ARCHITECTURES.values():
        if found.paper_name == whole:
            return found, int(minus or 0)
    raise ValueError(f"{label!r} is no architecture of the table: chexlib.architectures() lists them")


def count(label: str, outputs: int = FINDINGS) -> int:
    """Parameters of a network by its printed label; with 1,000 outputs whole networks only."""
    found, minus = row(label)
    if outputs == FINDINGS:
        return parameters(found, minus)
    if minus or outputs != CLASSES:
        raise ValueError(f"{label} with {outputs} outputs: truncated networks are counted with {FINDINGS} alone")
    return found.parameters_1000


def auxiliary(outputs: int = CLASSES) -> int:
    """Parameters of InceptionV3's auxiliary classifier: 1x1 and 5x5 convolutions, their norms, a linear layer."""
    return 768 * 128 + 2 * 128 + 25 * 128 * 768 + 2 * 768 + (768 + 1) * outputs


def heads(label: str) -> dict[str, int]:
    """Every way of counting a row of Table 1 that is tried, by its name."""
    ways = {"14 findings": count(label), "1,000 classes": count(label, CLASSES)}
    if label == "InceptionV3":
        ways["1,000 classes and the auxiliary head"] = count(label, CLASSES) + auxiliary()
    if label == "MNASNet":
        ways["NASNet-A-Mobile, 1,000 classes"] = count("NASNetAMobile", CLASSES)
    return ways


def fitting(label: str) -> list[str]:
    """The ways of counting that give what Table 1 prints for a model, to its last digit."""
    printed = span(f"{PAPER_TABLE1.loc[label, 'params_millions']:.3f}")
    return [way for way, number in heads(label).items() if printed.holds(number / 1e6)]


def times(label: str) -> float:
    """How many times smaller a truncated network is than its whole, both with a 14-finding head."""
    return count(row(label)[0].paper_name) / count(label)


def numerators(whole: str) -> Span:
    """Millions of parameters that the whole network must have for every Times-Smaller that Table 2 prints of it.

    Over the counts of its truncated networks; `low` above `high` where no number gives them all.
    """
    cuts = [f"{whole}Minus{k + 1}" for k in range(len(TRUNCATIONS[row(whole)[0].name].cuts))]
    return common(span(TIMES[label]) * exactly(count(label) / 1e6) for label in cuts if label in TIMES)


def millions(label: str) -> float:
    """Parameters in millions, with a 14-finding head."""
    return count(label) / 1e6


def printed_millions(label: str) -> Span:
    """What Table 1 prints."""
    return span(f"{PAPER_TABLE1.loc[label, 'params_millions']:.3f}")


def size_rank(label: str, recounted: bool = True) -> int:
    """The place of an architecture among the sixteen, 1 for the largest: recounted, or as Table 1 prints them."""
    size = {name: millions(name) if recounted else printed_millions(name).low for name in PAPER_TABLE1.index}
    return sorted(size, key=size.get, reverse=True).index(label) + 1


def smaller(label: str, recounted: bool = True) -> int:
    """How many of the sixteen, MobileNets left out, are smaller than an architecture."""
    kept = [name for name in PAPER_TABLE1.index if row(name)[0].family != "MobileNet"]
    return sum(size_rank(name, recounted) > size_rank(label, recounted) for name in kept)


def efficiency_rank(label: str, recounted: bool = True) -> int:
    """The same of Table 1's AUC per parameter, 1 for the most."""
    gain = {
        name: PAPER_TABLE1.loc[name, "auc"] / (millions(name) if recounted else printed_millions(name).low)
        for name in PAPER_TABLE1.index
    }
    return sorted(gain, key=gain.get, reverse=True).index(label) + 1


def cbr(name: str, outputs: int = 5) -> int:
    """What Transfusion prints as a CBR's parameters: convolutions after the first, and the linear layer, no biases."""
    kernel, channels = CBR[name]
    return kernel**2 * sum(a * b for a, b in pairwise(channels)) + channels[-1] * outputs
