"""The experiment spec as the rest of the package sees it: a typed message that still knows where each value stood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from int8cal.io.safe_text import printable
from int8cal.io.summary import Summarised
from int8cal.spec.prototext.fields import without_cleared
from int8cal.spec.prototext.text import Scalar, SpecText
from int8cal.types import Message


@dataclass(frozen=True, repr=False)
class Spec(Summarised):
    """A spec file that was read, parsed and checked.

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

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"{self.path}: {self.root}{warned}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "message", self.root
        for field, _ in self.message.ListFields():
            yield "field", field.name
        for warning in self.warnings:
            yield "warning", warning

    @cached_property
    def live_text(self) -> SpecText:
        """The text with a tree of only those fields that are in the message still."""
        return without_cleared(self.text, self.message.DESCRIPTOR)

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
