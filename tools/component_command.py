"""The command line of a component as the service makes it: values replaced in its text, without any quoting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\](?!\])", re.DOTALL)
_REFERENCE = re.compile(r"\$\{\{\s*(inputs|outputs)\.([A-Za-z0-9_]+)(?:\.path)?\s*\}\}")

Place = tuple[str, str]
"""(``inputs`` or ``outputs``, name)."""


def references(command: str) -> list[Place]:
    """Every input and output that a command refers to, in order."""
    return [(match[1], match[2]) for match in _REFERENCE.finditer(command)]


def optional_blocks(command: str) -> list[str]:
    """The texts inside ``$[[ ]]``."""
    return [match[1] for match in _OPTIONAL.finditer(command)]


def outside_optional_blocks(command: str) -> str:
    """The command without its ``$[[ ]]`` blocks."""
    return _OPTIONAL.sub("", command)


def resolve(command: str, values: Mapping[Place, str | None]) -> str:
    """The command with every value in its place.

    Args:
        command: the component's command.
        values: value of every input and output; None: not given.

    Raises:
        KeyError: the command refers to something that ``values`` does not have.
        ValueError: a reference outside ``$[[ ]]`` has no value.
    """

    def block(match: re.Match[str]) -> str:
        return "" if any(values[place] is None for place in references(match[1])) else match[1]

    def value(match: re.Match[str]) -> str:
        text = values[match[1], match[2]]
        if text is None:
            raise ValueError(f"{match[0]} has no value and stands outside $[[ ]]")
        return text

    return _REFERENCE.sub(value, _OPTIONAL.sub(block, command))


def here_documents(command: str) -> Iterator[str]:
    """The bodies of the quoted here-documents of a command."""
    for match in re.finditer(r"<<'(\w+)'[^\n]*\n(.*?)\n\1(?:\n|\Z)", command, re.DOTALL):
        yield match[2]
