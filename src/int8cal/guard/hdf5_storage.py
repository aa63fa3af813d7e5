"""Values of HDF5 datasets, taken on nobody's word.

HDF5 follows links into other files, loads filter plug-ins by name, and lets a compressed chunk inflate as far as it
likes before it looks at the size. So nothing here goes through HDF5's own reading: a dataset's description is checked
first, and its chunks are then found and inflated here, each into no more bytes than its description allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from int8cal.guard.hdf5_skeleton import Chunk, ObjectHeader, Skeleton, damaged, hdf5_errors
from int8cal.tensorfile import layout

_FILTERS = {h5py.h5z.FILTER_DEFLATE: "deflate", h5py.h5z.FILTER_SHUFFLE: "shuffle", h5py.h5z.FILTER_LZF: "lzf"}
_PIPELINES = frozenset({(), ("shuffle",), ("deflate",), ("lzf",), ("shuffle", "deflate"), ("shuffle", "lzf")})
_FLOATS = tuple(getattr(h5py.h5t, f"IEEE_F{bits}{order}") for bits in (16, 32, 64) for order in ("LE", "BE"))
_MAX_EXPANSION = 1100
"""More than deflate can expand (1032); beyond it a dataset's declared size is a lie."""
_METADATA_CACHE_BYTES = 2 << 20
_CHUNK_SLACK = 1 << 16
"""Bytes by which a chunk may be larger than the data in it: small chunks are rounded up, and compression can fail."""


def child(parent: h5py.h5g.GroupID, name: str, file: Skeleton, what: str) -> tuple[Any, ObjectHeader]:
    """The object under a name in a group; hard links alone are followed.

    Args:
        parent: the group.
        name: name of the link.
        file: the file.
        what: what messages call the object.

    Returns:
        The low-level identifier (`h5py.h5g.GroupID`, `h5py.h5d.DatasetID`, …), and its header.

    Raises:
        TensorFileError: there is no such name, it is a link to another place, or it cannot be followed or opened.
    """
    encoded = name.encode()
    with hdf5_errors(file.path, what):
        if not parent.links.exists(encoded):
            raise damaged(file.path, f"{name} is missing", hint="The file is incomplete; make it again.")
        link = parent.links.get_info(encoded)
        if link.type != h5py.h5l.TYPE_HARD:
            raise damaged(file.path, f"{name} is a link to another place, which a tensorfile never holds", hint=None)
        header = file.check(link.u)
        return h5py.h5o.open(parent, encoded), header


def names(group: h5py.h5g.GroupID, file: Skeleton) -> list[bytes]:
    """Names of the links in a group that was checked.

    Raises:
        TensorFileError: together they are larger than the file, which happens when many links share one name.
    """
    found: list[bytes] = []
    left = file.size

    def take(name: bytes) -> bool | None:
        nonlocal left
        left -= len(name) + layout.MIN_LINK_BYTES
        found.append(name)
        return left < 0 or None  # None: go on

    group.links.iterate(take, order=h5py.h5.ITER_NATIVE)  # any other order has HDF5 list them all first
    if left < 0:
        raise damaged(file.path, "holds more names than fit into it")
    return found


def bound_metadata_cache(file: h5py.h5f.FileID) -> None:
    """Keep HDF5 from remembering where every batch lies: left alone, that takes 240 MB for 10,000 batches."""
    config = file.get_mdc_config()
    config.max_size = config.initial_size = _METADATA_CACHE_BYTES
    config.min_size = min(config.min_size, _METADATA_CACHE_BYTES)
    file.set_mdc_config(config)


@dataclass(frozen=True)
class StoredArray:
    """A dataset whose description is sound. Its values have not been read.

    Attributes:
        file: the file.
        what: what messages call it.
        shape: extents.
        dtype: type of its values in the file.
        filters: names of its filters, in the order in which they were applied.
        chunks: extents of a chunk; None when it is stored in one piece.
        stored_bytes: what its values take in the file.
    """

    file: Skeleton
    what: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    filters: tuple[str, ...]
    chunks: tuple[int, ...] | None
    stored_bytes: int
    _id: h5py.h5d.DatasetID
    _index: Mapping[tuple[int, ...], Chunk]

    @property
    def is_floating_point(self) -> bool:
        """Whether its values are IEEE numbers of 16, 32 or 64 bit; HDF5 knows many other types that NumPy has not."""
        with hdf5_errors(self.file.path, self.what):
            return self._id.get_type() in _FLOATS

    @classmethod
    def of(cls, parent: h5py.h5g.GroupID, name: str, *, file: Skeleton, what: str, max_bytes: int) -> StoredArray:
        """Open a dataset and check everything about it but its values.

        Args:
            parent: the group that holds it.
            name: its name there.
            file: the file.
            what: what messages call it.
            max_bytes: largest size of its values, uncompressed.

        Raises:
            TensorFileError: it is no dataset, refers to other files, has filters other than shuffle, deflate and lzf,
                is larger than ``max_bytes``, or larger than the bytes that are stored can make.
        """
        dataset, header = child(parent, name, file, what)
        if not isinstance(dataset, h5py.h5d.DatasetID):
            raise damaged(file.path, f"{what} is no dataset")
        with hdf5_errors(file.path, what):
            return cls._described(dataset, header, file, what, max_bytes)

    @classmethod
    def _described(
        cls, dataset: h5py.h5d.DatasetID, header: ObjectHeader, file: Skeleton, what: str, max_bytes: int
    ) -> StoredArray:
        properties = dataset.get_create_plist()
        filters = tuple(_FILTERS.get(properties.get_filter(i)[0], "") for i in range(properties.get_nfilters()))
        if filters not in _PIPELINES:
            raise damaged(file.path, f"{what} uses HDF5 filters other than shuffle, then deflate or lzf", hint=None)
        is_chunked = properties.get_layout() == h5py.h5d.CHUNKED
        index = file.chunks(header)
        stored = cls(
            file=file,
            what=what,
            shape=tuple(dataset.shape),
            dtype=np.dtype(dataset.dtype),
            filters=filters,
            chunks=tuple(properties.get_chunk()) if is_chunked else None,
            stored_bytes=sum(chunk.size for chunk in index.values()) if is_chunked else dataset.get_storage_size(),
            _id=dataset,
            _index=index,
        )
        stored._check_sizes(max_bytes)
        return stored

    @property
    def nbytes(self) -> int:
        """Bytes of its values, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    def _check_sizes(self, max_bytes: int) -> None:
        if self._id.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE or min(self.shape, default=0) < 1:
            self._refuse(f"has no values (shape {self.shape})")
        if self.nbytes > max_bytes:
            self._refuse(f"has {self.nbytes} bytes, more than {max_bytes}")
        if self.stored_bytes * _MAX_EXPANSION < self.nbytes or self.stored_bytes > self.file.size:
            self._refuse(f"says it has {self.nbytes} bytes, but only {self.stored_bytes} are stored")
        if self.chunks and self._chunk_bytes > 2 * self.nbytes + _CHUNK_SLACK:
            self._refuse("has chunks larger than itself")

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self.chunks or ()) * self.dtype.itemsize

    @property
    def _grid(self) -> list[range]:
        return [range(0, extent, step) for extent, step in zip(self.shape, self.chunks or (), strict=True)]

    def read(self, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """All values, C-contiguous, converted to ``dtype`` (None: as stored).

        Raises:
            TensorFileError: a chunk is missing or damaged, or inflates to another size than it has.
        """
        values = np.empty(self.shape, self.dtype if dtype is None else dtype)
        with hdf5_errors(self.file.path, self.what), np.errstate(over="ignore"):  # float64 beyond float32 is infinite
            if self.chunks is None:
                self._read_whole(values)
            else:
                for place, chunk in self._chunks():
                    inside = tuple(slice(0, part.stop - part.start) for part in place)
                    values[place] = chunk[inside]
        return values

    def _read_whole(self, values: npt.NDArray[Any]) -> None:
        offset = self._id.get_offset()  # None for values inside the object header
        if offset is not None and offset + self.nbytes > self.file.size:
            self._refuse("reaches beyond the end of the file")
        self._id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)

    def _chunks(self) -> Iterator[tuple[tuple[slice, ...], npt.NDArray[Any]]]:
        """Each chunk, with its place in the array: the last ones of a row may stand out over the edge."""
        shape = self.chunks or ()
        for corner in product(*self._grid):
            place = tuple(
                slice(start, min(start + step, extent))
                for start, step, extent in zip(corner, shape, self.shape, strict=True)
            )
            yield place, np.frombuffer(self._chunk(corner), self.dtype).reshape(shape)

    def _chunk(self, corner: tuple[int, ...]) -> Any:
        chunk = self._index.get(corner)
        if chunk is None:
            self._refuse(f"lacks the chunk at {corner}")
        if chunk.size > self._chunk_bytes * 1.01 + _CHUNK_SLACK:
            self._refuse(f"has a chunk at {corner} of {chunk.size} bytes, for values of {self._chunk_bytes}")
        data: Any = self.file.read(chunk.address, chunk.size)
        for position in reversed(range(len(self.filters))):
            if not chunk.filter_mask >> position & 1:
                data = _undo(self.filters[position], data, self._chunk_bytes, self.dtype.itemsize)
        if len(data) != self._chunk_bytes:
            self._refuse(f"has a chunk at {corner} that inflates to another size than {self._chunk_bytes} bytes")
        return data

    def _refuse(self, reason: str) -> NoReturn:
        raise damaged(self.file.path, f"{self.what} {reason}")


def _undo(name: str, data: Any, size: int, itemsize: int) -> Any:
    """What a filter was given, at most ``size + 1`` bytes of it."""
    if name == "shuffle":
        if len(data) % itemsize:
            raise ValueError("a shuffled chunk is no whole number of values")
        planes = np.frombuffer(data, np.uint8).reshape(itemsize, -1)
        return np.ascontiguousarray(planes.T).reshape(-1)
    if name == "lzf":
        return _inflate_lzf(data, size)
    return _inflate(data, size)


def _inflate(data: bytes, size: int) -> bytes:
    inflater = isal_zlib.decompressobj()
    try:
        inflated: bytes = inflater.decompress(data, size + 1)
    except isal_zlib.error as reason:  # type: ignore[misc]  # the package's stub calls it a plain object
        raise ValueError(f"a chunk is no sound zlib stream: {reason}") from reason
    if len(inflated) <= size and not inflater.eof:
        raise ValueError("a chunk's zlib stream is cut off")
    return inflated


def _inflate_lzf(data: bytes, size: int) -> bytes:
    import imagecodecs

    try:
        return bytes(imagecodecs.lzf_decode(data, header=False, out=size))
    except RuntimeError as reason:  # what codec errors are
        raise ValueError(f"a chunk is no sound LZF stream: {reason}") from reason
