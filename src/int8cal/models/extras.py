"""The packages of the extra ``quantize``: imported when they are needed; what they raise is an error of the model.

Whatever a library raises on the bytes of a model is a fault of the model, for which there is one place: `fault_of`.
The functions of the ``onnx`` package pass through it by themselves; ONNX Runtime's sessions do in
`int8cal.models.session`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from int8cal.errors import Int8calError, UseError
from int8cal.guard.libraries import told
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.optional import need as need

FATAL = 4
"""ONNX Runtime's highest log severity."""


class LibraryError(UseError):
    """A library refuses a model, or fails on it.

    Attributes:
        said: class and first line of what it raised.
    """

    def __init__(self, message: str, said: str, hint: str) -> None:
        super().__init__(f"{message}: {said}", hint=hint)
        self.said = said


@contextmanager
def fault_of(message: str, hint: str) -> Iterator[None]:
    """Make whatever a library raises a fault of the model; but where the system lacks something.

    Args:
        message: what went wrong; the library's class and first words follow.
        hint: what to do.

    Raises:
        LibraryError: in place of any exception that is none of ours.
    """
    try:
        yield
    except Int8calError:
        raise
    except Exception as error:
        raise_if_lacking(error)
        raise LibraryError(message, told(error), hint) from error


class _Guarded:
    """A module whose functions raise no errors but ours; classes and constants are as they are."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, ModuleType):
            value = _Guarded(value)
        elif callable(value) and not isinstance(value, type):
            value = _guarded(value, f"{self._module.__name__}.{name}")
        setattr(self, name, value)
        return value


def _guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with fault_of(f"{name} fails on the model", "Export the float model to ONNX again."):
            return function(*args, **options)

    return call


_onnx: _Guarded | None = None


def onnx() -> Any:
    """The ``onnx`` package with the parts that are used here loaded; its functions raise `LibraryError`."""
    global _onnx
    package = need("onnx", "quantize")
    if _onnx is None:
        parts = ("checker", "defs", "external_data_helper", "helper", "numpy_helper", "shape_inference")
        for part in (*parts, "version_converter"):
            need(f"onnx.{part}", "quantize")
        _onnx = _Guarded(package)
    return _onnx


def onnxruntime() -> ModuleType:
    """The ``onnxruntime`` package, its telemetry switched off, and its log silent but for what ends the process.

    It writes names from models to stderr as they are, which a terminal would obey; what fails comes as an exception.
    Its telemetry begins with the import, and keeps an identity and a database in the user's cache folder; only the
    environment stops that.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    runtime = need("onnxruntime", "quantize")
    runtime.disable_telemetry_events()
    runtime.set_default_logger_severity(FATAL)
    return runtime
