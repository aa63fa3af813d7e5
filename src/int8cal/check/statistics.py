"""What one pass over a tensorfile tells about its values: per channel, and per image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from int8cal.tensorfile.digest import digest_of
from int8cal.types import BatchNCHW_f32, ImageCHW_f32


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


@dataclass
class Statistics:
    """Sums over the images of a tensorfile; feed it batches with `add`.

    Args:
        channels: number of channels.
    """

    channels: int
    images: list[ImageStatistics] = field(default_factory=list)
    whole_numbers: bool = True
    """Whether every value so far was a whole number."""

    def __post_init__(self) -> None:
        self.low = np.full(self.channels, np.inf)
        self.high = np.full(self.channels, -np.inf)
        self._sums = np.zeros((2, self.channels))
        self._values = 0

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Take in some images.

        Args:
            first: number of the first one in the file.
            batch: NCHW, finite.
        """
        low, high = batch.min(axis=(2, 3)), batch.max(axis=(2, 3))
        means = batch.mean(axis=(2, 3), dtype=np.float64)
        squares = np.einsum("nchw,nchw->c", batch, batch, dtype=np.float64, casting="same_kind")
        self.low = np.minimum(self.low, low.min(axis=0))
        self.high = np.maximum(self.high, high.max(axis=0))
        pixels = batch.shape[2] * batch.shape[3]
        self._sums += np.stack([means.sum(axis=0) * pixels, squares])
        self._values += len(batch) * pixels
        self.whole_numbers = self.whole_numbers and bool((np.rint(batch) == batch).all())
        for position, image in enumerate(batch):
            self.images.append(
                ImageStatistics(
                    number=first + position,
                    digest=digest_of(image),
                    means=tuple(float(mean) for mean in means[position]),
                    is_constant=bool((low[position] == high[position]).all()),
                    smoothness=_smoothness(image),
                )
            )

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


def _smoothness(image: ImageCHW_f32) -> float:
    """1 − (mean squared step to the next pixel) / (2 × variance), along the axis where it is larger.

    Von Neumann's ratio: independent neighbours give 0, equal ones 1. Each channel is taken about its own mean.
    """
    variance = float(image.var(axis=(1, 2), dtype=np.float64).mean())
    with np.errstate(over="ignore"):  # values near the end of float32 are far from smooth
        steps = [
            float(np.square(np.diff(image, axis=axis)).mean(dtype=np.float64))
            for axis in (1, 2)
            if image.shape[axis] > 1
        ]
    if variance == 0 or not steps:
        return float("nan")
    return 1 - min(steps) / (2 * variance)
