"""What is done for one image, from its file to its chunk. Every engine runs this very function."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from int8cal.errors import DataError, ImageError, OutOfMemoryError
from int8cal.samples.encoded import read_encoded, sample_place

if TYPE_CHECKING:
    from int8cal.network_kit.network import Arithmetic
    from int8cal.samples.samples import Sample
    from int8cal.tensorfile.chunks import Compression
    from int8cal.types import ImageCHW_f32


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """One image, ready to be written.

    Attributes:
        sample: what it is.
        chunk: bytes of its HDF5 chunk.
        height, width: size of the decoded image in pixels.
        encoded_bytes: size of the image file.
        sha256: SHA-256 of the image file.
    """

    sample: Sample
    chunk: bytes
    height: int
    width: int
    encoded_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class FailedSample:
    """One image that could not be used, and why."""

    sample: Sample
    error: DataError


@dataclass(frozen=True)
class Work:
    """Image → chunk, for all images of a run. Free of state: safe on many threads.

    Attributes:
        arithmetic: the network's arithmetic.
        shape: (C, H, W) that every image must have in the end.
        compression: how its chunk is encoded.
    """

    arithmetic: Arithmetic
    shape: tuple[int, int, int]
    compression: Compression

    def __call__(self, sample: Sample) -> EncodedSample | FailedSample:
        """The image's chunk; a `FailedSample` when the image or its record cannot be used.

        Raises:
            OutOfMemoryError: there is too little memory for the image, which may well be sound.
        """
        try:
            return self._encode(sample)
        except DataError as error:
            if error.where is None:
                error.where = sample_place(sample)
            return FailedSample(sample, error)
        except MemoryError as error:
            raise OutOfMemoryError.of(error, "for an image", where=sample_place(sample)) from error

    def _encode(self, sample: Sample) -> EncodedSample:
        encoded = read_encoded(sample)
        image = self.arithmetic.decode(encoded, sample)
        size = self.arithmetic.size(image)
        tensor = self.arithmetic.to_tensor(image, sample)
        self._require_usable(tensor)
        return EncodedSample(
            sample=sample,
            chunk=self.compression.encode(tensor),
            height=size.height,
            width=size.width,
            encoded_bytes=len(encoded),
            sha256=hashlib.sha256(encoded).digest(),
        )

    def _require_usable(self, tensor: ImageCHW_f32) -> None:
        """What every arithmetic promises, and none may break: one bad value would ruin a calibration."""
        if tensor.shape != self.shape:
            raise ImageError(f"becomes {tensor.shape} (channels, height, width), the batches need {self.shape}")
        if tensor.dtype != np.float32:
            raise ImageError(f"becomes values of the type {tensor.dtype}, not float32")
        if not _all_finite(tensor):
            raise ImageError(
                f"the arithmetic {self.arithmetic.name} makes values of it that are no finite numbers",
                hint="Look at the means and factors of the spec.",
            )


def _all_finite(tensor: ImageCHW_f32) -> bool:
    """Whether no value is NaN or infinite; in the usual case at two thirds of the price of looking at each."""
    values = tensor.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(values.dot(values))  # finite only when every value is; a sum of large ones may not be
    return math.isfinite(squares) or bool(np.isfinite(values).all())
