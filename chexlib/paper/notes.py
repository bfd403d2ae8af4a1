"""What a notebook shows where there is nothing to draw: a `Note`, or, for results that are not there at all, `Missing`.

`Missing` stands in for results or images. Figures, tables and sentences take it as they take the real thing and show
nothing, so that a notebook needs no branches; the reason is said once, by `sentences.about` and by the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any


class Note(str):
    """A string that a notebook shows as Markdown."""

    def _repr_markdown_(self) -> str:
        return str(self) or "<!-- nothing to show -->"  # IPython would print an empty string's quotes


@dataclass(frozen=True)
class Missing:
    """Stands in for results or images that are not there, and knows why."""

    reason: str
    name: str = ""


def skips_missing(show: Callable) -> Callable:
    """Lets a function of results or images give an empty Note where any of them is Missing."""
    return _on_missing(show, lambda missing: Note(""))


def says_missing(answer: Callable) -> Callable:
    """Lets a function of results or images give the reason where any of them is Missing."""
    return _on_missing(answer, lambda missing: Note(missing.reason))


def _on_missing(show: Callable, instead: Callable[[Missing], Note]) -> Callable:
    @wraps(show)
    def shown(*arguments: Any, **options: Any) -> Any:
        for argument in (*arguments, *options.values()):
            if isinstance(argument, Missing):
                return instead(argument)
        return show(*arguments, **options)

    return shown
