"""Writes a tensorfile from ready chunks, in order. Knows nothing of images, plans or final names."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from int8cal.errors import OutputError
from int8cal.io import space
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import absolute, cannot
from int8cal.io.safe_text import first_line
from int8cal.tensorfile import layout
from int8cal.tensorfile.checksums import NO_DIGEST, record_with_checksum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from int8cal.tensorfile.chunks import Compression

_TABLE_LEVEL = 4
"""Of deflate, for the sample table."""

_RESERVED_BYTES = 16 << 20
"""Room that is set aside at a time."""

_ERRNO = re.compile(r"\berrno = ([0-9]{1,3})\b")


class TensorFileWriter:
    """Writes batches of one shape, image by image, into an HDF5 file.

    The file is complete only after `finish`; a writer that is left without it leaves a file without batches behind,
    which is why callers write under a temporary name.

    Args:
        path: file to create; an existing one is replaced.
        name: what messages call the file, when ``path`` is temporary.
        shape: (B, C, H, W) of every batch.
        compression: how the chunks given to `append` were encoded.

    Raises:
        OutputError: the file cannot be created, or the disk is full.
    """

    def __init__(
        self, path: str, shape: tuple[int, int, int, int], compression: Compression, *, name: str = ""
    ) -> None:
        self._path = path
        self._name = name or path
        self._shape = shape
        self._filters = compression.filters
        self._images = 0
        self._reserved: float = 0
        """Bytes that are set aside behind the end; infinite where none can be."""
        self._dataset: h5py.Dataset | None = None
        with self._output_errors():
            # locking: the caller holds the lock; libver: the superblock that the oldest readers know.
            self._file = h5py.File(path, "w", libver=("earliest", "v108"), locking=False)

    def append(self, chunk: bytes) -> None:
        """Write the chunk of the next image: batch 0 image 0, batch 0 image 1, and so on."""
        batch, index = divmod(self._images, self._shape[0])
        with self._output_errors():
            if index == 0:
                self._dataset = self._create_batch(batch)
            if self._dataset is not None:
                self._reserve(len(chunk))
                self._dataset.id.write_direct_chunk((index, 0, 0, 0), chunk)
        self._images += 1

    def finish(self, manifest: Mapping[str, Any] | None, samples: Sequence[layout.SampleRow]) -> dict[str, Any]:
        """Write the counts, the manifest (None: there is none) and the sample table, and close the file.

        The manifest is given the version of the file's format and the checksum of the record.

        Returns:
            The manifest as it was written.

        Raises:
            OutputError: the last batch is not full, the manifest is too large, or writing fails.
        """
        batches, rest = divmod(self._images, self._shape[0])
        if rest or not batches:
            raise OutputError(
                f"{self._images} images are not a whole number of batches of {self._shape[0]}",
                hint="Add images until the last batch is full.",
            )
        table = _sample_table(samples) if samples else None  # unknown for images from another tool's file
        stated = {**(manifest or {}), "schema": layout.FORMAT_VERSION, layout.RECORD_CHECKSUM: NO_DIGEST}
        if table is not None:
            stated[layout.TEXT_WIDTHS] = layout.text_widths(table.dtype)
        text = json.dumps(stated, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        if len(text) > layout.MAX_MANIFEST_BYTES:
            raise OutputError(
                f"the manifest has {len(text)} bytes, more than {layout.MAX_MANIFEST_BYTES}",
                hint="Keep less in it; what is of each image belongs in the sample table.",
            )
        with self._output_errors():
            attributes = self._file.attrs
            attributes.create(layout.COUNT, np.int64(batches))
            attributes.create(layout.SHAPE, np.array(self._shape, np.int64))
            if manifest is not None:
                text = record_with_checksum(text, table)
                attributes.create(layout.MANIFEST, np.bytes_(text))
            if table is not None:
                self._write_table(table)
            self._file.close()
        space.give_back(self._path)
        written: dict[str, Any] = {} if manifest is None else json.loads(text)
        return written

    def close(self) -> None:
        """Close the file without making it complete; nothing to do after `finish`."""
        try:
            self._file.close()
        except (OSError, RuntimeError):  # the disk is full: what was written is thrown away by the caller
            self._file.id.close()

    def _write_table(self, table: np.ndarray[Any, np.dtype[np.void]]) -> None:
        """Write the sample table, as one chunk that was compressed here, as those of images are.

        A chunk that HDF5 compresses is written when the dataset is let go: h5py passes over a full disk then, and HDF5
        fails by a null pointer when the file is closed.
        """
        dataset = self._file.create_dataset(
            layout.SAMPLES, table.shape, table.dtype, chunks=table.shape, compression=_TABLE_LEVEL, shuffle=True
        )
        by_significance = np.frombuffer(table.tobytes(), np.uint8).reshape(len(table), -1).T
        dataset.id.write_direct_chunk((0,), zlib.compress(by_significance.tobytes(), _TABLE_LEVEL))

    def _reserve(self, nbytes: int) -> None:
        """Set room aside for a chunk, and for the next ones."""
        self._reserved -= nbytes
        if self._reserved >= 0:
            return
        end = self._file.id.get_filesize()
        done = space.reserve(self._file.id.get_vfd_handle(), end, nbytes + _RESERVED_BYTES)
        self._reserved = _RESERVED_BYTES if done else math.inf

    def _link(self, batch: int, part: str, batch_of_part: int) -> None:
        """Let a batch be one of a sibling file."""
        with self._output_errors():
            self._file[layout.group_name(batch)] = h5py.ExternalLink(part, f"/{layout.group_name(batch_of_part)}")

    def _create_batch(self, batch: int) -> h5py.Dataset:
        return self._file.create_group(layout.group_name(batch)).create_dataset(
            layout.DATASET,
            shape=self._shape,
            dtype="<f4",
            chunks=(1, *self._shape[1:]),
            track_times=False,
            **self._filters,
        )

    def _output_errors(self) -> _OutputErrors:
        return _OutputErrors(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


class _OutputErrors:
    """Turns what HDF5 raises when it cannot write into an `OutputError` that names the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (OSError, RuntimeError)):
            raise_if_lacking(error, self._path)
            told = _ERRNO.search(str(error))  # not every error of h5py's has it as an attribute
            number = getattr(error, "errno", None) or (told and int(told[1]))
            refused = OSError(number, os.strerror(number)) if number else OSError(first_line(error))
            folder = os.path.dirname(absolute(self._path))
            raise cannot("write the tensorfile", refused, self._path, folder) from error


def _sample_table(samples: Sequence[layout.SampleRow]) -> np.ndarray[Any, np.dtype[np.void]]:
    def width(column: str) -> int:
        return max((len(getattr(row, column)) for row in samples), default=1) or 1

    dtype = np.dtype([(name, f"S{width(name)}" if kind == "S" else kind) for name, kind in layout.SAMPLE_FIELDS])
    return np.fromiter(samples, dtype, len(samples))
