"""What is done for one image: from its file to its tensor, and from that to its chunk. Every engine runs these."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import numpy as np

from int8cal.errors import DataError, ImageError, OutOfMemoryError
from int8cal.io.lacks import raise_if_lacking
from int8cal.samples.encoded import read_encoded, sample_place
from int8cal.tensorfile.checksums import IMAGE_BYTES, image_checksum
from int8cal.tensorfile.layout import SKIPPED, SampleRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from int8cal.network_kit.network import Arithmetic
    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample
    from int8cal.tensorfile.chunks import Compression
    from int8cal.types import ImageCHW_f32

_Done = TypeVar("_Done")


class ImageFacts(NamedTuple):
    """What is recorded of an image file, in the order of the columns of `SampleRow`."""

    height: int
    """Height of the decoded image in pixels."""
    width: int
    """Width of the decoded image in pixels."""
    encoded_bytes: int
    """Size of the image file in bytes."""
    sha256: bytes
    """SHA-256 of the image file, 32 bytes."""


_NO_FACTS = ImageFacts(0, 0, 0, bytes(32))


class Image(NamedTuple):
    """One image, ready for the network.

    Attributes:
        sample: what it is.
        tensor: the network input, float32 (C, H, W), C-contiguous, every value finite.
        facts: of its file.
    """

    sample: Sample
    tensor: ImageCHW_f32
    facts: ImageFacts


class EncodedSample(NamedTuple):
    """One image, ready to be written.

    Attributes:
        sample: what it is.
        chunk: bytes of its HDF5 chunk.
        facts: of its file.
        checksum: of its tensor, see `int8cal.tensorfile.checksums`.
    """

    sample: Sample
    chunk: bytes
    facts: ImageFacts
    checksum: bytes

    def row(self, batch: int, position: int) -> SampleRow:
        """Its row of the sample table."""
        return SampleRow(batch, position, *names_of(self.sample), *self.facts, self.checksum)


class FailedSample(NamedTuple):
    """One image that could not be used, and why."""

    sample: Sample
    error: DataError

    @property
    def row(self) -> SampleRow:
        """Its row of the sample table, when it is left out."""
        return SampleRow(SKIPPED, SKIPPED, *names_of(self.sample), *_NO_FACTS, bytes(IMAGE_BYTES))


def names_of(sample: Sample) -> tuple[int, bytes, bytes, int, int]:
    """Which sample it is, in the columns of `SampleRow`: source, frame_id, record_file, record_offset, record_crc."""
    frame_id, record = sample.frame_id.encode(errors="surrogateescape"), sample.record
    if record is None:
        return sample.source, frame_id, b"", -1, 0
    return sample.source, frame_id, os.fsencode(record.file_name), record.offset, record.crc


@dataclass(frozen=True)
class ImageWork:
    """Sample → tensor, for all images of a run. Free of state: safe on many threads.

    Attributes:
        arithmetic: the network's arithmetic.
        shape: (C, H, W) that every image must have in the end.
    """

    arithmetic: Arithmetic
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """That of a plan."""
        return cls(plan.arithmetic, plan.image_shape)

    def __call__(self, sample: Sample) -> Image | FailedSample:
        """The image's tensor; a `FailedSample` when the image or its record cannot be used.

        Raises:
            ResourceError: the system lacks memory or open files; the image may well be sound.
            UnavailableError: so it may where a library cannot be loaded.
        """
        return _done_or_failed(self.image, sample)

    def image(self, sample: Sample) -> Image:
        """The image's tensor.

        Raises:
            DataError: the image or its record cannot be used.
        """
        image = self.unchecked(sample)
        self.require_finite(image)
        return image

    def unchecked(self, sample: Sample) -> Image:
        """The image of a sample, whose values may be infinite: who takes it asks `require_finite`, or knows."""
        encoded = read_encoded(sample)
        decoded = self.arithmetic.decode(encoded, sample)
        size = self.arithmetic.size(decoded)
        tensor = self.arithmetic.to_tensor(decoded, sample)
        if tensor.shape != self.shape:
            raise ImageError(f"becomes {tensor.shape} (channels, height, width), the batches need {self.shape}")
        if tensor.dtype != np.float32:
            raise ImageError(f"becomes values of the type {tensor.dtype}, not float32")
        facts = ImageFacts(size.height, size.width, len(encoded), hashlib.sha256(encoded).digest())
        return Image(sample, np.ascontiguousarray(tensor), facts)  # a turned one would be read in another order

    def require_finite(self, image: Image) -> None:
        """What every arithmetic promises, and none may break: one bad value would ruin a calibration."""
        if not _all_finite(image.tensor):
            raise ImageError(
                f"the arithmetic {self.arithmetic.name} makes values of it that are not finite numbers",
                hint="Look at the means and factors of the spec.",
            )


@dataclass(frozen=True)
class ChunkWork:
    """Sample → chunk, for all images of a run. Free of state: safe on many threads.

    Attributes:
        image: sample → tensor.
        compression: tensor → chunk.
    """

    image: ImageWork
    compression: Compression

    def __call__(self, sample: Sample) -> EncodedSample | FailedSample:
        """The image's chunk; errors as `ImageWork`."""
        return _done_or_failed(self._encoded, sample)

    def _encoded(self, sample: Sample) -> EncodedSample:
        image = self.image.unchecked(sample)
        chunk = self.compression.chunk(image.tensor)
        if not chunk.all_finite:
            self.image.require_finite(image)
        return EncodedSample(sample, chunk.content, image.facts, image_checksum(image.tensor))


def _done_or_failed(work: Callable[[Sample], _Done], sample: Sample) -> _Done | FailedSample:
    try:
        return work(sample)
    except DataError as error:
        if error.where is None:
            error.where = sample_place(sample)
        return FailedSample(sample, error)
    except (MemoryError, ImportError, OSError) as error:
        where = sample_place(sample)
        try:
            raise_if_lacking(error, where)
        except MemoryError as lack:
            raise OutOfMemoryError.of(lack, "for an image", where=where) from error
        raise


def _all_finite(tensor: ImageCHW_f32) -> bool:
    """Whether no value is NaN or infinite; in the usual case at two thirds of the price of looking at each."""
    values = tensor.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(values.dot(values))  # finite only when every value is; a sum of large ones may not be
    return math.isfinite(squares) or bool(np.isfinite(values).all())
