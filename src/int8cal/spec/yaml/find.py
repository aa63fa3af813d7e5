"""Is a file YAML, and which network's spec is it? Told by the names of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable, shown
from int8cal.spec.elsewhere import name_elsewhere, network_elsewhere, not_here
from int8cal.spec.yaml import known_networks, schema_of
from int8cal.spec.yaml.interpolation import is_interpolated
from int8cal.spec.yaml.schema import MISSING, Schema
from int8cal.spec.yaml.text import MappingNode, Node, Scalar, scalars, stated_name

_KNOWN_PER_UNKNOWN = 4
"""How many keys of a spec must be known for each that is not; with fewer it is the spec of something else."""


_NAME_IT = (
    "If you know its network, name it: int8cal NETWORK plan …, or --network of int8cal spec and int8cal component."
)


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
    said = stated_name(values)
    alike = fits or candidates(values, of_any_model=True)
    unknown = {name for name in _names(values) if not any(_has(schema_of(network), name) for network in alike)}
    if network := name_elsewhere(said) or network_elsewhere(unknown):
        raise not_here(network, path)
    where = printable(path)
    if fits and said in known_networks() and said not in fits:
        raise SpecError(
            f"its model_name is {said}, and its keys are those of {' or '.join(fits)}", where=where, hint=_NAME_IT
        )
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise SpecError(
            f"this could be a spec of {' or '.join(fits)}, or of a network that int8cal does not have",
            where=where,
            hint=_NAME_IT,
        )
    if alike:
        raise SpecError(
            f"its keys are those of {' or '.join(alike)}, but its model is of another network",
            where=where,
            hint=_NAME_IT,
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


def candidates(values: MappingNode, *, of_any_model: bool = False) -> list[str]:
    """Names of the networks whose specs the keys fit best; the one that ``model_name`` names goes before the others.

    Args:
        values: of a spec.
        of_any_model: also where the section ``model`` says something that the network cannot mean by it.
    """
    fits = [_Fit(network, *_counts(values, schema_of(network))) for network in known_networks()]
    fitting = [
        fit
        for fit in fits
        if fit.known >= max(1, _KNOWN_PER_UNKNOWN * fit.unknown)
        and (of_any_model or not _has_other_model(values, schema_of(fit.network)))
    ]
    if not fitting:
        return []
    best = min((fit.unknown, -fit.known) for fit in fitting)
    names = [fit.network for fit in fitting if (fit.unknown, -fit.known) == best]
    said = stated_name(values)
    return [said] if said in names else names


def _has_other_model(values: MappingNode, schema: Schema) -> bool:
    """Whether the section ``model`` says something that this network cannot mean by it."""
    section = values.get("model")
    if section is None or not isinstance(section.value, MappingNode):
        return False
    return any(_is_of_other_model(f"model.{entry.key}", entry.value, schema) for entry in section.value.entries)


def _is_of_other_model(name: str, node: Node, schema: Schema) -> bool:
    choices = schema.choices_of_model(name)
    if not isinstance(node, Scalar):
        return bool(choices)
    if not isinstance(node.value, str) or node.value == MISSING or is_interpolated(node.value):
        return False
    return name in schema.sections or (bool(choices) and node.value not in choices)


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
        if schema.choices_of_model(name):
            continue  # which `_is_of_other_model` judges
        if name in schema.fields:
            yield True
        elif name in schema.sections and isinstance(entry.value, MappingNode):
            yield from _known(entry.value, schema, name)
        elif name in schema.sections and isinstance(entry.value, Scalar) and entry.value.value is not None:
            yield False  # a path, say, where this network has a section
        elif name not in schema.sections and schema.is_judged(name):
            yield from (False for _ in range(sum(1 for _ in scalars(entry.value)) or 1))
