"""An experiment spec in YAML as the rest of the package sees it (see `int8cal.spec.document`).

    text + overrides + schema → typed values by name, which know where they stand

Everything here is the same for every network; the keys of one are the schema in its folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import yaml

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable, short_repr
from int8cal.spec.document import Edit, Leaf, PathValue, SpecFinding, has_role
from int8cal.spec.yaml.interpolation import InterpolationError, Path, Resolver, is_interpolated, literal, path_text
from int8cal.spec.yaml.overrides import with_overrides
from int8cal.spec.yaml.schema import MISSING, UNJUDGED, VERSIONS, Schema, versions_text
from int8cal.spec.yaml.text import (
    Document,
    ListNode,
    MappingNode,
    Node,
    Scalar,
    plain,
    read_document,
    reads_differently,
    scalars,
    stated_name,
    written_as,
)
from int8cal.spec.yaml.values import Typing

_DIGITS = 9
"""Of an index."""
_DECIDING = ("dataset.", "export.input_", "model.input_")
"""Beginnings of the names of keys that may decide pixels or images."""


@dataclass(frozen=True)
class YamlSpec:
    """A spec file that was read and typed.

    Attributes:
        path: where it was read from, as given by the user.
        document: the text with positions.
        values: its mapping, overrides put in.
        schema: the network's keys.
        network: the network's name.
        overrides: the command line's ``key=value``, as given.
        lenient: unknown keys are warnings.
        strict: keys that the newest TAO no longer has are findings.
        environment: variables for ``${oc.env:…}``.
    """

    path: str
    document: Document
    values: MappingNode
    schema: Schema
    network: str
    overrides: tuple[str, ...] = ()
    lenient: bool = False
    strict: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def __repr__(self) -> str:
        return f"<{self.network} spec {printable(self.path)}>"

    @property
    def root(self) -> str:
        """The kind of spec: ``int8cal.rtdetr.Experiment``."""
        return f"int8cal.{self.network}.Experiment"

    @property
    def names_network(self) -> str | None:
        """What ``model_name`` says."""
        return stated_name(self.values) or None

    @property
    def message(self) -> YamlSpec:
        """Itself: `value` gives its values, defaults included."""
        return self

    # --- values ------------------------------------------------------------------------------------------------------

    @cached_property
    def resolver(self) -> Resolver:
        """Of its interpolations."""
        return Resolver(self._look_up, self.environment)

    @cached_property
    def _typing(self) -> Typing:
        return Typing(self.place_of, self.resolver)

    def node(self, name: str) -> Node | None:
        """What is written for a name (``dataset.train_data_sources[0].json_file``); None when nothing is."""
        return self._at(steps_of(name))

    def written(self, field_path: str) -> bool:
        """Whether the spec or an override says anything about a key, other than ``???``."""
        node = self.node(field_path)
        return node is not None and not _says_nothing(node)

    def value(self, name: str) -> Any:
        """The typed value of a key of the schema, interpolations resolved; the default where the spec says nothing.

        Defaults are those of the newest release that knows every key of the spec.

        Raises:
            SpecError: it is of another type, an interpolation cannot be resolved, or it must be given and is not.
        """
        known = self.schema.fields[name]
        node = self.node(name)
        if node is None or _says_nothing(node):
            default = known.default_in(self.versions[1])
            if default == MISSING:
                raise SpecError(f"{name} is not given", where=self.where(name), hint=f"Give {name} a value.")
            return default
        return self._typing.converted(node, known.type, steps_of(name))

    def _at(self, steps: Path) -> Node | None:
        node: Node | None = self.values
        for step in steps:
            if isinstance(node, MappingNode):
                entry = node.get(step) or (node.get(str(step)) if isinstance(step, int) else None)
                node = entry.value if entry else None
            elif isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
                node = node.items[step]
            else:
                return None
        return node

    def _look_up(self, steps: Path) -> Any:
        """What an interpolation refers to: the spec's value, else the schema's default."""
        node = self._at(steps)
        if node is not None:
            return node.value if isinstance(node, Scalar) else node
        for count in range(1, len(steps)):  # a section that is itself a reference
            above = self._at(steps[:count])
            if isinstance(above, Scalar) and is_interpolated(above.value):
                return _inside(self.resolver.resolve(str(above.value), steps[:count]), steps[count:])
        return self._default(steps)

    def _default(self, steps: Path) -> Any:
        known = self.schema.fields.get(".".join(map(str, steps)))
        if known is not None:
            return known.default_in(self.versions[1])
        above = self._default(steps[:-1]) if len(steps) > 1 else None
        if isinstance(above, list) and isinstance(steps[-1], int) and steps[-1] < len(above):
            return above[steps[-1]]
        raise KeyError(steps)

    # --- positions ---------------------------------------------------------------------------------------------------

    def where(self, field_path: str) -> str:
        """Position of a key for messages: ``path:line:column``; of an absent one, that of the section it belongs to."""
        steps = steps_of(field_path)
        while steps:
            start = self._start(steps)
            if start is not None:
                return self.place(start)
            steps = steps[:-1]
        return printable(self.path)

    def where_entry(self, map_path: str, key: str) -> str:
        """Position of the value that a mapping has for a key."""
        return self.where(f"{map_path}.{key}")

    def place(self, offset: int) -> str:
        """Position of an offset for messages; of those beyond the text, the override."""
        base = len(self.document.text)
        if offset < base:
            line, column = self.document.line_column(offset)
            return f"{printable(self.path)}:{line}:{column}"
        for override in self.overrides:
            base += 1
            if offset <= base + len(override):  # an empty value begins at the end
                return printable(override)
            base += len(override)
        return printable(self.path)

    def place_of(self, node: Any, steps: Path) -> str:
        """Position of a node, or of what stands at a path."""
        if isinstance(node, Scalar | MappingNode | ListNode):
            return self.place(node.start)
        return self.where(path_text(steps))

    def _start(self, steps: Path) -> int | None:
        node: Node = self.values
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

    def line_of(self, offset: int) -> int:
        """1-based line of an offset."""
        return self.document.line_column(offset)[0]

    # --- what it says ------------------------------------------------------------------------------------------------

    @cached_property
    def versions(self) -> tuple[int, int]:
        """Indexes into `VERSIONS` of the first and last release that know every key."""
        known = [one for one in self.schema.fields.values() if self.node(one.name) is not None]
        newest = len(VERSIONS) - 1
        return max((one.first for one in known), default=0), min((one.last for one in known), default=newest)

    def describe(self) -> str:
        """The kind of spec in words, and the releases of TAO that know all its keys."""
        first, last = self.versions
        told = versions_text(first, last) if first <= last else "no release of TAO"
        return f"{self.network} experiment, {told}"

    def check(self) -> tuple[SpecFinding, ...]:
        """Keys that are unknown or of no common release, values of another type, evaluations and circles."""
        from int8cal.spec.yaml.check import findings  # it needs this class

        return tuple(one.finding for one in findings(self) if not (self.lenient and one.unknown))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Keys that are unknown (where allowed) or gone from the newest TAO; scalars that YAML 1.2 reads otherwise."""
        from int8cal.spec.yaml.check import findings, outdated  # as above

        unknown = (one.finding for one in findings(self) if self.lenient and one.unknown)
        told = (f"{one.where}: {one.message}" for one in (*unknown, *(() if self.strict else outdated(self))))
        return (*told, *self._misread())

    def _misread(self) -> Iterator[str]:
        for name, scalar in scalars(self.values):
            if name.startswith(_DECIDING) and reads_differently(scalar):
                yield (
                    f"{self.place(scalar.start)}: {name}: {scalar.written} is {short_repr(scalar.value)} to TAO, which "
                    "reads YAML 1.1; other readers may differ"
                )

    def fingerprint(self, without: Iterable[str]) -> bytes:
        """Every value that the schema judges, defaults included, but for those that these patterns name."""
        patterns = [steps_of(name) for name in without]
        judged = (name for name in self.schema.fields if name.partition(".")[0] not in UNJUDGED or "input_" in name)
        said = {name: _cleared(self._said(name), steps_of(name), patterns) for name in judged}
        return json.dumps({"network": self.network, "spec": said}, sort_keys=True, default=str).encode()

    def _said(self, name: str) -> Any:
        try:
            return self.value(name)
        except SpecError:
            node = self.node(name)
            return MISSING if node is None else plain(node)

    def as_text(self) -> str:
        """The spec as YAML without comments, a value per line, overrides put in."""
        text: str = yaml.safe_dump(plain(self.values), sort_keys=False, allow_unicode=True, width=1 << 20)
        return "\n".join(map(printable, text.rstrip("\n").split("\n")))

    def as_dict(self) -> dict[str, Any]:
        """The spec for programs: ``file``, ``networks``, ``message``, ``spec``, ``warnings``."""
        return {
            "file": self.path,
            "networks": [self.network],
            "message": "Experiment",
            "spec": plain(self.values),
            "warnings": list(self.warnings),
        }

    # --- the text and its edits --------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The file, byte for byte."""
        return self.document.text.encode()

    @property
    def source(self) -> str:
        """The file as text, in which offsets count."""
        return self.document.text

    def leaves(self) -> Iterator[Leaf]:
        """Every scalar of the file, in file order."""
        found = [Leaf(one.start, name, _content(one)) for name, one in scalars(self.document.root)]
        yield from sorted(found, key=lambda leaf: (leaf.start, leaf.path))

    def path_values(self, path_roles: Mapping[str, str]) -> Iterator[PathValue]:
        """The non-empty paths with a role, in file order; what they refer to is put in where that is known."""
        found = []
        for name, one in scalars(self.document.root):
            role = path_roles.get(re.sub(r"\[\d+\]", "[]", name))
            if role is None or not has_role(role) or one.value in (None, "", MISSING):
                continue
            found.append(PathValue(role, name, one.start, one.end, self._resolved_text(name, one)))
        yield from sorted(found, key=lambda value: (value.start, value.path))

    def _resolved_text(self, name: str, scalar: Scalar) -> str:
        if not is_interpolated(scalar.value):
            return str(scalar.value)
        try:
            return str(self.resolver.resolve(str(scalar.value), steps_of(name)))
        except InterpolationError:
            return str(scalar.value)

    def quoted(self, path: PathValue, content: str) -> str:
        """``content`` in the quotes that the path has, or in others where it needs them."""
        return written_as(content, self.source[path.start : path.end])

    def number_edit(self, field_path: str, number: int) -> Edit | None:
        """The edit that sets a number in a section.

        Raises:
            SpecError: the section that holds it is not there.
        """
        node = self._written_at(field_path)
        if isinstance(node, Scalar):
            return Edit(node.start, node.end, str(number))
        section_name, _, key = field_path.rpartition(".")
        section = self._written_at(section_name)
        if not isinstance(section, MappingNode) or not section.entries:
            raise SpecError(
                f"the spec has no {section_name}, so {key} cannot be set",
                where=printable(self.path),
                hint=f"Add the section {section_name} to the spec, or leave {key} as it is.",
            )
        first = min(entry.start for entry in section.entries)
        if self.source[section.start] == "{":
            return Edit(first, first, f"{key}: {number}, ")
        begin = self.source.rfind("\n", 0, first) + 1
        line_end = "\r\n" if "\r\n" in self.source else "\n"
        return Edit(first, first, f"{key}: {number}{line_end}{self.source[begin:first]}")

    def _written_at(self, name: str) -> Node | None:
        return replace(self, values=self.document.root).node(name)

    def with_edits(self, edits: Iterable[Edit]) -> YamlSpec:
        """The spec with changes in its text, read again; unknown keys stay."""
        text = self.source
        for edit in sorted(edits, key=lambda one: one.start, reverse=True):
            text = f"{text[: edit.start]}{edit.replacement}{text[edit.end :]}"
        document = read_document(text.encode(), self.path)
        return replace(self, document=document, values=with_overrides(document, self.overrides))


def steps_of(name: str) -> Path:
    """``a.b[0].c`` → ("a", "b", 0, "c"); ``[]`` is the index -1, which stands for every element.

    Keys may hold other brackets: what is no index belongs to them.
    """
    steps: list[str | int] = []
    for key in name.split("."):
        indexes: list[int] = []
        while key.endswith("]"):
            begin = key.rfind("[")
            number = key[begin + 1 : -1]
            if begin < 0 or (number and not (number.isascii() and number.isdecimal() and len(number) <= _DIGITS)):
                break
            indexes.append(int(number or -1))
            key = key[:begin]
        steps += [key, *reversed(indexes)]
    return tuple(steps)


def _says_nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value == MISSING


def _content(scalar: Scalar) -> str:
    """What a scalar says; escaped interpolations as the text that they are."""
    return literal(scalar.value) if isinstance(scalar.value, str) else str(scalar.value)


def _inside(value: Any, steps: Path) -> Any:
    for step in steps:
        if isinstance(value, MappingNode) and (entry := value.get(step)):
            value = entry.value
        elif isinstance(value, ListNode) and isinstance(step, int) and step < len(value.items):
            value = value.items[step]
        else:
            raise KeyError(step)
    return value.value if isinstance(value, Scalar) else value


def _cleared(value: Any, path: Path, patterns: list[Path]) -> Any:
    """A value without the parts that patterns name."""
    if path in patterns:
        return None
    if isinstance(value, dict):
        return {str(key): _cleared(one, (*path, key), patterns) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleared(one, (*path, -1), patterns) for one in value]
    return value
