"""One of the tools that ``models.py`` compares with, run by the Python of its environment: it imports nothing of ours.

python benchmarks/models_peers.py TOOL METHOD MODEL.onnx IMAGES.npz OUT.onnx
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx

OPS = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add"]


def quantize_static(method: str, model: str, name: str, images: Any, out: str) -> None:
    """``static`` on arrays."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> Any:
            image = next(self._images, None)
            return None if image is None else {name: image[None]}

    static(method, model, Reader(), out)


def static(method: str, model: str, reader: Any, out: str) -> None:
    """ONNX Runtime's own, told what its documentation says for TensorRT."""
    import onnxruntime.quantization as ort

    methods = {
        "minmax": ort.CalibrationMethod.MinMax,
        "percentile": ort.CalibrationMethod.Percentile,
        "entropy": ort.CalibrationMethod.Entropy,
    }
    ort.quantize_static(
        model,
        out,
        reader,
        op_types_to_quantize=OPS,
        per_channel=True,
        activation_type=ort.QuantType.QInt8,
        weight_type=ort.QuantType.QInt8,
        calibrate_method=methods[method],
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": OPS,
        },
    )


def modelopt(method: str, model: str, name: str, images: Any, out: str) -> None:
    """With its defaults, but for the float part, which stays float32 as that of all others."""
    from modelopt.onnx.quantization import quantize

    quantize(
        model,
        quantize_mode="int8",
        calibration_data={name: images},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=out,
    )


def nncf(method: str, model: str, name: str, images: Any, out: str) -> None:
    """With its defaults, for models in ONNX."""
    import nncf as tool

    data = tool.Dataset(list(images), lambda image: {name: image[None]})
    preset = {"performance": tool.QuantizationPreset.PERFORMANCE, "mixed": tool.QuantizationPreset.MIXED}[method]
    onnx.save(tool.quantize(onnx.load(model), data, preset=preset, subset_size=len(images)), out)


def main(tool: str, method: str, model: str, images: str, out: str) -> None:
    """Quantise a model."""
    with np.load(images) as file:
        ((name, values),) = file.items()
    {"quantize_static": quantize_static, "modelopt": modelopt, "nncf": nncf}[tool](method, model, name, values, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
