"""Q/DQ placement by ONNX Runtime's quantiser, with the settings that TensorRT's explicit quantisation wants.

Symmetric INT8 with zero-points of 0, per-channel weights (see `int8cal.models.weights`), float biases, and Q/DQ on
inputs only: TensorRT fuses what follows a weighted layer into it, which a Q/DQ on the layer's output would prevent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from int8cal.errors import UseError
from int8cal.models import extras
from int8cal.models.graph import WEIGHTED_OPS
from int8cal.models.names import rename_tensors, tensor_names, unique_name
from int8cal.models.onnx_file import check_valid
from int8cal.models.weights import Axis, separate_weights

_OPS = [*WEIGHTED_OPS, "Add"]


def insert_qdq(model: Any, nodes: Sequence[Any], amax: Mapping[str, float], *, fold_weights: bool = False) -> Any:
    """The INT8 model: a new model with QuantizeLinear/DequantizeLinear pairs.

    Args:
        model: as `int8cal.models.graph.prepare` gave it.
        nodes: see `int8cal.models.graph.nodes_to_quantize`.
        amax: activation → magnitude at which it saturates; the scale becomes ``amax / 127``. A tensor that was never
            active (0.0) gets the scale 1.
        fold_weights: store weights as INT8 with one DequantizeLinear (small files) instead of as float32 with a pair
            (the form that TensorRT's documentation asks for).

    Raises:
        UseError: the result does not pass ONNX's full check.
    """
    onnx = extras.onnx()
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    chosen = {node.name for node in nodes}
    axes = separate_weights(prepared, [node for node in prepared.graph.node if node.name in chosen])
    aliases = _aliases(prepared.graph, {*amax, *axes})
    rename_tensors(prepared.graph, aliases)
    outputs = _hide_outputs(prepared.graph, {aliases.get(name, name) for name in amax})
    quantized = _quantized(
        prepared,
        sorted(chosen),
        {aliases.get(name, name): magnitude for name, magnitude in amax.items()},
        {aliases.get(name, name): axis for name, axis in axes.items()},
        fold_weights=fold_weights,
    )
    _show_outputs(quantized.graph, outputs)
    _undo(quantized.graph, aliases)
    quantized.producer_name = "int8cal"
    quantized.producer_version = ""
    try:
        check_valid(quantized)
    except UseError as error:
        raise UseError(
            f"the quantised model does not pass ONNX's own check: it {error.message}",
            hint="Export the float model to ONNX again with another opset, or exclude the node that is named.",
        ) from error
    return quantized


def _quantized(
    model: Any, nodes: Sequence[str], amax: Mapping[str, float], axes: Mapping[str, Axis], *, fold_weights: bool
) -> Any:
    quantization = extras.need("onnxruntime.quantization", "quantize")
    before = _what_nodes_do(model.graph)
    biases = _hide_biases(model.graph, set(nodes))
    ranges = {name: _symmetric_range(quantization, magnitude) for name, magnitude in amax.items()}
    quantizer = quantization.QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=quantization.QuantType.QInt8,
        activation_qType=quantization.QuantType.QInt8,
        tensors_range=quantization.TensorsData(quantization.CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=_OPS,
        extra_options={
            "ActivationSymmetric": True,
            "AddQDQPairToWeight": not fold_weights,
            "OpTypesToExcludeOutputQuantization": _OPS,
            "QuantizeBias": False,
            "TensorQuantOverrides": {name: [{} if axis is None else {"axis": axis}] for name, axis in axes.items()},
            "WeightSymmetric": True,
        },
    )
    quantizer.quantize_model()
    _show_biases(quantizer.model.model.graph, *biases)
    quantizer.model.topological_sort()
    _check_unchanged(quantizer.model.model.graph, before)
    return quantizer.model.model


def _hide_biases(graph: Any, nodes: set[str]) -> tuple[dict[str, str], list[Any]]:
    """Take the biases of nodes away for the time being; gives each node's, and the constants among them.

    The quantiser would do to a float bias what belongs to a quantised one: set the ``beta`` of a Gemm to 1, copy what
    nodes share, coarsen weights, and log a warning (with names from the model) where a bias is computed.
    """
    readers = [node for node in graph.node if node.name in nodes and len(node.input) > 2]
    biases = {node.name: node.input[2] for node in readers}
    for node in readers:
        del node.input[2:]
    hidden = set(biases.values())
    constants = []
    for tensor in graph.initializer:
        if tensor.name in hidden:
            constants.append(type(tensor)())
            constants[-1].CopyFrom(tensor)
    return biases, constants


def _show_biases(graph: Any, biases: Mapping[str, str], constants: Sequence[Any]) -> None:
    for node in graph.node:
        if node.name in biases:
            node.input.append(biases[node.name])
    present = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in constants if tensor.name not in present)


def _what_nodes_do(graph: Any) -> dict[str, bytes]:
    """Node → all that placement must not change: everything but the inputs."""
    found = {}
    for node in graph.node:
        copy = type(node)()
        copy.CopyFrom(node)
        del copy.input[:]
        found[node.name] = copy.SerializeToString(deterministic=True)
    return found


def _check_unchanged(graph: Any, before: Mapping[str, bytes]) -> None:
    """Placement may insert nodes and give others new inputs; anything else would be another model.

    Raises:
        UseError: a node is gone, or does something else.
    """
    after = _what_nodes_do(graph)
    for name, what in before.items():
        if after.get(name) != what:
            raise UseError(
                f"ONNX Runtime's quantiser changed what node {name!r} computes; the INT8 model would be another one",
                hint="Leave the node in float: --exclude NODE.",
            )


def _aliases(graph: Any, quantized: set[str]) -> dict[str, str]:
    """Other names for the tensors whose names the quantiser could make itself, of a quantised one's name and ``_…``."""
    names = tensor_names(graph)
    taken = set(names)
    return {
        name: unique_name(f"int8cal.{number}", taken)
        for number, name in enumerate(sorted(names))
        if any(name[:end] in quantized for end, letter in enumerate(name) if letter == "_")
    }


def _undo(graph: Any, aliases: Mapping[str, str]) -> None:
    """Give tensors with an alias their names back; what the quantiser named so in the meantime makes room."""
    names = tensor_names(graph)
    taken = names | set(aliases)
    makes_room = {name: unique_name(name, taken) for name in sorted(names.intersection(aliases))}
    rename_tensors(graph, makes_room | {alias: name for name, alias in aliases.items()})


def _hide_outputs(graph: Any, quantized: set[str]) -> list[Any]:
    """Make quantised tensors no outputs for the time being; gives all outputs.

    The quantiser would round an output that is also the input of a quantised node. It is to stay what the float layer
    gives; and one that is an input of the model cannot be computed at all.
    """
    outputs = list(graph.output)
    graph.value_info.extend(output for output in outputs if output.name in quantized)
    kept = [output for output in outputs if output.name not in quantized]
    del graph.output[:]
    graph.output.extend(kept)
    return outputs


def _show_outputs(graph: Any, outputs: Sequence[Any]) -> None:
    names = {output.name for output in outputs}
    values = [value for value in graph.value_info if value.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(values)
    del graph.output[:]
    graph.output.extend(outputs)


def _symmetric_range(quantization: Any, amax: float) -> Any:
    return quantization.TensorData(lowest=np.array(-amax, np.float32), highest=np.array(amax, np.float32))
