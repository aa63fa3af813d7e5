"""What happens to a model before its ranges are measured, and which of its tensors INT8 concerns."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from int8cal.errors import UseError
from int8cal.io.signals import cleaned_up
from int8cal.io.space import require_file_size, require_free_space
from int8cal.models import extras
from int8cal.models.names import (
    all_graphs,
    computed_from,
    copied,
    inner_graphs,
    replace_values,
    unique_name,
)
from int8cal.models.opset import raise_opset
from int8cal.models.session import open_session
from int8cal.models.typed import with_types

_MIN_IR_VERSION = 7  # what opset 13 goes with; below 4 weights had to be inputs
_MORE_BYTES = 1 << 20
"""What ONNX Runtime may add to a model that it writes."""

WEIGHTED_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})
_LOW_PRECISION_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"})


def prepare(model: Any) -> Any:
    """A copy of the model as the quantiser wants it; its outputs are those of the original up to rounding.

    Opset raised to 13 if it is lower, BatchNormalization folded into the convolution before it, and so whatever else
    ONNX Runtime's basic optimisations merge or leave out (constant factors and terms, Pad, Identity, Dropout …);
    constants computed, every node named, all shapes inferred. Names of tensors and nodes that remain are kept.

    Args:
        model: a float ``onnx.ModelProto`` (see `int8cal.models.onnx_file.load_model`).

    Raises:
        UseError: the model is quantised already, or cannot be converted.
    """
    if is_quantised(model):
        raise UseError("the model is quantised already", hint="Give the float model.")
    folded = _fold(raise_opset(_with_constant_weights(model)))
    _name_nodes(folded.graph)
    return with_types(folded)


def is_quantised(model: Any) -> bool:
    """Whether a model computes with integers, or is told to by Q/DQ."""
    return any(node.op_type in _LOW_PRECISION_OPS for graph in all_graphs(model.graph) for node in graph.node)


def in_float32(model: Any) -> Any:
    """The model itself, or a copy in float32 of one that holds float16 or bfloat16 values.

    Weights, constants, inputs, outputs and casts are float32 there; what they hold is the same, and nothing between is
    rounded to 16 bits any more.

    Args:
        model: ``onnx.ModelProto``. Operators outside the standard are left as they are.

    Raises:
        UseError: its layers have weights of another type.
    """
    onnx = extras.onnx()
    half, float32 = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16), onnx.TensorProto.FLOAT
    copy = copied(model)
    changed = False
    for graph in all_graphs(copy.graph):
        tensors = list(graph.initializer)
        for node in graph.node:
            standard = onnx.defs.has(node.op_type, node.domain)
            for attribute in node.attribute:
                tensors += [attribute.t] if attribute.HasField("t") and standard else []
                if attribute.name in _TYPE_ATTRIBUTES and attribute.i in half and standard:
                    attribute.i, changed = float32, True
        for tensor in tensors:
            if tensor.data_type in half:
                values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
                changed = True
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in half:
                value.type.tensor_type.elem_type, changed = float32, True
    _check_weights(copy)
    require_finite_weights(copy)
    return copy if changed else model


def _check_weights(model: Any) -> None:
    """See that there are float32 weights, if there are constant weights at all."""
    types = extras.onnx().TensorProto
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = {
        kinds[name]
        for node in model.graph.node
        if node.op_type in WEIGHTED_OPS
        for name in node.input[1:2]
        if name in kinds
    }
    if found and types.FLOAT not in found:
        names = ", ".join(sorted(types.DataType.Name(kind).lower() for kind in found))
        raise UseError(f"the weights of the model are {names}", hint="Export the model in float32 or float16.")


def require_finite_weights(model: Any) -> None:
    """See that the weights and biases of the layers are finite: what they make of an image is no fault of the image.

    Raises:
        UseError: some are NaN or infinite.
    """
    types = extras.onnx().TensorProto
    read = {name for node in model.graph.node if node.op_type in WEIGHTED_OPS for name in node.input[1:]}
    floats = (types.FLOAT, types.FLOAT16, types.BFLOAT16)
    for tensor in model.graph.initializer:
        if tensor.name in read and tensor.data_type in floats:
            refuse_infinite(tensor)


def refuse_infinite(weight: Any) -> None:
    """Raise `UseError` where a weight (``onnx.TensorProto``) is not finite throughout."""
    if not np.isfinite(extras.onnx().numpy_helper.to_array(weight)).all():
        raise UseError(
            f"weight {weight.name!r} holds infinite or undefined values (inf, NaN)",
            hint="The float model is damaged: export it again.",
        )


def _with_constant_weights(model: Any) -> Any:
    """A copy whose weights are not inputs: older exporters list them there, which makes them variable."""
    copy = copied(model)
    weights = {initializer.name for initializer in copy.graph.initializer}
    replace_values(copy.graph.input, [value for value in copy.graph.input if value.name not in weights])
    copy.ir_version = max(copy.ir_version, _MIN_IR_VERSION)
    return copy


def _fold(model: Any) -> Any:
    """ONNX Runtime's basic optimisations: they stay within standard operators and keep what the model computes."""
    runtime, onnx = extras.onnxruntime(), extras.onnx()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    needed = model.ByteSize() + _MORE_BYTES
    require_free_space(
        tempfile.gettempdir(),
        needed,
        hint="Free some space there, or have TMPDIR name another folder: ONNX Runtime writes the model to it.",
    )
    folder = tempfile.TemporaryDirectory(prefix="int8cal-")
    with folder, cleaned_up(folder.cleanup):
        options.optimized_model_filepath = str(Path(folder.name, "folded.onnx"))
        # MatMul + Add stays as it is, so that nodes keep the names which the user may exclude.
        try:
            open_session(model, options, disabled_optimizers=["MatMulAddFusion"])
        except extras.LibraryError as error:  # which does not say that it could not write
            require_file_size(folder.name, needed, cause=error)
            raise
        folded = onnx.load_model(options.optimized_model_filepath)
    used = {node.domain for node in folded.graph.node} | {""}
    replace_values(folded.opset_import, [entry for entry in folded.opset_import if entry.domain in used])
    return folded


def _name_nodes(graph: Any) -> None:
    taken = {node.name for node in graph.node if node.name}
    for position, node in enumerate(graph.node):
        if not node.name:
            node.name = unique_name(f"{node.op_type}_{position}", taken)


def float_tensors(model: Any) -> set[str]:
    """Names of all float32 tensors."""
    float32 = extras.onnx().TensorProto.FLOAT
    graph = model.graph
    activations = {
        value.name
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type == float32
    }
    return activations | {initializer.name for initializer in graph.initializer if initializer.data_type == float32}


def all_activations(model: Any) -> list[str]:
    """Names of every float32 activation of a model that was prepared, its input first: what our caches list."""
    constants = {initializer.name for initializer in model.graph.initializer}
    produced = [name for node in model.graph.node for name in node.output]
    names = dict.fromkeys([*(value.name for value in model.graph.input), *produced])
    floats = float_tensors(model)
    return [name for name in names if name in floats and name not in constants]


def lost_activations(original: Any, prepared: Any) -> list[str]:
    """Names of the float32 activations of a model that `prepare` merged into others, or left out as needless."""
    inferred = with_types(_with_constant_weights(original))
    computed = computed_from(inferred.graph.node, (value.name for value in inferred.graph.input), by_shape=True)
    kept = set(all_activations(prepared))
    return [name for name in all_activations(inferred) if name in computed and name not in kept]


def layers_within(node: Any, constants: Container[str]) -> Iterator[str]:
    """Names of the convolutions and matrix products with constant weights in the graphs inside a node.

    Args:
        node: ``onnx.NodeProto``.
        constants: names of the constants outside of it.
    """
    inside = list(inner_graphs(node))
    own = {tensor.name for graph in inside for tensor in graph.initializer}
    own.update(name for graph in inside for one in graph.node if one.op_type == "Constant" for name in one.output)
    for graph in inside:
        for one in graph.node:
            if one.op_type in WEIGHTED_OPS and any(name in own or name in constants for name in one.input[:2]):
                yield one.name or one.output[0]


def weighted_outputs(model: Any) -> list[str]:
    """Outputs of convolutions and matrix products, in the order of the graph: the layers of a comparison."""
    return [node.output[0] for node in model.graph.node if node.op_type in WEIGHTED_OPS]
