"""The one exception that a user can cause: the command line prints its single line and exits with code 2.

What a message shows of the user's own can be of any length and hold anything: it is cut here, and what a terminal would
obey is shown instead.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 200
"""Characters of a cell that a message shows; of a whole message that has five times as many its two ends are."""


class UserError(ValueError):
    """Something in the user's input is wrong; the message says what, where, and what to do, on one line."""

    def __init__(self, message: object = ""):
        super().__init__(one_line(message))


def one_line(message: object) -> str:
    """A message on one line, with control characters as escapes, and without its middle where it is very long."""
    text = str(message)
    if len(text) > 5 * LONGEST:
        text = f"{text[: 3 * LONGEST]} [...] {text[-LONGEST:]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in re.sub(r"\s*[\r\n]\s*", " ", text.strip()))


def quoted(value: object) -> str:
    """A value in quotes, with control characters as escapes; of a long one its beginning and its length."""
    text = str(value)
    return repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r}... ({len(text):,} characters)"


def nearest(name: str, known: Iterable[str]) -> str:
    """What was meant, perhaps, such as "nearest: Edema"; where nothing is near, all that there is to choose from."""
    by_letters = {one.casefold(): one for one in known}
    near = [by_letters[one] for one in get_close_matches(str(name).casefold(), by_letters, n=3)]
    return f"nearest: {', '.join(near)}" if near else f"choose from {', '.join(by_letters.values())}"
