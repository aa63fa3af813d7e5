"""The float part of an INT8 model in 16 bits: nodes that can be, between casts; inputs and outputs stay float32.

A node stays float32 where its operator has no float16 form, a constant of it lies beyond what float16 holds or is too
small for it, or what it reads or gives came near the largest float16 on the calibration images, or never got above what
float16 still resolves. So does an operator that squares its input, or takes its exponential, where that goes as far.

Scales of Q/DQ become float16, which operator set 19 allows, unless what INT8 holds by such a scale goes beyond float16:
then DequantizeLinear and all that reads it stay float32. No Cast ever stands between a DequantizeLinear and its reader,
for TensorRT would not see the INT8 layer any more: where readers are of both kinds, there are two of them. Choices and
comparisons are made in float32: in float16 many scores are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.models import extras
from int8cal.models.graph import float_tensors
from int8cal.models.names import (
    copied,
    inner_graphs,
    node_reads,
    replace_values,
    tensor_names,
    unique_name,
)
from int8cal.models.opset import opset
from int8cal.models.typed import with_types

OPSET = 19
LARGEST = 65504.0
_NEAR = LARGEST / 2  # other images may go further than those of calibration
_SMALLEST = 2.0**-18  # below, float16 has fewer than six bits
_SCALED = ("QuantizeLinear", "DequantizeLinear")
_STATES_TYPE = frozenset({"to", "dtype"})  # attributes that say the type of the output
_CHOOSES = frozenset({"TopK", "ArgMax", "ArgMin", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"})
_SQUARES = frozenset(
    {"ReduceL2", "LpNormalization", "LpPool", "GlobalLpPool", "InstanceNormalization", "LRN"}
    | {"GroupNormalization", "MeanVarianceNormalization"}
)
_EXPONENTIALS = frozenset({"Softplus", "Mish", "ReduceLogSumExp"})
_LARGEST_SQUARED = _NEAR**0.5
_LARGEST_EXPONENT = 10.0  # e to this power is near the limit


def to_half(model: Any, largest: Mapping[str, float], *, single_scales: bool = False) -> tuple[Any, tuple[str, ...]]:
    """A model whose float part is float16 as far as it can be.

    Args:
        model: INT8 model of operator set 19 or later, see `int8cal.models.qdq.insert_qdq`.
        largest: activation → largest magnitude on the calibration images; one that is missing stays float32.
        single_scales: leave Q/DQ, and what reads from it, in float32: integer kernels of ONNX Runtime take no other
            scales.

    Returns:
        The model, and the names of nodes that stay float32 although their operator has a float16 form.
    """
    half = copied(model)
    work = _Conversion(half, largest, single_scales=single_scales)
    nodes = []
    for node in half.graph.node:
        nodes += work.converted(node)
    replace_values(half.graph.node, nodes)
    del half.graph.value_info[:]
    used = {name for node in half.graph.node for name in node_reads(node)} | {item.name for item in half.graph.output}
    replace_values(half.graph.initializer, [item for item in half.graph.initializer if item.name in used])
    return half, tuple(work.out_of_range)


class _Conversion:
    def __init__(self, model: Any, largest: Mapping[str, float], *, single_scales: bool) -> None:
        onnx = extras.onnx()
        self._onnx = onnx
        self._graph = model.graph
        self._opset = opset(model)
        self._floats = float_tensors(with_types(model))
        self._constants = {item.name: item for item in model.graph.initializer}
        self._outputs = {value.name for value in model.graph.output}
        self._inside = {name for node in model.graph.node for graph in inner_graphs(node) for name in _reads(graph)}
        self._taken = tensor_names(model.graph)
        scaled = [node for node in model.graph.node if single_scales and node.op_type in _SCALED]
        self._single_scales = {name for node in scaled for name in (node.input[1], *node.output)}
        self._largest = largest
        quantizers = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        self._sources = {  # output of a DequantizeLinear → activation that was quantised
            node.output[0]: quantizers[node.input[0]]
            for node in model.graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in quantizers
        }
        self._half: dict[str, str] = {}  # float32 name → float16 twin
        self._single: dict[str, str] = {}  # the other way round
        self._is_half: set[str] = set()
        self._dequantized: dict[str, Any] = {}  # float16 output of a DequantizeLinear → the node as it was
        self._wide: set[str] = set()  # activations whose readers stay float32, too
        self.out_of_range: list[str] = []

    def converted(self, node: Any) -> list[Any]:
        """The node, with the casts before and behind it."""
        types = self._half_inputs(node)
        becomes_half = types is not None and self._in_range(node, types)
        before: list[Any] = []
        after: list[Any] = []
        if node.op_type == "DequantizeLinear":
            if becomes_half:
                self._dequantized[node.output[0]] = copied(node)
            else:
                self._wide.add(node.output[0])
        for position, name in enumerate(node.input):
            if name in self._floats and becomes_half and types is not None and types[position]:
                node.input[position] = self._as_half(name, before)
            elif name in self._is_half:
                node.input[position] = self._as_single(name, before)
        if becomes_half:
            for position, name in enumerate(node.output):
                if name not in self._floats:
                    continue
                if name in self._outputs:
                    inner = unique_name(f"{name}_fp16", self._taken)
                    node.output[position] = inner
                    self._half[name] = inner
                    after.append(self._cast_node(inner, name, self._onnx.TensorProto.FLOAT))
                else:
                    self._is_half.add(name)
        return [*before, node, *after]

    def _half_inputs(self, node: Any) -> list[bool] | None:
        """Which inputs are float16 in the operator's float16 form; None if it has none, or computes no floats."""
        if list(inner_graphs(node)) or node.domain not in ("", "ai.onnx") or node.op_type in _CHOOSES:
            return None
        if not any(name in self._floats for name in node.input) or not self._single_scales.isdisjoint(node.input):
            return None
        if any(item.name in _STATES_TYPE for item in node.attribute):
            return None
        schema = self._onnx.defs.get_schema(node.op_type, self._opset, node.domain)
        allowed = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}

        def has_form(formal: Any) -> bool:
            return "tensor(float16)" in allowed.get(formal.type_str, {formal.type_str})

        formals = [schema.inputs[min(at, len(schema.inputs) - 1)] for at in range(len(node.input))]
        outputs = [schema.outputs[min(at, len(schema.outputs) - 1)] for at in range(len(node.output))]
        if any(name in self._floats and not has_form(out) for name, out in zip(node.output, outputs, strict=True)):
            return None
        found = [has_form(formal) for formal in formals]
        first = node.input[0] if node.input else ""
        if first in self._floats and not found[0]:
            return None
        return found

    def _in_range(self, node: Any, types: list[bool]) -> bool:
        read = [name for name, is_half in zip(node.input, types, strict=True) if is_half and name in self._floats]
        fits = all(self._holds(self._values(name)) for name in read if name in self._constants)
        if not fits and node.op_type not in _SCALED:
            self._wide.update(node.output)  # x / (y + 1e-9) must not become a division by 0
        if node.op_type in _SCALED:
            scale = node.input[1]
            fits = fits and scale in self._constants and float(self._values(scale).min(initial=1.0)) >= _SMALLEST
            if node.op_type == "DequantizeLinear":
                fits = fits and self._largest_dequantized(node) <= LARGEST
            elif node.input[0] not in self._constants:
                fits = fits and self._is_small(node.input[0])
        else:
            within = self._limit(node)
            fits = fits and all(self._is_small(name, within) for name in read if name not in self._constants)
            for name in node.output:
                if name in self._floats:
                    fits = fits and self._resolves(name, _NEAR) and name not in self._inside
        if not fits:
            self.out_of_range.append(node.name)
        return fits

    def _is_small(self, name: str, within: float = _NEAR) -> bool:
        """Whether an activation is float16 already, or can be; and below a limit, if that is lower than usual."""
        if name in self._is_half and within == _NEAR:
            return True
        return name not in self._wide and self._resolves(self._sources.get(name, name), within)

    def _resolves(self, name: str, within: float) -> bool:
        """Whether the values of an activation are neither too large for float16 nor all too small."""
        peak = self._largest.get(name, np.inf)
        return peak == 0.0 or _SMALLEST <= peak < within

    @staticmethod
    def _limit(node: Any) -> float:
        """The largest input of a node for which what it computes on the way still fits into float16."""
        if node.op_type in _EXPONENTIALS:
            return _LARGEST_EXPONENT
        return _LARGEST_SQUARED if node.op_type in _SQUARES else _NEAR

    def _values(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self._onnx.numpy_helper.to_array(self._constants[name]))

    @staticmethod
    def _holds(values: npt.NDArray[Any]) -> bool:
        """Whether float16 holds constants: none is beyond it, and they are not all so small that it loses them."""
        peak = float(np.abs(values).max(initial=0.0))
        return peak == 0.0 or _SMALLEST <= peak <= LARGEST

    def _largest_dequantized(self, node: Any) -> float:
        """The largest magnitude that a DequantizeLinear can give once its scale is float16."""
        zero = self._values(node.input[2]) if len(node.input) > 2 and node.input[2] else np.int8(0)
        scale = self._values(node.input[1]).astype(np.float16).astype(np.float64)
        if node.input[0] in self._constants:
            values = self._values(node.input[0]).astype(np.float64)
        else:
            ends = np.iinfo(zero.dtype)
            values = np.array([ends.min, ends.max], np.float64).reshape(2, *[1] * scale.ndim)
        if scale.ndim and node.input[0] in self._constants:
            axis = next((int(item.i) for item in node.attribute if item.name == "axis"), 1)
            shape = [1] * values.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
        return float(np.abs((values - zero.astype(np.float64)) * scale).max(initial=0.0))

    def _as_single(self, name: str, before: list[Any]) -> str:
        """The float32 twin of a float16 tensor."""
        if name in self._dequantized and name not in self._single:
            twin = self._dequantized[name]
            self._single[name] = twin.output[0] = unique_name(f"{name}_fp32", self._taken)
            twin.name = f"{twin.name}/fp32"
            before.append(twin)
        return self._cast(name, self._single, self._onnx.TensorProto.FLOAT, before)

    def _as_half(self, name: str, before: list[Any]) -> str:
        if name in self._is_half:
            return name
        if name in self._constants and name not in self._half:
            values = self._onnx.numpy_helper.to_array(self._constants[name]).astype(np.float16)
            twin = unique_name(f"{name}_fp16", self._taken)
            self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, twin))
            self._half[name] = twin
        return self._cast(name, self._half, self._onnx.TensorProto.FLOAT16, before)

    def _cast(self, name: str, known: dict[str, str], kind: int, before: list[Any]) -> str:
        if name not in known:
            known[name] = unique_name(f"{name}_cast", self._taken)
            before.append(self._cast_node(name, known[name], kind))
        return known[name]

    def _cast_node(self, source: str, output: str, kind: int) -> Any:
        return self._onnx.helper.make_node("Cast", [source], [output], name=f"{output}/cast", to=kind)


def _reads(graph: Any) -> set[str]:
    return {name for node in graph.node for name in node.input}
