"""Network inputs turned back into what people can look at: pixel levels, pictures, and how often each level occurs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.check.presets import Normalisation, resembling, stated
from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile
from int8cal.types import BatchNCHW_f32, ImageCHW_f32, ImageHWC_u8

LEVELS = 256
THUMBNAIL_SIDE = 384
"""Longest side of a thumbnail in pixels: twice of what it takes on the page, for dense screens."""
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class View:
    """How values become pixel levels again.

    Attributes:
        normalisation: what made the values.
        known: how it is known: ``manifest``, ``range`` (the values look like it) or ``stretched`` (it is not known: the
            range of the first batch becomes 0..255).
    """

    normalisation: Normalisation
    known: str

    def channel_names(self, channels: int) -> tuple[str, ...]:
        """Names of the channels in the order of the file; the order of three is taken as RGB when it is not known."""
        if channels == 3:
            reverse = self.normalisation.channel_order == "BGR"
            return ("blue", "green", "red") if reverse else ("red", "green", "blue")
        return ("grey",) if channels == 1 else tuple(f"channel {number}" for number in range(channels))

    def levels(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Values (…, channels, height, width) → pixel levels 0..255 of the same shape."""
        to_eight_bit = 255 / self.normalisation.largest
        factor = np.array([to_eight_bit / scale for scale in self.normalisation.scales], np.float32)[:, None, None]
        offset = np.array([mean * to_eight_bit for mean in self.normalisation.means], np.float32)[:, None, None]
        levels = images * factor
        levels += offset
        np.rint(levels, out=levels)
        return np.clip(levels, 0, LEVELS - 1, out=levels).astype(np.uint8)

    def values(self, level: float) -> npt.NDArray[np.float64]:
        """The value of a pixel level 0..255, per channel."""
        return self.normalisation.value(level * self.normalisation.largest / 255)

    def brightness(self, means: Iterable[float]) -> float:
        """Mean pixel level 0..255 of an image, from the means of its channels."""
        norm = self.normalisation
        pixels = np.fromiter(means, np.float64) / np.array(norm.scales) + np.array(norm.means)
        return float(pixels.mean()) * 255 / norm.largest

    def picture(self, image: ImageCHW_f32) -> ImageHWC_u8:
        """Network input → picture in RGB order, or grey (height × width × 1), which is the first of other channels."""
        pixels = self.levels(image).transpose(1, 2, 0)
        if pixels.shape[2] != 3:
            pixels = pixels[..., :1]
        return np.ascontiguousarray(pixels[..., ::-1] if self.normalisation.channel_order == "BGR" else pixels)


def view_of(file: TensorFile) -> View:
    """How to look at a tensorfile: by its manifest, by what the first readable batch looks like, or stretched."""
    low, high = _first_range(file)
    from_manifest = stated(file.manifest, file.shape[1])
    if from_manifest:
        return View(from_manifest.narrowed(low, high), "manifest")
    if preset := resembling(low, high):
        if preset.is_mean_known:
            return View(preset, "range")
        low = np.minimum(low.min(keepdims=True), 0)  # pixels as they are, or less a mean that the range tells
        high = low + 255
    width = max(float((high - low).max()), 1e-9)
    return View(
        Normalisation("range of the values", "", (float(-low.min() * 255 / width),), (width / 255,)), "stretched"
    )


def _first_range(file: TensorFile) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    for number in range(len(file)):
        try:
            batch = file[number]
        except TensorFileError:
            continue
        finite = batch[np.isfinite(batch).all(axis=(1, 2, 3))]
        if len(finite):
            return finite.min(axis=(0, 2, 3)).astype(np.float64), finite.max(axis=(0, 2, 3)).astype(np.float64)
    return np.zeros(file.shape[1]), np.ones(file.shape[1])


@dataclass
class LevelCounts:
    """Counts how often each pixel level occurs, per channel, while the file is read."""

    view: View
    channels: int
    counts: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.channels, LEVELS), np.int64)

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Count the values of some images."""
        for image in batch:
            for channel, levels in enumerate(self.view.levels(image)):
                self.counts[channel] += np.bincount(levels.ravel(), minlength=LEVELS)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of one image of the file.

    Attributes:
        number: of the image in the file.
        uri: ``data:`` URI of the picture.
        width: of the picture in pixels.
        height: likewise.
    """

    number: int
    uri: str
    width: int
    height: int


@dataclass
class ContactSheet:
    """Takes pictures of some images while the file is read.

    Args:
        view: how to look at them.
        wanted: numbers of the images.
    """

    view: View
    wanted: frozenset[int]
    thumbnails: list[Thumbnail] = field(default_factory=list)

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Take the pictures that are wanted of these images."""
        for number, image in enumerate(batch, first):
            if number in self.wanted:
                self.thumbnails.append(_thumbnail(number, self.view.picture(image)))


def _thumbnail(number: int, pixels: ImageHWC_u8) -> Thumbnail:
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(number, f"data:image/jpeg;base64,{encoded}", *picture.size)
