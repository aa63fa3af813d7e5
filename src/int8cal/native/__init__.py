"""Kernels in C, for the steps where most of the time goes: a plain shared library, called with the GIL released.

There may be no library: there was no compiler when the package was installed, or ``INT8CAL_NATIVE=0`` is set. Callers
then take another way, to the same arrays. Only the bytes of compressed chunks differ, so that the encoder is named
wherever versions are: `encoder`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from int8cal.types import ImageCHW_f32

VERSION: Final = 1
"""Of functions and encoded bytes, as in ``encode.c``: a library of another one is passed over."""

SWITCH: Final = "INT8CAL_NATIVE"
"""Environment variable: 0 for the ways without the library."""

PATH: Final = Path(__file__).with_name("kernels.so")

_PLANES = 4
_scratch = threading.local()


class _Chunk(ctypes.Structure):
    _fields_ = (("length", ctypes.c_int64 * _PLANES), ("adler", ctypes.c_uint32))


class Deflated(NamedTuple):
    """Deflate blocks of an image's four byte planes; each plane's ends on a byte boundary, and the last one's is final.

    Attributes:
        planes: the lowest byte's first; None for a plane of zeros. Valid until this thread's next call.
        adler: Adler-32 of all planes.
    """

    planes: tuple[memoryview | None, ...]
    adler: int


@cache
def library() -> ctypes.CDLL | None:
    """The shared library; None when there is none that can be used."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        found = ctypes.CDLL(str(PATH))
        if found.int8cal_version() != VERSION:
            return None
    except (OSError, AttributeError):
        return None
    found.int8cal_encode_work_bytes.restype = ctypes.c_int64
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.int8cal_encode.argtypes = (
        pointer,
        number,
        number,
        pointer,
        number,
        ctypes.c_int,
        pointer,
        ctypes.POINTER(_Chunk),
    )
    return found


def encoder() -> str:
    """Name of what makes the chunks of the compression ``fast``; its bytes depend on it."""
    return "igzip" if library() is None else f"native {VERSION}"


def deflated(image: ImageCHW_f32, *, always: bool = False) -> Deflated | None:
    """The byte planes of an image, deflated; the same bytes on every processor.

    Args:
        image: CHW float32, C-contiguous.
        always: even when another compressor makes much less of it.

    Returns:
        None when there is no library, or when another compressor makes much less of this image.
    """
    kernels = library()
    if kernels is None or not image.size:
        return None
    room = image.size + image.size // 4 + 4096
    out, work = _memory(_PLANES * room, kernels)
    chunk = _Chunk()
    channels = image.shape[0]
    status = kernels.int8cal_encode(
        image.ctypes.data, channels, image.size // channels, out.ctypes.data, room, always, work.ctypes.data, chunk
    )
    if status:
        return None
    view = out.data
    lengths = tuple(chunk.length)
    planes = tuple(view[k * room : k * room + n] if n else None for k, n in enumerate(lengths))
    return Deflated(planes, chunk.adler)


def _memory(nbytes: int, kernels: ctypes.CDLL) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Memory of this thread that the next call uses again: for the result, and for the kernel."""
    out, work = getattr(_scratch, "memory", (None, None))
    if work is None:
        work = np.empty(kernels.int8cal_encode_work_bytes(), np.uint8)
    if out is None or out.size != nbytes:
        out = np.empty(nbytes, np.uint8)
    _scratch.memory = out, work
    return out, work
