"""A message without some of its fields: what a spec says apart from where the data lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from int8cal.types import Message


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
