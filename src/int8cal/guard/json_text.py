"""JSON from anybody: every call into Python's `json` that reads an input is here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from int8cal.errors import Int8calError
from int8cal.guard.libraries import library_errors

MAX_DEPTH = 64
"""Deepest nesting that is taken: what prints or compares it again calls itself for each level."""


def parsed_json(
    text: str | bytes,
    kind: type[Int8calError],
    what: str,
    *,
    where: str | None = None,
    hint: str | None = None,
    members: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The value of a JSON text.

    Args:
        text: the text; bytes are UTF-8, UTF-16 or UTF-32.
        kind: the error to raise when it is no JSON, or nested too deep.
        what: what its message calls the text.
        where: the place.
        hint: what the user can do.
        members: makes an object of its names and values; errors that it raises of int8cal's pass. None: a dict.
    """
    with library_errors(kind, f"{what} is not JSON that can be read", where=where, hint=hint):
        value = json.loads(text, object_pairs_hook=members)
    if _is_deeper(value, MAX_DEPTH):
        raise kind(f"{what} is nested deeper than {MAX_DEPTH} levels", where=where, hint=hint)
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
