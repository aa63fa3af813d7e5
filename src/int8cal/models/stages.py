"""Running a graph in which kernels compute some tensors: it is cut in stages, one up to each kernel's results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from int8cal.models import extras
from int8cal.models.kernels import Kernel
from int8cal.models.names import node_reads


@dataclass(frozen=True)
class Stage:
    """Part of a graph, to be run behind the ones before.

    Attributes:
        kernel: what is computed first; None for nothing.
        model: the part; None where nothing else is wanted of it.
        inputs: names of the tensors that the part is fed.
        outputs: names of the tensors that it gives.
    """

    kernel: Kernel | None
    model: Any | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def stages(model: Any, tensors: Sequence[str], kernels: Sequence[Kernel]) -> list[Stage]:
    """Cut a graph into parts that can be computed one after the other.

    Args:
        model: ``onnx.ModelProto`` whose inputs are images, constants, and the outputs of ``kernels``.
        tensors: what is wanted; inputs among them are passed over.
        kernels: in an order in which each needs nothing of those behind it.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    wanted = [name for name in dict.fromkeys(tensors) if name not in inputs]
    if not kernels:
        return [Stage(None, _with_outputs(model, wanted), tuple(inputs), tuple(wanted))]
    number = {kernel.output: position for position, kernel in enumerate(kernels, start=1)}
    level = {name: number.get(name, 0) for name in inputs}  # the stage that gives a tensor; constants are in all
    nodes, maker = list(model.graph.node), {}
    for place, node in enumerate(nodes):
        levels = [level[name] for name in node_reads(node) if name in level]
        for name in filter(None, node.output):
            maker[name] = place
            if levels:
                level[name] = max(levels)
    needed = {*wanted, *number.keys() & set(tensors)}
    found: list[Stage] = []
    for position in range(len(kernels), -1, -1):
        outputs = sorted(name for name in needed if name not in inputs and level.get(name, 0) == position)
        places: set[int] = set()
        fed: dict[str, None] = {}
        missing = list(outputs)
        while missing:
            name = missing.pop()
            if name in inputs or level.get(name, position) < position:
                fed[name] = None
            elif name in maker and maker[name] not in places:
                places.add(maker[name])
                missing += node_reads(nodes[maker[name]])
        needed.update(fed)
        kernel = kernels[position - 1] if position and kernels[position - 1].output in needed else None
        needed.update(kernel.inputs if kernel else ())
        if kernel or outputs:
            part = _part(model, [nodes[place] for place in sorted(places)], list(fed), outputs) if outputs else None
            found.append(Stage(kernel, part, tuple(fed), tuple(outputs)))
    return found[::-1]


def _part(model: Any, nodes: Iterable[Any], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A model of some of the nodes, with these inputs, and these outputs besides those that are outputs anyway."""
    onnx = extras.onnx()
    nodes = list(nodes)
    made = {name for node in nodes for name in node.output}
    weights = {name for node in nodes for name in node_reads(node)} | set(outputs)
    typed = {value.name: value for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "part"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in weights)
    for name in inputs:
        value = typed.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        part.graph.input.add().CopyFrom(value)
    own = [value for value in model.graph.output if value.name in made]
    part.graph.output.extend(own)
    names = {value.name for value in own}
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in names)
    return part


def _with_outputs(model: Any, tensors: Sequence[str]) -> Any:
    onnx = extras.onnx()
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    present = {output.name for output in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    return extended
