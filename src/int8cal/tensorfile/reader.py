"""Reads tensorfiles: those of int8cal and those of NVIDIA's tools. Lazy: one batch in memory at a time.

A tensorfile may come from anywhere: what stands between it and the code here is `int8cal.guard.hdf5`. Links to part
files are followed when the manifest declares them (see `int8cal.tensorfile.parts`).
"""

from __future__ import annotations

import os
from contextlib import closing
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from int8cal.errors import TensorFileError
from int8cal.guard.hdf5 import Hdf5File, StoredArray
from int8cal.guard.hdf5_errors import damaged
from int8cal.guard.json_text import parsed_json
from int8cal.io.paths import given_path, kind_of_file, near_names, refuse_missing_address
from int8cal.io.safe_text import shell_word
from int8cal.io.summary import counted, times
from int8cal.io.threads import map_on_threads, usable_cores
from int8cal.tensorfile import layout
from int8cal.tensorfile.ahead import read_ahead
from int8cal.tensorfile.checksums import image_checksum, record_is_intact
from int8cal.tensorfile.indexing import BatchSlice, IndexedBatches
from int8cal.tensorfile.parts import Parts, declared_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from int8cal.guard.hdf5 import Piece
    from int8cal.tensorfile.ahead import ReadBatch
    from int8cal.types import BatchNCHW_f32, ImageCHW_f32

    _StoredImage = tuple[int, int, ImageCHW_f32, list[Piece]]

_CHECKSUM = "xxh3_128"
_WORTH_THREADS = 4
"""Images, of fewer of which threads are not worth starting."""
_NO_MATCH = "its checksum is another"
_MAKE_AGAIN = "It is damaged, or of a later version. Make it again."


class TensorFile(IndexedBatches):
    """A tensorfile, opened for reading.

    Indexing and iterating give batches as float32 arrays (B, C, H, W), C-contiguous, whatever the file stores, again
    and again. Close it, or use it in a ``with`` statement.

        with TensorFile("calibration.tensor") as file:
            for batch in file:  # float32 (B, C, H, W)
                ...
            first, last = file[0], file[-1]  # batches
            image = file[0, 3]  # (C, H, W): batch 0, image 3
            some = file[2:5]  # reads nothing before it is used
            everything = np.asarray(file)  # (batches, B, C, H, W)

    ``shape``, ``ndim`` and ``dtype`` are those of one batch and ``len`` is the number of batches, so that the array of
    all has the shape ``(len(file), *file.shape)``.

    Args:
        path: the file.

    Raises:
        TensorFileError: it is not a tensorfile, was not closed properly, or is unsound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = given_path(path, "a tensorfile")
        try:
            kind = kind_of_file(self.path, follow_links=True)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            kind = None
        if kind is None:
            refuse_missing_address(self.path)
        if kind != "a file":
            hint = "Give the path of a tensorfile."
            if not kind:
                raise self._error("no such file", hint=near_names(self.path, hint))
            if kind == "a folder":
                hint += f" One of images is made by: int8cal images {shell_word(self.path)} -o FILE …"
            raise self._error(f"is {kind}", hint=hint)
        self._parts: Parts | None = None
        self._manifest_text = b""
        self._file = Hdf5File(self.path)
        try:
            self._attributes = self._file.attributes()
            self._count = self._read_count()
            self._shape = self._read_shape()
            self.manifest = self._read_manifest()
            """The manifest as a dictionary; None in files of other tools."""
            declared = declared_parts(self.manifest or {}, self._count, self.path)
            if declared:
                self._parts = Parts(self, self._file, declared)
        except BaseException:
            self.close()
            raise

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return self._shape

    @property
    def paths(self) -> tuple[str, ...]:
        """The file and its parts, if it has any."""
        return (self.path, *(self._parts.paths if self._parts else ()))

    def encoded_sha256(self) -> dict[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from; empty in files of other tools.

        Raises:
            TensorFileError: the sample table is damaged.
        """
        if self.samples is None:
            return {}
        used = self.samples[self.samples["batch"] != layout.SKIPPED]
        numbers = used["batch"].astype(np.int64) * self._shape[0] + used["position"]
        return {int(number): bytes(row["sha256"]) for number, row in zip(numbers, used, strict=True)}

    @property
    def file_bytes(self) -> int:
        """Bytes that the file takes on the disk, with its parts.

        Raises:
            TensorFileError: a part is missing.
        """
        return self._file.size + (self._parts.file_bytes if self._parts else 0)

    @cached_property
    def samples(self) -> np.ndarray[Any, np.dtype[np.void]] | None:
        """The sample table (`int8cal.tensorfile.layout.SampleRow` by column name); None in files of other tools.

        It is read once, and cannot be written to.

        Raises:
            TensorFileError: the table is damaged or has other columns.
        """
        stored = self._stored_samples()
        if stored is None:
            return None
        if len(stored.shape) != 1 or not stored.is_plain or not _is_sample_type(stored.dtype):
            raise self._error("the sample table has other columns than this version knows")
        table: np.ndarray[Any, np.dtype[np.void]] = stored.read()
        table.flags.writeable = False  # it is everybody's
        return table

    @property
    def format_version(self) -> int | None:
        """``schema`` of the manifest; None in files of other tools."""
        stated = (self.manifest or {}).get("schema")
        return stated if type(stated) is int else None

    @cached_property
    def checksums(self) -> np.ndarray[Any, np.dtype[np.void]] | None:
        """XXH3-128 of each image's array, 16 bytes each, in order of the file; None where it has none.

        Raises:
            TensorFileError: the sample table is damaged, or is not of as many images.
        """
        table = self.samples
        if table is None or _CHECKSUM not in (table.dtype.names or ()):
            return None
        used = table[table["batch"] != layout.SKIPPED]
        if len(used) != self._count * self._shape[0]:
            raise self._error("the sample table is not of as many images as the file has")
        checksums: np.ndarray[Any, np.dtype[np.void]] = used[_CHECKSUM]
        return checksums

    @property
    def record_is_intact(self) -> bool:
        """Whether manifest and sample table are as they were written, by the checksum that the manifest states.

        Raises:
            TensorFileError: the sample table is damaged.
        """
        return record_is_intact(self._manifest_text, self.samples)

    def objects(self, batch: int | None = None) -> list[str]:
        """Names of everything that lies in the root group, or in the group of a batch.

        Raises:
            TensorFileError: the batch is not a group, or the names cannot be read.
        """
        if batch is not None and self._parts:
            part, batch = self._parts.find(batch)
            return part.objects(batch)
        return self._file.names(*([] if batch is None else [layout.group_name(batch)]))

    def is_as_written(self, batch: int | None = None) -> bool:
        """Whether what describes a batch, or all else, is exactly what int8cal writes.

        What is looked at here changes no array, but what other readers are told: attributes, their types, whether a
        dataset may grow, its chunks, its filters and its fill value.

        Raises:
            TensorFileError: something cannot be read.
        """
        if batch is None:
            attributes, samples, table = self._attributes, self._stored_samples(), self.samples
            types = {name: (found.shape, found.dtype) for name, found in attributes.items() if found.is_plain}
            integer, text = np.dtype("<i8"), np.dtype(("S", len(self._manifest_text)))
            written = {layout.COUNT: ((), integer), layout.SHAPE: ((4,), integer), layout.MANIFEST: ((), text)}
            if types != written or len(attributes) != len(written):
                return False
            if samples is None or table is None:
                return True
            widths = layout.text_widths(table.dtype)
            return (
                samples.is_fixed
                and not self._file.attribute_count(layout.SAMPLES)
                and (self.manifest or {}).get(layout.TEXT_WIDTHS, widths) == widths
            )
        if self._parts:
            part, batch = self._parts.find(batch)
            return part.is_as_written(batch)
        group = layout.group_name(batch)
        attributes_of_batch = self._file.attribute_count(group) + self._file.attribute_count(group, layout.DATASET)
        stored = self.stored(batch)
        is_usual = stored.chunks == (1, *self._shape[1:]) and stored.filters in ((), ("shuffle", "deflate"))
        return is_usual and stored.is_fixed and not attributes_of_batch

    def stored(self, batch: int) -> StoredArray:
        """How a batch is stored, checked: type, filters, size in the file.

        Raises:
            TensorFileError: the batch is missing, or its description is unsound.
        """
        if self._parts:
            part, batch = self._parts.find(batch)
            return part.stored(batch)
        what = f"batch {batch}"
        names = layout.group_name(batch), layout.DATASET
        stored = self._file.array(*names, what=what, max_bytes=2 * layout.MAX_BATCH_BYTES)
        if stored.shape != self._shape:
            raise damaged(self.path, f"{what} has shape {stored.shape}, the file says {self._shape}")
        if stored.dtype.kind != "f" or stored.dtype.itemsize > 8 or not stored.is_plain:
            raise damaged(self.path, f"{what} holds {stored.dtype}, not floating-point numbers")
        return stored

    def storage(self, batch: int) -> tuple[str, int]:
        """(dtype, bytes) of a batch as stored in the file: says whether it is float64, and how well it compressed."""
        stored = self.stored(batch)
        return str(stored.dtype), stored.stored_bytes

    def filters(self, batch: int) -> tuple[str, ...]:
        """Names of the HDF5 filters of a batch, in the order in which they were applied."""
        return self.stored(batch).filters

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        return self.read_ahead(range(self._count))

    def read_all(self, measure: Callable[[ImageCHW_f32, bytes], Any]) -> Generator[ReadBatch]:
        """Every batch in order, with what ``measure`` makes of each image: it is called on the threads that inflate.

        Args:
            measure: called with an image and its checksum (`int8cal.tensorfile.checksums.image_checksum`).

        Returns:
            The batches; one that cannot be used holds the error, and the others are read on.
        """

        def look(batch: int, position: int, image: ImageCHW_f32) -> Any:
            return measure(image, self._checked(batch, position, image))

        return read_ahead(self.stored, range(self._count), self._shape, look, as_zlib=True)

    def _view(self, key: slice) -> BatchSlice:
        return BatchSlice(self, range(self._count)[key])

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{self.path}: {super().summary()}{'' if self._file.is_open else ', closed'}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "batches", f"{self._count} of {times(self._shape)} float32"
        yield "images", self.image_count
        for name in ("network", "split", "seed"):
            if self.manifest and name in self.manifest:
                yield name, self.manifest[name]
        if self.manifest is None:
            yield "manifest", "none: not made by int8cal"

    def close(self) -> None:
        """Close the file."""
        if self._parts:
            self._parts.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _batch(self, batch: int) -> BatchNCHW_f32:
        return next(self.read_ahead(range(batch, batch + 1)))

    def _image(self, batch: int, position: int) -> ImageCHW_f32:
        return next(self.images([batch * self._shape[0] + position]))

    def images(self, numbers: Sequence[int]) -> Iterator[ImageCHW_f32]:
        """Some images by their numbers in the file; those that come next are inflated on threads, and no others.

        Raises:
            IndexError: the file has no such image; numbers count from 0, never from the end.
            TensorFileError: an image cannot be read, or is not what was written.
        """
        for number in numbers if not isinstance(numbers, range) else (*numbers[:1], *numbers[-1:]):
            if not 0 <= number < self.image_count:
                raise IndexError(f"image {number} of {self.image_count}")

        def stored() -> Iterator[_StoredImage]:
            size, *extents = self._shape
            for batch, together in groupby(numbers, lambda number: number // size):
                array = self.stored(batch)
                for number in together:
                    values = np.empty((1, *extents), np.float32)
                    yield batch, number % size, values[0], list(array.pieces(values, number % size))

        def inflated(image: _StoredImage) -> ImageCHW_f32:
            batch, position, values, pieces = image
            for piece in pieces:
                piece()
            if self.checksums is not None:
                self._checked(batch, position, values)
            return values

        if len(numbers) < _WORTH_THREADS:
            yield from map(inflated, stored())
            return
        cores = usable_cores()
        workers = max(1, cores // 2)  # networks run on the others; and each takes memory for an image
        with closing(map_on_threads(inflated, stored(), workers, window=cores)) as images:
            yield from images

    def read_ahead(self, numbers: range) -> Iterator[BatchNCHW_f32]:
        """Some batches by their numbers; the images that come next are inflated on threads meanwhile."""
        look = self._no_look if self.checksums is None else self._checked
        with closing(read_ahead(self.stored, numbers, self._shape, look)) as batches:
            for batch in batches:
                if batch.error:
                    raise batch.error
                values = batch.values
                del batch
                yield values
                del values

    @staticmethod
    def _no_look(batch: int, position: int, image: ImageCHW_f32) -> None:
        """Nothing is known of the image."""

    def _checked(self, batch: int, position: int, image: ImageCHW_f32) -> bytes:
        """The checksum of an image, which is that of the file, if it has any."""
        checksum = image_checksum(image)
        number = batch * self._shape[0] + position
        if self.checksums is not None and checksum != self.checksums[number].tobytes():
            raise damaged(self.path, f"batch {batch} image {position} is not what was written: {_NO_MATCH}")
        return checksum

    def _stored_samples(self) -> StoredArray | None:
        if not self._file.has(layout.SAMPLES):
            return None
        largest = min(layout.MAX_SAMPLES_BYTES, self._file.size * layout.MAX_SAMPLES_EXPANSION)
        return self._file.array(layout.SAMPLES, what="the sample table", max_bytes=largest)

    def _read_count(self) -> int:
        attribute = self._attributes.get(layout.COUNT)
        if attribute is None:
            raise self._error(
                f"no root attribute {layout.COUNT!r}: it is HDF5, but no tensorfile",
                hint="Give what calibration_tensorfile made; models and other data in HDF5 are of no use here.",
            )
        if attribute.shape != () or attribute.dtype.kind not in "iu":
            raise self._error(f"root attribute {layout.COUNT!r} is not an integer", hint=_MAKE_AGAIN)
        count = int(self._file.value(layout.COUNT))
        objects = self._file.count()
        if not 0 < count <= objects:
            raise self._error(
                f"says it has {counted(count, 'batch')}, and holds {counted(objects, 'object')}",
                hint="It is empty or incomplete: the run that made it failed. Make it again.",
            )
        return count

    def _read_shape(self) -> tuple[int, int, int, int]:
        attribute = self._attributes.get(layout.SHAPE)
        if attribute is None or attribute.shape != (4,) or attribute.dtype.kind not in "iu":
            raise self._error(f"root attribute {layout.SHAPE!r} is not four integers")
        batch, channels, height, width = (int(extent) for extent in self._file.value(layout.SHAPE))
        if min(batch, channels, height, width) < 1 or batch * channels * height * width * 4 > layout.MAX_BATCH_BYTES:
            raise self._error(f"batches of shape {(batch, channels, height, width)} are not possible")
        return batch, channels, height, width

    def _read_manifest(self) -> dict[str, Any] | None:
        attribute = self._attributes.get(layout.MANIFEST)
        if attribute is None:
            return None
        if attribute.shape != () or attribute.dtype.kind != "S":
            raise self._error("the manifest is not text", hint=_MAKE_AGAIN)
        if attribute.dtype.itemsize > layout.MAX_MANIFEST_BYTES:
            raise self._error(f"the manifest has over {layout.MAX_MANIFEST_BYTES} bytes", hint=_MAKE_AGAIN)
        self._manifest_text = bytes(self._file.value(layout.MANIFEST))
        unreadable = "the manifest is not JSON that can be read"
        manifest = parsed_json(self._manifest_text, TensorFileError, unreadable, where=self.path, hint=_MAKE_AGAIN)
        if not isinstance(manifest, dict):
            raise self._error("the manifest is not a JSON object", hint=_MAKE_AGAIN)
        return manifest

    def _error(self, message: str, *, hint: str | None = None) -> TensorFileError:
        return TensorFileError(message, where=self.path, hint=hint)


def _is_sample_type(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is that of a sample table of any format version, at any length of its texts."""
    fields: Mapping[str, Any] = dtype.fields or {}
    for columns in (layout.SAMPLE_FIELDS, layout.SAMPLE_FIELDS_1):
        if tuple(fields) == tuple(name for name, _ in columns):
            widths = {name: field[0].itemsize for name, field in fields.items()}
            kinds = [(name, f"S{widths[name]}" if kind == "S" else kind) for name, kind in columns]
            return bool(dtype == np.dtype(kinds))  # packed, too
    return False
