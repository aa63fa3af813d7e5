"""Frames of an HDF5 file as COCO annotations name them: ``h5://FILE:FRAME`` is the data set ``rgb/FRAME`` of FILE.h5.

A frame is an array of 8-bit pixels, height × width (× 3: blue, green, red; × 4: with alpha). It is handed on as the
bytes of an ``.npy`` file, which has the one image in it and nothing else.
"""

from __future__ import annotations

import io
import math

import numpy as np

from int8cal.errors import ImageError
from int8cal.guard.libraries import library_errors
from int8cal.io.safe_text import short_repr
from int8cal.samples.paths import open_data_file, path_text

SCHEME = "h5://"
MAX_BYTES = 1 << 28

_GROUP = "rgb"
_HINT = "A frame is an array of 8-bit pixels, height × width or height × width × 3, in the group rgb."


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
        ImageError: it is not HDF5 file, or the frame is not there or is not an image.
    """
    import h5py  # late: few data sets hold such images

    where = f"{path_text(path)}:{frame}"
    with (
        open_data_file(path, "HDF5 file of frames", ImageError, hint=_HINT) as file,
        library_errors(ImageError, "the frame cannot be read", where=where, hint=_HINT),
        h5py.File(file, "r") as opened,
    ):
        pixels = _pixels(opened, frame, where)
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()


def _pixels(opened: object, frame: str, where: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    import h5py

    group = opened
    for name in (_GROUP, frame):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ImageError(f"there is no {_GROUP}/{frame} in it", where=where, hint=_HINT)
        group = group[name]
    if not isinstance(group, h5py.Dataset) or group.dtype != np.uint8 or group.is_virtual or group.external:
        raise ImageError(f"{_GROUP}/{frame} is not an array of 8-bit pixels", where=where, hint=_HINT)
    shape = group.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)) or math.prod(shape) > MAX_BYTES:
        raise ImageError(f"{_GROUP}/{frame} has the shape {shape}, which is not an image's", where=where, hint=_HINT)
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = group[()]
    return pixels
