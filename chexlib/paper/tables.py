"""The paper's Tables 1 and 2 for a study at hand, beside what is printed (`chexlib.paper.as_printed`).

The printed parameter counts mix 14-finding and 1000-class heads (`chexlib.paper.audit`); ours count a 14-finding head.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from chexlib.paper import captions, claims, designs, measures
from chexlib.paper.as_printed import PAPER_TABLE1, PAPER_TABLE2
from chexlib.paper.exhibits import Printed
from chexlib.paper.exhibits import printed as with_caption
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import number, with_interval


@skips_missing
def table1(results: Any) -> Printed:
    """Table 1 for a study: mean AUC (95 % interval) from either init, parameters, and what the paper prints.

    Indexed by model, the paper's architectures first and in its order, others after; texts, for display, with a caption
    and, as `numbers`, both intervals and the paper's. A dash stands for what the study did not train or the paper does
    not print.
    """
    whole = measures.rows(results)
    order = list(
        dict.fromkeys([*(name for name in PAPER_TABLE1.index if name in set(whole["label"])), *whole["label"]])
    )
    found = []
    for label in order:
        here = whole[whole["label"] == label]
        printed = PAPER_TABLE1.loc[label] if label in PAPER_TABLE1.index else None
        found.append(
            {
                "Model": label,
                "AUC, random weights": _auc(here, "random"),
                "AUC, ImageNet weights": _auc(here, "imagenet"),
                "Parameters (M)": f"{here['parameters'].iloc[0] / 1e6:.3f}",
                "Paper: AUC, ImageNet weights": "–"
                if printed is None
                else f"{printed['auc']:.3f} ({printed['low']:.3f} to {printed['high']:.3f})",
                "Paper: parameters (M)": "–" if printed is None else f"{printed['params_millions']:.3f}",
            }
        )
    columns = [
        "Model",
        "AUC, random weights",
        "AUC, ImageNet weights",
        "Parameters (M)",
        "Paper: AUC, ImageNet weights",
        "Paper: parameters (M)",
    ]
    shown = _labelled(pd.DataFrame(found, columns=columns).set_index("Model"))
    return with_caption(shown, captions.table1(results), _numbers1(whole, order), f"{results.name}-table1")


@skips_missing
def table2(results: Any) -> Printed | Note:
    """Table 2 for a study: change of the mean AUC by truncation (95 % interval), Times-Smaller, the paper's.

    One row a truncated model and init, each under its whole model; texts, for display, with a caption and, as `numbers`
    (changes in AUC), both intervals and the paper's. An asterisk marks an interval over patients that leaves out zero.
    The paper does not say whether its percentages are hundredths of AUC or relative to the whole model's AUC (its text
    fits both); ours are hundredths. The paper truncates models with ImageNet weights only, so its columns stand beside
    those rows, and beside a model's random-init rows only where the study has no other.
    """
    table = designs.truncations(results)
    if table.empty:
        return Note("")  # the figure above it has said why
    pretrained = set(table.loc[table["init"] == "imagenet", "arch"])
    found = []
    for row in table.itertuples():
        beside = row.init == "imagenet" or row.arch not in pretrained
        printed = PAPER_TABLE2.loc[row.label] if beside and row.label in PAPER_TABLE2.index else None
        star = "*" if row.low > 0 or row.high < 0 else ""
        found.append(
            {
                "Model": row.label + star,
                "Weights": {"imagenet": "ImageNet"}.get(row.init, row.init),
                "AUC change (hundredths)": with_interval(100 * row.change, 100 * row.low, 100 * row.high, 2),
                "Times smaller": f"{row.times:.1f}",
                "Paper: AUC change (%)": "–"
                if printed is None
                else number(printed["change_percent"], 2) + ("*" if printed["significant"] else ""),
                "Paper: times smaller": "–" if printed is None else f"{printed['times_smaller']:.1f}",
            }
        )
    columns = [
        "Model",
        "Weights",
        "AUC change (hundredths)",
        "Times smaller",
        "Paper: AUC change (%)",
        "Paper: times smaller",
    ]
    shown = _labelled(pd.DataFrame(found, columns=columns).set_index("Model"))
    return with_caption(shown, captions.table2(results), _numbers2(table, pretrained), f"{results.name}-table2")


@skips_missing
def rare_table(results: Any) -> pd.DataFrame | Note:
    """AUC (95 % interval) of the tasks that are too rare for the mean, one row a model: worth a look, no more."""
    apart = results.by_task[results.by_task["rare"]]
    if apart.empty:
        return Note("No task is too rare for the mean.")
    texts = [with_interval(row.auc, row.low, row.high, 2) if row.auc == row.auc else "–" for row in apart.itertuples()]
    wide = apart.assign(text=texts).pivot(index="model", columns="task", values="text")
    return _labelled(wide.loc[results.models.index].rename_axis("Model"))


@skips_missing
def task_table(results: Any) -> pd.DataFrame:
    """AUC of each task in the mean, one row a model, best mean first: what the mean hides."""
    names = [f"auc:{task}" for task in results.tasks]
    table = results.models.sort_values("auc", ascending=False)[[*names, "auc"]].map(lambda auc: number(auc, 3))
    return (
        table.rename(columns=lambda name: name.removeprefix("auc:"))
        .rename(columns={"auc": "Mean"})
        .rename_axis("Model")
        .pipe(_labelled)
    )


PRINTED = {
    "top1": ("4.1-rho-random", "4.1-rho-imagenet", "4.1-gap"),
    "size": ("4.2-rho-random", "4.2-rho-imagenet", "1-resnet", "1-densenet", "1-efficientnet"),
    "boost": ("4.3-boost", "1-boost", "4.3-rho"),
    "truncation": ("4.4-first", "4.4-resnet18"),
}
"""The statements (`chexlib.paper.claims.statements`) that a notebook sets beside its own numbers, by question."""


def printed(question: str) -> Note:
    """One sentence with the numbers that the paper prints on "top1", "size", "boost" or "truncation"."""
    return claims.printed(*PRINTED[question])


def _numbers1(whole: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Table 1 as numbers: a row a model and init, in this order of models, beside what the paper prints."""
    ends = ["auc", "low", "high", "low_seeds", "high_seeds"]
    found = (
        whole[["label", "init", "seeds", "parameters", *ends]].rename(columns={"label": "model"}).reset_index(drop=True)
    )
    found = found.sort_values("model", key=lambda names: names.map(order.index), kind="stable")
    theirs = PAPER_TABLE1.reindex(found["model"]).set_axis(found.index)
    return found.join(theirs.add_prefix("paper_imagenet_"))


def _numbers2(table: pd.DataFrame, pretrained: set[str]) -> pd.DataFrame:
    """Table 2 as numbers, changes in AUC; the paper's beside the rows that `table2` has them beside."""
    facts = ["init", "seeds", "parameters", "times", "change", *measures.INTERVALS]
    found = table[["arch", "label", *facts]].rename(columns={"label": "model"})
    theirs = PAPER_TABLE2.reindex(found["model"]).set_axis(found.index).add_prefix("paper_")
    beside = (found["init"] == "imagenet") | ~found["arch"].isin(pretrained)
    return found.drop(columns="arch").join(theirs.where(beside))


def _auc(here: pd.DataFrame, init: str) -> str:
    """The AUC of one init with its interval, or a dash."""
    at = here[here["init"] == init]
    return "–" if at.empty else with_interval(*at.iloc[0][["auc", "low", "high"]].astype(float))


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The name of the rows in the header's corner, which pandas would print as a row of its own."""
    return table.rename_axis(index=None, columns=table.index.name)
