"""Which images of one set are in another set too: held-out images must not be."""

from __future__ import annotations

from collections.abc import Iterator

from int8cal.models.calibrate import Batches
from int8cal.tensorfile.digest import digest_of
from int8cal.types import BatchNCHW_f32


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

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        self.digests = []
        for batch in self.batches:
            self.digests.extend(digest_of(image) for image in batch)
            yield batch
            del batch  # not kept while the next one is read


def shared_images(first: Digested, second: Digested) -> int:
    """How many images of the second set are in the first, by their bits or by the encoded image they were made from.

    Both sets must have been gone through. Files of other tools tell nothing of encoded images.
    """
    digests, encoded = set(first.digests), set(_encoded_images(first).values())
    by_bits = {number for number, digest in enumerate(second.digests) if digest in digests}
    by_origin = {number for number, digest in _encoded_images(second).items() if digest in encoded}
    return len(by_bits | by_origin.intersection(range(len(second.digests))))


def _encoded_images(images: Digested) -> dict[int, bytes]:
    """Number of each image → SHA-256 of its encoded form, as far as the file records them."""
    table = getattr(images.batches, "samples", None)
    if table is None:
        return {}
    size = images.shape[0]
    return {int(row["batch"]) * size + int(row["position"]): bytes(row["sha256"]) for row in table if row["batch"] >= 0}
