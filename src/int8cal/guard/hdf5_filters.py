"""Undoing the filters of a chunk: deflate or lzf, then shuffle.

HDF5 has each filter do as its settings in the file say; the one for lzf takes as much memory as they ask for (4 GB).
Here they say nothing that is not known without them, and what they say otherwise is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from int8cal import native

_BLOCK = 1 << 15
"""Values that are put in order at a time, so that they stay in the processor's cache."""
_HIGHEST_DEFLATE_LEVEL = 9
_LZF_SETTINGS = 3
"""Versions of the filter and of the format, and the bytes of a chunk."""
_scratch = threading.local()


def settings_are_sound(name: str, settings: Sequence[int], value_bytes: int, chunk_bytes: int) -> bool:
    """Whether the settings of a filter (HDF5's client data) are some that it is given when a file is written.

    Args:
        name: deflate, shuffle or lzf.
        settings: as they are in the file.
        value_bytes: of one value.
        chunk_bytes: of the values of a chunk.
    """
    if name == "deflate":
        return len(settings) == 1 and settings[0] <= _HIGHEST_DEFLATE_LEVEL
    if name == "shuffle":
        return tuple(settings) == (value_bytes,)
    return len(settings) == _LZF_SETTINGS and settings[-1] == chunk_bytes


def inflated(name: str, stored: bytes, size: int, *, as_zlib: bool) -> Any:
    """What deflate or lzf was given, in memory of this thread that the next call uses again; at most ``size`` bytes.

    HDF5 inflates by zlib. The kernel is as strict. Without it, libdeflate is faster than zlib-ng, and takes code tables
    that zlib refuses.
    """
    if name == "lzf":
        return imagecodecs.lzf_decode(stored, header=False, out=size)
    room: Any = room_of("inflated", size)
    if stored[:1] == bytes((native.USUAL_WINDOW,)) and (found := native.inflated_into(stored, room)) is not None:
        return found
    return (imagecodecs.zlibng_decode if as_zlib else imagecodecs.deflate_decode)(stored, out=room)


def room_of(name: str, size: int) -> npt.NDArray[np.uint8]:
    """Memory of this thread that the next call for the name uses again; pages that are not written cost nothing."""
    room: npt.NDArray[np.uint8] | None = getattr(_scratch, name, None)
    if room is None or room.size != size:
        room = np.empty(size, np.uint8)
        setattr(_scratch, name, room)
    return room


def unshuffle(planes: npt.NDArray[np.uint8], chunk: npt.NDArray[Any]) -> None:
    """Bytes by significance → values."""
    if native.unshuffle(planes, chunk):
        return
    target = chunk.reshape(-1).view(np.uint8).reshape(-1, len(planes))
    for start in range(0, len(target), _BLOCK):
        for significance, plane in enumerate(planes):
            target[start : start + _BLOCK, significance] = plane[start : start + _BLOCK]
