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
    numbers = evenly(file.image_count, wanted)
    images, found = np.empty((len(numbers), *file.shape[1:]), np.float32), 0
    for number in numbers:
        try:
            images[found] = file[divmod(number, file.shape[0])]
        except TensorFileError:
            continue
        found += bool(np.isfinite(images[found]).all())
    return images[:found]
