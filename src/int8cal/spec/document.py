"""What a spec is in every language: typed values that know where they stand, and a text that can be edited.

A language is a folder beside this module (`int8cal.spec.languages` finds it) whose `read` gives a `SpecDocument`. What
uses specs (networks, plans, the command line) knows this protocol and no language.

A *field path* names a value: ``dataset_config.data_sources[0].tfrecords_path``; its *pattern* leaves out what differs
from spec to spec: ``[]`` for an index, ``{}`` for the key of a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from int8cal.types import Message

ROLES = ("training_data", "training_tfrecords", "validation_data", "validation_tfrecords", "base_model")
"""The roles that path fields can have, in the order in which the command line names them."""

GLOB_ROLES = frozenset({"training_tfrecords", "validation_tfrecords"})
"""Roles whose fields hold glob patterns, not plain paths."""


class Edit(NamedTuple):
    """A change of a text: ``text[start:end]`` becomes ``replacement`` (equal offsets: an insertion)."""

    start: int
    end: int
    replacement: str


class PathValue(NamedTuple):
    """A path in a spec that has a role.

    Attributes:
        role: its role.
        path: field path.
        start, end: offsets of the value as it is written.
        content: the path written there.
    """

    role: str
    path: str
    start: int
    end: int
    content: str


class Leaf(NamedTuple):
    """One value of a spec: where it is written, its field path, and what it says."""

    start: int
    path: str
    content: str


class SpecFinding(NamedTuple):
    """One check of a spec that failed.

    Attributes:
        where: ``path:line:column`` of the field, or of what lacks it; the path alone at the top level.
        field: field path.
        message: in the words of the reference, where it has such a check.
        hint: what to do about it, where the message leaves that open.
    """

    where: str
    field: str
    message: str
    hint: str | None = None


class SpecDocument(Protocol):
    """A spec file that was read and typed."""

    @property
    def path(self) -> str:
        """Where it was read from, as given by the user."""

    @property
    def root(self) -> str:
        """The kind of spec that it is: ``int8cal.detectnet_v2.Experiment``."""

    @property
    def names_network(self) -> str | None:
        """The network that it says in words to be of, where its language has a key for that."""

    @property
    def message(self) -> Message:
        """Its values by attribute, defaults included."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the caller put in place of what the file says, ``key=value`` each."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Legacy or (when allowed) unknown fields, each with its position: ``spec.txt:12:5: …``."""

    def where(self, field_path: str) -> str:
        """Position of a field for an error message: ``path:line:column``; the path alone when the field is absent."""

    def where_entry(self, map_path: str, key: str) -> str:
        """Position of the value that a map has for a key."""

    def written(self, field_path: str) -> bool:
        """Whether the field stands in the file."""

    def describe(self) -> str:
        """The kind of spec in words: ``ssd/dssd Experiment``."""

    def check(self) -> tuple[SpecFinding, ...]:
        """All checks of the schema that fail. Checks that need more than a table are the network's own."""

    def fingerprint(self, without: Iterable[str]) -> bytes:
        """The values as bytes, but for the fields that these patterns name: equal for specs that say the same."""

    def as_text(self) -> str:
        """The spec in a normal form, for people."""

    def as_dict(self) -> dict[str, Any]:
        """The spec for programs: ``file``, ``networks``, ``message``, ``spec``, ``warnings``."""

    def to_bytes(self) -> bytes:
        """The file, byte for byte."""

    @property
    def source(self) -> str:
        """The file as text, in which offsets count."""

    def line_of(self, offset: int) -> int:
        """1-based line of an offset."""

    def leaves(self) -> Iterator[Leaf]:
        """Everything that the file says, in file order."""

    def path_values(self, path_roles: Mapping[str, str]) -> Iterator[PathValue]:
        """The non-empty paths with a role, in file order.

        Args:
            path_roles: pattern of a path field → role, or ``none: `` and why no run-time path belongs there.
        """

    def quoted(self, path: PathValue, content: str) -> str:
        """``content`` as it is written in place of a path."""

    def number_edit(self, field_path: str, number: int) -> Edit | None:
        """The edit that sets a number; None when this kind of spec has no such field.

        Raises:
            SpecError: the section that holds it is not there.
        """

    def with_edits(self, edits: Iterable[Edit]) -> SpecDocument:
        """The spec with changes in its text, read again; unknown fields stay."""


def has_role(role: str) -> bool:
    """Whether an entry of a table of path roles is a role, not the reason why there is none."""
    return not role.startswith("none:")
