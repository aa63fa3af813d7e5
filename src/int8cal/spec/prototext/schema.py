"""The message definitions of the experiment specs, with their tables of checks and legacy fields.

A network's folder holds ``spec.proto``, the table file ``checks.json`` and the compiled ``descriptors.binpb``;
`register_folder` makes them known.

The table file::

    {
      "package": "int8cal.ssd",                  protobuf package of the messages
      "networks": ["ssd", "dssd"],               words for the networks with these specs
      "roots": {                                 messages that a whole spec file can be, each with its checks
        "Experiment": {
          "required": ["a or b", …],             message fields that must be there
          "required_in": {"field": [ … ]},       the same inside every message field of that name, wherever it is
          "values": {"field": [[op, limit], …]}, what holds for every scalar field of that name, wherever it is
          "if_set": {"field": [op, limit]}       … but only where this holds
        }
      },
      "legacy": {                                what older TAO versions wrote and newer ones refuse
        "fields": {"Message": {"field": { … }}}, fields no longer known, with the fields in them
        "fraction_for_integer": ["Message.field"],
        "text_for_message": ["Message.field"]
      }
    }

Operators: ``> >= < <= = != in %`` (divisible by), with ``length`` or ``each`` before them for numbers written as a list
in a string. The semantics are those of the reference's validator, which looks fields up by name alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from int8cal.io import protos
from int8cal.types import Message

TABLES_FILE = "checks.json"

COMMON_PACKAGE = "int8cal.common"
"""Protobuf package of the messages that several networks share."""

LegacyFields: TypeAlias = "Mapping[str, LegacyFields]"
"""Names of legacy fields, each with the names inside it (empty for a scalar)."""


@dataclass(frozen=True)
class Checks:
    """Checks of one root message; see the table file above."""

    required: tuple[str, ...] = ()
    required_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    if_set: Mapping[str, tuple[str, Any]] = field(default_factory=dict)


class Schema(NamedTuple):
    """What is known about the specs of one network.

    Attributes:
        package: protobuf package of its messages (``int8cal.detectnet_v2``).
        networks: words for the networks that have these specs.
        checks: by full name of the root message.
        legacy_fields: by message name without the package.
        fraction_for_integer: integer fields (``Message.field``) in which older specs hold a fraction.
        text_for_message: message fields (``Message.field``) in which older specs hold a string.
    """

    package: str
    networks: tuple[str, ...]
    checks: Mapping[str, Checks]
    legacy_fields: Mapping[str, LegacyFields]
    fraction_for_integer: frozenset[str]
    text_for_message: frozenset[str]


@cache
def register_folder(folder: str) -> Schema:
    """Make the specs of a network known; doing it again changes nothing.

    Args:
        folder: where its ``checks.json`` and ``descriptors.binpb`` lie (``protoc --include_imports``).

    Raises:
        KeyError: the tables name a root message that the descriptors do not define.
    """
    protos.add_descriptors(protos.data_file(folder, protos.DESCRIPTORS_FILE))
    schema = _schema_from_tables(json.loads(protos.data_file(folder, TABLES_FILE)))
    for root in schema.checks:
        protos.message_class(root)
        _SCHEMAS[root] = schema
    return schema


def roots() -> Iterator[str]:
    """Full names of all messages that a whole spec file can be."""
    yield from _SCHEMAS


def schema_of(root: str) -> Schema:
    """The schema to which a root message belongs.

    Raises:
        KeyError: no such root message is registered.
    """
    return _SCHEMAS[root]


def new_message(root: str) -> Message:
    """An empty message of a root's type."""
    return protos.message_class(root)()


def roots_beside(root: str) -> list[str]:
    """Root messages of the specs of the network that has this one."""
    schema = schema_of(root)
    return [other for other in roots() if schema_of(other) is schema]


def describe_root(root: str) -> str:
    """A root message in words: ``ssd/dssd Experiment``."""
    schema = schema_of(root)
    return f"{'/'.join(schema.networks)} {short_name(root, schema)}"


def short_name(full_name: str, schema: Schema) -> str:
    """Name of a message or enum without its package: ``int8cal.ssd.DataSource`` → ``DataSource``."""
    return full_name.removeprefix(f"{schema.package}.").removeprefix(f"{COMMON_PACKAGE}.")


def _schema_from_tables(tables: Mapping[str, Any]) -> Schema:
    package, legacy = tables["package"], tables.get("legacy", {})
    return Schema(
        package=package,
        networks=tuple(tables["networks"]),
        checks={f"{package}.{root}": _checks(table) for root, table in tables["roots"].items()},
        legacy_fields=legacy.get("fields", {}),
        fraction_for_integer=frozenset(legacy.get("fraction_for_integer", ())),
        text_for_message=frozenset(legacy.get("text_for_message", ())),
    )


def _checks(table: Mapping[str, Any]) -> Checks:
    return Checks(
        required=tuple(table.get("required", ())),
        required_in={name: tuple(names) for name, names in table.get("required_in", {}).items()},
        values={name: tuple((op, limit) for op, limit in tests) for name, tests in table.get("values", {}).items()},
        if_set={name: (op, limit) for name, (op, limit) in table.get("if_set", {}).items()},
    )


_SCHEMAS: dict[str, Schema] = {}
"""Schema by full name of the root message."""
