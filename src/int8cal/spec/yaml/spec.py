"""A YAML spec as the rest of the package sees it: typed values by name, which know where they stand.

Document + overrides + Schema → Spec: every key known or reported, every value of its type, versions told
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from int8cal.errors import SpecError, UsageError
from int8cal.io.safe_text import printable, short_repr
from int8cal.spec.yaml.document import (
    Document,
    ListNode,
    MappingNode,
    Node,
    Scalar,
    plain,
    read_value,
    reads_differently,
    scalars,
)
from int8cal.spec.yaml.interpolation import InterpolationError, Path, Resolver, is_interpolated
from int8cal.spec.yaml.schema import MISSING, UNJUDGED, VERSIONS, Field, Schema, versions_text

_MAX_KEYS_TOLD = 5
_OVERRIDE = "Overrides are key=value, such as dataset.batch_size=4."


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a spec that NVIDIA's tools would refuse.

    Attributes:
        where: ``path:line:column``, or the override on the command line.
        field: name of the key.
        message: what is wrong.
        hint: what to do about it.
        unknown: it is a key that no version knows.
    """

    where: str
    field: str
    message: str
    hint: str | None = None
    unknown: bool = False


@dataclass(frozen=True)
class Spec:
    """A YAML spec with the schema that it is read by.

    Attributes:
        path: where it was read from, as given by the user.
        document: the text with positions.
        root: its values, overrides put in.
        overrides: the command line's ``key=value``, as given.
        schema: the network's keys.
        environment: variables for ``${oc.env:…}``.
        warnings: what the user should know of the spec, each with its position.
    """

    path: str
    document: Document
    root: MappingNode
    schema: Schema
    overrides: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    warnings: tuple[str, ...] = ()

    @cached_property
    def _resolver(self) -> Resolver:
        return Resolver(self._look_up, self.environment)

    def node(self, name: str) -> Node | None:
        """What is written for a name (``dataset.train_data_sources[0].json_file``); None when nothing is."""
        return self._at(_steps(name))

    def is_written(self, name: str) -> bool:
        """Whether the spec says anything about a key, other than ``???``."""
        node = self.node(name)
        return node is not None and not (isinstance(node, Scalar) and node.value == MISSING)

    def value(self, name: str) -> Any:
        """The typed value of a key of the schema, interpolations resolved; the default where the spec says nothing.

        Raises:
            SpecError: it is of another type, an interpolation cannot be resolved, or it must be given and is not.
        """
        known = self.schema.fields[name]
        node = self.node(name)
        if node is None or (isinstance(node, Scalar) and node.value == MISSING):
            if known.default == MISSING:
                raise SpecError(f"{name} is not given", where=self.where(name), hint=f"Give {name} a value.")
            return known.default
        return self._converted(node, known.type, _steps(name))

    def where(self, name: str) -> str:
        """Position of a key for messages: ``path:line:column``; that of the deepest section which is there."""
        steps = _steps(name)
        while steps:
            start = self._start(steps)
            if start is not None:
                return self.place(start)
            steps = steps[:-1]
        return printable(self.path)

    def place(self, offset: int) -> str:
        """Position of an offset for messages; of those beyond the text, the override."""
        base = len(self.document.text)
        if offset < base:
            line, column = self.document.line_column(offset)
            return f"{printable(self.path)}:{line}:{column}"
        for override in self.overrides:
            base += 1
            if offset < base + len(override):
                return printable(override)
            base += len(override)
        return printable(self.path)

    def findings(self) -> Iterator[Finding]:
        """All unknown keys, values of another type, evaluations and circles, in the order of the text."""
        yield from self._unknown(self.root, "")
        for known in self.schema.fields.values():
            if known.name.partition(".")[0] not in UNJUDGED or known.name.startswith("model.input_"):
                yield from self._misfits(known)
        for name, scalar in scalars(self.root):
            if is_interpolated(scalar.value):
                yield from self._dangers(name, scalar)

    @cached_property
    def versions(self) -> tuple[int, int]:
        """Indexes into `VERSIONS` of the first and last release that know every key."""
        first, last = 0, len(VERSIONS) - 1
        for known in self._written_fields():
            first, last = max(first, known.first), min(last, known.last)
        return first, last

    def version_text(self) -> str:
        """Which releases of TAO the spec is for."""
        first, last = self.versions
        return versions_text(first, last) if first <= last else "no release of TAO"

    def with_warnings(self, *warnings: str) -> Spec:
        """The spec with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def deciding_notes(self) -> Iterator[str]:
        """Scalars that may decide pixels or images and that YAML 1.1, which NVIDIA's tools read, reads on its own."""
        for name, scalar in scalars(self.root):
            if name.startswith(("dataset.", "export.input_", "model.input_")) and reads_differently(scalar):
                yield (
                    f"{self.place(scalar.start)}: {name}: {scalar.written} is {short_repr(scalar.value)} to TAO, which "
                    "reads YAML 1.1; newer readers differ"
                )

    def without(self, names: Mapping[str, str]) -> Any:
        """All values, resolved as far as they can be, paths of these patterns left out: what names the spec's content.

        Args:
            names: patterns of names (``dataset.train_data_sources[].json_file``).
        """
        patterns = [_pattern_steps(name) for name in names]
        return _cleared(plain(self.root), patterns)

    def _written_fields(self) -> Iterator[Field]:
        return (known for known in self.schema.fields.values() if self._at(_steps(known.name)) is not None)

    def _unknown(self, node: MappingNode, section: str) -> Iterator[Finding]:
        for entry in node.entries:
            name = f"{section}.{entry.key}" if section else str(entry.key)
            if name in self.schema.fields:
                continue
            if name in self.schema.sections:
                if isinstance(entry.value, MappingNode):
                    yield from self._unknown(entry.value, name)
                elif name.partition(".")[0] not in UNJUDGED and not _says_nothing(entry.value):
                    yield Finding(self.place(entry.start), name, f"{name} is a section, not a value")
            elif self.schema.is_judged(name):
                near = self.schema.nearest(name)
                hint = f"Did you mean {near}?" if near else f"It knows: {self._known_in(section)}."
                message = f"no version of TAO that is known has the key {name}"
                yield Finding(self.place(entry.start), name, message, hint, unknown=True)

    def _known_in(self, section: str) -> str:
        names = self.schema.names_in(section)
        more = f" and {len(names) - _MAX_KEYS_TOLD} more" if len(names) > _MAX_KEYS_TOLD else ""
        return f"{', '.join(names[:_MAX_KEYS_TOLD])}{more}"

    def _misfits(self, known: Field) -> Iterator[Finding]:
        steps = _steps(known.name)
        node = self._at(steps)
        if node is None or (isinstance(node, Scalar) and (node.value == MISSING or is_interpolated(node.value))):
            return
        try:
            self._converted(node, known.type, steps, resolve=False)
        except SpecError as error:
            yield Finding(error.where or printable(self.path), known.name, error.message, error.hint)

    def _dangers(self, name: str, scalar: Scalar) -> Iterator[Finding]:
        """Evaluations and circles, wherever they stand; what is not there may be nobody's need."""
        try:
            self._resolver.resolve(str(scalar.value), _steps(name))
        except InterpolationError as error:
            if "Python code" in str(error) or "circle" in str(error) or "in one another" in str(error):
                yield Finding(self.place(scalar.start), name, str(error), error.hint)

    def _start(self, steps: Path) -> int | None:
        node: Node = self.root
        start = None
        for step in steps:
            if isinstance(node, MappingNode) and (entry := node.get(step)):
                start, node = entry.start, entry.value
            elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                start = node.start
            else:
                return None
        return start

    def _at(self, steps: Path) -> Node | None:
        node: Node | None = self.root
        for step in steps:
            if isinstance(node, MappingNode):
                entry = node.get(step) or (node.get(str(step)) if isinstance(step, int) else None)
                node = entry.value if entry else None
            elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                return None
        return node

    def _look_up(self, steps: Path) -> Any:
        """What an interpolation refers to: the spec's value, else the schema's default."""
        node = self._at(steps)
        if node is None:
            for count in range(1, len(steps)):  # a section that is itself a reference
                above = self._at(steps[:count])
                if isinstance(above, Scalar) and is_interpolated(above.value):
                    target = self._resolver.resolve(str(above.value), steps[:count])
                    return _inside(target, steps[count:])
            return self._default(steps)
        return node.value if isinstance(node, Scalar) else node

    def _default(self, steps: Path) -> Any:
        known = self.schema.fields.get(".".join(map(str, steps)))
        if known is not None:
            return known.default
        above = self._default(steps[:-1]) if len(steps) > 1 else None
        if isinstance(above, list) and isinstance(steps[-1], int) and steps[-1] < len(above):
            return above[steps[-1]]
        raise KeyError(steps)

    def _converted(self, node: Any, type_: str, steps: Path, *, resolve: bool = True) -> Any:
        """A node as a value of a type, by the rules of OmegaConf's typed nodes."""
        value = node.value if isinstance(node, Scalar) else node
        if is_interpolated(value):
            if not resolve:
                return value
            value = self._resolved(str(value), node, steps)
        base, optional = type_.removesuffix("?"), type_.endswith("?") or type_ == "any"
        if value is None:
            if optional:
                return None
            raise self._misfit(node, steps, f"null is not allowed, {_kind(base)} is")
        if base == "any":
            return self._anything(value, steps, resolve=resolve)
        if base.startswith("["):
            return self._list(value, node, base[1:-1], steps, resolve=resolve)
        if base.startswith("{"):
            return self._mapping(value, node, base[1:-1], steps, resolve=resolve)
        if _is_container(value):
            raise self._misfit(node, steps, f"a {_shape(value)} stands where {_kind(base)} is needed")
        try:
            return _CONVERTERS[base](value)
        except ValueError:
            raise self._misfit(node, steps, f"{short_repr(value)} is not {_kind(base)}") from None

    def _list(self, value: Any, node: Any, element: str, steps: Path, *, resolve: bool) -> list[Any]:
        items = value.items if isinstance(value, ListNode) else value
        if not isinstance(items, tuple | list):
            raise self._misfit(node, steps, f"a {_shape(value)} stands where a list is needed", "Put it in [ ].")
        if element == "{str}":
            return [self._converted_strictly(item, steps, index, resolve=resolve) for index, item in enumerate(items)]
        return [
            self._converted(item, "any" if _is_container(item) else element, (*steps, index), resolve=resolve)
            for index, item in enumerate(items)
        ]

    def _converted_strictly(self, item: Any, steps: Path, index: int, *, resolve: bool) -> Any:
        """A mapping of texts in a list, whose values OmegaConf does not convert."""
        mapping = self._converted(item, "{any}", (*steps, index), resolve=resolve)
        for key, value in mapping.items():
            if not isinstance(value, str):
                raise self._misfit(item, (*steps, index, key), f"{short_repr(value)} is not text", "Put it in quotes.")
        return mapping

    def _mapping(self, value: Any, node: Any, element: str, steps: Path, *, resolve: bool) -> dict[Any, Any]:
        pairs: list[tuple[Any, Any]]
        if isinstance(value, MappingNode):
            pairs = [(one.key, one.value) for one in value.entries]
        elif isinstance(value, dict):
            pairs = list(value.items())
        else:
            raise self._misfit(node, steps, f"a {_shape(value)} stands where a mapping is needed")
        found = {}
        for key, one in pairs:
            found[key] = self._converted(one, "any" if _is_container(one) else element, (*steps, key), resolve=resolve)
        return found

    def _anything(self, value: Any, steps: Path, *, resolve: bool) -> Any:
        if isinstance(value, MappingNode):
            return self._mapping(value, value, "any", steps, resolve=resolve)
        if isinstance(value, ListNode):
            return self._list(value, value, "any", steps, resolve=resolve)
        return value

    def _resolved(self, text: str, node: Any, steps: Path) -> Any:
        try:
            return self._resolver.resolve(text, steps)
        except InterpolationError as error:
            raise SpecError(str(error), where=self._place_of(node, steps), hint=error.hint) from None

    def _misfit(self, node: Any, steps: Path, message: str, hint: str | None = None) -> SpecError:
        name = _name(steps)
        return SpecError(f"{name}: {message}", where=self._place_of(node, steps), hint=hint)

    def _place_of(self, node: Any, steps: Path) -> str:
        return self.place(node.start) if isinstance(node, Scalar | MappingNode | ListNode) else self.where(_name(steps))


def with_overrides(document: Document, overrides: Sequence[str]) -> MappingNode:
    """The values of a document with the command line's ``key=value`` put in, one after the other.

    Raises:
        UsageError: one is not ``key=value``, of a form that changes lists or removes keys, or its value is no YAML.
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
    if not equals or not key:
        raise UsageError(f"{told} is no override", hint=_OVERRIDE)
    if key[0] in "+~":
        raise UsageError(f"{told}: overrides change keys; '{key[0]}' is not understood", hint=_OVERRIDE)
    steps = key.split(".")
    if "[" in key or not all(steps):
        raise UsageError(f"{told}: an override names a key, not a part of a list", hint="Give the whole list: key=[…].")
    try:
        value = read_value(text, told, base + len(key) + 1)
    except SpecError as error:
        raise UsageError(error.message, where=told, hint=_OVERRIDE) from None
    return _replaced(root, steps, base, value, told)


def _replaced(node: MappingNode, steps: Sequence[str], start: int, value: Node, told: str) -> MappingNode:
    step, *deeper = steps
    if not deeper:
        return node.with_value(step, start, value)
    entry = node.get(step)
    below = entry.value if entry else MappingNode(start, start, ())
    if isinstance(below, ListNode):
        raise UsageError(f"{told}: {step} is a list", hint="Give the whole list: key=[…].")
    if isinstance(below, Scalar):  # null, or a value where a section is needed, which the schema refuses
        below = MappingNode(start, start, ())
    return node.with_value(step, entry.start if entry else start, _replaced(below, deeper, start, value, told))


def _steps(name: str) -> Path:
    return tuple(_pattern_steps(name))


def _pattern_steps(name: str) -> tuple[str | int, ...]:
    """``a.b[0].c`` → ("a", "b", 0, "c"); ``[]`` is the index -1: every element."""
    steps: list[str | int] = []
    for part in name.split("."):
        key, *indexes = part.split("[")
        steps.append(key)
        steps += (int(index[:-1]) if index != "]" else -1 for index in indexes)
    return tuple(steps)


def _name(steps: Path) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _inside(value: Any, steps: Path) -> Any:
    for step in steps:
        if isinstance(value, MappingNode) and (entry := value.get(step)):
            value = entry.value
        elif isinstance(value, ListNode) and isinstance(step, int) and step < len(value.items):
            value = value.items[step]
        else:
            raise KeyError(step)
    return value.value if isinstance(value, Scalar) else value


def _cleared(value: Any, patterns: Sequence[Path]) -> Any:
    if () in patterns:
        return None
    if isinstance(value, dict):
        return {key: _cleared(one, [p[1:] for p in patterns if p and p[0] == key]) for key, one in value.items()}
    if isinstance(value, list):
        below = [p[1:] for p in patterns if p and p[0] == -1]
        return [_cleared(one, below) for one in value]
    return value


def _says_nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value == MISSING


def _is_container(value: Any) -> bool:
    """A list or mapping, which OmegaConf lets pass where a list or mapping of single values is declared."""
    return isinstance(value, MappingNode | ListNode | list | dict)


def _kind(base: str) -> str:
    if base.startswith("["):
        return "a list"
    if base.startswith("{"):
        return "a mapping"
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[base]


def _shape(value: Any) -> str:
    if isinstance(value, MappingNode | dict):
        return "mapping"
    return "list" if isinstance(value, ListNode | list) else "single value"


def _to_int(value: Any) -> int:
    if type(value) not in (int, str):
        raise ValueError
    return int(value)


def _to_float(value: Any) -> float:
    if type(value) not in (int, str, float):
        raise ValueError
    try:
        return float(value)
    except OverflowError:
        raise ValueError from None


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool | int):
        return bool(value)
    if not isinstance(value, str):
        raise ValueError
    try:
        return int(value) != 0
    except ValueError:
        if value.lower() in ("yes", "y", "on", "true"):
            return True
        if value.lower() in ("no", "n", "off", "false"):
            return False
        raise


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {"int": _to_int, "float": _to_float, "bool": _to_bool, "str": str}
