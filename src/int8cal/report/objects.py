"""Where what is labelled in a picture lies in the network input."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.check.presets import Normalisation
from int8cal.errors import DataError

if TYPE_CHECKING:
    from int8cal.check.rebuild import MadeFrom
    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample
    from int8cal.types import Size

_LOW, _HIGH = 16, 240
"""Pixel levels at the two ends of a ramp: away from 0 and 255, which padding and clipping make."""
_MIN_INSIDE = 64
_MAX_DEVIATION = 0.02
"""Largest deviation from a straight line, as a share of the image, at which boxes are still drawn."""


@dataclass(frozen=True)
class PixelMap:
    """Where the pixels of an image file lie in the network input: ``x' = x · scale + offset``, for both axes."""

    scale_x: float
    offset_x: float
    scale_y: float
    offset_y: float

    def place(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box of the image file in pixels of the network input."""
        left, top, right, bottom = box
        return (
            left * self.scale_x + self.offset_x,
            top * self.scale_y + self.offset_y,
            right * self.scale_x + self.offset_x,
            bottom * self.scale_y + self.offset_y,
        )


class PixelMaps:
    """Finds placements by looking: ramps go through the network's own arithmetic, whatever it does to their geometry.

    Args:
        plan: the run whose arithmetic it is.
        normalisation: how its values become pixel levels.
    """

    def __init__(self, plan: Plan, normalisation: Normalisation) -> None:
        self._plan, self._normalisation = plan, normalisation
        self._known: dict[tuple[Size, int, int], PixelMap | None] = {}

    def of(self, made_from: MadeFrom) -> PixelMap | None:
        """The placement for an image; None when the arithmetic moves its pixels along no straight lines."""
        key = (made_from.size, made_from.sample.height, made_from.sample.width)
        if key not in self._known:
            self._known[key] = self._measured(*made_from)
        return self._known[key]

    def _measured(self, sample: Sample, size: Size) -> PixelMap | None:
        across = np.linspace(_LOW, _HIGH, size.width)[None, :].repeat(size.height, axis=0)
        down = np.linspace(_LOW, _HIGH, size.height)[:, None].repeat(size.width, axis=1)
        try:
            inside = self._through(np.full((size.height, size.width), _HIGH), sample) > (_HIGH + 255 / 2) / 2
            x = (self._through(across, sample) - _LOW) / (_HIGH - _LOW) * (size.width - 1) + 0.5
            y = (self._through(down, sample) - _LOW) / (_HIGH - _LOW) * (size.height - 1) + 0.5
        except DataError:  # an arithmetic that takes no PNG
            return None
        if inside.sum() < _MIN_INSIDE:
            return None
        rows, columns = np.nonzero(inside)
        horizontal = _line(x[inside], (columns + 0.5).astype(np.float64), size.width)
        vertical = _line(y[inside], (rows + 0.5).astype(np.float64), size.height)
        return PixelMap(*horizontal, *vertical) if horizontal and vertical else None

    def _through(self, levels: npt.NDArray[np.float64], sample: Sample) -> npt.NDArray[np.float64]:
        """The first channel that the arithmetic makes of a grey image, in pixel levels."""
        buffer = io.BytesIO()
        Image.fromarray(np.rint(levels).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
        values = self._plan.arithmetic(buffer.getvalue(), sample)[0]
        return np.asarray(values / self._normalisation.scales[0] + self._normalisation.means[0], np.float64)


def _line(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64], extent: int) -> tuple[float, float] | None:
    """(scale, offset) with target = source · scale + offset; None when the points are on no line."""
    if np.ptp(target) < 2 or np.ptp(source) == 0:
        return None
    slope, start = np.polyfit(target, source, 1)  # the target has no rounding in it
    deviation = float(np.abs(slope * target + start - source).max())
    if slope <= 0 or deviation > max(_MAX_DEVIATION * extent, 2.0):
        return None
    return float(1 / slope), float(-start / slope)
