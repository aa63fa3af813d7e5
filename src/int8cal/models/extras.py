"""The packages of the extra ``quantize``, imported when they are needed and not before."""

from __future__ import annotations

from types import ModuleType

from int8cal.io.optional import need as need

FATAL = 4
"""ONNX Runtime's highest log severity."""


def onnx() -> ModuleType:
    """The ``onnx`` package with the parts that are used here loaded."""
    for part in (
        "checker",
        "defs",
        "external_data_helper",
        "helper",
        "numpy_helper",
        "shape_inference",
        "version_converter",
    ):
        need(f"onnx.{part}", "quantize")
    return need("onnx", "quantize")


def onnxruntime() -> ModuleType:
    """The ``onnxruntime`` package, its telemetry switched off, and its log silent but for what ends the process.

    It writes names from models to stderr as they are, which a terminal would obey; what fails comes as an exception.
    """
    runtime = need("onnxruntime", "quantize")
    runtime.disable_telemetry_events()
    runtime.set_default_logger_severity(FATAL)
    return runtime
