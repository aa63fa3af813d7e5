"""Frames of an HDF5 file as COCO annotations name them: ``h5://FILE:FRAME`` is the data set ``rgb/FRAME`` of FILE.h5.

A frame is an array of 8-bit pixels, height × width (× 3: blue, green, red; × 4: with alpha). It is handed on as the
bytes of an ``.npy`` file, which has the one image in it and nothing else. Such a file is read as tensorfiles are, which
come from anybody as well: see `int8cal.guard.hdf5`.
"""

from __future__ import annotations

import io
import math
import os
import time
from contextlib import closing
from functools import lru_cache

import numpy as np

from int8cal.errors import ImageError, TensorFileError
from int8cal.guard.hdf5_walk import MAX_ENTRIES, Chunks, RefusedError
from int8cal.guard.libraries import library_errors
from int8cal.io.file_kinds import HDF5_SIGNATURE
from int8cal.io.safe_text import short_repr
from int8cal.samples.paths import open_data_file, path_text

SCHEME = "h5://"
MAX_BYTES = 1 << 28
_MAX_PIXELS = 1 << 26  # of any image; there are up to 4 bytes of each

_GROUP = "rgb"
_HINT = "A frame is an array of 8-bit pixels, height × width or height × width × 3, in the group rgb."
_SETTLED_NS = 2_000_000_000
"""A file that was changed less long ago may change again without another time of change."""


def frame_of(file_name: str) -> tuple[str, str]:
    """File (relative to the folder of images) and frame of ``h5://FILE:FRAME``.

    Raises:
        ImageError: it names no frame.
    """
    file, colon, frame = file_name.removeprefix(SCHEME).rpartition(":")
    if not colon or not file or not frame:
        raise ImageError(f"{short_repr(file_name)} names no frame", hint="Write h5://FILE:FRAME.")
    return f"{file}.h5", frame


def read_frame(path: str, frame: str) -> bytes:
    """One frame, as an ``.npy`` file.

    Raises:
        MissingDataError: the file is not there.
        ImageError: it is not an HDF5 file, or the frame is not there, is damaged, or is not an image.
    """
    where = f"{path_text(path)}:{frame}"
    with (
        open_data_file(path, "HDF5 file of frames", ImageError, hint=_HINT) as file,
        library_errors(ImageError, "the file of frames cannot be read", where=where),
    ):
        state, signature = os.fstat(file.fileno()), file.read(len(HDF5_SIGNATURE))
    if signature != HDF5_SIGNATURE:
        raise ImageError("the file of frames is not HDF5", where=where, hint=_HINT)
    is_settled = time.time_ns() - state.st_mtime_ns > _SETTLED_NS
    identity = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
    try:
        pixels = _pixels(path, frame, where, _followed(*identity) if is_settled else None)
    except TensorFileError as error:
        is_told = isinstance(error.__cause__, RefusedError) and error.hint
        raise ImageError(error.message, where=where, hint=error.hint if is_told else _HINT) from error
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()


@lru_cache(maxsize=8)
def _followed(*identity: int) -> dict[int, Chunks]:
    """What was followed in a file already: with thousands of frames in a group, that takes longer than reading one."""
    return {}


def _pixels(
    path: str, frame: str, where: str, followed: dict[int, Chunks] | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from int8cal.guard.hdf5 import Hdf5File  # late: few data sets hold such images

    what = f"{_GROUP}/{frame}"
    with closing(Hdf5File(path, most_nodes=MAX_ENTRIES, followed=followed)) as opened:
        stored = opened.array(_GROUP, *frame.split("/"), what=what, max_bytes=MAX_BYTES)
        if stored.dtype != np.uint8 or not stored.is_plain:
            raise ImageError(f"{what} is not an array of 8-bit pixels", where=where, hint=_HINT)
        shape = stored.shape
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
        if not is_image or math.prod(shape[:2]) > _MAX_PIXELS:
            raise ImageError(f"{what} has the shape {shape}, which is not an image's", where=where, hint=_HINT)
        pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = stored.read()
    return pixels
