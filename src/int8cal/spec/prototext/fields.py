"""The fields of a spec text against the message definition: each value with its path and its descriptor."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from int8cal.spec.prototext.text import Field, Scalar, Section, SpecText


class Visit(NamedTuple):
    """One value of the text.

    Attributes:
        path: field path, repeated and map fields indexed: ``dataset_config.data_sources[0].tfrecords_path``.
        pattern: the path without what differs from spec to spec: ``[]`` for an index, ``{}`` for the value of a map:
            ``dataset_config.data_sources[].tfrecords_path``.
        field: the field as written.
        value: the value; None for an unknown field, which is visited once and not entered.
        descriptor: its definition; None for an unknown field.
        parent: the message definition that it was looked up in.
    """

    path: str
    pattern: str
    field: Field
    value: Scalar | Section | None
    descriptor: FieldDescriptor | None
    parent: Descriptor


def visit_fields(text: SpecText, root: Descriptor) -> Iterator[Visit]:
    """Every value of a spec text in file order, a message before what is in it.

    Args:
        text: what was read.
        root: definition of the message that the whole text is.
    """
    yield from _visit(text.root, root, "", "", {})


def without_cleared(text: SpecText, root: Descriptor) -> SpecText:
    """The same text with the fields out of the tree that a later member of their oneof has cleared."""
    cleared: set[int] = set()
    current: dict[tuple[str, str], tuple[str, list[int]]] = {}  # by oneof of a message: the member, where it is written
    for visit in visit_fields(text, root):
        oneof = visit.descriptor.containing_oneof if visit.descriptor else None
        if oneof is None:
            continue
        key = (visit.path.rpartition(".")[0], oneof.name)
        if key in current and current[key][0] != visit.field.name:
            cleared.update(current.pop(key)[1])
        current.setdefault(key, (visit.field.name, []))[1].append(visit.field.start)
    return replace(text, root=_pruned(text.root, cleared)) if cleared else text


def _pruned(message: Section, cleared: Container[int]) -> Section:
    fields = (field for field in message.fields if field.start not in cleared)
    return message._replace(fields=tuple(one._replace(values=_pruned_values(one, cleared)) for one in fields))


def _pruned_values(field: Field, cleared: Container[int]) -> tuple[Scalar | Section, ...]:
    return tuple(_pruned(value, cleared) if isinstance(value, Section) else value for value in field.values)


def is_map(field: FieldDescriptor) -> bool:
    """Is that a map field?"""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_repeated(field: FieldDescriptor) -> bool:
    """Is that a repeated or map field?"""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED)  # protobuf before 6


def _visit(message: Section, kind: Descriptor, path: str, pattern: str, counts: dict[str, int]) -> Iterator[Visit]:
    """Values of one message; ``counts`` holds how many values each repeated field path had so far."""
    for field in message.fields:
        descriptor = kind.fields_by_name.get(field.name)
        field_path = f"{path}{field.name}"
        if descriptor is None:
            yield Visit(field_path, f"{pattern}{field.name}", field, None, None, kind)
            continue
        for value in field.values:
            value_path, value_pattern = field_path, _step_pattern(pattern, descriptor)
            if is_repeated(descriptor):
                index = counts[field_path] = counts.get(field_path, -1) + 1
                value_path = f"{field_path}[{index}]"
            yield Visit(value_path, value_pattern, field, value, descriptor, kind)
            if isinstance(value, Section) and descriptor.message_type is not None:
                yield from _visit(value, descriptor.message_type, f"{value_path}.", f"{value_pattern}.", counts)


def _step_pattern(parent_pattern: str, descriptor: FieldDescriptor) -> str:
    """Pattern of a field in a message: the value of a map entry is ``map{}``, its key ``map[].key``."""
    message = descriptor.containing_type
    if descriptor.name == "value" and message is not None and message.GetOptions().map_entry:
        return f"{parent_pattern.removesuffix('[].')}{{}}"
    return f"{parent_pattern}{descriptor.name}{'[]' if is_repeated(descriptor) else ''}"
