"""Pixels 0..255 → values by tables of 256 entries, and channels first: the bits of a formula at the price of a copy.

The tables for values 0..1 hold DetectNet_v2's arithmetic, whose graph optimiser turns a division by 255 into a
multiplication with the rounded reciprocal, in the precision of the graph::

    HALF_VALUES[u]   = h(u · h(h(1)/h(255)))   h(): rounded to float16; the factor is 0.003921509 (bits 0x1C04)
    SINGLE_VALUES[u] = f(u · f(1/255))         f(): rounded to float32; the factor has the bits 0x3B808081

Ten of the 256 half values differ from h(u/255) by one unit in the last place. Evidence: golden set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from int8cal import native
from int8cal.native import Positions
from int8cal.types import ImageCHW_f32, ImageHWC_u8, ValueTable_f32, ValueTables_f32

_LEVELS = np.arange(256, dtype=np.float32)

HALF_VALUES: ValueTable_f32 = (
    (_LEVELS * np.float32(np.float16(1) / np.float16(255))).astype(np.float16).astype(np.float32)
)
"""Value of each pixel level, half precision held in float32."""

SINGLE_VALUES: ValueTable_f32 = _LEVELS * (np.float32(1) / np.float32(255))
"""Value of each pixel level, single precision."""


def mean_subtracted(mean: Sequence[float], scale: float = 1.0) -> ValueTables_f32:
    """(u − mean) · scale for every level: the difference in double precision and rounded, the product in float32.

    Args:
        mean: one number per channel, on the scale 0..255.
        scale: factor.

    Returns:
        channels × 256.
    """
    difference = (_LEVELS.astype(np.float64) - np.array(mean, dtype=np.float64)[:, None]).astype(np.float32)
    return difference * np.float32(scale)


def level_planes(channels: int) -> ImageCHW_f32:
    """A one-row image of every pixel level, channels × 1 × 256; arithmetic applied to it gives tables for `look_up`."""
    return np.tile(_LEVELS, (channels, 1, 1))


def tells_levels_apart(values: ValueTables_f32) -> bool:
    """Whether every channel of tables, channels × 256, has more than one value: else no image would be left of it."""
    return bool((np.ptp(values, axis=1) > 0).all())


def look_up(
    image: ImageHWC_u8,
    table: ValueTable_f32 | ValueTables_f32,
    out: ImageCHW_f32 | None = None,
    *,
    positions: Positions | None = None,
) -> ImageCHW_f32:
    """Replace each pixel by its value.

    Args:
        image: height × width × channels, 0..255.
        table: 256 values for all channels, or channels × 256.
        out: where the result goes: channels × height × width, may be a window of a larger array.
        positions: the rows and columns that make the result; None: all.

    Returns:
        ``out``, or a new C-contiguous array.
    """
    height, width, channels = image.shape
    if positions is not None:
        height, width = len(positions.rows), len(positions.columns)
    if out is None:
        out = np.empty((channels, height, width), dtype=np.float32)
    if native.look_up(image, table, out, positions):
        return out
    if positions is not None:
        image = positions.of(image)
    for channel, values in enumerate(np.broadcast_to(table, (channels, len(_LEVELS)))):
        # A uint8 index is always inside the table; "wrap" spares the check and a buffer.
        np.take(values, image[:, :, channel], out=out[channel], mode="wrap")
    return out
