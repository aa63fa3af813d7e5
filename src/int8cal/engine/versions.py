"""On what the bytes of a chunk depend, beside the plan and the images."""

from __future__ import annotations

import importlib
import platform
import zlib

from int8cal import __version__

_DECIDING_PACKAGES = {
    "h5py": "h5py",
    "imagecodecs": "imagecodecs",
    "isal": "isal",
    "numpy": "numpy",
    "pillow": "PIL",
    "simplejpeg": "simplejpeg",
}
"""Distribution → its module, whose version is at hand; reading the distribution's metadata takes 30 ms."""


def deciding_packages() -> dict[str, str]:
    """Version of every package that can change arrays or bytes."""
    return {name: importlib.import_module(module).__version__ for name, module in _DECIDING_PACKAGES.items()}


def encoder_versions() -> dict[str, str]:
    """What must be the same wherever chunks of one file are made: versions, and the processor's architecture.

    Python's zlib, which may be any that the system has, makes the chunks of the compression ``small``.
    """
    return {
        "int8cal": __version__,
        **deciding_packages(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "processor architecture": platform.machine(),
    }
