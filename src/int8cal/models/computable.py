"""The part of a model that can be computed here; the rest comes back untouched.

Exported detectors end in plug-ins of TensorRT, which run nowhere else, and some models hold loops, whose running time
nobody can tell. Neither is computed: the *computable part* is the graph up to them, a plain model of standard operators
whose outputs are the model's own, as far as they can be computed, and then the tensors that go into what cannot be.
Ranges, placement and agreement see nothing but that part. In the end `Computable.reattach` puts the rest behind it.

Plug-ins for which there is a kernel (`int8cal.models.kernels`) are the exception: their outputs are inputs of the
computable part, and whoever runs it computes them by the kernel.

What nodes choose by (`int8cal.models.choices`), and what they choose, are outputs of the computable part, too.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from int8cal.errors import UseError
from int8cal.io.safe_text import printable, shell_word
from int8cal.models import extras
from int8cal.models.binding import Constants, InputBinding, bind_input
from int8cal.models.choices import choices
from int8cal.models.graph import WEIGHTED_OPS, float_tensors, layers_within
from int8cal.models.kernels import Kernel, kernel_of
from int8cal.models.names import (
    computed_from,
    copied,
    fits,
    free_inputs,
    graphs_of,
    inner_graphs,
    node_reads,
    rename_tensors,
    replace_values,
    tensor_names,
    topological_sort,
    unique_name,
)
from int8cal.models.onnx_file import (
    CONTRIBUTED_DOMAIN,
    ORIGINAL_HINT,
    check_valid,
    foreign_operator,
    marked,
    unmarked,
)
from int8cal.models.opset import opset, raise_opset
from int8cal.models.stated import restore_outputs, without_stale_shapes
from int8cal.models.typed import untyped, with_types
from int8cal.types import Layout

_WEIGHTS_ARE_NO_INPUTS = 4  # the first version of the format in which they need not be listed as such


@dataclass(frozen=True)
class Foreign:
    """A node that is not part of what is quantised, and stays as it is.

    Attributes:
        name: of the node; that of its first output where it has none.
        operator: ``NMSDynamic_TRT``, ``mmdeploy::TRTBatchedNMS``, ``Loop``.
        computed: whether it is computed for calibration, so that what stands behind it is quantised all the same.
    """

    name: str
    operator: str
    computed: bool = False


@dataclass(frozen=True)
class Computable:
    """A model that was taken apart.

    Attributes:
        original: the whole model.
        model: the computable part: an ``onnx.ModelProto`` that ONNX Runtime runs, all shapes that can be told filled
            in. Its outputs are those of the model that can be computed, then what goes into the rest.
        foreign: the nodes that are not part of it, in the order of the graph.
        behind: names of the weighted nodes behind those that are not computed, or within them; they stay float.
        kernels: what computes the plug-ins whose outputs are inputs of ``model``.
        outside: names of all nodes that are not part of ``model``.
        watched: names of the outputs of ``model`` that neither are the model's own nor go into the rest.
    """

    original: Any
    model: Any
    foreign: tuple[Foreign, ...] = ()
    behind: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    outside: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()

    def exclusions(self, patterns: Sequence[str], prepared: Any) -> list[str]:
        """Names or shell patterns of nodes that stay float, without those that fit only nodes which do so anyway.

        Args:
            patterns: of the user.
            prepared: what `int8cal.models.graph.prepare` made of ``model``.

        Raises:
            UseError: one fits only nodes that are merged into others there.
        """
        found = []
        for pattern in patterns:
            fitting = [node for node in self.model.graph.node if fits(node.name, pattern)]
            if fitting and not any(fits(node.name, pattern) for node in prepared.graph.node):
                raise self._merged(fitting[0], prepared)
            if fitting or not any(fits(name, pattern) for name in self.outside):
                found.append(pattern)
        return found

    def _merged(self, node: Any, prepared: Any) -> UseError:
        """The error for a node that is part of another one once the model is prepared."""
        kept = {other.name for other in prepared.graph.node}
        source = next((other for other in self.model.graph.node if set(other.output) & set(node.input)), None)
        instead = f"Exclude that one: --exclude {shell_word(source.name)}" if source and source.name in kept else None
        return UseError(f"the node {printable(node.name)} is merged into the one before it", hint=instead)

    def check_layers(self) -> None:
        """See that not all layers are those that cannot be computed.

        Raises:
            UseError: they are.
        """
        constants = _constants(self.original.graph)
        if self.behind and not any(True for node in self.model.graph.node for _ in _layers_of(node, constants)):
            first = next(node for node in self.foreign if not node.computed)
            raise UseError(
                f"there is nothing to quantise: all layers with weights stand behind {first.operator} (node "
                f"{printable(first.name)}) or within it",
                hint="Export the model without that node.",
            )

    def unseen(self) -> list[str]:
        """Names of the float32 activations that are not computed here: behind plug-ins and in graphs inside of nodes.

        Where the type of one is not known, it counts as one.
        """
        if not self.foreign and not any(True for node in self.original.graph.node for _ in inner_graphs(node)):
            return []
        whole = extras.onnx().shape_inference.infer_shapes(marked(self.original))
        kinds = _kinds(whole.graph)
        rest = _rest(whole, {kernel.output for kernel in self.kernels})
        behind = {name for node in rest for name in node.output if name}
        found: dict[str, None] = {}
        for node in whole.graph.node:
            found.update((name, None) for name in node.output if name in behind and _may_be_float(kinds.get(name)))
            for attribute in node.attribute:
                for graph in graphs_of(attribute):
                    found.update(dict.fromkeys(_floats_within(graph, kinds, whole)))
        return list(found)

    def bind(
        self,
        shape: Sequence[int],
        *,
        name: str | None = None,
        layout: Layout | None = None,
        constants: Constants | None = None,
    ) -> InputBinding:
        """How images get into the computable part, see `int8cal.models.binding.bind_input`."""
        return bind_input(self.model, shape, name=name, layout=layout, constants=constants, kernels=self.kernels)

    def reattach(self, changed: Any) -> Any:
        """The whole model around a changed computable part: inputs, outputs and all that is not computed as before.

        Args:
            changed: made of ``model``, with inputs and outputs of the same names. May be of a higher operator set: what
                stands behind the plug-ins, and within loops, is converted to it. Is changed itself.

        Raises:
            UseError: what stands behind the plug-ins cannot be converted.
        """
        if not self.foreign:
            restore_outputs(changed.graph, self.original.graph)
            return changed
        computed = {kernel.output for kernel in self.kernels}
        whole = marked(raise_opset(marked(self.original, plug_ins_alone=True), opset(changed)))
        rest = [*_rest(whole, computed), *(node for node in whole.graph.node if computed.intersection(node.output))]
        _make_room(changed.graph, self.model.graph, whole.graph, rest)
        replace_values(changed.graph.input, [value for value in changed.graph.input if value.name not in computed])
        _bring_in(changed.graph, whole.graph, rest)
        originals = {name: node for node in self.original.graph.node for name in node.output if name}
        for node in rest:
            is_plug_in = foreign_operator(node) is not None and not any(inner_graphs(node))
            changed.graph.node.append(originals[_title_output(node)] if is_plug_in else unmarked(node))
        topological_sort(changed.graph)
        restore_outputs(changed.graph, self.original.graph)
        present = {entry.domain for entry in changed.opset_import}
        changed.opset_import.extend(entry for entry in self.original.opset_import if entry.domain not in present)
        check_valid(changed)
        return changed


def computable(model: Any) -> Computable:
    """Take a model apart.

    Args:
        model: as `int8cal.models.onnx_file.load_model` gave it; is kept, and not changed.

    Raises:
        UseError: the model has no outputs, or no part of it can be computed.
    """
    if not model.graph.output:
        raise UseError("the model has no outputs", hint="Export it with those that are wanted.")
    whole = extras.onnx().shape_inference.infer_shapes(without_stale_shapes(marked(model)), data_prop=True)
    _drop_unused(whole.graph)
    for flat in (False, True):
        kernels = _kernels(whole, flat=flat)
        part, rest = _front(whole, kernels)
        if not kernels or _fits(part):
            break
    else:
        kernels = ()
        part, rest = _front(whole, kernels)
    computed = {kernel.output for kernel in kernels}
    foreign = tuple(
        Foreign(_title(node), operator, not computed.isdisjoint(node.output))
        for node in whole.graph.node
        if (operator := foreign_operator(node)) is not None
    )
    if not part.graph.output:
        raise UseError(
            f"nothing of the model can be computed: all of it stands behind {foreign[0].operator} "
            f"(node {foreign[0].name!r})",
            hint=ORIGINAL_HINT
            if foreign[0].operator.startswith((CONTRIBUTED_DOMAIN, "com.ms."))
            else "Export the model without that node.",
        )
    if untyped(part):
        part = with_types(part, data_prop=True)
    watched = _watch_choices(part)
    constants = _constants(whole.graph)
    behind = tuple(name for node in rest for name in _layers_of(node, constants))
    outside = tuple(
        _title(node) for node in (*rest, *(n for n in whole.graph.node if not computed.isdisjoint(n.output)))
    )
    return Computable(model, part, foreign, behind, kernels, outside, watched)


def comparable(first: Computable, second: Computable) -> tuple[Any, Any]:
    """The computable parts of two models, without outputs for choices that only one of them has."""
    single = set(first.watched) ^ set(second.watched)
    pair = []
    for parts in (first, second):
        model = copied(parts.model)
        replace_values(model.graph.output, [value for value in parts.model.graph.output if value.name not in single])
        pair.append(model)
    return pair[0], pair[1]


def _watch_choices(part: Any) -> tuple[str, ...]:
    """Make outputs of what a computable part chooses, and of what it chooses by; their names."""
    known = {value.name: value for value in (*part.graph.value_info, *part.graph.input)}
    outputs = {output.name for output in part.graph.output}
    names = [name for choice in choices(part, float_tensors(part)) for name in (*choice.by, choice.output)]
    watched = [name for name in dict.fromkeys(names) if name not in outputs]
    part.graph.output.extend(known.get(name) or extras.onnx().ValueInfoProto(name=name) for name in watched)
    kept = [value for value in part.graph.value_info if value.name not in watched]
    replace_values(part.graph.value_info, kept)
    return tuple(watched)


def _kernels(whole: Any, *, flat: bool) -> tuple[Kernel, ...]:
    """What computes plug-ins, as far as all that goes into them can be computed from the inputs of the model."""
    seeing = free_inputs(whole.graph)
    behind: set[str] = set()
    found = []
    for node in whole.graph.node:
        reads = set(node_reads(node))
        kernel = None
        if foreign_operator(node) is not None and reads <= seeing:
            kernel = kernel_of(node, _title(node), flat=flat)
        if kernel is not None:
            found.append(kernel)
        elif foreign_operator(node) is not None or not behind.isdisjoint(reads):
            behind.update(node.output)
            continue
        if not seeing.isdisjoint(reads):
            seeing.update(filter(None, node.output))
    return tuple(found)


def _fits(part: Any) -> bool:
    """Whether what stands behind kernels takes what they give, by the number of its dimensions."""
    try:
        inferred = extras.onnx().shape_inference.infer_shapes(part, strict_mode=True, data_prop=True)
    except extras.LibraryError:
        return False
    part.CopyFrom(inferred)
    return True


def _constants(graph: Any) -> set[str]:
    names = {tensor.name for tensor in graph.initializer}
    return names.union(*(node.output for node in graph.node if node.op_type == "Constant"))


def _layers_of(node: Any, constants: Container[str]) -> Iterator[str]:
    """Names of the layers that a node is or holds."""
    if node.op_type in WEIGHTED_OPS and foreign_operator(node) is None:
        yield _title(node)
    yield from layers_within(node, constants)


def _kinds(graph: Any) -> dict[str, int]:
    """Tensor → its element type; 0 where that is not stated."""
    values = (*graph.value_info, *graph.input, *graph.output)
    kinds = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    return kinds | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def _may_be_float(kind: int | None) -> bool:
    return kind in (None, 0, extras.onnx().TensorProto.FLOAT)


def _floats_within(graph: Any, outside: dict[str, int], whole: Any) -> Iterator[str]:
    """Names of the activations of a graph inside a node of a model that are float32, or may be."""
    onnx = extras.onnx()
    known = outside | _kinds(graph)
    alone = onnx.ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import)
    alone.graph.CopyFrom(graph)
    for name in {name for node in graph.node for name in node_reads(node)} & outside.keys():
        if outside[name] and name not in _kinds(graph):
            alone.graph.input.append(onnx.helper.make_tensor_value_info(name, outside[name], None))
    known |= _kinds(onnx.shape_inference.infer_shapes(alone).graph)
    for node in graph.node:
        if node.op_type != "Constant":
            yield from (name for name in node.output if name and _may_be_float(known.get(name)))
        for attribute in node.attribute:
            for inner in graphs_of(attribute):
                yield from _floats_within(inner, known, whole)


def _title(node: Any) -> str:
    return str(node.name or _title_output(node) or node.op_type)


def _title_output(node: Any) -> str:
    return next(filter(None, node.output), "")


def _rest(model: Any, computed: Container[str]) -> list[Any]:
    """The nodes that are not computed, and all behind them, in the order of the graph.

    Args:
        model: see `int8cal.models.onnx_file.marked`.
        computed: the tensors that kernels compute.
    """
    behind: set[str] = set()
    rest = []
    for node in model.graph.node:
        foreign = foreign_operator(node) is not None and not any(name in computed for name in node.output)
        if foreign or not behind.isdisjoint(node_reads(node)):
            behind.update(filter(None, node.output))
            rest.append(node)
    return rest


def _front(whole: Any, kernels: Sequence[Kernel]) -> tuple[Any, list[Any]]:
    """The computable part of a model, and the nodes that are not in it, those of kernels apart."""
    part = copied(whole)
    computed = {kernel.output for kernel in kernels}
    rest = _rest(whole, computed)
    if rest or kernels:
        _cut(part, {name for node in rest for name in node.output}, [*_wanted(rest), *_inputs(kernels)], kernels)
    return part, rest


def _wanted(rest: Sequence[Any]) -> list[str]:
    return [name for node in rest for name in node_reads(node)]


def _inputs(kernels: Sequence[Kernel]) -> list[str]:
    return [name for kernel in kernels for name in kernel.inputs]


def _cut(model: Any, behind: set[str], wanted: Sequence[str], kernels: Sequence[Kernel]) -> None:
    """Leave the computable part of a model.

    Args:
        model: is changed.
        behind: the tensors that are not computed.
        wanted: those that are to be outputs, if they are computed from inputs of the model.
        kernels: what makes new inputs.
    """
    graph = model.graph
    known = {value.name: value for value in (*graph.value_info, *graph.input)}
    new = [_as_input(kernel, known) for kernel in kernels]
    gone = behind | {kernel.output for kernel in kernels}
    front = [node for node in graph.node if gone.isdisjoint(node.output)]
    inputs = free_inputs(graph) | {value.name for value in new}
    computed = computed_from(front, inputs, by_shape=True) - inputs
    outputs = {output.name: output for output in graph.output if output.name not in gone}
    for name in wanted:
        if name in computed and name not in outputs:
            outputs[name] = known.get(name) or extras.onnx().ValueInfoProto(name=name)
    replace_values(graph.output, outputs.values())
    replace_values(graph.node, front)
    weights = {tensor.name for tensor in graph.initializer}
    replace_values(graph.input, [*(value for value in graph.input if value.name not in weights), *new])
    model.ir_version = max(model.ir_version, _WEIGHTS_ARE_NO_INPUTS)
    replace_values(graph.value_info, [v for v in graph.value_info if v.name not in outputs and v.name not in gone])
    read = {name for node in front for name in node_reads(node)} | outputs.keys()
    replace_values(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])
    imports = {node.domain for node in front} | {"", "ai.onnx"}
    replace_values(model.opset_import, [entry for entry in model.opset_import if entry.domain in imports])


def _as_input(kernel: Kernel, known: Mapping[str, Any]) -> Any:
    """What a kernel gives, as an input of the computable part."""
    helper, dims = extras.onnx().helper, list(kernel.dims)
    features = known.get(kernel.inputs[0])
    if not kernel.chooses and features is not None and len(features.type.tensor_type.shape.dim) == 4:
        dims[-3] = features.type.tensor_type.shape.dim[1].dim_value or None
    return helper.make_tensor_value_info(kernel.output, extras.onnx().TensorProto.FLOAT, dims)


def _drop_unused(graph: Any) -> None:
    """Take out the constants that nothing reads: ONNX Runtime takes the square of their number in time.

    Where older exporters list them, they are no inputs either.
    """
    read = {name for node in graph.node for name in node_reads(node)} | {output.name for output in graph.output}
    unread = {tensor.name for tensor in graph.initializer} - read
    inputs = [value for value in graph.input if value.name not in unread]
    if len(inputs) < len(graph.input):
        replace_values(graph.input, inputs)
    kept = sum(tensor.name in read for tensor in graph.initializer)
    graph.initializer.sort(key=lambda tensor: tensor.name not in read)  # in place: weights are large
    del graph.initializer[kept:]


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
