"""The keys of DeepStream's nvinfer that follow from how a tensorfile was made.

nvinfer computes ``net-scale-factor · (pixel - offset of the channel)`` and nothing else: one factor for all channels,
one offset per channel in the order of ``model-color-format``. An INT8 model that was calibrated with other numbers than
it is fed in DeepStream detects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from int8cal.errors import UseError

INT8_MODE = "1"
_COLOUR_FORMATS = {"RGB": "0", "BGR": "1", "grey": "2"}


def nvinfer_keys(manifest: Mapping[str, Any] | None, *, calibration_cache: str = "cal.bin") -> dict[str, str]:
    """Keys for the ``[property]`` group of an nvinfer configuration.

    Args:
        manifest: the manifest of the tensorfile; its arithmetic's options say ``channel_order``, and either
            ``value_range`` (pixels divided by 255) or ``mean`` (per channel, 0..255) and ``scale``.
        calibration_cache: name of the calibration cache.

    Returns:
        Key → value, in the order in which they are usually written.

    Raises:
        UseError: there is no manifest, it does not say the arithmetic, or nvinfer cannot compute it.
    """
    if manifest is None:
        raise UseError(
            "the tensorfile has no manifest: how its values were computed is not known",
            hint="make it with int8cal, or take net-scale-factor and offsets from the training",
        )
    try:
        arithmetic = manifest["arithmetic"]
        options = arithmetic["options"]
        colour = _COLOUR_FORMATS[options["channel_order"]]
        channels, height, width = (int(extent) for extent in manifest["image_shape"])
        name = str(arithmetic["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise UseError("the manifest does not say how the values were computed") from error
    scale, mean = _linear(name, options)
    keys = {"net-scale-factor": _number(scale)}
    if any(mean):
        keys["offsets"] = ";".join(_number(value) for value in mean)
    keys["model-color-format"] = colour
    keys["infer-dims"] = f"{channels};{height};{width}"
    keys["network-mode"] = INT8_MODE
    keys["int8-calib-file"] = calibration_cache
    return keys


def _linear(name: str, options: Mapping[str, Any]) -> tuple[float, Sequence[float]]:
    """(factor, offsets) with value = factor · (pixel - offset)."""
    scale: Any = options.get("scale")
    mean: Any = options.get("mean") or ()
    if scale is None and options.get("value_range") == [0.0, 1.0]:
        scale = 1.0 / 255.0
    if scale is None and name.endswith(".caffe"):
        scale = 1.0
    try:
        factors = [float(factor) for factor in (scale if isinstance(scale, list) else [scale])]
        offsets = [float(value) for value in mean]
    except (TypeError, ValueError) as error:
        raise UseError(f"how {name} scales pixels is not in the manifest") from error
    if len(set(factors)) != 1:
        raise UseError(
            f"{name} divides each channel by another number, which nvinfer cannot do",
            hint="put the normalisation into the model, or use the nvdspreprocess plug-in",
        )
    return factors[0], offsets


def _number(value: float) -> str:
    return f"{value:.10g}"
