"""The keys of DeepStream's nvinfer that follow from how a tensorfile was made.

nvinfer computes ``net-scale-factor · (pixel - offset of the channel)`` and nothing else: one factor for all channels,
one offset per channel in the order of ``model-color-format``. It stretches a frame to the size of the network, or
scales it to fit and fills the rest with black. An INT8 model that was calibrated with other numbers than it is fed in
DeepStream detects nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from int8cal.errors import TensorFileError, UseError
from int8cal.io.file_kinds import FileKind
from int8cal.tensorfile.arithmetic import StatedArithmetic, stated_arithmetic
from int8cal.tensorfile.findings import Finding
from int8cal.types import Layout

INT8_MODE = "1"
_LOOK = "int8cal verify FILE says what is wrong with it; make the file again"
_COLOUR_FORMATS = {"RGB": "0", "BGR": "1", "grey": "2"}


def nvinfer_keys(
    manifest: Mapping[str, Any] | None, image_shape: tuple[int, int, int], layout: Layout = "nchw"
) -> dict[str, str]:
    """Keys for the ``[property]`` group of an nvinfer configuration.

    Args:
        manifest: the manifest of the tensorfile, see `int8cal.tensorfile.arithmetic.stated_arithmetic`.
        image_shape: (C, H, W) of the file's images.
        layout: of the model's input.

    Returns:
        Key → value, in the order in which they are usually written.

    Raises:
        UseError: there is no manifest, it does not say the arithmetic or does not fit the file, or nvinfer cannot
            compute it.
    """
    arithmetic, letterbox = _computed(manifest, image_shape)
    keys = {"net-scale-factor": _number(arithmetic.scale[0])}
    if any(arithmetic.mean):
        keys["offsets"] = ";".join(_number(value) for value in _for_each(arithmetic.mean, image_shape[0]))
    keys["model-color-format"] = _COLOUR_FORMATS[arithmetic.channel_order]
    keys["infer-dims"] = ";".join(map(str, image_shape))
    if layout == "nhwc":
        keys["network-input-order"] = "1"
    if letterbox:
        keys |= {"maintain-aspect-ratio": "1", "symmetric-padding": "1" if letterbox.centred else "0"}
    keys["network-mode"] = INT8_MODE
    keys["int8-calib-file"] = "cal.bin"
    return keys


def other_padding(manifest: Mapping[str, Any] | None, image_shape: tuple[int, int, int]) -> Iterator[Finding]:
    """Whether images are padded with anything else than the black of nvinfer.

    Args:
        manifest: see `nvinfer_keys`.
        image_shape: see `nvinfer_keys`.

    Raises:
        UseError: see `nvinfer_keys`.
    """
    _, letterbox = _computed(manifest, image_shape)
    if letterbox and any(letterbox.levels):
        levels = ", ".join(map(_number, letterbox.levels))
        yield Finding(
            "warning",
            "deepstream-padding",
            f"nvinfer pads with black (0), and the images were padded with {levels}",
            "Calibrate with --pad 0, as DeepStream feeds the model, and measure the accuracy of the task there.",
        )


class _Letterbox(NamedTuple):
    """Where an image that was scaled to fit lies, and the levels around it."""

    centred: bool
    levels: Sequence[float]


def _computed(
    manifest: Mapping[str, Any] | None, image_shape: tuple[int, int, int]
) -> tuple[StatedArithmetic, _Letterbox | None]:
    """What nvinfer is to compute.

    Raises:
        UseError: see `nvinfer_keys`.
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
    return arithmetic, _letterbox(manifest["arithmetic"]["options"], arithmetic)


def _letterbox(options: Mapping[str, Any], arithmetic: StatedArithmetic) -> _Letterbox | None:
    """How images were padded to keep their aspect; None where they were not."""
    if options.get("fit") == "inside":  # networks that do so pad on the right and below, with values of 0
        return _Letterbox(False, arithmetic.mean)
    stated = options.get("preprocessing")
    if not isinstance(stated, Mapping) or stated.get("resize") != "letterbox":
        return None
    pad = stated.get("pad")
    if not isinstance(pad, int) or not 0 <= pad <= 255:
        raise UseError("the manifest does not say how the images were padded", hint=_LOOK)
    return _Letterbox(stated.get("anchor") == "centre", (pad,))


def configuration(
    manifest: Mapping[str, Any] | None,
    image_shape: tuple[int, int, int],
    *,
    model: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    beside: str | os.PathLike[str],
    layout: Layout = "nchw",
) -> str:
    """A configuration file for nvinfer: the float model, the cache, and the keys of `nvinfer_keys`.

    What the images cannot tell – the parser of the outputs, its library, the labels – stands there as comments.

    Args:
        manifest: see `nvinfer_keys`.
        image_shape: see `nvinfer_keys`.
        model: the float model: with a cache TensorRT quantises it itself, and takes no Q/DQ model.
        cache: the calibration cache that belongs to it.
        beside: the configuration file; nvinfer takes paths as relative to it.
        layout: see `nvinfer_keys`.

    Raises:
        UseError: see `nvinfer_keys`.
    """
    folder = os.path.dirname(os.path.abspath(beside))
    keys = {"onnx-file": os.path.relpath(model, folder)} | nvinfer_keys(manifest, image_shape, layout)
    keys["int8-calib-file"] = os.path.relpath(cache, folder)
    if any(not path.isprintable() for path in (keys["onnx-file"], keys["int8-calib-file"])):
        raise UseError(
            "the name of the model or the cache cannot be written into a configuration", hint="Give it another name."
        )
    remarks = "".join(f"# {found.message}.\n" for found in other_padding(manifest, image_shape))
    return _headed(_GROUP + remarks + "".join(f"{key}={value}\n" for key, value in keys.items()) + _REST)


def _headed(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{_FIRST_LINE}\n# By this int8cal tells whether the lines below were edited: {digest}\n{text}"


def _is_as_written(path: str) -> bool:
    with open(path, "rb") as file:
        text = file.read(_MOST_BYTES).decode(errors="replace")
    return text == _headed(text.split("\n", 2)[-1])


CONFIGURATION = FileKind("a configuration as int8cal wrote it (edited ones are kept)", _is_as_written)
_MOST_BYTES = 1 << 16  # two paths are the most of it

_FIRST_LINE = "# For DeepStream's nvinfer, by int8cal. The cache is valid for the TensorRT release of its header only."
_GROUP = """[property]
gie-unique-id=1
"""
_REST = """
# What int8cal cannot know:
# network-type=0
# num-detected-classes=
# labelfile-path=labels.txt
# parse-bbox-func-name=
# custom-lib-path=
# model-engine-file=
# cluster-mode=2
"""


def _for_each(values: Sequence[float], channels: int) -> Sequence[float]:
    return values if len(values) == channels else [*values] * channels


def _number(value: float) -> str:
    return f"{value:.10g}"
