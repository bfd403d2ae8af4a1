"""What the command line makes of a line, without doing it."""

from __future__ import annotations

from chexlib.cli import command_line


def parsed(arguments: list[str]):
    """typer's context of the verb that the arguments name: `command`, and `params` as the verb gets them."""
    verb, rest = command_line(), list(arguments)
    while hasattr(verb, "commands"):
        verb = verb.commands[rest.pop(0)]
    return verb.make_context(verb.name, rest)
