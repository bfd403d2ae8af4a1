"""The counts behind the findings: every network built anew, Table 1 beside each way of counting, what Table 2 needs."""

from __future__ import annotations

import pandas as pd

from chexlib.models.truncate import TRUNCATIONS
from chexlib.models.zoo import ARCHITECTURES
from chexlib.paper.as_printed import PAPER_TABLE1, PAPER_TABLE2, TIMES
from chexlib.paper.claims import counting
from chexlib.paper.claims.counting import CLASSES, FINDINGS, count
from chexlib.paper.notes import Note
from chexlib.paper.wording import listed


def networks() -> pd.DataFrame:
    """Every network of the two tables built anew, without weights, and its parameters counted.

    One row a network: 14 findings, 1,000 classes (whole networks), the two counts that the package's tables have, and
    whether they agree. Imports torch; builds nothing in memory but shapes.
    """
    from chexlib.models.networks import count as weights
    from chexlib.models.networks import on_meta
    from chexlib.models.truncate import truncate

    found = []
    for label in [*PAPER_TABLE1.index, "NASNetAMobile", *truncated()]:
        row, minus = counting.row(label)
        network = on_meta(row)
        channels = truncate(network, row, minus)
        heads = {n: weights(network) + (channels + 1) * n for n in (FINDINGS, CLASSES)}
        table = {n: count(label, n) for n in ((FINDINGS,) if minus else (FINDINGS, CLASSES))}
        found.append((label, heads[FINDINGS], heads[CLASSES], all(heads[n] == table[n] for n in table)))
    columns = ["model", "14 findings", "1,000 classes", "as in the package"]
    return pd.DataFrame(found, columns=columns).set_index("model")


def recounted() -> Note:
    """How many networks were built and counted, and whether the package's own tables agree."""
    table = networks()
    agree = int(table["as in the package"].sum())
    return Note(
        f"{len(table)} networks were built anew for this page, as shapes without weights, and their parameters "
        f"counted; {agree} of the {len(table)} counts are those that this project's tables hold."
    )


def heads() -> pd.DataFrame:
    """Table 1's parameters, one row a model, beside every way of counting that was tried, and those that fit."""
    rows = []
    for label in PAPER_TABLE1.index:
        ways = counting.heads(label)
        other = [f"{n:,} ({way})" for way, n in ways.items() if way not in ("14 findings", "1,000 classes")]
        rows.append(
            {
                "Model": label,
                "Printed (M)": f"{PAPER_TABLE1.loc[label, 'params_millions']:.3f}",
                "14 findings": f"{ways['14 findings']:,}",
                "1,000 classes": f"{ways['1,000 classes']:,}",
                "Otherwise": other[0] if other else "",
                "What fits": listed(counting.fitting(label) or ["none of these"]),
            }
        )
    return pd.DataFrame(rows).set_index("Model").rename_axis(index=None, columns="Model")


def numerators() -> pd.DataFrame:
    """For each truncated family, the parameters of the whole that would give every Times-Smaller, and what fits."""
    rows = []
    for whole in ("DenseNet121", "EfficientNetB0", "MNASNet", "ResNet18"):
        allowed = counting.numerators(whole)
        ways = counting.heads(whole) | extra(whole)
        fits = [f"{way} ({n:,})" for way, n in ways.items() if allowed.holds(n / 1e6)]
        cuts = [label for label in truncated() if label.startswith(whole)]
        rows.append(
            {
                "Model": whole,
                "Printed": ", ".join(TIMES[label] for label in cuts),
                "Needs between (M)": f"{allowed.low:.4f} and {allowed.high:.4f}",
                "What fits": listed(fits or ["none of these"]),
                "One 14-finding head": ", ".join(f"{counting.times(label):.1f}" for label in cuts),
            }
        )
    return pd.DataFrame(rows).set_index("Model").rename_axis(index=None, columns="Model")


def truncated() -> list[str]:
    """The labels of Table 2's truncated models, by family from the least cut."""
    wholes = [ARCHITECTURES[name].paper_name for name in TRUNCATIONS]
    return [label for whole in wholes for label in PAPER_TABLE2.index if label.startswith(f"{whole}Minus")]


def extra(whole: str) -> dict[str, int]:
    """One more way of counting that is tried for a Times-Smaller: a layer from 1,000 to 14 outputs on top."""
    if whole != "MNASNet":
        return {}
    return {
        "NASNet-A-Mobile, 1,000 classes, and a layer from these to 14": count("NASNetAMobile", CLASSES)
        + (CLASSES + 1) * FINDINGS
    }
