"""Walking a graph: which names its tensors have, what a node reads, in which order nodes must stand."""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from int8cal.errors import UseError

_WILD = re.compile(r"[*?[]")
_SHAPE_ONLY = frozenset({"Shape", "Size"})
"""Operators that look at no value of their input."""


def tensor_names(graph: Any) -> set[str]:
    """Every name of a tensor in a graph and in the graphs inside its nodes."""
    names: set[str] = set()
    for part in all_graphs(graph):
        names.update(value.name for value in _values(part))
        names.update(name for node in part.node for name in (*node.input, *node.output))
    return names


def fits(name: str, pattern: str) -> bool:
    """Whether a name is this one, or fits it as a shell pattern. Names may hold brackets."""
    return name == pattern or fnmatchcase(name, pattern)


class Patterns:
    """Names and shell patterns, of which there may be as many as there are names to be looked up; see `fits`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._all = dict.fromkeys(patterns)
        self._wild = [pattern for pattern in self._all if _WILD.search(pattern)]

    def fit(self, name: str) -> bool:
        """Whether one of them fits a name."""
        return name in self._all or any(fnmatchcase(name, pattern) for pattern in self._wild)

    def idle(self, names: Collection[str]) -> list[str]:
        """Those that fit none of the names."""
        known = frozenset(names)
        return [one for one in self._all if one not in known and not any(fits(name, one) for name in known)]


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


def copied(message: Any) -> Any:
    """A copy of a model, a node, a tensor, or what else ONNX has as a message."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def replace_values(field: Any, values: Iterable[Any]) -> None:
    """Put copies of messages in place of what a repeated field holds; they may be of that field itself."""
    copies = [copied(value) for value in values]
    del field[:]
    field.extend(copies)


def all_graphs(graph: Any) -> Iterator[Any]:
    """A graph and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        yield from inner_graphs(node)


def graphs_of(attribute: Any) -> list[Any]:
    """The graphs that an attribute of a node holds."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def inner_graphs(node: Any) -> Iterator[Any]:
    """The graphs inside one node, and those inside of them."""
    for attribute in node.attribute:
        for inner in graphs_of(attribute):
            yield from all_graphs(inner)


def node_reads(node: Any) -> Iterator[str]:
    """Names of the tensors that a node reads, those that the graphs inside it take from outside among them."""
    yield from filter(None, node.input)
    inside = list(inner_graphs(node)) if node.attribute else ()
    if inside:
        own = {value.name for graph in inside for value in (*graph.input, *graph.initializer)}
        own.update(name for graph in inside for inner in graph.node for name in inner.output)
        read = (name for graph in inside for inner in graph.node for name in inner.input)
        outputs = (value.name for graph in inside for value in graph.output)
        yield from dict.fromkeys(name for name in (*read, *outputs) if name and name not in own)


def free_inputs(graph: Any) -> set[str]:
    """Names of the inputs of a graph that have no value of their own: old models list their weights as inputs, too."""
    return {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}


def computed_from(nodes: Iterable[Any], sources: Iterable[str], *, by_shape: bool) -> set[str]:
    """Names of the tensors that others have a part in, those others among them.

    Args:
        nodes: each behind those whose results it reads.
        sources: names of the others.
        by_shape: whether their shape alone is a part. It is for what must be computed at run time, and it is not for
            what depends on the pixels: anchors are made of the size of the image.
    """
    found = set(sources)
    for node in nodes:
        if (by_shape or node.op_type not in _SHAPE_ONLY) and not found.isdisjoint(node_reads(node)):
            found.update(filter(None, node.output))
    return found


def topological_sort(graph: Any) -> None:
    """Put the nodes of a graph into an order in which each stands behind those whose results it reads.

    Nodes keep the order that they have as far as it can be kept.

    Args:
        graph: is changed.

    Raises:
        UseError: nodes wait for each other in a circle.
    """
    nodes = list(graph.node)
    maker = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    waits = [{maker[name] for name in node_reads(node) if name in maker} for node in nodes]
    readers: dict[int, list[int]] = {}
    for number, makers in enumerate(waits):
        for one in makers:
            readers.setdefault(one, []).append(number)
    ready = [number for number, makers in enumerate(waits) if not makers]
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers.get(number, ()):
            waits[reader].discard(number)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        raise UseError("nodes of the model wait for each other in a circle")
    if order != sorted(order):
        replace_values(graph.node, [nodes[number] for number in order])


def _values(graph: Any) -> Iterator[Any]:
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
