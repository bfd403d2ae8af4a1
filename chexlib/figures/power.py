"""What a test set could have shown: differences between architectures, and rank correlations over them.

Each function gives a figure, or a Note that says why there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chexlib.figures.style import FAINT, INIT_TITLES, INK, RC, Plate, bottom_legend, plate
from chexlib.paper import attenuation, power_notes
from chexlib.paper import power as numbers
from chexlib.paper.attenuation import Attenuation
from chexlib.paper.notes import Note, skips_missing
from chexlib.paper.power import ASSUMED, POWER, Pairs
from chexlib.paper.wording import number

OBSERVED, PATIENTS, SEEDS = INK, "#0072B2", "#D55E00"


@skips_missing
def detectable(results: Any) -> Plate | Note:
    """Share of pairs of architectures whose difference is at most x: as observed, and the least that is detectable.

    Above for the study, from the init with more architectures; below for the paper's Table 1, for several correlations
    of two models' errors. Where the observed line lies left of the others, differences could not have been seen.
    """
    found = _of_study(results)
    if found is None:
        return power_notes.differences(results)
    init, ours = found
    with rc_context(RC):
        figure, grid = plate(2, 1, height=6.2, source=results, legend=0.8)
        top, bottom = grid[:, 0]
        top.set_title(f"this study, {INIT_TITLES.get(init, init)}: {len(ours.observed):,} pairs")
        _share(top, ours.observed, OBSERVED, 2.2)
        _share(top, ours.least, PATIENTS, 1.6)
        _share(top, ours.least_seeds, SEEDS, 1.6, "dashdot")
        bottom.set_title(f"the paper's Table 1, {numbers.STUDIES} test studies: 120 pairs")
        _share(bottom, numbers.paper_pairs(0.0).observed, OBSERVED, 2.2)
        for r in ASSUMED:
            least = numbers.paper_pairs(r).least
            _share(bottom, least, PATIENTS, 1.6)
            bottom.text(np.median(least), 1.03, f"r = {r:g}", ha="center", va="bottom", fontsize=9.5, color=PATIENTS)
        for axes in (top, bottom):
            axes.set(xlim=(0, None), ylim=(0, 1.0), ylabel="share of pairs")
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        bottom.set_ylim(0, 1.16)
        bottom.set_xlabel("difference of two mean AUCs")
        handles = [Line2D([], [], color=OBSERVED, linewidth=2.2, label="observed, at most x")]
        least = f"least found with {POWER:.0%} power"
        handles.append(Line2D([], [], color=PATIENTS, label=f"{least}, over patients"))
        if not np.isnan(ours.least_seeds).any():
            handles.append(Line2D([], [], color=SEEDS, linestyle="dashdot", label=f"{least}, over seeds, too"))
        bottom_legend(figure, handles, 1)
    return figure


@skips_missing
def attenuated(results: Any) -> Plate | Note:
    """The true rho against what would come out of it, 95 %: with the noise of a study, and with none.

    Left for the study at hand, right for the paper's models with ImageNet weights, whose printed rho is the line.
    """
    panels = _panels(results)
    with rc_context(RC):
        figure, grid = plate(1, len(panels), height=3.7, source=results, legend=0.26, sharey=True)
        for axes, (title, one, came) in zip(grid[0], panels, strict=True):
            _band(axes, attenuation.noiseless(one.n), "#d9d9d9", 1)
            _band(axes, one, PATIENTS, 0.35)
            axes.plot(one.true, one.mean, color=PATIENTS, linewidth=1.8)
            axes.plot([-1, 1], [-1, 1], color=FAINT, linewidth=1, linestyle="dotted")
            if came is not None:
                low, high = one.compatible(came)
                axes.plot([low, high], [came, came], color=SEEDS, linewidth=2.4, solid_capstyle="butt")
                title += f"\nρ {number(came, 2)}: true {number(low, 2)} to {number(high, 2)}"
            axes.set(xlim=(-1, 1), ylim=(-1, 1), xlabel="true ρ")
            axes.set_title(title, fontsize=10)
        grid[0, 0].set_ylabel("ρ that comes out")
        bottom_legend(
            figure,
            [
                Patch(color=PATIENTS, alpha=0.35, label="95 %, with noise"),
                Patch(color="#d9d9d9", label="95 %, without"),
                Line2D([], [], color=SEEDS, linewidth=2.4, label="came out"),
            ],
        )
    return figure


def _of_study(results: Any) -> tuple[str, Pairs] | None:
    """The init with more whole architectures, and its pairs."""
    found = [(init, one) for init in power_notes.INITS if (one := numbers.pairs(results, init)) is not None]
    return max(found, key=lambda pair: len(pair[1].auc)) if found else None


def _panels(results: Any) -> list[tuple[str, Attenuation, float | None]]:
    """Title, simulation and the rho that came out: of the study where it has one, and of the paper."""
    panels = []
    for init in power_notes.INITS:
        one, came = attenuation.of_study(results, init), power_notes.rho_of_study(results, init)
        if one is not None:
            panels.append((f"this study, {INIT_TITLES.get(init, init)}", one, came))
    panels = panels[:1]
    r = power_notes.implied()
    panels.append(
        (f"the paper, {INIT_TITLES['imagenet']}", attenuation.of_paper(r), power_notes.printed_rho("imagenet"))
    )
    return panels


def _band(axes: Axes, one: Attenuation, colour: str, alpha: float) -> None:
    axes.fill_between(one.true, one.low, one.high, color=colour, alpha=alpha, linewidth=0)


def _share(axes: Axes, values: np.ndarray, colour: str, width: float, dashes: Any = "solid") -> None:
    """Share of values that are at most x, as steps; nothing where they are not known."""
    if not np.isnan(values).any():
        axes.ecdf(values, color=colour, linewidth=width, linestyle=dashes)
