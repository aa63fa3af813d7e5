"""The part of a model that can be computed here; the rest comes back untouched.

Exported detectors end in plug-ins of TensorRT, which run nowhere else, and some models hold loops, whose running time
nobody can tell. Neither is computed: the *computable part* is the graph up to them, a plain model of standard operators
whose outputs are the model's own, as far as they can be computed, and then the tensors that go into what cannot be.
Ranges, placement and agreement see nothing but that part. In the end `Computable.reattach` puts the rest behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from int8cal.errors import UseError
from int8cal.models import extras
from int8cal.models.graph import WEIGHTED_OPS, opset, raise_opset
from int8cal.models.names import node_reads, rename_tensors, tensor_names, topological_sort, unique_name
from int8cal.models.onnx_file import check_valid, foreign_operator, marked
from int8cal.models.session import InputBinding, bind_input
from int8cal.types import Layout


@dataclass(frozen=True)
class Foreign:
    """A node that is not computed.

    Attributes:
        name: of the node; that of its first output where it has none.
        operator: ``NMSDynamic_TRT``, ``mmdeploy::TRTBatchedNMS``, ``Loop``.
    """

    name: str
    operator: str


@dataclass(frozen=True)
class Computable:
    """A model that was taken apart.

    Attributes:
        original: the whole model.
        model: the computable part: an ``onnx.ModelProto`` that ONNX Runtime runs, all shapes that can be told filled
            in. Its outputs are those of the model that can be computed, then what goes into the rest.
        foreign: the nodes that are not computed, in the order of the graph.
        behind: names of the weighted nodes behind them, which stay float.
    """

    original: Any
    model: Any
    foreign: tuple[Foreign, ...] = ()
    behind: tuple[str, ...] = ()

    def bind(self, shape: Sequence[int], *, name: str | None = None, layout: Layout | None = None) -> InputBinding:
        """How images get into the computable part, see `int8cal.models.session.bind_input`."""
        return bind_input(self.model, shape, name=name, layout=layout)

    def reattach(self, changed: Any) -> Any:
        """The whole model around a changed computable part: inputs, outputs and all that is not computed as before.

        Args:
            changed: made of ``model``, with inputs and outputs of the same names. May be of a higher operator set: what
                stands behind the plug-ins is converted to it. Is changed itself.

        Raises:
            UseError: what stands behind the plug-ins cannot be converted.
        """
        if not self.foreign:
            return changed
        whole = raise_opset(marked(self.original), opset(changed))
        rest = _rest(whole)
        _make_room(changed.graph, self.model.graph, whole.graph, rest)
        _bring_in(changed.graph, whole.graph, rest)
        originals = {name: node for node in self.original.graph.node for name in node.output if name}
        for node in rest:
            foreign = foreign_operator(node) is not None
            changed.graph.node.add().CopyFrom(originals[_title_output(node)] if foreign else node)
        topological_sort(changed.graph)
        _restore_outputs(changed.graph, self.original.graph)
        present = {entry.domain for entry in changed.opset_import}
        changed.opset_import.extend(entry for entry in self.original.opset_import if entry.domain not in present)
        check_valid(changed)
        return changed


def computable(model: Any) -> Computable:
    """Take a model apart.

    Args:
        model: as `int8cal.models.onnx_file.load_model` gave it; is kept, and not changed.

    Raises:
        UseError: no part of the model can be computed.
    """
    part = extras.onnx().shape_inference.infer_shapes(marked(model), data_prop=True)
    rest = _rest(part)
    foreign = tuple(
        Foreign(_title(node), operator) for node in rest if (operator := foreign_operator(node)) is not None
    )
    behind = tuple(_title(node) for node in rest if node.op_type in WEIGHTED_OPS and foreign_operator(node) is None)
    if rest:
        _cut(part, rest)
    if not part.graph.output:
        raise UseError(
            f"nothing of the model can be computed: all of it stands behind {foreign[0].operator} "
            f"(node {foreign[0].name!r})",
            hint="Export the model without that node.",
        )
    return Computable(model, part, foreign, behind)


def _title(node: Any) -> str:
    return str(node.name or _title_output(node) or node.op_type)


def _title_output(node: Any) -> str:
    return next(filter(None, node.output), "")


def _rest(model: Any) -> list[Any]:
    """The nodes that are not computed, and all behind them, in the order of the graph.

    Args:
        model: see `int8cal.models.onnx_file.marked`.
    """
    behind: set[str] = set()
    rest = []
    for node in model.graph.node:
        if foreign_operator(node) is not None or not behind.isdisjoint(node_reads(node)):
            behind.update(filter(None, node.output))
            rest.append(node)
    return rest


def _cut(model: Any, rest: Sequence[Any]) -> None:
    """Leave the computable part of a model."""
    graph = model.graph
    behind = {name for node in rest for name in node.output}
    wanted = dict.fromkeys(name for node in rest for name in node_reads(node))
    front = [node for node in graph.node if behind.isdisjoint(node.output)]
    seeing = _seeing(graph, front)
    given = [output for output in graph.output if output.name not in behind]
    known = {value.name: value for value in graph.value_info}
    names = {output.name for output in given}
    given += [
        known.get(name) or type(graph.output[0])(name=name) for name in wanted if name in seeing and name not in names
    ]
    _replace(graph.node, front)
    _replace(graph.output, given)
    names = {output.name for output in given}
    _replace(graph.value_info, [v for v in graph.value_info if v.name not in names and v.name not in behind])
    read = {name for node in front for name in node_reads(node)} | names
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])
    imports = {node.domain for node in front} | {"", "ai.onnx"}
    _replace(model.opset_import, [entry for entry in model.opset_import if entry.domain in imports])


def _seeing(graph: Any, nodes: Iterable[Any]) -> set[str]:
    """Names of the tensors that nodes compute from the inputs of a graph: no constants."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} - weights
    seeing = set(inputs)
    for node in nodes:
        if not seeing.isdisjoint(node_reads(node)):
            seeing.update(filter(None, node.output))
    return seeing - inputs


def _replace(field: Any, values: Iterable[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _make_room(changed: Any, part: Any, whole: Any, rest: Sequence[Any]) -> None:
    """Rename tensors and nodes of a changed part whose names others have that are about to come back."""
    names, own = tensor_names(whole), tensor_names(part)
    constants = {tensor.name: tensor for tensor in whole.initializer}
    read = {name for node in rest for name in node_reads(node)}
    clash = {
        tensor.name
        for tensor in changed.initializer
        if tensor.name in read and tensor.name in constants and tensor != constants[tensor.name]
    }
    present = tensor_names(changed)
    clash |= {name for name in present if name in names and name not in own}
    taken = names | present
    rename_tensors(changed, {name: unique_name(name, taken) for name in sorted(clash)})
    titles = {node.name for node in rest if node.name}
    taken = titles | {node.name for node in changed.node}
    for node in changed.node:
        if node.name in titles:
            node.name = unique_name(node.name, taken)


def _bring_in(changed: Any, whole: Any, rest: Sequence[Any]) -> None:
    """Add the constants that the rest reads, with the nodes that make them, as far as the changed part lacks them."""
    present = {value.name for value in (*changed.input, *changed.initializer)}
    present.update(name for node in (*changed.node, *rest) for name in node.output)
    constants = {tensor.name: tensor for tensor in whole.initializer}
    makers = {name: node for node in whole.node for name in node.output if name}
    missing = [name for node in rest for name in node_reads(node)]
    while missing:
        name = missing.pop()
        if name in present:
            continue
        present.add(name)
        if name in constants:
            changed.initializer.add().CopyFrom(constants[name])
        else:
            node = makers[name]
            changed.node.add().CopyFrom(node)
            present.update(node.output)
            missing.extend(node_reads(node))


def _restore_outputs(changed: Any, original: Any) -> None:
    """The outputs of the original in its order; those of the computable part with the shapes that were filled in."""
    filled = {output.name: output for output in changed.output}
    names = {output.name for output in original.output}
    changed.value_info.extend(output for output in changed.output if output.name not in names)
    _replace(changed.output, [filled.get(output.name, output) for output in original.output])
