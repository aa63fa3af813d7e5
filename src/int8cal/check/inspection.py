"""`inspect`: what is in a tensorfile, ours or NVIDIA's. Nothing is judged: that is `int8cal.check.verify`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from int8cal.check.statistics import Statistics, measure
from int8cal.io.arguments import checked_arguments
from int8cal.io.summary import Summarised, counted, times
from int8cal.tensorfile.batches import opened_file

if TYPE_CHECKING:
    import os

    from int8cal.tensorfile import TensorFile


@dataclass(frozen=True, repr=False)
class Inspection(Summarised):
    """What is in a tensorfile.

    Attributes:
        path: the file.
        batches: number of batches.
        shape: (B, C, H, W) of every batch.
        dtype: how values are stored; they are read as float32.
        filters: HDF5 filters of the first batch, in the order in which they were applied.
        file_bytes: bytes that the file takes on the disk, with its parts.
        ratio: ``file_bytes`` over the bytes of all values as float32.
        format_version: version of the manifest's layout; None in files of other tools.
        has_checksums: whether there is a checksum of each image, and of manifest and sample table.
        channels: range, mean and standard deviation of each channel; empty when they were not asked for.
        manifest: the manifest; None in files of other tools.
    """

    path: str
    batches: int
    shape: tuple[int, int, int, int]
    dtype: str
    filters: tuple[str, ...]
    file_bytes: int
    ratio: float
    format_version: int | None
    has_checksums: bool
    channels: tuple[dict[str, float], ...]
    manifest: dict[str, Any] | None

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""
        return self.batches * self.shape[0]

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{self.path}: {counted(self.batches, 'batch')} of {times(self.shape)}, {self.file_bytes / 1e6:,.1f} MB"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "batches", f"{self.batches} of {times(self.shape)} ({counted(self.image_count, 'image')})"
        yield "stored as", f"{self.dtype}, filters: {', '.join(self.filters) or 'none'}"
        yield "size", f"{self.file_bytes / 1e6:,.1f} MB, {self.ratio:.1%} of the raw values"
        for number, channel in enumerate(self.channels):
            yield f"channel {number}", "min {min:.6g}, max {max:.6g}, mean {mean:.6g}, std {std:.6g}".format(**channel)
        for name in ("int8cal", "network", "split", "seed", "plan_sha256"):
            if self.manifest and name in self.manifest:
                yield name, self.manifest[name]

    def to_json(self) -> dict[str, Any]:
        """All of it but the manifest, as JSON types."""
        facts = {
            "path": self.path,
            "batches": self.batches,
            "shape": list(self.shape),
            "images": self.image_count,
            "dtype": self.dtype,
            "filters": list(self.filters),
            "bytes": self.file_bytes,
            "ratio": self.ratio,
            "format_version": self.format_version,
            "checksums": self.has_checksums,
        }
        return facts | ({"channels": list(self.channels)} if self.channels else {})


@checked_arguments()
def inspect(file: str | os.PathLike[str] | TensorFile, *, quick: bool = False) -> Inspection:
    """Shape, type, size, filters, manifest and value ranges of a tensorfile, ours or NVIDIA's.

        print(int8cal.inspect("calibration.tensor").channels)

    Args:
        file: a tensorfile, or its path.
        quick: leave out what needs reading all batches: the value ranges.

    Raises:
        TensorFileError: it is not a tensorfile, or cannot be read.
    """
    with opened_file(file) as opened:
        dtype, _ = opened.storage(0)
        return Inspection(
            path=opened.path,
            batches=len(opened),
            shape=opened.shape,
            dtype=dtype,
            filters=opened.filters(0),
            file_bytes=opened.file_bytes,
            ratio=round(opened.file_bytes / opened.nbytes, 4),
            format_version=opened.format_version,
            has_checksums=opened.checksums is not None,
            channels=() if quick else tuple(_channels(opened)),
            manifest=opened.manifest,
        )


def _channels(file: TensorFile) -> list[dict[str, float]]:
    images, channels, height, width = file.shape
    statistics = Statistics(channels, height * width)
    with closing(file.read_all(measure)) as batches:
        for batch in batches:
            if batch.error:
                raise batch.error
            statistics.add(batch.number * images, (batch.seen[position] for position in range(images)))
    return statistics.channel_facts()
