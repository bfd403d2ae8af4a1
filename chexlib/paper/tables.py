"""The paper's Tables 1 and 2: as printed (transcribed from arXiv 2101.06871), and for a study at hand, side by side.

`PAPER_TABLE1` and `PAPER_TABLE2` are the printed numbers. The printed parameter counts mix 14-finding and 1000-class
heads, and the row MNASNet is NASNet-A-Mobile's count (see chexlib.models.zoo); ours count a 14-finding head.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from chexlib.models.truncate import parameters
from chexlib.models.zoo import ARCHITECTURES
from chexlib.paper import designs, measures
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import listed, number, with_interval

CITATION = "Ke et al., CheXtransfer, ACM CHIL 2021, arXiv:2101.06871"

PAPER_TABLE1 = pd.DataFrame(
    [
        ("DenseNet121", 0.859, 0.846, 0.871, 6.968),
        ("DenseNet169", 0.860, 0.848, 0.873, 12.508),
        ("DenseNet201", 0.864, 0.850, 0.876, 18.120),
        ("EfficientNetB0", 0.859, 0.846, 0.871, 4.025),
        ("EfficientNetB1", 0.858, 0.844, 0.872, 6.531),
        ("EfficientNetB2", 0.866, 0.853, 0.880, 7.721),
        ("EfficientNetB3", 0.853, 0.837, 0.867, 10.718),
        ("InceptionV3", 0.862, 0.848, 0.876, 27.161),
        ("InceptionV4", 0.861, 0.846, 0.873, 42.680),
        ("MNASNet", 0.858, 0.845, 0.871, 5.290),
        ("MobileNetV2", 0.854, 0.839, 0.869, 2.242),
        ("MobileNetV3", 0.859, 0.847, 0.872, 4.220),
        ("ResNet101", 0.863, 0.848, 0.876, 44.549),
        ("ResNet18", 0.862, 0.847, 0.875, 11.690),
        ("ResNet34", 0.863, 0.849, 0.875, 21.798),
        ("ResNet50", 0.859, 0.843, 0.871, 25.557),
    ],
    columns=["model", "auc", "low", "high", "params_millions"],
).set_index("model")
"""Table 1 as printed: mean CheXpert AUC (95 % interval; ImageNet weights), and millions of parameters."""

PAPER_TABLE2 = pd.DataFrame(
    [
        ("EfficientNetB0", 0.00, 1.0, False),
        ("EfficientNetB0Minus1", 0.15, 1.4, False),
        ("EfficientNetB0Minus2", -0.45, 4.7, False),
        ("MNASNet", 0.00, 1.0, False),
        ("MNASNetMinus1", -0.07, 2.5, False),
        ("MNASNetMinus2", -2.30, 11.2, True),
        ("MNASNetMinus3", -2.51, 20.0, True),
        ("MNASNetMinus4", -6.40, 112.9, True),
        ("DenseNet121", 0.00, 1.0, False),
        ("DenseNet121Minus1", -0.04, 1.6, False),
        ("DenseNet121Minus2", -1.33, 5.3, True),
        ("DenseNet121Minus3", -4.73, 20.0, True),
        ("ResNet18", 0.00, 1.0, False),
        ("ResNet18Minus1", 0.24, 4.2, False),
        ("ResNet18Minus2", -3.70, 17.1, True),
        ("ResNet18Minus3", -8.33, 73.8, True),
    ],
    columns=["model", "change_percent", "times_smaller", "significant"],
).set_index("model")
"""Table 2 as printed: AUC change in percent, Times-Smaller, and its asterisk (p < 0.05); ImageNet weights."""


@skips_missing
def table1(results: Any) -> pd.DataFrame:
    """Table 1 for a study: mean AUC (95 % interval) from either init, parameters, and what the paper prints.

    Indexed by model, the paper's architectures first and in its order, others after; texts, for display. A dash stands
    for what the study did not train or the paper does not print.
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
    return _labelled(pd.DataFrame(found, columns=columns).set_index("Model"))


@skips_missing
def table2(results: Any) -> pd.DataFrame | Note:
    """Table 2 for a study: change of the mean AUC by truncation (95 % interval), Times-Smaller, the paper's.

    One row a truncated model and init, each under its whole model; texts, for display. An asterisk marks an interval
    that leaves out zero. The paper does not say whether its percentages are hundredths of AUC or relative to the whole
    model's AUC (its text fits both); ours are hundredths. The paper truncates models with ImageNet weights only, so its
    columns stand beside those rows, and beside a model's random-init rows only where the study has no other.
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
    return _labelled(pd.DataFrame(found, columns=columns).set_index("Model"))


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


DEEPEST_WITHOUT_A_DROP = ("EfficientNetB0Minus2", "MNASNetMinus1", "DenseNet121Minus1", "ResNet18Minus1")
"""Behind the paper's "3.25x more parameter-efficient": the deepest of each family without a significant drop."""

PRINTED = {
    "top1": (
        "4.1",
        "ImageNet top-1 accuracy and CheXpert AUC have Spearman's ρ = 0.082 (p = 0.762) without pretraining and 0.059 "
        "(p = 0.829) with it; the best model without pretraining leads the worst by 0.052 (0.043 to 0.063)",
    ),
    "size": (
        "4.2",
        "parameters and CheXpert AUC have Spearman's ρ = 0.791 (p = 2.62 × 10⁻⁴) without pretraining and 0.565 "
        "(p = 0.023) with it; the largest of a family leads its smallest by 0.003 to 0.005 without pretraining",
    ),
    "boost": (
        "4.3",
        "the boost is 0.015 on average (0.016 in its introduction), and falls with the number of parameters: "
        "Spearman's ρ = −0.718 (p = 0.002)",
    ),
    "truncation": (
        "4.4",
        "without its last block a model is 1.4 to 4.2 times smaller with no significant decrease; ResNet18Minus1 "
        "changes by +0.002 (−0.004 to +0.008)",
    ),
}
"""What the paper prints of each question: its section, and its numbers in a sentence."""


def printed(question: str) -> Note:
    """One sentence with the numbers that the paper prints on "top1", "size", "boost" or "truncation"."""
    section, text = PRINTED[question]
    return Note(f"For comparison, the paper (section {section}, CheXpert): {text}.")


def recounted() -> Note:
    """The paper's 3.25 times smaller, counted again with a 14-finding head on every network (section 4.4, Table 2)."""
    names = {label: _architecture(label) for label in DEEPEST_WITHOUT_A_DROP}
    ours = [parameters(name, 0) / parameters(name, minus) for name, minus in names.values()]
    theirs = [PAPER_TABLE2.loc[label, "times_smaller"] for label in names]
    printed_as, becomes = listed([f"{t:.1f}" for t in theirs]), listed([f"{t:.2f}" for t in ours])
    return Note(
        f"The mean of {sum(theirs) / len(theirs):.2f} times smaller, taken over {printed_as}, becomes "
        f"{sum(ours) / len(ours):.2f} when every network wears the same head ({becomes})."
    )


def _architecture(label: str) -> tuple[str, int]:
    """A printed label such as ResNet18Minus1 as the architecture's name and its truncation."""
    whole, _, minus = label.partition("Minus")
    return next(row.name for row in ARCHITECTURES.values() if row.paper_name == whole), int(minus)


def _auc(here: pd.DataFrame, init: str) -> str:
    """The AUC of one init with its interval, or a dash."""
    at = here[here["init"] == init]
    return "–" if at.empty else with_interval(*at.iloc[0][["auc", "low", "high"]].astype(float))


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The name of the rows in the header's corner, which pandas would print as a row of its own."""
    return table.rename_axis(index=None, columns=table.index.name)
