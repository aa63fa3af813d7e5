r"""``${dataset.root_dir}`` and ``${oc.env:HOME}`` in values, as OmegaConf 2.3 resolves them.

A reference names another key, from the top or (with leading dots) from the key's own section; ``oc.env`` reads a
variable of the environment, with a default behind a comma. Both may lie in text and in one another; ``\${`` is text.
``${eval:…}``, which NVIDIA's tools hand to Python's eval, and every other resolver are refused: a spec runs no code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from int8cal.io.safe_text import short_repr
from int8cal.spec.yaml.text import MAX_DIGITS

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the root."""

MAX_LENGTH = 1 << 16
"""Characters that a text may have once everything in it is resolved."""

_MAX_CHARACTERS = 1 << 23
"""Of all texts of a spec together, resolved."""
_MAX_STEPS = 64
"""Of a reference; the deepest key of a spec has fewer than ten."""
_MAX_DEPTH = 32
_RESOLVER = re.compile(r"\s*(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*:(?P<arguments>.*)", re.DOTALL)
_REFERENCE = re.compile(r"(?P<dots>\.*)(?P<path>[^\s.\[\]{}$:,'\"]+(?:\.[^\s.\[\]{}$:,'\"]+|\[\w+\])*)")
_BEGIN = re.compile(r"(?<!\\)(\\*)\$\{")
_STEP = re.compile(r"[^.\[\]]+")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_FLOAT = re.compile(
    r"[+-]?(?:(?:(?:[0-9](?:_?[0-9])*)?\.[0-9](?:_?[0-9])*|[0-9](?:_?[0-9])*\.)(?:[eE][+-]?[0-9]+)?"
    r"|[0-9](?:_?[0-9])*[eE][+-]?[0-9]+|(?i:inf|nan))"
)


class InterpolationError(ValueError):
    """An interpolation cannot be resolved: what is wrong, and what to do.

    Attributes:
        hint: one sentence.
        dangerous: it would run code, or has no end: refused wherever it stands.
    """

    def __init__(self, message: str, hint: str, *, dangerous: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.dangerous = dangerous


def is_interpolated(value: object) -> bool:
    """Whether a scalar holds an interpolation (or an escaped one)."""
    return isinstance(value, str) and "${" in value


class Resolver:
    """Resolves the texts of one spec.

    Args:
        look_up: path → the value there, not resolved (a scalar, or a container of any kind); raises `KeyError`.
        environment: variables for ``oc.env``.
    """

    def __init__(self, look_up: Callable[[Path], Any], environment: Mapping[str, str]) -> None:
        self._look_up = look_up
        self._environment = environment
        self._known: dict[Path, Any] = {}
        self._open: list[Path] = []
        self._depth = 0
        self._characters = 0

    def resolve(self, text: str, path: Path) -> Any:
        """What a text means that stands at a path.

        Raises:
            InterpolationError: it is malformed, cyclic or too long, or refers to what is not there or not allowed.
        """
        if not is_interpolated(text):
            return text
        if path in self._known:
            return self._known[path]
        if path in self._open:
            names = " → ".join(path_text(one) for one in (*self._open[self._open.index(path) :], path))
            raise InterpolationError(
                f"the references go round in a circle: {names}", "Give one of them a value.", dangerous=True
            )
        self._open.append(path)
        try:
            self._known[path] = value = self._text(text, path)
        finally:
            self._open.pop()
        return value

    def _text(self, text: str, path: Path) -> Any:
        """What a text means, those in it, and those of the keys that it refers to."""
        if self._depth >= _MAX_DEPTH:
            raise _too_deep()
        self._depth += 1
        try:
            return self._resolved(text, path)
        finally:
            self._depth -= 1

    def _resolved(self, text: str, path: Path) -> Any:
        parts = list(_parts(text))
        if len(parts) == 1 and parts[0][1]:
            return self._interpolation(parts[0][0], path)
        result = ""
        for part, interpolated in parts:
            result += str(self._scalar(part, path)) if interpolated else part
            if len(result) > MAX_LENGTH:
                message = f"the text would be longer than {MAX_LENGTH} characters"
                raise InterpolationError(message, "Write it shorter.", dangerous=True)
        self._characters += len(result)
        if self._characters > _MAX_CHARACTERS:
            message = f"the texts of the spec would have more than {_MAX_CHARACTERS} characters together"
            raise InterpolationError(message, "Write them shorter.", dangerous=True)
        return result

    def _scalar(self, inside: str, path: Path) -> Any:
        value = self._interpolation(inside, path)
        if isinstance(value, bool | int | float | str | None):
            return value
        raise InterpolationError(
            f"${{{inside}}} is not a single value, and stands in a text", "Refer to a single value."
        )

    def _interpolation(self, inside: str, path: Path) -> Any:
        if match := _RESOLVER.fullmatch(inside):
            return self._call(match["name"], match["arguments"], path)
        if is_interpolated(inside):
            inside = str(self._text(inside, path))
        reference = _REFERENCE.fullmatch(inside.strip())
        if reference is None:
            raise InterpolationError(f"${{{inside}}} is not a reference to a key", "Write ${section.key}.")
        names = _STEP.findall(reference["path"])
        if len(names) > _MAX_STEPS:
            message = f"a reference of {len(names)} steps leads to no key"
            raise InterpolationError(message, "Write ${section.key}.", dangerous=True)
        steps = [_index_or_key(step) for step in names]
        up = len(reference["dots"])
        target: Path = (*(path[:-up] if up else ()), *steps)
        return self._value_at(target, inside)

    def _value_at(self, target: Path, inside: str) -> Any:
        try:
            value = self._look_up(target)
        except KeyError:
            raise InterpolationError(
                f"${{{inside}}}: there is no key {path_text(target)} in the spec", "Write the value itself."
            ) from None
        if value == "???":
            raise InterpolationError(f"${{{inside}}}: {path_text(target)} is ???, not given", "Give it a value.")
        return self.resolve(value, target) if isinstance(value, str) else value

    def _call(self, name: str, arguments: str, path: Path) -> Any:
        if name == "eval":
            raise InterpolationError(
                f"${{eval:…}} would run {short_repr(arguments.strip())} as Python code, which a spec may not",
                "Write the value that it has.",
                dangerous=True,
            )
        if name != "oc.env":
            raise InterpolationError(
                f"${{{name}:…}} is a resolver that is not known; ${{a.b}} and ${{oc.env:NAME,default}} are",
                "Write the value that it has.",
            )
        variable, *defaults = (self._argument(one, path) for one in _split(arguments))
        if len(defaults) > 1 or not isinstance(variable, str):
            raise InterpolationError("${oc.env:…} takes a name and a default", "Write ${oc.env:NAME,default}.")
        if variable in self._environment:
            return self._environment[variable]
        if not defaults:
            raise InterpolationError(
                f"the environment variable {short_repr(variable)} is not set", f"Run: export {variable}=…"
            )
        return None if defaults[0] is None else str(defaults[0])

    def _argument(self, text: str, path: Path) -> Any:
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            inner = text[1:-1].replace(f"\\{text[0]}", text[0])
            return str(self._text(inner, path)) if is_interpolated(inner) else inner
        if is_interpolated(text):
            return self._text(text, path)
        return _primitive(text)


def path_text(path: Path) -> str:
    """``dataset.train_data_sources[0].image_dir``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def literal(text: str) -> str:
    r"""A text with ``\${`` as the ``${`` that it means, where nothing else in it is to be resolved."""
    if not is_interpolated(text):
        return text
    try:
        parts = list(_parts(text))
    except InterpolationError:
        return text
    return text if any(interpolated for _, interpolated in parts) else "".join(part for part, _ in parts)


def _primitive(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise InterpolationError(f"{short_repr(text)} has more than {MAX_DIGITS} digits", "Write a shorter number.")
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return None if text.lower() == "null" else text


def _index_or_key(step: str) -> str | int:
    return int(step) if step.isdecimal() and len(step) < 10 else step


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a text: (characters, False), and (what stands between ``${`` and ``}``, True)."""
    literal, position = "", 0
    while match := _BEGIN.search(text, position):
        backslashes = len(match[1])
        literal += text[position : match.start()] + "\\" * (backslashes // 2)
        if backslashes % 2:
            literal, position = literal + "${", match.end()
            continue
        if literal:
            yield literal, False
        end = _closing(text, match.end())
        yield text[match.end() : end], True
        literal, position = "", end + 1
    if rest := literal + text[position:]:
        yield rest, False


def _closing(text: str, start: int) -> int:
    """Offset of the brace that closes the interpolation whose content begins at ``start``."""
    depth, quote = 1, ""
    for position in range(start, len(text)):
        character = text[position]
        if quote:
            quote = "" if character == quote and text[position - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character == "{") - (character == "}")
            if not depth:
                return position
            if depth > _MAX_DEPTH:
                raise _too_deep()
    raise InterpolationError(f"the brace of {short_repr(text[start - 2 :])} is not closed", "Write ${section.key}.")


def _too_deep() -> InterpolationError:
    message = f"more than {_MAX_DEPTH} references lie in one another"
    return InterpolationError(message, "Write the value itself.", dangerous=True)


def _split(arguments: str) -> list[str]:
    """Arguments of a resolver: split at the commas that lie in no quotes and no braces."""
    found, depth, quote = [""], 0, ""
    for character in arguments:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "{[") - (character in "}]")
            if character == "," and not depth:
                found.append("")
                continue
        found[-1] += character
    return found
