"""What the records say is in a picture, and where that is in the network input."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.check.presets import Normalisation
from int8cal.errors import DataError
from int8cal.samples.encoded import sample_place
from int8cal.samples.tfrecord import parse_features, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.check.rebuild import MadeFrom
    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample
    from int8cal.spec.prototext.spec import Spec
    from int8cal.types import Message, Size

_EDGES = tuple(f"target/coordinates_{edge}" for edge in ("x1", "y1", "x2", "y2"))
_LOW, _HIGH = 16, 240
"""Pixel levels at the two ends of a ramp: away from 0 and 255, which padding and clipping make."""
_MIN_INSIDE = 64
_MAX_DEVIATION = 0.02
"""Largest deviation from a straight line, as a share of the image, at which boxes are still drawn."""
_UNUSED = "(unmapped)"
"""After the name of a class that target_class_mapping of the spec leaves out: the network does not learn it."""


@dataclass(frozen=True)
class Object:
    """One labelled object.

    Attributes:
        name: its class, as the network's classes are called where the spec maps names.
        box: left, top, right, bottom in pixels of the image file; None when the record has no boxes.
    """

    name: str
    box: tuple[float, float, float, float] | None


def objects_of(sample: Sample, spec: Spec) -> list[Object] | None:
    """The objects that the record of a sample lists; None when it has no record, or one without classes.

    Raises:
        RecordError: the record is damaged.
    """
    if sample.record is None:
        return None
    features = parse_features(read_record(sample.record.path, sample.record.offset).payload, sample_place(sample))
    if "target/object_class" not in features:
        return None
    mapping = _class_mapping(spec)
    names = [value.decode(errors="replace") for value in features["target/object_class"].bytes_list.value]
    boxes = _boxes(features) or []
    return [
        Object(mapping.get(name.lower(), f"{name} {_UNUSED}") if mapping else name, box)
        for name, box in zip_longest(names, boxes[: len(names)])
    ]


def class_of(sample: Sample) -> str | None:
    """The class folder of a sample without record; None when it lies in none."""
    folder, separator, _ = sample.frame_id.partition("/")
    return folder if separator and sample.record is None else None


def _class_mapping(spec: Spec) -> Mapping[str, str]:
    """Names in the records → classes of the network; the reference compares them in lower case."""
    config = getattr(spec.message, "dataset_config", None)
    mapping = getattr(config, "target_class_mapping", {})
    return {name.lower(): target for name, target in mapping.items()}


def _boxes(features: Mapping[str, Message]) -> list[tuple[float, float, float, float]] | None:
    if not all(edge in features for edge in _EDGES):
        return None
    columns = [list(features[edge].float_list.value) for edge in _EDGES]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in zip(*columns, strict=False)]


@dataclass(frozen=True)
class Placement:
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


class Placements:
    """Finds placements by looking: ramps go through the network's own arithmetic, whatever it does to their geometry.

    Args:
        plan: the run whose arithmetic it is.
        normalisation: how its values become pixel levels.
    """

    def __init__(self, plan: Plan, normalisation: Normalisation) -> None:
        self._plan, self._normalisation = plan, normalisation
        self._known: dict[tuple[Size, int, int], Placement | None] = {}

    def of(self, made_from: MadeFrom) -> Placement | None:
        """The placement for an image; None when the arithmetic moves its pixels along no straight lines."""
        key = (made_from.size, made_from.sample.height, made_from.sample.width)
        if key not in self._known:
            self._known[key] = self._measured(*made_from)
        return self._known[key]

    def _measured(self, sample: Sample, size: Size) -> Placement | None:
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
        return Placement(*horizontal, *vertical) if horizontal and vertical else None

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
