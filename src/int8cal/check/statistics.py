"""What one pass over a tensorfile tells about its values: per channel, and per image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from int8cal.tensorfile.checksums import digest_of
from int8cal.types import BatchNCHW_f32, ImageCHW_f32

_BLOCK = 1 << 16
"""Values that are worked on at a time, so that they stay in the processor's cache."""
_FEW = 997
"""One in so many values."""
_SMALL = 32
"""Side to which a picture is reduced before its loudness is measured, so that grain and sharpness do not count."""


@dataclass(frozen=True)
class ImageStatistics:
    """One image of a tensorfile.

    Attributes:
        number: position in the file, counted from 0 over all batches.
        digest: 16 bytes; equal for images that are bit for bit the same.
        means: mean of each channel.
        is_constant: every channel is of one value.
        smoothness: how alike neighbouring pixels are: 1 for a plain slope, about 0 for noise; NaN where it has no
            meaning (an image of one value, or of one pixel).
    """

    number: int
    digest: bytes
    means: tuple[float, ...]
    is_constant: bool
    smoothness: float


class Measures(NamedTuple):
    """What is measured of one image: arrays have a value for each channel.

    Attributes:
        digest: 16 bytes; equal for images that are bit for bit the same.
        low, high: smallest and largest value.
        sums, squares: of the values and of their squares, float64.
        smoothness: see `ImageStatistics`.
        is_whole: whether every value is a whole number.
    """

    digest: bytes
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    smoothness: float
    is_whole: bool


def measure(image: ImageCHW_f32, checksum: bytes) -> Measures:
    """Measure an image, on any thread.

    Args:
        image: its values.
        checksum: see `int8cal.tensorfile.checksums.image_checksum`.
    """
    flat = image.reshape(len(image), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    sums, squares = np.zeros(len(flat)), np.zeros(len(flat))
    steps = np.zeros(2)
    rows = max(1, _BLOCK // image.shape[2])
    with np.errstate(invalid="ignore", over="ignore"):  # values may be anything that float32 can hold
        for number, channel in enumerate(image):
            for start in range(0, len(channel), rows):
                block = channel[start : start + rows]
                wide = block.reshape(-1).astype(np.float64)
                sums[number] += wide.sum()
                squares[number] += _square_sum(wide)
                steps[0] += _square_sum(np.diff(channel[start : start + rows + 1], axis=0))
                steps[1] += _square_sum(np.diff(block, axis=1))
        variance = float(np.maximum(squares / flat.shape[1] - np.square(sums / flat.shape[1]), 0).mean())
    smoothness = float("nan") if (low == high).all() else _smoothness(image.shape, steps, variance)
    return Measures(checksum, low, high, sums, squares, smoothness, _is_whole(flat))


def measure_with_digest(image: ImageCHW_f32, checksum: bytes) -> Measures:
    """As `measure`, with a digest for which nobody can make two images."""
    return measure(image, checksum)._replace(digest=digest_of(image))


class Loudness(NamedTuple):
    """How strongly an image drives a network: what widens the ranges of calibration.

    Attributes:
        contrast: standard deviation of the grey picture, reduced to 32 × 32.
        gradient: mean size of the step to the next pixel of that picture.
        magnitude: mean of the absolute values of the network input.
    """

    contrast: float
    gradient: float
    magnitude: float

    @classmethod
    def of(cls, image: ImageCHW_f32) -> Loudness:
        """Measure an image, whose values must be finite."""
        grey = _reduced(image.mean(axis=0, dtype=np.float64))
        steps = np.hypot(np.diff(grey, axis=0)[:, 1:], np.diff(grey, axis=1)[1:])
        return cls(
            contrast=float(grey.std()),
            gradient=float(steps.mean()) if steps.size else 0.0,
            magnitude=float(np.abs(image).mean(dtype=np.float64)),
        )


@dataclass
class LoudnessCounts:
    """Measures the loudness of every image while a file is read; feed it with `add`."""

    images: list[Loudness] = field(default_factory=list)

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Take in images that follow each other."""
        self.images.extend(Loudness.of(image) for image in batch)


@dataclass
class Statistics:
    """Sums over the images of a tensorfile; feed it with `add`.

    Args:
        channels: number of channels.
        pixels: of each image.
    """

    channels: int
    pixels: int
    images: list[ImageStatistics] = field(default_factory=list)
    whole_numbers: bool = True
    """Whether every value so far was a whole number."""

    def __post_init__(self) -> None:
        self.low = np.full(self.channels, np.inf)
        self.high = np.full(self.channels, -np.inf)
        self._sums = np.zeros((2, self.channels))

    def add(self, first: int, measures: Iterable[Measures]) -> None:
        """Take in images that follow each other, the first of them with its number in the file."""
        for number, image in enumerate(measures, first):
            self.low = np.minimum(self.low, image.low)
            self.high = np.maximum(self.high, image.high)
            self._sums += np.stack([image.sums, image.squares])
            self.whole_numbers = self.whole_numbers and image.is_whole
            self.images.append(
                ImageStatistics(
                    number=number,
                    digest=image.digest,
                    means=tuple(float(mean) for mean in image.sums / self.pixels),
                    is_constant=bool((image.low == image.high).all()),
                    smoothness=image.smoothness,
                )
            )

    @property
    def _values(self) -> int:
        """Number of values of each channel."""
        return len(self.images) * self.pixels

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each channel."""
        mean: npt.NDArray[np.float64] = self._sums[0] / max(self._values, 1)
        return mean

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each channel; NaN where not all values are finite."""
        with np.errstate(invalid="ignore"):  # infinite less infinite
            variance = self._sums[1] / max(self._values, 1) - np.square(self.mean)
            deviation: npt.NDArray[np.float64] = np.sqrt(np.maximum(variance, 0))
        return deviation

    def channel_facts(self) -> list[dict[str, float]]:
        """Range, mean and standard deviation of each channel, as JSON types."""
        columns = zip(self.low, self.high, self.mean, self.deviation, strict=True)
        return [
            {"min": float(low), "max": float(high), "mean": float(mean), "std": float(deviation)}
            for low, high, mean, deviation in columns
        ]


def _reduced(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A picture of at most 32 × 32, each pixel the mean of a field; a smaller picture stays as it is."""
    for axis, length in enumerate(picture.shape):
        edges = np.linspace(0, length, min(_SMALL, length) + 1).astype(np.intp)
        sums = np.add.reduceat(picture, edges[:-1], axis=axis)
        counts = np.diff(edges)
        picture = sums / (counts[:, None] if axis == 0 else counts)
    return picture


def _square_sum(values: npt.NDArray[Any]) -> Any:
    flat = values.reshape(-1)
    return np.einsum("i,i->", flat, flat)  # as fast as a dot product, which may start threads of its own


def _smoothness(shape: tuple[int, ...], steps: npt.NDArray[np.float64], variance: float) -> float:
    """1 − (mean squared step to the next pixel) / (2 × variance), along the axis where it is larger.

    Von Neumann's ratio: independent neighbours give 0, equal ones 1. Each channel is taken about its own mean.

    Args:
        shape: (C, H, W).
        steps: sums of the squared steps down and to the right.
        variance: of a channel, the mean of all.
    """
    channels, height, width = shape
    counts = channels * (height - 1) * width, channels * height * (width - 1)
    means = [step / count for step, count in zip(steps.tolist(), counts, strict=True) if count]
    if variance == 0 or not means:
        return float("nan")
    return float(1 - min(means) / (2 * variance))


def _is_whole(flat: npt.NDArray[np.float32]) -> bool:
    """Whether every value is a whole number; a few are looked at first, since they tell nearly always."""
    some = flat[:, ::_FEW]
    return bool((np.rint(some) == some).all() and (np.rint(flat) == flat).all())
