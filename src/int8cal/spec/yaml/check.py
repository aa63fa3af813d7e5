"""Is a spec one that NVIDIA's tools take? Keys and values against the schema; what may run code or never end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable
from int8cal.spec.document import SpecFinding
from int8cal.spec.yaml.document import YamlSpec, steps_of
from int8cal.spec.yaml.interpolation import InterpolationError, is_interpolated
from int8cal.spec.yaml.schema import MISSING, UNJUDGED, VERSIONS, Field, versions_text
from int8cal.spec.yaml.text import MappingNode, Node, Scalar, scalars
from int8cal.spec.yaml.values import Typing

_MOST_TOLD = 5
_NEWEST = len(VERSIONS) - 1


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding, and whether it is a key that no version knows."""

    finding: SpecFinding
    unknown: bool = False


def findings(spec: YamlSpec) -> Iterator[Judged]:
    """All of them: unknown keys, values of another type, keys of no common release, evaluations and circles."""
    yield from _unknown(spec, spec.values, "")
    typing = Typing(spec.place_of, None)
    for known in spec.schema.fields.values():
        if known.name.partition(".")[0] not in UNJUDGED or known.name.startswith("model.input_"):
            yield from _misfits(spec, typing, known)
    yield from _of_no_release(spec)
    if spec.strict:
        yield from map(Judged, outdated(spec))
    for name, scalar in scalars(spec.values):
        if is_interpolated(scalar.value):
            yield from _dangers(spec, name, scalar)


def outdated(spec: YamlSpec) -> Iterator[SpecFinding]:
    """Keys that the newest TAO no longer has."""
    for known in spec.schema.fields.values():
        if known.last < _NEWEST and spec.node(known.name) is not None:
            message = f"{known.name} is a key of {versions_text(known.first, known.last)}; newer releases refuse it"
            yield SpecFinding(spec.where(known.name), known.name, message, "Take it out for TAO 7.")


def _unknown(spec: YamlSpec, node: MappingNode, section: str) -> Iterator[Judged]:
    schema = spec.schema
    for entry in node.entries:
        name = f"{section}.{entry.key}" if section else str(entry.key)
        if name in schema.fields:
            continue
        where = spec.place(entry.start)
        if name in schema.sections:
            if isinstance(entry.value, MappingNode):
                yield from _unknown(spec, entry.value, name)
            elif name.partition(".")[0] not in UNJUDGED and not _is_reference(entry.value):
                message = f"{printable(name)} is a section, not a single value or a list"
                yield Judged(SpecFinding(where, name, message, f"It holds: {_known_in(spec, name)}."))
        elif schema.is_judged(name):
            near = schema.nearest(name)
            hint = f"Did you mean {near}?" if near else f"It knows: {_known_in(spec, section)}."
            message = f"no known release of TAO has the key {printable(name)} for {spec.network}"
            yield Judged(SpecFinding(where, name, message, hint), unknown=True)


def _is_reference(node: Node) -> bool:
    """A section that says nothing, or that an interpolation gives."""
    return isinstance(node, Scalar) and (node.value == MISSING or is_interpolated(node.value))


def _known_in(spec: YamlSpec, section: str) -> str:
    names = spec.schema.names_in(section)
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return f"{', '.join(names[:_MOST_TOLD])}{more}"


def _misfits(spec: YamlSpec, typing: Typing, known: Field) -> Iterator[Judged]:
    node = spec.node(known.name)
    if node is None or (isinstance(node, Scalar) and node.value == MISSING):
        return
    try:
        typing.converted(node, known.type, steps_of(known.name))
    except SpecError as error:
        yield Judged(SpecFinding(error.where or printable(spec.path), known.name, error.message, error.hint))


def _of_no_release(spec: YamlSpec) -> Iterator[Judged]:
    first, last = spec.versions
    if first <= last:
        return
    written = [one for one in spec.schema.fields.values() if spec.node(one.name) is not None]
    new = next(one for one in written if one.first == first)
    old = next(one for one in written if one.last == last)
    message = (
        f"{old.name} is a key of {versions_text(old.first, old.last)}, {new.name} one of "
        f"{versions_text(new.first, new.last)}: no release has both"
    )
    yield Judged(SpecFinding(spec.where(old.name), old.name, message, f"Take {old.name} out for TAO 7."))


def _dangers(spec: YamlSpec, name: str, scalar: Scalar) -> Iterator[Judged]:
    """What runs code or goes round in a circle, wherever it stands; what is absent may be nobody's need."""
    try:
        spec.resolver.resolve(str(scalar.value), steps_of(name))
    except InterpolationError as error:
        if error.dangerous:
            yield Judged(SpecFinding(spec.place(scalar.start), name, str(error), error.hint))
