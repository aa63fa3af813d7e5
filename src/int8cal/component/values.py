"""Texts → typed values: what ``ND``, an empty text, ``10.0`` and ``True`` mean, and nothing about what they are for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from int8cal.component.inputs import BY_NAME, INPUTS, NOT_DEFINED, OUTPUT_DIR, ComponentInput
from int8cal.errors import UsageError
from int8cal.io.paths import refuse_missing_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value: TypeAlias = str | int | bool | None

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")  # Azure ML sends the number 10 as 10.0
_BARE_LINE_FEED = re.compile(r"(?<!\r)\n")
_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.*)", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"  # editors on Windows begin files with it
MAX_INPUT_BYTES = 1 << 20
"""Longest text of inputs that is read."""


def read_lines(text: str, where: str) -> dict[str, str]:
    """Inputs written as lines of ``name=value``; everything after the first ``=`` is the value, as it stands.

    Lines may end as Windows ends them, all of them. Where one ends otherwise, a carriage return is part of a value: the
    service writes lines that end with a line feed round whatever the values hold.

    Args:
        text: the lines; empty ones are allowed.
        where: what the text is called in messages.

    Raises:
        UsageError: a line is something else, a name is unknown or repeated, or the text is too long.
    """
    if len(text) > MAX_INPUT_BYTES:
        raise UsageError(f"has more than {MAX_INPUT_BYTES} characters", where=where)
    found: dict[str, str] = {}
    end = "\n" if _BARE_LINE_FEED.search(text) else "\r\n"
    for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split(end), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise UsageError(f"{line[:80]!r} is not name=value", where=f"{where}:{number}")
        name = match[1].replace("-", "_")
        if name not in BY_NAME and name != OUTPUT_DIR:
            raise UsageError(f"unknown input {name[:80]!r}", where=f"{where}:{number}", hint=_known_names(BY_NAME))
        if name in found:
            raise UsageError(
                f"input {name} is given twice", where=f"{where}:{number}", hint="Does a value hold a line break?"
            )
        found[name] = match[2]
    return found


def typed(texts: Mapping[str, str], *, original_only: bool = False) -> dict[str, Value]:
    """The value of every input: parsed, or its default, or None.

    Args:
        texts: input name → text; ``ND``, an empty text and an absent name all mean "not given".
        original_only: only the inputs of the component that this one replaces are known.

    Raises:
        UsageError: a name is unknown, a value has the wrong type or is out of range, or a required one is missing.
    """
    names = [item.name for item in INPUTS if item.original or not original_only]
    if unknown := set(texts) - set(names):
        raise UsageError(f"unknown input {min(unknown)!r}", hint=_known_names(names))
    return {item.name: _value(item, given(texts.get(item.name))) for item in INPUTS}


def given(text: str | None) -> str | None:
    """The text itself, or None when it stands for a value that is not given."""
    return None if text is None or text.strip() in ("", NOT_DEFINED) else text


def _value(item: ComponentInput, text: str | None) -> Value:
    if text is None:
        if item.required:
            raise UsageError(f"input {item.name} is required", hint=item.description)
        return False if item.says_yes_or_no else item.default
    if "\0" in text:
        raise UsageError(f"input {item.name}: a value cannot hold a NUL character")
    if item.type == "uri_folder":
        refuse_missing_address(text)
    if item.type == "integer":
        return _integer(item, text)
    if item.type == "boolean" or item.says_yes_or_no:
        return _boolean(item, text)
    if item.choices and text.strip() not in item.choices:
        raise UsageError(f"input {item.name}: {text!r} is unknown", hint=f"Use one of: {', '.join(item.choices)}.")
    return text.strip() if item.choices else text


def _integer(item: ComponentInput, text: str) -> int:
    match = _WHOLE_NUMBER.fullmatch(text.strip())
    if not match:
        raise UsageError(f"input {item.name}: {text!r} is not a whole number", hint=item.description)
    number = int(match[1])
    low, high = item.minimum, item.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise UsageError(f"input {item.name}: {number} is out of range", hint=f"Give a number {limits}.")
    return number


def _boolean(item: ComponentInput, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise UsageError(
            f"input {item.name}: {text!r} is neither yes nor no",
            hint="Use true, 1 or yes; or false, 0, no or ND.",
        )
    return word in _TRUE


def _known_names(names: Iterable[str]) -> str:
    return f"The inputs are: {', '.join(names)}; the output is {OUTPUT_DIR}."
