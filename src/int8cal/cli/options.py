"""Options that belong together, applied as one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Command = TypeVar("Command", bound="Callable[..., Any]")


def decorated(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The decorators as one, the first the outermost."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply
