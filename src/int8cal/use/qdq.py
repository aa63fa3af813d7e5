"""Q/DQ placement by ONNX Runtime's quantiser, with the settings that TensorRT's explicit quantisation wants.

Symmetric INT8 with zero-points of 0, per-channel weights (Conv axis 0, ConvTranspose axis 1, Gemm by ``transB``, MatMul
axis 1), float biases, and Q/DQ on inputs only: TensorRT fuses what follows a weighted layer into it, which a Q/DQ on
the layer's output would prevent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from int8cal.errors import UseError
from int8cal.use import extras
from int8cal.use.graph import WEIGHTED_OPS

_OPS = [*WEIGHTED_OPS, "Add"]


def insert_qdq(model: Any, nodes: Sequence[Any], amax: Mapping[str, float], *, fold_weights: bool = False) -> Any:
    """The INT8 model: a new model with QuantizeLinear/DequantizeLinear pairs.

    Args:
        model: as `int8cal.use.graph.prepare` gave it.
        nodes: see `int8cal.use.graph.nodes_to_quantize`.
        amax: activation → magnitude at which it saturates; the scale becomes ``amax / 127``. A tensor that was never
            active (0.0) gets the scale 1.
        fold_weights: store weights as INT8 with one DequantizeLinear (small files) instead of as float32 with a pair
            (the form that TensorRT's documentation asks for).

    Raises:
        UseError: the result does not pass ONNX's full check.
    """
    onnx, quantization = extras.onnx(), extras.need("onnxruntime.quantization", "quantize")
    ranges = {name: _symmetric_range(quantization, magnitude) for name, magnitude in amax.items()}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    quantizer = quantization.QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=quantization.QuantType.QInt8,
        activation_qType=quantization.QuantType.QInt8,
        tensors_range=quantization.TensorsData(quantization.CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[node.name for node in nodes],
        nodes_to_exclude=[],
        op_types_to_quantize=_OPS,
        extra_options={
            "ActivationSymmetric": True,
            "AddQDQPairToWeight": not fold_weights,
            "OpTypesToExcludeOutputQuantization": _OPS,
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
            "QuantizeBias": False,
            "WeightSymmetric": True,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    quantized.producer_name = "int8cal"
    quantized.producer_version = ""
    try:
        onnx.checker.check_model(quantized, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UseError(f"the quantised model does not pass ONNX's own check: {reason}") from error
    return quantized


def _symmetric_range(quantization: Any, amax: float) -> Any:
    return quantization.TensorData(lowest=np.array(-amax, np.float32), highest=np.array(amax, np.float32))
