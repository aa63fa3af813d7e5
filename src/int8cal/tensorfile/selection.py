"""Which images to look at when not all are looked at."""

from __future__ import annotations

import numpy as np

from int8cal.errors import TensorFileError
from int8cal.tensorfile.reader import TensorFile
from int8cal.types import BatchNCHW_f32


def evenly(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` of the numbers 0 … ``count`` - 1, spread evenly, the first and the last among them."""
    if wanted >= count:
        return list(range(count))
    return sorted({round(index * (count - 1) / max(wanted - 1, 1)) for index in range(wanted)})


def some_images(file: TensorFile, wanted: int) -> BatchNCHW_f32:
    """At most ``wanted`` images from all over a file as one batch; those that cannot be read or used are left out."""
    size = file.shape[0]
    places: dict[int, list[int]] = {}
    for number in evenly(file.image_count, wanted):
        places.setdefault(number // size, []).append(number % size)
    found = [np.empty((0, *file.shape[1:]), np.float32)]
    for batch, positions in places.items():
        try:
            images = file[batch][positions]
        except TensorFileError:
            continue
        found.append(images[np.isfinite(images).all(axis=(1, 2, 3))])
    return np.concatenate(found)
