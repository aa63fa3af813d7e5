"""On what the bytes of a chunk depend, beside the plan and the images."""

from __future__ import annotations

import platform
from importlib.metadata import version

from int8cal import __version__

_DECIDING_PACKAGES = ("h5py", "imagecodecs", "isal", "numpy", "pillow", "simplejpeg")


def deciding_packages() -> dict[str, str]:
    """Version of every package that can change arrays or bytes."""
    return {name: version(name) for name in _DECIDING_PACKAGES}


def encoder_versions() -> dict[str, str]:
    """What must be the same wherever chunks of one file are made: versions, and the processor's architecture."""
    return {"int8cal": __version__, **deciding_packages(), "processor architecture": platform.machine()}
