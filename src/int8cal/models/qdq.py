"""Insertion of QuantizeLinear/DequantizeLinear pairs where a placement wants them.

Nothing else of the model changes: each node keeps what it computes, tensors keep their names. (In front of depthwise
convolutions channels are scaled, which changes nothing, either: `int8cal.models.equalize`.) For TensorRT everything
is symmetric INT8 with zero-points of 0 and biases stay float. For ONNX Runtime activations are uint8, weights have 7
bits unless 8 are asked for (two products of 8 bits overflow 16 on x86 without VNNI), and biases are int32.
Weights have one scale for each output channel, see `int8cal.models.weights`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.models import extras
from int8cal.models.equalize import Peaks, equalize
from int8cal.models.names import copied, replace_values, tensor_names, unique_name
from int8cal.models.onnx_file import check_valid
from int8cal.models.placement import Placement
from int8cal.models.weights import Axis, separate_weights
from int8cal.types import LEAST_SCALE

_LEVELS = 127
_SEVEN_BITS = 63
_INT32 = float(2**31 - 1)
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Range:
    """The values of an activation that its INT8 form can hold.

    Attributes:
        amax: magnitude at which it saturates; its scale is 1 for a tensor that was never active, see `LEAST_SCALE`.
        low: the smallest value seen; only uint8 makes use of it.
        peaks: largest magnitude of each channel, for depthwise convolutions; see `int8cal.models.equalize`.
    """

    amax: float
    low: float = -np.inf
    peaks: Peaks | None = None


def insert_qdq(
    model: Any,
    placement: Placement,
    ranges: Mapping[str, Range],
    *,
    fold_weights: bool = False,
    full_range_weights: bool = False,
    bias_errors: Mapping[str, _Array] | None = None,
) -> Any:
    """The INT8 model: a new model with QuantizeLinear/DequantizeLinear pairs.

    Args:
        model: as `int8cal.models.graph.prepare` gave it.
        placement: see `int8cal.models.placement.place`.
        ranges: of every activation that the placement gives Q/DQ.
        fold_weights: store weights as INT8 with one DequantizeLinear (small files) instead of as float32 with a pair
            (the form that TensorRT's documentation asks for). ONNX Runtime's form is always folded.
        full_range_weights: for ONNX Runtime: weights of 8 bits.
        bias_errors: convolution → what is added to its bias, see `int8cal.models.bias`.

    Raises:
        UseError: a weight is not finite.
    """
    quantized, ranges = with_equal_channels(model, placement, ranges)
    layers = set(placement.layers)
    axes = separate_weights(quantized, [node for node in quantized.graph.node if node.name in layers])
    pairs = _Pairs(quantized.graph, unsigned=placement.unsigned)
    pairs.steps = weight_steps(placement, full_range_weights=full_range_weights)
    scales = _add_activations(quantized.graph, placement, ranges, pairs)
    chosen = [node for node in quantized.graph.node if node.name in layers]
    _correct_biases(chosen, bias_errors or {}, pairs)
    weight_scales = {name: _weight_scales(pairs.values(name), axis, pairs.steps) for name, axis in axes.items()}
    if pairs.unsigned:
        _add_biases(chosen, scales, weight_scales, pairs)
    _add_weights(chosen, axes, weight_scales, pairs, fold=fold_weights or pairs.unsigned)
    pairs.place()
    quantized.producer_name = "int8cal"
    quantized.producer_version = ""
    return quantized


def check_quantized(quantized: Any) -> None:
    """Hold an INT8 model to ONNX's full check.

    Raises:
        UseError: it does not pass.
    """
    try:
        check_valid(quantized)
    except UseError as error:
        raise UseError(
            f"the quantised model does not pass ONNX's own check: it {error.message}",
            hint="Export the float model to ONNX again with another opset, or exclude the node that is named.",
        ) from error


def feed_scales(model: Any, tensors: Container[str]) -> dict[str, str]:
    """Make the scales of a signed model's activations inputs of it, so that one session can be run with many.

    Args:
        model: as `insert_qdq` made it; is changed.
        tensors: of which activations.

    Returns:
        Activation → the input that takes its scale, a float32 scalar.
    """
    onnx, graph = extras.onnx(), model.graph
    pairs = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in tensors]
    names = {node.input[0]: node.input[1] for node in pairs}
    fed = set(names.values())
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in fed:
            del graph.initializer[place]
    graph.input.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, []) for name in names.values())
    return names


def with_equal_channels(
    model: Any, placement: Placement, ranges: Mapping[str, Range]
) -> tuple[Any, Mapping[str, Range]]:
    """A copy in which depthwise convolutions read channels of one range, and the ranges with those of new tensors."""
    copy = copied(model)
    peaks = {name: values.peaks for name, values in ranges.items() if values.peaks is not None}
    new = equalize(copy, placement.did.get("depthwise", ()), peaks)
    return copy, {**ranges, **{name: Range(amax) for name, amax in new.items()}}


class _Pairs:
    """New nodes and constants of a graph, put in when all are known.

    Attributes:
        unsigned: activations are uint8.
        steps: the largest value of a quantised weight.
    """

    def __init__(self, graph: Any, *, unsigned: bool) -> None:
        self.unsigned = unsigned
        self.steps = _LEVELS
        self._graph = graph
        self._taken = tensor_names(graph)
        self._nodes_taken = {node.name for node in graph.node}
        self._after: dict[str, list[Any]] = {}
        self._retyped: set[str] = set()
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def add_constant(self, name: str, values: _Array) -> str:
        tensor = extras.onnx().numpy_helper.from_array(values, unique_name(name, self._taken))
        self._graph.initializer.append(tensor)
        self._constants[tensor.name] = self._graph.initializer[-1]
        return str(tensor.name)

    def values(self, name: str) -> _Array:
        """Values of a constant."""
        return np.asarray(extras.onnx().numpy_helper.to_array(self._constants[name]))

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def replace_constant(self, name: str, values: _Array) -> None:
        self._constants[name].CopyFrom(extras.onnx().numpy_helper.from_array(values, name))
        self._retyped.add(name)

    def pair(self, tensor: str, scale: _Array, zero: _Array, axis: Axis = None) -> str:
        """A QuantizeLinear and a DequantizeLinear of a tensor; gives the output of the second."""
        names = [self.add_constant(f"{tensor}_scale", scale), self.add_constant(f"{tensor}_zero_point", zero)]
        return self.dequantize(self._node("QuantizeLinear", tensor, names, axis), names, tensor, axis)

    def dequantize(self, quantized: str, scale_and_zero: list[str], tensor: str, axis: Axis) -> str:
        """A DequantizeLinear alone."""
        return self._node("DequantizeLinear", tensor, scale_and_zero, axis, source=quantized)

    def _node(self, kind: str, tensor: str, constants: list[str], axis: Axis, source: str | None = None) -> str:
        output = unique_name(f"{tensor}_{kind}_Output", self._taken)
        node = extras.onnx().helper.make_node(
            kind,
            [source or tensor, *constants],
            [output],
            name=unique_name(f"{tensor}_{kind}", self._nodes_taken),
            **({} if axis is None else {"axis": axis}),
        )
        self._after.setdefault(tensor, []).append(node)
        return output

    def place(self) -> None:
        """Put the nodes in: those of constants and inputs first, the others behind the node whose output they read."""
        ordered = []
        for node in self._graph.node:
            ordered.append(node)
            for output in node.output:
                ordered.extend(self._after.pop(output, ()))
        first = [node for nodes in self._after.values() for node in nodes]
        replace_values(self._graph.node, [*first, *ordered])
        stated = [value for value in self._graph.value_info if value.name not in self._retyped]
        replace_values(self._graph.value_info, stated)


def _add_activations(
    graph: Any, placement: Placement, ranges: Mapping[str, Range], pairs: _Pairs
) -> dict[str, np.float32]:
    """Give activations their pairs; returns the scale that stands behind each input of a node that is INT8 now."""
    outputs: dict[str, str] = {}
    scales: dict[str, np.float32] = {}
    for node in graph.node:
        for position in placement.reads.get(node.name, ()):
            tensor = node.input[position]
            if tensor not in outputs:
                scale, zero = scale_and_zero(ranges[tensor], unsigned=pairs.unsigned)
                outputs[tensor] = pairs.pair(tensor, np.array(scale), np.array(zero))
                scales[outputs[tensor]] = scale
            node.input[position] = outputs[tensor]
    return scales


def scale_and_zero(values: Range, *, unsigned: bool = False) -> tuple[np.float32, np.int8 | np.uint8]:
    """Scale and zero-point of an activation."""
    return _unsigned(values) if unsigned else _signed(values.amax)


def weight_steps(placement: Placement, *, full_range_weights: bool) -> int:
    """The largest value of a quantised weight."""
    return _SEVEN_BITS if placement.unsigned and not full_range_weights else _LEVELS


def _signed(amax: float) -> tuple[np.float32, np.int8]:
    return np.float32(_or_one(np.float32(amax) / np.float32(_LEVELS))), np.int8(0)


def _unsigned(values: Range) -> tuple[np.float32, np.uint8]:
    low, high = min(0.0, max(values.low, -values.amax)), values.amax
    scale = np.float32(_or_one(np.float32((high - low) / 255)))
    return scale, np.uint8(round(min(-low / float(scale), 255.0)))


def _weight_scales(values: npt.NDArray[np.float32], axis: Axis, steps: int) -> npt.NDArray[np.float32]:
    """Scale of each output channel, or of all together: shape (channels,) or ()."""
    others = None if axis is None else tuple(other for other in range(values.ndim) if other != axis)
    amax = np.abs(values).max(axis=others, initial=0.0).astype(np.float32)
    return _or_one(amax / np.float32(steps))


def _or_one(scale: np.float32 | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The scale, and 1 where it is that of values which are all 0, or as good as that: see `LEAST_SCALE`."""
    return np.where(scale >= np.float32(LEAST_SCALE), scale, np.float32(1))


def in_steps(values: npt.NDArray[np.float32], axis: Axis, steps: int) -> tuple[npt.NDArray[np.int8], _Array]:
    """Quantised weights, and their scales in a shape that multiplies them."""
    scale = _weight_scales(values, axis, steps)
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
    return _rounded(values, scale.reshape(shape), steps), scale.reshape(shape)


def _rounded(values: _Array, scale: _Array, steps: int) -> npt.NDArray[np.int8]:
    return np.clip(np.rint(values / scale), -steps, steps).astype(np.int8)


def _correct_biases(layers: list[Any], errors: Mapping[str, _Array], pairs: _Pairs) -> None:
    """Add to the biases of convolutions what they are off by on average."""
    for node in layers:
        has_bias = len(node.input) > 2 and bool(node.input[2])
        if node.name in errors and (not has_bias or pairs.is_constant(node.input[2])):
            bias = pairs.values(node.input[2]) if has_bias else np.float32(0)
            name = pairs.add_constant(f"{node.name}_bias", (bias + errors[node.name]).astype(np.float32))
            node.input[:] = [*node.input[:2], name]


def _add_biases(
    layers: list[Any], scales: Mapping[str, np.float32], weight_scales: dict[str, _Array], pairs: _Pairs
) -> None:
    """Make constant biases int32, in steps of the products that they are added to.

    Where a bias does not fit into 32 bits, the steps of its channel's weights grow until it does.
    """
    biased = [node for node in layers if _has_plain_bias(node, pairs) and node.input[0] in scales]
    for node in biased:
        least = np.abs(pairs.values(node.input[2]).astype(np.float64)) / (_INT32 * float(scales[node.input[0]]))
        weight_scales[node.input[1]] = np.maximum(weight_scales[node.input[1]], least.astype(np.float32))
    for node in biased:
        scale = (scales[node.input[0]] * weight_scales[node.input[1]]).astype(np.float32)
        scale = np.where(scale > 0.0, scale, np.finfo(np.float32).tiny)
        bias = node.input[2]
        whole = np.clip(np.rint(pairs.values(bias) / scale.astype(np.float64)), -_INT32, _INT32).astype(np.int32)
        constant = pairs.add_constant(f"{bias}_int32", whole)
        names = [
            pairs.add_constant(f"{bias}_scale", scale),
            pairs.add_constant(f"{bias}_zero_point", np.zeros(scale.shape, np.int32)),
        ]
        node.input[2] = pairs.dequantize(constant, names, constant, 0)


def _has_plain_bias(node: Any, pairs: _Pairs) -> bool:
    """Whether a layer adds a constant vector as it is."""
    if len(node.input) < 3 or not pairs.is_constant(node.input[2]) or pairs.values(node.input[2]).ndim != 1:
        return False
    return node.op_type == "Conv" or all(
        item.f == 1.0 for item in node.attribute if item.name in ("alpha", "beta") and node.op_type == "Gemm"
    )


def _add_weights(
    layers: list[Any], axes: Mapping[str, Axis], scales: Mapping[str, _Array], pairs: _Pairs, *, fold: bool
) -> None:
    outputs: dict[str, str] = {}
    for node in layers:
        weight = node.input[1]
        if weight not in outputs:
            outputs[weight] = _weight_pair(weight, axes[weight], scales[weight], pairs, fold=fold)
        node.input[1] = outputs[weight]


def _weight_pair(weight: str, axis: Axis, scale: _Array, pairs: _Pairs, *, fold: bool) -> str:
    zero = np.zeros(scale.shape, np.int8)
    if not fold:
        return pairs.pair(weight, scale, zero, axis)
    values = pairs.values(weight)
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
    whole = _rounded(values, scale.reshape(shape), pairs.steps)
    pairs.replace_constant(weight, whole)
    names = [pairs.add_constant(f"{weight}_scale", scale), pairs.add_constant(f"{weight}_zero_point", zero)]
    return pairs.dequantize(weight, names, weight, axis)
