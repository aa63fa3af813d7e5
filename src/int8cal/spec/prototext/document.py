"""An experiment spec in protobuf text as the rest of the package sees it (see `int8cal.spec.document`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.protobuf import text_format

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable
from int8cal.spec.document import Edit, Leaf, PathValue, SpecFinding, has_role
from int8cal.spec.prototext.fields import visit_fields, without_cleared
from int8cal.spec.prototext.schema import describe_root, schema_of, short_name
from int8cal.spec.prototext.text import Scalar, Section, SpecText, quote
from int8cal.types import Message

_REST_OF_LINE = re.compile(r"[^\S\n]*(?:#[^\n]*)?\n")


@dataclass(frozen=True)
class PrototextSpec:
    """A spec file that was read and typed.

    Attributes:
        path: where it was read from, as given by the user.
        text: the lossless text with positions.
        message: the protobuf message.
        root: full name of the message's type (``int8cal.detectnet_v2.Experiment``).
        warnings: legacy or (when allowed) unknown fields, each with its position: ``spec.txt:12:5: …``.
    """

    path: str
    text: SpecText
    message: Message
    root: str
    warnings: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """This language has none."""
        return ()

    @property
    def names_network(self) -> str | None:
        """Nor a key for this: the fields tell it."""
        return None

    def __repr__(self) -> str:
        return f"<{describe_root(self.root)} spec {printable(self.path)}>"

    @cached_property
    def live_text(self) -> SpecText:
        """The text with a tree of only those fields that are in the message still."""
        return without_cleared(self.text, self.message.DESCRIPTOR)

    # --- positions ---------------------------------------------------------------------------------------------------

    def where(self, field_path: str) -> str:
        """Position of a field for an error message: ``path:line:column``; the path alone when the field is absent.

        Args:
            field_path: e.g. ``dataset_config.data_sources[0].tfrecords_path``; repeated and map fields are indexed
                from 0 in file order, without what a later member of a oneof has cleared.
        """
        position = self.live_text.position(field_path)
        path = printable(self.path)
        return f"{path}:{position[0]}:{position[1]}" if position else path

    def where_entry(self, map_path: str, key: str) -> str:
        """Position of the value that a map with text keys has for a key; of several entries the last one counts.

        Args:
            map_path: field path of the map, not indexed.
            key: a key that the map has.
        """
        text = self.live_text
        for index in reversed(range(len(text.find(map_path)))):
            keys = text.find(f"{map_path}[{index}].key")
            written = keys[-1][1] if keys else None
            if isinstance(written, Scalar) and text.string(written) == key:
                value = f"{map_path}[{index}].value"
                return self.where(value if text.find(value) else f"{map_path}[{index}]")
        return self.where(map_path)

    def written(self, field_path: str) -> bool:
        """Whether the field stands in the file, and no later member of its oneof has cleared it."""
        return bool(self.live_text.find(field_path))

    # --- what it says ------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """The kind of spec in words: ``ssd/dssd Experiment``."""
        return describe_root(self.root)

    def check(self) -> tuple[SpecFinding, ...]:
        """All checks of the tables beside the message definition that fail."""
        from int8cal.spec.prototext.check import check  # it needs this class

        return check(self)

    def fingerprint(self, without: Iterable[str]) -> bytes:
        """The message in its canonical bytes, but for the fields that these patterns name."""
        cleared: bytes = without_fields(self.message, without).SerializeToString(deterministic=True)
        return cleared

    def as_text(self) -> str:
        """The typed message as protobuf text: no comments, fields in the order of the definition, a value per line."""
        lines = text_format.MessageToString(self.message, as_utf8=True).rstrip("\n").split("\n")
        return "\n".join(_harmless(line) for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """What was read, in JSON types.

        Keys: ``file``, ``networks`` (words for the networks that have such specs), ``message`` (name of the root
        message), ``spec`` (its fields as written in the file; 64-bit integers, infinities and NaN are strings),
        ``warnings``.
        """
        from google.protobuf import json_format  # late: a run has no need of it

        schema = schema_of(self.root)
        return {
            "file": self.path,
            "networks": list(schema.networks),
            "message": short_name(self.root, schema),
            "spec": json_format.MessageToDict(self.message, preserving_proto_field_name=True),
            "warnings": list(self.warnings),
        }

    # --- the text and its edits --------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The file, byte for byte."""
        return self.text.to_bytes()

    @property
    def source(self) -> str:
        """The file as text, in which offsets count."""
        return self.text.text

    def line_of(self, offset: int) -> int:
        """1-based line of an offset."""
        return self.text.line_column(offset)[0]

    def leaves(self) -> Iterator[Leaf]:
        """Everything that the text says, in file order, unknown fields as they are written."""
        for visit in visit_fields(self.text, self.message.DESCRIPTOR):
            if visit.value is None:
                yield Leaf(visit.field.start, visit.path, self.text[visit.field])
            elif isinstance(visit.value, Scalar):
                content = self.text.string(visit.value)
                yield Leaf(visit.value.start, visit.path, self.text[visit.value] if content is None else content)

    def path_values(self, path_roles: Mapping[str, str]) -> Iterator[PathValue]:
        """The non-empty paths with a role, in file order."""
        for visit in visit_fields(self.text, self.message.DESCRIPTOR):
            role = path_roles.get(visit.pattern)
            if role is None or not has_role(role) or not isinstance(visit.value, Scalar):
                continue
            if content := self.text.string(visit.value):
                yield PathValue(role, visit.path, visit.value.start, visit.value.end, content)

    def quoted(self, path: PathValue, content: str) -> str:
        """``content`` as a protobuf string."""
        return quote(content)

    def number_edit(self, field_path: str, number: int) -> Edit | None:
        """The edit that sets a number in a section; None when this kind of spec has no such field.

        Raises:
            SpecError: the section that holds it is not there.
        """
        section, _, name = field_path.partition(".")
        field = self.message.DESCRIPTOR.fields_by_name.get(section)
        if field is None or field.message_type is None or name not in field.message_type.fields_by_name:
            return None
        visits = visit_fields(self.text, self.message.DESCRIPTOR)
        written = [visit.value for visit in visits if visit.path == field_path]
        if written and isinstance(last := written[-1], Scalar):
            return Edit(last.start, last.end, str(number))
        sections = [value for _, value in self.text.find(section) if isinstance(value, Section)]
        if not sections:
            raise SpecError(
                f"the spec has no {section}, so {name} cannot be set",
                where=printable(self.path),
                hint=f"Add the section {section} to the spec, or leave {name} as it is.",
            )
        return _insertion(self.text, sections[-1], f"{name}: {number}")

    def with_edits(self, edits: Iterable[Edit]) -> PrototextSpec:
        """The spec with changes in its text, read again; unknown fields stay."""
        from int8cal.spec.prototext.load import parse  # it needs this class

        return parse(self.text.with_edits(edits), self.path, self.root, allow_unknown_fields=True)


def _insertion(text: SpecText, section: Section, line: str) -> Edit:
    """A new first line in a section, indented as its first field; within the line where it is written on one."""
    inside = section.start + 1
    rest = _REST_OF_LINE.match(text.text, inside)
    if rest is None:
        return Edit(inside, inside, f" {line}")
    line_end = "\r\n" if rest.group().endswith("\r\n") else "\n"
    return Edit(rest.end(), rest.end(), f"{_indent(text, section)}{line}{line_end}")


def _indent(text: SpecText, section: Section) -> str:
    """The white space before the section's first field, or two spaces more than before the line of its brace."""
    line = text.line_at(section.fields[0].start if section.fields else section.start)
    indent = line[: len(line) - len(line.lstrip())]
    return indent if section.fields else f"{indent}  "


def without_fields(message: Message, patterns: Iterable[str]) -> Message:
    """A copy of a message in which every field that a pattern names is cleared.

    Args:
        message: any message; it is not changed.
        patterns: field paths in which ``[]`` stands for every element of a repeated field and ``{}`` for every value
            of a map: ``dataset_config.data_sources[].tfrecords_path``. Fields that the message type does not have
            (of other versions of the spec) are passed over.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    for pattern in patterns:
        *way, name = pattern.split(".")
        for holder in _reached(copy, way):
            field = name.removesuffix("[]").removesuffix("{}")
            if field in holder.DESCRIPTOR.fields_by_name:
                holder.ClearField(field)
    return copy


def _reached(message: Message, way: list[str]) -> Iterator[Message]:
    """The messages at the end of a way that are really there."""
    if not way:
        yield message
        return
    step, rest = way[0], way[1:]
    name = step.removesuffix("[]").removesuffix("{}")
    if name not in message.DESCRIPTOR.fields_by_name:
        return
    value = getattr(message, name)
    if step.endswith("{}"):
        children = [value[key] for key in sorted(value)]
    elif step.endswith("[]"):
        children = list(value)
    else:
        children = [value] if message.HasField(name) else []
    for child in children:
        yield from _reached(child, rest)


def _harmless(line: str) -> str:
    """A line without characters that act on a terminal; they become escapes that protobuf text understands."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _octal(char) for char in line)


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode())
