"""HDF5 files from anybody: every call into h5py that reads one is here.

HDF5 follows links into other files, loads filter plug-ins by name, and lets a compressed chunk inflate as far as it
likes before it looks at the size. So a name is followed only where `int8cal.guard.hdf5_walk` came to an end, only hard
links are, and the description of a dataset is checked before its values are asked for. What HDF5 then does is look a
chunk up and hand on its stored bytes: what is read is what any HDF5 reader gets. It is inflated here, into memory of
the size that the description allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from int8cal.errors import UsageError
from int8cal.guard.hdf5_errors import damaged, hdf5_errors, no_hdf5, open_already
from int8cal.guard.hdf5_filters import inflated, room_of, settings_are_sound, unshuffle
from int8cal.guard.hdf5_walk import MAX_ENTRIES, OTHER_FILTERS, Chunks, RefusedError, UnsoundError, Walk
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.safe_text import short_repr

_FILTERS = {h5py.h5z.FILTER_DEFLATE: "deflate", h5py.h5z.FILTER_SHUFFLE: "shuffle", h5py.h5z.FILTER_LZF: "lzf"}
_PIPELINES = frozenset({(), ("shuffle",), ("deflate",), ("lzf",), ("shuffle", "deflate"), ("shuffle", "lzf")})
_MIN_LINK_BYTES = 40
"""A file has more bytes than this for each name in a group."""
_MAX_EXPANSION = 1100
"""More than deflate can expand (1032); beyond it a dataset's declared size is a lie."""
_FEW_IMAGES, _FEW_CHUNKS, _MIN_CHUNK_BYTES = 256, 32, 1 << 10
_MANY_CHUNKS, _MIN_BYTES_OF_MANY = 1 << 14, 1 << 15
"""Smallest chunk, of more than a few and of more than many: each one costs 0.1 ms. A chunk for each image is usual."""
_CHUNK_SLACK = 1 << 16
"""Bytes by which a chunk may be larger than the data in it: small chunks are rounded up, and compression can fail."""
_MAX_NODES_OF_BATCH = 64
"""Of the group of a batch, which holds one dataset."""
_METADATA_CACHE_BYTES = 2 << 20
_PIECE_BYTES = 1 << 20
"""Values that are inflated in one go: enough to be worth a thread's while."""


class Attribute(NamedTuple):
    """An attribute of the root group. Its value has not been read.

    Attributes:
        shape: extents; () for one value, None for none.
        dtype: type of its values.
        is_plain: whether HDF5's type is the one that h5py makes for this dtype; HDF5 knows many others.
    """

    shape: tuple[int, ...] | None
    dtype: np.dtype[Any]
    is_plain: bool


class Hdf5File:
    """An HDF5 file, open for reading. Close it.

    Args:
        path: a regular file.
        most_nodes: of the tree of any group but the root; a node lists 4 to 8 objects.
        followed: what was followed in the same file before, by address; more is added to it.

    Attributes:
        path: as given.
        size: bytes of the file.

    Raises:
        TensorFileError: it is not HDF5, is of a newer format, or its root group is unsound.
    """

    def __init__(
        self, path: str, *, most_nodes: int = _MAX_NODES_OF_BATCH, followed: dict[int, Chunks] | None = None
    ) -> None:
        self.path = path
        self._most_nodes = most_nodes
        self._followed = followed
        with hdf5_errors(path, "the root group"):
            try:
                self._walk = Walk(path)
            except OSError as error:
                raise_if_lacking(error, path)
                raise damaged(path, f"cannot be opened: {error.strerror}", hint=None) from error
            except UnsoundError as error:
                raise no_hdf5(path) from error
            self.size = self._walk.size
            try:
                self._walk.follow_root()
                self._file = self._opened()
                self._open_root = h5py.h5g.open(self._file.id, b"/")
            except BaseException:
                self._walk.close()
                raise
        self._counted: set[int] = set()
        self._counted_bytes = 0

    def _opened(self) -> h5py.File:
        try:
            file = h5py.File(self.path, "r", locking=False)
        except Exception as error:
            raise_if_lacking(error, self.path)
            raise (open_already(self.path) if "don't match" in str(error) else no_hdf5(self.path)) from error
        # Left alone, HDF5 remembers where every batch lies: 240 MB for 10,000 batches.
        config = file.id.get_mdc_config()
        config.max_size = config.initial_size = _METADATA_CACHE_BYTES
        config.min_size = min(config.min_size, _METADATA_CACHE_BYTES)
        file.id.set_mdc_config(config)
        return file

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._walk.close()

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return bool(self._file)

    @property
    def _root(self) -> h5py.h5g.GroupID:
        if not self.is_open:
            hint = "Read it before, inside its with block."
            raise UsageError("the tensorfile was closed", where=self.path, hint=hint)
        return self._open_root

    def attributes(self) -> dict[str, Attribute]:
        """The attributes of the root group by name."""
        found = {}
        with hdf5_errors(self.path, "the attributes of the root group"):
            for name in self._file.attrs:
                if name in found:
                    raise damaged(self.path, f"has two attributes that are named {short_repr(name)}")
                attribute = self._file.attrs.get_id(name)
                found[name] = Attribute(attribute.shape, attribute.dtype, _is_plain(attribute))
        return found

    def value(self, attribute: str) -> Any:
        """Value of an attribute of the root group."""
        with hdf5_errors(self.path, f"root attribute {attribute!r}"):
            return self._file.attrs[attribute]

    def attribute_count(self, *names: str) -> int:
        """How many attributes an object has, by the names that lead to it."""
        with hdf5_errors(self.path, "/".join(names)):
            return int(h5py.h5a.get_num_attrs(self._object(names, "/".join(names))[0]))

    def count(self) -> int:
        """How many names the root group has, as far as the file has room for them."""
        with hdf5_errors(self.path, "the list of its objects"):
            return min(int(self._root.get_num_objs()), self.size // _MIN_LINK_BYTES)

    def names(self, *group: str) -> list[str]:
        """Names of the links in a group, by the names that lead to it.

        Raises:
            TensorFileError: together they are larger than the file, which happens when many links share one name.
        """
        found: list[str] = []
        left = self.size

        def take(name: bytes) -> bool | None:
            nonlocal left
            left -= len(name) + _MIN_LINK_BYTES
            found.append(name.decode(errors="surrogateescape"))
            return left < 0 or None  # None: go on

        opened = self._group(group, "/".join(group))
        with hdf5_errors(self.path, "the list of its objects"):
            opened.links.iterate(take, order=h5py.h5.ITER_NATIVE)  # any other order has HDF5 list them all first
        if left < 0:
            raise damaged(self.path, "holds more names than fit into it")
        if len(set(found)) < len(found):
            raise damaged(self.path, "holds a name twice")
        return found

    def has(self, name: str) -> bool:
        """Whether the root group has a name."""
        root = self._root
        with hdf5_errors(self.path, "the list of its objects"):
            return bool(root.links.exists(name.encode()))

    def external_link(self, name: str) -> tuple[bytes, bytes] | None:
        """File and object that a name of the root group links to; None when it is not a link to another file."""
        root = self._root
        with hdf5_errors(self.path, f"the link {name}"):
            encoded = name.encode()
            if not root.links.exists(encoded) or root.links.get_info(encoded).type != h5py.h5l.TYPE_EXTERNAL:
                return None
            file, target = root.links.get_val(encoded)
            return bytes(file), bytes(target)

    def array(self, *names: str, what: str, max_bytes: int) -> StoredArray:
        """A dataset, everything about it but its values checked.

        Args:
            names: the names that lead to it from the root group.
            what: what messages call it.
            max_bytes: largest size of its values, uncompressed.

        Raises:
            TensorFileError: not a dataset, refers to other files, has filters other than shuffle, deflate and lzf,
                is larger than ``max_bytes``, or larger than the bytes that are stored can make.
        """
        dataset, address, chunks = self._object(names, what)
        if not isinstance(dataset, h5py.h5d.DatasetID):
            raise damaged(self.path, f"{what} is not a dataset")
        with hdf5_errors(self.path, what):
            array = _described(self, dataset, chunks, what)
            _check_sizes(array, chunks, max_bytes)
        if address not in self._counted:
            self._counted.add(address)
            self._counted_bytes += array.stored_bytes
        if self._counted_bytes > self.size:
            raise damaged(self.path, f"{what} and other values lie in the same place")
        return array

    def _group(self, names: tuple[str, ...], what: str) -> h5py.h5g.GroupID:
        group = self._object(names, what)[0] if names else self._root
        if not isinstance(group, h5py.h5g.GroupID):
            raise damaged(self.path, f"{what} is not a group")
        return group

    def _object(self, names: tuple[str, ...], what: str) -> tuple[Any, int, Chunks]:
        """What hard links lead to from the root group: the object, the address of its header, its chunks."""
        parent: Any = self._root
        address, chunks = self._walk.root, Chunks()
        met = {address}
        for name in names:
            if name in ("", ".") or "/" in name or "\0" in name:  # HDF5 would take it for several, or for another
                raise damaged(self.path, f"{short_repr(name)} is not the name of an object", hint=None)
            if not isinstance(parent, h5py.h5g.GroupID):
                raise damaged(self.path, f"{what} is not a group")
            with hdf5_errors(self.path, what):
                encoded = name.encode()
                if not parent.links.exists(encoded):
                    raise damaged(self.path, f"{name} is missing", hint="The file is incomplete; make it again.")
                link = parent.links.get_info(encoded)
                if link.type != h5py.h5l.TYPE_HARD:
                    message = f"{name} is a link to another place, which is not followed"
                    raise damaged(self.path, message, hint=None)
                address = link.u
                if address in met:
                    raise damaged(self.path, f"{what} is a group that holds itself")
                met.add(address)
                chunks = self._follow(address)
                parent = h5py.h5o.open(parent, encoded)
        return parent, address, chunks

    def _follow(self, address: int) -> Chunks:
        known = {} if self._followed is None else self._followed
        if address not in known:
            known[address] = self._walk.follow(address, most_nodes=self._most_nodes)
        return known[address]


@dataclass(frozen=True)
class StoredArray:
    """A dataset whose description is sound. Its values have not been read.

    Attributes:
        path: the file.
        what: what messages call it.
        shape: extents.
        dtype: type of its values in the file.
        is_plain: as of an `Attribute`.
        filters: names of its filters, in the order in which they were applied.
        chunks: extents of a chunk; None when it is stored in one piece.
        stored_bytes: what its values take in the file.
    """

    path: str
    what: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_plain: bool
    filters: tuple[str, ...]
    chunks: tuple[int, ...] | None
    stored_bytes: int
    _id: h5py.h5d.DatasetID
    _file_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of its values, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_fixed(self) -> bool:
        """Whether its extents cannot grow, and HDF5 would give zeros for values that were not written."""
        with hdf5_errors(self.path, self.what):
            space, fill = self._id.get_space(), self._id.get_create_plist().fill_value_defined()
            fixed = space.get_simple_extent_dims(True) == space.get_simple_extent_dims()
            return bool(fixed and fill == h5py.h5d.FILL_VALUE_DEFAULT)

    def read(self) -> npt.NDArray[Any]:
        """All values as stored, C-contiguous, inflated as HDF5 does.

        Raises:
            TensorFileError: a chunk is missing or damaged, or inflates to another size than it has.
        """
        values = np.empty(self.shape, self.dtype)
        for piece in self.pieces(values, as_zlib=True):
            piece()
        return values

    def pieces(self, values: npt.NDArray[Any], first: int = 0, *, as_zlib: bool = False) -> Iterator[Piece]:
        """Read the stored bytes, piece by piece. Call each piece, on any thread, to have its values inflated.

        Args:
            values: where they go, converted to its type: the rows (first axis) from ``first`` on, as many as it has.
                Chunks that hold none of them are not read.
            first: the first row.
            as_zlib: inflate as HDF5 does, and refuse what it would not take.

        Raises:
            TensorFileError: as `read`, here or from a piece.
        """
        if self.chunks is None:
            self._read_contiguous(values, first)
            return
        waiting: list[tuple[tuple[int, ...], int, bytes]] = []
        corners = [range(0, extent, step) for extent, step in zip(self.shape, self.chunks, strict=True)]
        corners[0] = corners[0][first // self.chunks[0] : -(-(first + len(values)) // self.chunks[0])]
        for corner in product(*corners):
            waiting.append((corner, *self._stored_chunk(corner)))
            if len(waiting) * self._chunk_bytes >= _PIECE_BYTES:
                yield Piece(self, values, first, waiting, as_zlib)
                waiting = []
        if waiting:
            yield Piece(self, values, first, waiting, as_zlib)

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self.chunks or ()) * self.dtype.itemsize

    def _read_contiguous(self, values: npt.NDArray[Any], first: int) -> None:
        with hdf5_errors(self.path, self.what), np.errstate(over="ignore"):  # float64 beyond float32 is infinite
            offset = self._id.get_offset()  # None for values inside the object header
            if offset is not None and offset + self.nbytes > self._file_bytes:
                self._refuse("reaches beyond the end of the file")
            wanted = self._id.get_space()
            wanted.select_hyperslab((first, *(0 for _ in self.shape[1:])), values.shape)
            self._id.read(h5py.h5s.create_simple(values.shape), wanted, values)

    def _stored_chunk(self, corner: tuple[int, ...]) -> tuple[int, bytes]:
        """(filters that were left out, bytes) of a chunk, as HDF5 finds it."""
        room = room_of("stored", int(self._chunk_bytes * 1.01) + _CHUNK_SLACK)
        with hdf5_errors(self.path, f"the chunk at {corner} of {self.what}"):
            mask, stored = self._id.read_direct_chunk(corner, out=room)
            return mask, bytes(stored)

    def _put(
        self, corner: tuple[int, ...], mask: int, stored: bytes, values: npt.NDArray[Any], first: int, *, as_zlib: bool
    ) -> None:
        """Undo the filters of a chunk, and put those of its values that are wanted in their place."""
        applied = [name for position, name in enumerate(self.filters) if not mask >> position & 1]
        data: Any = stored
        if applied and applied[-1] != "shuffle":
            data = inflated(applied.pop(), stored, self._chunk_bytes, as_zlib=as_zlib)
        if len(data) != self._chunk_bytes:
            self._refuse(f"has a chunk at {corner} that inflates to another size than {self._chunk_bytes} bytes")
        steps = self.chunks or ()
        at = (corner[0] - first, *corner[1:])  # of the chunk in `values`; it may begin above
        target = values[tuple(slice(max(low, 0), low + step) for low, step in zip(at, steps, strict=True))]
        fits = target.shape == steps and target.dtype == self.dtype and target.flags.c_contiguous
        chunk = target if fits else np.empty(steps, self.dtype)
        if applied:
            unshuffle(np.frombuffer(data, np.uint8).reshape(self.dtype.itemsize, -1), chunk)
        else:
            chunk[...] = np.frombuffer(data, self.dtype).reshape(steps)
        if not fits:
            with np.errstate(over="ignore"):
                target[...] = chunk[max(-at[0], 0) :][tuple(slice(length) for length in target.shape)]

    def _refuse(self, reason: str) -> NoReturn:
        raise damaged(self.path, f"{self.what} {reason}")


@dataclass(frozen=True)
class Piece:
    """Some chunks, read, whose values are still to be put in their places: call it for that, on any thread."""

    array: StoredArray
    values: npt.NDArray[Any]
    first: int
    chunks: list[tuple[tuple[int, ...], int, bytes]]
    as_zlib: bool

    @property
    def rows(self) -> list[int]:
        """The rows of the dataset that it fills all by itself."""
        if self.array.chunks != (1, *self.array.shape[1:]):
            return []
        return [corner[0] for corner, *_ in self.chunks]

    def __call__(self) -> None:
        """Inflate them; errors as `StoredArray.read`."""
        for corner, mask, stored in self.chunks:
            with hdf5_errors(self.array.path, f"the chunk at {corner} of {self.array.what}"):
                self.array._put(corner, mask, stored, self.values, self.first, as_zlib=self.as_zlib)


def _described(file: Hdf5File, dataset: h5py.h5d.DatasetID, chunks: Chunks, what: str) -> StoredArray:
    properties = dataset.get_create_plist()
    pipeline = [properties.get_filter(number) for number in range(properties.get_nfilters())]
    filters = tuple(_FILTERS.get(code, "") for code, *_ in pipeline)
    if filters not in _PIPELINES:
        raise RefusedError(OTHER_FILTERS)
    dtype, is_chunked = np.dtype(dataset.dtype), properties.get_layout() == h5py.h5d.CHUNKED
    extents = tuple(properties.get_chunk()) if is_chunked else None
    for name, (_, _, settings, _) in zip(filters, pipeline, strict=True):
        if not settings_are_sound(name, settings, dtype.itemsize, math.prod(extents or ()) * dtype.itemsize):
            raise UnsoundError(f"its filter {name} has settings that cannot be")
    return StoredArray(
        path=file.path,
        what=what,
        shape=tuple(dataset.shape),
        dtype=dtype,
        is_plain=_is_plain(dataset),
        filters=filters,
        chunks=extents,
        stored_bytes=chunks.nbytes if is_chunked else dataset.get_storage_size(),
        _id=dataset,
        _file_bytes=file.size,
    )


def _check_sizes(array: StoredArray, chunks: Chunks, max_bytes: int) -> None:
    if array._id.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE or min(array.shape, default=0) < 1:
        array._refuse(f"has no values (shape {array.shape})")
    if array.nbytes > max_bytes:
        array._refuse(f"has {array.nbytes} bytes, more than {max_bytes}")
    if array.stored_bytes * _MAX_EXPANSION < array.nbytes or array.stored_bytes > array._file_bytes:
        array._refuse(f"says it has {array.nbytes} bytes, but only {array.stored_bytes} are stored")
    if array.chunks is None:
        return
    if array._chunk_bytes > 2 * array.nbytes + _CHUNK_SLACK:
        array._refuse("has chunks larger than itself")
    room = math.prod(-(-extent // step) for extent, step in zip(array.shape, array.chunks, strict=True))
    few = _FEW_IMAGES if array.chunks == (1, *array.shape[1:]) else _FEW_CHUNKS
    many = _MANY_CHUNKS + array.nbytes // _MIN_BYTES_OF_MANY
    if room > min(few + array.nbytes // _MIN_CHUNK_BYTES, many, MAX_ENTRIES):
        array._refuse(f"is stored in {room} chunks, which is far too many for {array.nbytes} bytes")
    if chunks.number > room:
        array._refuse(f"lists {chunks.number} chunks, and has room for {room}")


def _is_plain(described: Any) -> bool:
    """Whether the HDF5 type of a dataset or attribute is the one that h5py makes for its dtype.

    The dtype that h5py gives says more than NumPy's, such as that a text is UTF-8; what is made here has none of that.
    """
    dtype = described.dtype
    if dtype.hasobject:
        return False
    return bool(described.get_type() == h5py.h5t.py_create(_bare(dtype), logical=True))


def _bare(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype without h5py's metadata, which NumPy does not compare."""
    if dtype.fields is None:
        return np.dtype(dtype.str) if dtype.subdtype is None else dtype
    names = dtype.names or ()
    fields = [dtype.fields[name] for name in names]
    formats, offsets = [_bare(field[0]) for field in fields], [field[1] for field in fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize})
