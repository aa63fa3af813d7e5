"""The packages of the extra ``quantize``, imported when they are needed and not before."""

from __future__ import annotations

from types import ModuleType

from int8cal.extras import need as need


def onnx() -> ModuleType:
    """The ``onnx`` package with the parts that are used here loaded."""
    for part in ("checker", "external_data_helper", "helper", "numpy_helper", "shape_inference", "version_converter"):
        need(f"onnx.{part}", "quantize")
    return need("onnx", "quantize")


def onnxruntime() -> ModuleType:
    """The ``onnxruntime`` package, its telemetry switched off."""
    runtime = need("onnxruntime", "quantize")
    runtime.disable_telemetry_events()
    return runtime
