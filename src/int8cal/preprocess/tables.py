"""Arithmetic on 8-bit pixels as one table look-up per value: the same bits as the formula, at the price of a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from int8cal.types import ImageCHW_f32, ImageHWC_u8

LevelTables_f32 = npt.NDArray[np.float32]
"""One row of 256 values per channel: what each 8-bit level becomes."""


def mean_subtracted(mean: Sequence[float], scale: float = 1.0) -> LevelTables_f32:
    """(x − mean) · scale for every level: the difference in double precision and rounded, the product in float32.

    Args:
        mean: one number per channel, on the scale 0..255.
        scale: factor.

    Returns:
        channels × 256.
    """
    levels = np.arange(256, dtype=np.float64)
    difference = (levels - np.array(mean, dtype=np.float64)[:, None]).astype(np.float32)
    return difference * np.float32(scale)


def look_up(tables: LevelTables_f32, image: ImageHWC_u8) -> ImageCHW_f32:
    """Every pixel's value by its channel's table.

    Args:
        tables: channels × 256.
        image: height × width × channels.

    Returns:
        channels × height × width, C-contiguous.
    """
    planes = np.empty((image.shape[2], *image.shape[:2]), dtype=np.float32)
    for table, plane, target in zip(tables, image.transpose(2, 0, 1), planes, strict=True):
        np.take(table, plane, out=target, mode="clip")  # clip: no level is out of range, and the check is skipped
    return planes
