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
from int8cal.models.names import node_reads, tensor_names, unique_name

_CHOOSERS = {"NonMaxSuppression": (0, 2), "TopK": (1, 1), "NonZero": (0, 1)}
"""Operator → position of the output that holds the choice, and how many of the first inputs are chosen by."""
_SHAPE_ONLY = frozenset({"Shape", "Size"})
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
    constants = {tensor.name for tensor in model.graph.initializer}
    seeing = {value.name for value in model.graph.input} - constants
    makers: dict[str, Any] = {}
    found = []
    for node in model.graph.node:
        makers.update((name, node) for name in node.output if name)
        if node.op_type in _SHAPE_ONLY or seeing.isdisjoint(node_reads(node)):
            continue
        seeing.update(filter(None, node.output))
        position, count = _CHOOSERS.get(node.op_type, (len(node.output), 0))
        if not node.domain and node.output[position : position + 1] not in ([], [""]):
            by = (name for read in node.input[:count] for name in _floats_of(read, makers, floats))
            chosen_by = tuple(dict.fromkeys(name for name in by if name in seeing))
            found.append(Choice(node.op_type, node.output[position], chosen_by))
    return found


def without_classes(model: Any, floats: Collection[str]) -> set[str]:
    """Tensors whose largest value along an axis is no class.

    These are what stands behind a choice, for its rows are not images, and what rows are chosen by.

    Args:
        model: ``onnx.ModelProto``.
        floats: names of its float32 tensors.
    """
    made = choices(model, floats)
    behind = {choice.output for choice in made}
    read = set()
    for node in model.graph.node:
        reads = behind.intersection(node_reads(node))
        if reads:
            read |= reads
            behind.update(filter(None, node.output))
    return behind.union(*(choice.by for choice in made if choice.output in read))


def _floats_of(tensor: str, makers: dict[str, Any], floats: Collection[str]) -> list[str]:
    """The float32 activations that a tensor is, or that a mask compares; those before Q/DQ."""
    node = makers.get(tensor)
    if node is not None and node.op_type == "DequantizeLinear" and node.input[0] in makers:
        return _floats_of(makers[node.input[0]].input[0], makers, floats)
    if tensor in floats:
        return [tensor]
    if node is None or node.op_type not in _MASKS:
        return []
    return [name for read in node.input for name in _floats_of(read, makers, floats)]


def given_choices(model: Any, names: Collection[str]) -> Any:
    """A copy of a model in which choices are inputs.

    Args:
        model: ``onnx.ModelProto``.
        names: outputs of nodes that choose.
    """
    onnx = extras.onnx()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    taken = tensor_names(copy.graph)
    for node in copy.graph.node:
        for position, name in enumerate(node.output):
            if name in names:
                node.output[position] = unique_name(f"{name}_own", taken)
                copy.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    for field in (copy.graph.output, copy.graph.value_info):
        kept = [type(value).FromString(value.SerializeToString()) for value in field if value.name not in names]
        del field[:]
        field.extend(kept)
    return copy
