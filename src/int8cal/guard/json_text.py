"""JSON from anybody: every call into Python's `json` that reads an input is here."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

from int8cal.errors import Int8calError
from int8cal.guard.libraries import library_errors

MAX_DEPTH = 64
"""Deepest nesting that is taken: what prints or compares it again calls itself for each level."""

MAX_GROUPS = 1 << 19
"""Most lists and objects: each costs a hundred times what its two bytes cost."""


def parsed_json(
    text: str | bytes,
    kind: type[Int8calError],
    message: str,
    *,
    where: str | None = None,
    hint: str | None = None,
    members: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The value of a JSON text.

    Args:
        text: the text; bytes are UTF-8, UTF-16 or UTF-32.
        kind: the error to raise when it is not JSON, or nested too deep.
        message: what it says; the reason follows in brackets.
        where: the place.
        hint: what the user can do.
        members: makes an object of its names and values; errors that it raises of int8cal's pass. None: a dict.
    """
    groups = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if groups > MAX_GROUPS:
        raise kind(f"{message} (more than {MAX_GROUPS} lists and objects)", where=where, hint=hint)
    with library_errors(kind, message, where=where, hint=hint):
        value = json.loads(text, object_pairs_hook=members)
    if groups > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise kind(f"{message} (nested deeper than {MAX_DEPTH} levels)", where=where, hint=hint)
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        inner = chain.from_iterable(outer.values() if type(outer) is dict else outer for outer in level)
        level = [one for one in inner if type(one) is dict or type(one) is list]
        if not level:
            return False
    return True
