"""The ledger of statements and the findings of the audit, as pages show them: plain HTML, no script.

The ledger is filtered by its own style rules: what a select has chosen hides the rows that are something else
(`:has()`, which browsers have had since 2023), and a counter counts the rest. Without style it is the whole table.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from html import escape
from typing import Any

from chexlib.figures.runs import Page
from chexlib.paper import audit, claims
from chexlib.paper.claims import JUDGES, Judged
from chexlib.paper.claims.judging import CHECK_WORDS, STUDY_WORDS, UNCHECKED, Verdict
from chexlib.paper.claims.statement import CHEXTRANSFER
from chexlib.paper.runs import shown_id
from chexlib.paper.wording import counted

RUNS_PAGE = "12_runs.html"
"""Where a run's card has its name as its id."""

TITLES = {"place": "Where", "own": "Its own numbers", "count": "Recount", "study": "Study"}
"""The selects, by the data attribute of a row that each goes by."""


def claim_table(results: Any = None) -> Page:
    """Every statement with its three verdicts; `results` is a Results, a Missing, or None for no study at all."""
    judged = claims.ledger(results)
    shown = _ids(results)
    groups = dict.fromkeys(_place(one) for one in judged)
    rows = [_row(one, place, shown) for place in groups for one in judged if _place(one) == place]
    heads = ["Where", "What it says, and prints", "Against its own numbers", "Recounted", "In the study"]
    html = [
        '<div class="chexlib-claims">',
        f"<style>\n{_rules(groups)}\n</style>",
        f'<p class="filters">{"".join(_select(name, options) for name, options in _choices(groups).items())}</p>',
        '<table class="claims"><thead><tr>',
        *(f"<th>{head}</th>" for head in heads),
        "</tr></thead><tbody>",
        *rows,
        f'</tbody></table>\n<p class="shown">of {counted(len(judged), "statement")}</p>\n</div>',
    ]
    return Page("\n".join(html), claims.text(judged))


def finding_cards() -> Page:
    """Every finding of the audit: what is printed, what the count gives, and the code that computes it, folded."""
    found = [(make, make()) for make in audit.FINDINGS]
    cards = [
        f'<div class="finding" id="finding-{make.__name__}">\n<p><strong>{escape(one.where)}</strong>: '
        f"{escape(one.says)}</p>\n<dl><dt>Printed</dt><dd>{escape(one.printed)}</dd>"
        f"<dt>Counted</dt><dd>{escape(one.counted)}</dd></dl>\n<details><summary>The code that computes it</summary>"
        f"<pre>{escape(inspect.getsource(make))}</pre></details>\n</div>"
        for make, one in found
    ]
    text = "\n\n".join(f"{one.where}\n{one.says}" for _, one in found)
    return Page('<div class="chexlib-claims">\n' + "\n".join(cards) + "\n</div>", text)


def _row(one: Judged, place: str, shown: dict[str, str]) -> str:
    row = one.statement
    words = " ".join(f'data-{name}="{escape(getattr(one, name).word)}"' for name in JUDGES)
    numbers = f' <span class="numbers">{escape(row.shown)}</span>' if row.shown else ""
    asked = claims.criterion_of(row)
    title = f' title="Reproduced where this holds: {escape(asked)}"' if asked else ""
    return (
        f'<tr class="claim" id="claim-{escape(row.id)}" data-place="{escape(place)}" {words}>'
        f'<th scope="row">{escape(place)}</th><td>{escape(row.says)}{numbers}</td>'
        f'<td data-judge="{JUDGES["own"]}">{_verdict(one.own)}</td>'
        f'<td data-judge="{JUDGES["count"]}">{_verdict(one.count)}</td>'
        f'<td data-judge="{JUDGES["study"]}"{title}>{_verdict(one.study)}{_links(one, shown)}</td></tr>'
    )


def _verdict(verdict: Verdict) -> str:
    if verdict.word == UNCHECKED:
        return '<span class="none">–</span>'
    reason = f" <small>{escape(verdict.reason)}</small>" if verdict.reason else ""
    return f'<b data-word="{escape(verdict.word)}">{escape(verdict.word)}</b>{reason}'


def _links(one: Judged, shown: dict[str, str]) -> str:
    """To the figure, and to the card of each run behind the measurement."""
    figure = f' <a href="{escape(one.statement.page)}.html">figure</a>' if one.statement.page else ""
    if not one.runs:
        return figure
    cards = " ".join(f'<a href="{RUNS_PAGE}#{escape(shown[run])}">{escape(shown[run])}</a>' for run in one.runs)
    return f"{figure} <details><summary>{counted(len(one.runs), 'run')}</summary>{cards}</details>"


def _ids(results: Any) -> dict[str, str]:
    """The ids of the runs' cards, by run_id."""
    if not hasattr(results, "runs"):
        return {}
    return {run.run_id: shown_id(run.run_id, run) for run in results.runs.itertuples()}


def _place(one: Judged) -> str:
    section = claims.section_of(one.statement)
    return section if one.statement.paper == CHEXTRANSFER else f"{one.statement.paper}, {section}"


def _choices(places: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {"place": tuple(places), "own": CHECK_WORDS, "count": CHECK_WORDS, "study": STUDY_WORDS}


def _select(name: str, options: Iterable[str]) -> str:
    values = "".join(f'<option value="{escape(one)}">{escape(one)}</option>' for one in options)
    return f'<label>{TITLES[name]} <select data-by="{name}"><option value="">all</option>{values}</select></label>\n'


def _rules(places: Iterable[str]) -> str:
    """A rule an option: once it is chosen, rows that are something else are gone."""
    return "\n".join(
        f'.filters:has([data-by="{name}"] > [value="{escape(one)}"]:checked) ~ table.claims > tbody > '
        f'tr:not([data-{name}="{escape(one)}"]) {{ display: none; }}'
        for name, options in _choices(places).items()
        for one in options
    )
