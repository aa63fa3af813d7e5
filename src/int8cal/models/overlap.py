"""Which images are in a set more than once, or in another set too: held-out images must not be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from int8cal.errors import UsageError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.checksums import image_checksum
from int8cal.tensorfile.findings import Finding
from int8cal.types import Batches, BatchNCHW_f32, ImageCHW_f32


class Digested:
    """Batches that pass through, of which the bits of each image are kept as 16 bytes.

    Args:
        batches: the images.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.digests: list[bytes] = []
        """Of the images that were gone through last, in their order."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return self.batches.shape

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""
        return self.batches.image_count

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in."""
        return self.batches.paths

    def encoded_sha256(self) -> Mapping[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from."""
        return self.batches.encoded_sha256()

    def images(self, numbers: Iterable[int]) -> Iterator[ImageCHW_f32]:
        """Some images of a file by their numbers, which ascend; all are gone through. See `TensorFile.images`.

        Yields:
            C×H×W, float32.
        """
        self.digests, wanted = [], set(numbers)
        if not isinstance(self.batches, TensorFile):
            raise TypeError(f"{type(self.batches).__name__} has no images that can be read one by one")
        for image in self.batches.images(range(self.image_count)):
            self.digests.append(image_checksum(image))
            if len(self.digests) - 1 in wanted:
                yield image
            del image  # not kept while the next one is read

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        self.digests = []
        for batch in self.batches:
            self.digests.extend(image_checksum(image) for image in batch)
            yield batch
            del batch  # not kept while the next one is read


def shared_images(first: Digested, second: Digested) -> int:
    """How many images of the second set are in the first, by their bits or by the encoded image they were made from.

    Both sets must have been gone through. Files of other tools tell nothing of encoded images.
    """
    digests, encoded = set(first.digests), set(first.encoded_sha256().values())
    by_bits = {number for number, digest in enumerate(second.digests) if digest in digests}
    by_origin = {number for number, digest in second.encoded_sha256().items() if digest in encoded}
    return len(by_bits | by_origin.intersection(range(len(second.digests))))


def check_evaluation(images: Batches, evaluation: Batches) -> None:
    """See that a set can be held out: agreement measured on the calibration images would be a lie.

    Raises:
        UsageError: it is of another size, or the same file.
    """
    files = (*evaluation.paths[:1], *images.paths[:1])
    if evaluation.shape[1:] != images.shape[1:]:
        found, wanted = ("×".join(map(str, batches.shape[1:])) for batches in (evaluation, images))
        raise UsageError(
            f"the evaluation images are of {found} (C×H×W), the calibration images of {wanted}",
            where=next(iter(evaluation.paths), None),
            hint="Make both tensorfiles from the same spec.",
        )
    if len(files) > 1 and os.path.samefile(*files):
        raise same_images(files[1])


def repeated_images(images: Digested) -> Iterator[Finding]:
    """Whether half of the images and more are others once more, by their bits; they must have been gone through."""
    count = len(images.digests)
    copies = count - len(set(images.digests))
    if copies and 2 * copies >= count:
        yield Finding(
            "warning",
            "repeated-images",
            f"{copies} of {count} images repeat an earlier one bit for bit",
            "Calibrate with many different images: copies make no range more certain.",
        )


def same_images(path: str | None) -> UsageError:
    """The error for one set in the place of two."""
    return UsageError(
        "the evaluation file is the calibration file",
        where=path,
        hint="Make another tensorfile, e.g. with --use_validation_set.",
    )
