"""Names of tensors in a graph: finding them all, renaming, and new ones that nobody has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def tensor_names(graph: Any) -> set[str]:
    """Every name of a tensor in a graph and in the graphs inside its nodes."""
    names: set[str] = set()
    for part in all_graphs(graph):
        names.update(value.name for value in _values(part))
        names.update(name for node in part.node for name in (*node.input, *node.output))
    return names


def unique_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, with dots behind it until nobody else has it; is added to ``taken``."""
    while wanted in taken:
        wanted += "."
    taken.add(wanted)
    return wanted


def rename_tensors(graph: Any, names: Mapping[str, str]) -> None:
    """Rename tensors everywhere in a graph and in the graphs inside its nodes, all at once.

    Args:
        graph: is changed.
        names: old name → new name.
    """
    for part in all_graphs(graph):
        for value in _values(part):
            value.name = names.get(value.name, value.name)
        for node in part.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]


def all_graphs(graph: Any) -> Iterator[Any]:
    """A graph and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from all_graphs(inner)


def _values(graph: Any) -> Iterator[Any]:
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
