"""Optional dependencies, imported when they are needed and not before."""

from __future__ import annotations

import importlib
from types import ModuleType

from int8cal.errors import UnavailableError


def need(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: dotted name, e.g. ``onnxruntime.quantization``.
        extra: the extra of int8cal that installs it.

    Raises:
        UnavailableError: it is not installed; the hint is the pip line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(
            f"the Python package {module.partition('.')[0]!r} is needed and cannot be imported ({error})",
            hint=f"pip install 'int8cal[{extra}]'",
        ) from error
