"""One image → the bytes of its HDF5 chunk. Releases the GIL where it costs, so threads can run it side by side.

igzip's levels 1 and 2 give the same bytes on every processor of one architecture; level 3 does not: never used.
"""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from isal import isal_zlib

from int8cal.errors import UsageError

if TYPE_CHECKING:
    from int8cal.types import ImageCHW_f32

CompressionName: TypeAlias = Literal["fast", "small", "none"]
COMPRESSIONS: tuple[CompressionName, ...] = get_args(CompressionName)

_scratch = threading.local()


@dataclass(frozen=True)
class Compression:
    """How chunks are compressed.

    Attributes:
        name: what the user calls it.
        level: deflate level recorded in the file's filter pipeline; 0 when chunks are stored as they are.
        typical_ratio: compressed size over raw size on photographs, for the estimate of disk space.
    """

    name: CompressionName
    level: int
    typical_ratio: float

    @classmethod
    def named(cls, name: str) -> Compression:
        """The compression of that name; `UsageError` for an unknown one."""
        for compression in _ALL:
            if compression.name == name:
                return compression
        raise UsageError(f"unknown compression {name!r}", hint=f"Use one of: {', '.join(COMPRESSIONS)}.")

    def encode(self, image: ImageCHW_f32) -> bytes:
        """Bytes of the chunk that holds ``image`` (CHW float32, C-contiguous).

        The HDF5 shuffle filter (all first bytes, all second bytes, …) and then a zlib stream, as the filters
        ``shuffle`` and ``deflate`` of any HDF5 library undo them.
        """
        if not self.level:
            return image.tobytes()
        planes = _shuffled(image)
        if self.name == "small":
            return zlib.compress(planes, self.level)
        compressed: bytes = isal_zlib.compress(planes, self.level)
        return compressed


_ALL = (
    Compression("fast", 1, 0.27),
    Compression("small", 6, 0.24),
    Compression("none", 0, 1.0),
)


def _shuffled(image: ImageCHW_f32) -> memoryview:
    """The image's bytes by significance, in memory of this thread that the next call uses again."""
    planes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None = getattr(_scratch, "planes", None)
    if planes is None or planes.shape[1] != image.size:
        planes = _scratch.planes = np.empty((4, image.size), np.uint8)
    bits = image.reshape(-1).view(np.uint32)
    for significance, plane in enumerate(planes):  # a shift and a cast cost half of a strided copy
        np.right_shift(bits, np.uint32(8 * significance), out=plane, casting="unsafe")
    return planes.data
