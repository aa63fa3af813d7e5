"""The command line's ``key=value``, read as Hydra 1.3 reads it, with whose overrides NVIDIA's tools take them.

This is not YAML: ``0100`` is text, of which a key for whole numbers makes 100; ``yes`` is text, ``1e3`` a float,
``12:30`` text, ``key=`` empty text; ``#`` and other characters must be in quotes. What only makes sense for several
runs (``a,b``), and functions (``range(1,3)``), are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from int8cal.errors import UsageError
from int8cal.io.safe_text import printable, shell_word
from int8cal.spec.yaml.text import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    Document,
    Entry,
    ListNode,
    MappingNode,
    Node,
    Scalar,
    ScalarValue,
)

_OVERRIDE = "Overrides are key=value, such as dataset.batch_size=4."
_IN_THE_SPEC = "Write it into the spec itself."
_SIGNS = {
    "++": "adds or changes a key in Hydra",
    "+": "adds a key in Hydra",
    "~": "removes a key in Hydra",
}


def with_overrides(document: Document, overrides: Sequence[str]) -> MappingNode:
    """The values of a document with the command line's ``key=value`` put in, one after the other.

    A mapping changes the keys that it names, and leaves the others.

    Raises:
        UsageError: one is not ``key=value``, of a form that changes lists or removes keys, or its value cannot be read.
    """
    root = document.root
    base = len(document.text)
    for override in overrides:
        base += 1
        root = _with_override(root, override, base)
        base += len(override)
    return root


def _with_override(root: MappingNode, override: str, base: int) -> MappingNode:
    key, equals, text = override.partition("=")
    told = printable(override)
    for sign, does in _SIGNS.items():
        if key.startswith(sign):
            plain = key.lstrip("+~")
            hint = f"Leave the {sign} out: {plain}=VALUE." if sign != "~" else "Take the key out of the spec itself."
            raise UsageError(f"{told}: '{sign}' {does}, and is not understood here", hint=hint)
    if not equals or not key:
        raise UsageError(f"{told} is not an override", hint=_OVERRIDE)
    steps = key.split(".")
    if "[" in key or not all(steps):
        raise UsageError(f"{told}: an override names a key, not a part of a list", hint="Give the whole list: key=[…].")
    return _replaced(root, steps, base, _Reader(key, text, base + len(key) + 1).value(), told)


def _replaced(node: MappingNode, steps: Sequence[str], start: int, value: Node, told: str) -> MappingNode:
    step, *deeper = steps
    entry = node.get(step)
    if not deeper:
        return node.with_value(step, start, _merged(entry, value))
    below = entry.value if entry else MappingNode(start, start, ())
    if isinstance(below, ListNode):
        raise UsageError(f"{told}: {step} is a list", hint="Give the whole list: key=[…].")
    if isinstance(below, Scalar):  # null, or a value where a section is needed, which the schema refuses
        below = MappingNode(start, start, ())
    return node.with_value(step, entry.start if entry else start, _replaced(below, deeper, start, value, told))


def _merged(old: Entry | None, new: Node) -> Node:
    if old is None or not isinstance(old.value, MappingNode) or not isinstance(new, MappingNode):
        return new
    node = old.value
    for entry in new.entries:
        node = node.with_value(entry.key, entry.start, _merged(node.get(entry.key), entry.value))
    return node


# --- Hydra's grammar: hydra/grammar/OverrideLexer.g4 and OverrideParser.g4 --------------------------------------------

_WHOLE = r"(?:0|[1-9](?:_?[0-9])*)"
_DIGITS = r"[0-9](?:_?[0-9])*"
_TOKENS: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in {
        "(": r"[ \t]*\([ \t]*",
        ",": r"[ \t]*,[ \t]*",
        ")": r"[ \t]*\)",
        "[": r"\[[ \t]*",
        "]": r"[ \t]*\]",
        "{": r"\{[ \t]*",
        "}": r"[ \t]*\}",
        ":": r"[ \t]*:[ \t]*",
        "=": r"[ \t]*=[ \t]*",
        "float": rf"[+-]?(?:(?:{_WHOLE}?\.{_DIGITS}|{_WHOLE}\.?)[eE][+-]?{_DIGITS}|{_WHOLE}?\.{_DIGITS}|{_WHOLE}\."
        r"|[Ii][Nn][Ff]|[Nn][Aa][Nn])",
        "int": rf"[+-]?{_WHOLE}",
        "bool": "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]",
        "null": "[Nn][Uu][Ll][Ll]",
        "character": r"[/\-\\+.$%*@?|]",
        "word": r"[A-Za-z_][A-Za-z0-9_-]*",
        "escape": r"(?:\\[\\()\[\]{}:=, \t])+",
        "space": r"[ \t]+",
        "quoted": r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""",
        "reference": r"\$\{[^}]+\}",
    }.items()
}
"""The longest one counts; of equally long ones, the first."""

_IN_TEXT = ("float", "int", "bool", "null", "character", "word", "escape", "space")
_MEANINGS: Mapping[str, Callable[[str], ScalarValue]] = {
    "float": float,
    "int": int,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


class _Reader:
    """One value."""

    def __init__(self, key: str, text: str, base: int) -> None:
        self._key = key
        self._text = text
        self._base = base
        self._tokens: list[_Token] = []
        self._next = 0

    def value(self) -> Node:
        """What the text means; none is empty text.

        Raises:
            UsageError: Hydra refuses it, or makes several runs of it, or it is beyond the limits of specs.
        """
        position = len(self._text) - len(self._text.lstrip(" \t"))
        if position == len(self._text):
            return Scalar(self._base, self._base, "", "", plain=False)
        while position < len(self._text):
            matches = ((pattern.match(self._text, position), kind) for kind, pattern in _TOKENS.items())
            found = max(
                ((match[0], kind) for match, kind in matches if match), key=lambda one: len(one[0]), default=None
            )
            if found is None:
                self._refuse(f"{printable(self._text[position])} must be in quotes")
            self._tokens.append(_Token(found[1], found[0], self._base + position))
            position += len(found[0])
        if len(self._tokens) > MAX_VALUES:
            self._refuse("the value is too long", _IN_THE_SPEC)
        node = self._element(0)
        kind = self._kind
        if kind == ",":
            self._refuse("a,b is one run for each value to Hydra", f"A list is in [ ]: {self._key}=[…].")
        if kind:
            self._refuse_here()
        return node

    @property
    def _kind(self) -> str:
        """Of the next token; empty at the end."""
        return self._tokens[self._next].kind if self._next < len(self._tokens) else ""

    def _take(self, kind: str = "") -> _Token:
        if not self._kind or (kind and self._kind != kind):
            self._refuse_here()
        self._next += 1
        return self._tokens[self._next - 1]

    def _element(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} levels lie in one another", _IN_THE_SPEC)
        if self._kind == "[":
            return self._list(depth)
        if self._kind == "{":
            return self._mapping(depth)
        if self._kind == "quoted":
            token = self._take()
            value = re.sub(rf"\\+(?:{token.text[0]}|\Z)", lambda match: match[0][1::2], token.text[1:-1])
            return Scalar(token.start, token.start + len(token.text), value, value, plain=False)
        return self._primitive((*_IN_TEXT, ":", "reference"))

    def _list(self, depth: int) -> ListNode:
        begin = self._take("[")
        items: list[Node] = []
        while self._kind != "]":
            if items:
                self._take(",")
            items.append(self._element(depth + 1))
        end = self._take("]")
        return ListNode(begin.start, end.start + len(end.text), tuple(items))

    def _mapping(self, depth: int) -> MappingNode:
        begin = self._take("{")
        node = MappingNode(begin.start, begin.start, ())
        first = True
        while self._kind != "}":
            if not first:
                self._take(",")
            first = False
            key = self._primitive(_IN_TEXT)
            if key.value is None:
                self._refuse("null is no key")
            self._take(":")
            node = node.with_value(key.value, key.start, self._element(depth + 1))
        end = self._take("}")
        return MappingNode(begin.start, end.start + len(end.text), node.entries)

    def _primitive(self, kinds: Sequence[str]) -> Scalar:
        tokens: list[_Token] = []
        while self._kind in kinds:
            tokens.append(self._take())
        if self._kind == "(" and len(tokens) == 1 and tokens[0].kind == "word":
            self._refuse(f"functions such as {printable(tokens[0].text)}() are not understood", _IN_THE_SPEC)
        while tokens and tokens[0].kind == "space":
            del tokens[0]
        while tokens and tokens[-1].kind == "space":
            del tokens[-1]
        if not tokens:
            self._refuse_here()
        written = "".join(token.text[1::2] if token.kind == "escape" else token.text for token in tokens)
        value: ScalarValue = written
        if len(tokens) == 1 and tokens[0].kind in _MEANINGS:
            if len(written) > MAX_DIGITS:
                self._refuse(f"a number has more than {MAX_DIGITS} digits", _IN_THE_SPEC)
            value = _MEANINGS[tokens[0].kind](written)
        return Scalar(tokens[0].start, tokens[-1].start + len(tokens[-1].text), value, written, plain=False)

    def _refuse_here(self) -> NoReturn:
        """Refuse the next token."""
        if not self._kind:
            self._refuse("the value ends too early")
        token = self._tokens[self._next]
        self._refuse(f"{printable(token.text.strip())} cannot stand here without quotes")

    def _refuse(self, message: str, hint: str = "") -> NoReturn:
        if not hint:
            simple = self._text[0] not in "[{'\"" and not set('"\\') & set(self._text) and self._text.isprintable()
            quoted = shell_word(f'{self._key}="{self._text}"')
            hint = f"Put the text in quotes that the shell leaves: {quoted}" if simple else _QUOTES
        raise UsageError(message, where=printable(f"{self._key}={self._text}"), hint=hint)


_QUOTES = "Lists are [a, b], mappings {a: b}, and text with other characters is in quotes: 'key=\"TEXT\"'."
