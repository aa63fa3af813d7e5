"""Reads tensorfiles: those of int8cal and those of NVIDIA's tools. Lazy: one batch in memory at a time.

A tensorfile may come from anywhere, so nothing in it is trusted: links other than hard ones, filters other than those
of the format, shapes that do not agree and sizes that the file cannot hold are refused before memory is taken.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self, overload

import h5py
import numpy as np

from int8cal.errors import TensorFileError
from int8cal.tensorfile import layout
from int8cal.tensorfile.adapters import BatchSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.types import BatchNCHW_f32

_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_LZF})
_MAX_EXPANSION = 1100
"""More than deflate can expand (1032); beyond it a dataset's declared size is a lie."""


class TensorFile(BatchSource):
    """A tensorfile, opened for reading.

    Indexing and iterating give batches as float32 arrays (B, C, H, W), C-contiguous, whatever the file stores, again
    and again. Close it, or use it in a ``with`` statement.

        with TensorFile("calibration.tensor") as file:
            print(len(file), file.shape)
            for batch in file:
                ...

    Args:
        path: the file.

    Raises:
        TensorFileError: it is no tensorfile, was not closed properly, or is unsound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise self._error("no such file", hint="Give the path of a tensorfile.")
        try:
            self._file = h5py.File(self.path, "r", locking=False)
        except OSError as error:
            raise self._error(
                "cannot be opened as HDF5: it is no tensorfile, was cut off, or was never closed by what wrote it",
                hint="Make it again.",
            ) from error
        try:
            self._count = self._read_count()
            self._shape = self._read_shape()
            self.manifest = self._read_manifest()
            """The manifest as a dictionary; None in files of other tools."""
        except BaseException:
            self._file.close()
            raise

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return self._shape

    @property
    def nbytes(self) -> int:
        """Bytes of all batches as float32, uncompressed."""
        return self._count * int(np.prod(self._shape, dtype=np.int64)) * 4

    @property
    def samples(self) -> np.ndarray[Any, np.dtype[np.void]] | None:
        """The sample table (`int8cal.tensorfile.layout.SampleRow` by column name); None in files of other tools."""
        if layout.SAMPLES not in self._file:
            return None
        dataset = self._hard_dataset(self._file, layout.SAMPLES)
        names = tuple(name for name, _ in layout.SAMPLE_FIELDS)
        if dataset.dtype.names != names or dataset.ndim != 1:
            raise self._error("the sample table has other columns than this version knows")
        self._check_storage(dataset, layout.SAMPLES)
        table: np.ndarray[Any, np.dtype[np.void]] = self._read(dataset)
        return table

    def storage(self, batch: int) -> tuple[str, int]:
        """(dtype, bytes) of a batch as stored in the file: says whether it is float64, and how well it compressed."""
        dataset = self._dataset(batch)
        return str(dataset.dtype), int(dataset.id.get_storage_size())

    def filters(self, batch: int) -> tuple[str, ...]:
        """Names of the HDF5 filters of a batch, in the order in which they were applied."""
        names = {h5py.h5z.FILTER_DEFLATE: "deflate", h5py.h5z.FILTER_SHUFFLE: "shuffle", h5py.h5z.FILTER_LZF: "lzf"}
        properties = self._dataset(batch).id.get_create_plist()
        return tuple(names[properties.get_filter(i)[0]] for i in range(properties.get_nfilters()))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        for batch in range(self._count):
            yield self._batch(batch)

    @overload
    def __getitem__(self, key: int) -> BatchNCHW_f32: ...
    @overload
    def __getitem__(self, key: slice) -> list[BatchNCHW_f32]: ...
    def __getitem__(self, key: int | slice) -> BatchNCHW_f32 | list[BatchNCHW_f32]:
        if isinstance(key, slice):
            return [self._batch(batch) for batch in range(*key.indices(self._count))]
        batch = key + self._count if key < 0 else key
        if not 0 <= batch < self._count:
            raise IndexError(f"batch {key} of a tensorfile with {self._count} batches")
        return self._batch(batch)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _batch(self, batch: int) -> BatchNCHW_f32:
        return np.ascontiguousarray(self._read(self._dataset(batch)), np.float32)

    def _dataset(self, batch: int) -> h5py.Dataset:
        name = layout.group_name(batch)
        group = self._hard_link(self._file, name)
        if not isinstance(group, h5py.Group):
            raise self._error(f"batch {batch} is no group", hint="The file is damaged; make it again.")
        dataset = self._hard_dataset(group, layout.DATASET)
        if dataset.shape != self._shape:
            raise self._error(f"batch {batch} has shape {dataset.shape}, the file says {self._shape}")
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
            raise self._error(f"batch {batch} holds {dataset.dtype}, not floating-point numbers")
        self._check_storage(dataset, f"batch {batch}")
        return dataset

    def _hard_dataset(self, parent: h5py.Group, name: str) -> h5py.Dataset:
        dataset = self._hard_link(parent, name)
        if not isinstance(dataset, h5py.Dataset):
            raise self._error(f"{name} is no dataset")
        return dataset

    def _hard_link(self, parent: h5py.Group, name: str) -> Any:
        try:
            link = parent.get(name, getlink=True)
        except (KeyError, RuntimeError, OSError) as error:
            raise self._error(f"cannot read {name}: {_first_line(error)}") from error
        if link is None:
            raise self._error(f"{name} is missing", hint="The file is incomplete; make it again.")
        if not isinstance(link, h5py.HardLink):
            raise self._error(f"{name} is a link to another place, which a tensorfile never holds")
        try:
            return parent[name]
        except (KeyError, RuntimeError, OSError) as error:
            raise self._error(f"cannot read {name}: {_first_line(error)}") from error

    def _check_storage(self, dataset: h5py.Dataset, what: str) -> None:
        """Refuse what would take memory that the file cannot back, or code that is not HDF5's own."""
        properties = dataset.id.get_create_plist()
        if properties.get_layout() not in (h5py.h5d.CHUNKED, h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
            raise self._error(f"{what} is a virtual dataset, which a tensorfile never holds")
        if properties.get_external_count():
            raise self._error(f"{what} keeps its values in another file, which a tensorfile never does")
        for position in range(properties.get_nfilters()):
            if properties.get_filter(position)[0] not in _FILTERS:
                raise self._error(f"{what} uses an HDF5 filter other than shuffle, deflate and lzf")
        logical = dataset.size * dataset.dtype.itemsize
        if logical > 2 * layout.MAX_BATCH_BYTES:
            raise self._error(f"{what} has {logical} bytes, more than {2 * layout.MAX_BATCH_BYTES}")
        stored = dataset.id.get_storage_size()
        if stored * _MAX_EXPANSION < logical:
            raise self._error(f"{what} says it has {logical} bytes, but only {stored} are stored")
        if dataset.chunks and int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize > logical * 2 + 65536:
            raise self._error(f"{what} has chunks larger than itself")

    def _read(self, dataset: h5py.Dataset) -> np.ndarray[Any, Any]:
        try:
            values: np.ndarray[Any, Any] = dataset[()]
        except (OSError, RuntimeError, ValueError) as error:
            raise self._error(
                f"{dataset.name} cannot be read: {_first_line(error)}", hint="The file is damaged; make it again."
            ) from error
        return values

    def _attribute(self, name: str) -> h5py.h5a.AttrID | None:
        if name not in self._file.attrs:
            return None
        return self._file.attrs.get_id(name)

    def _read_count(self) -> int:
        attribute = self._attribute(layout.COUNT)
        if attribute is None:
            raise self._error(f"no root attribute {layout.COUNT!r}: it is HDF5, but no tensorfile")
        if attribute.shape != () or attribute.dtype.kind not in "iu":
            raise self._error(f"root attribute {layout.COUNT!r} is no integer")
        count = int(self._file.attrs[layout.COUNT])
        if not 0 < count <= len(self._file):
            raise self._error(
                f"says it has {count} batches, and holds {len(self._file)} objects",
                hint="It is empty or incomplete: the run that made it failed. Make it again.",
            )
        return count

    def _read_shape(self) -> tuple[int, int, int, int]:
        attribute = self._attribute(layout.SHAPE)
        if attribute is None or attribute.shape != (4,) or attribute.dtype.kind not in "iu":
            raise self._error(f"root attribute {layout.SHAPE!r} is not four integers")
        batch, channels, height, width = (int(extent) for extent in self._file.attrs[layout.SHAPE])
        if min(batch, channels, height, width) < 1 or batch * channels * height * width * 4 > layout.MAX_BATCH_BYTES:
            raise self._error(f"batches of shape {(batch, channels, height, width)} are not possible")
        return batch, channels, height, width

    def _read_manifest(self) -> dict[str, Any] | None:
        attribute = self._attribute(layout.MANIFEST)
        if attribute is None:
            return None
        if attribute.shape != () or attribute.dtype.kind != "S":
            raise self._error("the manifest is no text")
        try:
            manifest = json.loads(bytes(self._file.attrs[layout.MANIFEST]))
        except (ValueError, RecursionError) as error:
            raise self._error(f"the manifest is no JSON: {error}") from error
        if not isinstance(manifest, dict):
            raise self._error("the manifest is no JSON object")
        return manifest

    def _error(self, message: str, *, hint: str | None = None) -> TensorFileError:
        return TensorFileError(message, where=self.path, hint=hint)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
