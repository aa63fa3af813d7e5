"""The keys of DeepStream's nvinfer that follow from how a tensorfile was made.

nvinfer computes ``net-scale-factor · (pixel - offset of the channel)`` and nothing else: one factor for all channels,
one offset per channel in the order of ``model-color-format``. An INT8 model that was calibrated with other numbers than
it is fed in DeepStream detects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from int8cal.errors import TensorFileError, UseError
from int8cal.tensorfile.arithmetic import stated_arithmetic

INT8_MODE = "1"
_LOOK = "int8cal verify FILE says what is wrong with it; make the file again"
_COLOUR_FORMATS = {"RGB": "0", "BGR": "1", "grey": "2"}


def nvinfer_keys(manifest: Mapping[str, Any] | None, image_shape: tuple[int, int, int]) -> dict[str, str]:
    """Keys for the ``[property]`` group of an nvinfer configuration.

    Args:
        manifest: the manifest of the tensorfile, see `int8cal.tensorfile.arithmetic.stated_arithmetic`.
        image_shape: (C, H, W) of the file's images.

    Returns:
        Key → value, in the order in which they are usually written.

    Raises:
        UseError: there is no manifest, it does not say the arithmetic or does not fit the file, or nvinfer cannot
            compute it.
    """
    if manifest is None:
        raise UseError(
            "the tensorfile has no manifest: how its values were computed is not known",
            hint="Make it with int8cal, or take net-scale-factor and offsets from the training.",
        )
    if manifest.get("image_shape") != list(image_shape):
        raise UseError("the manifest does not fit the file: it speaks of other images", hint=_LOOK)
    try:
        arithmetic = stated_arithmetic(manifest, image_shape[0])
    except TensorFileError as error:
        raise UseError(f"the manifest does not say how the values were computed: {error.message}", hint=_LOOK) from None
    if arithmetic is None or not arithmetic.channel_order:
        raise UseError("the manifest does not say how the values were computed", hint=_LOOK)
    if len(set(arithmetic.scale)) != 1:
        raise UseError(
            f"{arithmetic.name} divides each channel by another number, which nvinfer cannot do",
            hint="Put the normalisation into the model, or use the nvdspreprocess plug-in.",
        )
    keys = {"net-scale-factor": _number(arithmetic.scale[0])}
    if any(arithmetic.mean):
        keys["offsets"] = ";".join(_number(value) for value in _for_each(arithmetic.mean, image_shape[0]))
    keys["model-color-format"] = _COLOUR_FORMATS[arithmetic.channel_order]
    keys["infer-dims"] = ";".join(map(str, image_shape))
    keys["network-mode"] = INT8_MODE
    keys["int8-calib-file"] = "cal.bin"
    return keys


def _for_each(values: Sequence[float], channels: int) -> Sequence[float]:
    return values if len(values) == channels else [*values] * channels


def _number(value: float) -> str:
    return f"{value:.10g}"
