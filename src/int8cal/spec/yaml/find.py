"""Is a file YAML, and which network's spec is it? Told by the names of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable, shown
from int8cal.spec.elsewhere import network_elsewhere, not_here
from int8cal.spec.yaml import known_networks, schema_of
from int8cal.spec.yaml.schema import Schema
from int8cal.spec.yaml.text import MappingNode, Scalar, scalars

_KNOWN_PER_UNKNOWN = 4
"""How many keys of a spec must be known for each that is not; with fewer it is the spec of something else."""


def network_of(values: MappingNode, path: str, asked: str | None = None, *, as_asked: bool = False) -> str:
    """Name of the network whose spec has these keys.

    Args:
        values: of the spec.
        path: where it was read from; only for messages.
        asked: the network that the user names; another one is found only when that one lacks keys and it does not.
        as_asked: no other one is looked for.

    Raises:
        SpecError: none has them, or several have.
    """
    if asked is not None and (as_asked or not _counts(values, schema_of(asked))[1]):
        return asked
    fits = candidates(values)
    if asked is not None and (len(fits) != 1 or _counts(values, schema_of(fits[0]))[1]):
        return asked
    unknown = {name for name in _names(values) if not any(_has(schema_of(network), name) for network in fits)}
    if network := network_elsewhere(unknown, None if fits else _model_name(values)):
        raise not_here(network, path)
    if len(fits) == 1:
        return fits[0]
    where = printable(path)
    if fits:
        raise SpecError(
            f"this could be a spec of {' or '.join(fits)}",
            where=where,
            hint="Name the network: int8cal NETWORK plan …, or --network of int8cal spec and int8cal component.",
        )
    names = ", ".join(shown(str(entry.key), 40) for entry in values.entries[:4])
    raise SpecError(
        "this YAML fits no network's spec that int8cal knows",
        where=where,
        hint=f"Its first keys are: {names}; see int8cal networks." if names else "It holds no key at all.",
    )


def _names(values: MappingNode) -> Iterator[str]:
    """Keys at the top level, and those one and two levels below with the keys above them."""
    for entry in values.entries:
        yield str(entry.key)
        if isinstance(entry.value, MappingNode):
            yield from (f"{entry.key}.{name}" for name in _names(entry.value))


def _has(schema: Schema, name: str) -> bool:
    return name in schema.fields or name in schema.sections


def _model_name(values: MappingNode) -> str | None:
    said = values.get("model_name")
    return str(said.value.value) if said is not None and isinstance(said.value, Scalar) else None


def candidates(values: MappingNode) -> list[str]:
    """Names of the networks whose specs the keys fit best; the one that ``model_name`` names goes before the others."""
    fits = [_Fit(network, *_counts(values, schema_of(network))) for network in known_networks()]
    fitting = [fit for fit in fits if fit.known and fit.known >= _KNOWN_PER_UNKNOWN * fit.unknown]
    if not fitting:
        return []
    best = min((fit.unknown, -fit.known) for fit in fitting)
    names = [fit.network for fit in fitting if (fit.unknown, -fit.known) == best]
    said = values.get("model_name")
    if said is not None and isinstance(said.value, Scalar) and said.value.value in names:
        return [str(said.value.value)]
    return names


@dataclass(frozen=True, slots=True)
class _Fit:
    """How many keys of a spec a network knows, and how many not."""

    network: str
    known: int
    unknown: int


def _counts(values: MappingNode, schema: Schema) -> tuple[int, int]:
    found = list(_known(values, schema, ""))
    return sum(found), len(found) - sum(found)


def _known(node: MappingNode, schema: Schema, section: str) -> Iterator[bool]:
    for entry in node.entries:
        name = f"{section}.{entry.key}" if section else str(entry.key)
        if name in schema.fields:
            yield True
        elif name in schema.sections and isinstance(entry.value, MappingNode):
            yield from _known(entry.value, schema, name)
        elif name in schema.sections and isinstance(entry.value, Scalar) and entry.value.value is not None:
            yield False  # a path, say, where this network has a section
        elif name not in schema.sections and schema.is_judged(name):
            yield from (False for _ in range(sum(1 for _ in scalars(entry.value)) or 1))
