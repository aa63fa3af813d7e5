"""Weights of nodes that become INT8: along which axis each is quantised, and a copy for each way of reading one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from int8cal.models.graph import WEIGHTED_OPS, refuse_infinite
from int8cal.models.names import all_graphs, tensor_names, unique_name

Axis = int | None


def separate_weights(model: Any, nodes: Sequence[Any]) -> dict[str, Axis]:
    """Give every way of reading a weight its own copy of it, and say along which axis it has its output channels.

    A weight may be shared by nodes whose output channels lie on different axes (Conv and ConvTranspose, MatMul and a
    transposed Gemm), or by a node that stays float: what is right for one is wrong for the other.

    Args:
        model: is changed.
        nodes: of ``model``, those that become INT8.

    Returns:
        Weight → axis of its scales; None for a weight without channels, which has one scale.

    Raises:
        UseError: a weight holds infinite or undefined values.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = [node for node in nodes if node.op_type in WEIGHTED_OPS]
    reads = Counter(_readings(model.graph))
    reads.subtract(node.input[1] for node in readers)
    taken = tensor_names(model.graph)
    axes: dict[str, Axis] = {}
    copies: dict[tuple[str, Axis], str] = {}
    for node in readers:
        name = node.input[1]
        axis = _channel_axis(node, weights[name])
        if (name, axis) not in copies:
            refuse_infinite(weights[name])
            is_only_way = name not in axes and not reads[name]
            copies[name, axis] = name if is_only_way else _copied(model.graph, weights[name], taken)
            axes[copies[name, axis]] = axis
        node.input[1] = copies[name, axis]
    return axes


def _channel_axis(node: Any, weight: Any) -> Axis:
    """The axis of a weight that numbers the output channels; None when it has none, or one set for each of a stack.

    A stack of matrices has other columns in each of its matrices, and ONNX Runtime cannot multiply it when each column
    has its own scale.
    """
    if node.op_type == "MatMul":
        return 1 if len(weight.dims) == 2 else None
    if node.op_type == "Gemm":
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def _readings(graph: Any) -> Iterator[str]:
    """Every tensor as often as it is read, by a node or as an output."""
    for part in all_graphs(graph):
        yield from (output.name for output in part.output)
        yield from (name for node in part.node for name in node.input)


def _copied(graph: Any, weight: Any, taken: set[str]) -> str:
    copy = graph.initializer.add()
    copy.CopyFrom(weight)
    copy.name = unique_name(f"{weight.name}_int8", taken)
    return str(copy.name)
