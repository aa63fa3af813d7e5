"""Options that belong together, applied as one decorator; and what holds for the text of every option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound="Callable[..., Any]")


def decorated(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The decorators as one, the first the outermost."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


class _PossiblyEmpty(click.types.StringParamType):
    """Any text."""


class _NotEmpty(click.types.StringParamType):
    """A text that says something: a variable of the shell that is not set must not make an option go unheard."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; is a variable of the shell not set?", param, ctx)
        return super().convert(value, param, ctx)


POSSIBLY_EMPTY = _PossiblyEmpty()
"""For the options where an empty text has a meaning."""
_NOT_EMPTY = _NotEmpty()


def refuse_empty_texts(command: click.Command) -> None:
    """Let no option of a command, or of those below it, take an empty text, but for those that are `POSSIBLY_EMPTY`."""
    for option in command.params:
        if isinstance(option, click.Option) and option.type is click.STRING:
            option.type = _NOT_EMPTY
    if isinstance(command, click.Group):
        for child in command.commands.values():
            refuse_empty_texts(child)
