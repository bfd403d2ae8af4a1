"""Figures of a data set's counts: from files to splits, findings, which come together, people and views.

They take what `chexlib.data.describe` counts (the flow: a Dataset), so they show no single image, label or id.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from chexlib.data.describe import VIEWS, WORDS, Description
from chexlib.data.labels import TASKS
from chexlib.errors import UserError
from chexlib.figures.style import FAINT, INK, RC, WIDTH, Plate, plate
from chexlib.paper.images import SPLITS
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.wording import counted

KINDS = (("positive", "present", "#0072B2", ""), ("uncertain", "uncertain", "#E69F00", "///"),
         ("negative", "absent", "#bdbdbd", ""))  # fmt: skip
SEXES = (("F", "women", "#CC79A7"), ("M", "men", "#0072B2"), ("unknown", "not known", "#bdbdbd"))
BOX, WIDE, GAP = 1.16, 2.6, 0.44
"""Inches: height of a box of the flow, its width where it is alone, and the room between two."""


@skips_missing
def flow(dataset: Any) -> Plate:
    """From the label files to training, validation and test, by the loader's own counts (Dataset.flow)."""
    steps = dataset.flow.groupby("step", sort=False)[["images", "studies", "patients"]].sum()
    rows = len(steps) + 1
    height = rows * BOX + (rows - 1) * GAP + 0.1
    with rc_context(RC):
        figure, grid = plate(height=height, source=dataset)
        axes = grid[0, 0]
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        middle = WIDTH / 2
        for k, (step, counts) in enumerate(steps.iterrows()):
            top = 0.05 + k * (BOX + GAP)
            _box(axes, middle, top, WIDE, STEPS.get(step, (step.capitalize(), ""))[0], counts)
            if k:
                _arrow(axes, (middle, top - GAP), (middle, top))
                lost = steps["images"].iloc[k - 1] - counts["images"]
                why = STEPS.get(step, ("", "of other views"))[1]
                _arrow(axes, (middle, top - GAP / 2), (middle + 0.5, top - GAP / 2))
                axes.text(middle + 0.58, top - GAP / 2, f"{lost:,} {why}", va="center", fontsize=11)
        top = 0.05 + len(steps) * (BOX + GAP)
        last = dataset.flow[dataset.flow["step"] == steps.index[-1]].set_index("split")
        for k, (split, name) in enumerate(SPLITS.items()):
            x = WIDTH * (2 * k + 1) / 6
            axes.plot([middle, x], [top - GAP / 2] * 2, color=FAINT, linewidth=1.2)
            _arrow(axes, (x, top - GAP / 2), (x, top))
            _box(axes, x, top, 1.95, name.capitalize(), last.loc[split])
        axes.plot([middle] * 2, [top - GAP, top - GAP / 2], color=FAINT, linewidth=1.2)
    return figure


STEPS = {"listed": ("In the label files", ""), "readable": ("Readable", "cannot be decoded")}
"""A step of the flow in words, and what it leaves out."""


def _box(axes: Axes, x: float, top: float, width: float, title: str, counts: Any) -> None:
    """A box whose upper edge has its middle at (x, top), with its title and its counts."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, top), width, BOX, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="#f3f6f9", edgecolor="#666666", linewidth=1,
        )
    )  # fmt: skip
    axes.text(x, top + 0.2, title, ha="center", va="center", weight="bold", fontsize=12)
    nouns = {"images": "image", "studies": "study", "patients": "patient"}
    for k, (column, noun) in enumerate(nouns.items()):
        text = counted(counts[column], noun, column)
        axes.text(x, top + 0.46 + 0.25 * k, text, ha="center", va="center", fontsize=12)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": FAINT, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow)


@skips_missing
def prevalence(described: Description, split: str = "train") -> Plate | Note:
    """Share of a split's rows in which each finding is present, uncertain or absent; the rest is unmentioned."""
    if split not in described.splits.index or not described.labelled(split):
        return Note(f"There are no {SPLITS[split]} labels to show.")
    with rc_context(RC):
        figure, grid = plate(height=4.6, source=described, legend=0.26)
        _prevalence(grid[0, 0], described, split, f"{SPLITS[split]} {described.what}")
        figure.legend(
            handles=_kinds(), loc="lower center", ncols=3, frameon=False,
            bbox_to_anchor=(0.5, 0.24 / figure.get_figheight()),
        )  # fmt: skip
    return figure


@skips_missing
def cooccurrence(described: Description, split: str = "train") -> Plate | Note:
    """Of a split's rows with one finding, the share that have another, too, in %."""
    if split not in described.splits.index or not described.labelled(split):
        return Note(f"There are no {SPLITS[split]} labels to show.")
    with rc_context(RC):
        figure, grid = plate(height=5.6, source=described)
        _cooccurrence(grid[0, 0], described, split, f"{SPLITS[split]} {described.what}")
    return figure


@skips_missing
def people(described: Description) -> Plate | Note:
    """Age by sex of all rows, and their views; a Note where neither is known."""
    if not described.splits.loc["all", "age known"]:
        return Note("The ages of these patients are not known.")
    with rc_context(RC):
        figure, grid = plate(1, 2, height=2.9, source=described, width_ratios=(3, 2))
        _ages(grid[0, 0], described, described.what)
        _views(grid[0, 1], described, described.what)
    return figure


def overview(described: Description) -> Plate:
    """All of it in one figure, of all rows: findings, which come together, ages by sex, views.

    Raises UserError where no finding is labelled.
    """
    if not described.labelled():
        raise UserError(f"{described.title}: no finding is labelled, so there is nothing to draw: add a labels.csv")
    with rc_context(RC):
        figure, grid = plate(4, 1, height=15, source=described, height_ratios=(4.6, 5.4, 2.4, 1.6))
        what = described.what
        _prevalence(grid[0, 0], described, "all", what)
        grid[0, 0].legend(handles=_kinds(), loc="lower right", fontsize=9)
        _cooccurrence(grid[1, 0], described, "all", what)
        _ages(grid[2, 0], described, what)
        _views(grid[3, 0], described, what)
        whole = described.splits.loc["all"]
        heading = f"{whole['rows']:,.0f} {what} of {counted(int(whole['patients']), 'patient')}"
        grid[0, 0].set_title(heading)
    return figure


def _kinds() -> list[Patch]:
    return [Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=label) for _, label, colour, hatch in KINDS]


def _prevalence(axes: Axes, described: Description, split: str, what: str) -> None:
    table = described.findings.loc[split].loc[described.labelled(split)][::-1]
    left = np.zeros(len(table))
    for kind, _, colour, hatch in KINDS:
        share = 100 * table[kind].to_numpy() / described.splits.loc[split, "rows"]
        axes.barh(range(len(table)), share, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.72)
        left += share
    axes.set_yticks(range(len(table)), [name + (" •" if name in TASKS else "") for name in table.index])
    axes.set(xlabel=f"% of {what} (• one of the six tasks)", xlim=(0, 100), ylim=(-0.6, len(table) - 0.4))
    axes.grid(axis="y", visible=False)


def _cooccurrence(axes: Axes, described: Description, split: str, what: str) -> None:
    names = described.labelled(split)
    both = described.together.loc[split].loc[names, names].to_numpy(dtype=float)
    present = np.diag(both)[:, None]
    shares = np.divide(100 * both, present, out=np.full_like(both, np.nan), where=present > 0)
    np.fill_diagonal(shares, np.nan)
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, j in np.argwhere(shares >= 0.5):
        axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=9,
                  color="white" if shares[i, j] > 55 else INK)  # fmt: skip
    for i in range(len(names)):
        axes.add_patch(FancyBboxPatch((i - 0.5, i - 0.5), 1, 1, boxstyle="square,pad=0", color="#dddddd", linewidth=0))
    axes.set_xticks(range(len(names)), [name.replace(" Cardio", "\nCardio") for name in names], rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.set_title(f"of {what} with the row's finding, % with the column's", fontsize=10, loc="right")


def _ages(axes: Axes, described: Description, what: str) -> None:
    ages = described.ages.loc["all"]
    bottom = np.zeros(len(ages))
    decades = [f"{decade}" for decade in ages.index]
    for sex, word, colour in SEXES:
        counts = ages[sex].to_numpy()
        if counts.any():
            axes.bar(decades, counts, bottom=bottom, color=colour, edgecolor="white", width=0.85, label=word)
        bottom = bottom + counts
    axes.set(xlabel="age (by decade)", ylabel=what)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False, fontsize=9, loc="upper left", handlelength=1, borderaxespad=0.1)


def _views(axes: Axes, described: Description, what: str) -> None:
    whole = described.splits.loc["all"]
    views = [(WORDS[view], whole[f"view {view}"]) for view in VIEWS.values() if whole[f"view {view}"]][::-1]
    shares = [100 * n / whole["rows"] for _, n in views]
    axes.barh(range(len(views)), shares, color="#009E73", height=0.6)
    for y, share in enumerate(shares):
        axes.text(share + 1.5, y, f"{share:.0f} %", va="center", fontsize=9)
    axes.set_yticks(range(len(views)), [word for word, _ in views])
    axes.set(xlim=(0, 118), xlabel=f"% of {what}", ylim=(-0.6, max(len(views), 2) - 0.4), xticks=(0, 50, 100))
    axes.grid(axis="y", visible=False)
