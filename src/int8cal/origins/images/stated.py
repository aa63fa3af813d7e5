"""A preprocessing as it is stated: by a preset, by options or a YAML file, or by a preset and some other numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from int8cal.errors import UsageError
from int8cal.origins.images.preprocessing import (
    ANCHORS,
    INTERPOLATIONS,
    LIBRARIES,
    ORDERS,
    RESIZES,
    ROUNDINGS,
    Preprocessing,
    scale_factor,
)
from int8cal.types import Size

_NEEDED = ("size", "resize", "scale")
_ONLY_WITH: Mapping[str, tuple[str, ...]] = {
    "interpolation": ("stretch", "letterbox", "short_side"),
    "short_side": ("short_side",),
    "pad": ("letterbox",),
    "anchor": ("letterbox",),
    "rounding": ("letterbox",),
}
"""Keys that have an effect with some values of ``resize`` only."""


@dataclass(frozen=True)
class Preset:
    """A preprocessing by the name of those who trained with it.

    Attributes:
        preprocessing: the numbers.
        source: library, function and version whose arrays it equals, bit for bit.
    """

    preprocessing: Preprocessing
    source: str


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "scale": "1/255"}
_SQUARE = Size(224, 224)

PRESETS: Mapping[str, Preset] = {
    "imagenet": Preset(
        Preprocessing(_SQUARE, "short_side", short_side=256, preset="imagenet", **_IMAGENET),  # type: ignore[arg-type]
        "torchvision 0.29.1, transforms.Resize(256), CenterCrop(224), ToTensor, Normalize",
    ),
    "clip": Preset(
        Preprocessing(
            _SQUARE,
            "short_side",
            "1/255",
            "bicubic",
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            preset="clip",
        ),
        "torchvision 0.29.1, the transforms of OpenAI's CLIP on the RGB image",
    ),
    "ultralytics": Preset(
        Preprocessing(Size(640, 640), "letterbox", "1/255", pad=114, library="opencv", exif=True, preset="ultralytics"),
        "ultralytics 8.4.190, data.augment.LetterBox(640, auto=False), BGR to RGB, /255; OpenCV 5.0",
    ),
    "yolox": Preset(
        Preprocessing(
            Size(640, 640),
            "letterbox",
            "1",
            pad=114,
            anchor="top_left",
            rounding="down",
            order="bgr",
            library="opencv",
            exif=True,
            preset="yolox",
        ),
        "YOLOX 0.3.0, data.data_augment.preproc; OpenCV 5.0",
    ),
    "tf": Preset(
        Preprocessing(_SQUARE, "stretch", "1/127.5", "nearest", mean=(1.0,), preset="tf"),
        "Keras 3.15.1, utils.load_img, applications preprocess_input(mode='tf')",
    ),
    "caffe": Preset(
        Preprocessing(_SQUARE, "stretch", "1", "nearest", order="bgr", mean=(103.939, 116.779, 123.68), preset="caffe"),
        "Keras 3.15.1, utils.load_img, applications preprocess_input(mode='caffe')",
    ),
}


def stated(
    preset: str | None = None, numbers: Mapping[str, Any] | None = None, *, where: str | None = None
) -> Preprocessing:
    """A preprocessing from a preset, from numbers, or from a preset with some numbers of its own.

    Args:
        preset: one of `PRESETS`.
        numbers: keys of ``preprocess.yaml`` with their values; those that are None do not count.
        where: the file that they stand in, for messages.

    Raises:
        UsageError: the preset is unknown, a key is unknown or has another type, or the numbers do not suffice.
    """
    given = {name: value for name, value in (numbers or {}).items() if value is not None}
    try:
        values = {name: _converted(name, value) for name, value in given.items()}
        if isinstance(values.get("resize"), tuple):
            values["resize"], values["short_side"] = values["resize"]
        if preset is not None:
            if not isinstance(preset, str):  # a file may hold anything
                _converted("preset", preset)
            if preset not in PRESETS:
                near = difflib.get_close_matches(preset, PRESETS, n=1)
                if re.fullmatch(r"yolo[-_]?v?(5|8|9|10|11|12).*|yolo", preset.lower()):
                    near = ["ultralytics"]
                meant = f"Did you mean {near[0]}? " if near else ""
                raise UsageError(f"there is no preset {preset!r}", hint=f"{meant}Use one of {', '.join(PRESETS)}.")
            return _changed(preset, values)
        if missing := [name for name in _NEEDED if name not in values]:
            raise UsageError(
                f"the preprocessing does not say {' or '.join(missing)}",
                hint="Give --preset NAME, or --size HxW --resize stretch --scale 1/255 and what else the model was "
                "trained with.",
            )
        _refuse_without_effect(values, values["resize"])
        return Preprocessing(**values)
    except UsageError as error:
        error.where = error.where or where
        raise


def _changed(preset: str, values: dict[str, Any]) -> Preprocessing:
    """A preset with some numbers in place of its own. Its mean and std turn with the order of the channels.

    Raises:
        UsageError: the numbers do not go together.
    """
    base = PRESETS[preset].preprocessing
    resize, order = values.get("resize", base.resize), values.get("order", base.order)
    _refuse_without_effect(values, resize)
    changes = {name: getattr(Preprocessing, name) for name, resizes in _ONLY_WITH.items() if resize not in resizes}
    if "size" in values and base.short_side and resize == "short_side":
        # the same part of the image is cut out: of 342 pixels for Inception's 299
        changes["short_side"] = round(max(values["size"]) * base.short_side / max(base.size))
    per_channel = {name: getattr(base, name) for name in ("mean", "std") if name not in values}
    per_channel = {name: numbers for name, numbers in per_channel.items() if len(numbers) > 1}
    if order == "gray" and per_channel:
        verb = "are" if len(per_channel) > 1 else "is"
        raise UsageError(
            f"the {' and '.join(per_channel)} of the preset {preset} {verb} for 3 channels, and gray has 1",
            hint=f"Add {' and '.join(f'--{name}' for name in per_channel)} with one number: what the model was trained "
            "with.",
        )
    if order != base.order:
        changes |= {name: numbers[::-1] for name, numbers in per_channel.items()}
    return replace(base, **(changes | values))


def _refuse_without_effect(values: Mapping[str, Any], resize: str) -> None:
    """Refuse numbers, other than the defaults, that this ``resize`` does not use.

    Raises:
        UsageError: there is one.
    """
    for name, resizes in _ONLY_WITH.items():
        if name in values and resize not in resizes and values[name] != getattr(Preprocessing, name):
            raise UsageError(
                f"{name} has no effect with resize {resize}",
                hint=f"Leave {name} out, or resize by {' or '.join(resizes)}.",
            )


def _converted(name: str, value: Any) -> Any:
    """The value of a key, whether an option or a file gives it.

    Raises:
        UsageError: the key is unknown, or the value is of another kind.
    """
    kinds: Mapping[str, tuple[Callable[[Any], Any], str]] = {
        "size": (_size, "height and width in pixels, as 480x640 or [480, 640]"),
        "resize": (_resize, f"one of {', '.join(RESIZES)}, with :N after short_side"),
        "scale": (_text_of_number, "a number or 1/number"),
        "interpolation": (_one_of(INTERPOLATIONS), f"one of {', '.join(INTERPOLATIONS)}"),
        "short_side": (_whole, "a whole number of pixels"),
        "pad": (_whole, "a level from 0 to 255"),
        "anchor": (_one_of(ANCHORS), f"one of {', '.join(ANCHORS)}"),
        "rounding": (_one_of(ROUNDINGS), f"one of {', '.join(ROUNDINGS)}"),
        "order": (_one_of(ORDERS), f"one of {', '.join(ORDERS)}"),
        "mean": (_numbers, "one number, or one per channel"),
        "std": (_numbers, "one number, or one per channel"),
        "library": (_one_of(LIBRARIES), f"one of {', '.join(LIBRARIES)}"),
        "exif": (_truth, "true or false"),
        "preset": (_one_of(tuple(PRESETS)), f"one of {', '.join(PRESETS)}"),
    }
    if name not in kinds:
        raise UsageError(f"there is no key {name!r}", hint=f"The keys are: {', '.join(kinds)}.")
    convert, meaning = kinds[name]
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        square = (
            f" A square: {value}x{value}." if name == "size" and str(value).isascii() and str(value).isdecimal() else ""
        )
        raise UsageError(f"{name} cannot be {value!r}", hint=f"It is {meaning}.{square}") from None


def _size(value: Any) -> Size:
    parts = value.lower().split("x") if isinstance(value, str) else value
    height, width = parts
    return Size(_whole(height), _whole(width))


def _resize(value: Any) -> Any:
    name, colon, edge = _require_text(value).partition(":")
    chosen = _one_of(RESIZES)(name)
    if not colon:
        return chosen
    if chosen != "short_side":
        raise ValueError
    return chosen, _whole(edge)


def _one_of(choices: Sequence[str]) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if _require_text(value) not in choices:
            raise ValueError
        return str(value)

    return convert


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _numbers(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    if any(isinstance(part, bool) for part in parts):
        raise ValueError
    return tuple(float(part) for part in parts)


def _text_of_number(value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError
    text = value if isinstance(value, str) else repr(float(value))
    scale_factor(text)
    return text


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
