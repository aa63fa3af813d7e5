"""One image → the bytes of its HDF5 chunk. Releases the GIL where it costs, so threads can run it side by side.

igzip's levels 1 and 2 give the same bytes on every processor of one architecture (run with the instructions of Nehalem,
Westmere, Haswell and EPYC processors, and AVX-512); level 3 does not: never used.

At the beginning of a stream, igzip's code for x86-64 takes a hash of an address in place of one of the bytes there
(ISA-L 2.32, ``write_first_byte`` in igzip_icf_body_h1_gr_bt.asm): one of some 20,000 chunks comes out otherwise, by
chance. Behind a dictionary it does not. So the first bytes are stored, and are the dictionary of the rest.
"""

from __future__ import annotations

import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from isal import isal_zlib

from int8cal import native
from int8cal.tensorfile.zeros import deflated_zeros
from int8cal.types import CompressionName

if TYPE_CHECKING:
    from int8cal.types import ImageCHW_f32

BytePlanes: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
"""The bytes of float32 values by significance: 4 × values, the lowest first."""

_ZLIB_HEADER = b"\x78\x01"  # RFC 1950: deflate, a window of 32 KiB, no dictionary
_ADLER_BASE = 65521

_FAST_WINDOW_BITS = 12
"""Repetitions are sought in the last 4 KiB only: 2 to 4 % faster, and files are as large within 0.7 %."""

_STORED_BYTES = 16
"""In front of what igzip deflates: enough for it to find matches in."""

_scratch = threading.local()


class Chunk(NamedTuple):
    """A chunk, ready to be written.

    Attributes:
        content: its bytes.
        all_finite: no value is infinite or NaN; False: one may be, nobody has looked.
    """

    content: bytes
    all_finite: bool


class Compression(NamedTuple):
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
    def named(cls, name: CompressionName) -> Compression:
        """The compression of that name."""
        return next(compression for compression in _ALL if compression.name == name)

    @property
    def encoder(self) -> str:
        """Name of what deflates the chunks; their bytes depend on it, their arrays do not."""
        if self.name == "small":
            return "zlib" if native.library() is None else f"zlib or {native.encoder()}"
        return native.encoder() if self.level else "none"

    @property
    def filters(self) -> dict[str, Any]:
        """The HDF5 filters that undo `encode`, as h5py's ``create_dataset`` takes them."""
        return {"compression": "gzip", "compression_opts": self.level, "shuffle": True} if self.level else {}

    def encode(self, image: ImageCHW_f32) -> bytes:
        """Bytes of the chunk that holds ``image`` (CHW float32, C-contiguous).

        The HDF5 shuffle filter (all first bytes, all second bytes, …) and then a zlib stream, as the filters
        ``shuffle`` and ``deflate`` of any HDF5 library undo them.
        """
        return self.chunk(image).content

    def chunk(self, image: ImageCHW_f32) -> Chunk:
        """`encode`, and what it has seen of the values."""
        if not self.level:
            return Chunk(image.tobytes(), all_finite=False)
        found = native.deflated(image)
        ours = _native_stream(found, image.size) if found else b""
        finite = found is not None and found.all_finite
        if ours and self.name == "fast":
            return Chunk(ours, finite)
        theirs = self._zlib_stream(_shuffled(image))
        return Chunk(ours if ours and len(ours) < len(theirs) else theirs, finite)

    def _zlib_stream(self, planes: BytePlanes) -> bytes:
        zeros, first = 0, b""
        if not planes[0].max(initial=0):  # half-precision values held in float32
            zeros, first = planes.shape[1], deflated_zeros(planes.shape[1])
        rest = planes[1 if zeros else 0 :].reshape(-1).data
        checksum = isal_zlib.adler32(rest, zeros % _ADLER_BASE << 16 | 1)
        return b"".join((_ZLIB_HEADER, first, self._deflated(rest), checksum.to_bytes(4, "big")))

    def _deflated(self, data: memoryview) -> bytes:
        if self.name == "small":
            return zlib.compress(data, self.level, wbits=-zlib.MAX_WBITS)
        begin = bytes(data[:_STORED_BYTES])
        deflate = isal_zlib.compressobj(self.level, wbits=-_FAST_WINDOW_BITS, zdict=begin)
        return b"".join((_stored_block(begin), deflate.compress(data[_STORED_BYTES:]), deflate.flush()))


_ALL = (
    Compression("fast", 1, 0.27),
    Compression("small", 6, 0.24),
    Compression("none", 0, 1.0),
)
DEFAULT = _ALL[0]


def _native_stream(found: native.Deflated, plane_bytes: int) -> bytes:
    zeros = deflated_zeros(plane_bytes) if None in found.planes else b""
    planes = (zeros if plane is None else plane for plane in found.planes)
    return b"".join((_ZLIB_HEADER, *planes, found.adler.to_bytes(4, "big")))


def _stored_block(data: bytes) -> bytes:
    """A deflate block that others follow (RFC 1951, 3.2.4)."""
    return struct.pack("<xHH", len(data), len(data) ^ 0xFFFF) + data


def _shuffled(image: ImageCHW_f32) -> BytePlanes:
    """The image's bytes by significance, in memory of this thread that the next call uses again."""
    planes: BytePlanes | None = getattr(_scratch, "planes", None)
    if planes is None or planes.shape[1] != image.size:
        planes = _scratch.planes = np.empty((4, image.size), np.uint8)
    bits = image.reshape(-1).view(np.uint32)
    np.copyto(planes[0], bits, casting="unsafe")
    for significance in (1, 2, 3):  # a shift and a cast cost half of a strided copy
        np.right_shift(bits, np.uint32(8 * significance), out=planes[significance], casting="unsafe")
    return planes
