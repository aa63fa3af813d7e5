"""The skeleton of an HDF5 file, looked at before HDF5 is asked to walk it.

HDF5 trusts the addresses in a file. A B-tree whose entries all point at one child stands for 32⁹ leaves in 7 kB, and
HDF5 visits every one of them, deaf to signals; lists that bite their own tail never end. So what HDF5 would follow is
followed here first: object headers with their continuations, the trees and heaps of groups, the trees of chunks. No
node may be met twice.

A tensorfile is of the oldest HDF5 format (superblock 0), which takes little to follow. The newer one is refused, but
for what a head file needs (see `int8cal.tensorfile.layout`): a group that holds external links.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from int8cal.errors import TensorFileError
from int8cal.io.file_kinds import HDF5_SIGNATURE, ONNX_MODEL
from int8cal.io.safe_text import first_line

MAX_ENTRIES = 1 << 17
"""Most nodes and chunks of one tree: the root group of 400,000 batches has as many, and a batch never has."""
_MAX_BATCH_GROUP_NODES = 64  # of the group of a batch, which holds one dataset
_NAME_BYTES_PER_NODE = 256  # a node lists at most 8 objects; names have 25 letters
_MAX_GAPS = 1024  # between names: each name that was deleted leaves one
_MAX_K = 128
_MAX_EXTENTS = 5  # of a chunk: those of a batch, and the bytes of a value
_MAX_HEADER_BYTES = 1 << 20
_MAX_LINK_TREE_DEPTH = 8
_CHUNK_TREE_K = 32  # half of a node's entries; superblock 0 has no field for it
_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_END_OF_FREE_LIST = 1
_SWAPPED = "Name the tensorfile here; a command that takes both takes the model first: MODEL.onnx FILE."
_ENDLESS_HEADER = "its object header never ends"
_UNSOUND_TREE = "its tree of objects or chunks is unsound, or larger than any tensorfile's"

_SUPERBLOCK = struct.Struct("<8sB4x2Bx2H4xQ8xQ16xQI4xQQ")
_HEADER = struct.Struct("<B7xI4x")
_MESSAGE = struct.Struct("<HHB3x")
_NODE = struct.Struct("<4sBBH16x")
_SYMBOLS = struct.Struct("<4sBxH")
_HEAP = struct.Struct("<4s4xQQQ")
_ADDRESS = struct.Struct("<Q")
_TWO = struct.Struct("<QQ")
_LINK_TREE = struct.Struct("<4s8xH")
_LINK_HEAP = struct.Struct("<4sx2xH")

_LINK_INFO, _EXTERNAL_FILES, _LAYOUT, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 2, 7, 8, 12, 16, 17
_MESSAGES = frozenset({0, 1, _LINK_INFO, 3, 4, 5, 6, _LAYOUT, 10, 11, _ATTRIBUTE, 13, 14, _CONTINUATION, 17, 18})
_AT_MOST_ONCE = frozenset({_LINK_INFO, _LAYOUT, _SYMBOL_TABLE})
_SHARED = 2
_SHARED_IN_ATTRIBUTE = 3
_LAYOUT_VERSION = 3
_CHUNKED = 2
_SYMBOL_BYTES = 40
_GROUP_TREE, _CHUNK_TREE = 0, 1


def damaged(path: str, message: str, *, hint: str | None = "The file is damaged; make it again.") -> TensorFileError:
    """The error for something in a tensorfile that cannot be."""
    return TensorFileError(message, where=path, hint=hint)


def no_hdf5(path: str) -> TensorFileError:
    """The error for a file that HDF5 cannot open."""
    with suppress(OSError):
        if ONNX_MODEL.recognises(path):
            return damaged(path, "is an ONNX model, and not a tensorfile", hint=_SWAPPED)
    return damaged(
        path,
        "cannot be opened as HDF5: it is no tensorfile, was cut off, or was never closed by what wrote it",
        hint="Make it again.",
    )


@contextmanager
def hdf5_errors(path: str, what: str) -> Iterator[None]:
    """Turn whatever HDF5 raises over a damaged file into an error that names the file and the part of it.

    Raises:
        TensorFileError: instead of every exception that h5py uses for HDF5's errors.
    """
    try:
        yield
    except TensorFileError:
        raise
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as reason:
        raise damaged(path, f"{what} cannot be read: {first_line(reason)}") from reason


class Chunk(NamedTuple):
    """Where a chunk lies in the file, and which of its filters were left out (a bit each)."""

    address: int
    size: int
    filter_mask: int


@dataclass(frozen=True)
class ObjectHeader:
    """What an object header says about the trees behind it.

    Attributes:
        tree: address of the tree of a group's links, and of the heap with their names; None in other objects.
        chunk_tree: (address, number of extents of a key) of a chunked dataset that has chunks; else None.
        links: addresses of the heap and the tree of a group of the newer kind, if it has many links.
    """

    tree: tuple[int, int] | None = None
    chunk_tree: tuple[int, int] | None = None
    links: tuple[int, int] | None = None


class Skeleton:
    """An HDF5 file of the kind that tensorfiles are, open for looking at its skeleton. Close it.

    Args:
        path: a regular file.

    Attributes:
        path: as given.
        size: bytes of the file.

    Raises:
        TensorFileError: it is no HDF5, of another format, or its root group is unsound.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise damaged(self.path, f"cannot be opened: {error.strerror}", hint=None) from error
        try:
            self.size = os.fstat(self._descriptor).st_size
            self._leaf_k, self._group_k, root, cached = self._superblock()
            with hdf5_errors(path, "the root group"):
                header = self.check(root, most_nodes=MAX_ENTRIES)
                if header.tree and cached not in (None, header.tree):
                    raise ValueError("it has two different trees")
        except BaseException:
            self.close()
            raise

    def check(self, address: int, *, most_nodes: int = _MAX_BATCH_GROUP_NODES) -> ObjectHeader:
        """Follow everything that HDF5 follows when it opens a group or dataset and looks up names in it.

        Args:
            address: of its object header.
            most_nodes: how many nodes the tree of a group may have.

        Raises:
            ValueError: it cannot be followed to an end.
            TensorFileError: it needs more than the oldest HDF5 format has, or another file.
        """
        header = self._object_header(address)
        if header.tree:
            tree, heap = header.tree
            for symbols, _ in _Walk(self, _GROUP_TREE, _ADDRESS.size, self._group_k, most_nodes).entries(tree):
                self._check_symbols(symbols)
            self._check_names(heap, most_nodes * _NAME_BYTES_PER_NODE)
        if header.links:
            self._check_links(*header.links)
        return header

    def chunks(self, header: ObjectHeader) -> dict[tuple[int, ...], Chunk]:
        """All chunks of a dataset by their first corner; empty when it has none, or is stored in one piece.

        Raises:
            ValueError: their tree is unsound.
        """
        found: dict[tuple[int, ...], Chunk] = {}
        if header.chunk_tree is None:
            return found
        address, extents = header.chunk_tree
        key = struct.Struct(f"<II{extents}Q")
        walk = _Walk(self, _CHUNK_TREE, key.size, _CHUNK_TREE_K, MAX_ENTRIES)
        for child, raw in walk.entries(address):
            size, mask, *corner = key.unpack(raw)
            found[tuple(corner[:-1])] = Chunk(child, size, mask)  # the last one counts the bytes of a value
        return found

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the file.

        Raises:
            ValueError: the file ends before.
        """
        if address + size > self.size:
            raise ValueError("it lies beyond the end of the file")
        return os.pread(self._descriptor, size, address)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _superblock(self) -> tuple[int, int, int, tuple[int, int] | None]:
        """(k of a group's leaves, of its inner nodes, address of the root group's header, what is cached of it)."""
        head = os.pread(self._descriptor, _SUPERBLOCK.size, 0)
        if head[:8] == HDF5_SIGNATURE and head[8:9] in (b"\1", b"\2", b"\3"):
            raise self._newer_format()
        if len(head) == _SUPERBLOCK.size:
            values = _SUPERBLOCK.unpack(head)
            signature, version, offset_size, length_size, leaf_k, group_k, base, end, root, cache, *cached = values
            is_ours = (signature, version, offset_size, length_size, base) == (HDF5_SIGNATURE, 0, 8, 8, 0)
            if is_ours and end <= self.size and max(leaf_k, group_k) <= _MAX_K:
                return leaf_k, group_k, root, (cached[0], cached[1]) if cache else None
        raise no_hdf5(self.path)

    def _object_header(self, address: int) -> ObjectHeader:
        found: dict[int, bytes] = {}
        try:
            for kind, body in self._messages(address):
                if kind in _AT_MOST_ONCE and kind in found:
                    raise ValueError("it is described twice")
                found[kind] = body
            return ObjectHeader(
                tree=_TWO.unpack_from(found[_SYMBOL_TABLE]) if _SYMBOL_TABLE in found else None,
                chunk_tree=self._chunk_tree(found[_LAYOUT]) if _LAYOUT in found else None,
                links=self._links(found[_LINK_INFO]) if _LINK_INFO in found else None,
            )
        except (struct.error, IndexError):
            raise ValueError("its object header is cut off") from None

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """(type, body) of each message in an object header, wherever it is continued."""
        version, length = _HEADER.unpack(self.read(address, _HEADER.size))
        if version != 1:
            raise self._newer_format()
        met = {address + _HEADER.size}
        left = _MAX_HEADER_BYTES
        waiting = [(address + _HEADER.size, length)]
        while waiting:
            start, length = waiting.pop()
            left -= length
            if left < 0:
                raise ValueError(_ENDLESS_HEADER)
            block = self.read(start, length)
            position = 0
            while position + _MESSAGE.size <= len(block):
                kind, size, flags = _MESSAGE.unpack_from(block, position)
                position += _MESSAGE.size
                body = block[position : position + size]
                position += size
                self._check_message(kind, flags, body)
                if kind == _CONTINUATION:
                    place, length = _TWO.unpack_from(body)
                    if place in met:
                        raise ValueError(_ENDLESS_HEADER)
                    met.add(place)
                    waiting.append((place, length))
                else:
                    yield kind, body

    def _check_message(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _EXTERNAL_FILES:
            raise damaged(self.path, "keeps values in another file, which a tensorfile never does", hint=None)
        shared = flags & _SHARED or (kind == _ATTRIBUTE and body[0] > 1 and body[1] & _SHARED_IN_ATTRIBUTE)
        if kind not in _MESSAGES or shared:
            raise ValueError("it is described in a way that no tensorfile uses")

    def _chunk_tree(self, layout: bytes) -> tuple[int, int] | None:
        version, kind = layout[:2]
        if version != _LAYOUT_VERSION:
            raise self._newer_format()
        if kind != _CHUNKED:
            return None
        extents, tree = struct.unpack_from("<BQ", layout, 2)
        if extents > _MAX_EXTENTS:
            raise ValueError(f"it has chunks of {extents - 1} dimensions")
        return None if tree == _UNDEFINED else (tree, extents)

    def _links(self, info: bytes) -> tuple[int, int] | None:
        version, ordered, heap, tree = struct.unpack_from("<BBQQ", info)
        if version or ordered:
            raise self._newer_format()
        return None if heap == _UNDEFINED else (heap, tree)

    def _check_symbols(self, address: int) -> None:
        node = self.read(address, _SYMBOLS.size + 2 * self._leaf_k * _SYMBOL_BYTES)
        signature, version, count = _SYMBOLS.unpack_from(node)
        if (signature, version) != (b"SNOD", 1) or count > 2 * self._leaf_k:
            raise ValueError("its list of objects is unsound")

    def _check_names(self, address: int, most_bytes: int) -> None:
        """The heap with the names of a group's links: HDF5 walks the list of its gaps when it reads a name."""
        signature, size, gap, place = _HEAP.unpack(self.read(address, _HEAP.size))
        if signature != b"HEAP" or place + size > self.size or size > most_bytes:
            raise ValueError("its list of names is unsound")
        gaps = 0
        while gap != _END_OF_FREE_LIST:
            gaps += 1
            if gap + _TWO.size > size or gaps > _MAX_GAPS:
                raise ValueError("its list of names is unsound")
            gap, _ = _TWO.unpack(self.read(place + gap, _TWO.size))

    def _check_links(self, heap: int, tree: int) -> None:
        """A group of the newer kind: HDF5 finds a link in as many steps as its tree is deep, if nothing is filtered."""
        tree_signature, depth = _LINK_TREE.unpack(self.read(tree, _LINK_TREE.size))
        heap_signature, filters = _LINK_HEAP.unpack(self.read(heap, _LINK_HEAP.size))
        sound = (tree_signature, heap_signature, filters) == (b"BTHD", b"FRHP", 0)
        if not sound or depth > _MAX_LINK_TREE_DEPTH:
            raise ValueError("its list of links is unsound")

    def _newer_format(self) -> TensorFileError:
        return damaged(
            self.path,
            "is written in a newer HDF5 format than tensorfiles are",
            hint="Write it again as NVIDIA's tools do: with h5py.File(NAME, 'w', libver='earliest').",
        )


class _Walk:
    """One walk over a B-tree (version 1) that meets no place twice.

    Args:
        file: the file.
        kind: type of its nodes.
        key_size: bytes of a key.
        k: half of the most entries that a node has.
        most_places: how many places it may meet.
    """

    def __init__(self, file: Skeleton, kind: int, key_size: int, k: int, most_places: int) -> None:
        self._file = file
        self._kind = kind
        self._key_size = key_size
        self._most = 2 * k
        self._most_places = most_places
        self._met: set[int] = set()

    def entries(self, root: int) -> Iterator[tuple[int, bytes]]:
        """(address, key before it) of everything below the lowest nodes."""
        waiting: list[tuple[int, int | None]] = [(root, None)]
        while waiting:
            address, expected_level = waiting.pop()
            level, children = self._node(address)
            if expected_level not in (None, level):
                raise ValueError(_UNSOUND_TREE)
            for child, key in children:
                if child in self._met or len(self._met) == self._most_places:
                    raise ValueError(_UNSOUND_TREE)
                self._met.add(child)
                if level == 0:
                    yield child, key
                else:
                    waiting.append((child, level - 1))

    def _node(self, address: int) -> tuple[int, Iterator[tuple[int, bytes]]]:
        stride = self._key_size + _ADDRESS.size
        node = self._file.read(address, _NODE.size + self._most * stride + self._key_size)
        signature, kind, level, count = _NODE.unpack_from(node)
        if (signature, kind) != (b"TREE", self._kind) or count > self._most:
            raise ValueError(_UNSOUND_TREE)
        places = range(_NODE.size, _NODE.size + count * stride, stride)
        keys = (node[place : place + self._key_size] for place in places)
        children = (_ADDRESS.unpack_from(node, place + self._key_size)[0] for place in places)
        return level, zip(children, keys, strict=True)
