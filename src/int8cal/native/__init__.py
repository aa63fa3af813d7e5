"""Kernels in C, for the steps where most of the time goes: a plain shared library, called with the GIL released.

There may be no library: there was no compiler when the package was installed, or ``INT8CAL_NATIVE=0`` is set. Callers
then take another way, to the same arrays. Only the bytes of compressed chunks differ, so that the encoder is named
wherever versions are: `encoder`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from int8cal.types import ImageCHW_f32, ImageHWC_u8, ValueTable_f32, ValueTables_f32

VERSION: Final = 11
"""Of functions and encoded bytes, as in ``encode.c``. A library of another one is passed over, and so is one that lacks
a function."""

IGZIP_VERSION: Final = 2
"""Of the bytes of chunks that igzip makes: of how it is called. Another one is another `VERSION`, too."""

SWITCH: Final = "INT8CAL_NATIVE"
"""Environment variable: 0 for the ways without the library."""

PATH: Final = os.path.join(os.path.dirname(__file__), "kernels.bin")
"""Where installing the package puts it. Python would take a file whose name ends in ``.so`` for a module."""

USUAL_WINDOW: Final = 0x78
"""First byte of a zlib stream: deflate, distances of up to 32 KiB, the most that there is."""

COUNTED_BINS: Final = 2048
"""Bins of `count_magnitudes`, as in ``values.c``."""

_PLANES = 4
_SMALLEST = 32768
"""Values of an image; of smaller ones, samples would be the whole, and are left to the other compressor."""
_LANES = 16
_KEPT = 1 << 23
"""Bytes that a thread keeps for the next call at most."""
_scratch = threading.local()


class _Chunk(ctypes.Structure):
    _fields_ = (("length", ctypes.c_int64 * _PLANES), ("adler", ctypes.c_uint32), ("finite", ctypes.c_int32))


class _Picture(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("channels", "row", "pixel", "channel")),
    )

    @classmethod
    def of(cls, image: ImageHWC_u8) -> _Picture:
        return cls(image.ctypes.data, image.shape[2], *image.strides)


class Positions(NamedTuple):
    """Which rows and columns of an image are wanted, in the order of the result."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def of(self, image: ImageHWC_u8) -> ImageHWC_u8:
        """The pixels of an image at them: rows × columns × channels."""
        height, width = image.shape[:2]
        if len(self.rows) * width <= height * len(self.columns):  # first what leaves less: an image may be very long
            return np.take(image[self.rows], self.columns, axis=1)
        return np.take(image, self.columns, axis=1)[self.rows]

    def check(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Make sure that they lie in an image of one height and width and make one of another.

        Raises:
            ValueError: they do not.
        """
        if (len(self.rows), len(self.columns)) != after:
            raise ValueError(f"{len(self.rows)} rows and {len(self.columns)} columns do not make {after}")
        for positions, length in zip(self, before, strict=True):
            if positions.dtype != np.int64 or not positions.flags.c_contiguous:
                raise ValueError(f"positions must be C-contiguous int64, not {positions.dtype}")
            if positions.size and not 0 <= positions.min() <= positions.max() < length:
                raise ValueError(f"positions outside of {length}")


class Axis(NamedTuple):
    """For each output position of a bilinear resize the two input positions and the weight of the second."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    fraction: npt.NDArray[np.float32]


class _Axis(ctypes.Structure):
    _fields_ = (("low", ctypes.c_void_p), ("high", ctypes.c_void_p), ("fraction", ctypes.c_void_p))

    @classmethod
    def of(cls, axis: Axis) -> _Axis:
        return cls(*(part.ctypes.data for part in axis))


class Weights(NamedTuple):
    """One axis of an antialiased resize.

    Attributes:
        first: position of each result's first neighbour.
        weights: of it and of those behind it, results × neighbours, in fixed point of 22 bits.
    """

    first: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]


class _Weights(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("results", ctypes.c_int64),
        ("taps", ctypes.c_int64),
    )

    @classmethod
    def of(cls, axis: Weights | None, length: int) -> _Weights:
        if axis is None:
            return cls(None, None, 0, 0)
        results, taps = axis.weights.shape
        if axis.first.min() < 0 or axis.first.max() + taps > length:
            raise ValueError(f"neighbours outside of {length} positions")
        return cls(axis.first.ctypes.data, axis.weights.ctypes.data, results, taps)


class Deflated(NamedTuple):
    """Deflate blocks of an image's four byte planes; each plane's ends on a byte boundary, and the last one's is final.

    Attributes:
        planes: the lowest byte's first; None for a plane of zeros. Valid until this thread's next call.
        adler: Adler-32 of all planes.
        all_finite: no value is infinite or NaN; False: one may be.
    """

    planes: tuple[memoryview | None, ...]
    adler: int
    all_finite: bool


@cache
def library() -> ctypes.CDLL | None:
    """The shared library; None when there is none that can be used."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        found = ctypes.CDLL(PATH)
        if found.int8cal_version() != VERSION:
            return None
        _declare(found)
    except (OSError, AttributeError):
        return None
    return found


def _declare(found: ctypes.CDLL) -> None:
    """Say what the functions take; `AttributeError` where one is missing."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.int8cal_encode_work_bytes.restype = number
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
    picture, axis = ctypes.POINTER(_Picture), ctypes.POINTER(_Axis)
    where, to = (pointer, pointer, number, number), (pointer, number, number)
    found.int8cal_look_up.argtypes = (picture, *where, pointer, number, *to)
    found.int8cal_look_up.restype = None
    found.int8cal_resize.argtypes = (picture, pointer, axis, axis, number, number, ctypes.c_int, pointer, pointer)
    found.int8cal_resize.restype = None
    weights = ctypes.POINTER(_Weights)
    found.int8cal_antialias.argtypes = (pointer, number, number, number, weights, weights, pointer, pointer, pointer)
    found.int8cal_antialias.restype = None
    found.int8cal_unshuffle.argtypes = (pointer, number, pointer)
    found.int8cal_unshuffle.restype = None
    found.int8cal_count.argtypes = (pointer, number, ctypes.c_float, pointer)
    found.int8cal_count.restype = number
    found.int8cal_inflate.argtypes = (pointer, number, pointer, number)
    found.int8cal_inflate.restype = number
    found.int8cal_unfilter.argtypes = (pointer, number, number, number, number, number, pointer, pointer)


def encoder() -> str:
    """Name of what makes the chunks of the compression ``fast``, and decides their bytes; some are always igzip's."""
    return f"igzip {IGZIP_VERSION}" if library() is None else f"native {VERSION}"


def deflated(image: ImageCHW_f32, *, always: bool = False) -> Deflated | None:
    """The byte planes of an image, deflated; the same bytes on every processor.

    Args:
        image: CHW float32, C-contiguous.
        always: even where igzip would make the smaller chunk, and of small images.

    Returns:
        None when there is no library, or when the image is better left to igzip.

    Raises:
        ValueError: the image is of another type, or not contiguous.
    """
    kernels = library()
    if kernels is None or image.size < (1 if always else _SMALLEST):
        return None
    if image.dtype != np.float32 or not image.flags.c_contiguous:
        raise ValueError(f"an image of {image.dtype} with strides {image.strides}")
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
    return Deflated(planes, chunk.adler, bool(chunk.finite))


def look_up(
    image: ImageHWC_u8, table: ValueTable_f32 | ValueTables_f32, out: ImageCHW_f32, positions: Positions | None = None
) -> bool:
    """Replace each pixel by its value; see `int8cal.preprocess.normalise.look_up`.

    Args:
        image: height × width × channels, any strides.
        table: 256 values for all channels, or channels × 256.
        out: channels × height × width; may be a window of a larger array.
        positions: of the pixels that are wanted; None: all.

    Returns:
        Whether it was done: False without a library, and for an ``out`` that it cannot write to.

    Raises:
        ValueError: the arrays do not fit together, or a position lies outside of the image.
    """
    kernels = library()
    channels, height, width = out.shape
    if kernels is None or image.dtype != np.uint8 or out.dtype != np.float32 or out.strides[2] != out.itemsize:
        return False
    rows = columns = None
    before = (height, width)
    if positions is not None:
        rows, columns, before = positions.rows.ctypes.data, positions.columns.ctypes.data, image.shape[:2]
        positions.check(before, (height, width))
    if image.shape != (*before, channels) or table.shape not in ((256,), (channels, 256)):
        raise ValueError(f"look_up of {image.shape} by {table.shape} into {out.shape}")
    values = table.tobytes() if table.dtype == np.float32 else table.astype(np.float32).tobytes()
    steps = (out.strides[0] // out.itemsize, out.strides[1] // out.itemsize)
    kernels.int8cal_look_up(
        _Picture.of(image), rows, columns, height, width, values, 256 * (table.ndim - 1), out.ctypes.data, *steps
    )
    return True


def resized(
    image: ImageHWC_u8, table: ValueTable_f32, rows: Axis, columns: Axis, *, half: bool = False
) -> ImageCHW_f32 | None:
    """Values of an image, resized; see `int8cal.preprocess.resample`.

    Args:
        image: height × width × channels, any strides.
        table: value of each pixel level.
        rows: the positions of each output row; all must lie in the image.
        columns: the same for the columns.
        half: round the results to half precision, see `int8cal.preprocess.half`.

    Returns:
        channels × rows × columns; None without a library.
    """
    kernels = library()
    if kernels is None or image.dtype != np.uint8:
        return None
    for axis, length in ((rows, image.shape[0]), (columns, image.shape[1])):
        if not all(part.min() >= 0 and part.max() < length for part in (axis.low, axis.high)):
            raise ValueError(f"positions outside of an image of {image.shape}")
    height, width = len(rows.low), len(columns.low)
    out = np.empty((image.shape[2], height, width), np.float32)
    lines, values = np.empty((6, width), np.float32), np.ascontiguousarray(table, np.float32)
    kernels.int8cal_resize(
        _Picture.of(image), values.ctypes.data, _Axis.of(rows), _Axis.of(columns), height, width, half,
        out.ctypes.data, lines.ctypes.data,
    )  # fmt: skip
    return out


def antialiased(image: ImageHWC_u8, columns: Weights | None, rows: Weights | None) -> ImageHWC_u8 | None:
    """An image, resized by weighted sums across its width, then its height; see `int8cal.preprocess.antialias`.

    Args:
        image: height × width × channels.
        columns: the weights of the columns; None where the width stays.
        rows: the weights of the rows; None where the height stays. They or the columns are given.

    Returns:
        rows × columns × channels; None without a library.
    """
    kernels = library()
    if kernels is None or image.dtype != np.uint8:
        return None
    image = np.ascontiguousarray(image)
    height, width, channels = image.shape
    new_width = width if columns is None else len(columns.first)
    out = np.empty((height if rows is None else len(rows.first), new_width, channels), np.uint8)
    across = columns is not None
    between = np.empty((height, new_width, channels) if across and rows is not None else 0, np.uint8)
    tile = np.empty(_LANES * channels * (width + new_width) if across else 0, np.uint8)
    kernels.int8cal_antialias(
        image.ctypes.data, height, width, channels, _Weights.of(columns, width), _Weights.of(rows, height),
        between.ctypes.data, tile.ctypes.data, out.ctypes.data,
    )  # fmt: skip
    return out


def unshuffle(planes: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> bool:
    """Put values together from their bytes by significance, the lowest first.

    Args:
        planes: bytes of a value × values, C-contiguous.
        out: as many values, C-contiguous.

    Returns:
        Whether it was done: False without a library, and for values that do not have four bytes.
    """
    kernels = library()
    if kernels is None or len(planes) != _PLANES or not (planes.flags.c_contiguous and out.flags.c_contiguous):
        return False
    if planes.size != out.nbytes:
        raise ValueError(f"{planes.size} bytes do not make {out.size} values of {out.itemsize} bytes")
    kernels.int8cal_unshuffle(planes.ctypes.data, planes.shape[1], out.ctypes.data)
    return True


def count_magnitudes(values: npt.NDArray[Any], bins_per_unit: float, counts: npt.NDArray[np.int64]) -> bool:
    """Count values by ``floor(|value| × bins_per_unit)``, computed in float32.

    Args:
        values: any shape; every one must lie in a bin.
        bins_per_unit: a power of two, so that the product is exact.
        counts: `COUNTED_BINS`; are added to.

    Returns:
        Whether it was done: False without a library, and for values that are not C-contiguous float32.
    """
    kernels = library()
    if kernels is None or values.dtype != np.float32 or not values.flags.c_contiguous:
        return False
    if counts.shape != (COUNTED_BINS,) or counts.dtype != np.int64 or not counts.flags.c_contiguous:
        raise ValueError(f"counts of {counts.shape} {counts.dtype}")
    outside = kernels.int8cal_count(values.ctypes.data, values.size, bins_per_unit, counts.ctypes.data)
    if outside:
        raise ValueError(f"{outside} values lie in no bin")
    return True


def inflated(stream: bytes, room: int) -> npt.NDArray[np.uint8] | None:
    """What a zlib stream holds; bytes behind the stream are passed over.

    Args:
        stream: a zlib stream.
        room: bytes that it may give at most.

    Returns:
        In memory of this thread that its next call may use again; None when there is no library.

    Raises:
        ValueError: zlib refuses the stream, or it is cut off, looks back beyond its window, or gives more.
    """
    if library() is None:
        return None
    out: npt.NDArray[np.uint8] | None = getattr(_scratch, "inflated", None)
    if out is None or out.size < room:
        out = np.empty(room, np.uint8)
        if room <= _KEPT:
            _scratch.inflated = out
    return inflated_into(stream, out[:room])


def inflated_into(stream: bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """`inflated`, into given memory.

    Args:
        stream: as there.
        out: C-contiguous; the stream may give as many bytes at most.

    Returns:
        The part of ``out`` that the stream fills; None when there is no library.

    Raises:
        ValueError: as there.
    """
    kernels = library()
    if kernels is None:
        return None
    size = kernels.int8cal_inflate(stream, len(stream), out.ctypes.data, out.size)
    if size < 0:
        raise ValueError(f"the zlib stream is damaged, or gives more than {out.size} bytes")
    return out[:size]


def unfiltered(rows: npt.NDArray[np.uint8], pixel_bytes: int, height: int, width: int) -> ImageHWC_u8 | None:
    """Pixels of the top left corner of a PNG.

    Args:
        rows: height × bytes, each row with its filter type before it; C-contiguous.
        pixel_bytes: bytes of a pixel, 1 to 4.
        height: rows that are wanted.
        width: pixels of each that are wanted.

    Returns:
        height × width × pixel_bytes; None without a library.

    Raises:
        ValueError: any row has an unknown filter.
    """
    kernels = library()
    if kernels is None:
        return None
    row_bytes, wanted = rows.shape[1] - 1, width * pixel_bytes
    if not (rows.flags.c_contiguous and 1 <= pixel_bytes <= 4 and height <= len(rows) and wanted <= row_bytes):
        raise ValueError(f"{height}×{width} pixels of {pixel_bytes} bytes from rows of {rows.shape}")
    out = np.empty((height, width, pixel_bytes), np.uint8)
    if not kernels.int8cal_unfilter(
        rows.ctypes.data, len(rows), row_bytes, pixel_bytes, height, wanted, bytes(wanted), out.ctypes.data
    ):
        raise ValueError("a row has an unknown filter")
    return out


def _memory(nbytes: int, kernels: ctypes.CDLL) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Memory of this thread that the next call uses again: for the result, and for the kernel."""
    out, work = getattr(_scratch, "memory", (None, None))
    if work is None:
        work = np.empty(kernels.int8cal_encode_work_bytes(), np.uint8)
    if out is None or out.size != nbytes:
        out = _in_small_pages(nbytes)
    _scratch.memory = out, work
    return out, work


def _in_small_pages(nbytes: int) -> npt.NDArray[np.uint8]:
    """Memory of which only parts are used: the pages of 2 MiB that `numpy.empty` asks for would be waste."""
    try:
        pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no {nbytes} bytes of memory") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
        with suppress(OSError):  # a kernel that has no such pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.uint8)
