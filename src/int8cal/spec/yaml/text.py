"""YAML text → a tree of values that know where they stand. Scalars mean what OmegaConf 2.3 takes them for.

    bytes → read_document → Mapping of entries with offsets into the text

PyYAML's scanner and parser do the reading; no object is ever constructed but None, bool, int, float and str. The rules
are those of OmegaConf, which NVIDIA's tools load specs with: YAML 1.1 (``010`` is 8, ``yes`` is true, ``12:30:45`` is
45045), but ``1e-4`` is a number and dates are text; a key that is written twice in a mapping is an error.

What a text can cost is bounded: its length, its depth, and the number of values that its anchors multiply to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import yaml

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable, short_repr
from int8cal.spec.reading import SPEC, Wanted

MAX_BYTES = 1 << 18
"""Largest YAML spec that is read: the parser takes seconds for it; published ones have a few kilobytes."""

MAX_DIGITS = 3500
"""Of a whole number; Python prints at most 4300, and one in hexadecimal gets longer."""
MAX_DEPTH = 64
MAX_VALUES = 20_000
"""Values of a spec, with those that an alias repeats counted again."""

ScalarValue: TypeAlias = bool | int | float | str | None

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is neither a mapping nor a list: ``text[start:end]``.

    Attributes:
        start, end: offsets, without an anchor or tag before it; of an alias (``*name``), those of the alias.
        value: what it means.
        written: the characters without quotes and escapes.
        plain: it has no quotes.
    """

    start: int
    end: int
    value: ScalarValue
    written: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key: value`` of a mapping, with the offset of its key."""

    key: ScalarValue
    start: int
    value: Node


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping; of keys that merges (``<<``) bring, the one that counts."""

    start: int
    end: int
    entries: tuple[Entry, ...]

    def get(self, key: ScalarValue) -> Entry | None:
        """The entry of a key."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def with_value(self, key: ScalarValue, start: int, value: Node) -> MappingNode:
        """The mapping with another value for a key, or with one more key."""
        entries = tuple(one for one in self.entries if one.key != key)
        return replace(self, entries=(*entries, Entry(key, start, value)))


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    start: int
    end: int
    items: tuple[Node, ...]


Node: TypeAlias = Scalar | MappingNode | ListNode


@dataclass(frozen=True)
class Document:
    """A YAML text.

    Attributes:
        text: the characters.
        root: its mapping; an empty one for an empty text.
    """

    text: str
    root: MappingNode

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based line and column (in characters) of an offset."""
        begin = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - begin + 1


def read_document(data: bytes, path: str, wanted: Wanted = SPEC) -> Document:
    """Read the content of a spec file.

    Args:
        data: the file.
        path: its name, for messages.
        wanted: what it should be, for messages.

    Raises:
        SpecError: it is not YAML, not a mapping, or beyond the limits of this module; with line and column.
    """
    if len(data) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES >> 10} KB",
            where=printable(path),
            hint=f"No {wanted.name} is so large. Is this {wanted.title}?",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            "this is not UTF-8 text", where=f"{printable(path)}:{line}", hint=f"Save the {wanted.name} as UTF-8."
        ) from None
    root = _Builder(text, path, wanted=wanted).document()
    if isinstance(root, Scalar) and root.value is None:
        root = MappingNode(0, 0, ())
    if not isinstance(root, MappingNode):
        raise SpecError(
            f"the {wanted.name} is not a mapping of keys to values", where=printable(path), hint=_hint(wanted)
        )
    return Document(text, root)


def plain(node: Node) -> Any:
    """What a node means, as dicts, lists and scalars."""
    if isinstance(node, MappingNode):
        return {entry.key: plain(entry.value) for entry in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value


def scalars(node: Node, path: str = "") -> Iterator[tuple[str, Scalar]]:
    """Every scalar with its path (``dataset.train_data_sources[0].image_dir``), in the order of the text."""
    if isinstance(node, MappingNode):
        for entry in node.entries:
            yield from scalars(entry.value, f"{path}.{entry.key}" if path else str(entry.key))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from scalars(item, f"{path}[{index}]")
    else:
        yield path, node


def stated_name(values: MappingNode) -> str:
    """What a spec's ``model_name`` says; empty when it has none."""
    said = values.get("model_name")
    return str(said.value.value) if said is not None and isinstance(said.value, Scalar) else ""


_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./@+=-]*")
_INTERPOLATION = re.compile(r"(?<!\\)(\\*+)\$\{")


def written_as(content: str, old: str) -> str:
    """A text as a scalar in place of another one, in its style where that can be.

    Args:
        content: what it shall mean; ``${`` is text, too.
        old: the scalar as it is written now.
    """
    content = _INTERPOLATION.sub(lambda match: f"{match[1] * 2}\\${{", content)
    block_end = "\n" if old[:1] in "|>" and old.endswith("\n") else ""
    if old[:1] not in "'\"" and _PLAIN.fullmatch(content) and _is_text(content):
        return content + block_end
    if old[:1] != '"' and content.isprintable():
        return "'" + content.replace("'", "''") + "'" + block_end
    return f'"{"".join(map(_escaped, content))}"{block_end}'


def _is_text(content: str) -> bool:
    node = _Builder(content, "").document()
    return isinstance(node, Scalar) and node.value == content


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_DIFFERENT = re.compile(
    r"""(?: (?i:yes|no|on|off)            # true and false in YAML 1.1 alone
        |  [-+]?0[0-9_]+                  # octal
        |  [-+]?0o[0-7]+                  # octal in YAML 1.2, text in 1.1
        |  [-+]?0b[01_]+
        |  [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?   # base 60
        |  [-+]?[0-9.]+(?:_[0-9.]*)+(?:[eE][-+]?[0-9]+)?      # underscores
        )""",
    re.VERBOSE,
)


def reads_differently(scalar: Scalar) -> bool:
    """Whether YAML 1.2 takes a scalar for another value than YAML 1.1 and NVIDIA's tools do."""
    return scalar.plain and _DIFFERENT.fullmatch(scalar.written) is not None


class _Loader(yaml.SafeLoader):
    """PyYAML's reading of scalars as OmegaConf changes it: more floats, no timestamps."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"""(?: [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |   [-+]?[0-9]+(?:_[0-9]+)*[eE][-+]?[0-9]+
            |   \.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
            |   [-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
            |   [-+]?\.(?:inf|Inf|INF)
            |   \.(?:nan|NaN|NAN))\Z""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)

_CONSTRUCTORS: Mapping[str, Callable[[Any, yaml.ScalarNode], ScalarValue]] = {
    f"{_TAG}null": lambda loader, node: None,
    f"{_TAG}bool": lambda loader, node: loader.bool_values[node.value.lower()],
    f"{_TAG}int": lambda loader, node: _whole_number(loader, node),
    f"{_TAG}float": lambda loader, node: loader.construct_yaml_float(node),
    f"{_TAG}str": lambda loader, node: str(node.value),
}
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_MERGE = object()
"""Key of a merge (``<<``) while a mapping is built."""


def _whole_number(loader: Any, node: yaml.ScalarNode) -> int:
    """A number in any of YAML's bases, which Python could not print any more if it were much longer."""
    if len(node.value) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(loader.construct_yaml_int(node))


def _hint(wanted: Wanted) -> str:
    return f"A {wanted.name} is YAML: key: value, with deeper sections indented. Is this {wanted.title}?"


class _Builder:
    """One text, read by events; nothing is expanded before it was counted."""

    def __init__(self, text: str, path: str, wanted: Wanted = SPEC) -> None:
        self._hint = _hint(wanted)
        self._path = path
        self._text = text
        self._loader: Any = None  # typeshed leaves its methods without types
        self._anchors: dict[str, tuple[Node, int]] = {}

    def document(self) -> Node:
        """The one document of the text; a null scalar when there is none."""
        try:
            self._loader = _Loader(self._text)
            self._loader.get_event()  # the stream begins
            if self._loader.check_event(yaml.StreamEndEvent):
                return Scalar(0, 0, None, "", plain=True)
            self._loader.get_event()  # the document begins
            node, _ = self._node(0)
            self._loader.get_event()  # it ends
            if not self._loader.check_event(yaml.StreamEndEvent):
                raise self._error("a second document begins here", self._loader.peek_event())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = " ".join(filter(None, (error.context, error.problem)))
            hint = "Write spaces in place of the tab." if "'\\t'" in message else self._hint
            if mark and self._text[max(mark.index - 1, 0) : mark.index + 1] == "${":
                hint = "Between { and }, or [ and ], write ${…} in quotes."
            raise SpecError(f"this is not YAML: {message}", where=self._place(mark), hint=hint) from None
        except yaml.YAMLError as error:  # a character that YAML does not allow
            offset = getattr(error, "position", 0)
            line = self._text.count("\n", 0, offset) + 1
            raise SpecError(
                "this is not YAML: it holds a control character",
                where=f"{printable(self._path)}:{line}",
                hint=self._hint,
            ) from None
        except (ValueError, OverflowError, RecursionError) as error:  # escapes and numbers that Python has no room for
            raise SpecError(f"this is not YAML: {error}", where=printable(self._path), hint=self._hint) from None
        return node

    def _node(self, depth: int) -> tuple[Node, int]:
        """The next value, and how many values it has in all."""
        event = self._loader.get_event()
        if depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} levels lie in one another", event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node, count = self._scalar(event), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            node, count = self._sequence(event, depth)
        else:
            node, count = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, count
        return node, count

    def _alias(self, event: Any) -> tuple[Node, int]:
        if event.anchor not in self._anchors:
            raise self._error(f"the alias *{event.anchor} has no anchor before it", event)
        node, count = self._anchors[event.anchor]
        if isinstance(node, Scalar):
            start, end = self._span(event)
            node = replace(node, start=start, end=end)
        return node, count

    def _scalar(self, event: Any) -> Scalar:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        construct = _CONSTRUCTORS.get(tag)
        if construct is None:
            short = tag.removeprefix(_TAG)
            raise self._error(
                f"{short_repr(event.value)} is of the type {short}, of which no value of a spec is", event
            )
        try:
            value = construct(self._loader, yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
        except (ValueError, KeyError, IndexError, OverflowError):
            raise self._error(f"{short_repr(event.value)} cannot be read as {tag.removeprefix(_TAG)}", event) from None
        start, end = self._span(event)
        if event.anchor is not None or event.tag is not None:  # which stay when the value is replaced
            properties = _PROPERTIES.match(self._text, start, end)
            start += len(properties[0]) if properties else 0
        return Scalar(start, end, value, event.value, plain=event.style is None)

    def _sequence(self, event: Any, depth: int) -> tuple[ListNode, int]:
        self._require_tag(event, "seq")
        items, total = [], 1
        while not self._loader.check_event(yaml.SequenceEndEvent):
            node, count = self._node(depth + 1)
            total += count
            self._require_few(total, event)
            items.append(node)
        end = self._loader.get_event()
        return ListNode(*self._span(event, end), tuple(items)), total

    def _mapping(self, event: Any, depth: int) -> tuple[MappingNode, int]:
        self._require_tag(event, "map")
        written: dict[Any, Entry] = {}
        merged: dict[Any, Entry] = {}
        total = 1
        while not self._loader.check_event(yaml.MappingEndEvent):
            start = self._loader.peek_event()
            key = self._key(depth)
            value, count = self._node(depth + 1)
            total += count
            self._require_few(total, event)
            if key is _MERGE:
                for source in self._merge_sources(value, start):
                    for entry in source.entries:
                        merged.setdefault(entry.key, entry)
            elif key in written:
                raise self._error(f"the key {key!r} is written twice", start)
            else:
                written[key] = Entry(key, start.start_mark.index, value)
        end = self._loader.get_event()
        return MappingNode(*self._span(event, end), tuple({**merged, **written}.values())), total

    def _key(self, depth: int) -> Any:
        """A key, `_MERGE` for ``<<``."""
        event = self._loader.peek_event()
        if isinstance(event, yaml.ScalarEvent) and event.tag is None:
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            if tag == f"{_TAG}merge":
                self._loader.get_event()
                return _MERGE
        node, _ = self._node(depth + 1)
        if not isinstance(node, Scalar):
            raise self._error("a key must be one word", event)
        return node.value

    def _merge_sources(self, value: Node, event: Any) -> list[MappingNode]:
        nodes = list(value.items) if isinstance(value, ListNode) else [value]
        mappings = [node for node in nodes if isinstance(node, MappingNode)]
        if len(mappings) != len(nodes):
            raise self._error("only mappings can be merged (<<)", event)
        return mappings

    def _span(self, first: Any, last: Any | None = None) -> tuple[int, int]:
        return first.start_mark.index, (last or first).end_mark.index

    def _require_few(self, count: int, event: Any) -> None:
        if count > MAX_VALUES:
            raise self._error(f"there are more than {MAX_VALUES} values", event)

    def _require_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", f"{_TAG}{kind}"):
            raise self._error(f"{event.tag.removeprefix(_TAG)} is a type of which no value of a spec is", event)

    def _error(self, message: str, event: Any) -> SpecError:
        return SpecError(message, where=self._place(event.start_mark), hint=self._hint)

    def _place(self, mark: Any) -> str:
        path = printable(self._path)
        return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
