"""HDF5 files whose trees, lists and headers do not end: small ones, made by patching a sound file byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

GROUP, DATASET = "_tensorfile_array_key__", "_tensorfile_array_key_"
SHAPE = (1, 3, 64, 64)  # what the models of the demo take
VALUES = np.linspace(0, 1, 3 * 64 * 64, dtype=np.float32).reshape(SHAPE)
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
LEVELS = 8  # of 32 equal children each: 32⁹ leaves
_GROUP_K = 16  # HDF5's own for superblock 0: half of the most children of a node
_CHUNK_K = 32


def sound_bytes(path: Path, *, chunked: bool = False, batches: int = 1, **options: object) -> bytearray:
    """A sound tensorfile as NVIDIA's tools write it, and without any compression."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["count"] = batches
        file.attrs["shape"] = SHAPE
        for batch in range(batches):
            file.create_group(f"{GROUP}{batch}").create_dataset(DATASET, data=VALUES, chunks=SHAPE if chunked else None)
    return bytearray(path.read_bytes())


def write(path: Path, data: bytearray) -> None:
    """Write patched bytes, with the end of the file where they end."""
    struct.pack_into("<Q", data, 40, len(data))
    path.write_bytes(data)


def ask_for_more(path: Path, chunk_bytes: int, wanted: int = 0xFFFF_FFF0) -> None:
    """Let the settings of the lzf filter ask for so much memory."""
    data = bytearray(path.read_bytes())
    settings = data.index(struct.pack("<I", chunk_bytes), data.index(b"lzf\0"))
    struct.pack_into("<I", data, settings, wanted)
    path.write_bytes(data)


def _node(kind: int, level: int, children: list[int], keys: list[bytes], k: int) -> bytes:
    """A B-tree node (version 1): keys and children by turns, one key more than children."""
    size = 24 + (2 * k + 1) * len(keys[0]) + 2 * k * 8
    pairs = b"".join(key + struct.pack("<Q", child) for key, child in zip(keys, children, strict=False))
    node = b"TREE" + struct.pack("<BBHQQ", kind, level, len(children), UNDEFINED, UNDEFINED) + pairs + keys[-1]
    return node.ljust(size, b"\0")


def _share_children(data: bytearray, tree: int, kind: int, key_size: int, k: int, levels: int) -> None:
    """Put levels above a tree's only leaf, each node with the same child over and over."""
    first, second = (bytes(data[at : at + key_size]) for at in (tree + 24, tree + 24 + key_size + 8))
    (child,) = struct.unpack_from("<Q", data, tree + 24 + key_size)
    keys = [first] + [second] * 2 * k
    for level in range(levels):
        node = _node(kind, level, [child] * 2 * k, keys, k)
        child = len(data)
        data += node
    top = _node(kind, levels, [child] * 2 * k, keys, k)
    data[tree : tree + len(top)] = top


def root_tree(data: bytearray) -> int:
    """Address of the tree of the root group."""
    address: int = struct.unpack_from("<Q", data, 80)[0]
    return address


def shared_group_nodes(path: Path) -> None:
    data = sound_bytes(path)
    _share_children(data, root_tree(data), 0, 8, _GROUP_K, LEVELS)
    write(path, data)


def shared_nodes_of_a_batch(path: Path) -> None:
    data = sound_bytes(path)
    _share_children(data, data.index(b"TREE", root_tree(data) + 4), 0, 8, _GROUP_K, LEVELS)
    write(path, data)


def shared_chunk_nodes(path: Path) -> None:
    data = sound_bytes(path, chunked=True)
    _share_children(data, data.index(b"TREE\x01"), 1, 8 + 8 * 5, _CHUNK_K, LEVELS)
    write(path, data)


def _own_child(data: bytearray, tree: int, kind: int, key_size: int, k: int) -> None:
    keys = [bytes(data[at : at + key_size]) for at in (tree + 24, tree + 24 + key_size + 8)]
    node = _node(kind, 1, [tree], keys, k)
    data[tree : tree + len(node)] = node


def group_node_in_itself(path: Path) -> None:
    data = sound_bytes(path)
    _own_child(data, root_tree(data), 0, 8, _GROUP_K)
    write(path, data)


def chunk_node_in_itself(path: Path) -> None:
    data = sound_bytes(path, chunked=True)
    _own_child(data, data.index(b"TREE\x01"), 1, 8 + 8 * 5, _CHUNK_K)
    write(path, data)


def endless_gaps(path: Path) -> None:
    """The list of gaps between a group's names leads back to its first entry."""
    data = sound_bytes(path)
    (heap,) = struct.unpack_from("<Q", data, 88)
    (gap, place) = struct.unpack_from("<QQ", data, heap + 16)
    struct.pack_into("<Q", data, place + gap, gap)
    write(path, data)


def endless_header(path: Path) -> None:
    """The object header of the root group is continued by a block that is continued by itself."""
    data = sound_bytes(path)
    tree = bytes(data[80:96])
    header = len(data)
    block = header + 16 + 48
    again = struct.pack("<HHB3xQQ", 16, 16, 0, block, 24)
    data += struct.pack("<BxHII4x", 1, 3, 1, 48) + struct.pack("<HHB3x", 17, 16, 0) + tree + again + again
    struct.pack_into("<Q", data, 64, header)
    write(path, data)


def one_name_for_all(path: Path) -> None:
    """A thousand links that all have one name, of 50 kB."""
    with h5py.File(path, "w") as file:
        file.attrs["count"] = 1
        file.attrs["shape"] = SHAPE
        file.create_group(f"{GROUP}0").create_dataset(DATASET, data=VALUES)
        file.create_group("b" * 50_000)
        for number in range(1000):
            file.create_group(f"c{number}")
    data = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<Q", data, struct.unpack_from("<Q", data, 88)[0] + 24)
    long_name = data.index(b"b" * 50_000) - place
    at = data.find(b"SNOD")
    while at >= 0:
        for entry in range(at + 8, at + 8 + 40 * struct.unpack_from("<H", data, at + 6)[0], 40):
            if data[place + struct.unpack_from("<Q", data, entry)[0]] == ord("c"):
                struct.pack_into("<Q", data, entry, long_name)
        at = data.find(b"SNOD", at + 4)
    write(path, data)


def values_in_other_files(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["count"] = 1
        file.attrs["shape"] = SHAPE
        group = file.create_group(f"{GROUP}0")
        group.create_dataset(DATASET, SHAPE, "<f4", external=[("/etc/passwd", 0, 4 * VALUES.size)])


def many_links(path: Path) -> bytearray:
    """A root group of the newer kind in the oldest format, as the head of a file in parts is: links in a heap."""
    with h5py.File(path, "w") as file:
        file.attrs["count"] = 12
        file.attrs["shape"] = SHAPE
        for batch in range(12):
            file[f"{GROUP}{batch}"] = h5py.ExternalLink("part", f"/{GROUP}{batch}")
    return bytearray(path.read_bytes())


def bottomless_links(path: Path) -> None:
    data = many_links(path)
    struct.pack_into("<H", data, data.index(b"BTHD") + 12, 0xFFFF)
    write(path, data)


def filtered_links(path: Path) -> None:
    """The heap of a group's links goes through a filter: HDF5 would look for it among its plug-ins."""
    data = many_links(path)
    struct.pack_into("<H", data, data.index(b"FRHP") + 7, 12)
    write(path, data)


SKELETONS: dict[str, Callable[[Path], None]] = {
    "group nodes that are shared": shared_group_nodes,
    "group nodes of a batch that are shared": shared_nodes_of_a_batch,
    "chunk nodes that are shared": shared_chunk_nodes,
    "a group node in itself": group_node_in_itself,
    "a chunk node in itself": chunk_node_in_itself,
    "gaps without end": endless_gaps,
    "a header without end": endless_header,
    "one name for all": one_name_for_all,
    "values in other files": values_in_other_files,
    "a tree of links without bottom": bottomless_links,
    "links behind a filter": filtered_links,
}
