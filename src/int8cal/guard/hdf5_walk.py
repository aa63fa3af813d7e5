"""What HDF5 follows by itself in a file, followed here first, so that it comes to an end. HDF5 is not called.

HDF5 trusts the addresses in a file. A B-tree whose entries all point at one child stands for 32⁹ leaves in 7 kB, and
HDF5 visits every one of them, deaf to signals; lists that bite their own tail never end. So no place is met twice
here, levels fall by one, and nothing lies beyond the end. Whether a name or a chunk is *found* is not judged: HDF5
looks it up.

What is read is of the oldest HDF5 format (superblock 0), which tensorfiles have and h5py writes unless told otherwise:
it takes little to follow. The newer one is refused, but for what the head of a tensorfile in parts needs: a group that
holds external links.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from int8cal.io.file_kinds import HDF5_SIGNATURE

MAX_ENTRIES = 1 << 17
"""Most nodes of the root group, and most chunks of a dataset: 400,000 batches have as many nodes, a batch never has."""
_NAME_BYTES_PER_NODE = 256  # a node lists at most 8 objects; names have 25 letters
_MAX_GAPS = 1024  # between names: each name that was deleted leaves one
_MAX_K = 128
_MAX_EXTENTS = 5  # of a chunk: those of a batch, and the bytes of a value
_MAX_HEADER_BYTES = 1 << 20
_MAX_FILTER_SETTINGS = 16  # of one filter: h5py has room for so many, and older versions of it read on beyond them
_MAX_LINK_TREE_DEPTH = 8
_CHUNK_TREE_K = 32  # half of a node's entries; superblock 0 has no field for it
_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_END_OF_FREE_LIST = 1

_SUPERBLOCK = struct.Struct("<8sB4x2Bx2H4xQ8xQ16xQI4xQQ")
_HEADER = struct.Struct("<B7xI4x")
_MESSAGE = struct.Struct("<HHB3x")
_NODE = struct.Struct("<4sBBHQQ")
_SYMBOLS = struct.Struct("<4sBxH")
_SYMBOL = struct.Struct("<QQ24x")
_HEAP = struct.Struct("<4s4xQQQ")
_TWO = struct.Struct("<QQ")
_LINK_TREE = struct.Struct("<4s8xH")
_LINK_HEAP = struct.Struct("<4sx2xH")
_GROUP_TREE, _CHUNK_TREE = 0, 1

_LINK_INFO, _FILL, _EXTERNAL_FILES, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = (
    2,
    5,
    7,
    8,
    11,
    12,
    16,
    17,
)
_MESSAGES = frozenset(
    {0, 1, _LINK_INFO, 3, 4, _FILL, 6, _LAYOUT, 10, _FILTERS, _ATTRIBUTE, 13, 14, _CONTINUATION, 17, 18}
)
OTHER_FILTERS = "it uses HDF5 filters other than shuffle, then deflate or lzf"
_NO_FILL, _FILL_IS_GIVEN = -1, 0x20
_AT_MOST_ONCE = frozenset({_LINK_INFO, _LAYOUT, _FILTERS, _SYMBOL_TABLE})
_SHARED = 2
_SHARED_IN_ATTRIBUTE = 3


class UnsoundError(ValueError):
    """Something in the file cannot be; the message says of what is looked at."""


class RefusedError(Exception):
    """The file has what is not read: a hint says what to do, if there is something."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Chunks(NamedTuple):
    """How many chunks a dataset has, and how many bytes they take in the file."""

    number: int = 0
    nbytes: int = 0


class Walk:
    """An HDF5 file of the oldest format, open for following it. Close it.

    Args:
        path: a regular file.

    Attributes:
        size: bytes of the file.

    Raises:
        OSError: it cannot be opened.
        RefusedError: it is of HDF5's newer format.
        UnsoundError: it is not HDF5, or its root group is unsound.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.fstat(self._descriptor).st_size
            self._leaf_k, self._group_k, self.root, self._cached = self._superblock()
        except BaseException:
            self.close()
            raise

    def follow_root(self) -> None:
        """Follow the root group; errors as `follow`."""
        self.follow(self.root, most_nodes=MAX_ENTRIES, cached=self._cached)

    def follow(self, address: int, *, most_nodes: int, cached: tuple[int, int] | None = None) -> Chunks:
        """Follow everything that HDF5 follows when it opens a group or dataset and looks up names or chunks in it.

        Args:
            address: of its object header.
            most_nodes: how many nodes the tree of a group may have.
            cached: what the superblock says of the tree of this group.

        Returns:
            The chunks of a dataset, of whatever is not chunked none.

        Raises:
            UnsoundError: it cannot be followed to an end.
            RefusedError: it needs more than the oldest HDF5 format has, or another file.
        """
        try:
            found = self._header(address)
            if _SYMBOL_TABLE in found:
                tree = _TWO.unpack_from(found[_SYMBOL_TABLE])
                if cached not in (None, tree):
                    raise UnsoundError("it has two different trees")
                self._follow_group(tree[0], tree[1], most_nodes)
            if _LINK_INFO in found:
                self._follow_links(found[_LINK_INFO])
            return self._follow_chunks(found[_LAYOUT], found.get(_FILTERS, b"")) if _LAYOUT in found else Chunks()
        except (struct.error, IndexError):
            raise UnsoundError("it is cut off") from None

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the file.

        Raises:
            UnsoundError: the file ends before.
        """
        if address + size > self.size:
            raise UnsoundError("it lies beyond the end of the file")
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
            raise _newer_format()
        if len(head) == _SUPERBLOCK.size:
            values = _SUPERBLOCK.unpack(head)
            signature, version, offset_size, length_size, leaf_k, group_k, base, end, root, cache, *cached = values
            is_ours = (signature, version, offset_size, length_size, base) == (HDF5_SIGNATURE, 0, 8, 8, 0)
            if is_ours and end <= self.size and max(leaf_k, group_k) <= _MAX_K:
                return leaf_k, group_k, root, (cached[0], cached[1]) if cache else None
        raise UnsoundError("it is not HDF5")

    def _header(self, address: int) -> dict[int, bytes]:
        """The last message of each type in an object header, wherever it is continued."""
        version, length = _HEADER.unpack(self.read(address, _HEADER.size))
        if version != 1:
            raise _newer_format()
        found: dict[int, bytes] = {}
        met = {address + _HEADER.size}
        left = _MAX_HEADER_BYTES
        waiting = [(address + _HEADER.size, length)]
        while waiting:
            start, length = waiting.pop()
            left -= length
            if left < 0:
                raise UnsoundError("its object header never ends")
            block = self.read(start, length)
            position = 0
            while position + _MESSAGE.size <= len(block):
                kind, size, flags = _MESSAGE.unpack_from(block, position)
                position += _MESSAGE.size
                body = block[position : position + size]
                position += size
                _check_message(kind, flags, body)
                if kind in _AT_MOST_ONCE and kind in found:
                    raise UnsoundError("it is described twice")
                found[kind] = body
                if kind == _CONTINUATION:
                    place, length = _TWO.unpack_from(body)
                    if place in met:
                        raise UnsoundError("its object header never ends")
                    met.add(place)
                    waiting.append((place, length))
        return found

    def _follow_group(self, tree: int, heap: int, most_nodes: int) -> None:
        objects: set[int] = set()
        for place, _ in self._leaves(tree, _GROUP_TREE, 8, self._group_k, most_nodes):
            node = self.read(place, _SYMBOLS.size + 2 * self._leaf_k * _SYMBOL.size)
            signature, version, count = _SYMBOLS.unpack_from(node)
            if (signature, version) != (b"SNOD", 1) or count > 2 * self._leaf_k:
                raise UnsoundError("its list of objects is unsound")
            for entry in range(count):
                _, address = _SYMBOL.unpack_from(node, _SYMBOLS.size + entry * _SYMBOL.size)
                if address in objects:
                    raise RefusedError("it holds one object under two names, which is not read")
                if address != _UNDEFINED:
                    objects.add(address)
        self._follow_names(heap, most_nodes * _NAME_BYTES_PER_NODE)

    def _follow_names(self, heap: int, most_bytes: int) -> None:
        """The heap with the names of a group's links: HDF5 walks the list of its gaps when it reads a name."""
        signature, size, gap, place = _HEAP.unpack(self.read(heap, _HEAP.size))
        if signature != b"HEAP" or place + size > self.size or size > most_bytes:
            raise UnsoundError("its list of names is unsound")
        gaps = 0
        while gap != _END_OF_FREE_LIST:
            gaps += 1
            if gap + _TWO.size > size or gaps > _MAX_GAPS:
                raise UnsoundError("its list of names is unsound")
            gap, _ = _TWO.unpack(self.read(place + gap, _TWO.size))

    def _follow_links(self, info: bytes) -> None:
        """A group of the newer kind: HDF5 finds a link in as many steps as its tree is deep, if nothing is filtered."""
        version, ordered, heap, tree = struct.unpack_from("<BBQQ", info)
        if version or ordered:
            raise _newer_format()
        if (heap, tree) == (_UNDEFINED, _UNDEFINED):
            return
        tree_signature, depth = _LINK_TREE.unpack(self.read(tree, _LINK_TREE.size))
        heap_signature, filters = _LINK_HEAP.unpack(self.read(heap, _LINK_HEAP.size))
        sound = (tree_signature, heap_signature, filters) == (b"BTHD", b"FRHP", 0)
        if not sound or depth > _MAX_LINK_TREE_DEPTH:
            raise UnsoundError("its list of links is unsound")

    def _follow_chunks(self, layout: bytes, filters: bytes) -> Chunks:
        """What the tree of a dataset lists.

        Where nothing is filtered, HDF5 tells the size of a chunk by its extents, and then reads as much as the tree
        says: too little, or more than there is room for.
        """
        version, kind = layout[:2]
        if version != 3:
            raise _newer_format()
        if kind != 2:  # not chunked
            return Chunks()
        extents, tree = struct.unpack_from("<BQ", layout, 2)
        if extents > _MAX_EXTENTS:
            raise UnsoundError(f"it has chunks of {extents - 1} dimensions")
        if tree == _UNDEFINED:
            return Chunks()
        leaves = self._leaves(tree, _CHUNK_TREE, 8 + 8 * extents, _CHUNK_TREE_K, MAX_ENTRIES)
        sizes = [struct.unpack_from("<I", key)[0] for _, key in leaves]
        whole = math.prod(struct.unpack_from(f"<{extents}I", layout, 11))
        if not any(filters[1:2]) and any(size != whole for size in sizes):
            raise UnsoundError("it has a chunk of another size than its values")
        return Chunks(len(sizes), sum(sizes))

    def _leaves(self, tree: int, kind: int, key_bytes: int, k: int, most: int) -> Iterator[tuple[int, bytes]]:
        """(address, key before it) of everything below the lowest nodes of a B-tree (version 1), from right to left.

        Some readers go from node to node of a level, others from parent to child: both meet the same ones.
        """
        stride = key_bytes + 8
        met: set[int] = set()
        waiting: list[tuple[int, int | None]] = [(tree, None)]
        beside: dict[int, tuple[int, int]] = {}  # level → (address, left neighbour) of the node that was met last
        while waiting:
            address, expected = waiting.pop()
            node = self.read(address, _NODE.size + 2 * k * stride + key_bytes)
            signature, found, level, count, left, right = _NODE.unpack_from(node)
            if (signature, found) != (b"TREE", kind) or count > 2 * k or expected not in (None, level):
                raise _unsound_tree()
            if (right, address) != beside.get(level, (_UNDEFINED, address)):
                raise _unsound_tree()
            beside[level] = address, left
            for place in range(_NODE.size, _NODE.size + count * stride, stride):
                (child,) = struct.unpack_from("<Q", node, place + key_bytes)
                if child in met or len(met) == most:
                    raise _unsound_tree()
                met.add(child)
                if level == 0:
                    yield child, node[place : place + key_bytes]
                else:
                    waiting.append((child, level - 1))
        if any(left != _UNDEFINED for _, left in beside.values()):
            raise _unsound_tree()


def _check_message(kind: int, flags: int, body: bytes) -> None:
    if kind == _EXTERNAL_FILES:
        raise RefusedError("it keeps values in another file, which is never opened")
    shared = flags & _SHARED or (kind == _ATTRIBUTE and body[0] > 1 and body[1] & _SHARED_IN_ATTRIBUTE)
    if kind not in _MESSAGES or shared:
        raise UnsoundError("it is described in a way that is not read")
    if kind == _FILL and _fill_size(body) < _NO_FILL:  # HDF5 opens the array, and then cannot read it
        raise UnsoundError("its value for what was not written has an impossible size")
    if kind == _FILTERS:
        _check_filters(body)


def _check_filters(body: bytes) -> None:
    version, filters = body[:2]
    if version != 1:
        raise _newer_format()
    place = 8
    for _ in range(filters):
        _, name_bytes, _, settings = struct.unpack_from("<4H", body, place)
        if settings > _MAX_FILTER_SETTINGS:
            raise RefusedError(OTHER_FILTERS)
        place += 8 + name_bytes + 4 * (settings + settings % 2)


def _fill_size(body: bytes) -> int:
    """Bytes of the value that HDF5 gives where nothing was written; `_NO_FILL` where there is none."""
    version = body[0]
    start = 4 if version == 1 or (version == 2 and body[3]) else 2 if version == 3 and body[1] & _FILL_IS_GIVEN else 0
    return int.from_bytes(body[start : start + 4], "little", signed=True) if start else _NO_FILL


def _unsound_tree() -> UnsoundError:
    return UnsoundError("its tree of objects or chunks is unsound, or too large")


def _newer_format() -> RefusedError:
    return RefusedError(
        "it is written in a newer HDF5 format than is read",
        "Write it again as NVIDIA's tools do: with h5py.File(NAME, 'w', libver='earliest').",
    )
