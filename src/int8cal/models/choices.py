"""Operators that choose: which boxes stay (NonMaxSuppression), which rows come first (TopK), where a mask is set.

INT8 changes scores a little, and with them which rows are chosen, how many, and their order. Then no value behind the
choice has its counterpart in the other model, however good that is. So two models are compared by what goes into a
choice; and behind it, the second model goes on with what the first one chose.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from int8cal.models import extras
from int8cal.models.names import (
    computed_from,
    copied,
    free_inputs,
    node_reads,
    replace_values,
    tensor_names,
    unique_name,
)

_CHOOSERS = {"NonMaxSuppression": (0, 2), "TopK": (1, 1), "NonZero": (0, 1), "ArgMax": (0, 1)}
"""Operator → position of the output that holds the choice, and how many of the first inputs are chosen by."""
_ALSO = frozenset({"ArgMax"})  # the class of a box; alone it is a result, of which equal values are counted
_MOST_ALSO = 64
"""Of those in a model: each is followed through all of it. Where there are more, each is a result."""
_MASKS = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor", "Cast"})


@dataclass(frozen=True)
class Choice:
    """A node that chooses by what it computes of the images.

    Attributes:
        operator: of the node.
        output: the tensor of integers that says what was chosen.
        by: the float32 activations by which it chooses.
    """

    operator: str
    output: str
    by: tuple[str, ...]


def choices(model: Any, floats: Collection[str] = ()) -> list[Choice]:
    """The choices of a model, in the order of the graph; not those inside of nodes.

    Args:
        model: ``onnx.ModelProto``.
        floats: names of its float32 tensors, for `Choice.by`.
    """
    if not any(node.op_type in _CHOOSERS for node in model.graph.node):
        return []
    seeing = _computed_from_inputs(model)
    makers: dict[str, Any] = {}
    found = []
    for node in model.graph.node:
        makers.update((name, node) for name in node.output if name)
        position, count = _CHOOSERS.get(node.op_type, (len(node.output), 0))
        output = "".join(node.output[position : position + 1])
        if not node.domain and output in seeing:
            by = (name for read in node.input[:count] for name in _floats_of(read, makers, floats))
            found.append(Choice(node.op_type, output, tuple(dict.fromkeys(name for name in by if name in seeing))))
    first = [choice.output for choice in found if choice.operator not in _ALSO]
    if len(found) - len(first) > _MOST_ALSO:
        found = [choice for choice in found if choice.operator not in _ALSO]
    behind = computed_from(model.graph.node, first, by_shape=True)
    return [
        choice for choice in found if choice.operator not in _ALSO or _meets(model, choice.output, set(first), behind)
    ]


def _computed_from_inputs(model: Any) -> set[str]:
    return computed_from(model.graph.node, free_inputs(model.graph), by_shape=False)


def _meets(model: Any, tensor: str, made: set[str], behind: set[str]) -> bool:
    """Whether a choice goes into others, or is read along with what stands behind them."""
    mine = computed_from(model.graph.node, [tensor], by_shape=True)
    return any(
        not mine.isdisjoint(node_reads(node))
        and (not made.isdisjoint(node.output) or not behind.isdisjoint(set(node_reads(node)) - mine))
        for node in model.graph.node
    )


def of_choices_alone(model: Any, names: Collection[str]) -> set[str]:
    """The choices of these names, and what is computed of nothing else: numbers of rows, classes that are looked up."""
    if not names:
        return set()
    seeing, found = _computed_from_inputs(model), set(names)
    for node in model.graph.node:
        reads = [name for name in node_reads(node) if name in seeing]
        if found.issuperset(node.output) or not reads:
            continue
        if found.issuperset(reads):
            found.update(filter(None, node.output))
    return found


def without_classes(model: Any, floats: Collection[str]) -> set[str]:
    """Tensors whose largest value along an axis is no class.

    These are what stands behind a choice, for its rows are not images, what rows are chosen by, and sorted values.

    Args:
        model: ``onnx.ModelProto``.
        floats: names of its float32 tensors.
    """
    made = choices(model, floats)
    if not made:
        return set()
    behind = computed_from(model.graph.node, [choice.output for choice in made], by_shape=True)
    read = {name for node in model.graph.node for name in node_reads(node)}
    in_order = {node.output[0] for node in model.graph.node if node.op_type == "TopK"}
    return behind.union(in_order, *(choice.by for choice in made if choice.output in read))


def _floats_of(tensor: str, makers: dict[str, Any], floats: Collection[str]) -> list[str]:
    """The float32 activations that a tensor is, or that a mask compares; those before Q/DQ."""
    found, seen, waiting = [], set[str](), [tensor]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = makers.get(name)
        if node is not None and node.op_type == "DequantizeLinear" and node.input[0] in makers:
            waiting.append(makers[node.input[0]].input[0])
        elif name in floats:
            found.append(name)
        elif node is not None and node.op_type in _MASKS:
            waiting.extend(reversed(node.input))
    return found


def given_choices(model: Any, names: Collection[str]) -> Any:
    """A copy of a model in which choices are inputs.

    Args:
        model: ``onnx.ModelProto``.
        names: outputs of nodes that choose.
    """
    onnx = extras.onnx()
    copy = copied(model)
    taken = tensor_names(copy.graph)
    for node in copy.graph.node:
        for position, name in enumerate(node.output):
            if name in names:
                node.output[position] = unique_name(f"{name}_own", taken)
                copy.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    for field in (copy.graph.output, copy.graph.value_info):
        replace_values(field, [value for value in field if value.name not in names])
    return copy
