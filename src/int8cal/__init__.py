"""INT8 calibration data for NVIDIA TAO models, bit for bit as NVIDIA's own tool makes it."""

__version__ = "0.1.0"
