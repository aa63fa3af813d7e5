"""Read tensorfiles with plain h5py, as every consumer does.

python benchmarks/plain_read.py time FILE          CPU seconds to read all batches
python benchmarks/plain_read.py compare FILE FILE  number of values that differ in any bit
python benchmarks/plain_read.py inflate FILE NAME  CPU seconds to inflate all chunks; NAME: one of `INFLATERS`
"""

from __future__ import annotations

import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator

import h5py
import imagecodecs
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

KEY = "_tensorfile_array_key_"

INFLATERS: dict[str, Callable[[bytes, int], object]] = {
    "zlib": lambda chunk, size: zlib.decompress(chunk, bufsize=size),
    "ISA-L": lambda chunk, size: isal_zlib.decompress(chunk, bufsize=size),
    "zlib-ng": lambda chunk, size: imagecodecs.zlibng_decode(chunk, out=size),
    "libdeflate": lambda chunk, size: imagecodecs.deflate_decode(chunk, out=size),
}
"""Programs that read zlib streams. They are told how many bytes come out, which HDF5 knows, too: by themselves, some of
them guess it from the size of the chunk, and begin again where that is too little."""


def batches(path: str) -> Iterator[npt.NDArray[np.float32]]:
    """All batches in order."""
    with h5py.File(path, "r") as file:
        for number in range(file.attrs["count"]):
            yield file[f"{KEY}_{number}"][KEY][()]


def seconds_to_read(path: str) -> float:
    """CPU seconds, imports left out."""
    started = time.process_time()
    for _ in batches(path):
        pass
    return time.process_time() - started


def seconds_to_inflate(path: str, name: str) -> float:
    """CPU seconds, reading left out."""
    with h5py.File(path, "r") as file:
        arrays = [file[f"{KEY}_{number}"][KEY].id for number in range(file.attrs["count"])]
        chunks = [
            array.read_direct_chunk(array.get_chunk_info(number).chunk_offset)[1]
            for array in arrays
            for number in range(array.get_num_chunks())
        ]
        size = math.prod(arrays[0].get_create_plist().get_chunk()) * arrays[0].dtype.itemsize
    inflate, started = INFLATERS[name], time.process_time()
    for chunk in chunks:
        inflate(chunk, size)
    return time.process_time() - started


def differing_values(one: str, other: str) -> int:
    """Values that are not the same bits; a different number of batches is an error."""
    pairs = zip(batches(one), batches(other), strict=True)
    return sum(int(np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))) for a, b in pairs)


if __name__ == "__main__":
    QUESTIONS: dict[str, Callable[..., float]] = {
        "time": seconds_to_read,
        "compare": differing_values,
        "inflate": seconds_to_inflate,
    }
    print(QUESTIONS[sys.argv[1]](*sys.argv[2:]))
