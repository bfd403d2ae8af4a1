"""The one exception that a user can cause: the command line prints its single line and exits with code 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something in the user's input is wrong; the message says what, where, and what to do, on one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What was meant, perhaps, such as "nearest: Edema"; where nothing is near, all that there is to choose from."""
    by_letters = {one.casefold(): one for one in known}
    near = [by_letters[one] for one in get_close_matches(str(name).casefold(), by_letters, n=3)]
    return f"nearest: {', '.join(near)}" if near else f"choose from {', '.join(by_letters.values())}"
