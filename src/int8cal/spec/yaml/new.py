"""A spec to start from, written from a network's schema: what decides data and pixels, with the defaults of TAO."""

from __future__ import annotations

import json
from collections.abc import Iterator

from int8cal.spec.yaml.schema import MISSING, VERSIONS, Field, Schema

_TOP = ("dataset.", "model.input_", "export.input_")
_HEAD = """\
# A {network} experiment spec to start from, with the defaults of TAO {version}. Give the paths, and change all
# numbers to those of your training: calibration data must be made as the network was trained.
"""


def text_of(network: str, schema: Schema) -> str:
    """The spec as YAML; every value with its type and what is allowed."""
    newest = len(VERSIONS) - 1
    fields = [field for field in schema.fields.values() if field.last == newest and field.name.startswith(_TOP)]
    lines = [_HEAD.format(network=network, version=VERSIONS[newest]).rstrip("\n")]
    if "model_name" in schema.fields:
        lines.append(f"model_name: {network}")
    return "\n".join([*lines, *_lines(sorted(fields, key=_by_section))]) + "\n"


def _by_section(field: Field) -> tuple[tuple[str, bool], ...]:
    """Keys of a section before the sections in it, as YAML is read best; else by name."""
    parts = field.name.split(".")
    return tuple((part, number < len(parts) - 1) for number, part in enumerate(parts))


def _lines(fields: list[Field]) -> Iterator[str]:
    above: list[str] = []
    for field in fields:
        *sections, key = field.name.split(".")
        common = next((n for n, (a, b) in enumerate(zip(above, sections, strict=False)) if a != b), None)
        if common is None:
            common = min(len(above), len(sections))
        for depth in range(common, len(sections)):
            yield f"{'  ' * depth}{sections[depth]}:"
        above = sections
        indent = "  " * len(sections)
        allowed = f", {field.allowed}" if field.allowed else ""
        value = json.dumps(field.default)
        comment = f"# {field.type}{allowed}"
        if field.default == MISSING:
            yield f"{indent}# {key}: must be given ({field.type}{allowed})"
        else:
            yield f"{indent}{key}: {value}  {comment}"
