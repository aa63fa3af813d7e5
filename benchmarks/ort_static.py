"""The comparison: onnxruntime's own ``quantize_static`` with TensorRT's placement, on the same tensorfile.

python benchmarks/ort_static.py MODEL.onnx FILE OUT.onnx entropy|minmax
"""

from __future__ import annotations

import sys

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

from int8cal import TensorFile, readers

OPS = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add"]
METHODS = {"entropy": CalibrationMethod.Entropy, "minmax": CalibrationMethod.MinMax}


def main(model: str, tensor: str, out: str, method: str) -> None:
    """Quantise with onnxruntime alone; what it is told is what its documentation says for TensorRT."""
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    with TensorFile(tensor) as file:
        quantize_static(
            model,
            out,
            readers.ort(file, name),
            op_types_to_quantize=OPS,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "AddQDQPairToWeight": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": OPS,
            },
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
