"""The arithmetic that a manifest states: how the values of a tensorfile were computed from pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from int8cal.errors import TensorFileError
from int8cal.io.safe_text import short_repr

_Linear: TypeAlias = tuple[tuple[float, ...], tuple[float, ...], bool]
"""Mean, scale, and whether pixels are known to be of 8 bit."""
_ORDERS = {"RGB": 3, "BGR": 3, "grey": 1}


@dataclass(frozen=True)
class StatedArithmetic:
    """``value = (pixel - mean) * scale`` per channel, in pixel levels and in the order of the file.

    Attributes:
        name: of the arithmetic.
        channel_order: ``RGB``, ``BGR`` or ``grey``; empty when it is not stated.
        mean: one for all channels, or one for each.
        scale: likewise; above 0.
        is_eight_bit: whether pixels are known to be of 8 bit.
    """

    name: str
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    is_eight_bit: bool


def stated_arithmetic(manifest: Mapping[str, Any], channels: int) -> StatedArithmetic | None:
    """Read the arithmetic of a manifest.

    Args:
        manifest: its ``arithmetic.options`` may hold ``channel_order``, and ``mean`` and ``scale``, or ``value_range``,
            the values of pixels 0 and 255. Nothing of it is trusted.
        channels: number of channels of the file.

    Returns:
        The arithmetic; None when the manifest does not state it.

    Raises:
        TensorFileError: it says something that cannot be; the message is without place.
    """
    arithmetic = manifest.get("arithmetic")
    if arithmetic is None and "network" not in manifest:
        return None
    stated = _mapping(arithmetic, "arithmetic")
    options = _mapping(stated.get("options"), "arithmetic.options")
    order = options.get("channel_order", "")
    if order != "" and (not isinstance(order, str) or _ORDERS.get(order) != channels):
        raise _wrong("channel_order", order, f"an order of {channels} channels")
    linear = _of_range(options) if "value_range" in options else _of_mean(options, channels)
    return linear and StatedArithmetic(str(stated.get("name")), order, *linear)


def _of_range(options: Mapping[str, Any]) -> _Linear:
    bounds = _numbers(options["value_range"])
    if len(bounds) == 2 and bounds[0] < bounds[1]:
        scale = (bounds[1] - bounds[0]) / 255
        if scale and _tells_levels_apart(-bounds[0] / scale, scale):
            return (-bounds[0] / scale,), (scale,), True
    raise _wrong("value_range", options["value_range"], "two numbers, the smaller one first")


def _of_mean(options: Mapping[str, Any], channels: int) -> _Linear | None:
    if "mean" not in options and "scale" not in options:
        return None
    mean, scale = _numbers(options.get("mean")), _numbers(options.get("scale"))
    if len(mean) not in (1, channels):
        raise _wrong("mean", options.get("mean"), f"one number, or {channels}")
    if len(scale) not in (1, channels) or min(scale) <= 0:
        raise _wrong("scale", options.get("scale"), f"one number above 0, or {channels}")
    for channel in range(channels):
        one, factor = mean[channel % len(mean)], scale[channel % len(scale)]
        if not _tells_levels_apart(one, factor):
            raise _wrong("mean", one, f"one of pixels, for the scale {short_repr(factor)}")
    return mean, scale, channels > 1  # only grey pictures are kept at 16 bit; colour ones are decoded to 8


def _tells_levels_apart(mean: float, scale: float) -> bool:
    """Whether the values of pixels 0 and 255 can be computed, and are as far apart as they should be."""
    span = (255 - mean) * scale - (0 - mean) * scale
    return math.isfinite(span) and math.isclose(span, 255 * scale, rel_tol=1e-6)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a group of values")
    return value


def _numbers(value: object) -> tuple[float, ...]:
    """One finite number or a list of them; nothing of anything else."""
    listed = value if isinstance(value, list) else [value]
    try:
        numbers = [float(number) for number in listed if _is_number(number)]
    except OverflowError:  # a whole number with hundreds of digits
        return ()
    return tuple(numbers) if len(numbers) == len(listed) and all(map(math.isfinite, numbers)) else ()


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, value: object, wanted: str) -> TensorFileError:
    return TensorFileError(f"its {name} is {short_repr(value)}, not {wanted}")
