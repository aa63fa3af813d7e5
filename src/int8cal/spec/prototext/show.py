"""A spec in a normal form, for people (protobuf text) and for programs (plain data)."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format, text_format

from int8cal.spec.prototext.schema import schema_of, short_name
from int8cal.spec.prototext.spec import Spec


def as_text(spec: Spec) -> str:
    """The typed message as protobuf text: no comments, fields in the order of the definition, one value per line."""
    lines = text_format.MessageToString(spec.message, as_utf8=True).rstrip("\n").split("\n")
    return "\n".join(_harmless(line) for line in lines)


def as_dict(spec: Spec) -> dict[str, Any]:
    """What was read, in JSON types.

    Keys: ``file``, ``networks`` (words for the networks that have such specs), ``message`` (name of the root message),
    ``spec`` (its fields as written in the file; 64-bit integers, infinities and NaN are strings), ``warnings``.
    """
    schema = schema_of(spec.root)
    return {
        "file": spec.path,
        "networks": list(schema.networks),
        "message": short_name(spec.root, schema),
        "spec": json_format.MessageToDict(spec.message, preserving_proto_field_name=True),
        "warnings": list(spec.warnings),
    }


def _harmless(line: str) -> str:
    """A line without characters that act on a terminal; they become escapes that protobuf text understands."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _octal(char) for char in line)


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode())
